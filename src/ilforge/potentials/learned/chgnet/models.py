"""Models whose weights come with chgnet 0.4.2."""

from ilforge.potentials.learned.outside.elements import MATERIALS_PROJECT
from ilforge.potentials.learned.outside.potential import Pretrained


def _model(title: str, file: str, sha256: str, functional: str, trained_on: str) -> Pretrained:
    return Pretrained(
        title=title,
        package="chgnet",
        file=f"pretrained/{file}",
        sha256=sha256,
        functional={"": functional},
        trained_on=trained_on,
        licence="BSD",
        elements=MATERIALS_PROJECT,
        core_seconds=3.3,
    )


MODELS = {
    "0.3.0": _model(
        "CHGNet 0.3.0",
        "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
        "d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
        "PBE",
        "the Materials Project (MPtrj)",
    ),
    "r2scan": _model(
        "CHGNet r2SCAN",
        "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
        "8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
        "r2SCAN",
        "the Materials Project, after PBE",
    ),
}
DEFAULT = "0.3.0"

"""Models whose weights come with sevenn 0.13.0."""

from collections.abc import Mapping

from ilforge.potentials.learned.outside.elements import MATERIALS_PROJECT
from ilforge.potentials.learned.outside.potential import Pretrained

_PBE = {"": "PBE"}


def _model(
    title: str,
    file: str,
    sha256: str,
    core_seconds: float,
    functional: Mapping[str, str] = _PBE,
    trained_on: str = "the Materials Project (MPtrj)",
) -> Pretrained:
    return Pretrained(
        title=title,
        package="sevenn",
        file=f"pretrained_potentials/{file}",
        sha256=sha256,
        licence="MIT",
        elements=MATERIALS_PROJECT,
        core_seconds=core_seconds,
        functional=functional,
        trained_on=trained_on,
    )


MODELS = {
    "7net-0": _model(
        "SevenNet-0",
        "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
        "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36",
        4.9,
    ),
    "7net-l3i5": _model(
        "SevenNet-l3i5",
        "SevenNet_l3i5/checkpoint_l3i5.pth",
        "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d",
        11.4,
    ),
    "7net-mf-0": _model(
        "SevenNet-MF-0",
        "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
        "81791329b37d445f46b531578c182c41792d98c7814222c9e5dde276402225fd",
        4.9,
        functional={"PBE": "PBE", "R2SCAN": "r2SCAN"},
        trained_on="the Materials Project, at two levels of theory",
    ),
}
DEFAULT = "7net-0"

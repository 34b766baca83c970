"""CHGNet: pretrained graph networks for 89 elements, with magnetic moments that represent charges.

Deng, Zhong, Jun, Riebesell, Han, Bartel, Ceder, Nature Machine Intelligence 5 (2023) 1031,
doi:10.1038/s42256-023-00716-3. Its package is installed in a separate environment (``ilforge env create chgnet``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ilforge.environments import Environment
from ilforge.errors import SettingsError
from ilforge.potentials.kind import PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.learned.chgnet.models import DEFAULT, MODELS
from ilforge.potentials.learned.dispersed import functional_to_add
from ilforge.potentials.learned.outside.potential import Pretrained, RunsPretrained, environment_of
from ilforge.potentials.quantum.works import WORKS_ON_DISPERSION

_HOME = Path(__file__).parent


class ChgnetSettings(PotentialSettings):
    """CHGNet: a pretrained model. Needs `ilforge env create chgnet`."""

    kind: Literal["chgnet"] = "chgnet"
    """CHGNet."""
    model: Literal["0.3.0", "r2scan"] = "0.3.0"
    """Pretrained model: 0.3.0, trained on PBE, or r2scan."""
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"
    """Dispersion correction; the labels of these models have none."""

    @property
    def title(self) -> str:
        model = MODELS[self.model]
        return functional_title(model.functional_of(None), self.dispersion, model.title)


@dataclass(frozen=True)
class Chgnet(RunsPretrained):
    """A CHGNet model, evaluated by ``chgnet`` in its own environment, in single precision.

    Parameters
    ----------
    model
        One of :data:`~ilforge.potentials.learned.chgnet.models.MODELS`.
    dispersion
        ``"D3(BJ)"`` or ``"none"``.
    """

    model: str = DEFAULT
    dispersion: Literal["D3(BJ)", "none"] = "D3(BJ)"

    kind: ClassVar[str] = "chgnet"
    environment: ClassVar[Environment]
    loader: ClassVar[str] = str(_HOME / "load.py")

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise SettingsError(f"model is {self.model!r}; it may be {', '.join(MODELS)}.")
        functional_to_add(self.dispersion, MODELS[self.model].functional_of(None))

    @property
    def pretrained(self) -> Pretrained:
        return MODELS[self.model]

    @property
    def added_dispersion(self) -> str | None:
        return functional_to_add(self.dispersion, self.pretrained.functional_of(None))


ENVIRONMENT = environment_of(
    "chgnet",
    "CHGNet 0.4.2 and PyTorch 2.13.0",
    _HOME,
    packages=("torch==2.13.0", "chgnet==0.4.2"),
    shown=("chgnet", "torch", "pymatgen"),
    tried=MODELS[DEFAULT],
    disk_GB=2.5,
)
Chgnet.environment = ENVIRONMENT

KIND = PotentialKind(
    name="chgnet",
    title="CHGNet",
    potential=Chgnet,
    settings=ChgnetSettings,
    family="model",
    computes_with=ENVIRONMENT.name,
    environment=ENVIRONMENT,
    pretrained={name: model.words for name, model in MODELS.items()},
    words=("model",),
    works=(
        (
            "",
            "CHGNet: Deng, Zhong, Jun, Riebesell, Han, Bartel and Ceder, CHGNet as a pretrained universal neural "
            "network potential for charge-informed atomistic modelling, Nat. Mach. Intell. 5, 1031 (2023).",
        ),
        *WORKS_ON_DISPERSION,
    ),
)

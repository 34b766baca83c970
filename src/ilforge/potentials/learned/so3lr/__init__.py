"""SO3LR: a pretrained model of organic molecules with charges, electrostatics and dispersion of its own.

Kabylda, Frank, Suárez-Dou, Khabibrakhmanov, Medrano Sandonas, Unke, Chmiela, Müller, Tkatchenko, J. Am. Chem. Soc.
(2025), doi:10.1021/jacs.5c09558. It was trained on PBE0 with many-body dispersion. A network of short range is added to
pair terms of long range (electrostatics of charges that it predicts, and dispersion), which end at 12 Å. Its package
lives in an environment of its own (``ilforge env create so3lr``). It was trained on no boron and no lithium, and gives
numbers for them all the same: ilforge refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilforge.environments import Environment
from ilforge.potentials.kind import PotentialKind, PotentialSettings, functional_title
from ilforge.potentials.learned.outside.potential import Pretrained, RunsPretrained, environment_of
from ilforge.potentials.learned.so3lr.models import MODEL

_HOME = Path(__file__).parent


class So3lrSettings(PotentialSettings):
    """SO3LR: a pretrained model of H, C, N, O, F, P, S and Cl, with dispersion. Needs `ilforge env create so3lr`."""

    kind: Literal["so3lr"] = "so3lr"
    """SO3LR."""

    @property
    def title(self) -> str:
        return functional_title(MODEL.functional_of(None), "none", MODEL.title)


@dataclass(frozen=True)
class So3lr(RunsPretrained):
    """SO3LR, evaluated by ``so3krates-torch`` in its own environment, in double precision."""

    kind: ClassVar[str] = "so3lr"
    environment: ClassVar[Environment]
    loader: ClassVar[str] = str(_HOME / "load.py")

    @property
    def pretrained(self) -> Pretrained:
        return MODEL

    @property
    def added_dispersion(self) -> None:
        return None

    def worker_settings(self) -> dict[str, Any]:
        """As for others, and the elements, because the package computes others, too."""
        return {**super().worker_settings(), "elements": list(MODEL.elements)}


ENVIRONMENT = environment_of(
    "so3lr",
    "so3krates-torch 0.2.1 and PyTorch 2.13.0",
    _HOME,
    packages=("torch==2.13.0", "so3krates-torch==0.2.1"),
    shown=("so3krates-torch", "torch"),
    tried=MODEL,
    disk_GB=2.5,
)
So3lr.environment = ENVIRONMENT

KIND = PotentialKind(
    name="so3lr",
    title="SO3LR",
    potential=So3lr,
    settings=So3lrSettings,
    family="model",
    computes_with=ENVIRONMENT.name,
    environment=ENVIRONMENT,
    pretrained={"so3lr": MODEL.words},
    works=(
        (
            "",
            "SO3LR: Kabylda et al., Molecular Simulations with a Pretrained Neural Network and Universal Pairwise "
            "Force Fields, J. Am. Chem. Soc. (2025), doi:10.1021/jacs.5c09558.",
        ),
    ),
)

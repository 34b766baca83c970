"""NequIP and Allegro: equivariant networks that are trained on labels, in the environment of their package.

NequIP: Batzner, Musaelian, Sun, Geiger, Mailoa, Kornbluth, Molinari, Smidt, Kozinsky, Nat. Commun. 13 (2022) 2453,
doi:10.1038/s41467-022-29939-5. Allegro: Musaelian, Batzner, Johansson, Sun, Owen, Kornbluth, Kozinsky, Nat. Commun.
14 (2023) 579, doi:10.1038/s41467-023-36329-y. The package ``nequip`` needs a version of e3nn that MACE cannot use, so
it is installed in a separate environment (``ilforge env create nequip``). It brings no weights: every model is a file.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilforge.environments import Environment
from ilforge.errors import SettingsError
from ilforge.potentials.kind import ModelFileSettings, PotentialKind, functional_title
from ilforge.potentials.learned import model_file
from ilforge.potentials.learned.dispersed import functional_to_add
from ilforge.potentials.learned.outside.potential import RunsOutside, environment_of
from ilforge.potentials.quantum.works import WORKS_ON_DISPERSION

_HOME = Path(__file__).parent
_LOADER = str(_HOME / "load.py")
SUFFIX = ".nequip.zip"
"""Of a packaged model, as ``nequip-package`` writes it."""
_CORE_SECONDS = 0.6
"""Of 350 atoms on one core, s: NequIP of the preset ``small`` took 0.12 s for 70 atoms. Only the model file says how
large a network is."""


class NequipSettings(ModelFileSettings):
    """A NequIP or Allegro model that is used without further training: a packaged model (`.nequip.zip`) or a checkpoint
    (`.ckpt`). Needs `ilforge env create nequip`."""

    kind: Literal["nequip"] = "nequip"
    """NequIP."""
    dispersion: Literal["D3(BJ)", "none"] = "none"
    """Dispersion correction that is added to the model. Add D3(BJ) if the labels of the model had no dispersion."""
    functional: str | None = None
    """Functional of the labels; needed only if D3(BJ) is added."""

    @property
    def title(self) -> str:
        added = functional_to_add(self.dispersion, self.functional)
        title = _title(Path(self.path))
        return title if added is None else functional_title(added, self.dispersion, title)


@dataclass(frozen=True)
class Nequip(RunsOutside):
    """A NequIP or Allegro model, evaluated by ``nequip`` in its own environment, in the precision of its network.

    Parameters
    ----------
    path, sha256
        Packaged model or checkpoint, and its digest.
    dispersion
        ``"D3(BJ)"`` or ``"none"``.
    functional
        Of the labels.
    """

    path: Path
    sha256: str = ""
    dispersion: Literal["D3(BJ)", "none"] = "none"
    functional: str | None = None

    kind: ClassVar[str] = "nequip"
    environment: ClassVar[Environment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", model_file.absolute(self.path))
        if not self.path.name.endswith((SUFFIX, ".ckpt")):
            raise SettingsError(
                f"path is {self.path}, but a NequIP model is a packaged model (*{SUFFIX}) or a checkpoint (*.ckpt): "
                f"`nequip-package build model.ckpt model{SUFFIX}` makes the one of the other. Compiled models are for "
                "other programs, such as LAMMPS."
            )
        model_file.require_digest(self.path, self.sha256)
        functional_to_add(self.dispersion, self.functional)

    @property
    def title(self) -> str:
        """The model in a few words."""
        return _title(self.path)

    @property
    def added_dispersion(self) -> str | None:
        return functional_to_add(self.dispersion, self.functional)

    @property
    def known_elements(self) -> tuple[str, ...] | None:
        """Elements of a packaged model; None for a checkpoint, and as long as the file is missing."""
        return elements_of(self.path)

    def describe(self) -> dict[str, Any]:
        """The model by its digest, and what is added to it."""
        return {"kind": self.kind, "sha256": self.sha256.lower(), **self.described_dispersion}

    def worker_settings(self) -> dict[str, Any]:
        """The settings that are sent to the worker."""
        model_file.verified(self.path, self.sha256)
        return {"loader": _LOADER, "path": str(self.path), "sha256": self.sha256}

    def seconds_per_frame(self, n_atoms: int) -> float:
        return _CORE_SECONDS * n_atoms / 350


def elements_of(path: Path) -> tuple[str, ...] | None:
    """Elements that a packaged model knows, from the text in the package; nothing of the package is run.

    Returns None if the file is no packaged model, or is missing.
    """
    try:
        with zipfile.ZipFile(path) as package:
            name = next(name for name in package.namelist() if name.endswith("/model/package_metadata.txt"))
            text = package.read(name).decode()
    except (OSError, zipfile.BadZipFile, StopIteration, UnicodeDecodeError):
        return None
    # YAML quotes N, Y and No, which are words for true and false in it
    listed = re.search(r"^atom_types:\n((?:[ ]+\d+: .*\n?)+)", text, re.M)
    return tuple(re.findall(r"\d+: '?(\w+)'?", listed[1])) if listed else None


def _title(path: Path) -> str:
    return f"NequIP model {path.name}"


ENVIRONMENT = environment_of(
    "nequip",
    "NequIP 0.19.1, Allegro 0.8.3 and PyTorch 2.13.0",
    _HOME,
    packages=("torch==2.13.0", "nequip==0.19.1", "nequip-allegro==0.8.3"),
    shown=("nequip", "nequip-allegro", "torch", "e3nn"),
    tried={"elements": ["H", "O"]},
    disk_GB=2.5,
)
Nequip.environment = ENVIRONMENT

KIND = PotentialKind(
    name="nequip",
    title="NequIP",
    potential=Nequip,
    settings=NequipSettings,
    family="model",
    colour="#882255",
    computes_with=ENVIRONMENT.name,
    environment=ENVIRONMENT,
    file_suffix=SUFFIX,
    works=(
        (
            "",
            "NequIP: Batzner, Musaelian, Sun, Geiger, Mailoa, Kornbluth, Molinari, Smidt and Kozinsky, "
            "E(3)-equivariant graph neural networks for data-efficient and accurate interatomic potentials, Nat. "
            "Commun. 13, 2453 (2022).",
        ),
        (
            "",
            "Allegro: Musaelian, Batzner, Johansson, Sun, Owen, Kornbluth and Kozinsky, Learning local equivariant "
            "representations for large-scale atomistic dynamics, Nat. Commun. 14, 579 (2023), if the model is an "
            "Allegro.",
        ),
        *WORKS_ON_DISPERSION,
    ),
)

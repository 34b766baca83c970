"""UF3, ultra-fast force fields: splines of the distances of pairs and triangles, fitted to labels.

Xie, Rupp, Hennig, npj Comput. Mater. 9 (2023) 162, doi:10.1038/s41524-023-01092-7. The energy is

.. math:: E = \\sum_i e_{z_i} + \\sum_{i \\ne j} V_2(r_{ij}) + \\sum_i \\sum_{j<k} V_3(r_{ij}, r_{ik}, r_{jk}),

where :math:`V_2` and :math:`V_3` are cubic B-splines for each combination of elements. The package ``uf3`` needs older
versions of numpy and ASE than ilforge, so it is installed in a separate environment (``ilforge env create uf3``). MD
runs in LAMMPS, whose ``pair_style uf3`` reads the same file; that needs no environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from ilforge.environments import Environment
from ilforge.errors import SettingsError
from ilforge.potentials.kind import ModelFileSettings, PotentialKind
from ilforge.potentials.learned import model_file
from ilforge.potentials.learned.outside.potential import ComputedOutside, environment_of

_HOME = Path(__file__).parent
_LOADER = str(_HOME / "load.py")
INTERACTIONS = _HOME / "interactions.py"
"""Pairs and triangles of atoms, for the program that trains, too."""
SUFFIX = ".uf3"
ENERGIES = "# ENERGIES eV:"
"""Begins the comment with the energies of single atoms; LAMMPS does not read it."""
_CORE_SECONDS = 1.5
"""Of 350 atoms on one core, s: 70 atoms took 0.3 s in the preset ``quick``. LAMMPS is much faster."""


class Uf3FileSettings(ModelFileSettings):
    """A UF3 potential that is used without further training (`.uf3`, as ilforge writes it). Needs `ilforge env create
    uf3`, but not for MD in LAMMPS."""

    kind: Literal["uf3"] = "uf3"
    """UF3."""


@dataclass(frozen=True)
class Uf3(ComputedOutside):
    """A UF3 potential, evaluated in its own environment in double precision, and by LAMMPS in MD.

    Parameters
    ----------
    path, sha256
        Potential file and its digest.
    """

    path: Path
    sha256: str = ""

    kind: ClassVar[str] = "uf3"
    environment: ClassVar[Environment]
    uses_gpu: ClassVar[bool] = False
    added_dispersion: ClassVar[None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", model_file.absolute(self.path))
        if self.path.suffix != SUFFIX:
            raise SettingsError(f"path is {self.path}, but a UF3 potential is a file that ends with {SUFFIX}.")
        model_file.require_digest(self.path, self.sha256)

    @property
    def title(self) -> str:
        """The model in a few words."""
        return f"UF3 model {self.path.name}"

    @property
    def known_elements(self) -> tuple[str, ...] | None:
        """Elements of the potential; None as long as the file is missing."""
        return tuple(energies_of(self.path.read_text())) if self.path.is_file() else None

    def describe(self) -> dict[str, Any]:
        """The model by its digest."""
        return {"kind": self.kind, "sha256": self.sha256.lower()}

    def worker_settings(self) -> dict[str, Any]:
        """The settings that are sent to the worker."""
        _ = self._verified  # a file without the energies of atoms is refused here, too
        return {"loader": _LOADER, "path": str(self.path), "sha256": self.sha256}

    def lammps_pair(self, elements: Sequence[str]) -> list[str]:
        """Pair style for atom types in the order of ``elements``, and the energies of single atoms as a fix."""
        contents = self._verified
        self.refuse_elements(elements)
        energies = energies_of(contents)
        bodies = 3 if "\n3B " in contents else 2
        total = " + ".join(f"(type=={number})*({energies[one]:.16g})" for number, one in enumerate(elements, 1))
        return [
            f"pair_style uf3 {bodies}",
            f"pair_coeff * * {model_file.lammps_word(self.path)} {' '.join(elements)}",
            "variable none equal 0",
            f'variable alone atom "{total}"',
            "fix alone all addforce v_none v_none v_none energy v_alone",
            "fix_modify alone energy yes",
        ]

    def seconds_per_frame(self, n_atoms: int) -> float:
        return _CORE_SECONDS * n_atoms / 350

    @cached_property
    def _verified(self) -> str:
        contents = model_file.verified(self.path, self.sha256).decode(errors="replace")
        energies_of(contents)
        return contents


def energies_of(contents: str) -> dict[str, float]:
    """Energies of single atoms in eV, by element, in the comment of a potential file.

    Raises
    ------
    SettingsError
        When the file has no such comment.
    """
    line = next((line for line in contents.splitlines() if line.startswith(ENERGIES)), None)
    if line is None:
        raise SettingsError(
            f"The UF3 potential has no line that begins with {ENERGIES!r}, with the energy of an atom of each element. "
            "LAMMPS does not need this line, but energies of frames do: add it at the beginning of the file."
        )
    words = line[len(ENERGIES) :].split()
    return dict(zip(words[::2], map(float, words[1::2]), strict=True))


ENVIRONMENT = environment_of(
    "uf3",
    "UF3 0.4.0",
    _HOME,
    packages=("uf3==0.4.0",),
    shown=("uf3", "ndsplines", "numpy", "scipy", "ase"),
    tried={"elements": ["H", "O"]},
    disk_GB=0.9,
)
Uf3.environment = ENVIRONMENT

KIND = PotentialKind(
    name="uf3",
    title="UF3",
    potential=Uf3,
    settings=Uf3FileSettings,
    family="model",
    colour="#999933",
    environment=ENVIRONMENT,
    file_suffix=SUFFIX,
    works=(
        (
            "",
            "UF3: Xie, Rupp and Hennig, Ultra-fast interpretable machine-learning potentials, npj Comput. Mater. 9, "
            "162 (2023).",
        ),
    ),
)

"""Find the trajectories of a CP2K run, and the unit of their positions, which the files do not contain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from ase.units import Bohr

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.cp2k.text import printed_structure
from ilforge.potentials.quantum.outputs import named

Frame: TypeAlias = tuple[list[str], np.ndarray, float | None]
"""One frame of a trajectory: elements, numbers as written, energy in Hartree."""

_LENGTHS = {"angstrom": 1.0, "bohr": Bohr, "nm": 10.0, "pm": 0.01, "m": 1e10}
_SAME_UNIT = 1.2  # ratio of bond lengths: the units differ by much more, and atoms move less
_SAID = {"pos": "Coordinates", "vel": "Velocities"}


def trajectory_file(folder: Path, name: str, what: str, text: str) -> Path | None:
    """The file of positions (``"pos"``), forces (``"frc"``) or velocities (``"vel"``) of a run; None if there is none.

    It has CP2K's usual name, the name in the output, or a name of its own (``FILENAME`` in the input) that no other
    file in the folder could have.
    """
    said = _said_file(text, what)
    for usual in (f"{name}-{what}-1.xyz", said):
        if usual is not None and usual.endswith(".xyz") and (found := named(folder, usual)) is not None:
            return found
    likely = sorted(path for path in Path(folder).glob(f"*-{what}-1.xyz*") if path.name.startswith(name))
    return likely[0] if len(likely) == 1 else None


def other_format(folder: Path, name: str) -> str:
    """A sentence on positions in a format without energies (DCD, PDB), if there are any; otherwise empty."""
    found = [path for path in sorted(Path(folder).glob(f"{name}*-pos-1.*")) if path.suffix in (".dcd", ".pdb")]
    return f" {found[0]} does not contain the step and the energy of its frames." if found else ""


def _said_file(text: str, what: str) -> str | None:
    """The name of a file in the list that the output of an MD prints."""
    found = re.search(rf"^ *MD(?:_PAR)?\| {_SAID.get(what)}\s+\d+\s+(\S+)\s*$", text, re.M)
    return Path(found[1]).name if found else None


def in_angstrom(places: Mapping[int, Frame], text: str, path: Path) -> dict[int, Frame]:
    """Positions in Å; their unit (``UNIT`` in MOTION/PRINT/TRAJECTORY) is known from the structure in the output.

    Raises
    ------
    SettingsError
        When the distances between neighbouring atoms differ from those of the output by no known unit.
    """
    printed = printed_structure(text)[1]
    if not places or len(printed) < 2:
        return dict(places)
    ratio = _neighbour_distance(printed) / _neighbour_distance(next(iter(places.values()))[1])
    unit = next((factor for factor in _LENGTHS.values() if 1 / _SAME_UNIT < ratio / factor < _SAME_UNIT), None)
    if unit is None:
        raise SettingsError(
            f"{path}: neighbouring atoms are {1 / ratio:.3g} times as far apart as in the structure of the output, in "
            "Å. Known units of positions are angstrom, bohr, nm, pm and m (UNIT in MOTION/PRINT/TRAJECTORY); if the "
            "unit is one of these, the file is of another run."
        )
    return {step: (symbols, unit * values, energy) for step, (symbols, values, energy) in places.items()}


def _neighbour_distance(positions: np.ndarray) -> float:
    """Median over atoms of the distance to the nearest atom, without periodic images."""
    from scipy.spatial import cKDTree

    return float(np.median(cKDTree(positions).query(positions, k=2)[0][:, 1]))

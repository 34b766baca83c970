"""How CP2K prints numbers, boxes and the state of electrons."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.frames import CHARGE, MULTIPLICITY

NUMBER = r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?"
"""Pattern of a number."""

SMOOTHED = re.compile(r"DFT\| XC density smoothing\s+(?!NONE\b)\S|DFT\| XC derivatives\s+\S*SMOOTH")
"""What an output says whose stress is wrong: that of a smoothed density."""


def number(text: str) -> float:
    """A Fortran number; not a number where it is none."""
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return float("nan")


def element_of(kind: str) -> str:
    """The element that the name of a kind of atom begins with."""
    found = re.match(r"[A-Z][a-z]?", kind)
    if found is None:
        raise SettingsError(f"The CP2K output has a kind of atom {kind!r}, which begins with no element's symbol.")
    return found[0]


def periodicity(text: str) -> list[bool]:
    """Along which lattice vectors the box repeats; along all where the output does not say."""
    found = re.search(r"^\s*CELL\|\s*Periodicity\s+(\S+)", text, re.M)
    return [found is None or axis in found[1] for axis in "XYZ"]


def boxed(text: str, symbols: list[str], positions: Any, cell: np.ndarray | None) -> Atoms:
    """A frame with its charge; the cell of one that repeats nowhere is only where CP2K puts its grid."""
    pbc = periodicity(text)
    atoms = Atoms(symbols, positions=positions, cell=cell if any(pbc) else None, pbc=pbc)
    for key, said in ((CHARGE, r"DFT\| Charge\s+(-?\d+)"), (MULTIPLICITY, r"DFT\| Multiplicity\s+(\d+)")):
        if found := re.search(said, text):
            atoms.info[key] = int(found[1])
    return atoms


def printed_cell(text: str) -> np.ndarray:
    """The first cell of an output, ``(3, 3)`` Å.

    Components have three decimals, lengths six: a cell whose angles are right is as exact as its lengths.
    """
    line = rf"CELL\|? Vector %s \[angstrom\]:?\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+\|%s\|\s*=\s*({NUMBER})"
    found = [re.search(line % (axis, axis), text) for axis in "abc"]
    vectors = [vector for vector in found if vector is not None]
    if len(vectors) < 3:
        raise SettingsError("The CP2K output does not say what its cell is (CELL| Vector a ...).")
    numbers = np.array([[number(value) for value in vector.groups()] for vector in vectors])
    result: np.ndarray = numbers[:, :3] * (numbers[:, 3] / np.linalg.norm(numbers[:, :3], axis=1))[:, None]
    return result

"""Read numbers, boxes and the electronic state in CP2K's format."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.frames import CHARGE, MULTIPLICITY
from ilforge.potentials.quantum.outputs import number

NUMBER = r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?"
"""Pattern of a number."""

SMOOTHED = re.compile(r"DFT\| XC density smoothing\s+(?!NONE\b)\S|DFT\| XC derivatives\s+\S*SMOOTH")
"""Pattern in an output with a smoothed density, whose stress is wrong."""


def element_of(kind: str) -> str:
    """The element at the beginning of the name of a kind."""
    found = re.match(r"[A-Z][a-z]?", kind)
    if found is None:
        raise SettingsError(
            f"The CP2K output has a kind of atom {kind!r}, whose name does not begin with the symbol of an element."
        )
    return found[0]


def periodicity(text: str) -> list[bool]:
    """Periodicity along each lattice vector; along all of them if the output does not contain it."""
    found = re.search(r"^\s*CELL\|\s*Periodicity\s+(\S+)", text, re.M)
    return [found is None or axis in found[1] for axis in "XYZ"]


def boxed(text: str, symbols: list[str], positions: Any, cell: np.ndarray | None) -> Atoms:
    """A frame with its charge; without periodicity the cell is removed, because it is only that of CP2K's grid."""
    pbc = periodicity(text)
    atoms = Atoms(symbols, positions=positions, cell=cell if any(pbc) else None, pbc=pbc)
    for key, said in ((CHARGE, r"DFT\| Charge\s+(-?\d+)"), (MULTIPLICITY, r"DFT\| Multiplicity\s+(\d+)")):
        if found := re.search(said, text):
            atoms.info[key] = int(found[1])
    return atoms


def printed_structure(text: str) -> tuple[list[str], np.ndarray]:
    """Elements and positions, ``(n_atoms, 3)`` Å, of the first structure of an output; empty if it prints none."""
    found = re.search(r"ATOMIC COORDINATES IN ANGSTROM\s+(.*?)\n\s*\n\s*\n", text + "\n\n\n", re.S | re.I)
    symbols, positions = [], []
    for line in (found[1] if found else "").splitlines():
        parts = line.split()
        if len(parts) >= 7 and parts[0].isdigit():
            symbols.append(element_of(parts[2]))
            positions.append([number(part) for part in parts[4:7]])
    return symbols, np.array(positions).reshape(-1, 3)


def printed_cell(text: str) -> np.ndarray:
    """The first cell of an output, ``(3, 3)`` Å.

    Components have three decimals, lengths six. A cell with right angles is built from its lengths, which are more
    precise.
    """
    line = rf"CELL\|? Vector %s \[angstrom\]:?\s+({NUMBER})\s+({NUMBER})\s+({NUMBER})\s+\|%s\|\s*=\s*({NUMBER})"
    found = [re.search(line % (axis, axis), text) for axis in "abc"]
    vectors = [vector for vector in found if vector is not None]
    if len(vectors) < 3:
        raise SettingsError(
            "The CP2K output does not contain its cell (CELL| Vector a ...): run CP2K with PRINT_LEVEL MEDIUM, which "
            "is its default, and not LOW."
        )
    numbers = np.array([[number(value) for value in vector.groups()] for vector in vectors])
    result: np.ndarray = numbers[:, :3] * (numbers[:, 3] / np.linalg.norm(numbers[:, :3], axis=1))[:, None]
    return result

"""Units of imported labels, checked against the physics: energies must change as forces say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.units import Bohr, Hartree, kcal, mol

from ilforge.errors import SettingsError
from ilforge.potentials.outputs import Reading

UNCHECKED = (
    "units could not be checked: too few frames follow each other in small steps, or energies do not follow forces. "
    "Make sure yourself that they are eV, Å, eV/Å and eV/Å^3"
)
ONLY_TOGETHER = (
    "energies follow forces, so their units agree; that these are eV and eV/Å, and that stresses are in eV/Å^3, could "
    "not be checked"
)
_LARGEST_STEP_A = 0.3
_FEWEST_PAIRS = 3
_KNOWN = {
    "energies in Hartree with forces in eV/Å": 1 / Hartree,
    "forces in Hartree/Bohr with energies in eV": Hartree / Bohr,
    "energies in kcal/mol with forces in eV/Å": 1 / (kcal / mol),
    "forces in kcal/mol/Å with energies in eV": kcal / mol,
    "energies in eV with forces in eV/Bohr": 1 / Bohr,
    "positions in Bohr": Bohr,
    "forces with the wrong sign": -1.0,
}


def unit_ratio(readings: Sequence[Reading]) -> float | None:
    r"""How many times more energies change than forces say; 1 where units agree, None where it cannot be told.

    Between neighbouring frames of a trajectory
    :math:`\Delta E = -\tfrac12 (F_1 + F_2)\cdot\Delta r + O(\Delta r^3)`; the ratio is the slope of a line through
    the origin over all neighbours less than 0.3 Å apart in the same box.
    """
    expected, found = [], []
    for before, after in zip(readings, readings[1:], strict=False):
        step = _step(before, after)
        if step is not None:
            expected.append(-0.5 * float(np.sum((before.forces + after.forces) * step)))
            found.append(after.energy - before.energy)
    expected, found = np.array(expected), np.array(found)
    if len(expected) < _FEWEST_PAIRS or np.ptp(found) == 0:
        return None
    correlation = np.sum(expected * found) / np.sqrt(np.sum(expected**2) * np.sum(found**2))
    return float(np.sum(expected * found) / np.sum(expected**2)) if abs(correlation) > 0.9 else None


def require_consistent_units(path: Path, readings: Sequence[Reading]) -> bool:
    """Refuse a file whose energies and forces contradict each other; whether it could be told.

    Raises
    ------
    SettingsError
        With the ratio, and the mixture of units that it fits best.
    """
    ratio = unit_ratio(readings)
    if ratio is None or 0.67 < ratio < 1.5:
        return ratio is not None
    guesses = {name: abs(np.log(abs(ratio / value))) for name, value in _KNOWN.items() if value * ratio > 0}
    best = min(guesses, key=guesses.get)
    guess = f" It looks like {best}." if guesses[best] < 0.2 else ""
    raise SettingsError(
        f"{path}: between neighbouring frames energies change {ratio:.4g} times as much as forces say. Expected are "
        f"eV, Å, eV/Å and eV/Å^3.{guess}"
    )


def _step(before: Reading, after: Reading) -> np.ndarray | None:
    usable = all(each.fault is None and each.energy is not None and each.forces is not None for each in (before, after))
    if not usable or before.converged is False or after.converged is False:
        return None
    a, b = before.atoms, after.atoms
    if len(a) != len(b) or (a.numbers != b.numbers).any() or not np.allclose(a.cell.array, b.cell.array, atol=1e-6):
        return None
    step = b.positions - a.positions
    if a.pbc.all():
        fractional = np.linalg.solve(a.cell.array.T, step.T).T
        step = (fractional - np.rint(fractional)) @ a.cell.array
    largest = np.abs(step).max(initial=0.0)
    return step if 0 < largest < _LARGEST_STEP_A else None

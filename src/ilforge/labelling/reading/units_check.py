"""Check units of imported labels against physics: changes of energy must agree with forces and stresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, GPa, Hartree, kcal, mol

from ilforge.errors import SettingsError
from ilforge.labelling.reading.tight_binding_check import Agreement, agreement
from ilforge.potentials.quantum.outputs import Reading

UNCHECKED = (
    "units could not be checked: too few frames follow each other in small steps, or energies do not follow forces, "
    "and the comparison with GFN1-xTB gave no result. Make sure that the units are eV, Å and eV/Å"
)
ONLY_TOGETHER = (
    "energies follow forces, so their units are consistent, but it could not be checked that they are eV and eV/Å, "
    "because the comparison with GFN1-xTB gave no result"
)
ONLY_FORCES = (
    "forces agree with GFN1-xTB, so they are in eV/Å, but it could not be checked that energies are in eV: too few "
    "frames follow each other in small steps"
)
STRESS_UNCHECKED = (
    "sign and unit of the stress could not be checked, only its order of magnitude: neither changes of the box nor "
    "the comparison with GFN1-xTB gave a result. Make sure that it is in eV/Å^3, tension positive"
)
_LARGEST_STEP_A = 0.3
_LARGEST_STRAIN = 0.05
_FEWEST_PAIRS = 3
_LARGEST_LEVERAGE = 30.0  # times the median: a larger force is wrong, and would determine the slope alone
_LARGEST_STRESS = 0.5  # eV/Å^3, 80 GPa: more than the stress of any liquid
_FACTORS = (0.67, 1.5)  # ratios of energies to forces that rounding and anharmonic steps can explain
_LIQUID_FORCE = 0.12  # eV/Å: RMS forces of molecular liquids are 0.3 to 3; in Hartree/Bohr fifty times less
_KNOWN = (  # mixture of units, its ratio, and whether forces are as small as in Hartree/Bohr
    ("energies in Hartree with forces in eV/Å", 1 / Hartree, False),
    ("forces in Hartree/Bohr with energies in eV", Hartree / Bohr, True),
    ("energies in Hartree with forces in Hartree/Bohr", 1 / Bohr, True),
    ("energies in eV with forces in eV/Bohr", 1 / Bohr, False),
    ("energies in kcal/mol with forces in eV/Å", 1 / (kcal / mol), False),
    ("forces in kcal/mol/Å with energies in eV", kcal / mol, False),
    ("positions in Bohr", Bohr, False),
    ("forces with the wrong sign", -1.0, False),
)
_STRESS_UNITS = {
    "kbar": 0.1 * GPa, "GPa": GPa, "bar": 1e-4 * GPa, "MPa": 1e-3 * GPa, "Hartree/Bohr^3": Hartree / Bohr**3,
}  # fmt: skip


@dataclass(frozen=True)
class Slopes:
    r"""Changes of energy along a trajectory, compared with those expected from forces and stresses.

    Between neighbouring frames
    :math:`\Delta E = -\tfrac12 (F_1 + F_2)\cdot\Delta r + \tfrac12 (V_1\sigma_1 + V_2\sigma_2):\epsilon + O(\Delta^3)`,
    with :math:`\Delta r` without the strain :math:`\epsilon` of the box.

    Attributes
    ----------
    forces
        Factor of the first term, 1 if units agree; None if it cannot be determined.
    stress
        Factor of the second term; None if boxes do not change, or it cannot be determined.
    """

    forces: float | None
    stress: float | None


def unit_slopes(readings: Sequence[Reading]) -> Slopes:
    """Both factors by least squares over neighbouring frames, without outliers."""
    rows = [row for pair in zip(readings, readings[1:], strict=False) if (row := _changes(*pair)) is not None]
    if len(rows) < _FEWEST_PAIRS:
        return Slopes(None, None)
    table = np.array(rows)
    with_stress = np.isfinite(table[:, 2]) & (table[:, 2] != 0)
    if np.count_nonzero(with_stress) > 2 * _FEWEST_PAIRS:
        both = _fit(table[with_stress, 0], table[with_stress, 1:3])
        if both is not None and both.certain.all():
            return Slopes(*map(float, both.factors))
    still = ~(table[:, 3] > 0)
    found = _fit(table[still, 0], table[still, 1:2]) if np.count_nonzero(still) >= _FEWEST_PAIRS else None
    if found is None:
        found = _fit(table[:, 0], table[:, 1:2])
    return Slopes(float(found.factors[0]) if found is not None and found.explains else None, None)


def unit_ratio(readings: Sequence[Reading]) -> float | None:
    """Ratio of changes of energy to those expected from forces: 1 if units agree, None if it cannot be determined."""
    return unit_slopes(readings).forces


def require_consistent_units(path: Path, readings: Sequence[Reading]) -> tuple[str, ...]:
    """Refuse a file whose energies, forces and stresses contradict each other or GFN1-xTB.

    Returns
    -------
    tuple of str
        A sentence for each check that was not possible; empty if all were.

    Raises
    ------
    SettingsError
        With the ratio and the most likely mixture of units.
    """
    if not any(_usable(reading) for reading in readings):
        return ()
    slopes, held = unit_slopes(readings), agreement(readings)
    _require_energies(path, readings, slopes.forces)
    _require_forces(path, held)
    said = []
    if slopes.forces is None:
        said.append(UNCHECKED if held.forces is None else ONLY_FORCES)
    elif held.forces is None:
        said.append(ONLY_TOGETHER)
    if any(reading.stress is not None for reading in readings):
        _require_stress(path, readings, slopes.stress, held)
        if slopes.stress is None and held.stress is None:
            said.append(STRESS_UNCHECKED)
    return tuple(said)


def _require_energies(path: Path, readings: Sequence[Reading], ratio: float | None) -> None:
    if ratio is None or _FACTORS[0] < ratio < _FACTORS[1]:
        return
    small = _rms_force(readings) < _LIQUID_FORCE
    close = [
        name
        for name, value, is_small in _KNOWN
        if value * ratio > 0 and abs(np.log(ratio / value)) < 0.2 and is_small == small
    ]
    guess = f" It looks like {close[0]}." if close else ""
    raise SettingsError(
        f"{path}: between neighbouring frames energies change {ratio:.4g} times as much as forces predict. Expected "
        f"are eV, Å, eV/Å and eV/Å^3.{guess} Give the units with --units (energy=...,forces=...,length=...)."
    )


def _require_forces(path: Path, held: Agreement) -> None:
    if held.forces is None or 0.25 < held.forces < 4:
        return
    known = {
        "Hartree/Bohr": Bohr / Hartree, "kcal/mol/Å": 1 / (kcal / mol), "kJ/mol/nm": 964.853, "kJ/mol/Å": 96.4853,
        "the wrong sign": -1.0,
    }  # fmt: skip
    close = [name for name, value in known.items() if value * held.forces > 0 and 0.4 < held.forces / value < 2.5]
    guess = f" It looks like {close[0]}." if close else ""
    raise SettingsError(
        f"{path}: forces are {held.forces:.3g} times those of GFN1-xTB for the same frames, with a correlation of "
        f"{held.forces_correlation:.2f}. The expected unit is eV/Å.{guess} Give the unit with --units (forces=...)."
    )


def _require_stress(path: Path, readings: Sequence[Reading], slope: float | None, held: Agreement) -> None:
    sizes = [float(np.abs(reading.stress).max()) for reading in readings if reading.stress is not None]
    typical = float(np.median(sizes))
    how = "Give its unit with --units (stress=..., with a minus if compression is positive), or ignore it: stress=none."
    if typical > _LARGEST_STRESS:
        close = [name for name, unit in _STRESS_UNITS.items() if 5e-4 < typical * unit < 0.1]
        guess = f" It looks like {' or '.join(close)}." if close else ""
        raise SettingsError(
            f"{path}: the largest component of a stress is {typical:.3g} in half of the frames. If it is in eV/Å^3, "
            f"that is {typical / GPa:.3g} GPa, which no liquid has.{guess} {how}"
        )
    if slope is not None and not 0.5 < slope < 2:
        sign = "the opposite sign" if slope < 0 else "another unit"
        raise SettingsError(
            f"{path}: when the box changes, energies change {slope:.3g} times as much as the stress predicts: it has "
            f"{sign}. The expected unit is eV/Å^3, tension positive. {how}"
        )
    if slope is None and held.stress is not None and not 0.15 < held.stress < 7:
        sign = "the opposite sign" if held.stress < 0 else "another unit"
        raise SettingsError(
            f"{path}: the stress is {held.stress:.3g} times that of GFN1-xTB for the same frames, with a correlation "
            f"of {held.stress_correlation:.2f}: it has {sign}. The expected unit is eV/Å^3, tension positive. {how}"
        )


@dataclass(frozen=True)
class _Fit:
    factors: np.ndarray
    certain: np.ndarray
    explains: bool


def _fit(found: np.ndarray, expected: np.ndarray) -> _Fit | None:
    """Solve ``found = expected @ factors`` by least squares; outliers (frames in a wrong electronic state) are ignored.

    Parameters
    ----------
    found
        ``(n,)`` changes of the energy.
    expected
        ``(n, k)`` expected change from each of the k causes.
    """
    expected = expected[:, np.any(expected != 0, axis=0)]
    if len(found) <= expected.shape[1] or not expected.size or np.ptp(found) == 0:
        return None
    typical = np.median(np.abs(expected), axis=0)
    sound = np.all(np.abs(expected) <= _LARGEST_LEVERAGE * np.maximum(typical, 1e-12), axis=1)
    found, expected = found[sound], expected[sound]
    if len(found) <= expected.shape[1]:
        return None
    kept = np.ones(len(found), dtype=bool)
    factors = _robust_start(found, expected)
    for _ in range(5):
        off = np.abs(found - expected @ factors)
        allowed = max(6 * 1.4826 * float(np.median(off[kept])), 1e-9)
        now = off <= allowed
        if np.count_nonzero(now) <= max(expected.shape[1], len(found) // 2):
            return None
        kept = now
        factors = np.linalg.lstsq(expected[kept], found[kept], rcond=None)[0]
    left = found[kept] - expected[kept] @ factors
    variance = float(left @ left) / max(1, np.count_nonzero(kept) - expected.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.pinv(expected[kept].T @ expected[kept])))
    explained = 1 - float(left @ left) / float(found[kept] @ found[kept])
    return _Fit(factors, np.abs(factors) > 5 * errors, explained > 0.81)


def _robust_start(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Least absolute deviations by reweighting; up to half of the frames may be wrong."""
    factors: np.ndarray = np.linalg.lstsq(expected, found, rcond=None)[0]
    for _ in range(30):
        weights = 1 / np.sqrt(np.maximum(np.abs(found - expected @ factors), 1e-9))
        factors = np.linalg.lstsq(expected * weights[:, None], found * weights, rcond=None)[0]
    return factors


def _changes(before: Reading, after: Reading) -> tuple[float, float, float, float] | None:
    """Change of energy between two frames, the changes expected from forces and from stresses, and the strain."""
    if not (_usable(before) and _usable(after)):
        return None
    a, b = before.atoms, after.atoms
    if len(a) != len(b) or (a.numbers != b.numbers).any() or (a.pbc != b.pbc).any():
        return None
    strain, moved = np.zeros((3, 3)), a.positions
    if a.pbc.all():
        deformation = np.linalg.solve(a.cell.array, b.cell.array)
        strain = (deformation + deformation.T) / 2 - np.eye(3)
        moved = a.positions @ deformation
    elif not np.allclose(a.cell.array, b.cell.array, atol=1e-6):
        return None
    step = b.positions - moved
    if a.pbc.all():
        fractional = np.linalg.solve(b.cell.array.T, step.T).T
        step = (fractional - np.rint(fractional)) @ b.cell.array
    largest = np.abs(step).max(initial=0.0)
    if not largest < _LARGEST_STEP_A or np.abs(strain).max() > _LARGEST_STRAIN or (largest == 0 and not strain.any()):
        return None
    by_stress = 0.0
    if np.abs(strain).max() > 1e-7:
        by_stress = np.nan
        if before.stress is not None and after.stress is not None:
            mean = sum(r.atoms.get_volume() * voigt_6_to_full_3x3_stress(r.stress) for r in (before, after)) / 2
            by_stress = float(np.sum(mean * strain))
    (energy, forces), (new_energy, new_forces) = _result(before), _result(after)
    by_forces = -0.5 * float(np.sum((forces + new_forces) * step))
    return float(new_energy - energy), by_forces, by_stress, float(np.abs(strain).max())


def _usable(reading: Reading) -> bool:
    """Whether a frame has finite labels; other frames are skipped."""
    if reading.fault is not None or reading.converged is False or reading.energy is None or reading.forces is None:
        return False
    shaped = np.shape(reading.forces) == (len(reading.atoms), 3)
    return shaped and np.isfinite(reading.energy) and bool(np.all(np.isfinite(reading.forces)))


def _result(reading: Reading) -> tuple[float, np.ndarray]:
    """Energy and forces; only valid for a usable frame."""
    assert reading.energy is not None and reading.forces is not None
    return reading.energy, reading.forces


def _rms_force(readings: Sequence[Reading]) -> float:
    """Median over frames of the RMS force, in the unit of the file."""
    sizes = [float(np.sqrt(np.mean(np.square(_result(reading)[1])))) for reading in readings if _usable(reading)]
    return float(np.median(sizes)) if sizes else np.nan

"""Check units and signs of labels with GFN1-xTB: its errors are some tenths of eV/Å, wrong units a factor of fifty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from ilforge import potentials
from ilforge.errors import IlforgeError
from ilforge.labelling.storing.state import with_state
from ilforge.potentials.quantum.outputs import Reading

_LARGEST = 200  # atoms; GFN1-xTB takes 4 s for them on one core
_MOST_ATOMS = 280  # total of all compared frames, about 6 s on one core
_LEAST_CORRELATION = {"forces": 0.6, "stress": 0.7}  # below this, the comparison is not meaningful


@dataclass(frozen=True)
class Agreement:
    """Slope and correlation of labels against GFN1-xTB; None if they do not correlate or nothing was compared.

    Labels of density functionals have slopes of 1.0 to 1.1 for forces (correlation 0.98) and 0.6 to 1.5 for stresses;
    those of a force field with fixed charges 0.5 to 1 (correlation 0.65 to 0.9).
    """

    forces: float | None = None
    forces_correlation: float = 0.0
    stress: float | None = None
    stress_correlation: float = 0.0


def agreement(readings: Sequence[Reading]) -> Agreement:
    """Compare a few frames, spread over all, with GFN1-xTB; large frames and failures of the method are skipped."""
    chosen = _chosen(readings)
    forces, stresses = [], []
    for reading in chosen:
        known = _tight_binding(reading.atoms)
        if known is None:
            continue
        assert reading.forces is not None  # only readings with forces were chosen
        forces.append((np.ravel(reading.forces), known["forces"].ravel()))
        if reading.stress is not None and "stress" in known:
            stresses.append((np.ravel(reading.stress), known["stress"].ravel()))
    return Agreement(*_slope(forces, "forces"), *_slope(stresses, "stress"))


def _chosen(readings: Sequence[Reading]) -> list[Reading]:
    usable = [
        reading
        for reading in readings
        if reading.fault is None
        and reading.forces is not None
        and 1 < len(reading.atoms) <= _LARGEST
        and np.shape(reading.forces) == (len(reading.atoms), 3)
        and np.all(np.isfinite(reading.forces))
        and np.any(reading.forces)
    ]
    if not usable:
        return []
    count = max(1, min(4, _MOST_ATOMS // len(usable[0].atoms), len(usable)))
    return [usable[int(place)] for place in np.linspace(0, len(usable) - 1, count)]


def _tight_binding(frame: Atoms) -> dict[str, np.ndarray] | None:
    """Forces and stress by GFN1-xTB; None if it fails for this frame."""
    try:
        stated = with_state(frame)
        wanted = ["energy", "forces", *(["stress"] if frame.pbc.all() else [])]
        calculator = potentials.create({"kind": "xtb"}).calculator()
        calculator.set(charge=float(stated.info.get("charge", 0)))
        calculator.calculate(stated, wanted)
    except (IlforgeError, ValueError, RuntimeError, TypeError):
        return None
    return {name: np.array(calculator.results[name], dtype=float) for name in wanted[1:]}


def _slope(pairs: Sequence[tuple[np.ndarray, np.ndarray]], quantity: str) -> tuple[float | None, float]:
    """Slope of a line through the origin and correlation, over all components of all frames."""
    if not pairs:
        return None, 0.0
    found, known = (np.concatenate(side) for side in zip(*pairs, strict=True))
    size = float(np.sqrt(np.sum(found**2) * np.sum(known**2)))
    if size == 0 or len(found) < 6:
        return None, 0.0
    correlation = float(np.sum(found * known)) / size
    if abs(correlation) < _LEAST_CORRELATION[quantity]:
        return None, correlation
    # the geometric mean of both regressions: both methods have noise, which would flatten a single regression
    return float(np.sign(correlation) * np.sqrt(np.sum(found**2) / np.sum(known**2))), correlation

"""How well a run at constant energy conserves it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ilforge.dynamics import Trajectory
from ilforge.units import KB, KJ_PER_MOL

PARTS = 5


class Drift(NamedTuple):
    """Slope of the total energy and its error, kJ/mol/ps per degree of freedom; spread about the line, kJ/mol."""

    slope: float
    error: float
    spread: float


def drift(trajectory: Trajectory) -> Drift:
    """Drift of what a run recorded."""
    thermo = trajectory.thermo()
    total = thermo["potential_energy_eV"] + thermo["kinetic_energy_eV"]
    freedom = 2 * thermo["kinetic_energy_eV"].mean() / (KB * thermo["temperature_K"].mean())
    return line(thermo["time_ps"], total / KJ_PER_MOL, freedom)


def line(time: np.ndarray, total: np.ndarray, freedom: float) -> Drift:
    """The straight line through total energies in kJ/mol, ``(n,)``; its error from the slopes of five parts."""
    fitted = np.polyfit(time, total, 1)
    pieces = zip(np.array_split(time, PARTS), np.array_split(total, PARTS), strict=True)
    slopes = [np.polyfit(*piece, 1)[0] for piece in pieces]
    # a slope's error goes with the -3/2 power of the length
    error = np.std(slopes, ddof=1) / PARTS**1.5
    return Drift(fitted[0] / freedom, error / freedom, float(np.std(total - np.polyval(fitted, time))))

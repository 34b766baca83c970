"""Density of a liquid at constant pressure."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.results import Curve, Estimate
from ilforge.statistics import Equilibration, correlated_mean, detect_equilibration
from ilforge.study.analysis_settings import DensitySettings
from ilforge.units import AMU_PER_A3_IN_G_CM3

_UNIT = "g/cm^3"
_MIN_FRAMES = 5
_FIXED = 1e-6  # relative change of volume below which the cell does not move


class Density:
    """Mean mass density of an NPT run, ρ = <M / V>, in g/cm^3.

    The start of the run is left out where it differs from the rest (see
    :func:`~ilforge.statistics.detect_equilibration`); the error is that of the mean of correlated samples. Fewer
    independent samples than ``min_independent_samples``, and the value is given as not converged. At constant
    volume the density was chosen, not measured, and is not reported.

    J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016); J. D. Chodera et al., J. Chem. Theory Comput. 3, 26
    (2007).
    """

    needs_cell: ClassVar[str] = "without a box there is no volume"

    def __init__(self, settings: DensitySettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._mass = float(system.topology.masses.sum()) * AMU_PER_A3_IN_G_CM3
        self._densities: list[float] = []

    def look(self, snapshot: Snapshot) -> float:
        return self._mass / snapshot.volume

    def add(self, seen: float) -> None:
        self._densities.append(seen)

    def measurement(self) -> Measurement:
        density = np.array(self._densities)
        still = len(density) >= _MIN_FRAMES and np.ptp(density) <= _FIXED * density.mean()
        if self._system.ensemble in ("NVT", "NVE") or (self._system.ensemble is None and still):
            note = f"The volume was fixed: {density.mean():.4f} {_UNIT} was set, not measured."
            return Measurement(notes=[note])
        time = self._system.frame_interval_ps * np.arange(len(density))
        curve = Curve(time, density, None, "time", "ps", "density", _UNIT)
        estimate = mean_density(density, self._system.frame_interval_ps, self._settings)
        return Measurement([("density", None, estimate)], {"density": curve})


def mean_density(density: np.ndarray, frame_interval_ps: float, settings: DensitySettings) -> Estimate:
    """Mean over the equilibrated part of a time series ``(n_frames,)`` in g/cm^3."""
    if len(density) < _MIN_FRAMES:
        return Estimate.refused(_UNIT, f"{len(density)} frames say nothing about fluctuations", len(density))
    found = detect_equilibration(density)
    mean = correlated_mean(density[found.start :])
    converged = found.n_eff >= settings.min_independent_samples
    note = "" if converged else _too_short(found, len(density), frame_interval_ps, settings)
    return Estimate(mean.value, mean.error, mean.n_eff, _UNIT, converged, note)


def _too_short(found: Equilibration, n: int, frame_interval_ps: float, settings: DensitySettings) -> str:
    needed = found.start + settings.min_independent_samples * found.inefficiency
    return (
        f"{found.n_eff:.1f} independent samples in {n * frame_interval_ps:.3g} ps, "
        f"{settings.min_independent_samples:g} needed: run at least {needed * frame_interval_ps:.2g} ps"
    )

"""Density of a liquid at constant pressure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.results import Curve, Estimate
from ilforge.statistics import (
    DISAGREEMENT,
    Equilibration,
    correlated_mean,
    detect_equilibration,
    disagree,
    error_between,
    linear_trend,
)
from ilforge.study.analysis_settings import DensitySettings
from ilforge.units import AMU_PER_A3_IN_G_CM3

_UNIT = "g/cm^3"
_MIN_FRAMES = 5
_FIXED = 1e-6  # relative change of volume below which the cell does not move
_DRIFT = 3.0  # standard errors: a slope that is none is as steep in one stationary run of a hundred
_HALF = 0.45  # of a run: a start that is chosen so late would have been later still if it could


class Density:
    """Mean mass density of an NPT run, ρ = <M / V>, in g/cm^3.

    The start of the run is left out where it differs from the rest (see
    :func:`~ilforge.statistics.detect_equilibration`); the error is that of the mean of correlated samples. Fewer
    independent samples than ``min_independent_samples``, or a density that still drifts (see :func:`drifting`), and
    the value is given as not converged. At constant volume the density was chosen, not measured, and is not reported.
    Several runs: see :func:`pooled_density`.

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
        return self._measured("density")

    def pooled(self, runs: Sequence[Density]) -> Measurement:
        """Of several independent runs of one system, this among them."""
        parts = [run._measured(f"density, run {number}") for number, run in enumerate(runs, 1)]
        found = [estimate for part in parts for _, _, estimate in part.estimates]
        if len(found) < len(parts):
            return Measurement(notes=list(dict.fromkeys(note for part in parts for note in part.notes)))
        curves = {name: curve for part in parts for name, curve in part.curves.items()}
        together = pooled_density(found, self._settings)
        shortest = min(len(run._densities) for run in runs)
        series = np.array([run._densities[:shortest] for run in runs])
        estimate = _if_at_rest(together, series, self._system.frame_interval_ps)
        return Measurement([("density", None, estimate)], curves)

    def _measured(self, title: str) -> Measurement:
        density = np.array(self._densities)
        still = len(density) >= _MIN_FRAMES and np.ptp(density) <= _FIXED * density.mean()
        if self._system.ensemble in ("NVT", "NVE") or (self._system.ensemble is None and still):
            note = f"The volume was fixed: {density.mean():.4f} {_UNIT} was set, not measured."
            return Measurement(notes=[note])
        time = self._system.frame_interval_ps * np.arange(len(density))
        curve = Curve(time, density, None, "time", "ps", "density", _UNIT)
        estimate = mean_density(density, self._system.frame_interval_ps, self._settings)
        return Measurement([("density", None, estimate)], {title: curve})


def mean_density(density: np.ndarray, frame_interval_ps: float, settings: DensitySettings) -> Estimate:
    """Mean over the equilibrated part of a time series ``(n_frames,)`` in g/cm^3."""
    if len(density) < _MIN_FRAMES:
        return Estimate.refused(_UNIT, f"{len(density)} frames say nothing about fluctuations", len(density))
    found = detect_equilibration(density)
    mean = correlated_mean(density[found.start :])
    converged = found.n_eff >= settings.min_independent_samples
    note = "" if converged else _too_short(found, len(density), frame_interval_ps, settings)
    estimate = Estimate(mean.value, mean.error, mean.n_eff, _UNIT, converged, note)
    return _if_at_rest(estimate, density[None], frame_interval_ps)


def drifting(densities: np.ndarray, frame_interval_ps: float) -> str:
    """How independent runs of one system still drift, all together; empty where their average is at rest.

    It drifts if the part that runs keep has a slope of more than three standard errors, or if what differs from the
    rest of the average (see :func:`~ilforge.statistics.detect_equilibration`) reaches its middle. With three runs or
    more the spread between them counts as well: averages of a few short runs fluctuate more slowly than they show.

    Parameters
    ----------
    densities
        ``(n_runs, n_frames)`` in g/cm^3.
    frame_interval_ps
        Time between frames, ps.
    """
    n = densities.shape[1]
    start = detect_equilibration(densities.mean(axis=0)).start
    if start >= _HALF * n:
        steps = densities[:, start:].mean(axis=1) - densities[:, :start].mean(axis=1)
        if abs(steps.mean()) > _DRIFT * error_between(steps):
            return f"still drifting, by {steps.mean():.2g} {_UNIT} between halves of {n * frame_interval_ps:.3g} ps"
    starts = [start] if len(densities) == 1 else [detect_equilibration(run).start for run in densities]
    kept = densities[:, int(np.median(starts)) :]
    slopes = np.array([linear_trend(run).slope for run in kept])
    error = max(linear_trend(kept.mean(axis=0)).error, error_between(slopes))
    if abs(slopes.mean()) <= _DRIFT * error:
        return ""
    length = kept.shape[1]
    change = f"{slopes.mean() * length:.2g} ± {error * length:.1g} {_UNIT}"
    return f"still drifting, by {change} in the last {length * frame_interval_ps:.3g} ps"


def _if_at_rest(found: Estimate, densities: np.ndarray, frame_interval_ps: float) -> Estimate:
    """Not converged, with the reason, where the runs still drift."""
    if not found.converged or densities.shape[1] < _MIN_FRAMES:
        return found
    reason = drifting(densities, frame_interval_ps)
    return replace(found, converged=False, note=f"{reason}: run longer") if reason else found


def pooled_density(found: Sequence[Estimate], settings: DensitySettings) -> Estimate:
    """Of several independent runs: the mean weighted by their numbers of independent samples.

    The error is that of the runs or, with three runs or more, that of their spread if larger. Runs that are too short
    alone count; together they need ``min_independent_samples``. Runs that disagree (χ², p < 0.001) are refused.
    """
    found = [one for one in found if np.isfinite(one.error)]
    if not found:
        return Estimate.refused(_UNIT, "a few frames of each run say nothing about fluctuations")
    values, errors, n_eff = np.array([(one.value, one.error, one.n_eff) for one in found]).T
    if disagree(values, errors):
        return Estimate.refused(_UNIT, DISAGREEMENT.format(len(found)), n_eff.sum())
    weights = n_eff / n_eff.sum()
    error = max(float(np.linalg.norm(weights * errors)), error_between(values))
    enough = bool(n_eff.sum() >= settings.min_independent_samples)
    needed = f"{n_eff.sum():.1f} independent samples in {len(found)} runs, {settings.min_independent_samples:g} needed"
    note = f"from {len(found)} runs" if enough else needed
    return Estimate(float(weights @ values), error, float(n_eff.sum()), _UNIT, enough, note)


def _too_short(found: Equilibration, n: int, frame_interval_ps: float, settings: DensitySettings) -> str:
    needed = found.start + settings.min_independent_samples * found.inefficiency
    return (
        f"{found.n_eff:.1f} independent samples in {n * frame_interval_ps:.3g} ps, "
        f"{settings.min_independent_samples:g} needed: run at least {needed * frame_interval_ps:.2g} ps"
    )

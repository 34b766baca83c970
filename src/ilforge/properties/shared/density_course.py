"""The density along a run: its mean, whether it is stationary, and whether it has left the density of the liquid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilforge.properties.property import DensityChange, System
from ilforge.properties.shared.steadiness import Course, in_parts, judged, unsteady
from ilforge.results import Estimate, too_few_frames
from ilforge.statistics import Equilibration, correlated_mean, detect_equilibration, error_between, linear_trend
from ilforge.units import at_least, in_digits

UNIT = "g/cm^3"
MIN_FRAMES = 5
_FIXED = 1e-6  # smaller relative changes of the volume mean that it is constant
_DRIFT = 3.0  # standard errors
_HALF = 0.45  # of a run: a start detected later than this is limited by the method and would be even later
_WINDOW, _END = 50, 4  # averages are over 1/50 of the run; its end is the last quarter
_ARRIVED = 0.02  # relative difference within which a density has reached its final value


def at_fixed_volume(density: np.ndarray, ensemble: str | None) -> bool:
    """Whether the density of a run was set, not measured; if the ensemble is unknown, frames are compared."""
    still = len(density) >= MIN_FRAMES and np.ptp(density) <= _FIXED * density.mean()
    return ensemble in ("NVT", "NVE") or (ensemble is None and still)


def mean_density(density: np.ndarray, frame_interval_ps: float, min_samples: float) -> Estimate:
    """Mean over the equilibrated part of a time series ``(n_frames,)`` in g/cm^3.

    It has not converged with fewer than ``min_samples`` independent samples, or if it still drifts.
    """
    if len(density) < MIN_FRAMES:
        return Estimate.refused(UNIT, too_few_frames(len(density), "to estimate fluctuations"), len(density))
    found = detect_equilibration(density)
    mean = correlated_mean(density[found.start :])
    converged = found.n_eff >= min_samples
    note = "" if converged else _too_short(found, len(density), frame_interval_ps, min_samples)
    estimate = Estimate(mean.value, mean.error, mean.n_eff, UNIT, converged, note)
    return if_at_rest(estimate, density[None], frame_interval_ps, found.start)


def if_at_rest(found: Estimate, densities: np.ndarray, frame_interval_ps: float, start: int) -> Estimate:
    """The estimate; not converged, with the reason, if the runs still drift. Its note has the length left out.

    A drift is reported before too few samples, because it is the more serious reason. Parameters are those of
    :func:`drifting`.
    """
    if densities.shape[1] < MIN_FRAMES:
        return found
    reason = drifting(densities, frame_interval_ps, start)
    if reason:
        return replace(found, converged=False, steady=False, note=reason)
    if not found.converged:
        return found
    return judged(found, [_course(densities, frame_interval_ps, start)], start * frame_interval_ps)


def drifting(densities: np.ndarray, frame_interval_ps: float, start: int) -> str:
    """How the average of independent runs of one system still drifts, in words; empty if it is stationary.

    The part that is kept must be stationary (see :mod:`~ilforge.properties.shared.steadiness`). If a start is left out,
    this start must be the cause of the drift: if the whole run has a slope, the slope of the rest must be less than
    half as steep, and differ from it by two standard errors. Otherwise leaving out a start could hide a drift, because
    the shorter rest has larger errors.

    Parameters
    ----------
    densities
        ``(n_runs, n_frames)`` in g/cm^3.
    frame_interval_ps
        Time between frames, ps.
    start
        Index of the first frame that is kept.
    """
    n = densities.shape[1]
    if start >= _HALF * n:
        steps = densities[:, start:].mean(axis=1) - densities[:, :start].mean(axis=1)
        if abs(steps.mean()) > _DRIFT * error_between(steps):
            between = f"between halves of {in_digits(n * frame_interval_ps, 3)} ps"
            return f"not stationary: the density is still drifting, by {steps.mean():.2g} {UNIT} {between}: run longer"
    kept = _course(densities, frame_interval_ps, start)
    reason = unsteady(kept)
    if reason or start == 0:
        return reason
    mean = densities.mean(axis=0)
    whole, rest = linear_trend(mean), linear_trend(mean[start:])
    gone = abs(rest.slope) < 0.5 * abs(whole.slope) and abs(rest.slope - whole.slope) > 2.0 * rest.error
    if gone or abs(whole.slope) <= _DRIFT * whole.error:
        return ""
    return (
        f"not stationary: the density is still drifting, by {whole.slope * n:.2g} ± {whole.error * n:.1g} {UNIT} in "
        f"{in_digits(n * frame_interval_ps, 3)} ps, and leaving out the first {in_digits(kept.from_ps, 3)} ps "
        "does not remove the drift: run longer"
    )


def _course(densities: np.ndarray, frame_interval_ps: float, start: int) -> Course:
    kept = densities[:, start:]
    length, before = kept.shape[1] * frame_interval_ps, start * frame_interval_ps
    return Course("the density", in_parts(kept), length, UNIT, before)


def departure(density: np.ndarray, system: System, lowest: float, highest: float) -> DensityChange | None:
    """The change of density of a run that ends far from its initial density; None if it does not.

    The mean of the last quarter of the run is compared with that of the first fiftieth or, if it is known and higher,
    the density before equilibration: a box that boiled during equilibration has lost the liquid, but a loosely packed
    one has not. The final density is the most distant mean over a fiftieth of the run; its time is the first at which
    the density is within 2 % of it.

    Parameters
    ----------
    density
        ``(n_frames,)`` in g/cm^3.
    lowest, highest
        Allowed densities of the last quarter, relative to the start.
    """
    n = len(density)
    if n < MIN_FRAMES:
        return None
    window = max(1, n // _WINDOW)
    smooth = np.convolve(density, np.full(window, 1.0 / window), mode="valid")
    start, before_ps = float(smooth[0]), 0.0
    if system.start_density is not None and system.start_density > start:
        start, before_ps = system.start_density, system.unrecorded_ps
    end = density[-max(1, n // _END) :].mean()
    if end >= lowest * start and end <= highest * smooth[0]:
        return None
    fell = end < lowest * start
    start, before_ps = (start, before_ps) if fell else (float(smooth[0]), 0.0)
    reached = smooth.min() if fell else smooth.max()
    first = int(np.flatnonzero(np.abs(smooth - reached) <= _ARRIVED * reached)[0])
    return DensityChange(start, float(reached), before_ps + (first + window - 1) * system.frame_interval_ps)


def _too_short(found: Equilibration, n: int, frame_interval_ps: float, min_samples: float) -> str:
    needed = found.start + min_samples * found.inefficiency
    return (
        f"{found.n_eff:.1f} independent samples in {in_digits(n * frame_interval_ps, 3)} ps, "
        f"{min_samples:g} needed: run at least {at_least(needed * frame_interval_ps)} ps"
    )

"""Populations of states that many ions visit, and relaxation times of correlation functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ilforge.properties.shared.steadiness import Course, in_parts, judged
from ilforge.results import Estimate, too_few_frames
from ilforge.statistics import correlated_mean
from ilforge.units import at_least, in_digits

_CHUNK_ELEMENTS = 4_000_000
_FIRST_LAGS = 3
_RELAXATIONS = 4.0  # smallest length of a run in statistical inefficiencies
DECAYED = 0.2
"""Value to which a correlation function must fall; otherwise its integral is unknown."""
_TAIL_FROM = 2.5  # the last decay by this factor gives the rate of the tail
_MOST_TAIL = 1 / 3  # largest share of the tail in an integral


class Relaxation(NamedTuple):
    """Inefficiency of the series of single ions, in frames, and the number of independent samples of all of them."""

    inefficiency: float
    n_eff: float


def relaxation(series: np.ndarray) -> Relaxation:
    """Relaxation of the states of single ions, from fluctuations about the mean of all ions and times.

        g = 1 + 2 Σ (1 - t/n) C(t),    C(t) = <δa_i(0) δa_i(t)> / <δa²>,  δa_i(t) = a_i(t) - <a>

    Ions that never change but differ from each other have C = 1 and g = n; with the mean of each ion this would not be
    visible. The sum ends where C first falls to zero.

    Parameters
    ----------
    series
        ``(n_frames, n_ions)``.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n, n_ions = series.shape
    mean = float(series.mean())
    variance = float(series.var())
    if n < 2 or variance <= 1e-12:
        return Relaxation(float(n), float(n_ions))
    length = next_fast_len(2 * n, real=True)
    sums = np.zeros(n)
    chunk = max(1, _CHUNK_ELEMENTS // (4 * n))
    for start in range(0, n_ions, chunk):
        part = series[:, start : start + chunk].T - mean
        sums += irfft((np.abs(rfft(part, length)) ** 2).sum(axis=0), length)[:n]
    correlation = sums / (n - np.arange(n)) / (variance * n_ions)
    lags = np.arange(1, n)
    ends = np.flatnonzero((correlation[1:] <= 0.0) & (lags > _FIRST_LAGS))
    stop = ends[0] if len(ends) else n - 1
    g = 1.0 + 2.0 * np.sum(correlation[1 : stop + 1] * (1.0 - lags[:stop] / n))
    g = float(np.clip(g, 1.0, n))
    return Relaxation(g, n_ions * n / g)


def population(
    visits: np.ndarray, relaxed: Relaxation, min_samples: float, interval_ps: float, percent: bool = True
) -> Estimate:
    """Share of ions and times in a state, with its error.

    The error is the larger of two. The error over time belongs to the mean of the correlated series of the share; it
    includes correlations between ions. The error over ions is the spread of the shares of single ions, divided by the
    root of their number; it is right even if ions hardly change during the run. For shares of 0 and 1, both are zero,
    and the error follows from the number of independent samples as in A. Agresti and B. A. Coull, Am. Stat. 52, 119
    (1998).

    Parameters
    ----------
    visits
        ``(n_frames, n_ions)`` booleans.
    relaxed
        Relaxation of the number that defines the states.
    min_samples
        With fewer independent samples, or a run shorter than four relaxations, the population has not converged.
    interval_ps
        Time between frames, ps.
    """
    n, n_ions = visits.shape
    unit, scale = ("%", 100.0) if percent else ("1", 1.0)
    value = float(visits.mean())
    errors = []
    if n > 1:
        errors.append(correlated_mean(visits.mean(axis=1)).error)
    if n_ions > 1:
        errors.append(float(visits.mean(axis=0).std(ddof=1) / np.sqrt(n_ions)))
    error = float(np.nanmax(errors)) if errors else np.nan
    spread = value * (1.0 - value)
    n_eff = min(relaxed.n_eff, spread / error**2) if error > 0 else relaxed.n_eff
    if not error > 0 and n > 1:
        error = share_error(value, n_eff)
    note = too_short(n, relaxed, n_eff, min_samples, interval_ps)
    found = Estimate(scale * value, scale * error, n_eff, unit, not note, note)
    return judged(found, [Course("the population", scale * in_parts(visits.T), n * interval_ps, unit)])


def share_error(value: float, n: float) -> float:
    """Standard error of a share (0 to 1) of ``n`` independent samples, never zero: Agresti and Coull (1998)."""
    near = (value * n + 2.0) / (n + 4.0)
    return float(np.sqrt(near * (1.0 - near) / (n + 4.0)))


def mean_of_ions(series: np.ndarray, relaxed: Relaxation, min_samples: float, interval_ps: float) -> Estimate:
    """Mean over ions and times of a number of each ion, with the larger of its errors over time and over ions."""
    n, n_ions = series.shape
    errors = [correlated_mean(series.mean(axis=1)).error] if n > 1 else []
    if n_ions > 1:
        errors.append(float(series.mean(axis=0).std(ddof=1) / np.sqrt(n_ions)))
    error = float(np.nanmax(errors)) if errors else np.nan
    n_eff = min(relaxed.n_eff, float(series.var()) / error**2) if error > 0 else relaxed.n_eff
    note = too_short(n, relaxed, n_eff, min_samples, interval_ps)
    found = Estimate(float(series.mean()), error, n_eff, "1", not note, note)
    return judged(found, [Course("the mean", in_parts(series.T), n * interval_ps)])


def too_short(
    n: int, relaxed: Relaxation, n_eff: float, min_samples: float, interval_ps: float, what: str = "one ion"
) -> str:
    """Why a run is too short for a mean, and how long it must be; empty if it is long enough."""
    if n < 5:
        return too_few_frames(n, "to estimate fluctuations")
    factor = max(min_samples / max(n_eff, 1e-9), _RELAXATIONS * relaxed.inefficiency / n)
    if factor <= 1.0:
        return ""
    return (
        f"{n_eff:.1f} independent samples and {n / relaxed.inefficiency:.1f} relaxation times of {what} in "
        f"{in_digits(n * interval_ps, 3)} ps, {min_samples:g} and {_RELAXATIONS:g} needed: "
        f"run at least {at_least(factor * n * interval_ps)} ps"
    )


def decay_time(correlation: np.ndarray, interval_ps: float, noise: np.ndarray | None = None) -> np.ndarray:
    """Integral of correlation functions that decay from 1 to 0, ps.

    The trapezoidal rule is used as long as the function exceeds its noise, at least down to 0.2. The rest is an
    exponential with the rate of the last decay by a factor of 2.5, so a slow tail is included as far as it is visible.
    The result is NaN if the function does not fall to 0.2, or if the exponential would be a third of the integral.

    Parameters
    ----------
    correlation
        ``(..., n_lags)``.
    noise
        ``(n_lags,)``: noise that the function must exceed; by default 0.2.
    """
    correlation = np.asarray(correlation, dtype=float)
    floor = np.full(correlation.shape[-1], DECAYED) if noise is None else np.minimum(noise, DECAYED)
    flat = correlation.reshape(-1, correlation.shape[-1])
    return np.array([_decay_time(c, floor) for c in flat]).reshape(correlation.shape[:-1]) * interval_ps


def _decay_time(c: np.ndarray, floor: np.ndarray) -> float:
    low = np.flatnonzero(c <= DECAYED)
    if len(low) == 0 or not np.all(np.isfinite(c[: low[0] + 1])):
        return np.nan
    first = int(low[0])
    lost = np.flatnonzero(~(c[first:] > floor[first:]))  # below the noise, or no contact lasts this long
    end = first + int(lost[0]) if len(lost) else len(c) - 1
    if not np.isfinite(c[end]):
        end -= 1
    above = np.flatnonzero(c[:end] >= _TAIL_FROM * c[end])
    start = int(above[-1]) if len(above) else end - 1
    measured, tail = float(np.trapezoid(c[: end + 1])), 0.0
    if c[end] > 0 and c[start] > c[end]:
        tail = c[end] * (end - start) / np.log(c[start] / c[end])
    return measured + tail if tail <= _MOST_TAIL * (measured + tail) else np.nan

"""Statistics of correlated samples: numbers of independent samples, and errors.

All functions work on arrays, without paths or globals; random numbers come from the argument ``rng``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ilforge.arrays import Floats
from ilforge.units import at_least, in_digits

_FIRST_LAGS = 3  # lags that are always included, independent of noise (Chodera 2016)
_START_CANDIDATES = 40
_DISTINCT = 4.0  # standard errors between the means of a start that is left out and the rest
MIN_RUNS = 3
"""Smallest number of runs with a meaningful spread."""
_SAME_STATE = 1e-3  # runs with a smaller p value of χ² disagree
DISAGREEMENT = "{} runs of the same state disagree beyond their errors"


def autocorrelation(series: Floats) -> Floats:
    """Normalised autocorrelation of fluctuations, C(t) = <δa(0) δa(t)> / <δa²>, by FFT.

    Parameters
    ----------
    series
        ``(n,)``, equally spaced in time.

    Returns
    -------
    ``(n,)``: C at lags 0 to n - 1, each averaged over n - t pairs. For a constant series, zero after lag 0.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n = len(series)
    if _is_constant(series):
        return np.eye(1, n).reshape(n)
    fluctuation = np.asarray(series, dtype=float) - np.mean(series)
    transform = rfft(fluctuation, next_fast_len(2 * n, real=True))
    sums: Floats = irfft(np.abs(transform) ** 2, next_fast_len(2 * n, real=True))[:n]
    found: Floats = sums / (n - np.arange(n)) / (sums[0] / n)
    return found


def statistical_inefficiency(series: np.ndarray) -> float:
    """Number of consecutive samples that correspond to one independent sample, g = 1 + 2 Σ (1 - t/n) C(t).

    The sum ends where C first falls to zero, as in J. D. Chodera et al., J. Chem. Theory Comput. 3, 26 (2007),
    eqs. 14-16. A constant series counts as a single sample: g = n.

    Parameters
    ----------
    series
        ``(n,)``, equally spaced in time.

    Returns
    -------
    g, between 1 and n.
    """
    n = len(series)
    if n < 2 or _is_constant(series):
        return float(max(n, 1))
    correlation = autocorrelation(series)[1 : n - 1]
    lags = np.arange(1, n - 1)
    ends = np.flatnonzero((correlation <= 0.0) & (lags > _FIRST_LAGS))
    stop = ends[0] if len(ends) else len(lags)
    g = 1.0 + 2.0 * np.sum(correlation[:stop] * (1.0 - lags[:stop] / n))
    return float(np.clip(g, 1.0, n))


class Mean(NamedTuple):
    """Mean of a series, its standard error, and its number of independent samples."""

    value: float
    error: float
    n_eff: float


def correlated_mean(series: np.ndarray) -> Mean:
    """Mean of correlated samples with its standard error, sqrt(g s² / (n - 2 g)).

    The 2 g corrects for short series: both the fluctuations about their own mean and the visible correlations are too
    small by about g/n.

    Parameters
    ----------
    series
        ``(n,)``, equally spaced in time.
    """
    series = np.asarray(series, dtype=float)
    n, g = len(series), statistical_inefficiency(series)
    error = np.sqrt(g * series.var() / max(n - 2.0 * g, 0.1 * n)) if n > 1 else np.nan
    return Mean(float(series.mean()), float(error), n / g)


class Equilibration(NamedTuple):
    """Start of the equilibrated part of a series, its inefficiency, and its number of independent samples."""

    start: int
    inefficiency: float
    n_eff: float


def detect_equilibration(series: np.ndarray) -> Equilibration:
    """The start that gives the most independent samples: max over t0 of (n - t0) / g(t0).

    J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016), with two safeguards, because this rule alone also
    selects the last part of stationary series if its g is too small by chance. A beginning is left out only if its mean
    differs from that of the rest by more than four standard errors, and never more than half of the series.

    Share of 95 % intervals (with :func:`correlated_mean`) that contain the true mean, from 1,000 trials of
    autoregressive noise each: 0.92 with 20 independent samples (0.79 by the rule alone), 0.95 with 200. After a
    transient of eight standard deviations it is 0.85 with 40 and 0.91 with 1,000. A quarter of series with only ten
    independent samples appears to have twenty or more, and then the error is too small (0.74), because no series shows
    correlations longer than itself.

    Parameters
    ----------
    series
        ``(n,)``, equally spaced in time.
    """
    series = np.asarray(series, dtype=float)
    n = len(series)
    starts = range(0, n // 2 + 1, max(1, n // 2 // _START_CANDIDATES))
    tried = [(start, statistical_inefficiency(series[start:])) for start in starts]
    start, g = max(tried, key=lambda pair: (n - pair[0]) / pair[1])
    if start > 0:
        step = abs(series[:start].mean() - series[start:].mean())
        error = np.sqrt(g * series[start:].var() * (1.0 / start + 1.0 / (n - start)))
        if step < _DISTINCT * error:
            start, g = tried[0]
    return Equilibration(start, g, (n - start) / g)


class Trend(NamedTuple):
    """Slope of a series per sample, and its standard error."""

    slope: float
    error: float


def linear_trend(series: np.ndarray) -> Trend:
    """Least-squares slope of correlated samples, with its standard error sqrt(g s² / Σ (t - t̄)²).

    s² and g are the variance and the statistical inefficiency of the residuals of the straight line.

    Parameters
    ----------
    series
        ``(n,)``, equally spaced in time.
    """
    series = np.asarray(series, dtype=float)
    time = np.arange(len(series)) - 0.5 * (len(series) - 1)
    spread = float(time @ time)
    slope = float(time @ series) / spread
    residual = series - series.mean() - slope * time
    return Trend(slope, float(np.sqrt(statistical_inefficiency(residual) * residual.var() / spread)))


def block_error(samples: np.ndarray, n_blocks: int = 10) -> Any:  # a number or an array, depending on the shape
    """Standard error of the mean over the first axis, from the spread of ``n_blocks`` block means.

    H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989): blocks longer than the correlation time are
    independent. If the division is uneven, the first blocks have one more sample.

    Parameters
    ----------
    samples
        ``(n, ...)``, in time order.

    Returns
    -------
    Array of the trailing shape, or a float; NaN with fewer than two samples.
    """
    samples = np.asarray(samples, dtype=float)
    n_blocks = min(n_blocks, len(samples))
    if n_blocks < 2:
        error = np.full(samples.shape[1:], np.nan)
    else:
        means = np.array([block.mean(axis=0) for block in np.array_split(samples, n_blocks)])
        error = means.std(axis=0, ddof=1) / np.sqrt(n_blocks)
    return float(error) if error.ndim == 0 else error


def error_between(values: np.ndarray) -> float:
    """Standard error of the mean of independent runs ``(n,)`` from their spread; 0 with fewer than three of them."""
    n = len(values)
    return float(np.std(values, ddof=1) / np.sqrt(n)) if n >= MIN_RUNS else 0.0


def too_few(of: str, n_eff: float, min_samples: float, length_ps: float) -> str:
    """Why a run of this length is too short for a mean, and how long it must be; empty if it is long enough."""
    if n_eff >= min_samples:
        return ""
    return (
        f"{n_eff:.1f} independent samples of {of} in {in_digits(length_ps, 3)} ps, {min_samples:g} needed: "
        f"run at least {at_least(min_samples / n_eff * length_ps)} ps"
    )


def disagree(values: np.ndarray, errors: np.ndarray | float) -> bool:
    """Whether values ``(n,)`` of one quantity differ beyond their standard errors (χ², p < 0.001)."""
    from scipy.special import chdtrc

    if len(values) < 2:
        return False
    weights = np.broadcast_to(errors, np.shape(values)).astype(float) ** -2.0
    chi2 = float(np.sum(weights * (values - weights @ values / weights.sum()) ** 2))
    return bool(chdtrc(len(values) - 1, chi2) < _SAME_STATE)


def bootstrap(
    statistic: Callable[[np.ndarray], float | np.ndarray],
    groups: Sequence[np.ndarray],
    rng: np.random.Generator,
    n: int = 200,
) -> float | np.ndarray:
    """Standard error of a statistic if groups of samples, and not single samples, are independent.

    Groups (the components of one structure's forces, the frames of one block) are drawn with replacement:
    B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 8.

    Parameters
    ----------
    statistic
        Function of an integer array of sample indices, repeats included, giving a number or an array.
    groups
        Index array of each group.
    n
        Number of resamples.

    Returns
    -------
    Standard deviation over the resamples, of the statistic's shape; NaN with fewer than two groups.
    """
    groups = [np.asarray(group, dtype=int) for group in groups]
    if len(groups) < 2:
        return np.asarray(statistic(np.concatenate(groups)), dtype=float) * np.nan if groups else np.nan
    values = []
    for _ in range(n):
        drawn = rng.integers(len(groups), size=len(groups))
        values.append(statistic(np.concatenate([groups[index] for index in drawn])))
    error = np.std(np.asarray(values, dtype=float), axis=0, ddof=1)
    return float(error) if np.ndim(error) == 0 else error


class LinearFit(NamedTuple):
    """Coefficients of a generalised least-squares fit, their covariance, and the quality of the fit.

    ``weights`` of shape ``(n_coefficients, n)`` give the coefficients as ``weights @ y``.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    weights: np.ndarray
    chi2: float
    degrees_of_freedom: int


def generalised_least_squares(design: np.ndarray, y: np.ndarray, covariance: np.ndarray) -> LinearFit:
    """Best linear fit of correlated data: β = (Xᵀ C⁻¹ X)⁻¹ Xᵀ C⁻¹ y (A. C. Aitken, 1936).

    Parameters
    ----------
    design
        ``(n, n_coefficients)``.
    y
        ``(n,)``.
    covariance
        ``(n, n)``, of y; positive definite.
    """
    from scipy.linalg import cho_factor, cho_solve

    scale = np.sqrt(np.diag(covariance))  # solve with the correlation matrix, because variances may span many decades
    correlation = covariance / np.outer(scale, scale) + 1e-10 * np.eye(len(y))
    factor = cho_factor(correlation, lower=True)
    whitened = design / scale[:, None]
    solved = cho_solve(factor, whitened)
    coefficient_covariance = np.linalg.inv(whitened.T @ solved)
    weights = coefficient_covariance @ solved.T / scale
    coefficients = weights @ y
    residual = (y - design @ coefficients) / scale
    chi2 = float(residual @ cho_solve(factor, residual))
    return LinearFit(coefficients, coefficient_covariance, weights, chi2, len(y) - design.shape[1])


def _is_constant(series: np.ndarray) -> bool:
    """Whether a series does not fluctuate beyond rounding."""
    series = np.asarray(series, dtype=float)
    return bool(np.ptp(series) <= 1e-12 * np.max(np.abs(series), initial=0.0))

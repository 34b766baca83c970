"""Green-Kubo integrals: the power spectrum of a fluctuating current, and its value at frequency zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_FIRST_POINTS = 16  # number of frequencies in the smallest fit
_MOST_POINTS = 1500
_GROWTH = 1.4
_MIN_P_VALUE = 0.001  # of the model; as long as it is larger, the range of frequencies grows
_BINS = 8
_PARAMETERS = 3
_MARGIN = 10.0  # ratio of the largest range that the model describes to the range that is used
_LOWEST_BEND = 2.0  # in frequency spacings; slower relaxation is too long for the length of the run


class Spectrum(NamedTuple):
    """Periodogram of ``n_components`` independent series: frequencies ``(n,)`` in 1/ps, and power ``(n,)``."""

    frequencies: np.ndarray
    power: np.ndarray
    n_components: int


@dataclass(frozen=True)
class GreenKubo:
    """The integral of an autocorrelation function, with its error.

    Attributes
    ----------
    integral, error
        Integral of the autocorrelation function from zero to infinity, in the square of the series' unit times ps.
    relaxation_ps
        Time constant of the slowest resolved decay, ps.
    cutoff
        Highest frequency of the fit, 1/ps.
    n_points
        Number of frequencies in the fit.
    aliased
        Power near the highest frequency, as a share of the integral: a bound for the contribution of fluctuations
        faster than the recording.
    """

    integral: float
    error: float
    relaxation_ps: float
    cutoff: float
    n_points: int
    aliased: float


def power_spectrum(series: np.ndarray, interval_ps: float) -> Spectrum:
    """Power spectrum whose limit at frequency zero is the integral of the autocorrelation function.

        C(f) = h/(2 n M) Σ_m |Σ_t a_m(t) exp(-2πi f t)|²,  f > 0

    Parameters
    ----------
    series
        ``(n_components, n)``, equally spaced in time; components are independent and equivalent.
    """
    from scipy.fft import rfft, rfftfreq

    n_components, n = series.shape
    fluctuation = series - series.mean(axis=1, keepdims=True)
    power = 0.5 * interval_ps / n * (np.abs(rfft(fluctuation, axis=1)) ** 2).mean(axis=0)
    last = (n - 1) // 2  # the Nyquist frequency, if present, has half the degrees of freedom
    return Spectrum(rfftfreq(n, interval_ps)[1 : last + 1], power[1 : last + 1], n_components)


def integrate(spectrum: Spectrum) -> GreenKubo | None:
    """Integral of the autocorrelation function from the low end of the spectrum.

    The power at each frequency is an average of 2M squared normal numbers, and independent of other frequencies. The
    model

        C(f) = C∞ + (C0 - C∞) / (1 + (f/f0)²),

    one exponential decay plus faster decays, is fitted to the low frequencies by maximum (Whittle) likelihood; the
    integral is C0. The range of frequencies grows as long as the model describes it (deviance in eight logarithmic
    bins, p > 0.001). A tenth of this range is used, because with several slow decays the test also passes for ranges
    that the model does not describe well. The error combines, in squares, the error of the fit (from the Fisher
    information) and the difference from C0 of the whole range.

    The idea to take the integral from the spectrum, where the noise is white and independent, is from STACIE:
    G. Toraman, D. Fauconnier, T. Verstraelen, J. Chem. Inf. Model. (2025), doi:10.1021/acs.jcim.5c01475; the
    likelihood is P. Whittle's (1953).

    Returns
    -------
    The integral, or None if there are too few frequencies or no fit is valid.
    """
    f, power, m = spectrum
    if len(f) < _FIRST_POINTS or not np.all(power > 0):
        return None
    fits = _fits(f, power, m)
    if not fits:
        return None
    best = [fit for fit in fits if fit.n <= max(fits[-1].n / _MARGIN, fits[0].n)][-1]
    parameters, covariance, n = best
    value = float(np.exp(parameters[0]))
    between_ranges = value - float(np.exp(fits[-1].parameters[0]))
    top = power[int(0.9 * len(power)) :].mean()
    return GreenKubo(
        value,
        float(np.hypot(value * np.sqrt(covariance[0, 0]), between_ranges)),
        float(0.5 / np.pi / np.exp(parameters[2])),
        float(f[n - 1]),
        n,
        float(top / value),
    )


class _Fit(NamedTuple):
    parameters: np.ndarray
    covariance: np.ndarray
    n: int


def _fits(f: np.ndarray, power: np.ndarray, m: int) -> list[_Fit]:
    """Fits to growing ranges, from the first valid one to the first two consecutive invalid ones."""
    fits: list[_Fit] = []
    n, failures = _FIRST_POINTS, 0
    while n <= min(len(f), _MOST_POINTS) and failures < 2:
        fit = _fit(f[:n], power[:n], m, fits[-1].parameters if fits else None)
        if fit is not None:
            holds = _p_value(power[:n] / _model(fit[0], f[:n])[0], m) >= _MIN_P_VALUE
            failures = 0 if holds or not fits else failures + 1
            if holds:
                fits.append(_Fit(*fit, n))
        n = max(n + 1, int(_GROWTH * n))
    return fits


def _model(parameters: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """C(f) and d ln C / d parameters ``(3, n)``; the parameters are the logarithms of C0, C∞ and f0."""
    low, high, bend = np.exp(parameters)
    share = 1.0 / (1.0 + (f / bend) ** 2)
    value = low * share + high * (1.0 - share)
    gradient = np.array([low * share, high * (1.0 - share), 2.0 * (low - high) * share * (1.0 - share)])
    return value, gradient / value


def _fit(f: np.ndarray, power: np.ndarray, m: int, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Most likely logarithms of C0, C∞ and f0, and their covariance."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _model(parameters, f)
        ratio = power / value
        return float(np.sum(np.log(value) + ratio)), gradient @ (1.0 - ratio)

    typical = np.log(power.mean())
    bounds = [(typical - 12.0, typical + 6.0)] * 2 + [(np.log(_LOWEST_BEND * f[0]), np.log(3.0 * f[-1]))]
    third = max(len(f) // 3, 1)
    ends = np.log(power[:third].mean()), np.log(power[-third:].mean())
    starts = [np.array([*ends, np.log(f[third])])] + ([] if start is None else [start])
    found = [
        minimize(loss, np.clip(x, *np.transpose(bounds)), jac=True, method="L-BFGS-B", bounds=bounds) for x in starts
    ]
    best = min(found, key=lambda result: result.fun)
    _, gradient = _model(best.x, f)
    information = m * gradient @ gradient.T
    # a prior half a decade wide, for parameters that the data do not determine (C∞, and f0 of a flat spectrum)
    information[1, 1] += 1e-2
    information[2, 2] += 1.0
    try:
        return best.x, np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return None


def _p_value(ratio: np.ndarray, m: int) -> float:
    """Probability of such residuals, from the means of power over model in bins."""
    from scipy.special import chdtrc

    edges = np.unique(np.geomspace(1, len(ratio), min(_BINS, len(ratio) // 2) + 1).astype(int)[1:-1] + 1)
    bins = np.split(ratio, edges)
    means, counts = np.array([part.mean() for part in bins]), np.array([len(part) for part in bins])
    chi2 = float(np.sum(2.0 * m * counts * (means - 1.0 - np.log(means))))  # deviance of gamma distributions
    return float(chdtrc(max(len(bins) - _PARAMETERS, 1), chi2))

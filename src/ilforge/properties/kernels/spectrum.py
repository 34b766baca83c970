"""Green-Kubo integrals: the power spectrum of a fluctuating current, and its value at frequency zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_FIRST_POINTS = 16  # frequencies in the smallest fit
_MOST_POINTS = 1500
_GROWTH = 1.4
_MIN_P_VALUE = 0.001  # of the model, for the range of frequencies to grow
_BINS = 8
_PARAMETERS = 3
_MARGIN = 10.0  # by which the range used is smaller than the largest that the model seems to hold for
_LOWEST_BEND = 2.0  # frequency spacings: slower relaxation than that cannot be told from the run's length


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
        Of the autocorrelation function from zero to infinity, in the square of the series' unit times ps.
    relaxation_ps
        Time constant of the slowest resolved decay, ps.
    cutoff
        Highest frequency of the fit, 1/ps.
    n_points
        Number of frequencies in the fit.
    aliased
        Power near the highest frequency there is, as a share of the integral. It bounds what fluctuations faster
        than the recording add.
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
        ``(n_components, n)``, equally spaced in time, components independent and alike.
    """
    from scipy.fft import rfft, rfftfreq

    n_components, n = series.shape
    fluctuation = series - series.mean(axis=1, keepdims=True)
    power = 0.5 * interval_ps / n * (np.abs(rfft(fluctuation, axis=1)) ** 2).mean(axis=0)
    last = (n - 1) // 2  # the Nyquist frequency, if there, has half the degrees of freedom
    return Spectrum(rfftfreq(n, interval_ps)[1 : last + 1], power[1 : last + 1], n_components)


def integrate(spectrum: Spectrum) -> GreenKubo | None:
    """Integral of the autocorrelation function from the low end of the spectrum.

    The power at each frequency is an average over 2M squared normal numbers, independent of the power at every
    other. To its low end

        C(f) = C∞ + (C0 - C∞) / (1 + (f/f0)²),

    one exponential decay on top of anything faster, is fitted by maximum (Whittle) likelihood, and the integral is
    C0. The range of frequencies grows as long as the model describes it (deviance in eight logarithmic bins,
    p > 0.001), and a tenth of it is used: with several slow decays a range passes that is not yet described well. So
    the error is that of the fit, from the Fisher information, and the difference to C0 of the whole range, in squares.

    The idea of reading the integral off the spectrum, where the noise is white and independent, is that of STACIE:
    G. Toraman, D. Fauconnier, T. Verstraelen, J. Chem. Inf. Model. (2025), doi:10.1021/acs.jcim.5c01475; the
    likelihood is P. Whittle's (1953).

    Returns
    -------
    None where there are too few frequencies or none of the fits holds.
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
    """Fits to growing ranges, from the first that holds to the first two in a row that do not."""
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
    """Logarithms of C0, C∞, f0 of highest likelihood, and their covariance."""
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
    # half a decade of prior width where the data say nothing: of C∞ below, of f0 where the spectrum is flat
    information[1, 1] += 1e-2
    information[2, 2] += 1.0
    try:
        return best.x, np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return None


def _p_value(ratio: np.ndarray, m: int) -> float:
    """Probability of residuals like these, from the means of power over model in bins."""
    from scipy.special import chdtrc

    edges = np.unique(np.geomspace(1, len(ratio), min(_BINS, len(ratio) // 2) + 1).astype(int)[1:-1] + 1)
    bins = np.split(ratio, edges)
    means, counts = np.array([part.mean() for part in bins]), np.array([len(part) for part in bins])
    chi2 = float(np.sum(2.0 * m * counts * (means - 1.0 - np.log(means))))  # deviance of gamma distributions
    return float(chdtrc(max(len(bins) - _PARAMETERS, 1), chi2))

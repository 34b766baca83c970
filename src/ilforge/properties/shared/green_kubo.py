"""Green-Kubo relations: a transport coefficient from the integral of an autocorrelation function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ilforge.properties.kernels.spectrum import Spectrum, integrate, power_spectrum
from ilforge.properties.shared.einstein import duration
from ilforge.properties.shared.steadiness import Course, in_parts, judged
from ilforge.results import Curve, Estimate
from ilforge.statistics import disagree

_RELAXATIONS = 20.0  # a run this many relaxation times long has three frequencies below the bend of its spectrum
_ALL_RELAXATIONS = 200.0  # of all components together; with fewer, runs that look fast by chance would be accepted
_MAX_ALIASED = 0.1
_CURVE_BINS = 60
_WINDOW = 2.0  # in decay times: integrals over such windows are almost independent
_LEAST_CHANGE = 0.1  # smaller relative changes of fast fluctuations, visible in long runs, do not matter


def transport_coefficient(
    series: np.ndarray, interval_ps: float, scale: float, unit: str, recorded: str
) -> tuple[Estimate, Spectrum]:
    """scale × ∫<a(0) a(t)> dt with its error, and the power spectrum from which it is determined.

    Parameters
    ----------
    series
        ``(n_components, n)``: fluctuating components, independent and equivalent.
    interval_ps
        Time between samples, ps.
    scale
        Factor from the square of the series' unit times ps to ``unit``.
    recorded
        Name of the series, ``"the pressure tensor"``, for messages.
    """
    spectrum = power_spectrum(series, interval_ps)
    found, run = integrate(spectrum), series.shape[1] * interval_ps
    if found is None:
        note = f"{series.shape[1]} samples of {recorded} are too few to determine its slowest decay"
        return Estimate.refused(unit, f"{note}: run at least about {duration(10 * run)}"), spectrum
    value, error = scale * found.integral, scale * found.error
    n_eff = 2.0 * (value / error) ** 2
    if found.aliased > _MAX_ALIASED:
        note = (
            f"{recorded} fluctuates faster than it was recorded, every {duration(interval_ps)}: the power that "
            f"remains there is {found.aliased:.0%} of the integral; record it more often"
        )
        return Estimate.refused(unit, note, n_eff), spectrum
    decays = max(_RELAXATIONS, _ALL_RELAXATIONS / len(series))
    needed = max(4.0 * (error / value) ** 2, decays * found.relaxation_ps / run)
    if needed > 1.0:
        note = f"{value:.2g} ± {error:.2g} {unit}, slowest decay {duration(found.relaxation_ps)}: the run is too short"
        return Estimate.refused(unit, f"{note}: run at least about {duration(needed * run)}", n_eff), spectrum
    note = f"from {found.n_points} frequencies, slowest decay {duration(found.relaxation_ps)}"
    courses = _courses(series, interval_ps, found.relaxation_ps, recorded)
    return judged(Estimate(value, error, n_eff, unit, True, note), courses), spectrum


def _courses(series: np.ndarray, interval_ps: float, relaxation_ps: float, recorded: str) -> list[Course]:
    """Contributions to the integral along the run, relative to their mean; components are equivalent and averaged.

    Squared integrals over windows of two decay times are the power at low frequencies. They are few, and the windows
    are too short if decays become slower. Squared differences between samples are many, and show such a change too.
    """
    fluctuation = series - series.mean(axis=1, keepdims=True)
    width = max(1, round(_WINDOW * relaxation_ps / interval_ps))
    used = series.shape[1] // width * width
    slow = (fluctuation[:, :used].reshape(len(series), -1, width).sum(axis=2) ** 2).mean(axis=0)
    fast = (np.diff(series, axis=1) ** 2).mean(axis=0)
    named = "the power of {} at {} frequencies, relative to its mean,"
    return [
        Course(named.format(recorded, "low"), in_parts(slow[None] / slow.mean()), used * interval_ps),
        Course(
            named.format(recorded, "high"),
            in_parts(fast[None] / fast.mean()),
            series.shape[1] * interval_ps,
            least=_LEAST_CHANGE,
        ),
    ]


def runs_differ(runs: Sequence[np.ndarray], interval_ps: float) -> bool:
    """Whether independent runs of one system fluctuate differently at low frequencies (χ², p < 0.001).

    Only frequencies below the bend of the common spectrum are compared, because the power there is the coefficient. The
    relative standard deviation of the power of each run is 1/√(M n) for M components and n frequencies.

    Parameters
    ----------
    runs
        Series ``(n_components, n)`` of each run, all of one length.
    interval_ps
        Time between samples, ps.
    """
    together = power_spectrum(np.concatenate(runs), interval_ps)
    found = integrate(together)
    if len(runs) < 2 or found is None:
        return False
    low = max(1, int(np.sum(together.frequencies < 0.5 / np.pi / found.relaxation_ps)))
    shares = [(power_spectrum(run, interval_ps).power[:low] / together.power[:low]).mean() for run in runs]
    return disagree(np.array(shares), (low * np.array([len(run) for run in runs])) ** -0.5)


def spectrum_curve(spectrum: Spectrum, scale: float, label: str, unit: str) -> Curve:
    """The power spectrum in logarithmic bins, in the unit of the coefficient, which is its limit at frequency zero."""
    f, power, m = spectrum
    edges = np.unique(np.geomspace(1, len(f) + 1, _CURVE_BINS).astype(int)) - 1
    counts = np.diff(edges)
    means = [np.add.reduceat(values, edges[:-1]) / counts for values in (f, scale * power)]
    return Curve(means[0], means[1], means[1] / np.sqrt(m * counts), "frequency", "1/ps", label, unit)

"""Check whether the series of a property is stationary along the run.

Every property judges its own series with :func:`judged`: the density, squared displacements, numbers of neighbours,
shares of states, low frequencies of the stress. A series that drifts, or steps from one level to another, is not in
equilibrium; its mean is not that of a state, even if its error is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ilforge.results import Estimate
from ilforge.statistics import statistical_inefficiency
from ilforge.units import in_digits

PARTS = 200
"""Number of parts over which series are averaged; more parts do not improve the detection of a drift or a step."""
_DRIFT_CHANCE = 0.005  # a slope with a smaller p value is a drift: one in two hundred stationary runs
_STEP_CHANCE = 2e-4  # the same for a step; it is small because the step is the largest one of all positions
_DOUBT_CHANCE = 0.05  # a slope with a smaller p value is mentioned in the note
_FEWEST_PARTS = 10
_FEWEST_UNITS = 3  # smallest number of units for which their spread is used
_MANY_UNITS = 8  # with fewer units, Student's t of the spread would be so large that every run passes
_EDGE = 0.1  # of the run: nearer to its ends, a step would be based on few samples
_LOST_TO_DRIFT, _LOST_TO_STEP = 3.0, 4.0  # degrees of freedom used by the fit, and by the search for the position


class Change(NamedTuple):
    """A change of a mean along a run.

    Attributes
    ----------
    size, error
        For a drift, the change from the beginning of the run to its end; for a step, the change between the levels.
    p_value
        Probability of such a change at one position of a stationary run.
    part
        First part after the step; None for a drift.
    """

    size: float
    error: float
    p_value: float
    part: int | None = None


@dataclass(frozen=True)
class Course:
    """A series from which an estimate is computed.

    Attributes
    ----------
    what
        Name in words, ``"the density"``.
    series
        ``(n_units, n_parts)``, evenly spaced in time, for each independent ion, component or run.
    length_ps
        Length of the series, ps.
    unit
        Unit of the series; ``"1"`` for a plain number.
    from_ps
        Time in the run at which the series begins, ps.
    least
        Smaller changes are ignored; for fast fluctuations, a long run shows even tiny changes.
    """

    what: str
    series: np.ndarray
    length_ps: float
    unit: str = "1"
    from_ps: float = 0.0
    least: float = 0.0


def drift(series: np.ndarray) -> Change:
    """Slope of the mean of units by least squares, as the change over the whole length.

    The standard error is the larger of two: one from the correlated samples around the line (see
    :func:`~ilforge.statistics.statistical_inefficiency`) and, with three units or more, one from the spread of their
    slopes. The first includes correlations between units; the second is right even if units change slowly.
    The p value is that of Student's t. Its degrees of freedom are the independent samples or, with eight units or more,
    the number of units.

    Parameters
    ----------
    series
        ``(n_units, n)``, evenly spaced in time.
    """
    n = series.shape[1]
    return _contrast(series, (np.arange(n) - 0.5 * (n - 1)) / n, _LOST_TO_DRIFT)


def step(series: np.ndarray) -> Change:
    """The step that describes the mean of units best, except in the first and the last tenth.

    Errors and p value are as in :func:`drift`. The p value is for one position; because the best of many positions is
    selected, a small value occurs far more often than by chance at one position.

    Parameters
    ----------
    series
        ``(n_units, n)``, evenly spaced in time.
    """
    n = series.shape[1]
    mean = series.mean(axis=0)
    place = np.arange(max(1, int(np.ceil(_EDGE * n))), max(2, int((1.0 - _EDGE) * n) + 1))
    sums = np.cumsum(mean - mean.mean())[place - 1]
    part = int(place[np.argmax(np.abs(sums) / np.sqrt(place * (n - place)))])
    after = (np.arange(n) >= part).astype(float)
    return _contrast(series, after - after.mean(), _LOST_TO_STEP)._replace(part=part)


def in_parts(series: np.ndarray, n_parts: int = PARTS) -> np.ndarray:
    """Series ``(n_units, n)`` averaged over at most ``n_parts`` equal parts; the last samples may be left over.

    Returns
    -------
    ``(n_units, n_parts)``.
    """
    series = np.asarray(series)
    width = max(1, -(-series.shape[1] // n_parts))
    used = series.shape[1] // width * width
    found: np.ndarray = series[:, :used].reshape(len(series), used // width, width).mean(axis=2, dtype=float)
    return found


def unsteady(course: Course) -> str:
    """Why a series is not stationary, in words; empty if there is no sign of a change.

    About five of a thousand stationary series are refused, and up to thirty if they have only twenty independent
    samples: see the coverage in ``docs/validation-properties.md``.
    """
    if not _tells(course.series):
        return ""
    changes = sudden, slow = step(course.series), drift(course.series)
    chances = (one.p_value if abs(one.size) > course.least else 1.0 for one in changes)
    relative = [chance / least for chance, least in zip(chances, (_STEP_CHANCE, _DRIFT_CHANCE), strict=True)]
    if min(relative) >= 1.0:
        return ""
    end = course.from_ps + course.length_ps
    if relative[0] < relative[1]:
        mean, share = course.series.mean(axis=0), sudden.part / course.series.shape[1]
        before, after = mean[: sudden.part].mean(), mean[sudden.part :].mean()
        return (
            f"not stationary: {course.what} changes from {before:.4g} to {after:.4g} ± {sudden.error:.1g}"
            f"{_spaced(course.unit)} at {in_digits(course.from_ps + share * course.length_ps, 3)} of "
            f"{in_digits(end, 3)} ps: find out what changed there (temperature, time between frames, another run), and "
            "use the stationary part"
        )
    return (
        f"not stationary: {course.what} is still drifting, by {_size(slow, course.unit)} in the last "
        f"{in_digits(course.length_ps, 3)} ps: run longer"
    )


def judged(found: Estimate, courses: Sequence[Course], left_out_ps: float = 0.0) -> Estimate:
    """The estimate; not converged if one of its series changes along the run.

    Its note contains the length left out at the start, and slopes with a p value below 1 in 20.

    Parameters
    ----------
    found
        The estimate for a stationary run. If it has not converged, it is returned unchanged.
    courses
        The series from which it is computed.
    left_out_ps
        Length of the start of the run that is not used, ps.
    """
    if not found.converged:
        return found
    reasons = [reason for reason in map(unsteady, courses) if reason]
    if reasons:
        return replace(found, converged=False, steady=False, note=reasons[0])
    words = [found.note] if found.note else []
    words += [doubt for doubt in map(_doubt, courses) if doubt]
    return replace(found, note="; ".join([*words, left_out(left_out_ps)]))


def temperature_note(kelvin: Sequence[float | None], length_ps: float) -> list[str]:
    """A note on a temperature that changes along the run; none if the temperature is constant or unknown.

    Parameters
    ----------
    kelvin
        Temperature of each frame, K.
    length_ps
        Length of the run, ps.
    """
    known = [value for value in kelvin if value is not None]
    if not known or len(known) < len(kelvin):
        return []
    reason = unsteady(Course("the temperature", in_parts(np.array([known])), length_ps, "K"))
    return [f"N{reason[1:]}."] if reason else []


def left_out(ps: float) -> str:
    """Length left out at the start, in words."""
    return f"first {in_digits(ps, 3)} ps left out" if ps > 0 else "whole run used"


def _doubt(course: Course) -> str:
    if not _tells(course.series):
        return ""
    slow = drift(course.series)
    if abs(slow.size) <= course.least:
        return ""
    return f"{course.what} may drift, by {_size(slow, course.unit)}" if slow.p_value < _DOUBT_CHANCE else ""


def _tells(series: np.ndarray) -> bool:
    mean = series.mean(axis=0)
    return series.shape[1] >= _FEWEST_PARTS and bool(np.ptp(mean) > 1e-12 * np.abs(mean).max())


def _contrast(series: np.ndarray, shape: np.ndarray, lost: float) -> Change:
    """Size of a change with the shape ``(n,)``, which has zero mean."""
    from scipy.special import stdtr

    norm = float(shape @ shape)
    mean = series.mean(axis=0)
    size = float(shape @ mean) / norm
    residual = mean - mean.mean() - size * shape
    n, g = len(mean), statistical_inefficiency(residual)
    variance = g * residual.var() / max(1.0 - lost * g / n, 0.1)
    error, freedom = float(np.sqrt(variance / norm)), n / g - 2.0
    spread, n_units = 0.0, len(series)
    if n_units >= _FEWEST_UNITS:
        spread = float((series @ shape / norm).std(ddof=1) / np.sqrt(n_units))
    if n_units >= _MANY_UNITS and spread > error:
        freedom = n_units - 1.0
    error = max(error, spread)
    chance = 2.0 * stdtr(max(freedom, 1.0), -abs(size) / error) if error > 0 else 0.0
    return Change(size, error, float(chance))


def _size(change: Change, unit: str) -> str:
    return f"{change.size:.2g} ± {change.error:.1g}{_spaced(unit)}"


def _spaced(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"

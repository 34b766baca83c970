"""Whether what a property is made of stays the same along the run, and the words that say so.

Every property judges its own series by :func:`judged`: the density, squared displacements, numbers of neighbours,
shares of states, low frequencies of the stress. One that drifts, or steps from one level to another, belongs to no
equilibrium, and its mean to no state, however small its error is.
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
"""Parts that series are averaged in: finer ones tell no more of a drift or a step."""
_DRIFT_CHANCE = 0.005  # p value of a slope that refuses, one of two hundred stationary runs
_STEP_CHANCE = 2e-4  # p value of a step, which is the largest of all that the run could hold
_DOUBT_CHANCE = 0.05  # p value of a slope that the note mentions
_FEWEST_PARTS = 10
_FEWEST_UNITS = 3  # from so many on, the spread between them counts
_MANY_UNITS = 8  # of fewer it is known so badly that Student's t of it would let everything pass
_EDGE = 0.1  # of the run: a step nearer to its ends is one of a few samples
_LOST_TO_DRIFT, _LOST_TO_STEP = 3.0, 4.0  # independent samples that fitting takes, and the search for a place


class Change(NamedTuple):
    """How a mean changes along a run.

    Attributes
    ----------
    size, error
        Of a drift the change from the beginning of the run to its end, of a step that between levels.
    p_value
        Chance of as much in one place of a stationary run.
    part
        First part after the step; None for a drift.
    """

    size: float
    error: float
    p_value: float
    part: int | None = None


@dataclass(frozen=True)
class Course:
    """A series that an estimate is made of.

    Attributes
    ----------
    what
        In words, ``"the density"``.
    series
        ``(n_units, n_parts)``, evenly spaced in time: of each independent ion, component or run.
    length_ps
        Of the time the series is of, ps.
    unit
        Of the series; ``"1"`` for a plain number.
    from_ps
        Where in the run the series begins, ps.
    least
        A smaller change does not matter: of what fluctuates fast a long run shows any.
    """

    what: str
    series: np.ndarray
    length_ps: float
    unit: str = "1"
    from_ps: float = 0.0
    least: float = 0.0


def drift(series: np.ndarray) -> Change:
    """Least-squares line through the mean of units, as the change over the whole length.

    The standard error is the larger of two: that of the mean of correlated samples around the line (see
    :func:`~ilforge.statistics.statistical_inefficiency`), and with three units or more that of the spread of their
    slopes. The first sees what units do together, the second stays right where units change slowly.
    The p value is that of Student's t, with the independent samples or, from eight on, the units as degrees of freedom.

    Parameters
    ----------
    series
        ``(n_units, n)``, evenly spaced in time.
    """
    n = series.shape[1]
    return _contrast(series, (np.arange(n) - 0.5 * (n - 1)) / n, _LOST_TO_DRIFT)


def step(series: np.ndarray) -> Change:
    """The step that describes the mean of units best, anywhere but in the first and the last tenth.

    Errors and p value as in :func:`drift`; the p value is that of one place, and the largest of many places is far
    more often below a bound than that bound.

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
    """Series ``(n_units, n)`` averaged in at most ``n_parts`` equal parts of time; what is left over at the end is not.

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
    """Why a series is not that of a state at rest, in words; empty where nothing speaks against it.

    Of a thousand stationary series about five are refused, up to thirty where they hold only twenty independent
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
            f"{in_digits(end, 3)} ps: look what changed there (temperature, time between frames, another run), and use "
            "the part that is at rest"
        )
    return (
        f"not stationary: {course.what} is still drifting, by {_size(slow, course.unit)} in the last "
        f"{in_digits(course.length_ps, 3)} ps: run longer"
    )


def judged(found: Estimate, courses: Sequence[Course], left_out_ps: float = 0.0) -> Estimate:
    """The estimate, not converged where one of the series that it is made of changes along the run.

    Its note says how much of the start was left out, and which slopes are as steep as in one stationary run of twenty.

    Parameters
    ----------
    found
        As if the run were at rest. What has not converged anyway is given back as it is.
    courses
        What it is made of.
    left_out_ps
        Start of the run that it is not made of, ps.
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
    """A word on a temperature that changes along the run, for what depends on it; none where it is not known.

    Parameters
    ----------
    kelvin
        Of each frame.
    length_ps
        Of the run, ps.
    """
    known = [value for value in kelvin if value is not None]
    if not known or len(known) < len(kelvin):
        return []
    reason = unsteady(Course("the temperature", in_parts(np.array([known])), length_ps, "K"))
    return [f"N{reason[1:]}."] if reason else []


def left_out(ps: float) -> str:
    """How much of the start was left out, in words."""
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
    """Size of a change of this shape ``(n,)``, whose mean is zero."""
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

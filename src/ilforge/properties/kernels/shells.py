"""Shells of g(r): the first maximum, the minimum after it, and the number of neighbours up to this minimum."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ilforge.properties.kernels.populations import Relaxation, relaxation, too_short
from ilforge.properties.shared import steadiness
from ilforge.results import Estimate, too_few_frames
from ilforge.statistics import block_error, correlated_mean, statistical_inefficiency, too_few

MIN_BLOCKS = 5
"""Smallest number of blocks of a run that gives an error."""
_SMOOTHING_A = 0.12  # width for smoothing g(r), to find maxima and minima
_MIN_PROMINENCE = 0.1
_ROUNDING = 1e-9
_SIGNIFICANT = 3.0  # standard errors
_NEVER_CHANGED = "the first shell never changed in {:.3g} ps, so other arrangements were not sampled"
_LEVEL = 0.02  # of the first maximum: a minimum below this is a gap, whose middle is used


class Extrema(NamedTuple):
    """Bins of the first significant maximum, of the lowest point after it, and of the next maximum or the end."""

    peak: int | None
    minimum: int | None
    end: int


class Followed(NamedTuple):
    """Neighbours of single ions along the run.

    Attributes
    ----------
    counts
        ``(n_times, n_ions, n_distances)``: neighbours closer than 1, 2, 3 ... ``width_A``.
    width_A
        Step of the distances, Å.
    n_all
        Number of all ions, of which ``n_ions`` were followed.
    """

    counts: np.ndarray
    width_A: float
    n_all: int

    def within(self, distance: float) -> np.ndarray:
        """Neighbours closer than a distance in Å, rounded to the width, ``(n_times, n_ions)``."""
        nearest = round(distance / self.width_A) - 1
        return self.counts[:, :, min(max(nearest, 0), self.counts.shape[2] - 1)].astype(float)


class Course(NamedTuple):
    """Running coordination numbers along the run, and the samples needed for a mean.

    Attributes
    ----------
    series
        ``(n_times, n_bins)``: n(r) up to the end of each bin, evenly spaced in time.
    length_ps
        Length of the run, ps.
    min_samples
        With fewer independent samples, nothing has converged.
    ions
        Neighbours of single ions, whose changes may cancel in the sum over all ions.
    n_runs
        Number of independent runs in the series, one after the other, all of one length.
    """

    series: np.ndarray
    length_ps: float
    min_samples: float
    ions: Followed | None = None
    n_runs: int = 1


def first_shell(r: np.ndarray, g: np.ndarray, n: np.ndarray, course: Course) -> list[tuple[str, Estimate]]:
    """Position of the first maximum and of the minimum after it, and the coordination number up to the minimum.

    Blocks give valid errors only if they are longer than the relaxation. The relaxation is determined from two series:
    the number of pairs up to the minimum, and up to the maximum. The slower one is used for all three quantities (see
    :func:`~ilforge.statistics.statistical_inefficiency`). Both series also change if ions only vibrate in their cages.
    Therefore the run must also be four relaxations of the neighbours of single ions long (see
    :func:`~ilforge.properties.kernels.populations.relaxation`).

    The error of the coordination number is the largest of four: the errors of n at the minimum over blocks and from
    the correlated series, the error from resampled blocks with their own minima, and the spread between ions.

    Parameters
    ----------
    r
        ``(n_bins,)`` in Å, equally spaced.
    g, n
        ``(n_blocks, n_bins)``: g(r), and n(r) up to the end of each bin, for each block of the run.
    course
        n(r) along the run.
    """
    if len(g) < MIN_BLOCKS:
        refused = Estimate.refused("Å", too_few_frames(len(g), "for an error"), 1.0)
        return [("rdf_first_peak", refused)]
    mean = smoothed(g.mean(axis=0), r)
    peak, minimum, end = extrema(mean, smoothed(block_error(g, len(g)), r))
    if peak is None:
        note = f"no maximum of g(r) stands out below {r[-1]:.1f} Å"
        return [("rdf_first_peak", Estimate.refused("Å", note, _independent_samples(course, len(r) - 1)))]
    shell = end - 1 if minimum is None else minimum
    n_eff, note = _samples(course, peak, shell, float(r[shell]))
    others = (g.sum(axis=0) - g) / (len(g) - 1)
    peaks = [_vertex(r, smoothed(other, r), peak, (0, shell)) for other in others]
    top = _vertex(r, mean, peak, (0, shell))
    found = [("rdf_first_peak", Estimate(top, _jackknife(peaks, r), n_eff, "Å", not note, note))]
    if minimum is not None:
        minima = [_trough(r, smoothed(other, r), peak, end) for other in others]
        low = _trough(r, mean, peak, end)
        found.append(("rdf_first_minimum", Estimate(low, _jackknife(minima, r), n_eff, "Å", not note, note)))
        error = _error_of_neighbours(r, n, low, minima, course)
        value = _up_to(low, r, n.mean(axis=0))
        found.append(("coordination_number", Estimate(value, error, n_eff, "1", not note, note)))
    if np.ptp(course.series[:, shell]) == 0.0:
        remark = _NEVER_CHANGED.format(course.length_ps)
        found = [(quantity, replace(one, converged=True, note=remark)) for quantity, one in found]
    along = []
    for one in (shell, peak):
        what = f"the number of neighbours within {r[one]:.1f} Å"
        of_runs = course.series[:, one].reshape(course.n_runs, -1)
        along.append(steadiness.Course(what, of_runs, course.length_ps / course.n_runs))
    return [(quantity, steadiness.judged(one, along)) for quantity, one in found]


def _independent_samples(course: Course, *bins: int) -> float:
    """Number of independent samples of n at the bin, among several, where n changes most slowly."""
    return min(len(course.series) / statistical_inefficiency(course.series[:, one]) for one in bins)


def _samples(course: Course, peak: int, shell: int, distance: float) -> tuple[float, str]:
    """Number of independent samples of a shell, and why it has not converged (empty if it has)."""
    n_eff = _independent_samples(course, peak, shell)
    note = too_few("the first shell", n_eff, course.min_samples, course.length_ps)
    if course.ions is None:
        return n_eff, note
    neighbours = course.ions.within(distance)
    n_times, n_ions = neighbours.shape
    of_one = relaxation(neighbours)
    of_all = Relaxation(of_one.inefficiency, of_one.n_eff * course.ions.n_all / n_ions)
    n_eff = min(n_eff, of_all.n_eff)
    return n_eff, note or too_short(n_times, of_all, n_eff, course.min_samples, course.length_ps / n_times)


def _jackknife(left_out: list[float], r: np.ndarray) -> float:
    """Error of a position from jackknife resamples and from the width of a bin."""
    return float(np.sqrt((len(left_out) - 1) * np.var(left_out) + (r[1] - r[0]) ** 2 / 12.0))


def _up_to(distance: float, r: np.ndarray, n: np.ndarray) -> float:
    """n at a distance; the values of n belong to the ends of bins."""
    return float(np.interp(distance, r + 0.5 * (r[1] - r[0]), n))


def _error_of_neighbours(r: np.ndarray, n: np.ndarray, low: float, minima: list[float], course: Course) -> float:
    at_low = np.array([_up_to(low, r, block) for block in n])
    others = (n.sum(axis=0) - n) / (len(n) - 1)
    own = [_up_to(minimum, r, other) for minimum, other in zip(minima, others, strict=True)]
    along = np.array([_up_to(low, r, one) for one in course.series])
    errors = [block_error(at_low, len(n)), correlated_mean(along).error, np.sqrt((len(n) - 1) * np.var(own))]
    if course.ions is not None and course.ions.counts.shape[1] > 1:
        between = course.ions.within(low).mean(axis=0).std(ddof=1)
        errors.append(between / np.sqrt(course.ions.n_all))
    error = float(np.nanmax(errors))
    return error if error > _ROUNDING else np.nan


def extrema(smooth: np.ndarray, error: np.ndarray) -> Extrema:
    """The first significant maximum and the lowest point before the next one; None if there is none.

    Without a second maximum, g(r) must rise significantly after the lowest point; otherwise it still falls where it
    ends, and its lowest point is noise.
    """
    from scipy.signal import find_peaks

    padded = np.concatenate([[0.0], smooth])  # so that a maximum in the first bin counts; one in the last bin does not
    peaks, about = find_peaks(padded, prominence=_MIN_PROMINENCE)
    peaks = peaks - 1
    peaks = peaks[about["prominences"] > _SIGNIFICANT * error[peaks]]
    if len(peaks) == 0:
        return Extrema(None, None, len(smooth))
    end = int(peaks[1]) if len(peaks) > 1 else len(smooth)
    minimum = int(peaks[0]) + int(np.argmin(smooth[peaks[0] : end]))
    rise = float(smooth[minimum:].max() - smooth[minimum])
    is_end = len(peaks) == 1 and rise <= max(_MIN_PROMINENCE, _SIGNIFICANT * float(error[minimum]))
    return Extrema(int(peaks[0]), None if is_end else minimum, end)


def _vertex(r: np.ndarray, smooth: np.ndarray, near: int, within: tuple[int, int]) -> float:
    """Vertex of the parabola through the highest bin within 0.5 Å of ``near``, inside bounds, and its neighbours."""
    width = r[1] - r[0]
    reach = max(1, int(0.5 / width))
    low, high = max(1, near - reach, within[0]), min(len(r) - 1, near + reach + 1, within[1] + 1)
    top = low + int(np.argmax(smooth[low:high])) if high > low else near
    if not 0 < top < len(r) - 1:
        return float(r[top])
    before, at, after = smooth[top - 1 : top + 2]
    bend = before - 2.0 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(r[top] + width * np.clip(shift, -0.5, 0.5))


def smoothed(values: np.ndarray, r: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    found: np.ndarray = gaussian_filter1d(values, _SMOOTHING_A / (r[1] - r[0]), mode="nearest")
    return found


def gap(r: np.ndarray, g: np.ndarray) -> float | None:
    """Outer limit of the first shell: the minimum after the first maximum, as in `first_shell`.

    Parameters
    ----------
    r
        ``(n_bins,)`` in Å, equally spaced.
    g
        ``(n_blocks, n_bins)``.

    Returns
    -------
    Distance in Å, or None if there is no significant maximum with a minimum after it.
    """
    if len(g) < MIN_BLOCKS:
        return None
    mean = smoothed(g.mean(axis=0), r)
    peak, minimum, end = extrema(mean, smoothed(block_error(g, len(g)), r))
    return None if peak is None or minimum is None else _trough(r, mean, peak, end)


def _trough(r: np.ndarray, smooth: np.ndarray, peak: int, end: int) -> float:
    """Middle of the lowest stretch between a maximum and the next one.

    If g falls to zero, as for Li and O, the minimum is a gap of some tenths of an Å, and the position of its lowest
    point is random. The gap is the range in which g exceeds the minimum by less than 2 % of the first maximum.
    """
    first = last = peak + int(np.argmin(smooth[peak:end]))
    deep = smooth <= smooth[first] + _LEVEL * smooth[peak]
    while first - 1 > peak and deep[first - 1]:
        first -= 1
    while last + 1 < len(r) and deep[last + 1]:
        last += 1
    return float(0.5 * (r[first] + r[last]))

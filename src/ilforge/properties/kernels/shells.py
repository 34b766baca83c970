"""Shells of g(r): its first maximum, the minimum behind it, and the number of neighbours up to there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ilforge.results import Estimate
from ilforge.statistics import block_error, correlated_mean, statistical_inefficiency, too_few

MIN_BLOCKS = 5
"""Fewer blocks of a run than this give no error."""
_SMOOTHING_A = 0.12  # of g(r), to find maxima and minima
_MIN_PROMINENCE = 0.1
_SIGNIFICANT = 3.0  # standard errors
_LEVEL = 0.02  # of the first maximum: a minimum that deep is a gap, and its middle is meant


class Extrema(NamedTuple):
    """Bins of the first significant maximum, of the lowest point behind it, and of the next maximum or the end."""

    peak: int | None
    minimum: int | None
    end: int


class Course(NamedTuple):
    """A series along the run, and how much of it a mean needs.

    Attributes
    ----------
    series
        ``(n_times, n_bins)``: n up to the end of each bin, evenly spaced in time.
    length_ps
        Of the run, ps.
    min_samples
        With fewer independent samples nothing has converged.
    """

    series: np.ndarray
    length_ps: float
    min_samples: float


def first_shell(r: np.ndarray, g: np.ndarray, n: np.ndarray, course: Course) -> list[tuple[str, Estimate]]:
    """Position of the first maximum and of the minimum behind it, and the coordination number up to there.

    Blocks give errors only where they are longer than the relaxation. How long that is, two series tell: the number
    of pairs up to the minimum, and that up to the maximum. The slower counts for all three quantities (see
    :func:`~ilforge.statistics.statistical_inefficiency`). Where the number of pairs up to the minimum never changes,
    the run knows one arrangement only.

    Parameters
    ----------
    r
        ``(n_bins,)`` in Å, equally spaced.
    g, n
        ``(n_blocks, n_bins)``: g(r), and n up to the end of each bin, of each block of the run.
    course
        n(r) along the run.
    """
    if len(g) < MIN_BLOCKS:
        refused = Estimate.refused("Å", f"{len(g)} frames are too few for an error", 1.0)
        return [("rdf_first_peak", refused)]
    peak, minimum, end = extrema(smoothed(g.mean(axis=0), r), smoothed(block_error(g, len(g)), r))
    if peak is None:
        note = f"no maximum of g(r) stands out below {r[-1]:.1f} Å"
        return [("rdf_first_peak", Estimate.refused("Å", note, _independent_samples(course, len(r) - 1)))]
    shell = end - 1 if minimum is None else minimum
    n_eff = _independent_samples(course, peak, shell)
    note = _too_short(course, n_eff, shell)
    found = [("rdf_first_peak", _position(r, g, peak, (0, shell), n_eff, note))]
    if minimum is not None:
        found.append(("rdf_first_minimum", _position(r, -g, minimum, (peak, end), n_eff, note)))
        error = max(block_error(n[:, minimum], len(n)), correlated_mean(course.series[:, minimum]).error)
        value, error = float(n[:, minimum].mean()), error if error > 0 else np.nan
        found.append(("coordination_number", Estimate(value, error, n_eff, "1", not note, note)))
    return found


def _independent_samples(course: Course, *bins: int) -> float:
    """Number of independent samples of the slowest of n at some bins."""
    return min(len(course.series) / statistical_inefficiency(course.series[:, one]) for one in bins)


def _too_short(course: Course, n_eff: float, shell: int) -> str:
    """Why nothing has converged; empty where it has."""
    if np.ptp(course.series[:, shell]) == 0.0:
        return (
            f"the number of pairs in the first shell never changed in {course.length_ps:.3g} ps, which says nothing of "
            "other arrangements: run many times as long"
        )
    return too_few("the first shell", n_eff, course.min_samples, course.length_ps)


def extrema(smooth: np.ndarray, error: np.ndarray) -> Extrema:
    """The first significant maximum and the lowest point before the next, None where they are not there."""
    from scipy.signal import find_peaks

    padded = np.concatenate([[0.0], smooth])  # a maximum in the first bin counts, one in the last does not
    peaks, about = find_peaks(padded, prominence=_MIN_PROMINENCE)
    peaks = peaks - 1
    peaks = peaks[about["prominences"] > _SIGNIFICANT * error[peaks]]
    if len(peaks) == 0:
        return Extrema(None, None, len(smooth))
    end = int(peaks[1]) if len(peaks) > 1 else len(smooth)
    minimum = int(peaks[0]) + int(np.argmin(smooth[peaks[0] : end]))
    return Extrema(int(peaks[0]), minimum if minimum < len(smooth) - 1 else None, end)


def _position(r: np.ndarray, g: np.ndarray, near: int, within: tuple[int, int], n_eff: float, note: str) -> Estimate:
    """Position of the maximum next to a bin, with its jackknife error over blocks and that of the bin width.

    ``within`` are the bins of the minima about it, which no resample may cross.
    """
    n = len(g)
    value = _vertex(r, smoothed(g.mean(axis=0), r), near, within)
    others = (g.sum(axis=0) - g) / (n - 1)
    left_out = np.array([_vertex(r, smoothed(other, r), near, within) for other in others])
    jackknife = (n - 1) * left_out.var()
    error = float(np.sqrt(jackknife + (r[1] - r[0]) ** 2 / 12.0))
    return Estimate(value, error, n_eff, "Å", not note, note)


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

    return gaussian_filter1d(values, _SMOOTHING_A / (r[1] - r[0]), mode="nearest")


def gap(r: np.ndarray, g: np.ndarray) -> float | None:
    """Distance that parts the first shell from the rest: the middle of the minimum behind the first maximum.

    Where g falls to nothing, as between Li and O, the minimum is a gap that is some tenths of an Å wide, and its
    lowest point is an accident. Its middle is where g stays within 2 % of the first maximum above the minimum.

    Parameters
    ----------
    r
        ``(n_bins,)`` in Å, equally spaced.
    g
        ``(n_blocks, n_bins)``.

    Returns
    -------
    Å, or None where no maximum with a minimum behind it stands out.
    """
    if len(g) < MIN_BLOCKS:
        return None
    mean = smoothed(g.mean(axis=0), r)
    peak, minimum, _ = extrema(mean, smoothed(block_error(g, len(g)), r))
    if peak is None or minimum is None:
        return None
    deep = mean <= mean[minimum] + _LEVEL * mean[peak]
    first = last = minimum
    while first - 1 > peak and deep[first - 1]:
        first -= 1
    while last + 1 < len(r) and deep[last + 1]:
        last += 1
    return float(0.5 * (r[first] + r[last]))

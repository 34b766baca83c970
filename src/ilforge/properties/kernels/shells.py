"""Shells of g(r): its first maximum, the minimum behind it, and the number of neighbours up to there."""

from __future__ import annotations

import numpy as np

from ilforge.results import Estimate
from ilforge.statistics import block_error

MIN_BLOCKS = 5
"""Fewer blocks of a run than this give no error."""
_SMOOTHING_A = 0.12  # of g(r), to find maxima and minima
_MIN_PROMINENCE = 0.1
_SIGNIFICANT = 3.0  # standard errors
_LEVEL = 0.02  # of the first maximum: a minimum that deep is a gap, and its middle is meant


def first_shell(r: np.ndarray, g: np.ndarray, n: np.ndarray) -> list[tuple[str, Estimate]]:
    """Position of the first maximum and of the minimum behind it, and the coordination number up to there.

    Parameters
    ----------
    r
        ``(n_bins,)`` in Å, equally spaced.
    g, n
        ``(n_blocks, n_bins)``: g(r), and n up to the end of each bin, of each block of the run.
    """
    if len(g) < MIN_BLOCKS:
        refused = Estimate.refused("Å", f"{len(g)} frames are too few for an error")
        return [("rdf_first_peak", refused)]
    mean = g.mean(axis=0)
    peak, minimum = extrema(smoothed(mean, r), smoothed(block_error(g, len(g)), r))
    if peak is None:
        note = f"no maximum of g(r) stands out below {r[-1]:.1f} Å"
        return [("rdf_first_peak", Estimate.refused("Å", note, len(g)))]
    found = [("rdf_first_peak", _position(r, g, peak))]
    if minimum is not None:
        error = block_error(n[:, minimum], len(n))
        found.append(("rdf_first_minimum", _position(r, -g, minimum)))
        found.append(("coordination_number", Estimate(float(n[:, minimum].mean()), error, len(n), "1")))
    return found


def extrema(smooth: np.ndarray, error: np.ndarray) -> tuple[int | None, int | None]:
    """Bins of the first significant maximum and of the lowest point before the next, if they are there."""
    from scipy.signal import find_peaks

    padded = np.concatenate([[0.0], smooth])  # a maximum in the first bin counts, one in the last does not
    peaks, about = find_peaks(padded, prominence=_MIN_PROMINENCE)
    peaks = peaks - 1
    peaks = peaks[about["prominences"] > _SIGNIFICANT * error[peaks]]
    if len(peaks) == 0:
        return None, None
    end = peaks[1] if len(peaks) > 1 else len(smooth)
    minimum = peaks[0] + int(np.argmin(smooth[peaks[0] : end]))
    return int(peaks[0]), minimum if minimum < len(smooth) - 1 else None


def _position(r: np.ndarray, g: np.ndarray, near: int) -> Estimate:
    """Position of the maximum next to a bin, with its jackknife error over blocks and that of the bin width."""
    n = len(g)
    value = _vertex(r, smoothed(g.mean(axis=0), r), near)
    others = (g.sum(axis=0) - g) / (n - 1)
    left_out = np.array([_vertex(r, smoothed(other, r), near) for other in others])
    jackknife = (n - 1) * left_out.var()
    error = float(np.sqrt(jackknife + (r[1] - r[0]) ** 2 / 12.0))
    return Estimate(value, error, n, "Å")


def _vertex(r: np.ndarray, smooth: np.ndarray, near: int) -> float:
    """Vertex of the parabola through the highest bin within 0.5 Å of ``near`` and its neighbours."""
    width = r[1] - r[0]
    reach = max(1, int(0.5 / width))
    low, high = max(1, near - reach), min(len(r) - 1, near + reach + 1)
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
    peak, minimum = extrema(mean, smoothed(block_error(g, len(g)), r))
    if peak is None or minimum is None:
        return None
    deep = mean <= mean[minimum] + _LEVEL * mean[peak]
    first = last = minimum
    while first - 1 > peak and deep[first - 1]:
        first -= 1
    while last + 1 < len(r) and deep[last + 1]:
        last += 1
    return float(0.5 * (r[first] + r[last]))

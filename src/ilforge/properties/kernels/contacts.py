"""Contacts between two kinds of site: close pairs, their lifetimes, and connected aggregates."""

from __future__ import annotations

import numpy as np

from ilforge.properties.kernels.pairs import wrap

_MANY = 3_000_000  # largest number of pairs for a direct loop; for more, a neighbour list is faster
_CHUNK_ELEMENTS = 4_000_000


def close_pairs(a: np.ndarray, b: np.ndarray, cell: np.ndarray, cutoff: float) -> tuple[np.ndarray, ...]:
    """Pairs of points of two sets closer than a cutoff, in any periodic image.

    Parameters
    ----------
    a, b
        ``(n_a, 3)`` and ``(n_b, 3)`` in Å, in any image.
    cell
        ``(3, 3)`` in Å, any shape.
    cutoff
        Å. In a cell whose height is less than twice this, a pair may be close in several images; the shortest distance
        is used.

    Returns
    -------
    i, j, distance
        ``(n_pairs,)`` each, ordered by i, then j; Å.
    """
    from ilforge.properties.kernels.pair_loops import lowest_height, near_pairs

    # writeable arrays, so that the function is compiled only once
    a, b, cell = (np.array(array, dtype=float) for array in (a, b, cell))
    if 2.0 * cutoff > lowest_height(cell) or len(a) * len(b) > _MANY:
        return _from_list(a, b, cell, cutoff)
    return near_pairs(a, b, cell, float(cutoff))


def _from_list(a: np.ndarray, b: np.ndarray, cell: np.ndarray, cutoff: float) -> tuple[np.ndarray, ...]:
    from vesin import NeighborList

    points = np.concatenate([a, b])
    neighbours = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, distance = neighbours.compute(wrap(points, cell), cell, True, "ijd")
    i, j = i.astype(np.int64), j.astype(np.int64)
    between = (i < len(a)) & (j >= len(a)) & (distance < cutoff)
    i, j, distance = i[between], j[between] - len(a), distance[between]
    order = np.lexsort((distance, j, i))
    i, j, distance = i[order], j[order], distance[order]
    first = np.ones(len(i), dtype=bool)
    first[1:] = (np.diff(i) != 0) | (np.diff(j) != 0)
    return i[first], j[first], distance[first]


def with_release(
    frame: np.ndarray, pair: np.ndarray, distance: np.ndarray, cutoff: float, release: float
) -> np.ndarray:
    """Contacts with hysteresis: a contact begins within ``cutoff`` and ends only beyond ``release``.

    Parameters
    ----------
    frame, pair, distance
        ``(n,)``: every pair closer than ``release``, once for each frame.
    cutoff, release
        Å, cutoff <= release. A pair between the two is not in contact until it has been within the cutoff.

    Returns
    -------
    ``(n,)`` booleans: whether the pair is in contact.
    """
    order = np.lexsort((frame, pair))
    f, p, d = frame[order], pair[order], distance[order]
    new = np.ones(len(f), dtype=bool)
    new[1:] = (np.diff(p) != 0) | (np.diff(f) != 1)  # the pair was beyond release in between: a new approach begins
    near = d < cutoff
    approach = np.cumsum(new) - 1
    # within one approach, the contact lasts from its first frame within the cutoff
    first_near = np.full(approach[-1] + 1 if len(f) else 0, len(f), dtype=np.int64)
    np.minimum.at(first_near, approach[near], np.flatnonzero(near))
    holds = np.empty(len(f), dtype=bool)
    holds[order] = np.arange(len(f)) >= first_near[approach]
    return holds


def contact_correlations(
    frame: np.ndarray, pair: np.ndarray, group: np.ndarray, n_frames: int, n_groups: int, max_lag: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums that give the correlation functions of contacts h(t) (0 or 1), group by group.

        intermittent  C(k) = Σ h(t) h(t+k) / Σ h(t),    continuous  S(k) = Σ h(t) h(t+1) ... h(t+k) / Σ h(t)

    with all sums over pairs and over the time origins t <= n_frames - 1 - k. D. C. Rapaport, Mol. Phys. 50, 1151
    (1983); A. Luzar and D. Chandler, Nature 379, 55 (1996).

    Parameters
    ----------
    frame, pair
        ``(n,)`` integers: the frames in which each pair is in contact.
    group
        ``(n,)`` integers: the group (cation) of the pair.
    max_lag
        Longest lag in frames, below ``n_frames``.

    Returns
    -------
    intermittent, continuous, origins
        ``(n_groups, max_lag + 1)`` sums.
    """
    intermittent, continuous, origins = (np.zeros((n_groups, max_lag + 1)) for _ in range(3))
    order = np.lexsort((frame, pair))
    f, p, g = frame[order], pair[order], group[order]
    _add_runs(continuous, f, p, g)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(p) != 0])) if len(p) else np.empty(0, dtype=int)
    ends = np.append(starts[1:], len(p))
    chunk = max(1, _CHUNK_ELEMENTS // (4 * n_frames))
    for first in range(0, len(starts), chunk):
        s, e = starts[first : first + chunk], ends[first : first + chunk]
        part = slice(s[0], e[-1])
        h = np.zeros((len(s), n_frames))
        h[np.repeat(np.arange(len(s)), e - s), f[part]] = 1.0
        np.add.at(intermittent, g[s], _products(h, max_lag))
        np.add.at(origins, g[s], np.cumsum(h, axis=1)[:, n_frames - 1 - np.arange(max_lag + 1)])
    return intermittent, continuous, origins


def _products(h: np.ndarray, max_lag: int) -> np.ndarray:
    """Σ_t h(t) h(t+k) of each row, ``(n, max_lag + 1)``, by FFT and rounded to integers."""
    from scipy.fft import irfft, next_fast_len, rfft

    length = next_fast_len(h.shape[1] + max_lag, real=True)
    found: np.ndarray = np.rint(irfft(np.abs(rfft(h, length)) ** 2, length)[:, : max_lag + 1])
    return found


def _add_runs(continuous: np.ndarray, frame: np.ndarray, pair: np.ndarray, group: np.ndarray) -> None:
    """Add uninterrupted contacts: one of L frames has L - k origins after which it lasts at least k frames."""
    runs, of = _runs(frame, pair)
    n_lags = continuous.shape[1]
    for g in np.unique(group):
        lengths = runs[group[of] == g]
        counts = np.bincount(lengths, minlength=n_lags + 1).astype(float)
        at_least = np.cumsum(counts[::-1])[::-1]  # runs of L or more
        continuous[g] += np.cumsum(at_least[::-1])[::-1][1 : n_lags + 1]


def _runs(frame: np.ndarray, pair: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of uninterrupted contacts in sorted data, and the index at which each begins."""
    if len(frame) == 0:
        return np.empty(0, dtype=int), np.empty(0, dtype=int)
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(pair) != 0) | (np.diff(frame) != 1)]))
    return np.diff(np.append(begins, len(frame))), begins


def departures(frame: np.ndarray, pair: np.ndarray, cation: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Number of contacts that each cation loses after each frame.

    Parameters
    ----------
    frame, pair, cation
        ``(n,)``: contacts, each once for each frame.
    shape
        ``(n_frames, n_cations)``.

    Returns
    -------
    ``(n_cations, n_frames - 1)``: number of contacts in a frame that the next frame lacks.
    """
    n_frames, n_cations = shape
    order = np.lexsort((frame, pair))
    lengths, begins = _runs(frame[order], pair[order])
    last = frame[order][begins] + lengths - 1
    lost = last < n_frames - 1
    places = cation[order][begins][lost].astype(np.int64) * (n_frames - 1) + last[lost]
    counts = np.bincount(places, minlength=n_cations * (n_frames - 1))
    return counts.astype(np.uint16).reshape(n_cations, n_frames - 1)


def aggregate_sizes(frame: np.ndarray, cation: np.ndarray, ligand: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Size of the aggregate of each cation in each frame; cations are connected through shared ligands.

    Parameters
    ----------
    frame, cation, ligand
        ``(n,)``: contacts, frames ascending.
    shape
        ``(n_frames, n_cations)``.

    Returns
    -------
    ``(n_frames, n_cations)`` integers from 1.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_frames, n_cations = shape
    sizes = np.ones(shape, dtype=np.int32)
    step = max(1, _CHUNK_ELEMENTS // (16 * max(n_cations, 1)))
    for start in range(0, n_frames, step):
        low, high = np.searchsorted(frame, [start, start + step])
        n = min(step, n_frames - start) * n_cations
        rows = (frame[low:high] - start) * n_cations + cation[low:high]
        ligands = (frame[low:high] - start).astype(np.int64) * (int(ligand.max(initial=0)) + 1) + ligand[low:high]
        _, columns = np.unique(ligands, return_inverse=True)
        total = n + int(columns.max(initial=-1)) + 1
        graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, n + columns)), shape=(total, total))
        _, labels = connected_components(graph, directed=False)
        sizes[start : start + step] = np.bincount(labels[:n])[labels[:n]].reshape(-1, n_cations)
    return sizes

"""Counting pairs by distance: one neighbour list for any number of kinds of site."""

from __future__ import annotations

import numpy as np

_BELOW_ONE = 1.0 - 1e-12  # a distance of just r_max belongs to the last bin


def class_histogram(
    points: np.ndarray,
    cell: np.ndarray,
    classes: np.ndarray,
    molecules: np.ndarray,
    n_classes: int,
    r_max: float,
    n_bins: int,
) -> np.ndarray:
    """Number of pairs of points of different molecules by class of either and by distance.

    Parameters
    ----------
    points
        ``(n, 3)`` in Å, in any image.
    cell
        ``(3, 3)`` in Å, any shape; all periodic images within ``r_max`` count.
    classes, molecules
        ``(n,)`` integers: class of each point, and the molecule it belongs to.
    r_max, n_bins
        Largest distance in Å, and number of equal bins up to it.

    Returns
    -------
    ``(n_classes, n_classes, n_bins)`` integers; each pair counts once, under [class, class of the other] in
    either order.
    """
    from vesin import NeighborList

    neighbours = NeighborList(cutoff=r_max, full_list=False, n_threads=1)
    i, j, distance = neighbours.compute(wrap(points, cell), cell, True, "ijd", copy=False)
    i, j = i.view(np.int64), j.view(np.int64)
    # 32-bit integers and take, because millions of pairs pass through here
    row = (classes * (n_classes * n_bins)).astype(np.int32).take(i)
    row += (classes * n_bins).astype(np.int32).take(j)
    row += (distance * (n_bins / r_max * _BELOW_ONE)).astype(np.int32)
    size = n_classes * n_classes * n_bins
    molecules = molecules.astype(np.int32)
    np.putmask(row, molecules.take(i) == molecules.take(j), size)  # one more bin, thrown away
    return np.bincount(row, minlength=size + 1)[:size].reshape(n_classes, n_classes, n_bins)


def wrap(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Points moved into the cell, ``(n, 3)`` in Å."""
    return points - np.floor(points @ np.linalg.inv(cell)) @ cell

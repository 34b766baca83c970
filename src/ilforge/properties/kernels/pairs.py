"""Counting pairs by distance: one search for any number of kinds of site."""

from __future__ import annotations

import numpy as np

_POINTS_PER_CUBE = 12.0  # sets the width of columns: narrower ones waste fewer pairs, but have short stretches
_SLICES = 4  # number of grid cells in such a cube along the columns


def class_histogram(
    points: np.ndarray,
    cell: np.ndarray,
    classes: np.ndarray,
    molecules: np.ndarray,
    n_classes: int,
    r_max: float,
    n_bins: int,
) -> np.ndarray:
    """Number of pairs of points of different molecules, by the classes of both points and by distance.

    Parameters
    ----------
    points
        ``(n, 3)`` in Å, in any image.
    cell
        ``(3, 3)`` in Å, any shape; all periodic images within ``r_max`` count.
    classes, molecules
        ``(n,)`` integers: class and molecule of each point.
    r_max, n_bins
        Largest distance, Å, and number of equal bins up to it.

    Returns
    -------
    ``(n_classes, n_classes, n_bins)`` integers; each pair counts once, at [class, other class] in one of the two
    orders.
    """
    from ilforge.properties.kernels.pair_loops import WIDTH, count_pairs

    inverse = np.linalg.inv(cell)
    wrapped = wrap(points, cell)
    fractional = wrapped @ inverse
    grid, place = _grid_cells(fractional, cell)
    order = np.argsort(place, kind="stable")
    starts = np.zeros(int(np.prod(grid)) + 1, dtype=np.int64)
    np.cumsum(np.bincount(place, minlength=len(starts) - 1), out=starts[1:])
    counts = count_pairs(
        _padded(wrapped[order].T, WIDTH),
        np.ascontiguousarray(fractional[order].T),
        _padded((classes[order] * n_bins).astype(np.int32), WIDTH),
        _padded(molecules[order].astype(np.int32), WIDTH),
        starts,
        grid,
        np.array(cell, dtype=float),
        not np.any(cell - np.diag(np.diag(cell))),
        float(r_max),
        n_bins,
        n_classes,
    )
    return counts.reshape(n_classes, n_classes, n_bins)


def _grid_cells(fractional: np.ndarray, cell: np.ndarray) -> tuple[tuple[int, int, int], np.ndarray]:
    """Numbers of grid cells along the axes, and the grid cell of each point; the third axis runs fastest."""
    volume = abs(np.linalg.det(cell))
    edge = np.cbrt(volume * _POINTS_PER_CUBE / max(len(fractional), 1)) / np.array([1.0, 1.0, _SLICES])
    grid = np.maximum(heights(cell) / edge, 1.0).astype(np.int64)
    x, y, z = np.clip((fractional * grid).astype(np.int64), 0, grid - 1).T
    return (int(grid[0]), int(grid[1]), int(grid[2])), (x * grid[1] + y) * grid[2] + z


def _padded(array: np.ndarray, width: int) -> np.ndarray:
    """A contiguous copy with zeros appended to each row."""
    padded = np.zeros((*array.shape[:-1], array.shape[-1] + width), dtype=array.dtype)
    padded[..., :-width] = array
    return padded


def wrap(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Points moved into the cell, ``(n, 3)`` in Å."""
    found: np.ndarray = points - np.floor(points @ np.linalg.inv(cell)) @ cell
    return found


def heights(cell: np.ndarray) -> np.ndarray:
    """Distances between opposite faces of a cell ``(3, 3)``, ``(3,)`` in its unit."""
    found: np.ndarray = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return found

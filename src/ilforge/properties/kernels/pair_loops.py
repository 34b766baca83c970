"""Compiled loops over pairs of points; NumPy would have to write every pair to memory.

Fast-math is off, so that results are the same on every processor.
"""

from __future__ import annotations

import numpy as np

from ilforge.compiled import compiled

WIDTH = 16
"""Number of points processed at once by vector instructions; arrays are longer by this number."""


@compiled
def count_pairs(
    points: np.ndarray,
    fractional: np.ndarray,
    rows: np.ndarray,
    molecules: np.ndarray,
    starts: np.ndarray,
    grid: tuple[int, int, int],
    cell: np.ndarray,
    upright: bool,
    r_max: float,
    n_bins: int,
    n_classes: int,
) -> np.ndarray:
    """Histogram of distances between points of different molecules, each pair in each image once.

    The box is divided into columns along its third axis, with the points of each column sorted along this axis. The
    neighbours of a point in a column are then a stretch of sorted points with a common lattice vector, so the image
    need not be determined for each pair.

    Parameters
    ----------
    points
        ``(3, n + WIDTH)`` in Å, within the cell and sorted by grid cell.
    fractional
        ``(3, n)``: fractional coordinates of these points.
    rows
        ``(n + WIDTH,)`` int32: number of the first bin of each point's class.
    molecules
        ``(n + WIDTH,)`` int32.
    starts
        ``(n_grid_cells + 1,)``: first point of each grid cell; the third axis runs fastest.
    grid
        Number of grid cells along each axis.
    cell
        ``(3, 3)`` in Å.
    upright
        Whether the axes are along x, y, z. Then the distance to a column can be computed from squares.
    r_max, n_bins
        Largest distance, Å, and number of equal bins up to it; a bin does not include its upper end.

    Returns
    -------
    ``(n_classes * n_classes * n_bins,)`` int64.
    """
    nx, ny, nz = grid
    height = _heights(cell)
    size = n_classes * n_classes * n_bins
    histogram = np.zeros(size + WIDTH, dtype=np.int64)
    buffer = np.empty(points.shape[1], dtype=np.int32)
    reach_x, reach_y = int(r_max / height[0] * nx) + 1, int(r_max / height[1] * ny) + 1
    for cx in range(nx):
        for cy in range(ny):
            here, there = starts[(cx * ny + cy) * nz], starts[(cx * ny + cy + 1) * nz]
            for ox in range(reach_x + 1):
                for oy in range(-reach_y if ox > 0 else 0, reach_y + 1):
                    ix, iy = (cx + ox) // nx, (cy + oy) // ny
                    column = ((cx + ox - ix * nx) * ny + cy + oy - iy * ny) * nz
                    own = ox == 0 and oy == 0
                    for i in range(here, there):
                        fx, fy, fz = fractional[0, i], fractional[1, i], fractional[2, i]
                        gap_x = max((cx + ox) / nx - fx, 0.0) * height[0]
                        gap_y = max((cy + oy) / ny - fy, fy - (cy + oy + 1) / ny, 0.0) * height[1]
                        if max(gap_x, gap_y) > r_max:
                            continue
                        left = max(r_max * r_max - gap_x * gap_x - gap_y * gap_y, 0.0) if upright else r_max * r_max
                        window = (np.sqrt(left) + 1e-6) / height[2]
                        high = int(np.floor((fz + window) * nz))
                        # in its own column only later points count, in other columns all points
                        low = min(int(fz * nz), nz - 1) if own else int(np.floor((fz - window) * nz))
                        first = own
                        while low <= high:
                            iz = low // nz
                            last = min(high, iz * nz + nz - 1)
                            begin = i + 1 if first else starts[column + low - iz * nz]
                            _count_stretch(
                                points[0, i] - (ix * cell[0, 0] + iy * cell[1, 0] + iz * cell[2, 0]),
                                points[1, i] - (ix * cell[0, 1] + iy * cell[1, 1] + iz * cell[2, 1]),
                                points[2, i] - (ix * cell[0, 2] + iy * cell[1, 2] + iz * cell[2, 2]),
                                np.int32(n_classes * rows[i]), molecules[i], points, rows, molecules,
                                begin, starts[column + last - iz * nz + 1],
                                n_bins / r_max, np.int32(n_bins), np.int32(size), buffer, histogram,
                            )  # fmt: skip
                            first = False
                            low = last + 1
    return histogram[:size]


@compiled
def _count_stretch(
    x: float, y: float, z: float, row: np.int32, molecule: int,
    points: np.ndarray, rows: np.ndarray, molecules: np.ndarray,
    begin: int, end: int, per_A: float, n_bins: np.int32, nowhere: np.int32,
    buffer: np.ndarray, histogram: np.ndarray,
) -> None:  # fmt: skip
    """Count the pairs of one point with the points from ``begin`` to ``end``.

    The bins of all pairs are computed first, with vector instructions; counting follows one by one. Pairs that do not
    count go to several places after the histogram; with a single place, each addition would wait for the one before.
    """
    for block in range((end - begin + WIDTH - 1) // WIDTH):
        at, to = begin + block * WIDTH, block * WIDTH
        xs, ys, zs = points[0, at : at + WIDTH], points[1, at : at + WIDTH], points[2, at : at + WIDTH]
        of_class, of_molecule, places = rows[at : at + WIDTH], molecules[at : at + WIDTH], buffer[to : to + WIDTH]
        for k in range(WIDTH):  # the fixed length allows the compiler to use vector instructions
            dx, dy, dz = xs[k] - x, ys[k] - y, zs[k] - z
            place = np.int32(np.sqrt(dx * dx + dy * dy + dz * dz) * per_A)
            counts = (place < n_bins) & (of_molecule[k] != molecule)
            places[k] = np.int32(row + of_class[k] + place) if counts else np.int32(nowhere + np.int32(k))
    for k in range(end - begin):
        histogram[np.uint32(buffer[k])] += 1


@compiled
def near_pairs(
    a: np.ndarray, b: np.ndarray, cell: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of points of two sets whose nearest images are closer than a cutoff, by a loop over all pairs.

    Parameters
    ----------
    a, b
        ``(n_a, 3)`` and ``(n_b, 3)`` in Å, in any image.
    cell
        ``(3, 3)`` in Å.
    cutoff
        Å, at most half the lowest height of the cell.

    Returns
    -------
    i, j, distance
        ``(n_pairs,)`` each, ordered by i, then j; Å.
    """
    n_b = len(b)
    inverse, metric = _inverse(cell), np.empty((3, 3))
    for k in range(3):
        for m in range(3):
            metric[k, m] = cell[k, 0] * cell[m, 0] + cell[k, 1] * cell[m, 1] + cell[k, 2] * cell[m, 2]
    fractional = _fractional(b, inverse)
    squares = np.empty(n_b)
    i, j, distance = np.empty(64, dtype=np.int64), np.empty(64, dtype=np.int64), np.empty(64)
    found = 0
    for one in range(len(a)):
        ax, ay, az = (_component(a[one], inverse, 0), _component(a[one], inverse, 1), _component(a[one], inverse, 2))
        for k in range(n_b):
            x, y, z = ax - fractional[0, k], ay - fractional[1, k], az - fractional[2, k]
            x, y, z = x - np.rint(x), y - np.rint(y), z - np.rint(z)
            plain = metric[0, 0] * x * x + metric[1, 1] * y * y + metric[2, 2] * z * z
            squares[k] = plain + 2.0 * (metric[0, 1] * x * y + metric[0, 2] * x * z + metric[1, 2] * y * z)
        for k in range(n_b):
            if squares[k] < cutoff * cutoff:
                if found == len(i):
                    i, j = np.concatenate((i, i)), np.concatenate((j, j))
                    distance = np.concatenate((distance, distance))
                i[found], j[found], distance[found] = one, k, np.sqrt(squares[k])
                found += 1
    return i[:found], j[:found], distance[:found]


@compiled
def count_neighbours(
    a: np.ndarray, b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray, cell: np.ndarray, reach: float, width: float,
    n_widths: int,
) -> np.ndarray:  # fmt: skip
    """Number of points ``b`` of other molecules around each point ``a``, by distance to the nearest image.

    Parameters
    ----------
    a, b
        ``(n_a, 3)`` and ``(n_b, 3)`` in Å, in any image.
    of_a, of_b
        Molecule of each point.
    cell
        ``(3, 3)`` in Å.
    reach
        Largest distance, Å, at most half the smallest height of the cell.
    width, n_widths
        Step of the distances, Å, and their number.

    Returns
    -------
    ``(n_a, n_widths)`` int64: neighbours closer than 1, 2, 3 ... times ``width``.
    """
    inverse = _inverse(cell)
    fractional = _fractional(b, inverse)
    counts = np.zeros((len(a), n_widths + 1), dtype=np.int64)
    for one in range(len(a)):
        ax, ay, az = (_component(a[one], inverse, 0), _component(a[one], inverse, 1), _component(a[one], inverse, 2))
        for k in range(len(b)):
            x, y, z = ax - fractional[0, k], ay - fractional[1, k], az - fractional[2, k]
            x, y, z = x - np.rint(x), y - np.rint(y), z - np.rint(z)
            dx = x * cell[0, 0] + y * cell[1, 0] + z * cell[2, 0]
            dy = x * cell[0, 1] + y * cell[1, 1] + z * cell[2, 1]
            dz = x * cell[0, 2] + y * cell[1, 2] + z * cell[2, 2]
            square = dx * dx + dy * dy + dz * dz
            if square < reach * reach and of_a[one] != of_b[k]:
                counts[one, min(int(np.sqrt(square) / width), n_widths)] += 1
        for place in range(1, n_widths):
            counts[one, place] += counts[one, place - 1]
    return counts[:, :n_widths]


@compiled
def lowest_height(cell: np.ndarray) -> float:
    """The smallest distance between opposite faces of a cell ``(3, 3)``, Å."""
    found: float = _heights(cell).min()
    return found


@compiled
def _heights(cell: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / np.sqrt((_inverse(cell) ** 2).sum(axis=0))
    return found


@compiled
def _inverse(cell: np.ndarray) -> np.ndarray:
    """Inverse of a ``(3, 3)`` matrix by cross products, which is faster than a library call."""
    inverse = np.empty((3, 3))
    for k in range(3):
        u, v = cell[(k + 1) % 3], cell[(k + 2) % 3]
        inverse[0, k] = u[1] * v[2] - u[2] * v[1]
        inverse[1, k] = u[2] * v[0] - u[0] * v[2]
        inverse[2, k] = u[0] * v[1] - u[1] * v[0]
    volume = cell[0, 0] * inverse[0, 0] + cell[0, 1] * inverse[1, 0] + cell[0, 2] * inverse[2, 0]
    found: np.ndarray = inverse / volume
    return found


@compiled
def _fractional(points: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Fractional coordinates ``(3, n)`` of points ``(n, 3)``."""
    found = np.empty((3, len(points)))
    for k in range(len(points)):
        for axis in range(3):
            found[axis, k] = _component(points[k], inverse, axis)
    return found


@compiled
def _component(point: np.ndarray, inverse: np.ndarray, axis: int) -> float:
    found: float = point[0] * inverse[0, axis] + point[1] * inverse[1, axis] + point[2] * inverse[2, axis]
    return found

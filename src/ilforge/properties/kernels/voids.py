"""Empty space: the largest sphere without any part of an atom, and the share of the box far from all atoms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilforge.properties.kernels.pairs import heights, wrap

_GRID_A = 2.0
_FIRST_MARGIN_A = 8.0

Clearance = Callable[[np.ndarray], np.ndarray]
"""Function of points ``(n, 3)``: their distances to the nearest surface of an atom, ``(n,)`` in Å."""


def largest_void(clearance: Clearance, cell: np.ndarray, tolerance: float = 0.05) -> tuple[float, np.ndarray]:
    """Largest sphere between the surfaces of the atoms.

    Branch and bound: the clearance f(x) = min_i \\|x - x_i\\| - R_i changes by at most the distance between
    two points, so no sphere with its centre in a piece of the cell with half-diagonal d and centre c is larger than
    f(c) + d. Pieces that may contain a larger sphere are halved until d is below the tolerance, so none is missed.

    Parameters
    ----------
    clearance
        See :func:`clearance_function`.
    cell
        ``(3, 3)`` in Å.
    tolerance
        The result is at most this much too small, Å.

    Returns
    -------
    radius
        Radius of the sphere, Å; negative if atoms overlap everywhere.
    centre
        Centre of the sphere, ``(3,)`` in Å.
    """
    fractional, size = grid(cell)
    best, centre = -np.inf, np.zeros(3)
    while True:
        points = fractional @ cell
        found = clearance(points)
        if found.max() > best:
            best, centre = float(found.max()), points[found.argmax()]
        half_diagonal = 0.5 * _longest_diagonal(size[:, None] * cell)
        if half_diagonal <= tolerance:
            return best, centre
        promising = fractional[found + half_diagonal > best + 0.5 * tolerance]
        if len(promising) == 0:
            return best, centre
        size = 0.5 * size
        corners = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * size
        fractional = (promising[:, None] + corners).reshape(-1, 3)


def empty_fraction(clearance: Clearance, cell: np.ndarray, distance: float) -> float:
    """Share of the volume farther than ``distance`` (Å) from the surface of any atom, on a 2 Å grid."""
    fractional, _ = grid(cell)
    return float(np.mean(clearance(fractional @ cell) > distance))


def clearance_function(positions: np.ndarray, radii: np.ndarray, cell: np.ndarray) -> Clearance:
    """Function for the distance of points inside the cell to the nearest surface of an atom or its images.

    Parameters
    ----------
    positions
        ``(n, 3)`` in Å, in any image.
    radii
        ``(n,)`` in Å.
    cell
        ``(3, 3)`` in Å.
    """
    from scipy.spatial import cKDTree

    inside = wrap(positions, cell)
    margin = _FIRST_MARGIN_A
    trees: list[tuple[float, cKDTree]] = []

    def build() -> None:
        images, owners = _images(inside, cell, margin)
        trees[:] = [(r, cKDTree(images[radii[owners] == r])) for r in np.unique(radii[owners])]

    def clearance(points: np.ndarray) -> np.ndarray:
        nonlocal margin
        while True:
            found: np.ndarray = np.min([tree.query(points)[0] - r for r, tree in trees], axis=0)
            if found.max() + radii.max() <= margin:  # otherwise an image outside the margin could be nearer
                return found
            margin *= 2.0
            build()

    build()
    return clearance


def grid(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fractional centres ``(n, 3)`` of pieces no higher than 2 Å that fill the cell, and their size ``(3,)``."""
    counts = np.maximum(np.ceil(heights(cell) / _GRID_A).astype(int), 1)
    axes = [(np.arange(count) + 0.5) / count for count in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), 1.0 / counts


def _images(inside: np.ndarray, cell: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms and periodic images within ``margin`` of the cell, and the index of the original atom of each."""
    inverse = np.linalg.inv(cell)
    reach = margin * np.linalg.norm(inverse, axis=0)
    shifts = [np.arange(-int(np.ceil(r)), int(np.ceil(r)) + 1) for r in reach]
    lattice = np.stack(np.meshgrid(*shifts, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    fractional = inside @ inverse + lattice
    near = np.all((fractional > -reach) & (fractional < 1.0 + reach), axis=2)
    owners = np.nonzero(near)[1]
    return fractional[near] @ cell, owners


def _longest_diagonal(vectors: np.ndarray) -> float:
    """Longest diagonal of the parallelepiped of three row vectors."""
    signs = np.array([[1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]])
    return float(np.linalg.norm(signs @ vectors, axis=1).max())

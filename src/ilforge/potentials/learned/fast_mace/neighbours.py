"""A list of neighbours that extends beyond the cutoff, and is valid until atoms or box have moved too far."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ilforge.compiled import compiled

_FINEST = 12
"""Most cells along a side: more would cost more than they save."""


@dataclass(frozen=True)
class NeighbourList:
    """Pairs of atoms and images.

    Attributes
    ----------
    starts
        Where the neighbours of each atom begin, ``(n_atoms + 1,)``.
    listed
        The neighbours, ``(n_pairs,)``.
    image
        Number of the row of ``images`` for each pair, ``(n_pairs,)``.
    images
        Whole cell vectors that are added to a neighbour's folded position, ``(n_images, 3)``.
    wraps
        Whole cell vectors that are subtracted from each atom's position to fold it into the cell, ``(n_atoms, 3)``.
    positions, cell
        Those that the list was made for, Å; ``cell`` is None in a vacuum.
    reach
        Å.
    """

    starts: np.ndarray
    listed: np.ndarray
    image: np.ndarray
    images: np.ndarray
    wraps: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None
    reach: float

    @property
    def most(self) -> int:
        """Most neighbours of one atom."""
        return int(np.diff(self.starts).max(initial=0))

    def shifts(self, cell: np.ndarray | None) -> np.ndarray:
        """``images`` in Å for a cell."""
        return self.images @ cell if cell is not None else np.zeros((1, 3))

    def folded(self, positions: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """Positions minus the cell vectors by which each atom was outside the box when the list was made."""
        return positions if cell is None else positions - self.wraps @ cell

    def holds(self, positions: np.ndarray, cell: np.ndarray | None, cutoff: float) -> bool:
        """Whether all pairs within the cutoff are still in the list.

        If the box was strained, all atoms move with it. The test uses the additional displacement of each atom, and the
        largest shortening of a distance by the strain.
        """
        if (cell is None) != (self.cell is None):
            return False
        if cell is None or self.cell is None or np.array_equal(cell, self.cell):
            return 2 * _farthest(positions, self.positions) <= self.reach - cutoff
        strain = np.linalg.solve(self.cell, cell)
        shortest = np.linalg.svd(strain, compute_uv=False)[-1]
        return bool(2 * _farthest(positions, self.positions @ strain) <= shortest * self.reach - cutoff)


def find(positions: np.ndarray, cell: np.ndarray | None, reach: float) -> NeighbourList:
    """All pairs closer than ``reach``, each from both sides, with every image within it.

    Parameters
    ----------
    positions
        ``(n_atoms, 3)`` Å, anywhere.
    cell
        ``(3, 3)`` Å, of any form; None in a vacuum.
    """
    positions = np.ascontiguousarray(positions, dtype=float)
    if cell is None:
        low = positions.min(axis=0) - 1.0
        box = np.diag(positions.max(axis=0) - low + 1.0)
        fractions, wraps = (positions - low) @ np.linalg.inv(box), np.zeros((len(positions), 3), np.int64)
        periodic = False
    else:
        box = np.asarray(cell, dtype=float)
        fractions = positions @ np.linalg.inv(box)
        wraps = np.floor(fractions).astype(np.int64)
        fractions = fractions - wraps
        periodic = True
    heights = abs(np.linalg.det(box)) / np.array(
        [np.linalg.norm(np.cross(box[(k + 1) % 3], box[(k + 2) % 3])) for k in range(3)]
    )
    grid = np.clip((2 * heights / reach).astype(np.int64), 1, _FINEST)
    span = np.ceil(reach * grid / heights - 1e-12).astype(np.int64)
    n_images = np.ceil(reach / heights).astype(np.int64) + 1  # in each direction, from the wrapped place
    place = np.minimum((fractions * grid).astype(np.int64), grid - 1)
    number = (place[:, 0] * grid[1] + place[:, 1]) * grid[2] + place[:, 2]
    order = np.argsort(number, kind="stable")
    begins = np.searchsorted(number[order], np.arange(int(grid.prod()) + 1))
    wrapped = fractions @ box
    starts, listed, image = _pairs(wrapped, box, grid, span, place, order, begins, n_images, periodic, reach)
    if not periodic:
        image, table = np.zeros_like(image), np.zeros((1, 3))
    else:
        sides = [np.arange(-n, n + 1) for n in n_images]
        table = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
    return NeighbourList(starts, listed, image, table, wraps, positions.copy(), box.copy() if periodic else None, reach)


@compiled
def _farthest(positions: np.ndarray, reference: np.ndarray) -> float:
    """Largest distance of an atom from its reference, Å; infinite where a position is no number."""
    largest = 0.0
    for i in range(len(positions)):
        square = 0.0
        for k in range(3):
            square += (positions[i, k] - reference[i, k]) ** 2
        if not square <= largest:
            largest = square if square > largest else np.inf
    return math.sqrt(largest)


@compiled
def _pairs(
    wrapped: np.ndarray, box: np.ndarray, grid: np.ndarray, span: np.ndarray, place: np.ndarray, order: np.ndarray,
    begins: np.ndarray, n_images: np.ndarray, periodic: bool, reach: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Starts, neighbours and numbers of images of all pairs."""
    n = len(wrapped)
    starts = np.zeros(n + 1, np.int64)
    room = 64 * n + 1024
    listed = np.empty(room, np.int32)
    image = np.empty(room, np.int32)
    count = 0
    w1, w2 = 2 * n_images[1] + 1, 2 * n_images[2] + 1
    for i in range(n):
        x, y, z = wrapped[i, 0], wrapped[i, 1], wrapped[i, 2]
        for da in range(-span[0], span[0] + 1):
            a = place[i, 0] + da
            ia = a // grid[0]
            for db in range(-span[1], span[1] + 1):
                b = place[i, 1] + db
                ib = b // grid[1]
                for dc in range(-span[2], span[2] + 1):
                    c = place[i, 2] + dc
                    ic = c // grid[2]
                    if not periodic and (ia != 0 or ib != 0 or ic != 0):
                        continue
                    sx = x - (ia * box[0, 0] + ib * box[1, 0] + ic * box[2, 0])
                    sy = y - (ia * box[0, 1] + ib * box[1, 1] + ic * box[2, 1])
                    sz = z - (ia * box[0, 2] + ib * box[1, 2] + ic * box[2, 2])
                    number = ((ia + n_images[0]) * w1 + ib + n_images[1]) * w2 + ic + n_images[2]
                    home = ia == 0 and ib == 0 and ic == 0
                    cell = ((a - ia * grid[0]) * grid[1] + b - ib * grid[1]) * grid[2] + c - ic * grid[2]
                    first, last = begins[cell], begins[cell + 1]
                    if count + last - first > room:
                        room = 2 * (count + last - first)
                        listed = _grown(listed, room)
                        image = _grown(image, room)
                    for k in range(first, last):
                        j = order[k]
                        dx, dy, dz = sx - wrapped[j, 0], sy - wrapped[j, 1], sz - wrapped[j, 2]
                        listed[count] = j
                        image[count] = number
                        near = dx * dx + dy * dy + dz * dz < reach * reach and not (home and j == i)
                        count += np.int64(near)  # type: ignore[assignment]  # numba has one kind of whole number
        starts[i + 1] = count
    return starts, listed[:count].copy(), image[:count].copy()


@compiled
def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.empty(room, array.dtype)
    larger[: len(array)] = array
    return larger

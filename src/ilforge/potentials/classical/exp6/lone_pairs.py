"""Massless charge sites beside atoms, such as lone pairs: their positions, and the forces on atoms from them.

A site of atom ``o`` with neighbours ``a``, ``b``, ... is at

.. math:: \\mathbf r = \\mathbf r_o + d_{along}\\,\\mathbf b + d_{across}\\,\\mathbf n, \\quad
          \\mathbf b = -\\frac{\\sum_k \\mathbf u_k}{|\\sum_k \\mathbf u_k|}, \\quad
          \\mathbf n = \\frac{\\mathbf u_a \\times \\mathbf u_b}{|\\mathbf u_a \\times \\mathbf u_b|}

with unit vectors u from ``o`` to its neighbours: ``along`` points away from them, ``across`` out of their plane.
Sites have no mass and no velocity. They are not particles of a simulation but functions of its atoms. Therefore they
are always at the right positions: in a checkpoint, after a volume move, and in every part of a multiple time step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NO_ATOM = -1


@dataclass(frozen=True)
class LonePairs:
    """The massless sites of a system.

    Attributes
    ----------
    hosts
        ``(m,)`` atom to which each site belongs.
    neighbours
        ``(m, 3)`` atoms that define its direction, filled with :data:`NO_ATOM`.
    along, across
        ``(m,)`` Å; ``across`` is zero unless there are exactly two neighbours.
    """

    hosts: np.ndarray
    neighbours: np.ndarray
    along: np.ndarray
    across: np.ndarray

    def __len__(self) -> int:
        return len(self.hosts)

    def offsets(self, positions: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """Vectors from the atoms to their sites, ``(m, 3)`` Å, from positions ``(n, 3)`` Å."""
        frame = _Frame(self, positions, cell)
        found: np.ndarray = self.along[:, None] * frame.b + self.across[:, None] * frame.n
        return found

    def spread(self, forces: np.ndarray, positions: np.ndarray, cell: np.ndarray | None, on_atoms: np.ndarray) -> None:
        """Add forces on the sites, ``(m, 3)``, to those on the atoms that define them, ``(n, 3)``, in place."""
        np.add.at(on_atoms, self.hosts, forces)
        frame = _Frame(self, positions, cell)
        on_b, on_n = self.along[:, None] * forces, self.across[:, None] * forces
        on_u = np.repeat(-_perpendicular(on_b, frame.b, frame.length_b)[:, None], 3, axis=1)
        on_c = _perpendicular(on_n, frame.n, frame.length_n)
        on_u[:, 0] += np.cross(frame.u[:, 1], on_c)
        on_u[:, 1] += np.cross(on_c, frame.u[:, 0])
        for k in range(3):
            there = self.neighbours[:, k] != NO_ATOM
            found = _perpendicular(on_u[there, k], frame.u[there, k], frame.distances[there, k])
            np.add.at(on_atoms, self.neighbours[there, k], found)
            np.add.at(on_atoms, self.hosts[there], -found)


class _Frame:
    """The vectors that define the positions of sites."""

    def __init__(self, sites: LonePairs, positions: np.ndarray, cell: np.ndarray | None):
        there = sites.neighbours != NO_ATOM
        vectors = nearest(positions[sites.neighbours] - positions[sites.hosts][:, None], cell)
        self.distances = np.where(there, np.linalg.norm(vectors, axis=2), 1.0)
        self.u = np.where(there[:, :, None], vectors / self.distances[:, :, None], 0.0)
        total = self.u.sum(axis=1)
        self.length_b = np.linalg.norm(total, axis=1)
        self.b = -total / self.length_b[:, None]
        normal = np.cross(self.u[:, 0], self.u[:, 1])
        flat = sites.across == 0
        self.length_n = np.where(flat, 1.0, np.linalg.norm(normal, axis=1))
        self.n = np.where(flat[:, None], 0.0, normal / self.length_n[:, None])


def _perpendicular(gradient: np.ndarray, unit: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Convert a gradient with respect to a unit vector to one with respect to the original vector."""
    along = np.sum(gradient * unit, axis=1, keepdims=True)
    found: np.ndarray = (gradient - along * unit) / np.asarray(length)[:, None]
    return found


def nearest(vectors: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
    """The nearest image of vectors ``(..., 3)`` in a reduced lower triangular cell, or the vectors in a vacuum."""
    if cell is None:
        return vectors
    vectors = np.array(vectors)
    for axis in (2, 1, 0):
        vectors -= cell[axis] * np.round(vectors[..., axis, None] / cell[axis, axis])
    return vectors

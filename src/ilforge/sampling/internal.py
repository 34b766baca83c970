"""Internal coordinates of whole molecules: bond lengths, angles and torsions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilforge.arrays import Floats
from ilforge.liquid.topology import Topology


@dataclass(frozen=True, eq=False)
class InternalCoordinates:
    """Every bond, angle and torsion of a topology.

    Attributes
    ----------
    bonds, angles, torsions
        Atoms of each coordinate: ``(n, 2)``, ``(n, 3)`` with the apex in the middle, ``(n, 4)`` along the chain.
    """

    bonds: np.ndarray
    angles: np.ndarray
    torsions: np.ndarray

    @classmethod
    def of(cls, topology: Topology) -> InternalCoordinates:
        """All coordinates of a topology; every chain of four different atoms has a torsion."""
        near: dict[int, list[int]] = {atom: [] for atom in range(topology.n_atoms)}
        for i, j in topology.bonds.tolist():
            near[i].append(j)
            near[j].append(i)
        angles = [(i, j, k) for j, ends in near.items() for i in ends for k in ends if i < k]
        torsions = [
            (i, j, k, m)
            for j, k in topology.bonds.tolist()
            for i in near[j]
            for m in near[k]
            if i != k and m != j and i != m
        ]
        return cls(
            np.array(topology.bonds, dtype=int).reshape(-1, 2),
            np.array(angles, dtype=int).reshape(-1, 3),
            np.array(torsions, dtype=int).reshape(-1, 4),
        )


def bond_lengths(positions: Floats, bonds: Floats) -> Floats:
    """Lengths in Å, ``(..., n)``, of bonds ``(n, 2)`` in whole molecules at ``(..., n_atoms, 3)``."""
    found: Floats = np.linalg.norm(positions[..., bonds[:, 1], :] - positions[..., bonds[:, 0], :], axis=-1)
    return found


def bond_angles(positions: Floats, angles: Floats) -> Floats:
    """Angles in degrees, ``(..., n)``; the apex is the second of ``(n, 3)`` atoms."""
    one = positions[..., angles[:, 0], :] - positions[..., angles[:, 1], :]
    other = positions[..., angles[:, 2], :] - positions[..., angles[:, 1], :]
    across = np.linalg.norm(np.cross(one, other), axis=-1)
    found: Floats = np.degrees(np.arctan2(across, np.sum(one * other, axis=-1)))
    return found


def torsion_angles(positions: Floats, torsions: Floats) -> Floats:
    """Torsions in degrees, -180 to 180, IUPAC sign, ``(..., n)``, of chains ``(n, 4)``."""
    a, b, c, d = (positions[..., torsions[:, k], :] for k in range(4))
    first, axis, last = b - a, c - b, d - c
    left, right = np.cross(first, axis), np.cross(axis, last)
    along = np.linalg.norm(axis, axis=-1) * np.sum(first * right, axis=-1)
    found: Floats = np.degrees(np.arctan2(along, np.sum(left * right, axis=-1)))
    return found

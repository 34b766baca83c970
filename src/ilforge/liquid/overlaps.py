"""Overlaps: rigid molecules moved and turned apart where they come too close."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from ilforge.liquid.connectivity import contacts
from ilforge.liquid.topology import Topology

_LARGEST_MOVE = 0.3  # Å in one step
_LARGEST_TURN = 0.15  # radians in one step
_MARGIN = 0.02  # Å aimed at beyond the wanted distance, or the last step would take for ever


def overlap(atoms: Atoms, topology: Topology, radii: np.ndarray) -> float:
    """Deepest overlap between molecules, their periodic images included, Å; 0 when there is none.

    ``radii`` is ``(n_atoms,)`` in Å; two atoms overlap when closer than the sum of theirs.
    """
    i, j, distance = contacts(atoms, topology, 2 * float(radii.max()))[:3]
    return float(np.max(radii[i] + radii[j] - distance, initial=0.0))


def separate(atoms: Atoms, topology: Topology, radii: np.ndarray, steps: int = 300) -> Atoms:
    """Move and turn whole rigid molecules until none overlap, or for ``steps`` steps; a new box.

    Goes down E = 1/2 sum_ij max(0, r_i + r_j - d_ij)^2 over pairs of different molecules or images, with a
    diagonal estimate of the second derivative for each molecule: a contact counts 1 for its translation and
    |lever|^2 for its rotation. Unlike PACKMOL it sees a long molecule meet its own image in a small box.
    """
    box = atoms.copy()
    wanted = radii + 0.5 * _MARGIN
    for _ in range(steps):
        i, j, distance, vector = contacts(box, topology, 2 * float(wanted.max()))
        depth = wanted[i] + wanted[j] - distance
        if not np.any(depth > 0.5 * _MARGIN):
            break
        touching = depth > 0
        i, push = i[touching], -(depth / distance)[touching, None] * vector[touching]
        box.set_positions(_moved(box.positions, topology, i, push))
    return box


def _moved(positions: np.ndarray, topology: Topology, i: np.ndarray, push: np.ndarray) -> np.ndarray:
    """Positions after one step: ``push[k]`` (Å) is what contact ``k`` wants atom ``i[k]`` to move."""
    n, molecules = topology.n_molecules, topology.molecules
    centres = np.stack(
        [np.bincount(molecules, weights=x, minlength=n) / topology.atom_counts for x in positions.T], axis=1
    )
    lever = positions[i] - centres[molecules[i]]
    owner = molecules[i]
    counts = np.bincount(owner, minlength=n)
    levers = np.bincount(owner, weights=(lever**2).sum(axis=1), minlength=n)
    move = _summed(push, owner, n) / np.maximum(2 * counts, 1)[:, None]
    turn = _summed(np.cross(lever, push), owner, n) / np.maximum(levers, 1.0)[:, None]
    move, turn = _capped(move, _LARGEST_MOVE), _capped(turn, _LARGEST_TURN)
    arms = positions - centres[molecules]
    return centres[molecules] + move[molecules] + Rotation.from_rotvec(turn[molecules]).apply(arms)


def _summed(vectors: np.ndarray, owner: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(owner, weights=x, minlength=n) for x in vectors.T], axis=1)


def _capped(vectors: np.ndarray, largest: float) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * np.minimum(1.0, largest / np.maximum(norms, 1e-12))

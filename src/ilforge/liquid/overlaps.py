"""Overlaps: rigid molecules moved and turned apart where they come too close."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ilforge.arrays import Floats, Integers
from ilforge.liquid.connectivity import contacts
from ilforge.liquid.topology import Topology

_MOMENTUM = 0.95  # best of 0, 0.5, 0.8, 0.9, 0.95, 0.97 in 300 steps for boxes at 1.25 times the liquid density
_LARGEST_MOVE = 0.3  # Å in one step
_LARGEST_TURN = 0.15  # radians in one step
_MARGIN = 0.02  # Å added to the wanted distance; without it the last overlap would vanish only asymptotically


def overlap(atoms: Atoms, topology: Topology, radii: np.ndarray) -> float:
    """Deepest overlap between molecules, their periodic images included, Å; 0 if there is none.

    ``radii`` is ``(n_atoms,)`` in Å; two atoms overlap if they are closer than the sum of their radii.
    """
    i, j, distance, _ = contacts(atoms, topology, 2 * float(radii.max()))
    return float(np.max(radii[i] + radii[j] - distance, initial=0.0))


def separate(atoms: Atoms, topology: Topology, radii: Floats, steps: int = 400) -> Atoms:
    """Move and turn whole rigid molecules until none overlap, or for ``steps`` steps; a new box.

    Minimises E = 1/2 sum_ij max(0, r_i + r_j - d_ij)^2 over pairs of different molecules or images, by gradient
    descent with momentum and a diagonal estimate of the second derivative for each molecule: a contact adds 1 for
    the translation and |lever|^2 for the rotation. Unlike PACKMOL, it detects that a long molecule overlaps with its
    own image in a small box.

    Parameters
    ----------
    atoms
        Periodic box of whole molecules.
    radii
        ``(n_atoms,)`` Å.
    """
    box: Atoms = atoms.copy()
    wanted = radii + 0.5 * _MARGIN
    move = turn = np.zeros((topology.n_molecules, 3))
    for _ in range(steps):
        i, j, distance, vector = contacts(box, topology, 2 * float(wanted.max()))
        depth = wanted[i] + wanted[j] - distance
        if not np.any(depth > 0.5 * _MARGIN):
            break
        touching = depth > 0
        push = -depth[touching, None] * _directions(i, j, distance, vector)[touching]
        pull, twist = _steps(box.positions, topology, i[touching], push)
        move = _capped(_MOMENTUM * move + pull, _LARGEST_MOVE)
        turn = _capped(_MOMENTUM * turn + twist, _LARGEST_TURN)
        box.set_positions(_moved(box.positions, topology, move, turn))
    return box


def _directions(i: Integers, j: Integers, distance: Floats, vector: Floats) -> Floats:
    """Unit vectors from i to j; opposite vectors along x if both atoms are at the same place."""
    units = vector / np.maximum(distance, 1e-3)[:, None]
    same = distance < 1e-3
    units[same] = np.sign(j[same] - i[same])[:, None] * np.array([1.0, 0.0, 0.0])
    return units


def _steps(positions: Floats, topology: Topology, i: Integers, push: Floats) -> tuple[Floats, Floats]:
    """Translation (Å) and rotation vector of each molecule, ``(n_molecules, 3)`` each.

    ``push[k]`` is the displacement of atom ``i[k]`` in Å that would resolve contact ``k``.
    """
    owner, n = topology.molecules[i], topology.n_molecules
    lever = positions[i] - _centres(positions, topology)[owner]
    contacts_each = np.maximum(np.bincount(owner, minlength=n), 1)
    levers_each = np.maximum(np.bincount(owner, weights=(lever**2).sum(axis=1), minlength=n), 1.0)
    pull = _summed(push, owner, n) / (2 * contacts_each[:, None])
    return pull, _summed(np.cross(lever, push), owner, n) / levers_each[:, None]


def _moved(positions: Floats, topology: Topology, move: Floats, turn: Floats) -> Floats:
    from scipy.spatial.transform import Rotation

    centres, molecules = _centres(positions, topology), topology.molecules
    arms = Rotation.from_rotvec(turn[molecules]).apply(positions - centres[molecules])
    found: Floats = (centres + move)[molecules] + arms
    return found


def _centres(positions: Floats, topology: Topology) -> Floats:
    """Mean position of the atoms of each molecule, ``(n_molecules, 3)`` Å."""
    return _summed(positions, topology.molecules, topology.n_molecules) / topology.atom_counts[:, None]


def _summed(vectors: Floats, owner: Integers, n: int) -> Floats:
    return np.stack([np.bincount(owner, weights=component, minlength=n) for component in vectors.T], axis=1)


def _capped(vectors: Floats, largest: float) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = vectors * np.minimum(1.0, largest / np.maximum(norms, 1e-12))
    return found

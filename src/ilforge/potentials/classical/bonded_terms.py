"""Angles, torsions and separations (in bonds) of atoms, derived from the bonds of a molecule."""

from __future__ import annotations

from itertools import combinations

import numpy as np

Bonds = np.ndarray


def neighbours(bonds: Bonds, n_atoms: int) -> list[list[int]]:
    """Bonded neighbours of each atom, ascending."""
    found: list[list[int]] = [[] for _ in range(n_atoms)]
    for i, j in np.asarray(bonds, dtype=int).reshape(-1, 2).tolist():
        found[i].append(j)
        found[j].append(i)
    return [sorted(atoms) for atoms in found]


def angles(bonds: Bonds, n_atoms: int) -> list[tuple[int, int, int]]:
    """All angles ``(i, j, k)`` with bonds i-j and j-k, each once, with i < k."""
    return [(i, j, k) for j, around in enumerate(neighbours(bonds, n_atoms)) for i, k in combinations(around, 2)]


def torsions(bonds: Bonds, n_atoms: int) -> list[tuple[int, int, int, int]]:
    """All proper torsions ``(i, j, k, l)`` with bonds i-j, j-k and k-l, each once, with j < k."""
    around = neighbours(bonds, n_atoms)
    found = []
    for j, k in sorted(tuple(sorted(bond)) for bond in np.asarray(bonds, dtype=int).reshape(-1, 2).tolist()):
        for i in around[j]:
            found += [(i, j, k, end) for end in around[k] if i != k and end != j and i != end]
    return found


def pairs_by_separation(bonds: Bonds, n_atoms: int, most: int = 3) -> dict[int, list[tuple[int, int]]]:
    """Pairs ``(i, j)``, i < j, by the number of bonds on the shortest path between them, 1 to ``most``.

    In a ring there are two paths between two atoms; only the shorter one counts, so that no pair is in two lists.
    """
    around = neighbours(bonds, n_atoms)
    pairs: dict[int, list[tuple[int, int]]] = {separation: [] for separation in range(1, most + 1)}
    for start in range(n_atoms):
        seen, shell = {start}, [start]
        for separation in range(1, most + 1):
            shell = sorted({j for i in shell for j in around[i]} - seen)
            seen.update(shell)
            pairs[separation] += [(start, j) for j in shell if start < j]
    return pairs

"""Pairs and triangles of the atoms of a frame, for :mod:`.load` and for the program that trains.

It imports nothing of ilforge: the interpreter of the environment runs it. Only atoms of the box are centres, and their
neighbours are found in all periodic images. So a box may be smaller than the cutoffs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Edges(NamedTuple):
    """Directed pairs of atoms, sorted by the first atom.

    ``first`` and ``second`` are numbers of atoms, shape ``(n,)``; ``vectors`` point from the first to the second, Å,
    shape ``(n, 3)``; ``lengths`` are those of the vectors.
    """

    first: Any
    second: Any
    vectors: Any
    lengths: Any

    def of(self, chosen: Any) -> "Edges":
        """Those that a mask or numbers choose."""
        return Edges(*(array[chosen] for array in self))


class Triangles(NamedTuple):
    """Triangles: the edges from the centre to both neighbours, and the edge between the neighbours."""

    to_j: Edges
    to_k: Edges
    between: Edges

    @property
    def lengths(self) -> Any:
        """Of the three edges, Å, shape ``(n, 3)``."""
        return np.stack([edge.lengths for edge in self], axis=1)


def edges(atoms: Any, cutoff: float) -> Edges:
    """All pairs within a cutoff in Å; each pair is there in both directions."""
    from ase.neighborlist import neighbor_list

    first, second, vectors = neighbor_list("ijD", atoms, cutoff)
    return Edges(first, second, vectors, np.linalg.norm(vectors, axis=1))


def pairs(atoms: Any, near: Edges) -> Iterator[tuple[tuple[int, int], Edges]]:
    """The pairs of each two elements, by their atomic numbers in ascending order."""
    numbers = np.sort(np.stack([atoms.numbers[near.first], atoms.numbers[near.second]], axis=1), axis=1)
    for kind in np.unique(numbers, axis=0):
        yield (int(kind[0]), int(kind[1])), near.of((numbers == kind).all(axis=1))


def triangles(atoms: Any, near: Edges) -> Iterator[tuple[tuple[int, int, int], Triangles]]:
    """The triangles of a centre and two of its neighbours, by atomic numbers: the centre, and the neighbours in
    ascending order."""
    one, other = _combinations(near.first, len(atoms))
    swap = atoms.numbers[near.second[one]] > atoms.numbers[near.second[other]]
    j, k = np.where(swap, other, one), np.where(swap, one, other)
    corners = np.stack([near.first[j], near.second[j], near.second[k]], axis=1)
    numbers = atoms.numbers[corners]
    code = numbers @ np.array([1_000_000, 1_000, 1])
    for value in np.unique(code):
        chosen = np.flatnonzero(code == value)
        kind = numbers[chosen[0]]
        to_j, to_k = near.of(j[chosen]), near.of(k[chosen])
        vectors = to_k.vectors - to_j.vectors
        between = Edges(to_j.second, to_k.second, vectors, np.linalg.norm(vectors, axis=1))
        yield (int(kind[0]), int(kind[1]), int(kind[2])), Triangles(to_j, to_k, between)


def _combinations(first: Any, count: int) -> tuple[Any, Any]:
    """Numbers of two different edges with the same first atom: each combination once."""
    sizes = np.bincount(first, minlength=count)
    starts = np.cumsum(sizes) - sizes
    found = [np.stack(np.triu_indices(size, 1)) + start for size, start in zip(sizes, starts, strict=True)]
    one, other = np.concatenate(found, axis=1) if found else np.zeros((2, 0), dtype=int)
    return one, other

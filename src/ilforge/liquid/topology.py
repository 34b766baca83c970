"""Topology: which atoms are bonded, and which ion each atom belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ilforge.arrays import Booleans, Floats, Integers

if TYPE_CHECKING:
    from ilforge.liquid.ions import Ion


@dataclass(frozen=True)
class Topology:
    """Atoms, bonds and molecules of a box, in the order in which its frames list the atoms.

    Attributes
    ----------
    symbols
        Element of each atom, length ``n_atoms``.
    names
        Name of each atom, unique within its molecule (``"C1"``), length ``n_atoms``.
    bonds
        ``(n_bonds, 2)`` integer array of bonded atoms.
    molecules
        ``(n_atoms,)`` integer array: index of the molecule that each atom belongs to, from 0, ascending.
    species
        Name of the ion that each molecule is, length ``n_molecules``.
    charges
        Net charge of each molecule in e, length ``n_molecules``.
    """

    symbols: tuple[str, ...]
    names: tuple[str, ...]
    bonds: np.ndarray
    molecules: np.ndarray
    species: tuple[str, ...]
    charges: tuple[int, ...]

    @classmethod
    def of(cls, ions: Iterable[tuple[Ion, int]]) -> Topology:
        """Topology of a box that lists all copies of the first ion, then all of the second, and so on."""
        copies = [ion for ion, count in ions for _ in range(count)]
        sizes = np.array([ion.n_atoms for ion in copies], dtype=np.int64)
        starts: Iterable[int] = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if copies else []
        bonds = [ion.bonds + start for ion, start in zip(copies, starts, strict=True)]
        return cls(
            symbols=tuple(symbol for ion in copies for symbol in ion.symbols),
            names=tuple(name for ion in copies for name in ion.names),
            bonds=np.concatenate([np.empty((0, 2), dtype=np.int64), *bonds]),
            molecules=np.repeat(np.arange(len(copies)), sizes),
            species=tuple(ion.name for ion in copies),
            charges=tuple(ion.charge for ion in copies),
        )

    @property
    def n_atoms(self) -> int:
        return len(self.symbols)

    @property
    def charge(self) -> int:
        """Net charge of all molecules, e."""
        return int(sum(self.charges))

    @property
    def n_molecules(self) -> int:
        return len(self.species)

    @cached_property
    def masses(self) -> Floats:
        """Standard atomic masses, amu, ``(n_atoms,)``."""
        from ase.data import atomic_masses, atomic_numbers

        return np.array([atomic_masses[atomic_numbers[symbol]] for symbol in self.symbols])

    @cached_property
    def atom_species(self) -> np.ndarray:
        """Name of the ion each atom belongs to, ``(n_atoms,)``."""
        names: np.ndarray = np.asarray(self.species)[self.molecules]
        return names

    @cached_property
    def atom_counts(self) -> Integers:
        """Number of atoms of each molecule, ``(n_molecules,)``."""
        return np.bincount(self.molecules, minlength=self.n_molecules)

    @cached_property
    def first_atoms(self) -> Integers:
        """Index of the first atom of each molecule, ``(n_molecules,)``."""
        return np.searchsorted(self.molecules, np.arange(self.n_molecules))

    @cached_property
    def molecule_masses(self) -> np.ndarray:
        """Mass of each molecule, amu, ``(n_molecules,)``."""
        return np.bincount(self.molecules, weights=self.masses, minlength=self.n_molecules)

    @cached_property
    def monatomic(self) -> Booleans:
        """Whether each atom is a whole ion by itself, ``(n_atoms,)`` booleans."""
        found: Booleans = self.atom_counts[self.molecules] == 1
        return found

    @cached_property
    def bond_tree(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Spanning tree of the bonds of each molecule, from its first atom, level by level.

        Each level is a pair ``(parents, children)`` of index arrays of equal length: every child is bonded to
        its parent, and every parent is a first atom or a child of the level before.

        Raises
        ------
        ValueError
            When the bonds do not connect all atoms of a molecule.
        """
        both_ways = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        reached = np.zeros(self.n_atoms, dtype=bool)
        reached[self.first_atoms] = True
        frontier, levels = reached.copy(), []
        while frontier.any():
            steps = both_ways[frontier[both_ways[:, 0]] & ~reached[both_ways[:, 1]]]
            children, where = np.unique(steps[:, 1], return_index=True)  # in rings, two parents may have one child
            frontier = np.zeros(self.n_atoms, dtype=bool)
            frontier[children] = reached[children] = True
            if len(children):
                levels.append((steps[where, 0], children))
        if not reached.all():
            raise ValueError(f"no bonds reach {self.describe(int(np.flatnonzero(~reached)[0]))}")
        return tuple(levels)

    @cached_property
    def second_neighbours(self) -> np.ndarray:
        """Pairs of atoms bonded to a common third atom (the ends of every angle), ``(n, 2)`` with i < j."""
        from scipy.sparse import coo_array

        i, j = np.concatenate([self.bonds, self.bonds[:, ::-1]]).T
        bonded = coo_array((np.ones(len(i)), (i, j)), shape=(self.n_atoms, self.n_atoms)).tocsr()
        ends = (bonded @ bonded).tocoo()
        keep = ends.row < ends.col
        return np.stack([ends.row[keep], ends.col[keep]], axis=1).astype(np.int64)

    def atoms_of(self, molecule: int) -> np.ndarray:
        """Indices of the atoms of one molecule."""
        return np.flatnonzero(self.molecules == molecule)

    def describe(self, atom: int) -> str:
        """An atom in words: ``"C7 of PYR14 #2"`` is in the second PYR14."""
        molecule = int(self.molecules[atom])
        number = self.species[: molecule + 1].count(self.species[molecule])
        return f"{self.names[atom]} of {self.species[molecule]} #{number}"

"""Topology: which atoms are bonded, and which of them make which ion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


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
        ``(n_atoms,)`` integer array: the molecule each atom belongs to, 0-based, ascending.
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

    @property
    def n_atoms(self) -> int:
        return len(self.symbols)

    @property
    def n_molecules(self) -> int:
        return len(self.species)

    @cached_property
    def masses(self) -> np.ndarray:
        """Standard atomic masses, amu, ``(n_atoms,)``."""
        from ase.data import atomic_masses, atomic_numbers

        return np.array([atomic_masses[atomic_numbers[symbol]] for symbol in self.symbols])

    @cached_property
    def atom_species(self) -> np.ndarray:
        """Name of the ion each atom belongs to, ``(n_atoms,)``."""
        return np.asarray(self.species)[self.molecules]

    def atoms_of(self, molecule: int) -> np.ndarray:
        """Indices of the atoms of one molecule."""
        return np.flatnonzero(self.molecules == molecule)

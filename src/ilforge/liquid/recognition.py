"""Compare molecules with each other and with the ions of the catalogue, by elements and bonds alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import RWMol

    from ilforge.liquid.ions import Ion
    from ilforge.liquid.topology import Topology


class BondGraph(NamedTuple):
    """One molecule: the element of each atom, and pairs (i, j) of bonded atoms, i < j, ascending."""

    symbols: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, symbols: Sequence[str], bonds: np.ndarray) -> BondGraph:
        """The graph from ``(n_bonds, 2)`` indices within the molecule, in any order."""
        pairs = np.unique(np.sort(np.asarray(bonds, dtype=np.int64).reshape(-1, 2), axis=1), axis=0)
        return cls(tuple(symbols), tuple(map(tuple, pairs.tolist())))

    def reordered(self, order: Sequence[int]) -> BondGraph:
        """The same molecule with its atoms listed in ``order``."""
        place = np.argsort(order)
        return BondGraph.of([self.symbols[atom] for atom in order], place[_array(self.bonds)])


def bond_graphs(topology: Topology) -> list[BondGraph]:
    """The bond graph of every molecule of a box."""
    starts = topology.first_atoms
    bonds = np.asarray(topology.bonds, dtype=np.int64).reshape(-1, 2)
    of = topology.molecules[bonds[:, 0]]
    order = np.argsort(of, kind="stable")
    parts = np.split(bonds[order], np.searchsorted(of[order], np.arange(1, topology.n_molecules)))
    return [
        BondGraph.of(topology.symbols[start : start + size], part - start)
        for start, size, part in zip(starts.tolist(), topology.atom_counts.tolist(), parts, strict=True)
    ]


@lru_cache(maxsize=4096)
def sum_formula(symbols: tuple[str, ...]) -> str:
    """``"C9H20N"``, in Hill's order."""
    from ase.formula import Formula

    return Formula.from_list(list(symbols)).format("hill")


@lru_cache(maxsize=4096)
def bond_pattern(graph: BondGraph) -> str:
    """A text that is equal for two molecules if and only if their elements and bonds are, in any order of atoms."""
    from rdkit import Chem

    return Chem.MolToSmiles(as_molecule(graph))


def same_order(first: BondGraph, other: BondGraph) -> tuple[int, ...] | None:
    """The atom of ``other`` that corresponds to each atom of ``first``; None if the molecules are different.

    Equivalent atoms, such as the F of CF3, are matched in one of the possible ways.
    """
    if len(first.symbols) != len(other.symbols) or len(first.bonds) != len(other.bonds):
        return None
    return as_molecule(other).GetSubstructMatch(as_molecule(first)) or None


def catalogue_ion(graph: BondGraph) -> Ion | None:
    """The ion of the catalogue with these elements and bonds."""
    from ilforge.liquid.ions import get_ion

    for name in _names_by_formula().get(sum_formula(graph.symbols), ()):
        ion = get_ion(name)
        if bond_pattern(BondGraph.of(ion.symbols, ion.bonds)) == bond_pattern(graph):
            return ion
    return None


def known_ion(graph: BondGraph, own: Sequence[Ion] = ()) -> Ion | None:
    """The ion with these elements and bonds: one of the user's own, else one of the catalogue."""
    for ion in own:
        if bond_pattern(BondGraph.of(ion.symbols, ion.bonds)) == bond_pattern(graph):
            return ion
    return catalogue_ion(graph)


def as_molecule(graph: BondGraph) -> RWMol:
    """The molecule as an RDKit object with explicit hydrogens, single bonds and no charges."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    for symbol in graph.symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for i, j in graph.bonds:
        molecule.AddBond(i, j, Chem.BondType.SINGLE)
    molecule.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(molecule)
    return molecule


@cache
def _names_by_formula() -> dict[str, tuple[str, ...]]:
    from ilforge.liquid.ions import CATALOGUE

    found: dict[str, tuple[str, ...]] = {}
    for entry in CATALOGUE.values():
        symbols = tuple(line.split()[0] for line in entry.geometry.strip().splitlines())
        found[sum_formula(symbols)] = (*found.get(sum_formula(symbols), ()), entry.name)
    return found


def _array(pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)

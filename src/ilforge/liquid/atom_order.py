"""Reorder the atoms of a frame by their bonds, for files that sort atoms by element or in any other order."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import bond_graph
from ilforge.liquid.recognition import BondGraph, same_order, sum_formula
from ilforge.liquid.topology import Topology


def order_by_bonds(atoms: Atoms, topology: Topology, factor: float) -> np.ndarray | None:
    """Find, from the bonds alone, the atom of the frame that corresponds to each atom of the topology.

    Every group of bonded atoms is one molecule, matched to an ion by its graph of elements and bonds. Atoms that the
    graph cannot distinguish (the hydrogens of a methyl group) keep their order: no energy depends on it.

    Parameters
    ----------
    factor
        Two atoms are bonded below this times the sum of their covalent radii; see :func:`.connectivity.bond_graph`.

    Returns
    -------
    order
        ``(n_atoms,)``: ``atoms[order]`` is in the order of the topology. None when the frame contains other molecules
        than the topology.
    """
    if sorted(atoms.get_chemical_symbols()) != sorted(topology.symbols) or not np.isfinite(atoms.positions).all():
        return None
    symbols = atoms.get_chemical_symbols()
    alone = {s for s, single in zip(topology.symbols, topology.monatomic, strict=True) if single}
    alone -= {s for s, single in zip(topology.symbols, topology.monatomic, strict=True) if not single}
    bonds = bond_graph(atoms, factor, np.isin(symbols, sorted(alone)))
    if np.any(bonds[:, 0] == bonds[:, 1]):  # an atom bonded to its own image
        return None
    waiting: dict[str, list[np.ndarray]] = {}
    for group in _groups(len(atoms), bonds):
        waiting.setdefault(_formula(symbols, group), []).append(group)
    order = np.empty(len(atoms), dtype=np.int64)
    for molecule in range(topology.n_molecules):
        places = topology.atoms_of(molecule)
        pattern = _graph(topology.symbols, topology.bonds, places)
        candidates = waiting.get(_formula(topology.symbols, places), [])
        for number, group in enumerate(candidates):
            match = _match(pattern, _graph(symbols, bonds, group))
            if match is not None:
                order[places] = group[list(match)]
                del candidates[number]
                break
        else:
            return None
    return order


def _groups(n_atoms: int, bonds: np.ndarray) -> list[np.ndarray]:
    """Groups of atoms connected by bonds, sorted by their first atom."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(bonds)), bonds.T), shape=(n_atoms, n_atoms))
    n_groups, number = connected_components(graph, directed=False)
    groups = [np.flatnonzero(number == each) for each in range(n_groups)]
    return sorted(groups, key=lambda group: group[0])


def _formula(symbols: Sequence[str], members: np.ndarray) -> str:
    return sum_formula(tuple(symbols[i] for i in members))


def _graph(symbols: Sequence[str], bonds: np.ndarray, members: np.ndarray) -> BondGraph:
    """Bond graph of some atoms, with indices among these atoms."""
    inside = np.isin(bonds[:, 0], members)
    return BondGraph.of([symbols[i] for i in members], np.searchsorted(members, bonds[inside]))


@functools.lru_cache(maxsize=512)
def _match(wanted: BondGraph, found: BondGraph) -> tuple[int, ...] | None:
    """Atom of ``found`` for each atom of ``wanted``, if both graphs are equal; the same order if that matches."""
    return tuple(range(len(found.symbols))) if found == wanted else same_order(wanted, found)

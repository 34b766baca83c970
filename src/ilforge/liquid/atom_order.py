"""Atoms that are listed in another order than the liquid's, such as sorted by element: put in order by their bonds."""

from __future__ import annotations

import functools

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import bond_graph
from ilforge.liquid.topology import Topology


def order_by_bonds(atoms: Atoms, topology: Topology, factor: float) -> np.ndarray | None:
    """Which atom of a frame each atom of the topology is, from the bonds alone.

    Every group of bonded atoms is one molecule, matched to an ion by its graph of elements and bonds. Atoms that the
    graph cannot tell apart (the hydrogens of a methyl group) are taken as they come: no energy depends on it.

    Parameters
    ----------
    factor
        Two atoms are bonded below this times the sum of their covalent radii; see :func:`.connectivity.bond_graph`.

    Returns
    -------
    order
        ``(n_atoms,)``: ``atoms[order]`` is in the order of the topology. None when the molecules of the frame are not
        those of the topology.
    """
    if sorted(atoms.get_chemical_symbols()) != sorted(topology.symbols) or not np.isfinite(atoms.positions).all():
        return None
    symbols = atoms.get_chemical_symbols()
    alone = {s for s, single in zip(topology.symbols, topology.monatomic, strict=True) if single}
    alone -= {s for s, single in zip(topology.symbols, topology.monatomic, strict=True) if not single}
    bonds = bond_graph(atoms, factor, np.isin(symbols, sorted(alone)))
    if np.any(bonds[:, 0] == bonds[:, 1]):  # an atom bonded to its own image
        return None
    waiting: dict[tuple[str, ...], list[np.ndarray]] = {}
    for group in _groups(len(atoms), bonds):
        waiting.setdefault(_formula(symbols, group), []).append(group)
    order = np.empty(len(atoms), dtype=np.int64)
    for molecule in range(topology.n_molecules):
        places = topology.atoms_of(molecule)
        pattern = _graph(topology.symbols, topology.bonds, places)
        candidates = waiting.get(_formula(topology.symbols, places), [])
        for number, group in enumerate(candidates):
            match = _match(_graph(symbols, bonds, group), pattern)
            if match is not None:
                order[places] = group[list(match)]
                del candidates[number]
                break
        else:
            return None
    return order


def _groups(n_atoms: int, bonds: np.ndarray) -> list[np.ndarray]:
    """Atoms that bonds hold together, group by group in the order of their first atoms."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(bonds)), bonds.T), shape=(n_atoms, n_atoms))
    n_groups, number = connected_components(graph, directed=False)
    groups = [np.flatnonzero(number == each) for each in range(n_groups)]
    return sorted(groups, key=lambda group: group[0])


def _formula(symbols: tuple[str, ...] | list[str], members: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(symbols[i] for i in members))


_Graph = tuple[tuple[str, ...], tuple[tuple[int, int], ...]]


def _graph(symbols: tuple[str, ...] | list[str], bonds: np.ndarray, members: np.ndarray) -> _Graph:
    """Elements, and bonds between them, of some atoms counted from the first of them."""
    inside = np.isin(bonds[:, 0], members)
    places = np.searchsorted(members, bonds[inside])
    return tuple(symbols[i] for i in members), tuple((int(i), int(j)) for i, j in places)


@functools.lru_cache(maxsize=512)
def _match(found: _Graph, wanted: _Graph) -> tuple[int, ...] | None:
    """Which atom of ``found`` each atom of ``wanted`` is, when both are the same graph."""
    if len(found[1]) != len(wanted[1]):
        return None
    if found == wanted:
        return tuple(range(len(found[0])))
    match = _molecule(found).GetSubstructMatch(_molecule(wanted))
    return tuple(match) if len(match) == len(wanted[0]) else None


def _molecule(graph: _Graph):
    from rdkit import Chem

    symbols, bonds = graph
    molecule = Chem.RWMol()
    for symbol in symbols:
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for i, j in bonds:
        molecule.AddBond(i, j, Chem.BondType.SINGLE)
    return molecule.GetMol()

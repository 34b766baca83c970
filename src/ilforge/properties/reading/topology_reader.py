"""Convert the topology of an MDAnalysis Universe to that of ilforge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.ions import Ion, atom_names
from ilforge.liquid.recognition import BondGraph, bond_graphs, same_order
from ilforge.liquid.topology import Topology
from ilforge.properties.reading.species import Species, neutral, recognise

if TYPE_CHECKING:
    from MDAnalysis import Universe

T = TypeVar("T")
_OF_MOLECULES = frozenset(("H", "B", "C", "N", "O", "Si", "P", "S"))  # elements without monatomic ions
_MASS_TOLERANCE = 0.1  # amu; a hydrogen with repartitioned mass does not match any element


class Reading(NamedTuple):
    """A topology from a file.

    Attributes
    ----------
    topology
        The topology; atoms of each molecule are consecutive, and all copies of an ion have the same order of atoms.
    order
        ``(n_atoms,)``: index in the file for each atom of the topology, or None if the order is the same.
    unknown_charges
        Ions with an unknown charge, which is set to 0.
    """

    topology: Topology
    order: np.ndarray | None = None
    unknown_charges: tuple[str, ...] = ()


def topology_of_universe(
    universe: Universe, charges: Mapping[str, int] | None = None, own: Sequence[Ion] = ()
) -> Reading:
    """Topology from bonds and elements; for ions see :func:`~ilforge.properties.reading.species.recognise`.

    Virtual sites (atoms without mass, such as M of TIP4P) are left out; their charge is added to their molecule.
    Bonds between two H of one atom, as in rigid water, are ignored. Copies of an ion with another order of atoms get
    the order of the first copy.

    Parameters
    ----------
    charges
        Charge of each ion, if known; names of residues are then the names of ions.
    own
        The user's own ions, recognised in addition to those of the catalogue.

    Raises
    ------
    SettingsError
        When bonds or elements are missing.
    """
    real = _real(universe)
    symbols = np.array(_elements(universe, real))
    bonds = _bonds(universe, symbols)
    of_file = _molecules(_with_sites(universe, bonds, real), len(symbols))
    bonds = _of_chemistry(bonds[real[bonds].all(axis=1)], symbols)
    order = np.argsort(np.where(real, of_file, len(symbols)), kind="stable")[: int(real.sum())]
    molecules = np.unique(of_file[order], return_inverse=True)[1]
    starts = np.searchsorted(molecules, np.arange(molecules[-1] + 1))
    names = _names(universe, symbols, order, starts)
    loose = _topology(symbols, names, bonds, molecules, order)
    graphs = bond_graphs(loose)
    residues = _residues(universe, order[starts])
    species = (
        _as_named(residues, charges)
        if charges is not None
        else recognise(graphs, residues, _charges(universe, order, starts, of_file, real), own)
    )
    order = _in_one_order(order, starts, graphs, names, species.names)
    topology = _topology(symbols, _names(universe, symbols, order, starts), bonds, molecules, order, species)
    check_copies(topology)
    in_order = np.array_equal(order, np.arange(len(real)))
    return Reading(topology, None if in_order else order, species.unknown)


def check_copies(topology: Topology) -> None:
    """Refuse ions with the same name that are different molecules or list their atoms in different orders."""
    first: dict[str, tuple[int, BondGraph]] = {}
    for molecule, (name, graph) in enumerate(zip(topology.species, bond_graphs(topology), strict=True)):
        number, same = first.setdefault(name, (molecule, graph))
        if graph == same:
            continue
        differ = [k for k, (a, b) in enumerate(zip(same.symbols, graph.symbols, strict=False)) if a != b]
        if len(graph.symbols) != len(same.symbols):
            what = f"has {len(graph.symbols)} atoms, the first {len(same.symbols)}"
        elif differ:
            a, b = same.symbols[differ[0]], graph.symbols[differ[0]]
            what = f"lists its atoms in another order than the first: its atom {differ[0] + 1} is {b}, not {a}"
        else:
            what = "has other bonds between its atoms, or lists them in another order, than the first"
        count = topology.species[: molecule + 1].count(name)
        raise SettingsError(
            f"{name} #{count} (atoms from {int(topology.first_atoms[molecule]) + 1}) {what} (atoms from "
            f"{int(topology.first_atoms[number]) + 1}). Give different molecules different names, and list the atoms "
            "of all copies in one order."
        )


def check_elements(elements: Sequence[str] | None, topology: Topology, where: str, n_atoms: int | None = None) -> None:
    """Refuse frames whose atoms differ from those of the topology; ``elements`` may be unknown."""
    n_atoms = len(elements) if elements is not None else n_atoms
    if n_atoms != topology.n_atoms:
        raise SettingsError(f"The topology has {topology.n_atoms} atoms, but {where} has {n_atoms}.")
    if elements is None or not all(elements):
        return
    for atom, (found, expected) in enumerate(zip(elements, topology.symbols, strict=True)):
        if found.capitalize() != expected:
            raise SettingsError(
                f"The topology does not fit: atom {atom + 1} is {expected} in the topology, {found} in {where}. "
                "Atoms must be in the same order."
            )


def _bonds(universe: Universe, symbols: np.ndarray) -> np.ndarray:
    """Pairs of bonded atoms; bonds are not needed if all ions are monatomic, as in a molten salt."""
    bonds = universe.bonds.indices if hasattr(universe, "bonds") else np.empty((0, 2), dtype=np.int64)
    if len(bonds) == 0 and np.isin(symbols, list(_OF_MOLECULES)).any():
        raise SettingsError(
            f"The topology{_file_of(universe)} has no bonds, so that its ions are unknown. Name the ions with "
            "--ions '2 PYR14, 2 BF4', give a topology file with bonds (tpr, psf, prmtop, LAMMPS data, "
            "PDB with CONECT), or add them to the universe: universe.add_bonds(pairs)."
        )
    return np.asarray(bonds, dtype=np.int64)


def _file_of(universe: Universe) -> str:
    """Name of the topology file after a space; empty if it was not a file."""
    name = getattr(universe, "filename", None)
    return f" {name}" if isinstance(name, str) else ""


def _real(universe: Universe) -> np.ndarray:
    """Whether each atom is real, ``(n_atoms,)``; atoms with mass 0 in the file are virtual sites."""
    masses = np.asarray(getattr(universe.atoms, "masses", []), dtype=float)
    real = masses != 0.0
    return real if len(masses) and real.any() else np.ones(len(universe.atoms), dtype=bool)


def _with_sites(universe: Universe, bonds: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Bonds, with an additional one for each virtual site without a bond: to the first atom of its residue."""
    lonely = np.setdiff1d(np.flatnonzero(~real), bonds)
    if len(lonely) == 0:
        return bonds
    residues = np.asarray(universe.atoms.resindices)
    atoms = np.flatnonzero(real)
    known, first = np.unique(residues[atoms], return_index=True)
    beside = np.isin(residues[lonely], known)
    hosts = atoms[first[np.searchsorted(known, residues[lonely[beside]])]]
    return np.concatenate([bonds, np.stack([hosts, lonely[beside]], axis=1)])


def _of_chemistry(bonds: np.ndarray, symbols: np.ndarray) -> np.ndarray:
    """Bonds without those between two H of the same atom."""
    both = (symbols[bonds] == "H").all(axis=1)
    if not both.any():
        return bonds
    host: dict[int, set[int]] = {}
    for a, b in bonds[~both].tolist():
        host.setdefault(a, set()).add(b)
        host.setdefault(b, set()).add(a)
    shared = [bool(host.get(a, set()) & host.get(b, set())) for a, b in bonds.tolist()]
    found: np.ndarray = bonds[~(both & np.array(shared))]
    return found


def elements_of(universe: Universe) -> list[str]:
    """Element of each atom, from the file or from its mass.

    Raises
    ------
    SettingsError
        When both are missing, or some atoms are virtual sites.
    """
    real = _real(universe)
    if not real.all():
        raise SettingsError(
            f"The topology{_file_of(universe)} has virtual sites, which --ions does not support: leave --ions out."
        )
    return _elements(universe, real)


def _elements(universe: Universe, real: np.ndarray) -> list[str]:
    """Element of each atom, from the file or from its mass; empty for virtual sites."""
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    said = [str(name).capitalize() if one else "" for name, one in zip(_said_elements(universe), real, strict=False)]
    if said and all(name in atomic_numbers for name in np.array(said)[real]):
        return said
    masses = np.asarray(getattr(universe.atoms, "masses", []), dtype=float)
    if len(masses):
        masses = np.where(real, masses, atomic_masses[1])
        distance = np.abs(masses[:, None] - atomic_masses[None, 1:])
        nearest = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=1) + 1
        if np.all(np.abs(masses - atomic_masses[nearest]) < _MASS_TOLERANCE):
            return [chemical_symbols[number] if one else "" for number, one in zip(nearest, real, strict=True)]
    raise SettingsError(
        f"The topology{_file_of(universe)} does not contain elements. Give a topology with elements (a "
        "PDB file: columns 77 and 78 of every atom) or masses, or set them: "
        'universe.add_TopologyAttr("elements", symbols).'
    )


def _said_elements(universe: Universe) -> Sequence[str]:
    return getattr(universe.atoms, "elements", [])


def _molecules(bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Number of the molecule of each atom, ``(n_atoms,)``; molecules are sorted by their first atom."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(bonds)), bonds.T), shape=(n_atoms, n_atoms))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _topology(
    symbols: np.ndarray,
    names: list[str],
    bonds: np.ndarray,
    molecules: np.ndarray,
    order: np.ndarray,
    species: Species | None = None,
) -> Topology:
    """The topology with atoms in this order, and with ions by name or, before they have names, by number."""
    n = int(molecules[-1]) + 1
    place = np.empty(len(symbols), dtype=np.int64)
    place[order] = np.arange(len(order))
    return Topology(
        symbols=tuple(symbols[order].tolist()),
        names=tuple(names),
        bonds=np.sort(place[bonds], axis=1),
        molecules=molecules,
        species=tuple(map(str, range(n))) if species is None else species.names,
        charges=(0,) * n if species is None else species.charges,
    )


def _in_one_order(
    order: np.ndarray, starts: np.ndarray, graphs: list[BondGraph], names: list[str], species: Sequence[str]
) -> np.ndarray:
    """Sort the atoms of every copy of an ion like those of its first copy, by their names or else by their bonds."""
    order = order.copy()
    first: dict[str, tuple[BondGraph, list[str]]] = {}
    for start, graph, name in zip(starts.tolist(), graphs, species, strict=True):
        size = len(graph.symbols)
        called = names[start : start + size]
        same, its_names = first.setdefault(name, (graph, called))
        if graph == same:
            continue
        found: Sequence[int] | None = None
        if sorted(called) == sorted(its_names):
            found = [called.index(one) for one in its_names]
        if found is None or graph.reordered(found) != same:
            found = same_order(same, graph)
        if found is not None:
            order[start : start + size] = order[start : start + size][np.array(found)]
    return order


def _split(values: Sequence[T], starts: np.ndarray) -> list[Sequence[T]]:
    ends = [*starts[1:], len(values)]
    return [values[start:end] for start, end in zip(starts, ends, strict=True)]


def _residues(universe: Universe, first_atoms: np.ndarray) -> list[str]:
    if not hasattr(universe.atoms, "resnames"):
        return [""] * len(first_atoms)
    return [str(name) for name in universe.atoms.resnames[first_atoms]]


def _as_named(residues: list[str], charges: Mapping[str, int]) -> Species:
    unknown = dict.fromkeys(name for name in residues if name not in charges)
    return neutral(tuple(residues), tuple(charges.get(name, 0) for name in residues), tuple(unknown))


def _names(universe: Universe, symbols: np.ndarray, order: np.ndarray, starts: np.ndarray) -> list[str]:
    """Names of atoms, unique in each molecule: from the file if they are, otherwise numbered elements."""
    if hasattr(universe.atoms, "names"):
        said = [str(name) for name in universe.atoms.names[order]]
        if all(len(set(part)) == len(part) for part in _split(said, starts)):
            return said
    return [name for part in _split(symbols[order].tolist(), starts) for name in atom_names(tuple(part))]


def _charges(
    universe: Universe, order: np.ndarray, starts: np.ndarray, of_file: np.ndarray, real: np.ndarray
) -> list[np.ndarray] | None:
    """Charges of the atoms of each molecule, e; None if the file has no charges, or only zeros.

    The charge of virtual sites is added to the first atom of their molecule, because only sums are used.
    """
    said = np.array(getattr(universe.atoms, "charges", []), dtype=float)
    if not np.any(said) or not np.isfinite(said).all():
        return None
    first = dict(zip(of_file[order[starts]].tolist(), order[starts].tolist(), strict=True))
    for site in np.flatnonzero(~real).tolist():
        if of_file[site] in first:
            said[first[of_file[site]]] += said[site]
    return np.split(said[order], starts[1:])

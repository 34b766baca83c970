"""The topology that an MDAnalysis Universe holds, in ilforge's terms."""

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
_OF_MOLECULES = frozenset(("H", "B", "C", "N", "O", "Si", "P", "S"))  # elements of which no ion is a single atom
_MASS_TOLERANCE = 0.1  # amu; a repartitioned hydrogen is none of the elements


class Reading(NamedTuple):
    """A topology as it was read.

    Attributes
    ----------
    topology
        With the atoms of each molecule one after the other, and those of all copies of an ion in one order.
    order
        ``(n_atoms,)``: which atom of the file each of its atoms is, or None when they are in order.
    unknown_charges
        Ions whose charge nobody says; they stand as 0.
    """

    topology: Topology
    order: np.ndarray | None = None
    unknown_charges: tuple[str, ...] = ()


def topology_of_universe(
    universe: Universe, charges: Mapping[str, int] | None = None, own: Sequence[Ion] = ()
) -> Reading:
    """Molecules by bonds, elements, and which ions they are: see :func:`~ilforge.properties.reading.species.recognise`.

    Virtual sites (atoms without mass, as M of TIP4P) are left out, and their charge counts as that of their molecule.
    Bonds that only hold two H of one atom apart, as in rigid water, are no bonds. Copies of an ion that list their
    atoms in different orders are brought to that of the first.

    Parameters
    ----------
    charges
        Of each ion, where they are known; names of residues are then names of ions, as they are.
    own
        Ions of the user's own, recognised beside those of the catalogue.

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
    """Refuse ions of one name that are not the same molecule with its atoms in the same order."""
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
    """Refuse frames that do not list the atoms of the topology; ``elements`` may be unknown."""
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
    """Pairs of atoms; none are needed where every element is that of an ion of one atom, as in a molten salt."""
    bonds = universe.bonds.indices if hasattr(universe, "bonds") else np.empty((0, 2), dtype=np.int64)
    if len(bonds) == 0 and np.isin(symbols, list(_OF_MOLECULES)).any():
        raise SettingsError(
            f"The topology{_file_of(universe)} has no bonds, so that atoms cannot be told apart into ions. Say what "
            "they are with --ions '2 PYR14, 2 BF4', give a topology file with bonds (tpr, psf, prmtop, LAMMPS data, "
            "PDB with CONECT), or add them to the universe: universe.add_bonds(pairs)."
        )
    return np.asarray(bonds, dtype=np.int64)


def _file_of(universe: Universe) -> str:
    """Its name after a space, where it was a file."""
    name = getattr(universe, "filename", None)
    return f" {name}" if isinstance(name, str) else ""


def _real(universe: Universe) -> np.ndarray:
    """Which atoms have a mass, or none that the file says; the others are virtual sites, ``(n_atoms,)``."""
    masses = np.asarray(getattr(universe.atoms, "masses", []), dtype=float)
    real = masses != 0.0
    return real if len(masses) and real.any() else np.ones(len(universe.atoms), dtype=bool)


def _with_sites(universe: Universe, bonds: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Bonds, and one more for each virtual site that has none: to the first atom of its residue."""
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
    """Bonds without those between two H of one and the same atom."""
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
    """Element of each atom, by what the file says or by mass.

    Raises
    ------
    SettingsError
        When there is neither, or some atoms are virtual sites.
    """
    real = _real(universe)
    if not real.all():
        raise SettingsError(
            f"The topology{_file_of(universe)} has virtual sites, which --ions does not know: leave --ions out."
        )
    return _elements(universe, real)


def _elements(universe: Universe, real: np.ndarray) -> list[str]:
    """Element of each atom, as the file says, or by mass; nothing for virtual sites."""
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
        f"The topology{_file_of(universe)} does not say which elements the atoms are. Give a topology with elements (a "
        "PDB file: columns 77 and 78 of every atom) or masses, or set them: "
        'universe.add_TopologyAttr("elements", symbols).'
    )


def _said_elements(universe: Universe) -> Sequence[str]:
    return getattr(universe.atoms, "elements", [])


def _molecules(bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Number of the bonded set each atom belongs to, counted by first atom, ``(n_atoms,)``."""
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
    """The atoms in this order, with ions by name or, as long as they have none, by number."""
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
    """The atoms of every copy of an ion in the order of its first copy: by their names, or else by their bonds."""
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
    """Names of atoms, unique in each molecule: those of the file where they are, else numbered elements."""
    if hasattr(universe.atoms, "names"):
        said = [str(name) for name in universe.atoms.names[order]]
        if all(len(set(part)) == len(part) for part in _split(said, starts)):
            return said
    return [name for part in _split(symbols[order].tolist(), starts) for name in atom_names(tuple(part))]


def _charges(
    universe: Universe, order: np.ndarray, starts: np.ndarray, of_file: np.ndarray, real: np.ndarray
) -> list[np.ndarray] | None:
    """Of the atoms of each molecule, e; None where the file has none, or only zeros.

    What virtual sites have stands at the first atom of their molecule: only sums matter.
    """
    said = np.array(getattr(universe.atoms, "charges", []), dtype=float)
    if not np.any(said) or not np.isfinite(said).all():
        return None
    first = dict(zip(of_file[order[starts]].tolist(), order[starts].tolist(), strict=True))
    for site in np.flatnonzero(~real).tolist():
        if of_file[site] in first:
            said[first[of_file[site]]] += said[site]
    return np.split(said[order], starts[1:])

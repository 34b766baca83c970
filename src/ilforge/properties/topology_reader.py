"""The topology that an MDAnalysis Universe holds, in ilforge's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology

if TYPE_CHECKING:
    from MDAnalysis import Universe

_MASS_TOLERANCE = 0.1  # amu; a repartitioned hydrogen is none of the elements


def topology_of_universe(universe: Universe) -> tuple[Topology, np.ndarray | None]:
    """Molecules by bonds, elements, and names of ions from the names of residues.

    A residue name that only one kind of molecule has is the ion's name; otherwise it is the sum formula. Charges
    are those of the file, or of the catalogue's ion with the same atoms (a PDB file cuts names to four letters),
    else 0.

    Returns
    -------
    topology
        With the atoms of each molecule one after the other.
    order
        ``(n_atoms,)``: which atom of the universe each of its atoms is, or None when they are in order.

    Raises
    ------
    SettingsError
        When bonds or elements are missing.
    """
    bonds = _bonds(universe)
    symbols = _elements(universe)
    molecules = _molecules(bonds, len(symbols))
    order = np.argsort(molecules, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    molecules = molecules[order]
    symbols = [symbols[atom] for atom in order]
    starts = np.searchsorted(molecules, np.arange(molecules[-1] + 1))
    formulas = [_formula(part) for part in _split(symbols, starts)]
    species = _species(universe, order[starts], formulas)
    topology = Topology(
        symbols=tuple(symbols),
        names=tuple(_names(universe, order, symbols, starts)),
        bonds=np.sort(place[bonds], axis=1),
        molecules=molecules,
        species=tuple(species),
        charges=tuple(_charges(universe, order, starts, species, formulas)),
    )
    in_order = np.array_equal(order, np.arange(len(order)))
    return topology, None if in_order else order


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


def _bonds(universe: Universe) -> np.ndarray:
    bonds = universe.bonds.indices if hasattr(universe, "bonds") else np.empty((0, 2))
    if len(bonds) == 0:
        raise SettingsError(
            "The topology has no bonds, so that atoms cannot be told apart into ions. Give a topology file with "
            "bonds (tpr, psf, prmtop, LAMMPS data, PDB with CONECT), or add them to the universe: "
            "universe.add_bonds(pairs)."
        )
    return np.asarray(bonds, dtype=np.int64)


def _elements(universe: Universe) -> list[str]:
    """Element of each atom, as the file says, or by mass."""
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    said = [str(name).capitalize() for name in getattr(universe.atoms, "elements", [])]
    if said and all(name in atomic_numbers for name in said):
        return said
    masses = np.asarray(getattr(universe.atoms, "masses", []), dtype=float)
    if len(masses):
        distance = np.abs(masses[:, None] - atomic_masses[None, 1:])
        nearest = np.argmin(np.where(np.isnan(distance), np.inf, distance), axis=1) + 1
        if np.all(np.abs(masses - atomic_masses[nearest]) < _MASS_TOLERANCE):
            return [chemical_symbols[number] for number in nearest]
    raise SettingsError(
        "The topology does not say which elements the atoms are. Give a topology with elements or masses, or set "
        'them: universe.add_TopologyAttr("elements", symbols).'
    )


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


def _split(symbols: Sequence[str], starts: np.ndarray) -> list[Sequence[str]]:
    ends = [*starts[1:], len(symbols)]
    return [symbols[start:end] for start, end in zip(starts, ends, strict=True)]


def _formula(symbols: Sequence[str]) -> str:
    from ase.formula import Formula

    return Formula.from_list(list(symbols)).format("hill")


def _species(universe: Universe, first_atoms: np.ndarray, formulas: list[str]) -> list[str]:
    if not hasattr(universe.atoms, "resnames"):
        return formulas
    names = [str(name) for name in universe.atoms.resnames[first_atoms]]
    kinds: dict[str, set[str]] = {}
    for name, formula in zip(names, formulas, strict=True):
        kinds.setdefault(name, set()).add(formula)
    return [name if name and len(kinds[name]) == 1 else formula for name, formula in zip(names, formulas, strict=True)]


def _names(universe: Universe, order: np.ndarray, symbols: list[str], starts: np.ndarray) -> list[str]:
    """Names of atoms, unique in each molecule: those of the file where they are, else numbered elements."""
    if hasattr(universe.atoms, "names"):
        said = [str(name) for name in universe.atoms.names[order]]
        if all(len(set(part)) == len(part) for part in _split(said, starts)):
            return said
    names = []
    for part in _split(symbols, starts):
        seen: dict[str, int] = {}
        for symbol in part:
            seen[symbol] = seen.get(symbol, 0) + 1
            names.append(f"{symbol}{seen[symbol]}")
    return names


def _charges(
    universe: Universe, order: np.ndarray, starts: np.ndarray, species: list[str], formulas: list[str]
) -> list[int]:
    if hasattr(universe.atoms, "charges"):
        return np.rint(np.add.reduceat(universe.atoms.charges[order], starts)).astype(int).tolist()
    pairs = list(zip(species, formulas, strict=True))
    known = {pair: _charge_in_catalogue(*pair) for pair in set(pairs)}
    return [known[pair] for pair in pairs]


def _charge_in_catalogue(name: str, formula: str) -> int:
    """Charge of the catalogue's ion with these atoms and, if one has it, this name; 0 where there is none."""
    from ilforge.liquid.ions import CATALOGUE, get_ion

    symbols = {
        entry.name: [line.split()[0] for line in entry.geometry.strip().splitlines()] for entry in CATALOGUE.values()
    }
    alike = [get_ion(found) for found, of_ion in symbols.items() if _formula(of_ion) == formula]
    named = [ion for ion in alike if name.lower() in (known.lower() for known in (ion.name, *ion.aliases))]
    return (named or alike)[0].charge if alike else 0

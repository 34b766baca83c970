"""The terms of the exp-6 force field from a parameter file and the ions of a topology."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical import bonded_terms
from ilforge.potentials.classical.exp6.file import IonTerms, ParameterFile
from ilforge.potentials.classical.exp6.induced_dipoles import Sites
from ilforge.potentials.classical.exp6.lone_pairs import NO_ATOM, LonePairs

_CHARGE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Exp6Terms:
    """All terms of one topology, in Å, kJ/mol, e and rad. Sites are the atoms, followed by the lone pairs.

    ================  ===========  =========================================================================
    ``types``         (n,)         number of each atom's type
    ``a, b, c``       (t, t)       parameters of exp-6 terms for pairs of types
    ``near_exp6``     [(i, j, w)]  pairs of atoms whose exp-6 term has a weight other than 1
    ``bonds``         [(i, j)]     with :class:`~.file.Bond`; likewise ``bends``, ``torsions``, ``out_of_plane``
    ``lone_pairs``    -            positions of lone pairs
    ``sites``         -            charges, polarizabilities and weights of close pairs
    ================  ===========  =========================================================================
    """

    types: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d_kJ_mol: float
    near_exp6: list[tuple[int, int, float]]
    bonds: list[tuple[tuple[int, ...], Any]]
    bends: list[tuple[tuple[int, ...], Any]]
    torsions: list[tuple[tuple[int, ...], Any]]
    out_of_plane: list[tuple[tuple[int, ...], Any]]
    lone_pairs: LonePairs
    sites: Sites


def assign(topology: Topology, file: ParameterFile) -> Exp6Terms:
    """The terms of every molecule of a topology.

    Raises
    ------
    SettingsError
        When the file lacks an ion, a pair of types or a bonded term, or the atoms or the charge of an ion differ from
        those in the liquid.
    """
    for name in dict.fromkeys(topology.species):
        _check_ion(name, topology, file)
    ions = [file.ions[name] for name in topology.species]
    names = [key for ion in ions for key in ion.types]
    used = list(dict.fromkeys(names))
    a, b, c = _pair_matrices(used, file)
    bonded = [file.types[key].bonded or key for key in names]
    n, bonds = topology.n_atoms, topology.bonds
    separated = bonded_terms.pairs_by_separation(bonds, n)
    lone_pairs, charges = _lone_pairs(topology, ions)
    near = [(i, j, w) for k in (1, 2, 3) for i, j in separated[k] if (w := file.near.exp6[k - 1]) != 1]
    return Exp6Terms(
        types=np.array([used.index(key) for key in names]),
        a=a,
        b=b,
        c=c,
        d_kJ_mol=file.D_kJ_mol,
        near_exp6=near,
        bonds=_look_up("bonds", file.bonds, [tuple(map(int, bond)) for bond in bonds], bonded),
        bends=_look_up("bends", file.bends, bonded_terms.angles(bonds, n), bonded),
        torsions=_look_up("torsions", file.torsions, bonded_terms.torsions(bonds, n), bonded),
        out_of_plane=_out_of_plane(file, bonds, bonded),
        lone_pairs=lone_pairs,
        sites=_sites(file, names, charges, lone_pairs, separated),
    )


def _check_ion(name: str, topology: Topology, file: ParameterFile) -> None:
    """Refuse an ion that is missing in the file, or has other atoms or another charge there."""
    if name not in file.ions:
        raise SettingsError(
            f"The parameter file has no ion {name}: it has {', '.join(file.ions)}. Add a table [ions.{name}]."
        )
    molecule, ion = topology.species.index(name), file.ions[name]
    symbols = [topology.symbols[i] for i in topology.atoms_of(molecule)]
    if len(symbols) != len(ion.types):
        raise SettingsError(
            f"ions.{name}.types has {len(ion.types)} atoms, but the {name} of the liquid has {len(symbols)}."
        )
    for index, (symbol, key) in enumerate(zip(symbols, ion.types, strict=True)):
        if file.types[key].element != symbol:
            raise SettingsError(
                f"ions.{name}.types: atom {index} of the liquid's {name} is {symbol}, but its type {key} is for "
                f"{file.types[key].element}. Types must come in the order of the liquid's atoms."
            )
    total = sum(ion.charges_e) + sum(site.charge_e for site in ion.lone_pairs)
    if abs(total - topology.charges[molecule]) > _CHARGE_TOLERANCE:
        raise SettingsError(
            f"The charges of ions.{name} add up to {total:.6g} e with its lone pairs, but {name} has "
            f"{topology.charges[molecule]:+d} e."
        )


def _pair_matrices(used: list[str], file: ParameterFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B and C for pairs of the types in use."""
    table = np.array([[_pair(first, second, file) for second in used] for first in used])
    return table[..., 0], table[..., 1], table[..., 2]


def _pair(first: str, second: str, file: ParameterFile) -> tuple[float, float, float]:
    """The pair term in the file, or that from the Waldman-Hagler rule.

    .. math:: B = (2/(B_i^{-6} + B_j^{-6}))^{1/6}, \\quad A = \\sqrt{A_i A_j} B^6/(B_i^3 B_j^3),
              \\quad C = \\sqrt{C_i C_j}

    M. Waldman, A. T. Hagler, J. Comput. Chem. 1993, 14, 1077, in the form for exp-6 terms of Borodin 2009.
    """
    for key in (f"{first}-{second}", f"{second}-{first}"):
        if key in file.pairs:
            own = file.pairs[key]
            return own.A_kJ_mol, own.B_per_A, own.C_kJ_mol_A6
    if file.combining == "explicit":
        raise SettingsError(
            f"The parameter file has no pair term {first}-{second}. With combining = 'explicit' every pair of types "
            f"in the liquid needs one: add pairs.{first}-{second}, or set combining = 'waldman-hagler'."
        )
    kinds: list[tuple[float, float, float]] = []
    for key in (first, second):
        kind = file.types[key]
        a, b, c = kind.A_kJ_mol, kind.B_per_A, kind.C_kJ_mol_A6
        if a is None or b is None or c is None:
            raise SettingsError(
                f"types.{key} has no A_kJ_mol, B_per_A or C_kJ_mol_A6, which combining = 'waldman-hagler' needs for "
                f"{first}-{second}: add them, or the pair term pairs.{first}-{second}."
            )
        kinds.append((a, b, c))
    (a_i, b_i, c_i), (a_j, b_j, c_j) = kinds
    b = (2 / (b_i**-6 + b_j**-6)) ** (1 / 6)
    return (a_i * a_j) ** 0.5 * b**6 / (b_i * b_j) ** 3, b, (c_i * c_j) ** 0.5


def _look_up(
    table: str, terms: Mapping[str, Any], members: Sequence[tuple[int, ...]], names: list[str]
) -> list[tuple[Any, Any]]:
    """All terms with their parameters; types may be in either direction in the file."""
    found = []
    for atoms in members:
        words = [names[i] for i in atoms]
        ways = ("-".join(words), "-".join(reversed(words)))
        key = next((way for way in ways if way in terms), None)
        if key is None:
            raise SettingsError(f"The parameter file has no {table}.{ways[0]}, which the liquid needs: add it.")
        found.append((atoms, terms[key]))
    return found


def _out_of_plane(file: ParameterFile, bonds: np.ndarray, names: list[str]) -> list[tuple[Any, Any]]:
    """Terms of atoms with three neighbours: ``(centre, neighbour that leaves the plane, other two neighbours)``."""
    found = []
    for centre, around in enumerate(bonded_terms.neighbours(bonds, len(names))):
        if len(around) != 3:
            continue
        for out in around:
            first, second = (k for k in around if k != out)
            for i, j in ((first, second), (second, first)):
                key = "-".join(names[k] for k in (centre, out, i, j))
                if key in file.out_of_plane:
                    found.append(((centre, out, i, j), file.out_of_plane[key]))
                    break
    return found


def _lone_pairs(topology: Topology, ions: list[IonTerms]) -> tuple[LonePairs, np.ndarray]:
    """Definitions of all lone pairs, and charges of all sites."""
    hosts, neighbours, along, across, charges = [], [], [], [], []
    for molecule, ion in enumerate(ions):
        atoms = {topology.names[i]: int(i) for i in topology.atoms_of(molecule)}
        for site in ion.lone_pairs:
            for name in (site.on, *site.neighbours):
                if name not in atoms:
                    raise SettingsError(
                        f"A lone pair of ions.{topology.species[molecule]} names the atom {name!r}; "
                        f"its atoms are {', '.join(atoms)}."
                    )
            if len({site.on, *site.neighbours}) != 1 + len(site.neighbours):
                raise SettingsError(
                    f"A lone pair of ions.{topology.species[molecule]} on {site.on} names an atom twice: "
                    f"neighbours are {', '.join(site.neighbours)}."
                )
            hosts.append(atoms[site.on])
            around = [atoms[name] for name in site.neighbours]
            neighbours.append(around + [NO_ATOM] * (3 - len(around)))
            along.append(site.along_A)
            across.append(site.across_A)
            charges.append(site.charge_e)
    places = LonePairs(
        np.array(hosts, dtype=int),
        np.array(neighbours, dtype=int).reshape(-1, 3),
        np.array(along, dtype=float),
        np.array(across, dtype=float),
    )
    return places, np.array([q for ion in ions for q in ion.charges_e] + charges)


def _sites(
    file: ParameterFile,
    names: list[str],
    charges: np.ndarray,
    lone_pairs: LonePairs,
    separated: Mapping[int, list[tuple[int, int]]],
) -> Sites:
    carried: dict[int, list[int]] = {i: [i] for i in range(len(names))}
    for k, host in enumerate(lone_pairs.hosts.tolist()):
        carried[host].append(len(names) + k)
    own, weights = file.near, []
    near = [(a, b) for group in carried.values() for a in group for b in group if a < b]
    weights += [(0.0, 0.0, 0.0)] * len(near)
    for k in (1, 2, 3):
        of_kind = (own.charge_charge[k - 1], own.charge_dipole[k - 1], own.dipole_dipole[k - 1])
        if of_kind == (1.0, 1.0, 1.0):
            continue
        pairs = [(min(a, b), max(a, b)) for i, j in separated[k] for a in carried[i] for b in carried[j]]
        near += pairs
        weights += [of_kind] * len(pairs)
    alphas = [file.types[key].polarizability_A3 for key in names] + [0.0] * len(lone_pairs)
    return Sites(
        charges=charges,
        alphas=np.array(alphas),
        near=np.array(near, dtype=int).reshape(-1, 2),
        weights=np.array(weights, dtype=float).reshape(-1, 3),
        thole=file.polarization.thole_a,
        damp_charges=file.polarization.damped == "dipoles and charges",
        tolerance=file.polarization.tolerance,
    )

"""Parameters of a user's own ion, read from the public format of CL&P: a ``.zmat`` or ``.xyz`` and a ``.ff`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.ions import atom_names
from ilforge.liquid.typed_structures import TypedStructure, read_typed
from ilforge.potentials.classical import bonded_terms

_CROWDED = 5
"""With this number of neighbours or more, opposite neighbours have no angle term: PF6 has 12 angles, not 15."""

_ANGLE_TOLERANCE = 15.0
"""Neighbours are opposite if their angle differs from the force field's by more than this, degrees (as in fftool)."""

_WORDS = {"bonds": "bond", "angles": "angle", "torsions": "dihedral", "impropers": "improper dihedral"}


def ion_parameters(name: str, structure: Path, force_field: Path | None = None) -> dict[str, Any]:
    """The parameters of one ion, in the form of ``clp.toml``: for ``Clp(ions={name: ...})``.

    Parameters
    ----------
    name
        Name of the ion, for messages.
    structure
        ``.zmat``, or ``.xyz`` whose atoms are types.
    force_field
        ``.ff``; by default the one that the structure names, in the folder of the structure.

    Returns
    -------
    ``charge``, ``atoms`` (their types), ``bonds``, ``impropers`` and ``without_angles`` (atoms from 0), and only those
    ``types`` and ``bonded`` terms that these atoms need.

    Raises
    ------
    SettingsError
        When a file cannot be read, or the force field lacks a term; the message names the term and the atoms.
    """
    ion = read_typed(Path(structure), None if force_field is None else Path(force_field))
    across = _angles_across(ion)
    bonded, impropers = _bonded(name, ion, across)
    return {
        "charge": ion.charge,
        "atoms": list(ion.types),
        "bonds": [list(bond) for bond in ion.bonds],
        "impropers": impropers,
        "without_angles": [list(angle) for angle in across],
        "types": {key: _type(ion, key) for key in sorted(set(ion.types))},
        "bonded": [bonded],
    }


def _type(ion: TypedStructure, name: str) -> dict[str, Any]:
    found = ion.force_field.atom_type(name)
    return {
        "element": found.element,
        "class": found.class_name,
        "charge_e": found.charge_e,
        "sigma_A": found.sigma_A,
        "epsilon_kJ_mol": found.epsilon_kJ_mol,
    }


def _bonded(
    name: str, ion: TypedStructure, across: list[tuple[int, int, int]]
) -> tuple[dict[str, Any], list[list[int]]]:
    """All bonded terms by their classes, and the improper dihedrals with their atoms in the order of the classes."""
    bonds, n_atoms = np.array(ion.bonds, dtype=int).reshape(-1, 2), len(ion.types)
    wanted: dict[str, Sequence[tuple[int, ...]]] = {
        "bonds": ion.bonds,
        "angles": [angle for angle in bonded_terms.angles(bonds, n_atoms) if angle not in across],
        "torsions": bonded_terms.torsions(bonds, n_atoms),
        "impropers": ion.impropers or [],
    }
    found: dict[str, Any] = {kind: {} for kind in wanted}
    impropers = []
    for kind, rows in wanted.items():
        for atoms in rows:
            order = _add(found[kind], kind, atoms, ion, name)
            if kind == "impropers":
                impropers.append(order)
    if ion.impropers is None:
        for atoms in _flat_candidates(bonds, n_atoms):
            if ion.force_field.term("impropers", _classes(ion, atoms)) is not None:
                impropers.append(_add(found["impropers"], "impropers", atoms, ion, name))
    return found, impropers


def _add(terms: dict[str, Any], kind: str, atoms: tuple[int, ...], ion: TypedStructure, name: str) -> list[int]:
    """Add the term of these atoms, and return the atoms in the order of its classes in the force field."""
    classes = _classes(ion, atoms)
    term = ion.force_field.term(kind, classes)
    if term is None:
        names = atom_names(ion.symbols)
        raise SettingsError(
            f"There is no {_WORDS[kind]} {'-'.join(classes)} for the atoms {'-'.join(names[i] for i in atoms)} "
            f"of {name} in {ion.force_field.path.name}. Add it there; "
            f"{'for a term without effect, write zeros.' if kind in ('torsions', 'impropers') else 'it is needed.'}"
        )
    order, numbers = term
    if kind == "bonds":
        entry: dict[str, Any] = {"r0_A": numbers[0], "k_kJ_mol_A2": numbers[1]}
    elif kind == "angles":
        entry = {"theta0_deg": numbers[0], "k_kJ_mol_rad2": numbers[1]}
    else:
        entry = {"V_kJ_mol": list(numbers)}
    terms["-".join(classes[i] for i in order)] = entry
    return [atoms[i] for i in order]


def _classes(ion: TypedStructure, atoms: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(ion.force_field.atom_type(ion.types[i]).class_name for i in atoms)


def _flat_candidates(bonds: np.ndarray, n_atoms: int) -> list[tuple[int, int, int, int]]:
    """Groups of a central atom (the third) and its three neighbours, which an improper dihedral may keep planar."""
    around = bonded_terms.neighbours(bonds, n_atoms)
    return [(near[0], near[1], atom, near[2]) for atom, near in enumerate(around) if len(near) == 3]


def _angles_across(ion: TypedStructure) -> list[tuple[int, int, int]]:
    """Angles between opposite neighbours of a central atom, from the geometry in the file."""
    bonds, n_atoms = np.array(ion.bonds, dtype=int).reshape(-1, 2), len(ion.types)
    crowded = [len(near) >= _CROWDED for near in bonded_terms.neighbours(bonds, n_atoms)]
    across = []
    for i, j, k in bonded_terms.angles(bonds, n_atoms):
        term = ion.force_field.term("angles", _classes(ion, (i, j, k)))
        if crowded[j] and term is not None:
            u, v = ion.positions[i] - ion.positions[j], ion.positions[k] - ion.positions[j]
            angle = np.degrees(np.arccos(np.clip(u @ v / np.linalg.norm(u) / np.linalg.norm(v), -1.0, 1.0)))
            if abs(angle - term[1][0]) > _ANGLE_TOLERANCE:
                across.append((i, j, k))
    return across

"""Structures in the public format of CL&P and fftool: atoms by the types of a force field, not by elements.

``.zmat``, a z-matrix::

    name
                                   (an empty line)
    1  NA                          number (may be missing), type
    2  CR  1  1.315                ... bonded to atom 1 at 1.315 Å
    3  NA  2  1.315  1  109.8      ... at an angle to atom 1, degrees
    4  CW  3  rCN    2  108.0  1  0.0
                                   (an empty line)
    rCN = 1.378                    value of a name used above
    connect  5 1                   bonds that close rings
    improper 5 2 1 6               improper dihedrals, central atom third
    il.ff                          the force field, in the folder of this file

``.xyz``, with ``name force-field-file`` as its comment and types in place of elements. Two atoms are bonded if the
force field has a bond of about this length between their types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ilforge.arrays import Floats
from ilforge.errors import SettingsError
from ilforge.liquid.force_field_file import ForceFieldFile, read_force_field, read_lines

_BOND_TOLERANCE = 0.25
"""Two atoms count as bonded within this of the force field's bond length, Å; fftool's value."""


@dataclass(frozen=True)
class TypedStructure:
    """A molecule whose atoms have types of a force field, in the order of the file.

    Attributes
    ----------
    path
        The file, for messages.
    force_field
        The force field that defines the types.
    types
        Type of each atom.
    positions
        ``(n_atoms, 3)`` Å.
    bonds
        Pairs of atoms, from 0; each pair and the list are sorted.
    impropers
        Improper dihedrals listed in the file, from 0, central atom third; None if the file lists none.
    """

    path: Path
    force_field: ForceFieldFile
    types: tuple[str, ...]
    positions: np.ndarray
    bonds: list[tuple[int, int]]
    impropers: list[tuple[int, ...]] | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element of each atom, from the masses of the force field."""
        return tuple(self.force_field.atom_type(name).element for name in self.types)

    @property
    def charge(self) -> int:
        """Net charge, e.

        Raises
        ------
        SettingsError
            When the charges of the atoms do not add up to a whole number.
        """
        total = sum(self.force_field.atom_type(name).charge_e for name in self.types)
        if abs(total - round(total)) > 1e-4:
            raise SettingsError(
                f"The charges of {self.path.name} in {self.force_field.path.name} add up to {total:+.4f} e, "
                "which is not a whole number: an atom has the wrong type, or the force field the wrong charge."
            )
        return round(total)


def read_typed(path: Path, force_field: Path | None = None) -> TypedStructure:
    """Read a ``.zmat`` file, or an ``.xyz`` file whose atoms are types.

    Parameters
    ----------
    force_field
        The ``.ff`` file; by default the one that the structure names, in the folder of the structure.

    Raises
    ------
    SettingsError
        When a file does not exist or cannot be read, or the force field lacks a type.
    """
    lines = read_lines(path, "structure")
    draft = _read_xyz(lines, path) if path.suffix.lower() == ".xyz" else _read_zmat(lines, path)
    if force_field is None and draft.force_field is None:
        raise SettingsError(f"{path} names no force field (.ff), and none is given: add force_field = ...")
    known = read_force_field(force_field or path.parent / str(draft.force_field))
    for number, name in enumerate(draft.types, start=1):
        if (name,) not in {key[:1] for key in known.rows["atoms"]}:
            raise SettingsError(f"{known.path.name} has no atom type {name}, which atom {number} of {path.name} has.")
    positions = np.array(draft.positions, dtype=float).reshape(-1, 3)
    if not np.isfinite(positions).all():
        raise SettingsError(f"{path} does not give every atom finite coordinates.")
    bonds = draft.bonds if draft.bonds is not None else _bonds_by_length(draft.types, positions, known)
    ascending = sorted({(min(bond), max(bond)) for bond in bonds})
    return TypedStructure(path, known, tuple(draft.types), positions, ascending, draft.impropers)


@dataclass
class _Draft:
    """The contents of a structure file, before its force field is read."""

    types: list[str] = field(default_factory=list)
    positions: list[Floats] = field(default_factory=list)
    bonds: list[tuple[int, ...]] | None = None
    impropers: list[tuple[int, ...]] | None = None
    force_field: str | None = None


def _read_xyz(lines: list[str], path: Path) -> _Draft:
    try:
        count, comment = int(lines[0]), lines[1].split()
        rows = [line.split() for line in lines[2 : 2 + count]]
        draft = _Draft([row[0] for row in rows], [np.array([float(x) for x in row[1:4]]) for row in rows])
        if len(rows) != count or not all(len(x) == 3 for x in draft.positions):
            raise ValueError("too few atoms or numbers")
    except (IndexError, ValueError):
        raise SettingsError(f"{path} is not an xyz file with one structure.") from None
    draft.force_field = comment[-1] if len(comment) > 1 else None
    return draft


def _read_zmat(lines: list[str], path: Path) -> _Draft:
    numbered = [(n, line.split("#")[0].split()) for n, line in enumerate(lines, start=1) if line.lstrip()[:1] != "#"]
    body = numbered[1:]  # the first line is the name
    while body and not body[0][1]:
        body.pop(0)
    end = next((i for i, (_, words) in enumerate(body) if not words or words[0].lower().startswith("var")), len(body))
    if end == 0:
        raise SettingsError(f"{path} holds no z-matrix.")
    draft = _Draft(bonds=[])
    values, ring_bonds, lengths_decide = _read_below(draft, [row for row in body[end:] if row[1]], end, path)
    shift = 1 if len(body[0][1]) > 1 else 0  # the number of the atom may be left out
    for index, (n, words) in enumerate(body[:end]):
        _place(draft, index, words[shift:], values, f"{path}, line {n}")
    draft.bonds = None if lengths_decide else [*(draft.bonds or []), *ring_bonds]
    return draft


def _read_below(
    draft: _Draft, lines: list[tuple[int, list[str]]], n_atoms: int, path: Path
) -> tuple[dict[str, float], list[tuple[int, ...]], bool]:
    """Read the lines below the z-matrix: values of names, ring bonds, and whether bonds follow from distances."""
    values: dict[str, float] = {}
    ring_bonds, lengths_decide = [], False
    for n, words in lines:
        where = f"{path}, line {n}"
        if "=" in " ".join(words):
            name, _, value = " ".join(words).partition("=")
            values[name.strip()] = _number(value.strip(), {}, where)
        elif words[0] == "connect":
            ring_bonds.append(_indices(words[1:3], n_atoms, 2, where))
        elif words[0] == "improper":
            draft.impropers = [*(draft.impropers or []), _indices(words[1:5], n_atoms, 4, where)]
        elif words[0] == "reconnect":
            lengths_decide = True
        elif not words[0].lower().startswith("var"):
            draft.force_field = words[0]
    return values, ring_bonds, lengths_decide


def _place(draft: _Draft, index: int, words: list[str], values: dict[str, float], where: str) -> None:
    """Add one atom of a z-matrix: its type, its position from the atoms before it, its bond."""
    references = min(index, 3)
    if len(words) < 1 + 2 * references:
        raise SettingsError(
            f"{where}: atom {index + 1} of a z-matrix needs {references} references, each with a value."
        )
    atoms = _indices(words[1 : 1 + 2 * references : 2], index, references, where) if references else ()
    if len(set(atoms)) != len(atoms):
        raise SettingsError(f"{where}: the references of atom {index + 1} must be different atoms.")
    numbers = [_number(word, values, where) for word in words[2 : 2 + 2 * references : 2]]
    draft.types.append(words[0])
    draft.positions.append(_position([draft.positions[i] for i in atoms], numbers))
    if atoms and draft.bonds is not None:
        draft.bonds.append((index, atoms[0]))


def _position(references: list[Floats], numbers: list[float]) -> Floats:
    """Position of a new atom from its distance (Å), angle and dihedral (degrees) to at most three other atoms."""
    if not references:
        return np.zeros(3)
    b = references[0]
    if len(references) == 1:
        return b + [numbers[0], 0.0, 0.0]
    axis = references[1] - b
    axis = axis / np.linalg.norm(axis)
    out = references[2] - references[1] if len(references) == 3 else np.array([0.0, 1.0, 0.0])
    across = out - (out @ axis) * axis
    if np.linalg.norm(across) < 1e-6:  # references on one line: any perpendicular direction will do
        across = np.eye(3)[np.argmin(np.abs(axis))]
        across = across - (across @ axis) * axis
    across = across / np.linalg.norm(across)
    angle, dihedral = np.radians(numbers[1]), np.radians(numbers[2] if len(numbers) == 3 else 0.0)
    sideways = np.cos(dihedral) * across - np.sin(dihedral) * np.cross(axis, across)
    found: Floats = b + numbers[0] * (np.cos(angle) * axis + np.sin(angle) * sideways)
    return found


def _indices(words: list[str], n_atoms: int, count: int, where: str) -> tuple[int, ...]:
    """Atoms counted from 1 in the file, as indices from 0."""
    found = [int(word) - 1 for word in words if word.isdigit()]
    if len(found) != count or not all(0 <= index < n_atoms for index in found):
        raise SettingsError(f"{where}: {' '.join(words)!r} should be {count} atoms from 1 to {n_atoms}.")
    return tuple(found)


def _number(word: str, values: dict[str, float], where: str) -> float:
    try:
        return values[word] if word in values else float(word)
    except ValueError:
        raise SettingsError(f"{where}: {word!r} is neither a number nor a name that gets one below.") from None


def _bonds_by_length(types: list[str], positions: np.ndarray, known: ForceFieldFile) -> list[tuple[int, int]]:
    classes = [known.atom_type(name).class_name for name in types]
    bonds = []
    for i, j in zip(*np.triu_indices(len(types), 1), strict=True):
        term = known.term("bonds", (classes[i], classes[j]))
        if term and abs(np.linalg.norm(positions[i] - positions[j]) - term[1][0]) < _BOND_TOLERANCE:
            bonds.append((int(i), int(j)))
    return bonds

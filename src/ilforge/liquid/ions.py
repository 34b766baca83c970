"""Ions: from the catalogue by name, or the user's own from SMILES, a structure file or force-field files."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.ion_names import plain_names, two_names
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.typed_structures import read_typed

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class Ion:
    """One kind of ion (or neutral molecule): atoms in a fixed order, bonds, charge and one geometry.

    Attributes
    ----------
    name
        Name in studies, frames and results.
    smiles
        SMILES without explicit hydrogens; None when bond orders could not be perceived.
    charge
        Net charge, e.
    symbols
        Element of each atom.
    names
        Element and running number of each atom: ``("N1", "C1", "C2", ...)``.
    bonds
        ``(n_bonds, 2)`` indices of bonded atoms; each pair and the list are sorted.
    positions
        ``(n_atoms, 3)`` one reasonable geometry, Å.
    aliases
        Other names of the ion.
    description
        Chemical name.
    ordered_smiles
        SMILES whose atom-map numbers give the atom order, from 1; None if ``smiles`` is None.
    """

    name: str
    smiles: str | None
    charge: int
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    bonds: np.ndarray = field(compare=False, repr=False)
    positions: np.ndarray = field(compare=False, repr=False)
    aliases: tuple[str, ...] = ()
    description: str = ""
    ordered_smiles: str | None = field(default=None, repr=False)

    @property
    def n_atoms(self) -> int:
        return len(self.symbols)

    @cached_property
    def mass(self) -> float:
        """Mass of one ion from standard atomic masses, amu."""
        from ase.data import atomic_masses, atomic_numbers

        return float(sum(atomic_masses[atomic_numbers[symbol]] for symbol in self.symbols))


@dataclass(frozen=True)
class CatalogueEntry:
    """Entry of an ion in the catalogue file; RDKit has not yet read its SMILES.

    ``parameters`` is false if CL&P has no parameters for the ion. Then users may define an ion of their own with the
    same name.
    """

    name: str
    description: str
    aliases: tuple[str, ...]
    smiles: str
    geometry: str
    parameters: bool = True


def _read_catalogue() -> dict[str, CatalogueEntry]:
    text = resources.files("ilforge.liquid").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {
        name: CatalogueEntry(name, **{**entry, "aliases": tuple(entry["aliases"])})
        for name, entry in tomllib.loads(text).items()
    }


CATALOGUE: Mapping[str, CatalogueEntry] = _read_catalogue()
"""Ions known by name, in the order of the catalogue file."""

_BY_ANY_NAME = {known.lower(): entry.name for entry in CATALOGUE.values() for known in (entry.name, *entry.aliases)}
_VALID_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+\-]*")


def get_ion(name: str, define: Mapping[str, IonSettings] | None = None, base: Path | None = None) -> Ion:
    """The ion with this name: from the study's own definitions, or from the catalogue by name or alias.

    Parameters
    ----------
    name
        Upper and lower case do not matter, nor do brackets and a charge: ``"[bmim]"``, ``"BMIM+"``.
    define
        The study's ``[liquid.define.NAME]`` tables.
    base
        Paths of structure files are relative to this directory; by default the current one.

    Raises
    ------
    SettingsError
        When the name is unknown (the message lists similar names), or its definition is invalid.
    """
    own = {key.lower(): key for key in define or {}}
    for spelling in plain_names(name):
        if spelling in own:
            key = own[spelling]
            return _defined(key, (define or {})[key], Path(base or "."))
        if spelling in _BY_ANY_NAME:
            return _from_catalogue(_BY_ANY_NAME[spelling])
    raise SettingsError(_unknown(name, list(own.values())))


def named_ions(name: str, define: Mapping[str, IonSettings] | None = None) -> tuple[str, ...]:
    """The name itself, or both ions of a salt: ``("Li", "TFSI")`` for ``"LiTFSI"``."""
    own = {key.lower() for key in define or {}}

    def is_known(part: str) -> bool:
        return any(spelling in own or spelling in _BY_ANY_NAME for spelling in plain_names(part))

    return (name,) if is_known(name) else two_names(name, is_known) or (name,)


def _unknown(name: str, own: list[str]) -> str:
    spellings = {
        **{known: _BY_ANY_NAME[known] for known in _BY_ANY_NAME},
        **{key.lower(): key for key in own},
    }
    near = dict.fromkeys(spellings[n] for n in difflib.get_close_matches(name.lower(), spellings, 4, 0.5))
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"liquid.ions: no ion is called {name!r}.{hint}\n"
        f"Known ions: {', '.join([*CATALOGUE, *own])}.\n"
        f'Define your own with a table [liquid.define.{name}] holding smiles = "..." (with explicit charge), '
        f'or structure = "file.xyz" and charge = ...; on the command line, --define {name}=SMILES or FILE. '
        "`ilforge ions` lists all known ions."
    )


@cache
def _from_catalogue(name: str) -> Ion:
    from ilforge.liquid import structures

    entry = CATALOGUE[name]
    molecule = structures.from_ordered_smiles(entry.smiles)
    rows = [line.split() for line in entry.geometry.strip().splitlines()]
    positions = np.array([row[1:] for row in rows], dtype=float)
    return _ion(name, molecule, positions, aliases=entry.aliases, description=entry.description)


def _defined(name: str, settings: IonSettings, base: Path) -> Ion:
    from ilforge.liquid import structures

    key = f"liquid.define.{name}"
    if not _VALID_NAME.fullmatch(name):
        raise SettingsError(
            f"{key}: an ion's name starts with a letter and has only letters, digits, '_', '+' and '-'."
        )
    if name.lower() in _BY_ANY_NAME and CATALOGUE[_BY_ANY_NAME[name.lower()]].parameters:
        raise SettingsError(
            f"{key}: the catalogue already has {name} ({CATALOGUE[_BY_ANY_NAME[name.lower()]].description}), "
            f"with a fixed order of atoms for its force-field parameters. Use that ion, or choose another name."
        )
    if settings.smiles is not None:
        molecule = structures.from_smiles(settings.smiles, settings.charge, key)
        return _ion(name, molecule, structures.geometry(molecule, key))
    typed = typed_files(settings, base)
    if typed is not None:
        return _ion(name, *structures.from_typed(read_typed(*typed), settings.charge, key))
    assert settings.structure is not None  # IonSettings wants exactly one of the two
    return _ion(name, *structures.from_file(base / settings.structure, settings.charge, key))


def typed_files(settings: IonSettings, base: Path) -> tuple[Path, Path | None] | None:
    """Structure and force-field file of an ion whose atoms have force-field types; None for any other ion.

    The force-field file is None if the structure file names it.
    """
    if settings.structure is None:
        return None
    structure = base / settings.structure
    if settings.force_field is None and structure.suffix.lower() != ".zmat":
        return None
    return structure, None if settings.force_field is None else base / settings.force_field


def _ion(name: str, molecule: Mol, positions: np.ndarray, **about: Any) -> Ion:
    """An Ion from its atoms, bonds and charges as RDKit holds them."""
    from ilforge.liquid import structures

    bonds = sorted(tuple(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()))) for bond in molecule.GetBonds())
    symbols = tuple(atom.GetSymbol() for atom in molecule.GetAtoms())
    smiles, ordered = structures.smiles_of(molecule)
    return Ion(
        name=name,
        smiles=smiles,
        charge=structures.net_charge(molecule),
        symbols=symbols,
        names=atom_names(symbols),
        bonds=_frozen(np.array(bonds, dtype=np.int64).reshape(-1, 2)),
        positions=_frozen(np.array(positions, dtype=float)),
        ordered_smiles=ordered,
        **about,
    )


def atom_names(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Element and running number of each atom."""
    seen: dict[str, int] = {}
    names = []
    for symbol in symbols:
        seen[symbol] = seen.get(symbol, 0) + 1
        names.append(f"{symbol}{seen[symbol]}")
    return tuple(names)


def _frozen(array: np.ndarray) -> np.ndarray:
    """The array made read-only: ions are shared between liquids."""
    array.setflags(write=False)
    return array

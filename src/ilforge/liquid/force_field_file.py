"""Force-field files in the public format of CL&P and fftool (``.ff``): atom types and bonded terms, by class.

::

    ATOMS      type class mass charge lj sigma epsilon
    BONDS      i j     harm r0 k            (or cons: a bond that may be constrained)
    ANGLES     i j k   harm theta0 k
    DIHEDRALS  i j k l opls V1 V2 V3 V4
    IMPROPER   i j k l opls V1 V2 V3 V4     (the central atom third)

Units are Å, kJ/mol, degrees, e and amu; energies are k/2 (x - x0)^2; ``#`` begins a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ilforge.errors import SettingsError

_SECTIONS = {"ATOM": "atoms", "BOND": "bonds", "ANGL": "angles", "DIHE": "torsions", "IMPR": "impropers"}
_WIDTH = {"atoms": 4, "bonds": 2, "angles": 3, "torsions": 4, "impropers": 4}
_FORMS = {"atoms": ("lj",), "bonds": ("harm", "cons"), "angles": ("harm", "cons")}
_OPLS = ("opls",)
_ORDERS = {
    "bonds": ((0, 1), (1, 0)),
    "angles": ((0, 1, 2), (2, 1, 0)),
    "torsions": ((0, 1, 2, 3), (3, 2, 1, 0)),
    # the central atom stays third, its neighbours may come in any order
    "impropers": ((0, 1, 2, 3), (1, 0, 2, 3), (0, 3, 2, 1), (3, 0, 2, 1), (1, 3, 2, 0), (3, 1, 2, 0)),
}
_MASS_TOLERANCE = 0.1  # amu: files round masses, and the relevant elements differ by more
_Rows: TypeAlias = dict[tuple[str, ...], tuple[str, tuple[float, ...], int]]  # form, numbers, line of the file


@dataclass(frozen=True)
class AtomType:
    """A type of atom. Bonded terms depend on its class; charge, sigma and epsilon are its own."""

    class_name: str
    element: str
    charge_e: float
    sigma_A: float
    epsilon_kJ_mol: float


@dataclass(frozen=True)
class ForceFieldFile:
    """The contents of a force-field file.

    Attributes
    ----------
    path
        The file, for messages.
    rows
        Functional form, numbers and line number of each row, by kind of term (``"atoms"``, ``"bonds"``, ``"angles"``,
        ``"torsions"``, ``"impropers"``) and then by type or classes.
    """

    path: Path
    rows: dict[str, _Rows]

    def atom_type(self, name: str) -> AtomType:
        """The atom type with this name.

        Raises
        ------
        SettingsError
            When the file has no such type, or no element has its mass.
        """
        found = {key[0]: key for key in self.rows["atoms"]}.get(name)
        if found is None:
            raise SettingsError(f"{self.path.name} has no atom type {name}.")
        mass, charge, sigma, epsilon = self._numbers("atoms", found)
        return AtomType(found[1], _element(mass, f"{self.path.name}: atom type {name}"), charge, sigma, epsilon)

    def term(self, kind: str, classes: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
        """A bonded term; the file may list its classes in any equivalent order.

        Returns
        -------
        The order in which the file lists the atoms, and the numbers; None if there is no such term.
        """
        for order in _ORDERS[kind]:
            key = tuple(classes[i] for i in order)
            if key in self.rows[kind]:
                return order, self._numbers(kind, key)
        return None

    def _numbers(self, kind: str, key: tuple[str, ...]) -> tuple[float, ...]:
        form, numbers, line = self.rows[kind][key]
        known = _FORMS.get(kind, _OPLS)
        needed = 4 if kind in ("atoms", "torsions", "impropers") else 2
        if form not in known or len(numbers) != needed:
            raise SettingsError(
                f"{self.path.name}, line {line}: {'-'.join(key)} in the section {kind} is {form} with "
                f"{len(numbers)} numbers; CL&P has {' or '.join(known)} with {needed}."
            )
        return numbers


def read_force_field(path: Path) -> ForceFieldFile:
    """Read a ``.ff`` file.

    Raises
    ------
    SettingsError
        When the file does not exist, a line cannot be read, or two lines contradict each other.
    """
    rows: dict[str, _Rows] = {kind: {} for kind in _WIDTH}
    kind = None
    for number, text in enumerate(read_lines(path, "force field"), start=1):
        words = text.split("#")[0].split()
        if not words:
            continue
        if len(words) == 1 and words[0][:4].upper() in _SECTIONS:
            kind = _SECTIONS[words[0][:4].upper()]
            continue
        where = f"{path}, line {number}"
        if kind is None:
            raise SettingsError(
                f"{where}: {text.strip()!r} comes before the first section (ATOMS, BONDS, ANGLES, DIHEDRALS, IMPROPER)."
            )
        key, form, numbers = _row(kind, words, where)
        _refuse_contradiction(rows[kind], kind, key, (form, numbers), where)
        rows[kind][key] = (form, numbers, number)
    if not rows["atoms"]:
        raise SettingsError(f"{path} has no section ATOMS: it is not a force-field file of CL&P.")
    return ForceFieldFile(path, rows)


def read_lines(path: Path, what: str) -> list[str]:
    """Lines of a text file; if it cannot be read, a SettingsError with its path and purpose ``what``."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The {what} {path} could not be read: {error}") from None


def _row(kind: str, words: list[str], where: str) -> tuple[tuple[str, ...], str, tuple[float, ...]]:
    """Types or classes, functional form and numbers of a line; numbers of an atom begin with mass and charge."""
    width = _WIDTH[kind]
    try:
        form = words[width]
        if kind == "atoms":
            return tuple(words[:2]), form, tuple(float(word) for word in words[2:4] + words[5:])
        return tuple(words[:width]), form, tuple(float(word) for word in words[width + 1 :])
    except (IndexError, ValueError):
        raise SettingsError(f"{where}: {' '.join(words)!r} is not a valid line of the section {kind}.") from None


def _refuse_contradiction(
    known: _Rows, kind: str, key: tuple[str, ...], found: tuple[str, tuple[float, ...]], where: str
) -> None:
    """Refuse a second definition of an atom type, and of a bonded term (in any direction) with other numbers."""
    if kind == "atoms":
        same = [other for other in known if other[0] == key[0]]
    else:
        keys = [tuple(key[i] for i in order) for order in _ORDERS[kind]]
        same = [other for other in keys if other in known and known[other][:2] != found]
    if same:
        raise SettingsError(f"{where}: {' '.join(key)} contradicts line {known[same[0]][2]}.")


def _element(mass: float, where: str) -> str:
    """The element with this mass, amu."""
    from ase.data import atomic_masses, chemical_symbols

    nearest = min(range(1, len(chemical_symbols)), key=lambda z: abs(atomic_masses[z] - mass))
    if abs(atomic_masses[nearest] - mass) > _MASS_TOLERANCE:
        raise SettingsError(f"{where} has mass {mass:g} amu, which no element has: united atoms are not supported.")
    return chemical_symbols[nearest]

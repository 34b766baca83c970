"""Units of files that are not outputs of reference programs, from their headers or from the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ase.units import Bohr, GPa, Hartree, Rydberg, kcal, kJ, mol

from ilforge.errors import SettingsError

_ENERGY = {
    "ev": 1.0, "mev": 1e-3, "hartree": Hartree, "ha": Hartree, "eh": Hartree, "rydberg": Rydberg, "ry": Rydberg,
    "kcal/mol": kcal / mol, "kj/mol": kJ / mol,
}  # fmt: skip
_LENGTH = {"a": 1.0, "bohr": Bohr, "a0": Bohr, "nm": 10.0, "pm": 0.01}
_PRESSURE = {"gpa": GPa, "mpa": 1e-3 * GPa, "kbar": 0.1 * GPa, "kb": 0.1 * GPa, "bar": 1e-4 * GPa, "pa": 1e-9 * GPa}
_SYSTEMS = {
    "metal": ("ev", "ev/a", None, "ev", "a"),
    "ase": ("ev", "ev/a", "ev/a^3", "ev", "a"),
    "ev": ("ev", "ev/a", "ev/a^3", "ev", "a"),
    "atomic": ("hartree", "hartree/bohr", "hartree/bohr^3", "hartree", "bohr"),
    "real": ("kcal/mol", "kcal/mol/a", None, "kcal/mol", "a"),
}
_QUANTITIES = ("energy", "forces", "stress", "virial", "length")
_HEADER = re.compile(
    r"(?:ref|dft)?[-_ ]?(energy|energies|force|forces|stress|virial|virials|position|positions|pos|length|lengths|"
    r"coordinate|coordinates|cell)[-_ ]?units?$",
    re.I,
)
_SAME = {
    "energies": "energy", "force": "forces", "virials": "virial", "position": "length", "positions": "length",
    "pos": "length", "lengths": "length", "coordinate": "length", "coordinates": "length", "cell": "length",
}  # fmt: skip


@dataclass(frozen=True)
class ForeignUnits:
    """Factors from the units of a file to eV, eV/Å, eV/Å^3, eV and Å; None if a unit is not stated.

    The factor of stress or virial is 0 if stresses should be left out.
    """

    energy: float | None = None
    forces: float | None = None
    stress: float | None = None
    virial: float | None = None
    length: float | None = None

    def factor(self, quantity: str) -> float:
        """The factor of a quantity; 1 if its unit is not stated."""
        found = getattr(self, quantity)
        return 1.0 if found is None else found

    def under(self, other: ForeignUnits) -> ForeignUnits:
        """These units, completed with those of ``other``."""
        return replace(other, **{name: value for name in _QUANTITIES if (value := getattr(self, name)) is not None})


def parse_units(text: str) -> ForeignUnits:
    """Read units from the option ``--units``.

    Raises
    ------
    SettingsError
        For an unknown quantity or unit; the message lists the known ones.
    """
    if not text:
        return ForeignUnits()
    if text.strip().lower() in _SYSTEMS:
        return _system(text.strip().lower())
    found = {}
    for part in text.split(","):
        name, _, unit = part.strip().partition("=")
        quantity = _SAME.get(name.lower(), name.lower())
        if quantity not in _QUANTITIES or not unit:
            raise SettingsError(
                f"--units {text}: {part.strip()!r} is not understood. Use {', '.join(_SYSTEMS)}, or a list of "
                f"{', '.join(_QUANTITIES)}, each with a unit, such as energy=hartree,forces=hartree/bohr."
            )
        found[quantity] = factor_of(quantity, unit, "--units")
    return ForeignUnits(**found)


def header_units(info: Mapping[str, Any], where: str) -> ForeignUnits:
    """Units in the header of a frame, such as ``energy-unit=hartree`` or ``units=metal``.

    Raises
    ------
    SettingsError
        For an unknown unit, which is never ignored.
    """
    found: dict[str, float] = {}
    units = ForeignUnits()
    for key, value in info.items():
        if re.fullmatch(r"units?", key, re.I):
            if str(value).lower() not in _SYSTEMS:
                raise SettingsError(f"{where}: {key}={value} is not understood; known units are {', '.join(_SYSTEMS)}.")
            units = _system(str(value).lower())
        elif match := _HEADER.fullmatch(key):
            name = match[1].lower()
            quantity = _SAME.get(name, name)
            found[quantity] = factor_of(quantity, str(value), f"{where}: {key}")
    return ForeignUnits(**found).under(units)


def factor_of(quantity: str, unit: str, where: str) -> float:
    """Factor from a unit to ilforge's unit of the quantity.

    Raises
    ------
    SettingsError
        For an unknown unit; the message lists the known ones.
    """
    plain = unit.strip().lower().replace("å", "a").replace("**", "^").replace(" ", "")
    plain = re.sub(r"angstroms?|ang\b|ang(?=[\^0-9])", "a", plain)
    plain = re.sub(r"electronvolts?", "ev", plain)
    sign, plain = (-1.0, plain[1:]) if plain.startswith("-") and quantity in ("stress", "virial") else (1.0, plain)
    if quantity in ("stress", "virial") and plain in ("none", "no"):
        return 0.0
    found: dict[str, Callable[[str], float | None]] = {
        "energy": _energy, "virial": _energy, "forces": _force, "stress": _stress, "length": _LENGTH.get,
    }  # fmt: skip
    factor = found[quantity](plain)
    if factor is None:
        examples = {
            "energy": ", ".join(_ENERGY),
            "virial": ", ".join(_ENERGY),
            "forces": "ev/a, hartree/bohr, kcal/mol/a, kj/mol/nm",
            "stress": f"{', '.join(_PRESSURE)}, ev/a^3, hartree/bohr^3",
            "length": ", ".join(_LENGTH),
        }
        raise SettingsError(
            f"{where}: {unit!r} is not a known unit of {quantity}. Known units are {examples[quantity]}."
        )
    return sign * factor


def _system(name: str) -> ForeignUnits:
    units = zip(_QUANTITIES, _SYSTEMS[name], strict=True)
    return ForeignUnits(**{quantity: factor_of(quantity, unit, name) for quantity, unit in units if unit is not None})


def _energy(unit: str) -> float | None:
    return Hartree if unit in ("a.u.", "au") else _ENERGY.get(unit)


def _force(unit: str) -> float | None:
    if unit in ("a.u.", "au"):
        return Hartree / Bohr
    energy, _, length = unit.rpartition("/")
    if energy in _ENERGY and length in _LENGTH:
        return _ENERGY[energy] / _LENGTH[length]
    return None


def _stress(unit: str) -> float | None:
    if unit in ("a.u.", "au"):
        return Hartree / Bohr**3
    if unit in _PRESSURE:
        return _PRESSURE[unit]
    energy, _, volume = unit.rpartition("/")
    length = re.sub(r"\^?3$", "", volume)
    if energy in _ENERGY and length in _LENGTH and volume != length:
        return _ENERGY[energy] / _LENGTH[length] ** 3
    return None

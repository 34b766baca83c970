"""The parameter file of the exp-6 polarizable force field, key by key: type, unit, default, allowed range."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.settings import Settings
from ilforge.settings_file import check_settings, read_toml

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Weights = tuple[NotNegative, NotNegative, NotNegative]


class PairTerms(Settings):
    """A exp(-B r) - C/r^6."""

    A_kJ_mol: NotNegative
    """A in kJ/mol."""
    B_per_A: Positive
    """B in 1/Å."""
    C_kJ_mol_A6: NotNegative
    """C in kJ/mol Å^6."""


class AtomType(Settings):
    """An atom type."""

    element: str
    """Chemical symbol."""
    polarizability_A3: NotNegative = 0.0
    """Isotropic polarizability in Å^3; 0 for no induced dipole."""
    A_kJ_mol: NotNegative | None = None
    """A of two atoms of this type in kJ/mol: needed with a combining rule."""
    B_per_A: Positive | None = None
    """B of two atoms of this type in 1/Å: needed with a combining rule."""
    C_kJ_mol_A6: NotNegative | None = None
    """C of two atoms of this type in kJ/mol Å^6: needed with a combining rule."""
    bonded: str | None = None
    """Name of this type in bonded terms. Default: the name of the type."""


class LonePair(Settings):
    """A massless charge beside an atom."""

    on: str
    """Name of the atom to which it belongs."""
    neighbours: Annotated[list[str], Field(min_length=1, max_length=3)]
    """Names of one to three atoms that give its direction."""
    along_A: float
    """Distance in Å from the atom, away from its neighbours: along minus the sum of the unit vectors to them."""
    across_A: float = 0.0
    """Distance in Å out of the plane of the atom and its two neighbours, along their cross product."""
    charge_e: float
    """Charge in e."""

    @model_validator(mode="after")
    def _plane(self) -> LonePair:
        if self.across_A and len(self.neighbours) != 2:
            raise ValueError(f"across_A needs two neighbours for a plane, but there are {len(self.neighbours)}")
        return self


class IonTerms(Settings):
    """An ion, with its atoms in the order of the liquid."""

    types: Annotated[list[str], Field(min_length=1)]
    """Type of each atom."""
    charges_e: Annotated[list[float], Field(min_length=1)]
    """Charge of each atom in e, without the charges of its lone pairs."""
    lone_pairs: list[LonePair] = []
    """Massless charges beside atoms."""


class Bond(Settings):
    """k/2 (r - r0)^2."""

    r0_A: Positive
    """r0 in Å."""
    k_kJ_mol_A2: NotNegative
    """k in kJ/mol/Å^2."""


class Bend(Settings):
    """k/2 (theta - theta0)^2."""

    theta0_deg: Annotated[float, Field(gt=0, le=180)]
    """theta0 in degrees."""
    k_kJ_mol_rad2: NotNegative
    """k in kJ/mol/rad^2."""


class Torsion(Settings):
    """Sum over n from 1 of V_n/2 (1 - cos(n phi)); phi = 180 degrees is trans."""

    V_kJ_mol: Annotated[list[float], Field(max_length=6)]
    """V_1, V_2, ... in kJ/mol; an empty list for no torsion."""


class OutOfPlane(Settings):
    """k/2 gamma^2, gamma the angle between a bond and the plane of the other two of an atom with three neighbours."""

    k_kJ_mol_rad2: NotNegative
    """k in kJ/mol/rad^2."""


class Near(Settings):
    """Weights of interactions between atoms one, two and three bonds apart; a lone pair counts as its atom."""

    exp6: Weights = (0.0, 0.0, 1.0)
    """Weights of exp-6 terms."""
    charge_charge: Weights = (0.0, 0.0, 1.0)
    """Weights of interactions of two charges."""
    charge_dipole: Weights = (0.0, 0.0, 0.8)
    """Weights of interactions of a charge and an induced dipole."""
    dipole_dipole: Weights = (0.0, 0.0, 1.0)
    """Weights of interactions of two induced dipoles."""


class Polarization(Settings):
    """Induced dipoles."""

    thole_a: Positive = 0.2
    """Thole's a in exp(-a u^3), u = r/(alpha alpha')^(1/6)."""
    damped: Literal["dipoles", "dipoles and charges"] = "dipoles"
    """Interactions that Thole's function damps: only of two dipoles, or also of a charge and a dipole."""
    tolerance: Annotated[float, Field(ge=1e-12, le=1e-2)] = 1e-3
    """Allowed residual of the dipoles: its root mean square divided by that of the dipoles."""


class ParameterFile(Settings):
    """The whole parameter file."""

    title: str
    """Title of the force field, for readers."""
    combining: Literal["waldman-hagler", "explicit"]
    """Combining rule for pairs of types without their own pair term; with `explicit`, every pair needs a term."""
    D_kJ_mol: NotNegative = 2.092e-4
    """D in D (12/(B r))^12, kJ/mol; 5e-5 kcal/mol in the paper."""
    polarization: Polarization = Polarization()
    near: Near = Near()
    types: Annotated[dict[str, AtomType], Field(min_length=1)]
    pairs: dict[str, PairTerms] = {}
    ions: Annotated[dict[str, IonTerms], Field(min_length=1)]
    bonds: dict[str, Bond] = {}
    bends: dict[str, Bend] = {}
    torsions: dict[str, Torsion] = {}
    out_of_plane: dict[str, OutOfPlane] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ParameterFile:
        for name, ion in self.ions.items():
            unknown = sorted(set(ion.types) - set(self.types))
            if unknown:
                raise ValueError(
                    f"ions.{name}.types has {unknown[0]!r}, which is not in [types]: there are {', '.join(self.types)}"
                )
            if len(ion.types) != len(ion.charges_e):
                raise ValueError(
                    f"ions.{name} has {len(ion.types)} types and {len(ion.charges_e)} charges_e; "
                    "it needs one of each for every atom"
                )
        for key in self.pairs:
            if len(key.split("-")) != 2 or set(key.split("-")) - set(self.types):
                raise ValueError(f"pairs.{key} must be the names of two types, joined by '-'")
        for table, count in (("bonds", 2), ("bends", 3), ("torsions", 4), ("out_of_plane", 4)):
            for key in getattr(self, table):
                if len(key.split("-")) != count:
                    raise ValueError(f"{table}.{key} must be the names of {count} types, joined by '-'")
        return self


def read(path: str | Path) -> dict[str, Any]:
    """Read and check a parameter file; defaults are filled in.

    Raises
    ------
    SettingsError
        With every wrong key, its value and the allowed values.
    """
    path = Path(path).expanduser()
    return checked(read_toml(path)[1], path.name).model_dump(mode="json")


def checked(data: Mapping[str, Any], source: str = "parameters") -> ParameterFile:
    """Check the content of a parameter file."""
    return check_settings(ParameterFile, dict(data), source)

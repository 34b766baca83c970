"""The part of the study file that defines the liquid: ions, compositions, state."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from ilforge.settings import Density, Name, Pressure, Settings, Temperature


class IonSettings(Settings):
    """An ion that is not in the catalogue."""

    smiles: str | None = None
    """SMILES with explicit charge, such as `CC[NH3+]`. Give this or `structure`."""
    structure: str | None = None
    """Path of a structure file (xyz, mol, sdf, pdb, zmat), relative to the study file. Give this or `smiles`. A zmat,
    and an xyz with `force_field`, contains CL&P types of its atoms. CL&P then takes the parameters of this ion from
    this file."""
    force_field: str | None = None
    """Path of the force-field file (ff) that defines the types in `structure`, relative to the study file. Default:
    the file that the zmat names, in the folder of the zmat."""
    charge: int | None = None
    """Net charge in e. Needed if the structure file does not contain it."""

    @model_validator(mode="after")
    def _one_source(self) -> IonSettings:
        if (self.smiles is None) == (self.structure is None):
            raise ValueError("give either smiles or structure")
        if self.force_field is not None and not str(self.structure).lower().endswith((".zmat", ".xyz")):
            raise ValueError("force_field needs a structure whose atoms are its types: a zmat or xyz file")
        return self


class CompositionSettings(Settings):
    """One of several compositions of a liquid; the frames of all train the same models."""

    name: Name
    """Name of the composition in boxes, stages and results: letters, digits, `_`, `.`, `-`; it does not begin with `.`
    or `-`."""
    ions: dict[str, Annotated[int, Field(ge=1)]]
    """Number of each ion in the training box of this composition."""
    density_g_cm3: Density
    """Density close to equilibrium, g/cm^3."""


def _filled_from_first(schema: dict[str, Any]) -> None:
    """Tell editors that `ions` and the density may be left out if compositions are given."""
    schema["required"] = [key for key in schema.get("required", []) if key not in ("ions", "density_g_cm3")]


class LiquidSettings(Settings):
    """The liquid and its state."""

    model_config = ConfigDict(json_schema_extra=_filled_from_first)

    ions: dict[str, Annotated[int, Field(ge=1)]]
    """Number of each ion in the training box, such as `{ PYR14 = 2, BF4 = 2 }`. The sum of charges must be zero."""
    temperature_K: Temperature = 423.0
    """Temperature of sampling and MD, K."""
    pressure_bar: Pressure = 1.01325
    """Pressure of NPT runs, bar."""
    density_g_cm3: Density
    """Density close to equilibrium, g/cm^3. All density ratios refer to it."""
    define: dict[str, IonSettings] = {}
    """Ions of your own, by name: `[liquid.define.MYION]` with `smiles` or `structure`."""
    compositions: list[CompositionSettings] = []
    """Several compositions in place of `ions` and `density_g_cm3`, as `[[liquid.compositions]]` tables. Each is
    sampled, labelled and validated on its own; all train the same models."""

    @model_validator(mode="before")
    @classmethod
    def _first_composition(cls, data: Any) -> Any:
        """Take `ions` and the density of the first composition as those of the liquid."""
        given = data.get("compositions") if isinstance(data, dict) else None
        if not given or not isinstance(given, list) or not isinstance(given[0], dict):
            return data
        twice = [key for key in ("ions", "density_g_cm3") if key in data]
        if twice:
            raise ValueError(
                f"{twice[0]} is given in [liquid] and in [[liquid.compositions]]: leave it out of one of the two"
            )
        return {**data, **{key: given[0][key] for key in ("ions", "density_g_cm3") if key in given[0]}}

    @model_validator(mode="after")
    def _own_names(self) -> LiquidSettings:
        names = [composition.name for composition in self.compositions]
        if len(set(names)) != len(names):
            raise ValueError(f"compositions: every composition needs its own name, found {names}")
        return self

    @field_validator("temperature_K", mode="before")
    @classmethod
    def _one_temperature(cls, kelvin: Any) -> Any:
        if isinstance(kelvin, list):
            raise ValueError(
                f"{kelvin} are several temperatures, but frames are sampled at one. For MD at several temperatures, "
                "write one number here and temperatures_K = [...] in an [[md]] table"
            )
        return kelvin

    @field_validator("ions")
    @classmethod
    def _some_ions(cls, ions: dict[str, int]) -> dict[str, int]:
        if not ions:
            raise ValueError("name at least one ion")
        return ions

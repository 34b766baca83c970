"""MD protocols: the tables ``[[md]]`` of the study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ilforge.dynamics import ENGINES, engines_for
from ilforge.settings import Name, Positive, Pressure, Settings, Temperature, Timestep


def _engines(ability: str | None = None) -> str:
    """All engines, or those with an ability, as a list in words."""
    names = [f"`{name}`" for name, kind in ENGINES.items() if ability is None or getattr(kind, ability)]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


class MdSettings(Settings):
    """One MD protocol, run with each of the named potentials from the same start."""

    name: Name
    """Name of the protocol: letters, digits, `_`, `.`, `-`; it does not begin with `.` or `-`."""
    ensemble: Literal["NVE", "NVT", "NPT"]
    """The ensemble."""
    compositions: Annotated[list[str], Field(min_length=1)] | None = None
    """Names of `[[liquid.compositions]]`, each in a separate run. Without it, the first."""
    vacuum: dict[str, Annotated[int, Field(ge=1)]] | None = None
    """Ions without a box, charged or not, that are run instead of the liquid: `{ TFSI = 1 }`. NVT or NVE. Only `shapes`
    and `health` are measured on them, if `analysis.properties` names these."""
    potentials: Annotated[list[str], Field(min_length=1)]
    """Potentials to run, by name: trained `[models]`, `[potentials]`, and those that need no table, such as `clp`."""
    box_multiple: Annotated[int, Field(ge=1)] = 1
    """The box of this run contains this many times the ions of the liquid. Labels come from small boxes; densities,
    transport and clusters need 40 pairs or more."""
    timestep_fs: Timestep = 0.5
    """Time step, fs."""
    length_ps: Positive
    """Length of the recorded run, ps."""
    equilibration_ps: Annotated[float, Field(ge=0)] = 0.5
    """Length of the start that is not recorded, ps."""
    interval_ps: Positive = 0.02
    """Time between recorded frames, ps."""
    pressure_interval_ps: Annotated[
        Positive | None,
        Field(
            description="Time between records of the pressure tensor for the viscosity, ps; `interval_ps` must be a "
            "multiple of it. Use 0.005 to 0.01 if bonds to H are constrained (`timestep_fs` above 1), otherwise 0.002. "
            f"Without it, the tensor is not recorded. Only with engine {_engines('records_pressure')}."
        ),
    ] = None
    temperatures_K: Annotated[list[Temperature], Field(min_length=1)] | None = None
    """Temperatures in K, each in a separate run. Without it, the temperature of the liquid."""
    pressure_bar: Pressure | None = None
    """Pressure in bar, for NPT. Without it, the pressure of the liquid."""
    engine: Annotated[
        str | None,
        Field(
            description=f"Program that moves the atoms: {_engines()}. Without it, the engine that suits the potential. "
            "`gromacs` (not installed with ilforge) runs `clp` with a Nosé-Hoover thermostat and a Parrinello-Rahman "
            "barostat."
        ),
    ] = None
    thermostat: Literal["langevin", "nose-hoover"] | None = None
    """Thermostat of the `builtin` engine, which runs `mace`. Without it, `langevin`. `nose-hoover` is a chain of three
    with a period of 0.1 ps, which hardly changes the dynamics of the liquid. Each other engine has one thermostat."""
    barostat: Literal["monte-carlo", "cell-rescaling"] | None = None
    """Barostat of the `builtin` engine. Without it, `monte-carlo`. `cell-rescaling` needs a potential with a pressure,
    and no extra evaluation. Each other engine has one barostat."""
    hydrogen_mass_amu: Annotated[
        Annotated[float, Field(ge=1.008, le=4)] | None,
        Field(
            description="Mass of H in amu, for time steps up to 1.5 times as long; the heavy neighbour loses the added "
            "mass. 3 is usual. Structure and density do not change, and diffusion changes slightly. Only with "
            f"engine {_engines('keeps_hydrogen_mass')}."
        ),
    ] = None
    inner_potential: str | None = None
    """Name of a cheap potential or model that moves the atoms `inner_steps` times within a step of `timestep_fs`. The
    difference to the potential of the run is added once a step. Engine `builtin`. First check the energy conservation
    in NVE."""
    inner_steps: Annotated[int, Field(ge=1)] = 1
    """Number of short steps with `inner_potential` in one step of `timestep_fs`."""

    moved_keys = {
        "composition": 'write compositions = ["NAME"]',
        "temperature_K": "write temperatures_K = [423.0]",
        "cutoff_A": 'give the potential a name with this cutoff, as [potentials.clp10] with kind = "clp" and '
        'cutoff_A = 10.0, and write potentials = ["clp10"]',
        "parameters": 'write [potentials.NAME] with kind = "exp6" and parameters, and potentials = ["NAME"]',
    }

    @model_validator(mode="after")
    def _consistent(self) -> MdSettings:
        if self.engine is not None and self.engine not in ENGINES:
            raise ValueError(f"engine is {self.engine!r}: it may be {', '.join(ENGINES)}")
        for key in ("potentials", "compositions", "temperatures_K"):
            given = getattr(self, key) or []
            if len(set(given)) != len(given):
                raise ValueError(f"{key} contains a value twice, found {given[:9]}")
        if self.vacuum is not None and (not self.vacuum or self.ensemble == "NPT" or self.compositions is not None):
            raise ValueError(
                "vacuum needs ions, such as { TFSI = 1 }, and ensemble NVT or NVE, and it excludes compositions"
            )
        if self.vacuum is not None and self.box_multiple != 1:
            raise ValueError("box_multiple needs a box, and vacuum has none: leave it out")
        if (self.inner_potential is None) != (self.inner_steps == 1):
            raise ValueError("inner_potential needs inner_steps of 2 or more, and the reverse: give both, or neither")
        if self.barostat and self.ensemble != "NPT":
            raise ValueError(f"barostat = {self.barostat!r} needs ensemble = 'NPT': {self.ensemble} has no pressure")
        if self.pressure_interval_ps is not None:
            multiple = self.interval_ps / self.pressure_interval_ps
            if multiple < 1 or abs(multiple - round(multiple)) > 1e-6:
                raise ValueError("interval_ps must be a whole multiple of pressure_interval_ps")
        return self

    @property
    def runs(self) -> list[MdSettings]:
        """This table for each combination of its compositions and temperatures, with a name for each."""
        compositions, temperatures = self.compositions or [], self.temperatures_K or []
        unnamed: list[None] = [None]
        found = []
        for composition in compositions or unnamed:
            for kelvin in temperatures or unnamed:
                parts = [self.name]
                parts += [str(composition)] if len(compositions) > 1 else []
                parts += [f"{kelvin:g}K"] if len(temperatures) > 1 else []
                one = {
                    "name": "-".join(parts),
                    "compositions": None if composition is None else [composition],
                    "temperatures_K": None if kelvin is None else [kelvin],
                }
                found.append(self.model_copy(update=one))
        return found

    @property
    def composition(self) -> str | None:
        """The composition of a run in :attr:`runs`; None for the first of the study."""
        return self.compositions[0] if self.compositions else None

    @property
    def temperature_K(self) -> float | None:
        """The temperature of a run in :attr:`runs`, K; None for that of the liquid."""
        return self.temperatures_K[0] if self.temperatures_K else None

    def refuse_engine(self, potential: str, kind: type) -> None:
        """Refuse options that the engine of a potential cannot run.

        Parameters
        ----------
        potential
            Name of the potential.
        kind
            Class of the potential.

        Raises
        ------
        ValueError
            With the keys of the study file.
        """
        engine = ENGINES[self.engine or next(n for n in engines_for(kind) if not ENGINES[n].on_request)]
        if not engine.runs(kind):
            raise ValueError(f"engine {engine.name} cannot run {potential}: give it a separate protocol")
        chosen = [name for name in ("thermostat", "barostat", "inner_potential") if getattr(self, name)]
        if chosen and not engine.has_choices:
            raise ValueError(
                f"{chosen[0]} can be chosen only with the builtin engine, which runs MACE, but {engine.name} runs "
                f"{potential}: leave it out"
            )
        if self.hydrogen_mass_amu and not engine.keeps_hydrogen_mass:
            able = ", ".join(name for name, one in ENGINES.items() if one.keeps_hydrogen_mass)
            raise ValueError(f"hydrogen_mass_amu needs {able}, but {engine.name} runs {potential}")
        if self.pressure_interval_ps is not None and not engine.records_pressure:
            able = " or ".join(f'engine = "{name}"' for name, one in ENGINES.items() if one.records_pressure)
            raise ValueError(f"pressure_interval_ps needs {able}: {engine.name} does not record the pressure tensor")

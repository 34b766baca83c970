"""The interface of a property: an object that sees every frame of a trajectory once and returns a measurement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.properties.kernels.pairs import heights
from ilforge.results import Curve, Estimate, LiquidVerdict, Table


@dataclass(frozen=True, eq=False)
class PressureSeries:
    """The pressure tensor along a run.

    Attributes
    ----------
    interval_ps
        Time between samples, ps.
    off_diagonal
        ``(n, 3)``: xy, xz, yz in bar.
    diagonal
        ``(n, 3)``: xx, yy, zz in bar, or None.
    """

    interval_ps: float
    off_diagonal: np.ndarray
    diagonal: np.ndarray | None = None


class DensityChange(NamedTuple):
    """Change of the density during a run: initial and final value, g/cm^3, and the time of the change, ps."""

    start: float
    reached: float
    time_ps: float

    def __str__(self) -> str:
        how = "fell" if self.reached < self.start else "rose"
        time = f"{self.time_ps:.3g}" if self.time_ps < 1000 else f"{self.time_ps:.0f}"
        return f"the density {how} from {self.start:.2f} to {self.reached:.2f} g/cm3 within {time} ps"


@dataclass(frozen=True)
class System:
    """Data that all frames of a trajectory have in common.

    Attributes
    ----------
    topology
        Atoms, bonds and ions, in the order of the frames.
    n_frames
        Number of frames that will be observed.
    frame_interval_ps
        Time between frames, ps.
    temperature_K, pressure_bar
        Set temperature and pressure, if known. At constant energy, the mean temperature of the run.
    ensemble
        ``"NVE"``, ``"NVT"``, ``"NPT"``, or None if unknown.
    fault
        Why the engine ended the run early, or None.
    periodic
        False for ions in a vacuum.
    pressure
        The pressure tensor of the run, usually recorded far more often than frames; None if it was not recorded.
    unknown_charges
        Ions with an unknown charge; it is 0 in the topology.
    no_velocities
        Why there are no velocities, if there are none.
    start_temperature_K
        Temperature set for the start of a run at constant energy, if any.
    n_runs
        Number of independent runs in the frames, one after the other, all of one length.
    images
        Whether the trajectory has unwrapped positions (in the images to which atoms moved), so that ions can be
        followed even between frames far apart in time.
    ended
        Whether the engine has ended the run, with or without a ``fault``; None if unknown.
    fault_density
        Change of the density until the engine ended the run early, if it is known.
    start_density
        Density of the start, before the equilibration, g/cm^3, if it is known.
    unrecorded_ps
        Length of the equilibration, ps.
    """

    topology: Topology
    n_frames: int
    frame_interval_ps: float
    temperature_K: float | None = None
    pressure_bar: float | None = None
    ensemble: Literal["NVE", "NVT", "NPT"] | None = None
    fault: str | None = None
    periodic: bool = True
    pressure: PressureSeries | None = None
    unknown_charges: tuple[str, ...] = ()
    no_velocities: str = "the trajectory contains no velocities"
    start_temperature_K: float | None = None
    ended: bool | None = None
    n_runs: int = 1
    images: bool = False
    fault_density: DensityChange | None = None
    start_density: float | None = None
    unrecorded_ps: float = 0.0

    @cached_property
    def ions(self) -> dict[str, np.ndarray]:
        """Indices of the ions of each species, in order of first appearance."""
        species = np.asarray(self.topology.species)
        return {name: np.flatnonzero(species == name) for name in dict.fromkeys(self.topology.species)}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One frame, with quantities that several properties need, computed at most once. Its arrays are read-only.

    Attributes
    ----------
    index
        Number of the frame, 0-based.
    time_ps
        Time since the first frame, ps.
    positions
        ``(n_atoms, 3)`` in Å, as in the file, wrapped or not.
    cell
        ``(3, 3)`` in Å, lattice vectors as rows; zeros in a vacuum.
    temperature_K, potential_energy_eV, drude_temperature_K
        Instantaneous values, if known.
    velocities
        ``(n_atoms, 3)`` in Å/ps, if the trajectory contains them.
    recorded_ps
        Time in the file, ps, if it must be checked.
    """

    system: System
    index: int
    time_ps: float
    positions: np.ndarray
    cell: np.ndarray
    temperature_K: float | None = None
    potential_energy_eV: float | None = None
    drude_temperature_K: float | None = None
    velocities: np.ndarray | None = None
    recorded_ps: float | None = None

    def __post_init__(self) -> None:
        for name in ("positions", "cell", "velocities"):
            if getattr(self, name) is None:
                continue
            array = np.array(getattr(self, name), dtype=float)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @cached_property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return float(abs(np.linalg.det(self.cell)))

    @cached_property
    def heights(self) -> np.ndarray:
        """Distances between opposite faces of the cell, Å, ``(3,)``."""
        return heights(self.cell)

    @cached_property
    def whole(self) -> np.ndarray:
        """Positions with whole molecules, Å, ``(n_atoms, 3)``."""
        from ilforge.liquid.connectivity import whole_molecules

        return _read_only(whole_molecules(self.positions, self.cell, self.system.topology))

    @cached_property
    def centres(self) -> np.ndarray:
        """Centre of mass of each ion, Å, ``(n_molecules, 3)``."""
        from ilforge.liquid.connectivity import centres_of_mass

        return _read_only(centres_of_mass(self.whole, self.system.topology))


@dataclass(frozen=True)
class Verdict:
    """The result of one check, with the frame and atoms to inspect.

    Attributes
    ----------
    what
        A sentence.
    frame
        The frame to inspect, from 0, if there is one.
    atoms
        Atoms concerned, from 0.
    grave
        Whether a fault makes the run unphysical. Otherwise the run has not ended, has not equilibrated, or deviates
        from the set state.
    """

    ok: bool
    what: str
    frame: int | None = None
    atoms: tuple[int, ...] = ()
    grave: bool = True


@dataclass(frozen=True)
class Measurement:
    """The results of a property.

    Attributes
    ----------
    estimates
        ``(quantity, species, estimate)``; species is None for the whole liquid.
    curves
        By kind, a word, and species: ``"msd PYR14"``.
    verdicts
        Results of checks.
    notes
        Notes for the reader, for example why there is no number.
    tables
        By name, ``"populations Li"``: tidy rows for data that are not single numbers or curves. The ``kind`` of a table
        says what it holds.
    structures
        By name, ``"Li(TFSI)3"``: extended XYZ text of a part of a frame, for inspection.
    liquid
        Verdict on whether the run holds the liquid, if it was determined.
    """

    estimates: list[tuple[str, str | None, Estimate]] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    structures: dict[str, str] = field(default_factory=dict)
    liquid: LiquidVerdict | None = None

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON values: arrays as lists, NaN as null."""
        return {
            "estimates": [
                {"quantity": quantity, "species": species, **_plain(asdict(estimate))}
                for quantity, species, estimate in self.estimates
            ],
            "curves": {name: _plain(asdict(curve)) for name, curve in self.curves.items()},
            "verdicts": [_plain(asdict(verdict)) for verdict in self.verdicts],
            "notes": list(self.notes),
            "tables": {name: _plain(asdict(table)) for name, table in self.tables.items()},
            "structures": dict(self.structures),
            "liquid": None if self.liquid is None else _plain(self.liquid.to_json()),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of :meth:`to_json`."""
        estimates = []
        for item in data["estimates"]:
            values = {k: v for k, v in item.items() if k not in ("quantity", "species")}
            numbers = {k: _number(values[k]) for k in ("value", "error", "n_eff")}
            estimates.append((item["quantity"], item["species"], Estimate(**{**values, **numbers})))
        curves = {name: _curve(values) for name, values in data["curves"].items()}
        verdicts = [Verdict(**{**item, "atoms": tuple(item["atoms"])}) for item in data["verdicts"]]
        tables = {name: _table(name, values) for name, values in data.get("tables", {}).items()}
        liquid = data.get("liquid")
        judged = None if liquid is None else LiquidVerdict.from_json(liquid)
        return cls(estimates, curves, verdicts, list(data["notes"]), tables, dict(data.get("structures", {})), judged)


@runtime_checkable
class Property(Protocol):
    """A quantity measured on a trajectory in one pass.

    It is created from its own part of the analysis settings. Its methods are called in this order: ``begin`` once;
    for each frame in time order ``look``, then ``add`` with the result of ``look``; ``measurement`` once. It must not
    change snapshots or keep references to them, and must not depend on wrapping or on the origin.

    ``look`` does the work and may run in several processes. Each process has its own copy of the property, created in
    the same way, which sees the first frame and then some of the others in time order. The result of ``look`` depends
    only on the frame and the first frame; it is small and can be pickled. ``add`` is fast.

    Attributes
    ----------
    needs_cell
        Why the property is not defined for ions in a vacuum, for which it is then skipped; empty if it is defined.
    """

    needs_cell: ClassVar[str]

    def begin(self, system: System) -> None:
        """Prepare for the frames of one trajectory."""
        ...

    def look(self, snapshot: Snapshot) -> Any:
        """Extract the necessary data from one frame."""
        ...

    def add(self, seen: Any) -> None:
        """Add the result of ``look`` for the next frame."""
        ...

    def measurement(self) -> Measurement:
        """The results from all frames."""
        ...


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _plain(value: Any) -> Any:
    """Nested containers with NumPy values as JSON values."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _table(name: str, values: Mapping[str, Any]) -> Table:
    kind, of = (values["kind"], values["of"]) if "kind" in values else _from_name(name)
    return Table(tuple(values["columns"]), [tuple(row) for row in values["rows"]], kind, of)


def _from_name(name: str) -> tuple[str, str]:
    """Kind of a table, and of what it is, in a file of an earlier version, which has only its name."""
    two_words = next((kind for kind in _TWO_WORDS if name.startswith(f"{kind} ")), None)
    kind = two_words or name.partition(" ")[0]
    return kind, name.removeprefix(kind).lstrip()


_TWO_WORDS = ("map blocks", "time scales", "transition matrix")


def _curve(values: Mapping[str, Any]) -> Curve:
    arrays = {k: np.array([_number(v) for v in values[k]], dtype=float) for k in ("x", "y")}
    error = None if values["error"] is None else np.array([_number(v) for v in values["error"]], dtype=float)
    n_eff = values.get("n_eff")
    if isinstance(n_eff, list):
        n_eff = np.array([_number(v) for v in n_eff], dtype=float)
    return Curve(**{**values, **arrays, "error": error, "n_eff": n_eff})

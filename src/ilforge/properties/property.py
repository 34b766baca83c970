"""What a property is: an object that sees every frame of a trajectory once and then says what it measured."""

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
    """How far the density of a run went: at its start, where it went, both in g/cm^3, and the time it took in ps."""

    start: float
    reached: float
    time_ps: float

    def __str__(self) -> str:
        how = "fell" if self.reached < self.start else "rose"
        time = f"{self.time_ps:.3g}" if self.time_ps < 1000 else f"{self.time_ps:.0f}"
        return f"the density {how} from {self.start:.2f} to {self.reached:.2f} g/cm3 within {time} ps"


@dataclass(frozen=True)
class System:
    """What every frame of a trajectory has in common.

    Attributes
    ----------
    topology
        Atoms, bonds and ions, in the order of the frames.
    n_frames
        Number of frames that will be observed.
    frame_interval_ps
        Time between frames, ps.
    temperature_K, pressure_bar
        Set temperature and pressure, where known. At constant energy, the mean temperature of the run.
    ensemble
        ``"NVE"``, ``"NVT"``, ``"NPT"``, or None where not known.
    fault
        Why the engine ended the run early, or None.
    periodic
        False for ions in a vacuum.
    pressure
        The pressure tensor of the run, usually far more often than its frames; None where it was not recorded.
    unknown_charges
        Ions whose charge nobody says; the topology has 0 for them.
    no_velocities
        Why there are no velocities, where there are none.
    start_temperature_K
        Of a run at constant energy whose temperature is its mean: what was set for its start, where anything was.
    n_runs
        Independent runs, all of one length, that the frames are of, one after the other.
    images
        Whether positions are in the images that atoms moved to, as the trajectory says, so that even frames far apart
        in time can be followed.
    ended
        Whether the engine was done with the run, for better or worse (see ``fault``); None where nobody knows.
    fault_density
        How far the density had gone when the engine ended the run early, where it says so.
    start_density
        That of the start, before all unrecorded stages, g/cm^3, where the run says it.
    unrecorded_ps
        How long these took, ps.
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
    no_velocities: str = "the trajectory holds no velocities"
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
    """One frame, and what several properties need from it, computed at most once. Its arrays are read-only.

    Attributes
    ----------
    index
        Number of the frame, 0-based.
    time_ps
        Time since the first frame, ps.
    positions
        ``(n_atoms, 3)`` in Å, as in the file: wrapped or not.
    cell
        ``(3, 3)`` in Å, lattice vectors as rows; zeros in a vacuum.
    temperature_K, potential_energy_eV, drude_temperature_K
        Instantaneous values, where known.
    velocities
        ``(n_atoms, 3)`` in Å/ps, where the trajectory holds them.
    recorded_ps
        Time that the file gives, ps, where it is to be checked.
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
        """Positions with no molecule cut by the boundary, Å, ``(n_atoms, 3)``."""
        from ilforge.liquid.connectivity import whole_molecules

        return _read_only(whole_molecules(self.positions, self.cell, self.system.topology))

    @cached_property
    def centres(self) -> np.ndarray:
        """Centre of mass of each ion, Å, ``(n_molecules, 3)``."""
        from ilforge.liquid.connectivity import centres_of_mass

        return _read_only(centres_of_mass(self.whole, self.system.topology))


@dataclass(frozen=True)
class Verdict:
    """One thing that was checked: whether it is as it should be, and where to look.

    Attributes
    ----------
    what
        A sentence.
    frame
        The frame to look at, 0-based, where there is one.
    atoms
        Atoms concerned, 0-based.
    grave
        Whether a fault here means that the run left physics; otherwise it has not ended or settled, or not at the
        set state.
    """

    ok: bool
    what: str
    frame: int | None = None
    atoms: tuple[int, ...] = ()
    grave: bool = True


@dataclass(frozen=True)
class Measurement:
    """What a property found.

    Attributes
    ----------
    estimates
        ``(quantity, species, estimate)``; species is None for the whole liquid.
    curves
        By kind and species, ``"msd PYR14"``.
    verdicts
        What was checked.
    notes
        What the reader must know, such as why there is no number.
    tables
        By name, ``"populations Li"``: tidy rows for whatever is more than one number or one line.
    structures
        By name, ``"Li(TFSI)3"``: extended XYZ text of a part of a frame to look at.
    liquid
        Whether the run holds the liquid, where that was asked.
    """

    estimates: list[tuple[str, str | None, Estimate]] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Table] = field(default_factory=dict)
    structures: dict[str, str] = field(default_factory=dict)
    liquid: LiquidVerdict | None = None

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON can hold it: arrays as lists, NaN as null."""
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
        tables = {
            name: Table(tuple(values["columns"]), [tuple(row) for row in values["rows"]])
            for name, values in data.get("tables", {}).items()
        }
        liquid = data.get("liquid")
        judged = None if liquid is None else LiquidVerdict.from_json(liquid)
        return cls(estimates, curves, verdicts, list(data["notes"]), tables, dict(data.get("structures", {})), judged)


@runtime_checkable
class Property(Protocol):
    """A quantity measured on a trajectory in one pass.

    It is made from its own part of the analysis settings, and then called in this order: ``begin`` once, ``look``
    at a frame and ``add`` of what it returned for each frame in time order, ``measurement`` once. It changes no
    snapshot, holds no reference to one, and does not care how molecules were wrapped or where the origin is.

    Looking is the work, and may be shared among processes: each has a property of its own, made and begun alike,
    that looks at the first frame and then at some of the others in time order. What ``look`` returns depends on the
    frame, and on the first frame, alone; it is small, and can be pickled. ``add`` is quick.

    Attributes
    ----------
    needs_cell
        Why it means nothing for ions in a vacuum, which it is then not asked about; empty where it does.
    """

    needs_cell: ClassVar[str]

    def begin(self, system: System) -> None:
        """Get ready for the frames of one trajectory."""
        ...

    def look(self, snapshot: Snapshot) -> Any:
        """What is needed of one frame."""
        ...

    def add(self, seen: Any) -> None:
        """Take what ``look`` saw in the next frame."""
        ...

    def measurement(self) -> Measurement:
        """What the frames said."""
        ...


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _plain(value: Any) -> Any:
    """Nested containers with NumPy values as JSON can hold them."""
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


def _curve(values: Mapping[str, Any]) -> Curve:
    arrays = {k: np.array([_number(v) for v in values[k]], dtype=float) for k in ("x", "y")}
    error = None if values["error"] is None else np.array([_number(v) for v in values["error"]], dtype=float)
    n_eff = values.get("n_eff")
    if isinstance(n_eff, list):
        n_eff = np.array([_number(v) for v in n_eff], dtype=float)
    return Curve(**{**values, **arrays, "error": error, "n_eff": n_eff})

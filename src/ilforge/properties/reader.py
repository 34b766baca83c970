"""Reading: any trajectory as a system and a stream of snapshots, or a clear word on what is missing."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilforge.dynamics.trajectory import Trajectory
from ilforge.errors import SettingsError, Unphysical
from ilforge.liquid.topology import Topology
from ilforge.properties.pressure_table import read_pressure
from ilforge.properties.property import Snapshot, System
from ilforge.properties.topology_reader import check_elements, topology_of_universe

if TYPE_CHECKING:
    from ase import Atoms
    from MDAnalysis import Universe

_UNEVEN = 0.01  # of the frame interval


@dataclass(frozen=True)
class Source:
    """A trajectory that can be measured.

    Attributes
    ----------
    system
        What all frames have in common.
    frame
        Reads one frame, any, and checks it.
    liquid
        What it is made of: ``"2 PYR14, 2 BF4"``.
    potential
        Kind of the potential that made it, ``"unknown"`` for a trajectory from elsewhere.
    """

    system: System
    frame: Callable[[int], Snapshot]
    liquid: str
    potential: str = "unknown"

    @property
    def temperature_K(self) -> float | None:
        return self.system.temperature_K

    def snapshots(self) -> Iterator[Snapshot]:
        """All frames in time order."""
        clock = Clock(self.system.frame_interval_ps)
        for index in range(self.system.n_frames):
            snapshot = self.frame(index)
            clock.tick(index, snapshot.recorded_ps)
            yield snapshot


def open_trajectory(
    paths: Sequence[Path], frame_interval_ps: float | None = None, temperature_K: float | None = None
) -> Source:
    """A trajectory on disk: a directory that ilforge wrote, an extended XYZ file, or TOPOLOGY TRAJECTORY...

    Parameters
    ----------
    paths
        The directory, the file, or a topology with bonds and one or more trajectory files, as MDAnalysis reads
        them, in time order.
    frame_interval_ps
        Time between frames, ps, where the files do not say or say it wrong.
    temperature_K
        Temperature of the run, K.
    """
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.exists():
            raise SettingsError(f"There is no file or directory {path}.")
    if paths[0].is_dir():
        if len(paths) > 1:
            raise SettingsError(
                f"{paths[0]} is a directory: give it alone, or a topology and trajectory files, or with --replicas the "
                "directories of independent runs of one system."
            )
        return source_of(Trajectory(paths[0]), None, frame_interval_ps, temperature_K)
    if len(paths) == 1 and paths[0].suffix in (".xyz", ".extxyz"):
        from ilforge import frames

        return source_of(frames.read(paths[0]), None, frame_interval_ps, temperature_K)
    import MDAnalysis

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is missing and needed is said below, in other words
            universe = MDAnalysis.Universe(*map(str, paths))
    except Exception as error:
        named = ", ".join(str(path) for path in paths)
        raise SettingsError(f"{named} cannot be read as a topology and its trajectory: {error}") from error
    return source_of(universe, None, frame_interval_ps, temperature_K)


def source_of(
    trajectory: Trajectory | Universe | Source | Sequence[Atoms],
    topology: Topology | None = None,
    frame_interval_ps: float | None = None,
    temperature_K: float | None = None,
) -> Source:
    """A source from whatever holds a trajectory; what is given here goes before what the trajectory says.

    Raises
    ------
    SettingsError
        When bonds, elements, cell or time step are missing, or the topology does not fit the frames.
    """
    given = _Given(topology, frame_interval_ps, temperature_K)
    if isinstance(trajectory, Source):
        return trajectory
    if isinstance(trajectory, Trajectory):
        return _from_directory(trajectory, given)
    if hasattr(trajectory, "trajectory"):
        return _from_universe(trajectory, given)
    return _from_frames(list(trajectory), given)


@dataclass(frozen=True)
class _Given:
    topology: Topology | None
    frame_interval_ps: float | None
    temperature_K: float | None


def _from_directory(trajectory: Trajectory, given: _Given) -> Source:
    info = trajectory.info()
    universe = trajectory.universe()
    protocol = info["protocol"]
    topology, order = _topology_for(universe, given)
    fault = info["fault"]
    system = System(
        topology,
        len(universe.trajectory),
        given.frame_interval_ps or info["frame_interval_ps"],
        given.temperature_K or protocol["temperature_K"],
        protocol["pressure_bar"] if protocol["ensemble"] == "NPT" else None,
        protocol["ensemble"],
        None if fault is None else fault["message"],
        periodic=info.get("periodic", True),
        pressure=read_pressure(trajectory.pressure_file) if trajectory.pressure_file.is_file() else None,
    )
    thermo = trajectory.thermo() if info["n_frames"] else {}
    return Source(
        system,
        partial(_frame_of_universe, universe, system, order, False, thermo),
        info["ions"],
        info["potential"]["kind"],
    )


def _from_universe(universe: Universe, given: _Given) -> Source:
    topology, order = _topology_for(universe, given)
    interval = given.frame_interval_ps or _frame_interval(universe)
    system = System(topology, len(universe.trajectory), interval, given.temperature_K)
    trust_times = given.frame_interval_ps is None and len(universe.trajectory) > 1
    frame = partial(_frame_of_universe, universe, system, order, trust_times, {})
    return Source(system, partial(_in_order, frame), _label(topology))


def _from_frames(frames: list[Atoms], given: _Given) -> Source:
    if not frames:
        raise SettingsError("There are no frames to measure.")
    topology = given.topology or _topology_of_frame(frames[0])
    periodic = bool(frames[0].pbc.any())
    if given.frame_interval_ps is None and len(frames) > 1:
        raise SettingsError("Frames carry no times: give the time between them (--frame-interval, in ps).")
    interval = given.frame_interval_ps or 1.0
    system = System(topology, len(frames), interval, given.temperature_K, periodic=periodic)
    return Source(system, partial(_in_order, partial(_frame_of_list, frames, system)), _label(topology))


def _frame_of_list(frames: list[Atoms], system: System, index: int) -> Snapshot:
    frame = frames[index]
    check_elements(frame.get_chemical_symbols(), system.topology, f"frame {index}")
    return _snapshot(system, index, frame.positions, frame.cell.array if frame.pbc.all() else None)


def _topology_of_frame(frame: Atoms) -> Topology:
    from ilforge.liquid.liquid import Liquid

    label = frame.info.get("ions")
    if label is None:
        raise SettingsError(
            "The frames do not say which ions they hold: give a topology with bonds, or frames with an info entry "
            'ions="2 PYR14, 2 BF4", atoms listed ion by ion in that order.'
        )
    return Liquid.of_frame(frame).topology


def _topology_for(universe: Universe, given: _Given) -> tuple[Topology, np.ndarray | None]:
    if given.topology is None:
        return topology_of_universe(universe)
    elements = getattr(universe.atoms, "elements", None)
    check_elements(elements, given.topology, "the trajectory", len(universe.atoms))
    return given.topology, None


def _frame_of_universe(
    universe: Universe,
    system: System,
    order: np.ndarray | None,
    trust_times: bool,
    thermo: dict[str, np.ndarray],
    index: int,
) -> Snapshot:
    """One frame, atoms reordered where molecules were not listed one after the other."""
    temperatures, energies = thermo.get("temperature_K"), thermo.get("potential_energy_eV")
    frame = _read(universe, index, system)
    return _snapshot(
        system,
        index,
        frame.positions if order is None else frame.positions[order],
        None if frame.dimensions is None else frame.triclinic_dimensions,
        None if temperatures is None else float(temperatures[index]),
        None if energies is None else float(energies[index]),
        _velocities(frame, order),
        float(frame.time) if trust_times else None,
    )


def _velocities(frame: Any, order: np.ndarray | None) -> np.ndarray | None:
    """``(n_atoms, 3)`` in Å/ps, as MDAnalysis has them whatever the file, or None."""
    if not frame.has_velocities:
        return None
    return frame.velocities if order is None else frame.velocities[order]


def _read(universe: Universe, index: int, system: System) -> Any:
    try:
        frame = universe.trajectory[index]
    except Exception as error:
        raise SettingsError(
            f"Frame {index} of the trajectory cannot be read ({error}): it is cut short, or has another number of "
            f"atoms than the topology's {system.topology.n_atoms}."
        ) from error
    if frame.n_atoms != system.topology.n_atoms:
        raise SettingsError(
            f"Frame {index} has {frame.n_atoms} atoms, the topology {system.topology.n_atoms}: give the topology "
            "this trajectory was made with."
        )
    return frame


def _snapshot(
    system: System,
    index: int,
    positions: np.ndarray,
    cell: np.ndarray | None,
    temperature_K: float | None = None,
    potential_energy_eV: float | None = None,
    velocities: np.ndarray | None = None,
    recorded_ps: float | None = None,
) -> Snapshot:
    """One frame, checked: a cell with a volume, finite positions, and bonds that are bonds."""
    if not system.periodic:
        cell = np.zeros((3, 3))
    elif cell is None:
        raise _no_cell(index)
    if not np.isfinite(positions).all():
        raise Unphysical(f"Frame {index}: positions are not finite numbers. Measure the frames before it.")
    snapshot = Snapshot(
        system,
        index,
        index * system.frame_interval_ps,
        positions,
        cell,
        temperature_K,
        potential_energy_eV,
        velocities,
        recorded_ps,
    )
    if system.periodic and snapshot.volume < 1.0:
        raise _no_cell(index)
    if index == 0:
        _check_bonds(snapshot)
    return snapshot


def _no_cell(index: int) -> SettingsError:
    return SettingsError(
        f"Frame {index} has no periodic cell. Give a trajectory that carries it (xtc, trr, dcd, extended XYZ), "
        "or set it: universe.trajectory.add_transformations(MDAnalysis.transformations.boxdimensions."
        "set_dimensions([a, b, c, alpha, beta, gamma]))."
    )


def _check_bonds(first: Snapshot) -> None:
    from ilforge.liquid.connectivity import misfit

    found = misfit(first.positions, first.cell, first.system.topology)
    if found:
        raise SettingsError(
            f"The topology does not fit the trajectory: in the first frame {found}. Give the topology this trajectory "
            "was made with, atoms in the same order."
        )


class Clock:
    """Holds the times that frames carry, one after the other, against the time that should lie between them."""

    def __init__(self, interval_ps: float):
        self._interval = interval_ps
        self._first = self._last = np.nan

    def tick(self, index: int, time_ps: float | None) -> None:
        """The time of the next frame, ps; None where it does not matter."""
        if time_ps is None:
            return
        if index == 0:
            self._first = time_ps
        elif time_ps > self._first:  # files read one after the other may each begin at zero
            self._check(time_ps - self._last, index)
        self._last = time_ps

    def _check(self, step: float, index: int) -> None:
        if abs(step - self._interval) > _UNEVEN * self._interval:
            raise SettingsError(
                f"Frames {index - 1} and {index} are {step:g} ps apart, the first two {self._interval:g} ps: frames "
                "are missing or doubled. Give an evenly spaced trajectory, or say the time between frames "
                "(--frame-interval) if the file's times are wrong."
            )


def _in_order(frame: Callable[[int], Snapshot], index: int) -> Snapshot:
    """One frame; in some the order of the atoms is looked at, which would cost too much in all."""
    snapshot = frame(index)
    if index and (index & (index - 1) == 0 or index == snapshot.system.n_frames - 1):
        _check_order(snapshot)
    return snapshot


def _check_order(later: Snapshot) -> None:
    from ilforge.liquid.connectivity import reordered

    if reordered(later.positions, later.cell, later.system.topology):
        raise SettingsError(
            f"In frame {later.index} atoms are listed in another order than in the first. Write them all in one order "
            "(LAMMPS: dump_modify ID sort id)."
        )


def _frame_interval(universe: Universe) -> float:
    """Time between frames in ps, refused where the file does not say."""
    if len(universe.trajectory) < 2:
        return 1.0
    reader = getattr(universe.trajectory, "readers", [universe.trajectory])[0]
    remarks = getattr(getattr(reader, "_file", None), "header", None)
    if isinstance(remarks, dict) and "LAMMPS" in str(remarks.get("remarks", "")):
        raise SettingsError(
            "The trajectory is a DCD file of LAMMPS, whose times are in LAMMPS's own unit, which it does not say: give "
            "the time between its frames (--frame-interval, in ps)."
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        interval = float(universe.trajectory[0].dt)
    if any("dt information" in str(warning.message) for warning in said) or interval <= 0:
        raise SettingsError(
            "The trajectory does not say how much time lies between its frames: give it (--frame-interval, in ps)."
        )
    return interval


def _label(topology: Topology) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(topology.species).items())

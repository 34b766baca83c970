"""Read any trajectory as a system and a stream of snapshots, or tell clearly what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilforge import frames
from ilforge.dynamics.trajectory import Trajectory
from ilforge.errors import SettingsError, Unphysical
from ilforge.liquid.ions import CATALOGUE, get_ion
from ilforge.liquid.topology import Topology
from ilforge.properties.property import DensityChange, Snapshot, System
from ilforge.properties.reading.frame_times import Clock, refuse_begun_again, refuse_doubled
from ilforge.properties.reading.given import Composition, Given
from ilforge.properties.reading.pressure_table import read_pressure
from ilforge.properties.reading.topology_reader import Reading, check_copies, check_elements, topology_of_universe
from ilforge.properties.reading.trajectory_files import (
    XYZ,
    Times,
    check_paths,
    frame_interval,
    is_extended_xyz,
    open_universe,
    quietly,
    read_frame,
    read_pieces,
    says_images,
    times_of,
    times_of_list,
    velocities_of,
    velocity_unit,
)

if TYPE_CHECKING:
    from ase import Atoms
    from MDAnalysis import Universe

_OF_SNAPSHOTS = ("temperature_K", "potential_energy_eV", "drude_temperature_K")
"""Columns of a run's table that are used in snapshots, in the order of the table."""
_UNKNOWN_UNIT = (
    "the LAMMPS dump does not contain the unit of its velocities, which are therefore not used: give it with "
    "--lammps-units"
)


@dataclass(frozen=True)
class Source:
    """A trajectory that can be measured.

    Attributes
    ----------
    system
        Data that all frames have in common.
    frame
        Function that reads and checks any frame.
    liquid
        Ions of the trajectory: ``"2 PYR14, 2 BF4"``.
    potential
        Kind of the potential of the run, ``"unknown"`` for a trajectory of another program.
    unended
        For a run of ilforge that has not ended: a note on the recorded length.
    used
        For a part of a run: a note on the part.
    """

    system: System
    frame: Callable[[int], Snapshot]
    liquid: str
    potential: str = "unknown"
    unended: str = ""
    used: str = ""

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
    paths: Sequence[Path],
    frame_interval_ps: float | None = None,
    temperature_K: float | None = None,
    lammps_units: str | None = None,
    made_of: Composition | None = None,
) -> Source:
    """Open a trajectory on disk: a directory of ilforge, extended XYZ, or TOPOLOGY TRAJECTORY...

    Parameters
    ----------
    paths
        The directory; extended XYZ files whose frames name their ions; or a topology with bonds and one or
        more trajectory files in time order, in extended XYZ or a format of MDAnalysis.
    frame_interval_ps
        Time between frames, ps; needed if it is missing or wrong in the files. The times in the files must still be
        evenly spaced; steps of a LAMMPS dump and ``time=`` in extended XYZ count as times.
    temperature_K
        Temperature of the run, K.
    lammps_units
        Unit style of a LAMMPS dump, ``"real"`` or ``"metal"``, if the dump does not contain it (``ITEM: UNITS``).
        Without it, velocities are ignored.
    made_of
        Ions and cell, if the files do not contain them.
    """
    paths = [Path(path) for path in paths]
    check_paths(paths)
    made_of = made_of or Composition()
    given = Given(None, frame_interval_ps, temperature_K, lammps_units, made_of)
    if paths[0].is_dir():
        _refuse_of_folder(paths[0], made_of)
        return _from_directory(Trajectory(paths[0]), given)
    plain = all(path.suffix.lower() in XYZ for path in paths) and (len(paths) == 1 or bool(made_of.ions))
    if is_extended_xyz(paths[0]) or plain:
        pieces = [frames.read(paths[0])] if len(paths) == 1 else read_pieces(paths, plain)
        return _from_pieces(pieces, given, _names(paths))
    if any(is_extended_xyz(path) for path in paths[1:]):
        reading = topology_of_universe(open_universe(paths[:1]), own=made_of.own)
        return _from_pieces(read_pieces(paths[1:]), given.with_reading(reading), _names(paths[1:]))
    universe = open_universe(paths)
    if not hasattr(universe, "trajectory"):
        raise SettingsError(f"{paths[0]} contains no positions: give a trajectory file after it.")
    made_of.put_universe_in_cell(universe, _names(paths))
    return _from_universe(universe, given)


def _refuse_of_folder(folder: Path, made_of: Composition) -> None:
    """Refuse ions or a cell for a run of ilforge, which contains them."""
    options = {"--ions": made_of.ions, "--define": made_of.define, "--cell": made_of.cell is not None}
    for option, said in options.items():
        if said:
            raise SettingsError(
                f"{option}: {folder} is a run of ilforge, which contains this information: leave {option} out."
            )


def source_of(
    trajectory: Trajectory | Universe | Source | Sequence[Atoms],
    topology: Topology | None = None,
    frame_interval_ps: float | None = None,
    temperature_K: float | None = None,
    lammps_units: str | None = None,
) -> Source:
    """A source from any form of trajectory; arguments override data in the trajectory.

    Raises
    ------
    SettingsError
        When bonds, elements, cell or time step are missing, the topology does not fit the frames, or an argument is
        invalid.
    """
    given = Given(None if topology is None else Reading(topology), frame_interval_ps, temperature_K, lammps_units)
    if topology is not None:
        check_copies(topology)
    if isinstance(trajectory, Source):
        return trajectory
    if isinstance(trajectory, Trajectory):
        return _from_directory(trajectory, given)
    if hasattr(trajectory, "trajectory"):
        return _from_universe(trajectory, given)
    return _from_pieces([list(trajectory)], given)


def _from_directory(trajectory: Trajectory, given: Given) -> Source:
    info = trajectory.info()
    universe = trajectory.universe()
    protocol = info["protocol"]
    reading = _topology_for(universe, given, _charges(info))
    fault = info["fault"]
    interval, temperature = given.frame_interval_ps, given.temperature_K
    drawn = protocol["ensemble"] == "NVE" and not protocol.get("keep_velocities")
    system = System(
        reading.topology,
        info["n_frames"] or len(universe.trajectory),
        info["frame_interval_ps"] if interval is None else interval,
        trajectory.temperature_K if temperature is None else temperature,
        protocol["pressure_bar"] if protocol["ensemble"] == "NPT" else None,
        protocol["ensemble"],
        None if fault is None else fault["message"],
        periodic=info.get("periodic", True),
        pressure=read_pressure(trajectory.pressure_file) if trajectory.pressure_file.is_file() else None,
        unknown_charges=reading.unknown_charges,
        start_temperature_K=protocol["temperature_K"] if drawn and temperature is None else None,
        ended=not trajectory.unended,
        fault_density=_fault_density(fault),
        start_density=info.get("start_density_g_cm3"),
        unrecorded_ps=info.get("unrecorded_ps", 0.0),
    )
    thermo = trajectory.thermo() if info["n_frames"] else {}
    unit = velocity_unit(universe, given.lammps_units)
    return Source(
        system,
        partial(_frame_of_universe, universe, system, reading.order, Times(), unit, thermo),
        info["ions"],
        info["potential"]["kind"],
        trajectory.unended,
    )


def _fault_density(fault: Mapping[str, Any] | None) -> DensityChange | None:
    """Change of the density until a fault, if the run contains it (not in a vacuum or in runs of earlier versions)."""
    said = (fault or {}).get("density")
    return None if said is None else DensityChange(said["start_g_cm3"], said["reached_g_cm3"], said["within_ps"])


def _charges(info: Mapping[str, Any]) -> dict[str, int]:
    """Charge of each ion of a run; for runs of earlier versions, which did not store it, from the catalogue."""
    said = info.get("charges")
    return {name: get_ion(name).charge for name in set(info["species"]) & set(CATALOGUE)} if said is None else said


def _from_universe(universe: Universe, given: Given) -> Source:
    topology, order, unknown = _topology_for(universe, given)
    unit = velocity_unit(universe, given.lammps_units)
    interval = given.frame_interval_ps or frame_interval(universe, given.lammps_units)
    n_frames = len(universe.trajectory)
    images = says_images(universe)
    system = System(topology, n_frames, interval, given.temperature_K, unknown_charges=unknown, images=images)
    if unit is None:
        system = replace(system, no_velocities=_UNKNOWN_UNIT)
    times = times_of(universe, given.frame_interval_ps, interval)
    frame = partial(_frame_of_universe, universe, system, order, times, unit, {})
    refuse_doubled([piece.n_frames for piece in getattr(universe.trajectory, "readers", [])], frame)
    return Source(system, partial(_in_order, frame, times.first_ps), _label(topology))


def _from_pieces(pieces: list[list[Atoms]], given: Given, named: str = "The trajectory") -> Source:
    found = [frame for piece in pieces for frame in piece]
    if not found:
        raise SettingsError(f"{named}: there are no frames to measure.")
    if given.lammps_units is not None:
        raise SettingsError("The units of LAMMPS (--lammps-units) are given, but the trajectory is not a LAMMPS dump.")
    given.made_of.put_in_cell(found, named)
    topology, order, unknown = given.reading or given.made_of.reading_of(found[0])
    periodic = bool(found[0].pbc.any())
    interval, times = times_of_list(found, given.frame_interval_ps, named)
    system = System(topology, len(found), interval, given.temperature_K, periodic=periodic, unknown_charges=unknown)
    frame = partial(_frame_of_list, found, system, order, times)
    refuse_doubled([len(piece) for piece in pieces], frame)
    return Source(system, partial(_in_order, frame, times[0]), _label(topology))


def _frame_of_list(
    found: list[Atoms], system: System, order: np.ndarray | None, times: Sequence[float | None], index: int
) -> Snapshot:
    frame = found[index]
    if order is not None and len(frame) == len(order):
        frame = frame[order]
    check_elements(frame.get_chemical_symbols(), system.topology, f"frame {index}")
    cell = frame.cell.array if frame.pbc.all() else None
    return _snapshot(system, index, frame.positions, cell, recorded_ps=times[index])


def _topology_for(universe: Universe, given: Given, charges: Mapping[str, int] | None = None) -> Reading:
    if given.reading is None and given.made_of.ions:
        return given.made_of.reading_of_universe(universe)
    if given.reading is None:
        return topology_of_universe(universe, charges, given.made_of.own)
    elements = getattr(universe.atoms, "elements", None)
    check_elements(elements, given.reading.topology, "the trajectory", len(universe.atoms))
    return given.reading


def _frame_of_universe(
    universe: Universe,
    system: System,
    order: np.ndarray | None,
    times: Times,
    unit: float | None,
    thermo: dict[str, np.ndarray],
    index: int,
) -> Snapshot:
    """One frame; atoms are reordered if molecules are not listed one after the other."""
    with quietly():
        frame = read_frame(universe, index, len(universe.atoms))
        recorded_ps = times.of(frame)
    return _snapshot(
        system,
        index,
        frame.positions if order is None else frame.positions[order],
        None if frame.dimensions is None else frame.triclinic_dimensions,
        velocities=velocities_of(frame, order, unit),
        recorded_ps=recorded_ps,
        **{name: float(thermo[name][index]) for name in _OF_SNAPSHOTS if name in thermo},
    )


def _snapshot(
    system: System,
    index: int,
    positions: np.ndarray,
    cell: np.ndarray | None,
    temperature_K: float | None = None,
    potential_energy_eV: float | None = None,
    drude_temperature_K: float | None = None,
    velocities: np.ndarray | None = None,
    recorded_ps: float | None = None,
) -> Snapshot:
    """One frame after checks: the cell has a volume, positions are finite, and bonds have reasonable lengths."""
    if not system.periodic:
        cell = np.zeros((3, 3))
    elif cell is None:
        raise _no_cell(index)
    if not np.isfinite(positions).all():
        raise Unphysical(
            f"Frame {index}: positions are not finite numbers. "
            + ("Measure the frames before it (--stop)." if index else "Give a trajectory of a run that held together.")
        )
    snapshot = Snapshot(
        system,
        index,
        index * system.frame_interval_ps,
        positions,
        cell,
        temperature_K,
        potential_energy_eV,
        drude_temperature_K,
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
        f"Frame {index} has no periodic cell. Give a trajectory that contains it (xtc, trr, dcd, extended XYZ), "
        "give it with --cell, or set it: universe.trajectory.add_transformations("
        "MDAnalysis.transformations.boxdimensions.set_dimensions([a, b, c, alpha, beta, gamma]))."
    )


def _check_bonds(first: Snapshot) -> None:
    """Check that the first frame fits the topology: its unit of length, its atoms, and all bonds."""
    from ilforge.liquid.connectivity import missing_bonds, other_unit, topology_mismatch

    given = first.positions, first.cell, first.system.topology
    if found := other_unit(*given):
        raise SettingsError(f"In the first frame {found}. Give a trajectory with positions and cells in Å.")
    if found := topology_mismatch(*given):
        raise SettingsError(
            f"The topology does not fit the trajectory: in the first frame {found}. Give the topology this trajectory "
            "was made with, atoms in the same order."
        )
    if found := missing_bonds(*given):
        raise SettingsError(
            f"The topology lacks bonds: in the first frame {found}. Give a topology with all bonds (a PDB file: "
            "CONECT records for every atom)."
        )


def _in_order(frame: Callable[[int], Snapshot], first_ps: float | None, index: int) -> Snapshot:
    """One frame; the order of atoms is checked only in some frames, because it takes time."""
    snapshot = frame(index)
    refuse_begun_again(snapshot, first_ps, frame)
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


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _label(topology: Topology) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(topology.species).items())

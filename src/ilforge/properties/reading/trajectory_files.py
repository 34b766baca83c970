"""Open trajectory files of other programs: their format, the time between frames, and velocities."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.reading.frame_times import mean_interval, time_scale
from ilforge.properties.reading.unreadable import first_line, unreadable

if TYPE_CHECKING:
    from ase import Atoms
    from MDAnalysis import Universe

LAMMPS_VELOCITIES = {"real": 1000.0, "metal": 1.0}
"""Unit of velocity in unit styles of LAMMPS, Å/ps."""
LAMMPS_TIMES = {"real": 1e-3, "metal": 1.0}
"""Unit of time in unit styles of LAMMPS, ps."""
_DUMP_SUFFIXES = (".lammpstrj", ".lammpsdump", ".dump")
DUMP = "ILFORGE_DUMP"
"""Name of ilforge's reader of LAMMPS dumps in MDAnalysis."""
WHOLE_XTC, WHOLE_TRR = "ILFORGE_XTC", "ILFORGE_TRR"
"""Names of ilforge's readers of XTC and TRR in MDAnalysis."""
_WHOLE = {".xtc": WHOLE_XTC, ".trr": WHOLE_TRR}
UNWRAPPED = "unwrapped"
"""Key in the data of a frame of this reader: whether positions are unwrapped."""
SAID_TIME = "said_time"
"""Key in the data of a frame of this reader: its time in the unit of the run (``ITEM: TIME``), or None."""
_DUMPS = ("LAMMPSDUMP", DUMP)
_DATA = "DATA"  # MDAnalysis's name of the format
_ATOM_STYLES = {
    "atomic": "id type x y z",
    "charge": "id type charge x y z",
    "dipole": "id type charge x y z",
    "bond": "id resid type x y z",
    "angle": "id resid type x y z",
    "molecular": "id resid type x y z",
    "full": "id resid type charge x y z",
}
"""Columns of atoms in a LAMMPS data file, by the style in its line ``Atoms # style`` (LAMMPS manual, read_data)."""
XYZ = (".xyz", ".extxyz", ".exyz")
"""Suffixes of extended XYZ files."""
_FRAMES_ONLY = (".xtc", ".trr", ".dcd", ".nc", ".ncdf", ".h5md")
_HEAD_LINES = 50  # of a LAMMPS data file; they contain its counts and its box


class Times(NamedTuple):
    """The times in the frames of a trajectory.

    Attributes
    ----------
    scale
        Factor from their unit to ps; None if the files have no times.
    by_step
        Whether the times are numbers of steps, as in a LAMMPS dump.
    first_ps
        Time of the first frame, ps, or None.
    """

    scale: float | None = None
    by_step: bool = False
    first_ps: float | None = None

    def of(self, frame: Any) -> float | None:
        """Time of a frame of MDAnalysis, ps, with the spacing of the file; None if the file has no times."""
        return None if self.scale is None else self.scale * _time(frame, self.by_step)


def check_paths(paths: Sequence[Path]) -> None:
    """Refuse missing files, files that are given twice (by any names), and directories together with other paths."""
    known: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise SettingsError(f"There is no file or directory {path}.")
        before = known.setdefault(path.resolve(), path)
        if before is not path:
            other = "" if str(before) == str(path) else f", as {before} before"
            raise SettingsError(f"{path} is given twice{other}: its frames would count twice. Give it once.")
        if path.is_dir() and len(paths) > 1:
            raise SettingsError(
                f"{path} is a directory: give it alone, or a topology and trajectory files (of a run of ilforge "
                f"{path / 'topology.pdb'} and {path / 'trajectory.dcd'}), or with --replicas the directories of "
                "independent runs of one system."
            )


def is_extended_xyz(path: Path) -> bool:
    """Whether a file is extended XYZ by its suffix or content; ASE must then read it."""
    if path.suffix.lower() not in XYZ:
        return False
    with path.open(errors="replace") as file:
        file.readline()
        comment = file.readline()
    return path.suffix.lower() != ".xyz" or "Lattice=" in comment or "Properties=" in comment


def read_pieces(paths: Sequence[Path], plain: bool = False) -> list[list[Atoms]]:
    """The frames of each piece of a run in extended XYZ (or, if ``plain``, also in plain XYZ)."""
    from ilforge import frames

    other = next((path for path in paths if not (is_extended_xyz(path) or (plain and path.suffix in XYZ))), None)
    if other is not None:
        raise SettingsError(
            f"{other} is not extended XYZ, unlike the other pieces of the run: give all in one format, and a topology "
            "before them."
        )
    return [frames.read(path) for path in paths]


def open_universe(paths: Sequence[Path]) -> Universe:
    """Open a topology and its trajectory files with MDAnalysis.

    MDAnalysis must not guess elements from names of atoms such as C1 and CA, or masses from these elements.
    """
    import MDAnalysis

    import ilforge.properties.reading.dump_reader  # registers the format with MDAnalysis
    import ilforge.properties.reading.xdr_reader  # noqa: F401 - as above

    for path in paths:
        if path.stat().st_size == 0:
            raise SettingsError(f"{path} is an empty file: give the one that the run wrote.")
    _refuse_as_topology(paths[0])
    topology: dict[str, Any] = {"to_guess": ()}
    if _is_lammps_data(paths[0]):
        topology |= {"topology_format": _DATA} | _atom_style(paths[0])
    formats = [DUMP if _is_dump(path) else _WHOLE.get(path.suffix.lower()) for path in paths[1:]]
    files = list(zip(map(str, paths[1:]), formats, strict=True))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing data are reported below
            if len(files) == 1:
                universe = MDAnalysis.Universe(str(paths[0]), files[0][0], format=files[0][1], **topology)
            else:
                universe = MDAnalysis.Universe(str(paths[0]), *([files] if files else []), **topology)
    except Exception as error:
        raise unreadable(paths, formats, topology, error) from None
    return universe


def _refuse_as_topology(path: Path) -> None:
    """Refuse a file given as topology that contains only frames, or that needs a preprocessor."""
    head = _head(path)
    if path.suffix.lower() in _FRAMES_ONLY or head[0].startswith("ITEM: "):
        raise SettingsError(
            f"{path} is a trajectory, without bonds: the topology comes first, then the trajectory files that belong "
            "to it (ilforge analyse TOPOLOGY TRAJECTORY...)."
        )
    if path.suffix.lower() == ".top" and not any(line.startswith("%VERSION") for line in head):
        raise SettingsError(
            f"{path} is a text topology of GROMACS, which only gmx grompp can read, with its force field: give the "
            "tpr file of the run."
        )


def _is_lammps_data(path: Path) -> bool:
    """Whether a file is a data file of LAMMPS, with any name: data.lmp, system.lammps."""
    head = _head(path)
    counted = any(line.split()[1:2] == ["atoms"] for line in head)
    return counted and any(line.split()[2:4] == ["xlo", "xhi"] for line in head)


def _atom_style(path: Path) -> dict[str, str]:
    """Columns of atoms in a data file, if it names its style; MDAnalysis otherwise assumes the style full."""
    with path.open(errors="replace") as file:
        said = next((line.split("#")[-1].split()[:1] for line in file if line.split()[:2] == ["Atoms", "#"]), [])
    return {"atom_style": _ATOM_STYLES[said[0]]} if said and said[0] in _ATOM_STYLES else {}


def _head(path: Path) -> list[str]:
    """The first lines of a file, if it is text."""
    with path.open("rb") as file:
        return [file.readline(200).decode(errors="replace").strip() for _ in range(_HEAD_LINES)]


def read_frame(universe: Universe, index: int, n_atoms: int) -> Any:
    """One MDAnalysis frame, after a check that it has positions of all atoms."""
    try:
        frame = universe.trajectory[index]
    except Exception as error:
        raise SettingsError(
            f"Frame {index} of the trajectory cannot be read ({first_line(error)}): it is cut short, or has "
            f"another number of atoms than the topology's {n_atoms}."
        ) from error
    if frame.n_atoms != n_atoms:
        raise SettingsError(
            f"Frame {index} has {frame.n_atoms} atoms, the topology {n_atoms}: give the topology "
            "this trajectory was made with."
        )
    if not getattr(frame, "has_positions", True):
        raise SettingsError(
            f"Frame {index} contains no positions: write them as often as velocities (GROMACS: nstvout = nstxout), or "
            "use a file with positions only (the xtc file of the run)."
        )
    return frame


@contextmanager
def quietly() -> Iterator[None]:
    """Suppress warnings of MDAnalysis, such as the one that it assumes 1 ps between frames; ilforge raises errors."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="MDAnalysis")
        warnings.filterwarnings("ignore", message="Reader has no dt information")  # raised when a reader is pickled
        yield


def times_of(universe: Universe, given_ps: float | None, interval_ps: float) -> Times:
    """The times in the frames of a trajectory.

    Parameters
    ----------
    given_ps
        Time between frames from the user, ps; the files then only determine whether times are evenly spaced.
    interval_ps
        Time between frames, ps, from the user or the files.
    """
    readers = _readers(universe)
    if len(universe.trajectory) < 2 or any(_has_no_times(reader) for reader in readers):
        return Times()
    by_step = all(getattr(reader, "format", None) in _DUMPS for reader in readers)
    interval = interval_ps if by_step else given_ps
    with quietly():
        second, first = (_time(universe.trajectory[index], by_step) for index in (1, 0))  # the first stays read
    scale = 1.0 if interval is None else time_scale(first, second, interval)
    return Times(scale, by_step, None if scale is None else scale * first)


def times_of_list(found: Sequence[Atoms], interval_ps: float | None, named: str) -> tuple[float, list[float | None]]:
    """Time between frames in extended XYZ, and the time of each frame (``time=``), both in ps.

    There is no convention for the unit of ``time=``, so it is only used to check that frames are evenly spaced.

    Parameters
    ----------
    interval_ps
        Time between frames, ps.
    named
        Name of the source, for messages.
    """
    if interval_ps is None and len(found) > 1:
        raise SettingsError(
            f"{named}: extended XYZ does not contain the time between its {len(found)} frames, nor the unit of "
            "time=. Give the time between frames (--frame-interval, in ps)."
        )
    interval = interval_ps or 1.0
    said: list[Any] = [_said_time(frame.info) for frame in found]
    scale = None
    if len(found) > 1 and all(isinstance(time, int | float | np.number) for time in said):
        scale = time_scale(said[0], said[1], interval)
    return interval, [None if scale is None else scale * float(time) for time in said]


def _said_time(info: Mapping[str, Any]) -> Any:
    """Time or number of steps in a comment line (LAMMPS and GPUMD: ``Time=``, ``Timestep=``), or None."""
    said = {key.lower(): value for key, value in info.items()}
    return next((said[key] for key in ("time", "timestep", "step") if key in said), None)


def _time(frame: Any, by_step: bool) -> float:
    said = frame.data.get(SAID_TIME) if by_step else None
    return float(said if said is not None else frame.data["step"] if by_step else frame.time)


def _has_no_times(reader: Any) -> bool:
    """Whether it is a DCD file of VMD or MDTraj, whose header always has 48.9 fs and an interval of one step."""
    header = _dcd_header(reader)
    return header.get("nsavc") == 1 and abs(float(header.get("delta", 0.0)) - 1.0) < 1e-6


def frame_interval(universe: Universe, lammps_units: str | None = None) -> float:
    """Time between frames, ps; refused if the file does not contain it."""
    if len(universe.trajectory) < 2:
        return 1.0
    said = _interval_of_dump(_readers(universe)[0], lammps_units)
    if said is not None:
        return said
    doubt = _doubtful_time(_readers(universe)[0])
    if doubt:
        raise SettingsError(
            f"{_named(universe)} is a DCD file {doubt}: give the time between its frames (--frame-interval, in ps)."
        )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        interval = float(universe.trajectory[0].dt)
    if any("dt information" in str(warning.message) for warning in warned) or interval <= 0:
        raise SettingsError(
            f"{_named(universe)} does not say how much time lies between its frames: give it (--frame-interval, in ps)."
        )
    if len(_readers(universe)) > 1:  # each file may begin at zero
        return interval
    with quietly():
        last, first = (float(universe.trajectory[index].time) for index in (-1, 0))
    return mean_interval(interval, first, last, len(universe.trajectory))


def _interval_of_dump(reader: Any, lammps_units: str | None) -> float | None:
    """Mean time between frames of a LAMMPS dump, ps, if it contains times (``ITEM: TIME``) with a known unit."""
    unit = LAMMPS_TIMES.get(lammps_units or getattr(reader, "unit_style", None) or "")
    if unit is None or getattr(reader, "format", None) != DUMP or reader.n_frames < 2:
        return None
    with quietly():
        last, second, first = (reader[index].data[SAID_TIME] for index in (-1, 1, 0))  # the first stays read
    if first is None or second is None or last is None:
        return None
    return mean_interval(unit * (second - first), unit * first, unit * last, reader.n_frames)


def _doubtful_time(reader: Any) -> str | None:
    """Why the time step in the header of a DCD file is unreliable; None if CHARMM, NAMD or OpenMM wrote it."""
    remarks = str(_dcd_header(reader).get("remarks", ""))
    for program in ("LAMMPS", "CP2K"):
        if program in remarks:
            return f"of {program}, whose times are in a unit of {program} that the file does not contain"
    if _has_no_times(reader):
        return "as VMD and MDTraj write it, without the true time of its frames"
    return None


def _dcd_header(reader: Any) -> dict[str, Any]:
    """The header of a DCD file; empty for another format."""
    header = getattr(getattr(reader, "_file", None), "header", None)
    return header if isinstance(header, dict) else {}


def velocity_unit(universe: Universe, lammps_units: str | None) -> float | None:
    """Factor from the velocities in frames to Å/ps; None if it is unknown.

    MDAnalysis converts velocities to Å/ps for all formats except LAMMPS dumps.

    Parameters
    ----------
    lammps_units
        Unit style of the run, if its trajectory is a LAMMPS dump.
    """
    dumped = [getattr(reader, "format", None) in _DUMPS for reader in _readers(universe)]
    said = {getattr(reader, "unit_style", None) for reader in _readers(universe)} - {None}
    if lammps_units is not None and said - {lammps_units}:
        raise SettingsError(
            f"The units of LAMMPS are {lammps_units} (--lammps-units), but the dump has units {said.pop()}: leave the "
            "option out."
        )
    if len(said) == 1 and all(dumped):
        lammps_units = said.pop()
    if lammps_units is None:
        return None if any(dumped) else 1.0
    if lammps_units not in LAMMPS_VELOCITIES:
        raise SettingsError(
            f"units {lammps_units} (--lammps-units): positions in Å have {' and '.join(LAMMPS_VELOCITIES)} only."
        )
    if not all(dumped):
        raise SettingsError("The units of LAMMPS (--lammps-units) are given, but the trajectory is not a LAMMPS dump.")
    return LAMMPS_VELOCITIES[lammps_units]


def velocities_of(frame: Any, order: np.ndarray | None, unit: float | None) -> np.ndarray | None:
    """Velocities of a frame of MDAnalysis, ``(n_atoms, 3)`` in Å/ps; None without velocities in a known unit."""
    if unit is None or not frame.has_velocities:
        return None
    found: np.ndarray | None = unit * (frame.velocities if order is None else frame.velocities[order])
    return found


def says_images(universe: Universe) -> bool:
    """Whether positions are unwrapped: LAMMPS dumps with image flags or unwrapped coordinates."""
    with quietly():
        universe.trajectory[0]
    return all(reader.ts.data.get(UNWRAPPED, False) for reader in _readers(universe))


def _named(universe: Universe) -> str:
    """The first file of the trajectory."""
    name = getattr(_readers(universe)[0], "filename", None)
    return str(name) if isinstance(name, str | Path) else "The trajectory"


def _readers(universe: Universe) -> list[Any]:
    """The readers of all files of the trajectory."""
    return list(getattr(universe.trajectory, "readers", [universe.trajectory]))


def _is_dump(path: Path) -> bool:
    """Whether a file is a text dump of LAMMPS, with any name; a dump whose lengths are not in Å is refused."""
    with path.open("rb") as file:
        first, second = (file.readline(80).strip().decode(errors="replace") for _ in range(2))
    if first == "ITEM: UNITS" and second not in LAMMPS_TIMES:
        raise SettingsError(
            f"{path} is a LAMMPS dump in units {second}: positions in Å have {' and '.join(LAMMPS_TIMES)} only. "
            "Convert it, or write it from a run in these units."
        )
    known = ("ITEM: UNITS", "ITEM: TIME", "ITEM: TIMESTEP")
    return first in known or any(suffix in _DUMP_SUFFIXES for suffix in path.suffixes)

"""A trajectory: a directory with files that all engines write in the same form."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilforge.dynamics import dcd
from ilforge.dynamics.protocol import MdProtocol
from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from MDAnalysis import Universe

THERMO_COLUMNS = (
    "time_ps",
    "potential_energy_eV",
    "temperature_K",
    "volume_A3",
    "kinetic_energy_eV",
    "force_deviation_eV_A",
    "drude_temperature_K",
)

PRESSURE_COLUMNS = ("time_ps", "pxx_bar", "pyy_bar", "pzz_bar", "pxy_bar", "pxz_bar", "pyz_bar")

_ALWAYS_SAID = {"n_frames", "frame_interval_ps", "species", "masses", "finished", "fault"}  # in run.json


@dataclass(frozen=True)
class Trajectory:
    """A run on disk: one that has ended, or a running or stopped one up to its last checkpoint.

    ==================  ==========================================================================
    ``topology.pdb``    the start with bonds, for viewers and MDAnalysis
    ``trajectory.dcd``  recorded frames, Å: molecules whole, never wrapped back into the cell. Each
                        position is a periodic image of the real one in the cell of its frame; to
                        follow diffusion in an NPT run, unwrap by displacements instead
    ``thermo.csv``      one line for each frame with the columns :data:`THERMO_COLUMNS`. Force deviations are NaN
                        without a committee, Drude temperatures without Drude particles, volumes in a vacuum
    ``run.json``        protocol, engine and version, potential, ions in order, charge of each ion in e, time
                        step of frames, and ``fault``: null, or when and how the motion exploded
    ``pressure.csv``    if the protocol asked for it: time in ps and the pressure tensor in bar, more
                        often than frames (see :data:`PRESSURE_COLUMNS`)
    ``last.xyz``        last frame with full precision and momenta (extended XYZ); a run with ``keep_velocities``
                        can start from it
    ``broken.xyz``      only after an explosion: the first unphysical frame or, if its positions are not finite,
                        the last finite one before
    ==================  ==========================================================================
    """

    directory: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "directory", Path(self.directory))  # may be given as a string

    @property
    def topology_file(self) -> Path:
        return self.directory / "topology.pdb"

    @property
    def trajectory_file(self) -> Path:
        return self.directory / "trajectory.dcd"

    @property
    def thermo_file(self) -> Path:
        return self.directory / "thermo.csv"

    @property
    def pressure_file(self) -> Path:
        return self.directory / "pressure.csv"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.json"

    @property
    def last_file(self) -> Path:
        return self.directory / "last.xyz"

    @property
    def broken_file(self) -> Path:
        return self.directory / "broken.xyz"

    def files(self) -> tuple[Path, ...]:
        """Paths of all files except ``run.json``; they need not exist."""
        return (
            self.topology_file,
            self.trajectory_file,
            self.thermo_file,
            self.pressure_file,
            self.last_file,
            self.broken_file,
        )

    def info(self) -> dict[str, Any]:
        """Contents of ``run.json`` or, if the run has not ended, of the head of its last checkpoint.

        Raises
        ------
        SettingsError
            When the directory contains no run that has ended or reached a checkpoint, or ``run.json`` is damaged.
        """
        if self.run_file.is_file():
            return self._run()
        so_far = self._checkpoint_head()
        if so_far.get("n_frames") and not set(so_far) >= _ALWAYS_SAID:
            raise SettingsError(
                f"{self.directory / 'checkpoint'} was written by an earlier version of ilforge, whose frames cannot "
                "be read before the run has ended. Run the MD again, and it continues; or measure "
                f"{self.topology_file} and {self.trajectory_file}, with --frame-interval and --temperature."
            )
        if not so_far.get("n_frames"):
            raise SettingsError(
                f"{self.directory} contains neither a finished run (run.json) nor a checkpoint: run the same MD "
                "command again, and it continues."
            )
        return so_far

    def _run(self) -> dict[str, Any]:
        try:
            said = json.loads(self.run_file.read_text())
        except ValueError:
            said = None
        if not isinstance(said, dict) or not set(said) >= _ALWAYS_SAID:
            raise SettingsError(
                f"{self.run_file} is incomplete, not from ilforge, or from an early version: restore it, or measure "
                f"{self.topology_file} and {self.trajectory_file}, with --frame-interval and --temperature."
            )
        return said

    def _checkpoint_head(self) -> dict[str, Any]:
        """Description of the run in the checkpoint; empty if there is no checkpoint of ilforge."""
        path = self.directory / "checkpoint"
        if not path.is_file():
            return {}
        try:
            with path.open("rb") as file:
                said = json.loads(file.readline())
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _present(self, path: Path) -> Path:
        if not path.is_file():
            raise SettingsError(
                f"{path} is missing: to measure a run of ilforge, its folder must contain {self.topology_file.name}, "
                f"{self.trajectory_file.name} and {self.thermo_file.name}. Put it back, or run the MD "
                "again in another folder."
            )
        return path

    @property
    def unended(self) -> str:
        """Sentence on how much of a run is recorded, if it has not ended; otherwise empty."""
        info = self.info()
        if info["finished"] or info["fault"] is not None:
            return ""
        recorded, wanted = info["n_frames"] * info["frame_interval_ps"], info["protocol"]["length_ps"]
        return f"The run in {self.directory} has not ended: only its first {recorded:g} of {wanted:g} ps are measured."

    @property
    def fault(self) -> dict[str, Any] | None:
        """When and how the motion exploded (``message``, ``time_ps``, ``atoms``); None if it did not."""
        fault: dict[str, Any] | None = self.info()["fault"]
        return fault

    @property
    def temperature_K(self) -> float:
        """Temperature of the results of this run: the set temperature or, for NVE, the mean, K."""
        info = self.info()
        if info["protocol"]["ensemble"] == "NVE" and info["n_frames"]:
            return float(np.mean(self.thermo()["temperature_K"]))
        return float(info["protocol"]["temperature_K"])

    def thermo(self) -> dict[str, np.ndarray]:
        """The columns of ``thermo.csv``, each ``(n_frames,)``.

        Raises
        ------
        SettingsError
            When the file is missing, or lines or numbers are missing in it.
        """
        n_frames = self.info()["n_frames"]
        with self._present(self.thermo_file).open() as file:
            names = file.readline().strip().split(",")
            rows = [line.split(",") for line in islice(file, n_frames)]
        try:
            table = np.array(rows, dtype=float).reshape(n_frames, len(names))
        except ValueError as error:
            raise SettingsError(
                f"{self.thermo_file} has {len(rows)} lines of numbers for {n_frames} frames, or lines with fewer "
                f"than {len(names)} columns: it was cut or changed. Restore the original file, or measure "
                f"{self.topology_file} and {self.trajectory_file}, with --frame-interval and --temperature."
            ) from error
        return dict(zip(names, table.T, strict=True))

    def universe(self) -> Universe:
        """The run as MDAnalysis universe: bonds, elements, masses, complete ion names as residue names, times in ps.

        If the run exploded before its first frame, it contains the start alone.
        """
        import MDAnalysis

        info = self.info()
        files = [str(self._present(self.topology_file))]
        times: dict[str, float] = {}
        if info["n_frames"]:
            files.append(str(self._present(self.trajectory_file)))
            times = {"dt": info["frame_interval_ps"]}  # from the header of the file, the first frame is at one interval
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about optional fields that this PDB file does not have
            universe = MDAnalysis.Universe(*files, to_guess=(), **times)
        universe.add_TopologyAttr("masses", info["masses"])
        universe.add_TopologyAttr("types", universe.atoms.elements)
        universe.residues.resnames = info["species"]
        return universe


def frames_recorded(directory: Path) -> tuple[int, int]:
    """Frames that a run in this directory has recorded, and all that it is to record; 0 where that is not known."""
    trajectory = Trajectory(directory)
    try:
        said = trajectory._run() if trajectory.run_file.is_file() else trajectory._checkpoint_head()
        total = MdProtocol(**said["protocol"]).n_frames
        done = dcd.count(trajectory.trajectory_file, len(said["masses"]), said["periodic"])
    except (OSError, KeyError, TypeError, SettingsError):
        return 0, 0
    return min(done, total), total


def load(trajectory: Trajectory | Path) -> Universe:
    """The MDAnalysis Universe of a trajectory, or of the directory it is in."""
    return (trajectory if isinstance(trajectory, Trajectory) else Trajectory(Path(trajectory))).universe()

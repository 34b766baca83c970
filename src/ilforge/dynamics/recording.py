"""Recording: write the frames of a run, and the checkpoint from which a killed run continues.

Frames are appended to ``trajectory.dcd`` and ``thermo.csv``. The file ``checkpoint`` is always replaced as a whole and
contains the number of frames up to it; later frames of a killed run are cut off. It is written before all other files,
so files without a ``checkpoint`` or ``run.json`` do not belong to a run of ilforge. ``run.json`` is written last; until
then the head of the checkpoint has the same contents.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from ase import Atoms

from ilforge import files, frames
from ilforge.canonical import spaced_digest
from ilforge.dynamics import dcd
from ilforge.dynamics.motion import Exploded, Sample, State, density, volume_of
from ilforge.dynamics.simulation import Job
from ilforge.dynamics.trajectory import THERMO_COLUMNS, Trajectory
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.units import ASE_TIME_IN_FS


class Recorder:
    """The files of one run, open for writing.

    Parameters
    ----------
    job
        The run; its directory is made if it does not exist.
    about
        Everything that determines the results of the run, as JSON values. A directory with a run of other values is
        refused.

    Attributes
    ----------
    closed
        Whether the run had already ended; then there is nothing to do.
    n_frames
        Frames recorded so far, including those of an earlier, killed run.
    state
        State of the engine at the last checkpoint; None at the start.
    """

    def __init__(self, job: Job, about: Mapping[str, Any]):
        self._job, self._about = job, dict(about)
        self._trajectory = Trajectory(job.folder)
        self._checkpoint_file = job.folder / "checkpoint"
        self._fingerprint = spaced_digest(self._about)
        self._began = time.monotonic()
        self.n_frames, self._earlier_s = 0, 0.0
        self.state: bytes | None = None
        self._last: Sample | None = None
        job.folder.mkdir(parents=True, exist_ok=True)
        self.closed = self._trajectory.run_file.is_file()
        if self.closed:
            info = _json_object(self._trajectory.run_file.read_text(errors="replace"))
            if "fingerprint" not in info:
                raise self._foreign([self._trajectory.run_file])
            self._refuse_other(info["fingerprint"], info)
            return
        self._open()

    def _refuse_other(self, fingerprint: str, ended: Mapping[str, Any] | None = None) -> None:
        if fingerprint == self._fingerprint:
            return
        found = (
            f"{self._job.folder} contains a run with another start, potential, engine or protocol, which cannot be "
            "continued with these: name another folder."
        )
        if ended is not None and ended.get("finished") and _same_but_length(ended, self._about):
            found += (
                f" That run ended after {ended['protocol']['length_ps']:g} ps. To continue it, start from "
                f"{self._trajectory.last_file} with its velocities (--keep-velocities) and without equilibration, "
                "in another directory; `ilforge analyse` takes both trajectories as pieces of one run."
            )
        raise SettingsError(found)

    def _open(self) -> None:
        """Start the files, or cut them back to the last checkpoint."""
        job, n_atoms = self._job, self._job.topology.n_atoms
        if self._checkpoint_file.is_file():
            self._read_checkpoint()
        else:
            self._begin()
        if self.state is not None:
            if dcd.count(self._trajectory.trajectory_file, n_atoms, job.periodic) < self.n_frames:
                raise self._damaged(self._trajectory.trajectory_file)
            dcd.cut(self._trajectory.trajectory_file, n_atoms, self.n_frames, job.periodic)
            lines = self._trajectory.thermo_file.read_text().splitlines(keepends=True)
            files.write_bytes(self._trajectory.thermo_file, "".join(lines[: 1 + self.n_frames]).encode())
        else:
            start = dcd.header(n_atoms, job.protocol.interval_steps, job.protocol.timestep_fs, job.periodic)
            files.write_bytes(self._trajectory.trajectory_file, start)
            files.write_bytes(self._trajectory.thermo_file, (",".join(THERMO_COLUMNS) + "\n").encode())
            pdb = pdb_text(job.topology, job.start_positions, job.cell)
            files.write_bytes(self._trajectory.topology_file, pdb.encode())
        self._dcd: BinaryIO = open(self._trajectory.trajectory_file, "r+b")  # noqa: SIM115  # closed in close()
        self._dcd.seek(0, os.SEEK_END)
        self._thermo: TextIO = open(self._trajectory.thermo_file, "a")  # noqa: SIM115

    def _begin(self) -> None:
        """Claim the directory, unless it contains other files that this run would replace."""
        found = [path for path in self._trajectory.files() if path.exists()]
        if found:
            raise self._foreign(found)
        self._write_checkpoint(b"")

    def _foreign(self, found: list[Path]) -> SettingsError:
        names = ", ".join(path.name for path in found)
        return SettingsError(
            f"{self._job.folder} holds {names}, which do not belong to a run of ilforge. MD would replace "
            "them: give another directory."
        )

    def append(self, sample: Sample) -> None:
        """Append one frame."""
        self.n_frames += 1
        self._last = sample
        time_ps = self.n_frames * self._job.protocol.frame_interval_ps
        row = (
            time_ps,
            sample.potential_energy,
            sample.temperature,
            sample.volume,
            sample.kinetic_energy,
            np.nan if sample.force_deviation is None else sample.force_deviation,
            np.nan if sample.drude_temperature is None else sample.drude_temperature,
        )
        self._dcd.write(dcd.frame(sample.positions, sample.cell))
        self._thermo.write(",".join(f"{value:.10g}" for value in row) + "\n")

    def save(self, state: bytes) -> None:
        """Write a checkpoint, from which the run continues if it is killed."""
        self._sync()
        self._write_last()
        self._write_checkpoint(state)

    def _write_checkpoint(self, state: bytes) -> None:
        head = {**self._said(None), "sha256": hashlib.sha256(state).hexdigest()}
        files.write_bytes(self._checkpoint_file, json.dumps(head).encode() + b"\n" + state)

    def _read_checkpoint(self) -> None:
        head, _, state = self._checkpoint_file.read_bytes().partition(b"\n")
        said = _json_object(head.decode(errors="replace"))
        if "fingerprint" not in said:
            raise self._foreign([self._checkpoint_file])
        if not state:  # a run without a first checkpoint starts again
            self._write_checkpoint(b"")
            return
        self._refuse_other(said["fingerprint"])
        if hashlib.sha256(state).hexdigest() != said["sha256"]:
            raise self._damaged(self._checkpoint_file)
        self.n_frames, self.state, self._earlier_s = said["n_frames"], state, said["wall_s"]

    def _damaged(self, path: Path) -> SettingsError:
        return SettingsError(
            f"{path} is damaged or missing: the run cannot continue. Run it again in another directory."
        )

    def close(self, fault: Exploded | None, engine: Mapping[str, Any]) -> Trajectory:
        """Write that the run has ended, and how."""
        self._sync()
        self._dcd.close()
        self._thermo.close()
        self._write_last()
        if fault is not None and fault.broken is not None:
            self._write_broken(fault, fault.broken)
        info = {**self._said(fault), "finished": fault is None, "engine": dict(engine)}
        files.write_bytes(self._trajectory.run_file, (json.dumps(info, indent=1) + "\n").encode())
        self._checkpoint_file.unlink(missing_ok=True)
        return self._trajectory

    def _said(self, fault: Exploded | None) -> dict[str, Any]:
        """Description of the run so far: everything needed to read its frames, and how they were made."""
        topology = self._job.topology
        return {
            **self._about,
            "fingerprint": self._fingerprint,
            "finished": False,
            "fault": None if fault is None else _as_json(fault, self._job),
            "n_frames": self.n_frames,
            "frame_interval_ps": self._job.protocol.frame_interval_ps,
            "periodic": self._job.periodic,
            "species": list(topology.species),
            "charges": dict(zip(topology.species, topology.charges, strict=True)),
            "masses": [float(mass) for mass in topology.masses],
            "start_density_g_cm3": self._job.start_density,
            "unrecorded_ps": self._job.unrecorded_ps,
            "wall_s": round(self._wall_s(), 3),
        }

    def _wall_s(self) -> float:
        return self._earlier_s + time.monotonic() - self._began

    def _sync(self) -> None:
        dcd.set_n_frames(self._dcd, self.n_frames)
        for file in (self._dcd, self._thermo):
            file.flush()
            os.fsync(file.fileno())

    def _write_last(self) -> None:
        """Write ``last.xyz``: the last frame, or the start if there is no frame yet."""
        last, job = self._last, self._job
        if last is None and self._trajectory.last_file.is_file():
            return  # a continued run has not recorded a new frame yet
        if last is None:
            frames.write(self._trajectory.last_file, [self._frame(job.start_positions, job.cell, None)])
        else:
            frames.write(self._trajectory.last_file, [self._frame(last.positions, last.cell, last.velocities)])

    def _write_broken(self, fault: Exploded, broken: State) -> None:
        """Write ``broken.xyz``: the unphysical frame, for inspection."""
        finite = np.isfinite(broken.velocities).all()
        velocities = broken.velocities if finite else None
        frame = self._frame(broken.positions, broken.cell, velocities)
        frame.info["fault"] = str(fault)
        frames.write(self._trajectory.broken_file, [frame])

    def _frame(self, positions: np.ndarray, cell: np.ndarray, velocities: np.ndarray | None) -> Atoms:
        job = self._job
        info = {key: job.atoms.info[key] for key in ("ions", "kind", "parent") if key in job.atoms.info}
        atoms = Atoms(job.topology.symbols, positions, cell=cell, pbc=job.periodic, info=info)
        if velocities is not None:
            atoms.set_velocities(velocities * ASE_TIME_IN_FS)
        return atoms


def begun_by(directory: Path) -> str | None:
    """Engine of the run in a directory, ended or not; None if there is no run."""
    for name in ("run.json", "checkpoint"):
        path = directory / name
        if path.is_file():
            head = path.read_bytes() if name == "run.json" else path.read_bytes().partition(b"\n")[0]
            return _json_object(head.decode(errors="replace")).get("run_by")
    return None


def pdb_text(topology: Topology, positions: np.ndarray, cell: np.ndarray) -> str:
    """A PDB file with bonds and the cell (no cell if it is zeros).

    Residue names have four letters: longer names of ions are cut here, but complete in ``run.json``.
    """
    lines = []
    if np.any(cell):
        sides = "".join(f"{side:9.3f}" for side in np.diag(cell))
        lines.append(f"CRYST1{sides}  90.00  90.00  90.00 P 1           1")
    for index, (x, y, z) in enumerate(positions):
        molecule, symbol, name = topology.molecules[index], topology.symbols[index], topology.names[index]
        column = f"{name:<4}" if len(name) == 4 or len(symbol) == 2 else f" {name:<3}"
        lines.append(
            f"HETATM{(index + 1) % 100000:5d} {column} {topology.species[molecule][:4]:<4}A{(molecule + 1) % 10000:4d}"
            f"    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {symbol:>2}"
        )
    if topology.n_atoms < 100000:  # the format has five digits for the number of an atom
        lines += _pdb_bonds(topology)
    return "\n".join([*lines, "END", ""])


def _pdb_bonds(topology: Topology) -> list[str]:
    neighbours: dict[int, list[int]] = {}
    for i, j in topology.bonds.tolist():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    lines = []
    for atom in sorted(neighbours):
        bonded = sorted(neighbours[atom])
        for first in range(0, len(bonded), 4):  # four to a line
            partners = "".join(f"{other + 1:5d}" for other in bonded[first : first + 4])
            lines.append(f"CONECT{atom + 1:5d}{partners}")
    return lines


def _same_but_length(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two runs, as described in ``run.json``, differ only in their length."""
    wanted = {**other, "protocol": {**other.get("protocol", {}), "length_ps": one.get("protocol", {}).get("length_ps")}}
    same: bool = json.loads(json.dumps(wanted)) == {key: one.get(key) for key in other}
    return same


def _json_object(text: str) -> dict[str, Any]:
    """Parse a text as a JSON object; empty if it is not one."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _as_json(fault: Exploded, job: Job) -> dict[str, Any]:
    """A fault for ``run.json``, with the change of density since the start (equilibration included)."""
    said: dict[str, Any] = {
        "message": str(fault),
        "what": fault.what,
        "time_ps": fault.time_ps,
        "atoms": list(fault.atoms),
        **({"cause": fault.cause} if fault.cause else {}),
    }
    if fault.broken is None or not job.periodic or not np.isfinite(fault.broken.cell).all():
        return said
    said["density"] = {
        "start_g_cm3": job.start_density,
        "reached_g_cm3": density(job.mass, volume_of(fault.broken.cell)),
        "within_ps": job.unrecorded_ps + (fault.time_ps or 0.0),
    }
    return said

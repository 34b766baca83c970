"""Short runs of MD for tests, also in processes that are killed."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ase import Atoms

from ilforge import potentials
from ilforge.dynamics import MdProtocol, Trajectory, run_md
from ilforge.dynamics.motion import Sample
from ilforge.dynamics.recording import Recorder
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.liquid.vacuum import in_vacuum
from ilforge.sampling.equilibrated import sample_equilibrated
from support.patience import PATIENCE_S

CLP = {"kind": "clp", "cutoff_A": 4.0}
WIDE_CLP = {"kind": "clp", "cutoff_A": 4.6}
CLPOL = {"kind": "clpol", "cutoff_A": 4.0}


def deepmd(path: Path) -> dict[str, Any]:
    """What makes a potential of a DeePMD model file."""
    return {"kind": "deepmd", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def mace(path: Path) -> dict[str, Any]:
    """What makes a potential of a MACE model file."""
    return {**deepmd(path), "kind": "mace"}


@functools.cache
def liquid() -> Liquid:
    """Two pairs of PYR14 and BF4: 70 atoms."""
    return Liquid.of({"PYR14": 2, "BF4": 2})


@functools.cache
def _packed(density_g_cm3: float) -> Atoms:
    return pack(liquid(), density_g_cm3, seed=1)


def packed_box(density_g_cm3: float = 1.03) -> Atoms:
    """A packed box of it."""
    box = _packed(density_g_cm3).copy()
    box.info.update(ions=liquid().label, seed=1, parent="box-1")
    return box


@functools.cache
def _warm(density_g_cm3: float) -> Atoms:
    state = {"temperature_K": 423.0, "timestep_fs": 1.0, "equilibration_ps": 0.5, "interval_ps": 0.1}
    packed = packed_box(density_g_cm3)
    return sample_equilibrated(packed, liquid(), potentials.create(CLP), **state, n_frames=1, seed=1)[0]


def warm_box(density_g_cm3: float = 1.03) -> Atoms:
    """The packed box after half a picosecond at 423 K."""
    return _warm(density_g_cm3).copy()


@functools.cache
def _lone_ion() -> Atoms:
    ions = Liquid.of({"PYR14": 1}, vacuum=True)
    state = {"temperature_K": 423.0, "timestep_fs": 1.0, "equilibration_ps": 2.0, "interval_ps": 0.1}
    return sample_equilibrated(in_vacuum(ions, 1), ions, potentials.create(CLP), **state, n_frames=1, seed=1)[0]


def lone_ion() -> Atoms:
    """One PYR14 in a vacuum after two picoseconds at 423 K: 30 atoms."""
    return _lone_ion().copy()


def short(**changes: Any) -> MdProtocol:
    """A protocol of 20 frames, a checkpoint every ten."""
    usual: dict[str, Any] = {
        "ensemble": "NVT",
        "temperature_K": 423.0,
        "timestep_fs": 0.5,
        "length_ps": 0.1,
        "interval_ps": 0.005,
        "equilibration_ps": 0.05,
        "seed": 3,
        "checkpoint_steps": 100,
    }
    return MdProtocol(**{**usual, **changes})


def run(
    spec: dict[str, Any], engine: str, start: Atoms, protocol: MdProtocol, directory: Path, threads: int = 1
) -> Trajectory:
    """Run MD of the ions that the start says it holds."""
    liquid = Liquid.of_frame(start)
    return run_md(potentials.create(spec), start, liquid, protocol, directory, threads=threads, engine=engine)


def run_and_be_killed(
    spec: dict[str, Any], engine: str, start: Atoms, protocol: MdProtocol, directory: Path, at_frame: int
) -> None:
    """Run MD in another process that is killed with SIGKILL between its checkpoint with ``at_frame`` frames and the
    next."""
    process = multiprocessing.get_context("spawn").Process(
        target=_run_until_killed, args=(spec, engine, start, protocol, directory, at_frame)
    )
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL


def processes_in(directory: Path) -> list[int]:
    """Processes whose working directory is inside ``directory``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            inside = Path(os.readlink(entry)).is_relative_to(directory)
        except OSError:
            continue  # ended, or not ours
        if inside:
            found.append(int(entry.parent.name))
    return found


def _run_until_killed(
    spec: dict[str, Any], engine: str, start: Atoms, protocol: MdProtocol, directory: Path, at_frame: int
) -> None:
    there, save, append = threading.Event(), Recorder.save, Recorder.append

    def watch() -> None:
        there.wait()
        time.sleep(0.002)  # into the segment that comes after it, which takes 20 ms in a vacuum
        os.kill(os.getpid(), signal.SIGKILL)

    def save_and_tell(recorder: Recorder, state: bytes) -> None:
        save(recorder, state)
        if recorder.n_frames == at_frame:
            there.set()

    def append_some(recorder: Recorder, sample: Sample) -> None:
        if there.is_set() and recorder.n_frames == at_frame + 5:
            threading.Event().wait()  # the kill comes now at the latest, however slow the thread is that sends it
        append(recorder, sample)

    threading.Thread(target=watch, daemon=True).start()
    with patch.object(Recorder, "save", save_and_tell), patch.object(Recorder, "append", append_some):
        run(spec, engine, start, protocol, directory)

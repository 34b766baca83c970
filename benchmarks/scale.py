"""A study of the size of a published one: how long `check`, `status` and labelling take beside the labels themselves.

Run ``python benchmarks/scale.py FOLDER [--frames N]``; the default is 30,812 frames of 350 atoms. The frames are those
of one packed box, displaced at random, and are put in the place of the sampled ones; their labels are random numbers
under the name of the study's method. What is measured is what ilforge itself does: none of the labels is computed. The
folder (some 3 GB) can be used again, and is not deleted.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.console import Console

from ilforge import frames
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.packing import pack
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.executors import Executors
from ilforge.workflow.job import Job
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.structures import liquid_of
from ilforge.workflow.store import ResultStore

STUDY = """
name = "scale"
[liquid]
ions = {{ PYR14 = 10, BF4 = 10 }}
density_g_cm3 = 1.05
[potentials.clp]
cutoff_A = 6.0
[sampling]
potential = "clp"
training = {{ eq_boxes = 0, eq_frames_per_box = 0, packed = {frames}, hot_boxes = 0, hot_frames_per_box = 0 }}
validation = {{ eq_boxes = 0, eq_frames_per_box = 0, packed = 1, hot_boxes = 0, hot_frames_per_box = 0 }}
[reference]
potential = "gfn1"
[models.mace]
[learning]
iterations = 0
"""
BATCH = 1000


def run(stage: Stage, store: ResultStore) -> None:
    """Make one stage, and those that it needs."""
    machine = Machine(store=str(store.root))
    with Executors.of_machine(machine) as executors:
        outcome = run_stages([stage], store, executors, Watch(Console(file=io.StringIO()), store))
    assert outcome.complete, outcome.failed


def fill(folder: Path, count: int) -> None:
    """Put frames and labels into the store, unless an earlier run did."""
    study = load_study(folder / "study.toml")
    labels = make_plan(study).labels["training"]
    source, store = labels.inputs["frames"], ResultStore(folder / "store")
    store.prepare()
    if store.holds(source):
        return
    box = pack(liquid_of(study), 1.05, seed=1)
    method = labels.settings["reference"]
    rng = np.random.default_rng(2)

    def write_frames_and_labels(job: Job) -> None:
        part = folder / "part.xyz"
        with LabelStore(store.labels) as held, open(job.directory / FRAMES, "w") as file:
            held.remember(method)
            for first in range(0, count, BATCH):
                frames.write(part, [displaced(box, number, rng) for number in range(first, min(first + BATCH, count))])
                file.write(part.read_text())
                for frame in frames.read(part):
                    forces = rng.normal(size=(len(frame), 3))
                    forces -= forces.mean(axis=0)  # or the gate refuses them for their net force
                    held.add(Label(frame, method, -1e3, forces, None, converged=True, cost_s=1.0))
                print(f"  filled {min(first + BATCH, count):,}", flush=True)
        part.unlink()

    run(replace(source, work=write_frames_and_labels), store)


def displaced(box: Atoms, number: int, rng: np.random.Generator) -> Atoms:
    """A copy of a box whose atoms are moved at random."""
    frame = box.copy()
    frame.positions += rng.normal(scale=0.02, size=frame.positions.shape)
    frame.info.update(kind="nEQ", recipe="packed", seed=number, parent=f"box-{number}")
    return frame


def timed(*command: str) -> str:
    """Time by the clock and peak memory of a command, in words."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    return (
        f"{time.perf_counter() - began:7.1f} s by the clock, {used.ru_utime + used.ru_stime:7.1f} s of a processor, "
        f"{used.ru_maxrss / 1e6:.2f} GB, exit {os.waitstatus_to_exitcode(status)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=30812)
    parser.add_argument("--only-label", action="store_true", help="make the stage of labels, and nothing else")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    study = asked.folder / "study.toml"
    study.write_text(STUDY.format(frames=asked.frames))
    if asked.only_label:
        run(make_plan(load_study(study)).labels["training"], ResultStore(asked.folder / "store"))
        return
    fill(asked.folder, asked.frames)
    place = (str(study), "--store", str(asked.folder / "store"))
    again = (__file__, str(asked.folder), "--frames", str(asked.frames), "--only-label")
    for name in ("check", "status"):
        print(f"{name}, nothing labelled yet  {timed('-m', 'ilforge', name, *place)}", flush=True)
    print(f"labelling, all labels there  {timed(*again)}", flush=True)
    for name in ("check", "status"):
        print(f"{name}, all labelled          {timed('-m', 'ilforge', name, *place)}", flush=True)


if __name__ == "__main__":
    main()

"""One concurrent learning by DP-GEN and by ilforge: the same first labels, networks, steps and numbers of labels.

Run ``python benchmarks/beside_dpgen.py FOLDER --dpgen PROGRAM [--iterations N] [--steps N]``, where ``PROGRAM`` is the
``dpgen`` of an environment of its own (``pip install dpgen``). Both loops start from the same frames (one pair of
PYR14BF4, labelled by GFN1-xTB), train committees of four DeePMD models, explore in NPT at 450 K with LAMMPS, and label
as many frames with GFN1-xTB; two tasks run at the same time. All explored frames are candidates, so that the numbers of
labels are equal. DP-GEN starts a program for each label, as it does for DFT.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from ilforge import frames
from ilforge.labelling.storing.store import LabelStore
from ilforge.training import TRAINERS
from ilforge.training.deepmd import input_script

PROGRAMS = Path(sys.executable).parent
STARTS, LABELS, SLOTS, MEMBERS = 4, 8, 2, 4
TIMESTEP_FS, LENGTH_PS, INTERVAL_PS, TEMPERATURE_K = 0.5, 0.1, 0.01, 450.0
THREADS = ("OMP_NUM_THREADS", "TF_INTRA_OP_PARALLELISM_THREADS", "TF_INTER_OP_PARALLELISM_THREADS")
WINDOW = (0.0, 1000.0)  # eV/Å: every explored frame is a candidate

SAMPLED = """
name = "first-labels"
seed = 1
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.8
[potentials.clp]
cutoff_A = 3.5
[sampling]
potential = "clp"
equilibration_ps = 1.0
training = { eq_boxes = 4, eq_frames_per_box = 5, packed = 4, hot_boxes = 0, hot_frames_per_box = 0 }
validation = { eq_boxes = 2, eq_frames_per_box = 2, packed = 2, hot_boxes = 0, hot_frames_per_box = 0 }
[reference]
potential = "gfn1"
[models.deepmd]
steps = 1
[learning]
iterations = 0
"""
LEARNED = """
name = "beside-dpgen"
seed = 1
dataset = "first-labels"
[liquid]
ions = {{ PYR14 = 1, BF4 = 1 }}
density_g_cm3 = 0.8
[potentials.clp]
cutoff_A = 3.5
[reference]
potential = "gfn1"
[models.deepmd]
committee = {members}
steps = {steps}
[learning]
iterations = {iterations}
starts = {starts}
temperatures_K = [{temperature}]
timestep_fs = {timestep}
length_ps = {length}
interval_ps = {interval}
restarts = 0
density_margin = 0.5
deviation_low_eV_A = {low}
deviation_high_eV_A = {high}
max_candidates = {labels}
"""
LABEL = """import h5py
import numpy as np
from ase.io import read
from tblite.ase import TBLite

elements = ELEMENTS
frame = read("input.vasp")
frame.calc = TBLite(method="GFN1-xTB", verbosity=0)
found = {
    "coord": frame.positions,
    "box": frame.cell.array,
    "energy": frame.get_potential_energy(),
    "force": frame.get_forces(),
}
with h5py.File("output.hdf5", "w") as file:
    file["type.raw"] = [elements.index(symbol) for symbol in frame.get_chemical_symbols()]
    file["type_map.raw"] = np.array(elements, dtype="S")
    for name, values in found.items():
        file[f"set.000/{name}.npy"] = np.reshape(values, (1, -1))
"""
"""What DP-GEN runs for each label, in the environment of ilforge."""


def first_labels(folder: Path) -> Path:
    """The labels that both loops start from, as a dataset of ilforge."""
    found = folder / "first-labels"
    if not found.is_dir():
        (folder / "first.toml").write_text(SAMPLED)
        of_study = ("first.toml", "--store", "first-store")
        ilforge(folder, "run", *of_study, "--output", "first-results", "--quiet")
        ilforge(folder, "export-labels", *of_study, "--format", "dataset", "--licence", "MIT", "--out", found.name)
    return found


def ilforge(folder: Path, *arguments: str) -> None:
    """Run a command of ilforge."""
    subprocess.run([str(PROGRAMS / "ilforge"), *arguments], cwd=folder, check=True)


def for_dpgen(folder: Path, labels: Path, arguments: argparse.Namespace) -> Path:
    """The folder in which DP-GEN runs: first labels and starts in its form, and its two files of settings."""
    run = folder / "dpgen"
    run.mkdir()
    ilforge(folder, "export-labels", f"{labels.name}/training.xyz.gz", "--format", "deepmd", "--no-virials", "--out",
            "dpgen/first")  # fmt: skip
    training = frames.read(labels / "training.xyz.gz")
    elements = sorted({symbol for frame in training for symbol in frame.get_chemical_symbols()})
    for number, frame in enumerate(training[:STARTS]):
        write(run / f"start-{number}.vasp", frame[np.argsort(frame.get_chemical_symbols(), kind="stable")])
    (run / "label.py").write_text(LABEL.replace("ELEMENTS", repr(elements)))
    (run / "param.json").write_text(json.dumps(_param(run, training, elements, arguments), indent=1))
    (run / "machine.json").write_text(json.dumps(_machine(run), indent=1))
    return run


def _param(run: Path, training: list[Atoms], elements: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """DP-GEN's settings of the loop."""
    settings = TRAINERS["deepmd"].settings(steps=arguments.steps)
    script = input_script(settings, elements, 1, warm=False)
    script["model"]["descriptor"]["sel"] = "auto"
    del script["training"]["validation_data"]
    masses = dict(zip(training[0].symbols, training[0].get_masses(), strict=True))
    interval, length = (round(1000 * time_ps / TIMESTEP_FS) for time_ps in (INTERVAL_PS, LENGTH_PS))
    explored = {"temps": [TEMPERATURE_K], "press": [1.0], "trj_freq": interval, "nsteps": length, "ensemble": "npt"}
    return {
        "type_map": elements,
        "mass_map": [float(masses[symbol]) for symbol in elements],
        "init_data_prefix": str(run / "first"),
        "init_data_sys": sorted(path.parent.name for path in (run / "first").glob("*/type.raw")),
        "sys_configs_prefix": str(run),
        "sys_configs": [[f"start-{number}.vasp" for number in range(STARTS)]],
        "sys_format": "vasp/poscar",
        "numb_models": MEMBERS,
        "default_training_param": script,
        "training_reuse_iter": 1,
        "training_reuse_numb_steps": round(settings.retrain_fraction * settings.steps),
        "training_reuse_start_lr": settings.retrain_learning_rate_start,
        "training_reuse_old_ratio": 0.0,
        "model_devi_dt": TIMESTEP_FS / 1000,
        "model_devi_skip": 0,
        "model_devi_f_trust_lo": WINDOW[0],
        "model_devi_f_trust_hi": WINDOW[1],
        "model_devi_jobs": [{"sys_idx": [0], **explored} for _ in range(arguments.iterations)],
        "fp_style": "custom",
        "fp_task_max": LABELS,
        "fp_task_min": 1,
        "fp_params": {
            "input_fn": "input.vasp",
            "input_fmt": "vasp/poscar",
            "output_fn": "output.hdf5",
            "output_fmt": "deepmd/hdf5",
        },
    }


def _machine(run: Path) -> dict[str, Any]:
    """DP-GEN's settings of this machine: two tasks at the same time, with one thread each."""

    def step(command: str, tasks: int) -> list[dict[str, Any]]:
        machine = {
            "batch_type": "Shell",
            "context_type": "LocalContext",
            "local_root": "./",
            "remote_root": str(run / "work"),
        }
        one = dict.fromkeys(
            ("OMP_NUM_THREADS", "TF_INTRA_OP_PARALLELISM_THREADS", "TF_INTER_OP_PARALLELISM_THREADS"), "1"
        )
        resources = {"number_node": 1, "cpu_per_node": 1, "gpu_per_node": 0, "queue_name": "",
                     "group_size": -(-tasks // SLOTS), "envs": one}  # fmt: skip
        return [{"command": command, "machine": machine, "resources": resources}]

    return {
        "api_version": "1.0",
        "deepmd_version": "3.2.0",
        "train": step(str(PROGRAMS / "dp"), MEMBERS),
        "model_devi": step(str(PROGRAMS / "lmp"), STARTS),
        "fp": step(f"{PROGRAMS / 'python'} {run / 'label.py'}", LABELS),
    }


def run_dpgen(folder: Path, labels: Path, arguments: argparse.Namespace) -> tuple[float, int]:
    """Wall time of DP-GEN's loop, s, and how many frames it labelled."""
    run = for_dpgen(folder, labels, arguments)
    begin = time.perf_counter()
    with (run / "log").open("w") as log:
        command = [arguments.dpgen, "run", "param.json", "machine.json"]
        code = subprocess.run(command, cwd=run, stdout=log, stderr=log).returncode
    seconds = time.perf_counter() - begin
    if code != 0:  # it ends if one label fails four times; the times of its steps are in its log
        print(f"DP-GEN ended with an error: see the end of {run / 'log'}, and {run / 'dpgen.log'}", flush=True)
    return seconds, len(list(run.glob("iter.*/02.fp/task.*/output.hdf5")))


def run_ilforge(folder: Path, arguments: argparse.Namespace) -> tuple[float, int]:
    """Wall time of the loop of ilforge, s, and how many frames it labelled."""
    keys = {"members": MEMBERS, "steps": arguments.steps, "iterations": arguments.iterations, "starts": STARTS,
            "temperature": TEMPERATURE_K, "timestep": TIMESTEP_FS, "length": LENGTH_PS, "interval": INTERVAL_PS,
            "low": WINDOW[0], "high": WINDOW[1], "labels": LABELS}  # fmt: skip
    (folder / "study.toml").write_text(LEARNED.format(**keys))
    begin = time.perf_counter()
    ilforge(folder, "run", "study.toml", "--store", "store", "--output", "results", "--quiet")
    seconds = time.perf_counter() - begin
    with LabelStore(folder / "store" / "labels", read_only=True) as store:
        return seconds, store.census()["labels"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder for everything; new")
    parser.add_argument("--dpgen", required=True, help="DP-GEN's program")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600, help="of the first training; half of them in later ones")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    labels = first_labels(folder)
    seconds, count = run_ilforge(folder, arguments)
    print(f"ilforge: {seconds:.0f} s, {count} frames in the store of labels", flush=True)
    seconds, count = run_dpgen(folder, labels, arguments)
    print(f"DP-GEN: {seconds:.0f} s, {count} frames labelled", flush=True)


if __name__ == "__main__":
    main()

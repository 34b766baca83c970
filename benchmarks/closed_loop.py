"""What chosen labels buy: errors of forces and density against number of labels, for a truth that is known.

Run ``python benchmarks/closed_loop.py FOLDER [--seeds N] [--iterations N] [--runs N] [--length PS] [--labels N]
[--passes N] [--density PS] [--choices NAME...] [--processes N]``. The teacher is CL&P, whose labels cost nothing, and
the liquid two pairs of PYR14BF4. Students are committees of two small MACE models. In each iteration the first member
of a committee explores at 450 K and 1 bar. Of the frames that it explored, ``--labels`` are labelled, chosen in one of
three ways, each in a loop with models of its own:

``selected``  as ilforge selects
``dp-gen``    by DP-GEN's rule: at random from the frames whose largest deviation of forces is in the window
``random``    at random from all frames with whole molecules

Errors of forces are those on frames of the *teacher's* NPT run at 450 K, which no student sees. The density is that of
a run at 450 K and 1 bar, which begins with the last of these frames. A student passes the gate if it holds the liquid
in this run, at a density within 5 % of the teacher's. The first training sees ``--passes`` frames, and each later one,
which begins with the students of the iteration before, a quarter of that. A training or run that was stopped goes on
when the command is given again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from frames_that_teach import second_half

from ilforge import files, frames, potentials
from ilforge.dynamics import Trajectory, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.committee import Committee
from ilforge.properties import measure
from ilforge.results import Holding
from ilforge.sampling.equilibrated import sample_equilibrated
from ilforge.sampling.explanation import in_words, states
from ilforge.sampling.exploration import Conditions, Exploration, Trusted, Walk, density_of, explore
from ilforge.sampling.frame import make_frame
from ilforge.sampling.selection import Window, select
from ilforge.training import TRAINERS, train

LIQUID = Liquid.of({"PYR14": 2, "BF4": 2})
TEACHER = potentials.create({"kind": "clp", "cutoff_A": 4.0, "ewald_tolerance": 1e-4})
STATE = Conditions("NPT", 450.0, 1.0)
DENSITIES = (0.9, 1.0, 1.1)  # g/cm3, of the boxes that the first labels come from
FIRST = 5  # frames of each of these boxes
STUDENT = {"hidden_irreps": "16x0e + 16x1o", "r_max_A": 4.5}
MEMBERS, TESTED = 2, 40
LOW, HIGH = 0.05, 1.5  # eV/Å
CHOICES = ("selected", "dp-gen", "random")
NEAR = 0.05  # of the teacher's density, for the gate
RETRAINED = 0.25  # of the frames of a training, if it begins with the students of the iteration before


class Point(NamedTuple):
    """What the students of one iteration are worth."""

    labels: int
    force_rmse: float  # eV/Å
    density: float  # g/cm3, mean of the second half of a run
    holds: bool


def labelled(found: Sequence[Atoms]) -> list[Atoms]:
    """The frames with the teacher's energies and forces."""
    calculator = TEACHER.calculator(LIQUID.topology)
    results = []
    for frame in found:
        copy = frame.copy()
        copy.info[ENERGY] = float(calculator.get_potential_energy(frame))
        copy.arrays[FORCES] = np.array(calculator.get_forces(frame))
        results.append(copy)
    return results


def first_frames(seed: int) -> list[Atoms]:
    """Frames of the teacher at constant volume, from several densities."""
    found = []
    for number, density in enumerate(DENSITIES):
        box = pack(LIQUID, density, seed=100 * seed + number)
        box.info.update(ions=LIQUID.label, seed=seed, parent=f"box-{number}")
        state = {"temperature_K": 423.0, "timestep_fs": 1.0, "equilibration_ps": 2.0, "interval_ps": 0.5}
        found += sample_equilibrated(box, LIQUID, TEACHER, **state, n_frames=FIRST, seed=100 * seed + number)
    return found


def npt(length_ps: float, equilibration_ps: float = 0.0, timestep_fs: float = 0.5) -> MdProtocol:
    """MD at the state that is explored; bonds of hydrogen have their lengths only if the time step is long."""
    return MdProtocol("NPT", STATE.temperature_K, timestep_fs=timestep_fs, length_ps=length_ps, interval_ps=0.1, seed=9,
                      equilibration_ps=equilibration_ps, pressure_bar=STATE.pressure_bar,
                      constrain_hydrogens=timestep_fs > 1.0)  # fmt: skip


def teacher_run(folder: Path) -> Trajectory:
    """NPT of the teacher, the same for all loops."""
    start = pack(LIQUID, DENSITIES[1], seed=9)
    start.info.update(ions=LIQUID.label, seed=9, parent="teacher")
    return run_md(TEACHER, start, LIQUID, npt(100.0, 10.0, 2.0), folder / "teacher")


def tested_frames(run: Trajectory) -> list[Atoms]:
    """Frames of the teacher's own liquid at 450 K and 1 bar."""
    universe, start, found = run.universe(), frames.read(run.last_file)[-1], []
    for step in universe.trajectory[:: len(universe.trajectory) // TESTED][:TESTED]:
        cell = np.diag(step.dimensions[:3].astype(float))
        found.append(make_frame(universe.atoms.positions.astype(float), cell, start, LIQUID, "EQ", "tested", 9))
    return labelled(found)


def committee_of(dataset: Dataset, folder: Path, seed: int, passes: int, earlier: Path | None = None) -> Committee:
    """Students trained on the dataset, each with another seed, or from those in the folder of the iteration before."""
    epochs = max(1, round(passes / len(dataset.train)))
    keys = {**STUDENT, "epochs": epochs, "second_stage_epoch": max(1, round(0.8 * epochs))}
    if earlier is not None:
        keys["retrain_fraction"] = RETRAINED
    settings, members = TRAINERS["mace"].settings(**keys), []
    for member in range(MEMBERS):
        start = None if earlier is None else earlier / f"member-{member}" / "model.model"
        path = folder / f"member-{member}" / "model.model"
        if not path.is_file():  # it is written when a training ends
            train(dataset, settings, 10 * seed + member, path.parent, start_from=start)
        members.append(potentials.create({"kind": "mace", "path": str(path), "sha256": files.file_digest(path)}))
    return Committee(tuple(members))


def force_rmse(committee: Committee, tested: Sequence[Atoms]) -> float:
    """Force error of the first member, eV/Å."""
    differences = [
        answers.forces[0] - frame.arrays[FORCES]
        for answers, frame in zip(committee.answers(tested, LIQUID.topology), tested, strict=True)
    ]
    return float(np.sqrt(np.mean(np.square(differences))))


def explored_by(
    committee: Committee, starts: list[Atoms], wanted: argparse.Namespace, seed: int, folder: Path
) -> list[Exploration]:
    """Runs of the committee, each from other boxes."""
    densities = [density_of(frame, LIQUID.topology) for frame in starts]
    trusted = Trusted(HIGH, (0.8 * min(densities), 1.2 * max(densities)))
    found = []
    for run in range(wanted.runs):
        walk = Walk(STATE, 0.5, wanted.length, wanted.length / 50, 1000 * seed + run, restarts=3)
        boxes = starts[run % len(starts) :] + starts[: run % len(starts)]
        found.append(explore(committee, boxes, LIQUID, walk, trusted, folder / f"run-{run}"))
    return found


def chosen_frames(how: str, runs: list[Exploration], dataset: Dataset, count: int, seed: int) -> list[Atoms]:
    """Frames to label, by one of the choices."""
    known = [density_of(frame, LIQUID.topology) for frame in dataset.frames]
    selection = select(runs, Window(LOW, HIGH, None, (min(known), max(known))), count, LIQUID.topology)
    for state in states(selection):
        print(f"    {in_words(state)}", flush=True)
    if how == "selected":
        return selection.frames
    rows = [row for run in runs for row in zip(run.frames, run.deviations, run.fragments, strict=True)]
    if how == "dp-gen":
        eligible = [frame for frame, spread, _ in rows if LOW <= spread <= HIGH]
    else:
        eligible = [frame for frame, _, broken in rows if broken is None]
    order = np.random.default_rng(seed).permutation(len(eligible))
    return [eligible[i] for i in order[:count]]


def point(
    committee: Committee, dataset: Dataset, teacher: Trajectory, tested: list[Atoms], length: float, folder: Path
) -> Point:
    """Errors of the first member, and the density of its liquid."""
    start = frames.read(teacher.last_file)[-1]
    run = run_md(committee.members[0], start, LIQUID, npt(length), folder)
    verdict = measure(run, ["health"])["health"].liquid
    holds = verdict is not None and verdict.holding is Holding.HOLDS
    return Point(len(dataset.frames), force_rmse(committee, tested), second_half(run, LIQUID), holds)


def learning_curve(how: str, seed: int, arguments: argparse.Namespace) -> list[Point]:
    """What the students of each iteration are worth."""
    folder = arguments.folder / f"{how}-{seed}"
    kept = folder / "curve.json"
    if kept.is_file():
        return [Point(*values) for values in json.loads(kept.read_text())]
    first = frames.read(arguments.folder / f"first-{seed}.xyz")
    teacher = Trajectory(arguments.folder / "teacher")
    tested = tested_frames(teacher)
    dataset, earlier, curve = split(labelled(first), 0.2, seed), None, []
    for iteration in range(arguments.iterations + 1):
        here = folder / f"iteration-{iteration}" if iteration else arguments.folder / f"begun-{seed}"
        committee = committee_of(dataset, here, seed, arguments.passes, earlier)
        curve.append(point(committee, dataset, teacher, tested, arguments.density, here / "density"))
        print(f"{how}, seed {seed}: {curve[-1]}", flush=True)
        if iteration < arguments.iterations:
            runs = explored_by(committee, first, arguments, 10 * seed + iteration, folder / f"iteration-{iteration}")
            new = chosen_frames(how, runs, dataset, arguments.labels, seed)
            dataset, earlier = dataset.extend(labelled(new), 0.2, seed), here
    files.write_text(kept, json.dumps(curve))
    return curve


def begin(seed: int, arguments: argparse.Namespace) -> None:
    """Make what all loops of a seed begin with: first frames, the first committee, and its density."""
    file = arguments.folder / f"first-{seed}.xyz"
    if not file.is_file():
        frames.write(file, first_frames(seed))
    teacher, begun = Trajectory(arguments.folder / "teacher"), arguments.folder / f"begun-{seed}"
    dataset = split(labelled(frames.read(file)), 0.2, seed)
    committee = committee_of(dataset, begun, seed, arguments.passes)
    point(committee, dataset, teacher, tested_frames(teacher), arguments.density, begun / "density")


def table(curves: dict[str, list[list[Point]]], teacher: float) -> str:
    """Means over seeds with their standard errors, a line for each choice and number of labels."""
    rows = [
        "| choice | labels | force RMSE, eV/Å | density, g/cm³ | its deviation, % | seeds that pass the gate |",
        "|---|---|---|---|---|---|",
    ]
    for how, of_seeds in curves.items():
        for points in zip(*of_seeds, strict=True):
            off = [100 * abs(point.density / teacher - 1) for point in points]
            passed = sum(point.holds and wrong <= 100 * NEAR for point, wrong in zip(points, off, strict=True))
            cells = (
                with_error([point.force_rmse for point in points], 4),
                with_error([point.density for point in points], 3),
                with_error(off, 1),
            )
            labels = np.mean([point.labels for point in points])
            rows.append(f"| {how} | {labels:.0f} | {' | '.join(cells)} | {passed} of {len(points)} |")
    return "\n".join(rows)


def with_error(values: list[float], digits: int) -> str:
    """Mean, and standard error of the mean if there are several values."""
    spread = f" ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--length", type=float, default=3.0, help="of each run, ps")
    parser.add_argument("--labels", type=int, default=15, help="in each iteration")
    parser.add_argument("--passes", type=int, default=600, help="frames that a training sees, epochs times frames")
    parser.add_argument("--density", type=float, default=20.0, help="of each run that gives a density, ps")
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=CHOICES)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(1, arguments.seeds + 1)
    tasks = [(how, seed) for seed in seeds for how in arguments.choices]
    teacher = second_half(teacher_run(arguments.folder), LIQUID)
    print(f"density of the teacher's liquid: {teacher:.3f} g/cm³", flush=True)
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(begin, seeds, repeat(arguments)))
        found = dict(zip(tasks, pool.map(learning_curve, *zip(*tasks, strict=True), repeat(arguments)), strict=True))
    print(table({how: [found[how, seed] for seed in seeds] for how in arguments.choices}, teacher))


if __name__ == "__main__":
    main()

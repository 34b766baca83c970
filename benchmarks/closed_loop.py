"""What chosen labels buy: force error against number of labels, for a truth that is known, beside a random choice.

Run ``python benchmarks/closed_loop.py FOLDER [--seeds N] [--iterations N] [--runs N] [--length PS] [--labels N]
[--epochs N]``. The teacher is CL&P, whose labels cost nothing, and the liquid two pairs of PYR14BF4. Students are
committees of two small MACE models. In each iteration the first member of a committee explores at 450 K and 1 bar. Of
the frames that it explored, ``--labels`` are labelled: those that ilforge selects or, in another loop with models of
its own, as many at random. Errors are those of forces on frames of the *teacher's* NPT run at 450 K, which no student
sees. A training or run that was stopped goes on when the command is given again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge import files, potentials
from ilforge.dynamics import run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.committee import Committee
from ilforge.sampling.equilibrated import sample_equilibrated
from ilforge.sampling.explanation import in_words, states
from ilforge.sampling.exploration import Conditions, Exploration, Trusted, Walk, density_of, explore
from ilforge.sampling.frame import make_frame
from ilforge.sampling.selection import Window, select
from ilforge.training import TRAINERS, train

LIQUID = Liquid.of({"PYR14": 2, "BF4": 2})
TEACHER = potentials.create({"kind": "clp", "cutoff_A": 4.0})
STATE = Conditions("NPT", 450.0, 1.0)
DENSITIES = (0.9, 1.0, 1.1)  # g/cm3, of the boxes that the first labels come from
FIRST = 5  # frames of each of these boxes
STUDENT = {"hidden_irreps": "16x0e + 16x1o", "r_max_A": 4.5}
MEMBERS, TESTED = 2, 40
LOW, HIGH = 0.05, 1.5  # eV/Å


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


def tested_frames(start: Atoms, folder: Path) -> list[Atoms]:
    """Frames of the teacher's own liquid at 450 K and 1 bar."""
    protocol = MdProtocol("NPT", STATE.temperature_K, timestep_fs=1.0, length_ps=20.0, interval_ps=0.5, seed=9,
                          equilibration_ps=10.0, pressure_bar=1.0)  # fmt: skip
    universe = run_md(TEACHER, start, LIQUID, protocol, folder).universe()
    found = []
    for step in universe.trajectory[:TESTED]:
        cell = np.diag(step.dimensions[:3].astype(float))
        found.append(make_frame(universe.atoms.positions.astype(float), cell, start, LIQUID, "EQ", "tested", 9))
    return labelled(found)


def committee_of(dataset: Dataset, folder: Path, seed: int, epochs: int) -> Committee:
    """Students trained on the dataset, each with another seed."""
    settings = TRAINERS["mace"].settings(**STUDENT, epochs=epochs, second_stage_epoch=max(1, round(0.8 * epochs)))
    members = []
    for member in range(MEMBERS):
        path = train(dataset, settings, 10 * seed + member, folder / f"member-{member}")
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
    """Frames to label: those that ilforge selects, or as many at random of all that have whole molecules."""
    known = [density_of(frame, LIQUID.topology) for frame in dataset.frames]
    selection = select(runs, Window(LOW, HIGH, None, (min(known), max(known))), count, LIQUID.topology)
    for state in states(selection):
        print(f"    {in_words(state)}", flush=True)
    if how == "selected":
        return selection.frames
    whole = [frame for run in runs for frame, broken in zip(run.frames, run.fragments, strict=True) if broken is None]
    order = np.random.default_rng(seed).permutation(len(whole))
    return [whole[i] for i in order[: min(count, len(whole))]]


def learning_curve(how: str, seed: int, arguments: argparse.Namespace) -> list[tuple[int, float]]:
    """Number of labels and force error after each iteration."""
    folder = arguments.folder / f"{how}-{seed}"
    kept = folder / "curve.json"
    if kept.is_file():
        return [(count, error) for count, error in json.loads(kept.read_text())]
    first = first_frames(seed)
    tested = tested_frames(first[FIRST], arguments.folder / f"teacher-{seed}")
    dataset, curve = split(labelled(first), 0.2, seed), []
    for iteration in range(arguments.iterations + 1):
        here = folder / f"iteration-{iteration}"
        committee = committee_of(dataset, here, seed, arguments.epochs)
        curve.append((len(dataset.frames), force_rmse(committee, tested)))
        print(f"{how}, seed {seed}: {curve[-1][0]} labels, {curve[-1][1]:.4f} eV/Å", flush=True)
        if iteration < arguments.iterations:
            runs = explored_by(committee, first, arguments, 10 * seed + iteration, here)
            new = chosen_frames(how, runs, dataset, arguments.labels, seed)
            dataset = dataset.extend(labelled(new), 0.2, seed)
    kept.write_text(json.dumps(curve))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--length", type=float, default=5.0, help="of each run, ps")
    parser.add_argument("--labels", type=int, default=20, help="in each iteration")
    parser.add_argument("--epochs", type=int, default=20, help="of each training")
    arguments = parser.parse_args()
    rows = ["| choice | labels | force RMSE, eV/Å (mean and standard error over seeds) |", "|---|---|---|"]
    for how in ("selected", "random"):
        curves = np.array([learning_curve(how, seed, arguments) for seed in range(1, arguments.seeds + 1)])
        for labels, errors in zip(curves[:, :, 0].T, curves[:, :, 1].T, strict=True):
            spread = f" ± {np.std(errors, ddof=1) / np.sqrt(len(errors)):.4f}" if len(errors) > 1 else ""
            rows.append(f"| {how} | {np.mean(labels):.0f} | {np.mean(errors):.4f}{spread} |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

"""Concurrent learning: explore with the committee, choose what it disagrees on, label its first frames early."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import frames, potentials
from ilforge.labelling.labels import method_digest
from ilforge.potentials.quantum import costs
from ilforge.sampling.exploration import Exploration, Selection, explore, select
from ilforge.study.load import Study
from ilforge.study.settings import LearningSettings
from ilforge.training import TRAINERS
from ilforge.workflow.job import Job
from ilforge.workflow.stage import AtHand, Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import labels_at_hand, labels_of
from ilforge.workflow.steps.models import model_spec, seconds_per_step
from ilforge.workflow.steps.structures import (
    computes_with,
    engine_programs,
    liquid_of,
    of_composition,
    reference_spec,
)
from ilforge.workflow.store import ResultStore, write_json

SELECTION = "selection.json"
EXPLORED, JUDGED, ASKED = "explored.xyz", "judged.json", "asked.json"
MOST_STAGES = 8
"""Stages that share the runs of one iteration and composition, at most; up to so many runs, each has its own."""
_SELECTS = {"deviation_low_eV_A", "deviation_high_eV_A", "max_candidates"}
_NOT_OF_A_RUN = {"iterations", "explorer", "stop", "starts"} | _SELECTS


@dataclass(frozen=True)
class Search:
    """The exploration of one composition in one iteration.

    Attributes
    ----------
    explored
        Stages that run MD, each with the numbers of its runs; in the order of these numbers.
    selected
        The stage that chooses frames of all runs, once all have ended.
    """

    explored: tuple[tuple[range, Stage], ...]
    selected: Stage


def plan_search(study: Study, iteration: int, committee: Sequence[Stage], starts: Stage) -> Search:
    """MD with the committee, in up to :data:`MOST_STAGES` stages, and the selection from all of it."""
    numbers = range(study.settings.learning.starts)
    count = min(len(numbers), MOST_STAGES)
    bounds = [len(numbers) * i // count for i in range(count + 1)]
    parts = [numbers[first:last] for first, last in pairwise(bounds)]
    explored = tuple((runs, _exploration_stage(study, iteration, runs, committee, starts)) for runs in parts)
    return Search(explored, _selection_stage(study, iteration, explored))


def ahead_stages(study: Study, iteration: int, search: Search, method: Mapping[str, Any]) -> list[Stage]:
    """Labels of the first frames of every run, each as soon as its runs have ended, whatever the others do.

    ``method`` is what the reference says of itself.
    """
    learning = study.settings.learning
    every = shares(learning.max_candidates, learning.starts)
    own = [(runs, explored, {run: every[run] for run in runs if every[run]}) for runs, explored in search.explored]
    return [
        _ahead_stage(
            study, f"label first frames, iteration {iteration}, {_of_all(runs, learning.starts)}", *more, method
        )
        for runs, *more in own
        if more[1]
    ]


def _ahead_stage(study: Study, name: str, explored: Stage, own: Mapping[int, int], method: Mapping[str, Any]) -> Stage:
    """Labels, in the label store, of so many frames of each run: ``asked.json`` with their number.

    The stage that labels all frames of the iteration finds them there, and judges all of them together.
    """
    spec, liquid, learning = reference_spec(study), liquid_of(study), study.settings.learning

    def frames_in(found: Path) -> dict[str, Atoms]:
        chosen = [_select([_read(found / _folder(run))], learning, count).frames for run, count in own.items()]
        return {frames.digest(frame): frame for group in chosen for frame in group}

    def at_hand(store: ResultStore) -> AtHand:
        asked = f"first frames {sorted(own.items())} by {learning.model_dump(include=_SELECTS)}"
        return labels_at_hand(store, explored, asked, frames_in, method_digest(method), sum(own.values()))

    def work(job: Job) -> None:
        wanted = frames_in(job.input("explored"))
        labels_of(job, wanted, spec, method, liquid)
        write_json(job.directory / ASKED, {"frames": len(wanted)})

    return Stage(
        name=of_composition(study, name),
        kind="ahead",
        runs_as="label",
        version=1,
        settings={
            "reference": dict(method),
            "learning": learning.model_dump(include=_SELECTS),
            "frames_of": {str(run): count for run, count in own.items()},
        },
        inputs={"explored": explored},
        work=work,
        tasks=sum(own.values()),
        task_seconds=potentials.create(spec).seconds_per_frame(liquid.topology.n_atoms),
        memory_GB=costs.memory_GB(spec["kind"], liquid.topology.n_atoms),
        at_hand=at_hand,
        computes_with=computes_with(spec["kind"]),
    )


def shares(total: int, runs: int) -> list[int]:
    """How many of ``total`` frames each run may have whatever the others find: as equal as possible."""
    return [total // runs + (run < total % runs) for run in range(runs)]


def choose(explorations: Sequence[Exploration], learning: LearningSettings) -> Selection:
    """Judge all frames of all runs, and choose at most ``max_candidates`` of them.

    Each run first has its share (:func:`shares`), which does not depend on other runs. What runs with fewer candidates
    leave over goes to the others.
    """
    every = shares(learning.max_candidates, len(explorations))
    own = [_select([run], learning, share) for run, share in zip(explorations, every, strict=True)]
    chosen = [frame for selection in own for frame in selection.frames]
    taken = {frames.digest(frame) for frame in chosen}
    left = learning.max_candidates - len(chosen)
    if left and any(len(one.frames) < one.candidate for one in own):
        chosen += _select([_without(run, taken) for run in explorations], learning, left).frames
    return Selection(
        chosen,
        sum(one.accurate for one in own),
        sum(one.candidate for one in own),
        sum(one.failed for one in own),
        np.concatenate([np.empty(0), *(one.deviations for one in own)]),
    )


def _select(explorations: Sequence[Exploration], learning: LearningSettings, count: int) -> Selection:
    low, high = learning.deviation_low_eV_A, learning.deviation_high_eV_A
    return select(explorations, low=low, high=high, max_candidates=count)


def _without(run: Exploration, taken: Collection[str]) -> Exploration:
    """A run without the frames with these digests."""
    kept = [i for i, frame in enumerate(run.frames) if frames.digest(frame) not in taken]
    return Exploration(
        tuple(run.frames[i] for i in kept), run.deviations[kept], tuple(run.fragments[i] for i in kept), run.fault
    )


def _exploration_stage(study: Study, iteration: int, runs: range, committee: Sequence[Stage], starts: Stage) -> Stage:
    """NPT with the committee: what :func:`_explore` leaves, in a folder for each run."""
    learning, liquid, explorer = study.settings.learning, liquid_of(study), study.settings.explorer
    kind = TRAINERS[study.settings.models[explorer].kind].potential
    seed, seeds = study.seed("exploration", iteration), {run: study.seed("explore", iteration, run) for run in runs}
    state = (study.settings.liquid.pressure_bar, study.settings.gate.bond_factor)

    def work(job: Job) -> None:
        members = [model_spec(job.trusted_input(f"member{i}")) for i in range(len(committee))]
        boxes = _starts(frames.read(job.input("starts") / FRAMES), runs.stop, seed)
        asked = {_folder(run): (members, boxes[run], liquid, learning, *state, seeds[run], job.threads) for run in runs}
        for name, path in job.parts(_explore, asked).items():
            (job.directory / name).mkdir(exist_ok=True)
            for file in (EXPLORED, JUDGED):
                shutil.copyfile(path / file, job.directory / name / file)

    steps = learning.length_ps * 1000 / learning.timestep_fs
    return Stage(
        name=of_composition(study, f"explore, iteration {iteration}, {_of_all(runs, learning.starts)}"),
        kind="explore",
        runs_as="explore",
        version=2,
        settings={
            "learning": learning.model_dump(exclude=_NOT_OF_A_RUN),
            "pressure_bar_and_bond_factor": list(state),
            "seed": seed,
            "seeds": {str(run): seeds[run] for run in runs},
        },
        inputs={**{f"member{i}": stage for i, stage in enumerate(committee)}, "starts": starts},
        work=work,
        tasks=len(runs),
        task_seconds=5.0 + steps * seconds_per_step(study, explorer, liquid.topology.n_atoms) * len(committee),
        memory_GB=1.5,
        programs=engine_programs(kind),
        computes_with=computes_with(kind),
    )


def _selection_stage(study: Study, iteration: int, explored: Sequence[tuple[range, Stage]]) -> Stage:
    """``frames.xyz`` to label, ``selection.json`` with every deviation: of all runs, in the order of their numbers."""
    learning = study.settings.learning

    def work(job: Job) -> None:
        found = [_read(job.input(f"runs{i}") / _folder(run)) for i, (runs, _) in enumerate(explored) for run in runs]
        selection = choose(found, learning)
        frames.write(job.directory / FRAMES, selection.frames)
        write_json(
            job.directory / SELECTION,
            {
                "accurate": selection.accurate,
                "candidate": selection.candidate,
                "failed": selection.failed,
                "chosen": len(selection.frames),
                "deviations": selection.deviations.tolist(),
            },
        )

    return Stage(
        name=of_composition(study, f"select explored frames, iteration {iteration}"),
        kind="selection",
        version=1,
        settings={"learning": learning.model_dump(include=_SELECTS)},
        inputs={f"runs{i}": stage for i, (_, stage) in enumerate(explored)},
        work=work,
        task_seconds=1.0,
    )


def _of_all(runs: range, count: int) -> str:
    """Which runs of how many, in words, counted from 1."""
    first, last = runs.start + 1, runs.stop
    return f"run {first} of {count}" if first == last else f"runs {first} to {last} of {count}"


def _folder(run: int) -> str:
    return f"run-{run:03d}"


def _starts(candidates: list[Atoms], count: int, seed: int) -> list[Atoms]:
    """Frames at equilibrium, as many as there are runs, from as many parents as possible."""
    equilibrated = [frame for frame in candidates if frame.info["kind"] == "EQ"] or candidates
    order = np.random.default_rng(seed).permutation(len(equilibrated))
    by_parent: dict[str, list[Atoms]] = {}
    for i in order:
        by_parent.setdefault(equilibrated[i].info["parent"], []).append(equilibrated[i])
    chosen: list[Atoms] = []
    while len(chosen) < count:
        for group in by_parent.values():
            if len(chosen) < count:
                chosen.append(group[len(chosen) // len(by_parent) % len(group)])
    return chosen


def _explore(
    directory: Path,
    members: list[dict[str, Any]],
    box: Any,
    liquid: Any,
    learning: LearningSettings,
    pressure_bar: float,
    bond_factor: float,
    seed: int,
    threads: int,
) -> None:
    committee = potentials.create({"kind": "committee", "members": members})
    exploration = explore(
        committee,
        box,
        liquid,
        temperature_K=learning.temperature_K,
        pressure_bar=pressure_bar,
        timestep_fs=learning.timestep_fs,
        length_ps=learning.length_ps,
        interval_ps=learning.interval_ps,
        seed=seed,
        directory=directory / "run",
        bond_factor=bond_factor,
        threads=threads,
    )
    frames.write(directory / EXPLORED, exploration.frames)
    write_json(directory / JUDGED, {"fragments": exploration.fragments, "fault": exploration.fault})


def _read(directory: Path) -> Exploration:
    """An exploration as :func:`_explore` left it."""
    judged = json.loads((directory / JUDGED).read_text())
    explored = frames.read(directory / EXPLORED)
    deviations = np.array([frame.info["deviation"] for frame in explored])
    return Exploration(tuple(explored), deviations, tuple(judged["fragments"]), judged["fault"])

"""Concurrent learning: explore with the committee, select frames on which it disagrees, and label the first ones
early."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.labelling.labels import method_digest
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.quantum import costs
from ilforge.sampling.explanation import as_json, conditions_of, in_words
from ilforge.sampling.selection import select, shares_of_runs
from ilforge.study.load import Study
from ilforge.training import TRAINERS
from ilforge.workflow.job import Job
from ilforge.workflow.stage import AtHand, Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.exploring import (
    EXPLORED,
    JUDGED,
    of_liquid,
    read_exploration,
    read_window,
    run_exploration,
    starts_of_run,
    trusted_region,
    walk_of,
    write_window,
)
from ilforge.workflow.steps.labels import ACCEPTED, labels_at_hand, labels_of
from ilforge.workflow.steps.models import model_spec, seconds_per_step
from ilforge.workflow.steps.structures import (
    computes_with,
    engine_programs,
    liquid_of,
    of_composition,
    reference_spec,
)
from ilforge.workflow.store import ResultStore, write_json

SELECTION, ASKED = "selection.json", "asked.json"
MOST_STAGES = 8
"""Stages that share the runs of one iteration and composition, at most; up to so many runs, each has its own."""
_OF_A_WINDOW = {"deviation_low_eV_A", "force_error_eV_A", "deviation_high_eV_A", "pressure_deviation_GPa"}
_NOT_OF_A_RUN = {
    "iterations", "explorer", "stop", "starts", "deviation_low_eV_A", "force_error_eV_A", "max_candidates",
    "retrain_after",
}  # fmt: skip


@dataclass(frozen=True)
class Search:
    """The exploration of one composition in one iteration.

    Attributes
    ----------
    explored
        Stages that run MD, each with the numbers of its runs; in the order of these numbers.
    window
        The stage that says what makes a frame a candidate.
    selected
        The stage that chooses frames of all runs, once all have ended.
    """

    explored: tuple[tuple[range, Stage], ...]
    window: Stage
    selected: Stage


def plan_search(
    study: Study,
    iteration: int,
    committee: Sequence[Stage],
    starts: Stage,
    dataset: Stage,
    validation: Stage | None = None,
) -> Search:
    """MD with the committee, in up to :data:`MOST_STAGES` stages, and the selection from all of it.

    Parameters
    ----------
    starts
        Sampled frames, from which runs start.
    dataset
        What the committee has learned from.
    validation
        Labels that calibrate the window of candidates, if the study file asks for it.
    """
    numbers = range(study.settings.learning.starts)
    count = min(len(numbers), MOST_STAGES)
    bounds = [len(numbers) * i // count for i in range(count + 1)]
    parts = [numbers[first:last] for first, last in pairwise(bounds)]
    explored = tuple((runs, _exploration_stage(study, iteration, runs, committee, starts)) for runs in parts)
    window = _window_stage(study, iteration, committee, dataset, validation)
    return Search(explored, window, _selection_stage(study, iteration, explored, window))


def ahead_stages(study: Study, iteration: int, search: Search, method: Mapping[str, Any]) -> list[Stage]:
    """Stages that label the first frames of every run as soon as it has ended, without waiting for other runs.

    ``method`` is the description of the reference by itself.
    """
    starts, found = study.settings.learning.starts, []
    for runs, explored in search.explored:
        own = shares_of(study, runs)
        name = f"label first frames, iteration {iteration}, {_of_all(runs, starts)}"
        if own:
            found.append(_ahead_stage(study, name, explored, own, search.window, method))
    return found


def shares_of(study: Study, runs: range) -> dict[int, int]:
    """For each of these runs, the number of frames that are labelled as soon as it has ended; without zeros."""
    learning = study.settings.learning
    every = shares_of_runs(learning.max_candidates, learning.starts)
    return {run: every[run] for run in runs if every[run]}


def first_frames(found: Path, limits: Path, own: Mapping[int, int], liquid: Liquid) -> dict[str, Atoms]:
    """So many frames of each run, by digest, that are labelled whatever other runs find.

    Parameters
    ----------
    found, limits
        Results of the stage that explored and of the one that set the window.
    """
    of_run = {run: read_exploration(found / _folder(run)) for run in own}
    wanted = read_window(limits)
    chosen = [select([of_run[run]], wanted, count, liquid.topology).frames for run, count in own.items()]
    return {frames.digest(frame): frame for group in chosen for frame in group}


def _ahead_stage(
    study: Study, name: str, explored: Stage, own: Mapping[int, int], window: Stage, method: Mapping[str, Any]
) -> Stage:
    """Labels, in the label store, of so many frames of each run: ``asked.json`` with their number.

    The stage that labels all frames of the iteration finds these labels in the store, and judges all labels together.
    """
    spec, liquid = reference_spec(study), liquid_of(study)
    frames_in = partial(first_frames, own=own, liquid=liquid)

    def at_hand(store: ResultStore) -> AtHand:
        if not store.holds(window):
            return AtHand(0, 0, sum(own.values()))
        asked = f"first frames {sorted(own.items())} in {window.key}"
        by_digest = partial(frames_in, limits=store.path(window))
        return labels_at_hand(store, explored, asked, by_digest, method_digest(method), sum(own.values()))

    def work(job: Job) -> None:
        wanted = frames_in(job.input("explored"), job.input("window"))
        labels_of(job, wanted, spec, method, liquid)
        write_json(job.directory / ASKED, {"frames": len(wanted)})

    return Stage(
        name=of_composition(study, name),
        kind="ahead",
        runs_as="label",
        version=2,
        settings={
            "reference": dict(method),
            "frames_of": {str(run): count for run, count in own.items()},
        },
        inputs={"explored": explored, "window": window},
        work=work,
        tasks=sum(own.values()),
        task_seconds=potentials.create(spec).seconds_per_frame(liquid.topology.n_atoms),
        memory_GB=costs.memory_GB(spec["kind"], liquid.topology.n_atoms),
        at_hand=at_hand,
        computes_with=computes_with(spec["kind"]),
    )


def _exploration_stage(study: Study, iteration: int, runs: range, committee: Sequence[Stage], starts: Stage) -> Stage:
    """MD with the committee: what :func:`.run_exploration` leaves, in a folder for each run."""
    learning, liquid, explorer = study.settings.learning, liquid_of(study), study.settings.explorer
    kind = TRAINERS[study.settings.models[explorer].kind].potential
    seed, seeds = study.seed("exploration", iteration), {run: study.seed("explore", iteration, run) for run in runs}
    state = (study.settings.liquid.pressure_bar, study.settings.gate.bond_factor)

    def work(job: Job) -> None:
        members = _members(job, committee)
        sampled = of_liquid(frames.read(job.input("starts") / FRAMES), liquid)
        trusted = trusted_region(learning, sampled, liquid, state[1])
        asked = {}
        for run in runs:
            boxes = starts_of_run(sampled, run, learning.restarts, seed)
            walk = walk_of(learning, state[0], run, seeds[run])
            asked[_folder(run)] = (members, boxes, liquid, walk, trusted, job.threads)
        for name, path in job.parts(run_exploration, asked).items():
            (job.directory / name).mkdir(exist_ok=True)
            for file in (EXPLORED, JUDGED):
                shutil.copyfile(path / file, job.directory / name / file)

    # the first member moves the atoms, and the others see recorded frames only
    others = (len(committee) - 1) * learning.length_ps / learning.interval_ps
    evaluations = learning.length_ps * 1000 / learning.timestep_fs + others
    return Stage(
        name=of_composition(study, f"explore, iteration {iteration}, {_of_all(runs, learning.starts)}"),
        kind="explore",
        runs_as="explore",
        version=3,
        settings={
            "learning": learning.model_dump(exclude=_NOT_OF_A_RUN),
            "pressure_bar_and_bond_factor": list(state),
            "seed": seed,
            "seeds": {str(run): seeds[run] for run in runs},
        },
        inputs={**_by_number(committee), "starts": starts},
        work=work,
        tasks=len(runs),
        task_seconds=5.0 + evaluations * seconds_per_step(study, explorer, liquid.topology.n_atoms),
        memory_GB=1.5,
        programs=engine_programs(kind),
        computes_with=computes_with(kind),
    )


def _window_stage(
    study: Study, iteration: int, committee: Sequence[Stage], dataset: Stage, validation: Stage | None
) -> Stage:
    """What makes a frame a candidate, for the models of the iteration before: ``window.json``."""
    learning, liquid = study.settings.learning, liquid_of(study)
    kind = TRAINERS[study.settings.models[study.settings.explorer].kind].potential
    calibrated = learning.deviation_low_eV_A == "calibrated" and validation is not None

    def work(job: Job) -> None:
        members = _members(job, committee) if calibrated else []
        labels = job.input("validation") / ACCEPTED if calibrated else None
        job.run(write_window, job.directory, job.input("dataset"), labels, members, liquid, learning, job.threads)

    return Stage(
        name=of_composition(study, f"set the window of candidates, iteration {iteration}"),
        kind="window",
        version=1,
        settings={"learning": learning.model_dump(include=_OF_A_WINDOW), "liquid": liquid.label},
        inputs={
            "dataset": dataset,
            **({**_by_number(committee), "validation": validation} if calibrated and validation is not None else {}),
        },
        work=work,
        task_seconds=10.0 if calibrated else 1.0,
        computes_with=computes_with(kind) if calibrated else (),
    )


def _selection_stage(study: Study, iteration: int, explored: Sequence[tuple[range, Stage]], window: Stage) -> Stage:
    """``frames.xyz`` to label, ``selection.json`` with the verdict on every frame, in the order of runs."""
    learning, topology = study.settings.learning, liquid_of(study).topology
    name = of_composition(study, f"select explored frames, iteration {iteration}")

    def work(job: Job) -> None:
        paths = [job.input(f"runs{i}") / _folder(run) for i, (runs, _) in enumerate(explored) for run in runs]
        limits = read_window(job.input("window"))
        selection = select([read_exploration(path) for path in paths], limits, learning.max_candidates, topology)
        frames.write(job.directory / FRAMES, selection.frames)
        found = as_json(selection, limits)
        write_json(job.directory / SELECTION, found)
        job.facts["explored"] = [f"{conditions_of(state)}: {in_words(state)}" for state in found["states"]]
        if found["advice"]:
            job.say(f"{name}: {found['advice']}")

    return Stage(
        name=name,
        kind="selection",
        version=2,
        settings={"max_candidates": learning.max_candidates},
        inputs={**{f"runs{i}": stage for i, (_, stage) in enumerate(explored)}, "window": window},
        work=work,
        task_seconds=1.0 + 0.05 * 20 * learning.max_candidates,  # candidates that are compared
    )


def _by_number(committee: Sequence[Stage]) -> dict[str, Stage]:
    return {f"member{i}": stage for i, stage in enumerate(committee)}


def _members(job: Job, committee: Sequence[Stage]) -> list[dict[str, Any]]:
    return [model_spec(job.trusted_input(f"member{i}")) for i in range(len(committee))]


def _of_all(runs: range, count: int) -> str:
    """The numbers of these runs, from 1, and the number of all runs, in words."""
    first, last = runs.start + 1, runs.stop
    return f"run {first} of {count}" if first == last else f"runs {first} to {last} of {count}"


def _folder(run: int) -> str:
    return f"run-{run:03d}"

"""Concurrent learning: explore with the committee, choose what it disagrees on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import frames, potentials
from ilforge.sampling.exploration import Exploration, explore, select
from ilforge.study.load import Study
from ilforge.study.settings import LearningSettings
from ilforge.training import TRAINERS
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.models import model_spec, seconds_per_step
from ilforge.workflow.steps.structures import computes_with, engine_programs, liquid_of, of_composition
from ilforge.workflow.store import write_json

SELECTION = "selection.json"
EXPLORED, JUDGED = "explored.xyz", "judged.json"


def exploration_stage(study: Study, iteration: int, committee: Sequence[Stage], starts: Stage) -> Stage:
    """NPT with the committee: ``frames.xyz`` to label and ``selection.json`` with every deviation."""
    learning, liquid, explorer = study.settings.learning, liquid_of(study), study.settings.explorer
    kind = TRAINERS[study.settings.models[explorer].kind].potential
    seed = study.seed("exploration", iteration)
    state = (study.settings.liquid.pressure_bar, study.settings.gate.bond_factor)

    def work(job: Job) -> None:
        members = [model_spec(job.trusted_input(f"member{i}")) for i in range(len(committee))]
        boxes = _starts(frames.read(job.input("starts") / FRAMES), learning.starts, seed)
        parts = job.parts(
            _explore,
            {
                f"run-{i:03d}": (
                    members,
                    box,
                    liquid,
                    learning,
                    *state,
                    study.seed("explore", iteration, i),
                    job.threads,
                )
                for i, box in enumerate(boxes)
            },
        )
        selection = select(
            [_read(path) for path in parts.values()],
            low=learning.deviation_low_eV_A,
            high=learning.deviation_high_eV_A,
            max_candidates=learning.max_candidates,
        )
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

    steps = learning.length_ps * 1000 / learning.timestep_fs
    return Stage(
        name=of_composition(study, f"explore, iteration {iteration}"),
        kind="explore",
        runs_as="explore",
        version=1,
        settings={
            "learning": learning.model_dump(exclude={"iterations", "explorer", "stop"}),
            "pressure_bar_and_bond_factor": list(state),
            "seed": seed,
        },
        inputs={**{f"member{i}": stage for i, stage in enumerate(committee)}, "starts": starts},
        work=work,
        tasks=learning.starts,
        task_seconds=5.0 + steps * seconds_per_step(study, explorer, liquid.topology.n_atoms) * len(committee),
        memory_GB=1.5,
        programs=engine_programs(kind),
        computes_with=computes_with(kind),
    )


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

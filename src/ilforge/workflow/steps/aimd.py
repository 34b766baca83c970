"""AIMD: the reference method moves some of the sampled frames, and every step is a label."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.labelling.aimd import hand_out, run_aimd
from ilforge.labelling.labels import method_digest
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.quantum import costs
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import Study
from ilforge.workflow.job import PARTS, Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.structures import computes_with, liquid_of, of_composition, reference_spec
from ilforge.workflow.store import write_json

RUNS = "runs.json"


def single_points(sampled: list[Atoms], counts: FrameCounts) -> list[Atoms]:
    """The sampled frames from which no AIMD run begins."""
    chosen = {id(frame) for frame, _ in aimd_starts(sampled, counts)}
    return [frame for frame in sampled if id(frame) not in chosen]


def aimd_starts(sampled: list[Atoms], counts: FrameCounts) -> list[tuple[Atoms, int]]:
    """The sampled frames from which AIMD runs begin, spread evenly over each kind, and the number of frames of each
    run."""
    chosen: list[tuple[Atoms, int]] = []
    for kind, runs, length in (
        ("EQ", counts.eq_aimd_runs, counts.eq_aimd_frames),
        ("nEQ", counts.neq_aimd_runs, counts.neq_aimd_frames),
    ):
        of_kind = [frame for frame in sampled if frame.info["kind"] == kind]
        chosen += [(of_kind[int((i + 0.5) * len(of_kind) / runs)], length) for i in range(runs)]
    return chosen


def aimd_plan(counts: FrameCounts) -> dict[str, int]:
    """The keys that determine from which frames AIMD begins, and how long it runs."""
    return counts.model_dump(include={"eq_aimd_runs", "eq_aimd_frames", "neq_aimd_runs", "neq_aimd_frames"})


def aimd_stage(study: Study, purpose: str, sampled: Stage, method: Mapping[str, Any]) -> Stage:
    """``frames.xyz`` with all frames of all runs, whose labels are in the label store, and ``runs.json``.

    ``method`` is the description of the reference by itself.
    """
    counts: FrameCounts = getattr(study.settings.sampling, purpose)
    spec, liquid = reference_spec(study), liquid_of(study)
    state = {
        "temperature_K": study.settings.liquid.temperature_K,
        "timestep_fs": study.settings.sampling.aimd_timestep_fs,
    }
    seed = study.seed("aimd", study.composition, purpose)

    def seed_of(run: int) -> int:
        return study.seed("aimd", study.composition, purpose, run)

    def work(job: Job) -> None:
        starts = aimd_starts(frames.read(job.input("frames") / FRAMES), counts)
        with LabelStore(job.store.labels) as store:
            known = job.directory / PARTS / "known"
            hand_out(store, [start for start, _ in starts], method_digest(method), known)
            places = (job.threads, store.inbox, known)
            tasks = {
                f"run-{i:04d}": (start, spec, liquid, {**state, "n_frames": n}, seed_of(i), *places)
                for i, (start, n) in enumerate(starts)
            }
            parts = job.parts(_run, tasks)
            store.absorb_inbox()
        frames.write(job.directory / FRAMES, [frame for path in parts.values() for frame in frames.read(path / FRAMES)])
        told = [json.loads((path / RUNS).read_text()) for path in parts.values()]
        write_json(job.directory / RUNS, told)
        job.facts.update(runs=len(told), ended_early=sum(run["fault"] is not None for run in told))

    runs = counts.eq_aimd_runs + counts.neq_aimd_runs
    return Stage(
        name=of_composition(study, f"AIMD from {purpose} frames"),
        kind="aimd",
        runs_as="label",
        version=1,
        settings={"reference": dict(method), "runs": aimd_plan(counts), **state, "seed": seed},
        inputs={"frames": sampled},
        work=work,
        tasks=runs,
        task_seconds=counts.aimd / max(1, runs) * potentials.create(spec).seconds_per_frame(liquid.topology.n_atoms),
        memory_GB=costs.memory_GB(spec["kind"], liquid.topology.n_atoms),
        computes_with=computes_with(spec["kind"]),
    )


def _run(
    directory: Path,
    start: Atoms,
    spec: Mapping[str, Any],
    liquid: Liquid,
    how: Mapping[str, Any],
    seed: int,
    threads: int,
    inbox: Path,
    known: Path,
) -> None:
    """One run: a task for a worker."""
    run = run_aimd(
        start, spec, liquid, **how, seed=seed, directory=directory / "labels", threads=threads,
        inbox=inbox, known=known,
    )  # fmt: skip
    frames.write(directory / FRAMES, [label.frame for label in run.labels])
    write_json(directory / RUNS, {"parent": start.info["parent"], "frames": len(run.labels), "fault": run.fault})

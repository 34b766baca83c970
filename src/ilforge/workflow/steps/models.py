"""Models: the frozen dataset, the trainings, and their validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import frames, potentials
from ilforge.labelling.dataset import Dataset, split
from ilforge.study.load import Study
from ilforge.training import deepmd as deepmd_training
from ilforge.training import mace as mace_training
from ilforge.training.validation import errors, predict
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.atoms import read_atoms
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.steps.structures import computes_with, liquid_of, of_composition, spec_of
from ilforge.workflow.store import read_manifest, write_json

MACE_FILE, DEEPMD_FILE = "model.model", "model.pb"
PREDICTIONS, ERRORS = "predictions.npz", "errors.json"


def dataset_stage(study: Study, iteration: int, labels: Sequence[Stage], before: Stage | None) -> Stage:
    """The frozen split that all models of an iteration train on; frames seen before keep their side."""
    sources = {f"labels{i or ''}": stage for i, stage in enumerate(labels)}
    seed = study.seed("split", iteration)
    fraction = study.settings.training.early_stopping_fraction

    def work(job: Job) -> None:
        new = [frame for name in sources for frame in frames.read(job.input(name) / ACCEPTED)]
        if before is None:
            dataset = split(new, fraction, seed)
        else:
            dataset = Dataset.read(job.input("before")).extend(new, fraction, seed)
        dataset.write(job.directory)

    return Stage(
        name=f"freeze dataset {iteration}",
        kind="dataset",
        version=1,
        settings={"fraction": fraction, "seed": seed},
        inputs={**sources, **({"before": before} if before else {})},
        work=work,
        task_seconds=0.5,
    )


def mace_stage(
    study: Study, iteration: int, dataset: Stage, frames_expected: int, before: Stage | None, atoms: Stage | None
) -> Stage:
    """A trained MACE: ``model.model``; ``frames_expected`` of each composition, ``atoms`` what energies count from."""
    settings = study.settings.training.mace
    seed = study.seed("mace", iteration)

    def work(job: Job) -> None:
        start = job.trusted_input("before") / MACE_FILE if before else None
        energies = read_atoms(job.input("atoms")) if atoms else None
        job.run(_train_mace, job.input("dataset"), settings, seed, job.directory, job.threads, start, energies)

    n_atoms = frames_expected * sum(liquid_of(part).topology.n_atoms for part in study.parts)
    return Stage(
        name=f"train MACE, iteration {iteration}",
        kind="mace",
        version=1,
        settings={"training": settings.model_dump(exclude={"atom_energies"}), "seed": seed},  # that is an input
        inputs={"dataset": dataset, **({"before": before} if before else {}), **({"atoms": atoms} if atoms else {})},
        work=work,
        task_seconds=mace_training.seconds(settings, n_atoms) * (settings.retrain_fraction if before else 1.0),
        memory_GB=2.0,
        programs=("mace_run_train",),
        computes_with=("torch",),
        progress=mace_training.progress,
    )


def deepmd_stages(study: Study, iteration: int, dataset: Stage, before: Sequence[Stage] | None) -> list[Stage]:
    """A committee of trained DeePMD models that differ in their seed: ``model.pb`` in each stage."""
    return [
        _deepmd_stage(study, iteration, member, dataset, before[member] if before else None)
        for member in range(study.settings.training.deepmd.committee)
    ]


def _deepmd_stage(study: Study, iteration: int, member: int, dataset: Stage, before: Stage | None) -> Stage:
    settings = study.settings.training.deepmd
    seed = study.seed("deepmd", iteration, member)
    largest = max(liquid_of(part).topology.n_atoms for part in study.parts)
    expected = deepmd_training.seconds(settings, largest)

    def work(job: Job) -> None:
        start = job.trusted_input("before") if before else None
        job.run(_train_deepmd, job.input("dataset"), settings, seed, job.directory, job.threads, start)
        note = deepmd_training.compression_note(job.directory)
        if note:
            job.facts["compression"] = note

    return Stage(
        name=f"train DeePMD {member + 1}, iteration {iteration}",
        kind="deepmd",
        version=1,
        settings={"training": settings.model_dump(exclude={"committee"}), "seed": seed},
        inputs={"dataset": dataset, **({"before": before} if before else {})},
        work=work,
        task_seconds=expected * (settings.retrain_fraction if before else 1.0),
        memory_GB=1.0,
        programs=("dp",),
        computes_with=("deepmd",),
        progress=deepmd_training.progress,
    )


def virials_note(study: Study) -> str:
    """That DeePMD has no stresses to learn, in a sentence; nothing where it has."""
    if "deepmd" not in study.settings.training.models or not any(study.settings.training.deepmd.virial_prefactor):
        return ""
    reference = potentials.create(spec_of(study, study.settings.reference))
    if reference.has_stress:
        return ""
    return f"Labels of this reference ({reference.kind}) have no stress: DeePMD learns energies and forces alone."


def model_spec(directory: Path) -> dict[str, Any]:
    """The trained model in a stage's directory as a potential; whether it is trusted is asked before."""
    kind, file = ("mace", MACE_FILE) if (directory / MACE_FILE).is_file() else ("deepmd", DEEPMD_FILE)
    return {"kind": kind, "path": str(directory / file), "sha256": read_manifest(directory)["files"][file]}


def inference_seconds(study: Study, kind: str, n_atoms: int) -> float:
    """Expected time of one step with a model that is yet to be trained, s on one core: for planning only.

    From 350 atoms: MACE at 6 Å 7 ms by compiled kernels, 1 s by mace-torch in float64; DeePMD at 10 Å 0.44 s, with the
    small networks of its quick preset at 4.5 Å 15 ms. All grow with the neighbours.
    """
    mace, deepmd = study.settings.training.mace, study.settings.training.deepmd
    if kind == "mace":
        per_frame = 7e-3 if mace.dtype == "float32" else 1.0
        return per_frame * n_atoms / 350 * (mace.r_max_A / 6.0) ** 3
    width = deepmd.embedding[-1] / 100
    return 0.44 * n_atoms / 350 * (deepmd.r_cut_A / 10.0) ** 3 * width


def validation_stage(
    study: Study, name: str, labels: Stage, expected: int, model: Stage | None, spec: dict[str, Any] | None = None
) -> Stage:
    """A potential held against labels: ``predictions.npz`` and ``errors.json``."""
    liquid, seed = liquid_of(study), study.seed("bootstrap")

    def work(job: Job) -> None:
        chosen = spec if model is None else model_spec(job.trusted_input("model"))
        job.run(_validate, chosen, job.input("labels") / ACCEPTED, liquid, seed, job.directory, job.threads)

    return Stage(
        name=of_composition(study, f"validate {name}"),
        kind="validation",
        version=1,
        settings={"spec": spec, "seed": seed},
        inputs={"labels": labels, **({"model": model} if model else {})},
        work=work,
        task_seconds=8.0 + 0.05 * expected,
        memory_GB=1.5,
        computes_with=computes_with(spec["kind"] if model is None else model.kind),
    )


def _train_mace(
    dataset: Path,
    settings: Any,
    seed: int,
    directory: Path,
    threads: int,
    start: Path | None,
    energies: dict[str, float] | None,
) -> None:
    mace_training.train_mace(
        Dataset.read(dataset), settings, seed, directory, threads, start_from=start, isolated_atoms=energies
    )


def _train_deepmd(dataset: Path, settings: Any, seed: int, directory: Path, threads: int, start: Path | None) -> None:
    deepmd_training.train_deepmd(Dataset.read(dataset), settings, seed, directory, threads, start_from=start)


def _validate(spec: dict, labels: Path, liquid: Any, seed: int, directory: Path, threads: int) -> None:
    predictions = predict(spec, frames.read(labels), liquid, threads)
    predictions.save(directory / PREDICTIONS)
    found = errors(predictions, np.random.default_rng(seed))
    rows = [
        {"quantity": quantity, "species": species, "dataset": dataset, **vars(estimate)}
        for quantity, species, dataset, estimate in found
    ]
    write_json(directory / ERRORS, rows)

"""Models: the frozen dataset, the trainings, and their validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import frames, potentials
from ilforge.labelling.datasets.dataset import Dataset, split
from ilforge.study.load import Study
from ilforge.training import TRAINERS, ModelSettings, Tuning, train
from ilforge.training.kind import Size
from ilforge.training.validation import Predictions, errors, predict
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.atoms import read_atoms
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.steps.starts import Start, with_network
from ilforge.workflow.steps.structures import computes_with, liquid_of, of_composition, reference_spec
from ilforge.workflow.steps.taken import require_same
from ilforge.workflow.store import read_manifest, write_json

PREDICTIONS, ERRORS = "predictions.npz", "errors.json"


def dataset_stage(
    study: Study, iteration: int, labels: Sequence[Stage], before: Stage | None, taken: str | None = None
) -> Stage:
    """The frozen split for the training of all models of an iteration; earlier frames stay on their side of the
    split.

    ``taken`` is the digest of the labels that a decision took (:mod:`.gathering`), if one did.
    """
    sources = {f"labels{i or ''}": stage for i, stage in enumerate(labels)}
    seed = study.seed("split", iteration)
    fraction = study.settings.training.early_stopping_fraction

    def work(job: Job) -> None:
        if taken is not None:
            require_same(job.input("labels"), taken)
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
        settings={"fraction": fraction, "seed": seed, **({} if taken is None else {"taken": taken})},
        inputs={**sources, **({"before": before} if before else {})},
        work=work,
        task_seconds=0.5,
    )


def model_title(study: Study, name: str) -> str:
    """Printed name of a model: ``"MACE"``, or its own name if this differs from the kind."""
    kind = TRAINERS[study.settings.models[name].kind]
    return kind.title if name == kind.name else name


@dataclass(frozen=True)
class Lesson:
    """Data and start of the training of a model of the study file.

    Attributes
    ----------
    dataset
        The frozen split.
    size
        Expected size, for planning.
    iteration
        Iteration of concurrent learning; None for a student, which learns from its teacher.
    before
        Trainings of the previous iteration, which the committee continues.
    starts
        Start of each member, if the model is fine-tuned.
    atoms
        Energies of isolated atoms, if the energies of the model are relative to them.
    """

    dataset: Stage
    size: Size
    iteration: int | None = 0
    before: Sequence[Stage] = ()
    starts: Sequence[Start] = ()
    atoms: Stage | None = None


def size_of(study: Study, frames_expected: int) -> Size:
    """Expected data for this many frames of each composition, for planning."""
    sizes = [liquid_of(part).topology.n_atoms for part in study.parts]
    return Size(frames_expected * sum(sizes), max(sizes))


def model_stages(study: Study, name: str, lesson: Lesson) -> list[Stage]:
    """Trainings of a model of the study file: one for each member of its committee, with different seeds."""
    return [_model_stage(study, name, member, lesson) for member in range(study.settings.models[name].committee)]


def _model_stage(study: Study, name: str, member: int, lesson: Lesson) -> Stage:
    settings = study.settings.models[name]
    kind, atoms = TRAINERS[settings.kind], lesson.atoms
    numbered = kind.numbered or settings.committee > 1
    purpose = (name, "student" if lesson.iteration is None else lesson.iteration)
    seed = study.seed(*purpose, member) if numbered else study.seed(*purpose)
    before = lesson.before[member] if lesson.before else None
    start = lesson.starts[member] if lesson.starts and before is None else None
    expected = kind.seconds(with_network(study, name), lesson.size)

    def work(job: Job) -> None:
        origin, tuning = (job.trusted_input("before") / kind.file if before else None), None
        if start is not None:
            origin, tuning = start.read(job, kind.name)
        energies = read_atoms(job.input("atoms")) if atoms else None
        job.run(_train, job.input("dataset"), settings, seed, job.directory, job.threads, origin, energies, tuning)
        if note := kind.note(job.directory):
            job.facts["note"] = note
            if start is not None:
                job.say(f"{model_title(study, name)}: {note}")

    number = f" {member + 1}" if numbered else ""
    learned = f"taught by {settings.teacher}" if lesson.iteration is None else f"iteration {lesson.iteration}"
    return Stage(
        name=f"{'fine-tune' if start else 'train'} {model_title(study, name)}{number}, {learned}",
        kind=kind.name,
        runs_as="train",
        version=1,
        # energies of isolated atoms are an input
        settings={"training": settings.decisive(), "seed": seed, **(start.settings if start else {})},
        inputs={
            "dataset": lesson.dataset,
            **({"before": before} if before else {}),
            **({"atoms": atoms} if atoms else {}),
            **(start.inputs if start else {}),
        },
        work=work,
        task_seconds=expected * (kind.retrained_share(settings) if before else 1.0),
        memory_GB=kind.memory_GB,
        programs=kind.programs,
        computes_with=() if kind.computes_with is None else (kind.computes_with,),
        progress=kind.progress,
    )


def counts_from_atoms(study: Study, name: str) -> bool:
    """Whether the energies of a model are relative to isolated atoms."""
    settings = study.settings.models[name]
    asked = getattr(settings, "atom_energies", None)
    return TRAINERS[settings.kind].counts_from_atoms and asked == "isolated atoms"


def stress_notes(study: Study) -> list[str]:
    """One sentence for each model that should learn from stresses which the reference does not give."""
    models = study.settings.models
    learning = [name for name, model in models.items() if TRAINERS[model.kind].learns_stress(model)]
    if not learning or potentials.create(reference_spec(study)).has_stress:
        return []
    return [
        f"Labels of {study.settings.potential(study.settings.reference.potential).title} have no stress: "
        f"{model_title(study, name)} learns energies and forces alone."
        for name in learning
    ]


def model_spec(directory: Path) -> dict[str, Any]:
    """The trained model in the directory of a stage as a potential; trust must be checked before."""
    manifest = read_manifest(directory)
    kind = TRAINERS.named(manifest["kind"])
    return kind.spec(directory, manifest["files"][kind.file])


def seconds_per_step(study: Study, name: str, n_atoms: int) -> float:
    """Expected time of one step with a model that is not trained yet, on one core, s; for planning only."""
    settings = with_network(study, name)
    return TRAINERS[settings.kind].seconds_per_step(settings, n_atoms)


def validation_stage(
    study: Study,
    name: str,
    labels: Stage,
    expected: int,
    model: Stage | None,
    spec: dict[str, Any] | None = None,
    file: str = ACCEPTED,
    trained: str = "",
) -> Stage:
    """A potential held against the labels in a file of a stage: ``predictions.npz`` and ``errors.json``.

    ``trained`` is the name of ``model`` in the study file.
    """
    liquid, seed = liquid_of(study), study.seed("bootstrap")
    if model is not None:
        kind = TRAINERS[model.kind].potential
    else:
        assert spec is not None
        kind = spec["kind"]

    def work(job: Job) -> None:
        chosen = spec if model is None else model_spec(job.trusted_input("model"))
        job.run(_validate, chosen, job.input("labels") / file, liquid, seed, job.directory, job.threads)

    return Stage(
        name=of_composition(study, f"validate {name}"),
        kind="validation",
        version=2,
        settings={"spec": _identity(spec), "seed": seed, **({} if file == ACCEPTED else {"file": file})},
        inputs={"labels": labels, **({"model": model} if model else {})},
        work=work,
        task_seconds=8.0 + expected * _seconds_of_one(study, trained, spec, liquid.topology.n_atoms),
        memory_GB=1.5,
        computes_with=computes_with(kind),
    )


def _seconds_of_one(study: Study, trained: str, spec: dict[str, Any] | None, n_atoms: int) -> float:
    """Expected time of one frame with a potential, or with a model that is yet to be trained, s."""
    if spec is not None:
        return max(0.05, potentials.create(spec).seconds_per_frame(n_atoms))
    return max(0.05, seconds_per_step(study, trained, n_atoms))


def _identity(spec: dict[str, Any] | None) -> dict[str, Any] | None:
    """A potential in the form for keys of stages: a model file is represented by its digest, not by its path."""
    return potentials.create(spec).describe() if spec and "path" in spec else spec


def _train(
    dataset: Path,
    settings: ModelSettings,
    seed: int,
    directory: Path,
    threads: int,
    start: Path | None,
    energies: dict[str, float] | None,
    tuning: Tuning | None,
) -> None:
    labelled = Dataset.read(dataset)
    train(labelled, settings, seed, directory, threads, start_from=start, isolated_atoms=energies, tuning=tuning)


def _validate(spec: dict[str, Any], labels: Path, liquid: Any, seed: int, directory: Path, threads: int) -> None:
    keep_errors(predict(spec, frames.read(labels), liquid, threads), seed, directory)


def keep_errors(predictions: Predictions, seed: int, directory: Path) -> None:
    """Write ``predictions.npz`` and ``errors.json``; the seed is that of the bootstrap."""
    predictions.save(directory / PREDICTIONS)
    found = errors(predictions, np.random.default_rng(seed))
    rows = [
        {"quantity": quantity, "species": species, "dataset": dataset, **vars(estimate)}
        for quantity, species, dataset, estimate in found
    ]
    write_json(directory / ERRORS, rows)

"""An existing dataset, which replaces sampling and labelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ilforge import frames, potentials
from ilforge.errors import MissingProgram, SettingsError
from ilforge.labelling.datasets.published import PURPOSES, Published
from ilforge.labelling.datasets.shipped import open_dataset
from ilforge.labelling.labels import method_digest
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import Study
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import net_force_setting, write_judged
from ilforge.workflow.steps.structures import identity, liquid_of, of_composition, reference_spec


def dataset_of(study: Study) -> Published | None:
    """The dataset that the study names; None if the study makes its own labels.

    Raises
    ------
    SettingsError
        When it does not exist, or its method or liquids are not those of the study.
    """
    folder = study.settings.dataset
    if folder is None:
        return None
    dataset = open_dataset(folder, study.folder)
    _require_method(study, dataset)
    known = {liquid_of(part).label for part in study.parts}
    if not known & set(dataset.compositions):
        raise SettingsError(
            f"dataset = {folder!r} holds frames of {' and '.join(dataset.compositions)}, but the study is of "
            f"{' and '.join(sorted(known))}."
        )
    return dataset


def published_stage(study: Study, purpose: str, dataset: Published) -> Stage:
    """Frames and labels of one composition from a dataset, in place of sampling and labelling.

    The result has ``frames.xyz`` and the files of :func:`ilforge.workflow.steps.labels.label_stage`. The gate of the
    study judges every label again, and the labels are added to the label store.
    """
    gate, liquid = study.settings.gate, liquid_of(study)
    expected = sum(dataset.counts(purpose, liquid.label).values())
    if not expected:
        raise SettingsError(f"{dataset.directory} holds no {purpose} frames of {liquid.label}.")

    def work(job: Job) -> None:
        chosen = [entry.label for entry in dataset.entries([purpose])]
        labels = {label.frame_digest: label for label in chosen if label.frame.info.get("ions") == liquid.label}
        with LabelStore(job.store.labels) as store:
            store.add_many(labels.values())
        wanted = {digest: label.frame for digest, label in labels.items()}
        frames.write(job.directory / FRAMES, wanted.values())
        rejected = write_judged(job.directory, wanted, labels, liquid, gate)
        job.facts.update(dataset=dataset.name, reused=len(wanted), labelled_now=0, rejected=rejected)

    return Stage(
        name=of_composition(study, f"take {purpose} frames from {dataset.name}"),
        kind="labels",
        version=1,
        settings={
            "dataset": dataset.digest,
            "purpose": purpose,
            "liquid": identity(liquid),
            "reference": dataset.method,
            "gate": gate.model_dump(),
            **net_force_setting(gate, dataset.method, liquid),
        },
        inputs={},
        work=work,
        task_seconds=1.0 + 0.01 * expected,
    )


def require_reference(study: Study, dataset: Published | None) -> None:
    """Require the program of the reference if it must still make labels.

    Raises
    ------
    MissingProgram
        When it is missing; the message gives the number of labels that need it.
    SettingsError
        When the program here is of another version than that of the labels in the study's dataset.
    """
    settings = study.settings
    rounds = settings.learning.iterations
    sampled = sum(getattr(settings.sampling, purpose).labels for purpose in PURPOSES) * len(study.parts)
    explored = rounds * settings.learning.max_candidates * len(study.parts)
    if dataset is not None and not rounds:
        return
    reference = potentials.create(reference_spec(study))
    try:
        reference.calculator(liquid_of(study).topology)
        here = reference.describe()
    except MissingProgram as error:
        needed = f"up to {explored:,} labels in {rounds} round{'s' * (rounds > 1)} of concurrent learning"
        if dataset is None:
            needed = f"{sampled:,} labels" + (f" and {needed}" if rounds else "")
            instead = "or name a folder of labels in `dataset`"
        else:
            instead = "or set learning.iterations = 0: the dataset has all other labels"
        raise MissingProgram(error.program, f"{error.package}; {instead}", needed) from None
    if dataset is not None and method_digest(here) != method_digest(dataset.method):
        found = in_words({key: here.get(key) for key in dataset.versions})
        raise SettingsError(
            f"The labels of {dataset.directory} are of {in_words(dataset.versions)}, but {found} is here: labels of "
            "concurrent learning would be by another method. Install the same, or set learning.iterations = 0."
        )


def in_words(versions: Mapping[str, Any]) -> str:
    """Programs and data that made labels: ``"gpaw 26.7, setups 1.2.1"``."""
    return ", ".join(f"{key} {value}" for key, value in versions.items()) or "a version that is not stated"


def labelled_by(study: Study, dataset: Published | None) -> str:
    """The reference of a study in a few words; with a dataset, also the source of its labels."""
    title = study.settings.potential(study.settings.reference.potential).title
    if dataset is None:
        return title
    return f"{title}, labels of dataset {dataset.name} ({in_words(dataset.versions)})"


def _require_method(study: Study, dataset: Published) -> None:
    """Require that every setting of the reference equals that of the labels."""
    asked = potentials.settings(potentials.create(reference_spec(study)))
    has = dataset.method
    if asked["kind"] != has.get("kind"):
        raise SettingsError(
            f"[reference] is of kind {asked['kind']!r}, but the labels of dataset = {study.settings.dataset!r} are of "
            f"kind {has.get('kind')!r}."
        )
    differ = [key for key in asked if key not in has or asked[key] != has[key]]
    if differ:
        what = "; ".join(f"{key} is {asked[key]!r}, there {has.get(key, 'not stated')!r}" for key in differ)
        raise SettingsError(
            f"[reference] is not the method that labelled dataset = {study.settings.dataset!r}: {what}. Use the "
            "settings of the dataset, or make labels of your own."
        )

"""The report: the results of all finished stages on one page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ilforge
from ilforge import frames
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.potentials import POTENTIALS
from ilforge.properties import Measurement
from ilforge.properties.reading.folder import Run
from ilforge.report import measured, write_report
from ilforge.report.content import (
    Cost,
    Coverage,
    ExploredState,
    FrameRow,
    LearningRound,
    Parity,
    ReportContent,
    StageRow,
    Structure,
    TrainingCurve,
)
from ilforge.report.wording import sentence
from ilforge.results import Estimate, Record
from ilforge.sampling.explanation import conditions_of, where_left, why_failed
from ilforge.sampling.selection import ACCURATE, CANDIDATES, UNKNOWN_DENSITY
from ilforge.study.scans import study_scans
from ilforge.training import TRAINERS, learning_curve
from ilforge.training.validation import Predictions
from ilforge.workflow.explored import Explored, explored
from ilforge.workflow.job import Job
from ilforge.workflow.lessons import methods_of
from ilforge.workflow.plan import Plan
from ilforge.workflow.records import collect_records, fine_tuning_notes, measurements, run_labels
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.atoms import read_atoms
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import CENSUS
from ilforge.workflow.steps.models import PREDICTIONS, counts_from_atoms, model_title, stress_notes
from ilforge.workflow.steps.published import labelled_by
from ilforge.workflow.steps.structures import liquid_of
from ilforge.workflow.store import ResultStore, read_manifest


def report_stage(plan: Plan) -> Stage:
    """``report.html``, ``results.json`` and ``results.csv`` of a whole study."""
    study = plan.study
    scans = {title: table.rows for title, table in study_scans(plan.study).items()}

    def work(job: Job) -> None:
        write_report(job.directory, report_content(plan, job.store))

    return Stage(
        name="write the report",
        kind="report",
        version=2,
        settings={"study": study.text, "ilforge": ilforge.__version__, **({"scans": scans} if scans else {})},
        inputs={stage.key: stage for stage in plan.stages},
        work=work,
        task_seconds=3.0,
    )


def report_content(plan: Plan, store: ResultStore) -> ReportContent:
    """All finished results, in the form that the report needs."""
    study = plan.study
    liquids = {part.composition: liquid_of(part).name for part in study.parts}
    reference = study.settings.potential(study.settings.reference.potential)
    not_dft = "" if POTENTIALS[reference.kind].is_dft else ", not DFT"
    scanned = measured.named_tables("", "", Measurement(tables=study_scans(plan.study)))
    every, records = measurements(plan, store), collect_records(plan, store)
    found = [(*run, one) for run, by_name in every.items() for one in by_name.values()]
    health = [(*run, by_name["health"]) for run, by_name in every.items() if "health" in by_name]
    return ReportContent(
        study=study.settings.name,
        liquid=", ".join(liquids.values()),
        liquid_label="; ".join(liquid_of(part).label for part in study.parts),
        temperature_K=study.settings.liquid.temperature_K,
        reference=reference.title,
        banner=f"Reference: {labelled_by(study, plan.dataset)}{not_dft}",
        ilforge_version=ilforge.__version__,
        date=time.strftime("%Y-%m-%d"),
        seed=study.settings.seed,
        records=tuple(records),
        parity=tuple(_parity(key, store.path(stage), liquids) for key, stage in _held(plan.validations, store)),
        curves=tuple(one for run in found for one in measured.curves(*run)),
        tables=(*scanned, *(one for run in found for one in measured.named_tables(*run))),
        clusters=tuple(one for run in found for one in measured.cluster_pictures(*run)),
        verdicts=tuple(measured.verdict(*run) for run in health),
        frames=tuple(_frame_rows(plan, store)),
        coverage=tuple(_coverage(plan, store)),
        learning=tuple(_learning_rounds(plan, store)),
        training=tuple(_training_curves(plan, store)),
        training_notes=tuple(note for note in (*_atom_energies(plan, store), *stress_notes(study), *plan.notes)),
        stages=tuple(_stage_rows(plan, store)),
        costs=tuple(_costs(plan, store)),
        structure=_structure(plan, store),
        study_file=study.text,
        runs=tuple(_runs(plan, store, records)),
        methods=methods_of(study),
    )


def _parity(key: tuple[int | None, str, str], directory: Path, liquids: Mapping[str, str]) -> Parity:
    predictions = Predictions.load(directory / PREDICTIONS)
    iteration, potential, composition = key
    return Parity(
        liquid=liquids[composition] if len(liquids) > 1 else "",
        potential=potential,
        iteration=iteration,
        datasets=tuple(predictions.kinds),
        energies_reference=predictions.reference_energies,
        energies_predicted=predictions.predicted_energies,
        forces_reference=predictions.reference_forces,
        forces_predicted=predictions.predicted_forces,
        elements=tuple(predictions.elements),
        frames=predictions.frame_of_atom,
        recipes=tuple(predictions.recipes),
    )


def _held(stages: Mapping[Any, Stage], store: ResultStore) -> Iterator[tuple[Any, Stage]]:
    """The stages among these that are finished."""
    return ((key, stage) for key, stage in stages.items() if store.holds(stage))


def _runs(plan: Plan, store: ResultStore, records: list[Record]) -> Iterator[Run]:
    """The measurements of each trajectory, with the labels of its numbers, and differences of shapes between two
    runs."""
    labels = run_labels(plan)
    for (protocol, potential), found in measurements(plan, store).items():
        yield Run({**labels[protocol], "protocol": protocol, "potential": potential}, found)
    if scans := study_scans(plan.study):
        yield Run({}, {"shapes": Measurement(tables=scans)})
    for record in records:
        if record.quantity != "shape_divergence":
            continue
        against = {f"against_{key}": value for key, value in record.provenance["against"].items()}
        of_run = {**labels[record.provenance["protocol"]], "protocol": record.provenance["protocol"]}
        estimate = Estimate(record.value, record.error, record.n_eff, record.unit, record.converged, record.note)
        found = {"shapes": Measurement([(record.quantity, record.species, estimate)])}
        yield Run({**of_run, "potential": record.potential, **against}, found)


def _taught(plan: Plan) -> dict[str, Stage]:
    """Labels that teachers gave to their students, by what the set is called."""
    return {
        ", ".join(filter(None, (f"taught to {student}", composition, f"{multiple} x the ions"))): stage
        for student, school in plan.students.items()
        for (composition, multiple), stage in school.labels.items()
    }


def _frame_rows(plan: Plan, store: ResultStore) -> Iterator[FrameRow]:
    for dataset, stage in _held(plan.labels | _taught(plan), store):
        census = json.loads((store.path(stage) / CENSUS).read_text())
        for key, row in census["rows"].items():
            kind, recipe = key.split("/")
            yield FrameRow(dataset, kind, recipe, row["made"], row["accepted"], row["rejected"])


def _coverage(plan: Plan, store: ResultStore) -> Iterator[Coverage]:
    """Only the sets for training, because those for validation are made in the same way."""
    for dataset, stage in _held(plan.labels_for("training"), store):
        census = json.loads((store.path(stage) / CENSUS).read_text())
        for recipe, kinds in census.get("coverage", {}).items():
            for coordinate, found in kinds.items():
                yield Coverage(
                    dataset,
                    recipe,
                    coordinate,
                    tuple(found["spread"]),
                    tuple(found["reached"]),
                    tuple(found["beyond"]),
                    found["parents"],
                    np.array(found["histogram"]["centres"]),
                    np.array(found["histogram"]["density"]),
                )


def _learning_rounds(plan: Plan, store: ResultStore) -> Iterator[LearningRound]:
    liquids = {part.composition: liquid_of(part).name for part in plan.study.parts}
    rounds: dict[int, list[Explored]] = {}
    for one in explored(plan, store):
        rounds.setdefault(one.iteration, []).append(one)
    for iteration, parts in rounds.items():
        every = [one.found for one in parts]
        yield LearningRound(
            iteration=iteration,
            deviations=np.array(
                [value for found in every for s in found["states"] for value in s["deviations"]], float
            ),
            accurate=sum(found["accurate"] for found in every),
            candidate=sum(found["candidate"] for found in every),
            failed=sum(found["failed"] for found in every),
            low_eV_A=min(found["window"]["low"] for found in every),
            high_eV_A=max(found["window"]["high"] for found in every),
            labelled=sum(found["chosen"] for found in every),
            states=tuple(_state(state, liquids[one.composition]) for one in parts for state in one.found["states"]),
            notes=tuple(sentence(note) for one in parts for note in one.notes),
        )


def _state(state: dict[str, Any], liquid: str) -> ExploredState:
    classes = state["classes"]
    return ExploredState(
        liquid,
        str(conditions_of(state)),
        state["runs"],
        classes.get(ACCURATE, 0),
        sum(classes.get(name, 0) for name in CANDIDATES),
        classes.get(UNKNOWN_DENSITY, 0),
        state["chosen"],
        why_failed(state),
        where_left(state),
        np.array(state["deviations"], dtype=float),
    )


def _training_curves(plan: Plan, store: ResultStore) -> Iterator[TrainingCurve]:
    for (iteration, kind), members in plan.trained.items():
        for number, stage in _held(dict(enumerate(members)), store):
            progress, rmse = learning_curve(store.path(stage))
            yield TrainingCurve(
                kind,
                iteration,
                number + 1 if len(members) > 1 else None,
                progress,
                TRAINERS[plan.study.settings.models[kind].kind].step,
                rmse,
            )


def _atom_energies(plan: Plan, store: ResultStore) -> Iterator[str]:
    """Sentences about the zero of energies of each model that has a choice, and about the fine-tuning of models."""
    for name, model in plan.study.settings.models.items():
        title = model_title(plan.study, name)
        if model.start is not None:
            yield from (f"{title}: {note}" for note in fine_tuning_notes(plan, store, name))
            continue
        if not TRAINERS[model.kind].counts_from_atoms:
            continue
        if not counts_from_atoms(plan.study, name):
            yield (
                f"{title} counts energies from a least-squares fit of one number for each element to the labels; "
                "energies of single ions or other compositions by it mean nothing."
            )
        elif plan.atoms is not None and store.holds(plan.atoms):
            energies = read_atoms(store.path(plan.atoms)).items()
            listed = ", ".join(f"{element} {energy:.4f}" for element, energy in energies)
            yield f"{title} counts energies from isolated atoms by the reference method, spin-polarised (eV): {listed}."


def _stage_rows(plan: Plan, store: ResultStore) -> Iterator[StageRow]:
    for stage in plan.stages:
        if store.holds(stage):
            manifest = read_manifest(store.path(stage))
            yield StageRow(
                stage=manifest["name"],
                key=manifest["key"],
                seconds=manifest["wall_s"],
                host=manifest["host"],
                programs=manifest["programs"],
                seed=stage.settings.get("seed"),
                finished=manifest["finished"],
            )


def _costs(plan: Plan, store: ResultStore) -> Iterator[Cost]:
    labels, seconds = 0, 0.0
    for _, stage in _held(plan.labels, store):
        census: dict[str, Any] = json.loads((store.path(stage) / CENSUS).read_text())
        labels += sum(row["made"] for row in census["rows"].values())
        seconds += census["cost_s"]
    yield Cost("labels", labels, "frames", seconds)
    for name, stage in _held(_taught(plan), store):
        taught: dict[str, Any] = json.loads((store.path(stage) / CENSUS).read_text())
        yield Cost(f"labels {name}", sum(row["made"] for row in taught["rows"].values()), "frames", taught["cost_s"])
    for (iteration, kind), members in plan.trained.items():
        if not all(store.holds(stage) for stage in members):
            continue
        spent = sum(read_manifest(store.path(stage))["wall_s"] for stage in members)
        frames_seen = len(Dataset.read(store.path(members[0].inputs["dataset"])).train)
        yield Cost(f"training {kind}, iteration {iteration}", frames_seen, "frames", spent)


def _structure(plan: Plan, store: ResultStore) -> Structure | None:
    sampled = next(iter(plan.frames.values()))
    if not store.holds(sampled):
        return None
    frame = frames.read(store.path(sampled) / FRAMES)[0]
    topology = liquid_of(plan.study).topology
    return Structure(
        f"{frame.info['ions']}, {frame.info['recipe']}, first training frame",
        frame,
        topology.bonds,
        tuple(topology.atom_species),
    )

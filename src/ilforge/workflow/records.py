"""Every number of a study as one list of records, from all finished stages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from ilforge.dynamics.trajectory import Trajectory
from ilforge.properties import Measurement
from ilforge.properties.shapes import compare, have_common_map
from ilforge.properties.shared.holding import as_far_as_held, as_judged, verdict_of
from ilforge.results import HOLDS_LIQUID, TO_TEACHER, LiquidVerdict, Record
from ilforge.study.lineage import origin
from ilforge.workflow.plan import Plan
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.md import MEASUREMENT
from ilforge.workflow.steps.models import ERRORS, counts_from_atoms
from ilforge.workflow.steps.published import labelled_by
from ilforge.workflow.steps.structures import ions_of, liquid_of
from ilforge.workflow.steps.teaching import enlarged
from ilforge.workflow.store import ResultStore, read_manifest


def collect_records(plan: Plan, store: ResultStore) -> list[Record]:
    """Records of all finished validations and analyses; unfinished ones are left out."""
    liquids = {part.composition: liquid_of(part).name for part in plan.study.parts}
    errors = [*_validation_records(plan, store, liquids), *_teacher_records(plan, store, liquids)]
    return [*errors, *_property_records(plan, store), *divergences(plan, store)]


def measurements(plan: Plan, store: ResultStore) -> dict[tuple[str, str], dict[str, Measurement]]:
    """What was measured on each run, by ``(protocol, potential)`` and property.

    If a run does not hold the liquid, none of its numbers is converged.
    """
    runs: dict[tuple[str, str], dict[str, Measurement]] = {}
    for (protocol, potential, name), stage in plan.analyses.items():
        if store.holds(stage):
            found = Measurement.from_json(_stored(store, stage, MEASUREMENT))
            runs.setdefault((protocol, potential), {})[name] = found
    return {run: as_judged(found) for run, found in runs.items()}


def run_labels(plan: Plan) -> dict[str, dict[str, Any]]:
    """Liquid, ions and temperature of each MD protocol, by its name: a box of twice the ions holds the same liquid."""
    study = plan.study
    found: dict[str, dict[str, Any]] = {}
    for protocol in study.settings.protocols:
        part = study.part(protocol.composition)
        ions = ions_of(part, protocol)
        liquid = liquid_of(part).name if protocol.vacuum is None else f"{ions.name} in vacuum"
        temperature = protocol.temperature_K or study.settings.liquid.temperature_K
        found[protocol.name] = {"liquid": liquid, "ions": ions.label, "temperature_K": temperature}
    return found


def _states(plan: Plan) -> dict[str, dict[str, Any]]:
    """Ions, ensemble and set pressure of each MD protocol, by its name: runs at one temperature differ in these."""
    study = plan.study
    found: dict[str, dict[str, Any]] = {}
    for protocol in study.settings.protocols:
        ions = ions_of(study.part(protocol.composition), protocol).label
        found[protocol.name] = {"ions": ions, "ensemble": protocol.ensemble}
        if protocol.ensemble == "NPT":
            own, common = protocol.pressure_bar, study.settings.liquid.pressure_bar
            found[protocol.name]["pressure_bar"] = common if own is None else own
    return found


def divergences(plan: Plan, store: ResultStore) -> Iterator[Record]:
    """How much the shapes of ions differ between two potentials of a protocol, or two protocols of a potential."""
    labels, runs = run_labels(plan), measurements(plan, store)
    shapes = {run: found["shapes"] for run, found in runs.items() if "shapes" in found}
    for (one, a), (other, b) in combinations(shapes.items(), 2):
        if (one[0] == other[0]) == (one[1] == other[1]) or not have_common_map(a, b):
            continue
        verdicts = [found for found in (verdict_of(runs[one]), verdict_of(runs[other])) if found is not None]
        for quantity, ion, estimate in compare(a, b):
            yield Record.of(
                as_far_as_held(estimate, verdicts),
                quantity=quantity,
                species=ion,
                potential=one[1],
                iteration=_iteration(plan, one[1]),
                liquid=labels[one[0]]["liquid"],
                temperature_K=labels[one[0]]["temperature_K"],
                provenance={"protocol": one[0], "against": {"protocol": other[0], "potential": other[1]}},
            )


def _iteration(plan: Plan, potential: str) -> int | None:
    return plan.last_iteration if potential in plan.study.settings.models else None


def _validation_records(plan: Plan, store: ResultStore, liquids: dict[str, str]) -> Iterator[Record]:
    reference = labelled_by(plan.study, plan.dataset)
    for (iteration, potential, composition), stage in plan.validations.items():
        for row in _stored(store, stage, ERRORS) or []:
            yield _record(
                row,
                liquid=liquids[composition],
                temperature_K=plan.study.settings.liquid.temperature_K,
                potential=potential,
                iteration=iteration,
                provenance={
                    "stage": stage.key,
                    "reference": reference,
                    "origin": origin(plan.study.settings, potential),
                    **_counted_from(plan, potential, iteration),
                    **_tuned(plan, store, potential),
                },
            )


def _teacher_records(plan: Plan, store: ResultStore, liquids: dict[str, str]) -> Iterator[Record]:
    """Differences of students from their teachers, as separate quantities, so that they are not taken for errors."""
    for (student, composition, multiple), stage in plan.comparisons.items():
        part = plan.study.part(composition or None)
        ions = liquid_of(enlarged(part, max(1, multiple))).label
        made = "validation frames of the reference" if multiple == 0 else "boxes held out from the student's own"
        for row in _stored(store, stage, ERRORS) or []:
            dataset = row["dataset"] if multiple == 0 else f"{row['dataset']}, held out, {ions}"
            yield _record(
                {**row, "quantity": f"{row['quantity']}{TO_TEACHER}", "dataset": dataset},
                liquid=liquids[composition],
                temperature_K=part.settings.liquid.temperature_K,
                potential=student,
                iteration=plan.last_iteration,
                provenance={
                    "stage": stage.key,
                    "teacher": plan.students[student].teacher.name,
                    "frames": made,
                    "ions": ions,
                    "origin": origin(plan.study.settings, student),
                },
            )


def fine_tuning_notes(plan: Plan, store: ResultStore, name: str) -> Iterator[str]:
    """A sentence about the fine-tuning of the first member of a committee, if it was fine-tuned and is finished."""
    model = plan.study.settings.models.get(name)
    if model is None or model.start is None:
        return
    iteration = 0 if model.teacher is None else plan.last_iteration
    for stage in plan.trained.get((iteration, name), [])[:1]:
        if store.holds(stage) and "note" in (facts := read_manifest(store.path(stage)).get("facts", {})):
            yield facts["note"]


def _tuned(plan: Plan, store: ResultStore, name: str) -> dict[str, str]:
    found = list(fine_tuning_notes(plan, store, name))
    return {"fine_tuning": found[0]} if found else {}


def _counted_from(plan: Plan, potential: str, iteration: int | None) -> dict[str, str]:
    """The zero of the energies of a trained model, if this kind of model has a choice."""
    if iteration is None or not hasattr(plan.study.settings.models[potential], "atom_energies"):
        return {}
    settings = plan.study.settings.models[potential]
    words = (
        "isolated atoms by the reference method" if counts_from_atoms(plan.study, potential) else "fit to the labels"
    )
    if settings.start is not None:
        words = f"those of {settings.start}, aligned by {words}"
    return {"atom_energies": words}


def _property_records(plan: Plan, store: ResultStore) -> Iterator[Record]:
    labels, states = run_labels(plan), _states(plan)
    for (protocol, potential), found in measurements(plan, store).items():
        run, temperature = plan.trajectories[protocol, potential], labels[protocol]["temperature_K"]
        if store.holds(run):
            temperature = Trajectory(store.path(run)).temperature_K
        liquid = verdict_of(found)
        for name, measurement in found.items():
            stage = plan.analyses[protocol, potential, name]
            for quantity, species, estimate in measurement.estimates:
                judged = _as_provenance(liquid) if quantity == HOLDS_LIQUID else {}
                yield Record.of(
                    estimate,
                    quantity=quantity,
                    species=species,
                    liquid=labels[protocol]["liquid"],
                    temperature_K=temperature,
                    potential=potential,
                    iteration=_iteration(plan, potential),
                    provenance={"stage": stage.key, "protocol": protocol, **states[protocol], **judged},
                    verdict=None if liquid is None else liquid.holding,
                )


def _as_provenance(liquid: LiquidVerdict | None) -> dict[str, Any]:
    """The numbers on which a verdict is based."""
    if liquid is None:
        return {}
    found = {
        "start_density_g_cm3": liquid.start_density,
        "density_g_cm3": liquid.density,
        "time_ps": liquid.time_ps,
    }
    return {key: value for key, value in found.items() if value is not None}


def _record(row: dict[str, Any], **labels: Any) -> Record:
    numbers = {key: math.nan if row[key] is None else row[key] for key in ("value", "error", "n_eff")}
    return Record(**{**labels, **row, **numbers})


def _stored(store: ResultStore, stage: Stage, file: str) -> Any:
    path = store.path(stage) / file
    return json.loads(path.read_text()) if store.holds(stage) else None

"""Every number of a study as one list of records, from whatever of it is finished."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from ilforge.dynamics.trajectory import Trajectory
from ilforge.properties import Measurement
from ilforge.properties.shapes import compare, have_common_map
from ilforge.results import Record
from ilforge.workflow.plan import Plan
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.md import MEASUREMENT
from ilforge.workflow.steps.models import ERRORS
from ilforge.workflow.steps.published import labelled_by
from ilforge.workflow.steps.structures import ions_of, liquid_of
from ilforge.workflow.store import ResultStore


def collect_records(plan: Plan, store: ResultStore) -> list[Record]:
    """Records of all finished validations and analyses; what is not there yet is left out."""
    liquids = {part.composition: liquid_of(part).name for part in plan.study.parts}
    return [*_validation_records(plan, store, liquids), *_property_records(plan, store), *divergences(plan, store)]


def run_labels(plan: Plan) -> dict[str, dict[str, Any]]:
    """Liquid, ions and temperature of each MD protocol, by its name: a box of twice the ions holds the same liquid."""
    study, found = plan.study, {}
    for protocol in study.settings.md:
        part = study.part(protocol.composition)
        ions = ions_of(part, protocol)
        liquid = liquid_of(part).name if protocol.vacuum is None else f"{ions.name} in vacuum"
        temperature = protocol.temperature_K or study.settings.liquid.temperature_K
        found[protocol.name] = {"liquid": liquid, "ions": ions.label, "temperature_K": temperature}
    return found


def _states(plan: Plan) -> dict[str, dict[str, Any]]:
    """What tells runs at one temperature apart, of each MD protocol by its name: ions, ensemble and set pressure."""
    study, found = plan.study, {}
    for protocol in study.settings.md:
        ions = ions_of(study.part(protocol.composition), protocol).label
        found[protocol.name] = {"ions": ions, "ensemble": protocol.ensemble}
        if protocol.ensemble == "NPT":
            own, common = protocol.pressure_bar, study.settings.liquid.pressure_bar
            found[protocol.name]["pressure_bar"] = common if own is None else own
    return found


def divergences(plan: Plan, store: ResultStore) -> Iterator[Record]:
    """How much the shapes of ions differ between two potentials of a protocol, or two protocols of a potential."""
    labels = run_labels(plan)
    shapes = {
        (protocol, potential): Measurement.from_json(_stored(store, stage, MEASUREMENT))
        for (protocol, potential, name), stage in plan.analyses.items()
        if name == "shapes" and store.holds(stage)
    }
    for (one, a), (other, b) in combinations(shapes.items(), 2):
        if (one[0] == other[0]) == (one[1] == other[1]) or not have_common_map(a, b):
            continue
        for quantity, ion, estimate in compare(a, b):
            yield Record.of(
                estimate,
                quantity=quantity,
                species=ion,
                potential=one[1],
                iteration=_iteration(plan, one[1]),
                liquid=labels[one[0]]["liquid"],
                temperature_K=labels[one[0]]["temperature_K"],
                provenance={"protocol": one[0], "against": {"protocol": other[0], "potential": other[1]}},
            )


def _iteration(plan: Plan, potential: str) -> int | None:
    return None if potential in ("clp", "clpol", "exp6", "reference") else plan.last_iteration


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
                provenance={"stage": stage.key, "reference": reference, **_counted_from(plan, potential, iteration)},
            )


def _counted_from(plan: Plan, potential: str, iteration: int | None) -> dict[str, str]:
    """What a trained MACE counts energies from."""
    if potential != "mace" or iteration is None:
        return {}
    return {"atom_energies": "fit to the labels" if plan.atoms is None else "isolated atoms by the reference method"}


def _property_records(plan: Plan, store: ResultStore) -> Iterator[Record]:
    labels, states = run_labels(plan), _states(plan)
    for (protocol, potential, _), stage in plan.analyses.items():
        if not store.holds(stage):
            continue
        run, temperature = plan.trajectories[protocol, potential], labels[protocol]["temperature_K"]
        if store.holds(run):
            temperature = Trajectory(store.path(run)).temperature_K
        for row in _stored(store, stage, MEASUREMENT)["estimates"]:
            yield _record(
                row,
                liquid=labels[protocol]["liquid"],
                temperature_K=temperature,
                potential=potential,
                dataset=None,
                iteration=_iteration(plan, potential),
                provenance={"stage": stage.key, "protocol": protocol, **states[protocol]},
            )


def _record(row: dict[str, Any], **labels: Any) -> Record:
    numbers = {key: math.nan if row[key] is None else row[key] for key in ("value", "error", "n_eff")}
    return Record(**{**labels, **row, **numbers})


def _stored(store: ResultStore, stage: Stage, file: str) -> Any:
    path = store.path(stage) / file
    return json.loads(path.read_text()) if store.holds(stage) else None

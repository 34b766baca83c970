"""Every number of a study as one list of records, from whatever of it is finished."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from ilforge.results import Record
from ilforge.workflow.plan import Plan
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.md import MEASUREMENT
from ilforge.workflow.steps.models import ERRORS
from ilforge.workflow.steps.published import labelled_by
from ilforge.workflow.steps.structures import liquid_of
from ilforge.workflow.store import ResultStore


def collect_records(plan: Plan, store: ResultStore) -> list[Record]:
    """Records of all finished validations and analyses; what is not there yet is left out."""
    liquids = {part.composition: liquid_of(part).name for part in plan.study.parts}
    return [*_validation_records(plan, store, liquids), *_property_records(plan, store, liquids)]


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


def _property_records(plan: Plan, store: ResultStore, liquids: dict[str, str]) -> Iterator[Record]:
    protocols = {protocol.name: protocol for protocol in plan.study.settings.md}
    for (protocol, potential, _), stage in plan.analyses.items():
        temperature = protocols[protocol].temperature_K or plan.study.settings.liquid.temperature_K
        measurement = _stored(store, stage, MEASUREMENT) or {"estimates": []}
        for row in measurement["estimates"]:
            yield _record(
                row,
                liquid=liquids[plan.study.part(protocols[protocol].composition).composition],
                temperature_K=temperature,
                potential=potential,
                dataset=None,
                iteration=None if potential in ("clp", "clpol", "exp6", "reference") else plan.last_iteration,
                provenance={"stage": stage.key, "protocol": protocol},
            )


def _record(row: dict[str, Any], **labels: Any) -> Record:
    numbers = {key: math.nan if row[key] is None else row[key] for key in ("value", "error", "n_eff")}
    return Record(**{**labels, **row, **numbers})


def _stored(store: ResultStore, stage: Stage, file: str) -> Any:
    path = store.path(stage) / file
    return json.loads(path.read_text()) if store.holds(stage) else None

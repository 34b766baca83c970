"""Energies of isolated atoms by the reference method, for models whose energies are relative to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilforge import potentials
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.labelling.atoms import atom_label, held_atoms, require_atoms
from ilforge.labelling.datasets.published import Published
from ilforge.labelling.storing.inbox import deliver
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import Study
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.structures import elements_of, reference_spec
from ilforge.workflow.store import write_json

ATOMS = "atoms.json"


def atoms_stage(study: Study, dataset: Published | None, method: Mapping[str, Any]) -> Stage:
    """``atoms.json``: the energy of each element's isolated atom, eV, computed once or taken from a dataset.

    ``method`` is the description of the reference by itself.

    Raises
    ------
    SettingsError
        When the method gives none, or the dataset lacks an element.
    """
    elements = elements_of(study)
    return _computed(study, elements, dict(method)) if dataset is None else _taken(elements, dataset)


def read_atoms(directory: Path) -> dict[str, float]:
    """Energy by element, eV."""
    energies: dict[str, float] = json.loads((directory / ATOMS).read_text())
    return energies


def _computed(study: Study, elements: list[str], description: dict[str, Any]) -> Stage:
    spec = reference_spec(study)
    method = potentials.create(spec)
    require_atoms(method)

    def work(job: Job) -> None:
        with LabelStore(job.store.labels) as store:
            held = held_atoms(store, description, elements)
            missing = [element for element in elements if element not in held or held[element].failed]
            job.expect(len(missing))
            for _ in job.each(_label_atom, [(spec, element, store.inbox) for element in missing]):
                store.absorb_inbox()
            labels = held_atoms(store, description, elements)
        failed = [f"{element}: {label.error}" for element, label in labels.items() if label.failed]
        if failed:
            raise DidNotConverge(f'Isolated atoms without an energy: {"; ".join(failed)}. Set atom_energies = "fit".')
        write_json(job.directory / ATOMS, {element: label.energy for element, label in labels.items()})

    return Stage(
        name="energies of isolated atoms",
        kind="atoms",
        runs_as="label",
        version=1,
        settings={"reference": description, "elements": elements},
        inputs={},
        work=work,
        tasks=len(elements),
        task_seconds=method.seconds_per_frame(70),
    )


def _taken(elements: list[str], dataset: Published) -> Stage:
    energies = dataset.isolated_atoms
    lacking = [element for element in elements if element not in energies]
    if lacking:
        raise SettingsError(
            f'atom_energies = "isolated atoms", but {dataset.directory} has no energies of isolated '
            f'{", ".join(lacking)}. Set it to "fit".'
        )
    chosen = {element: energies[element] for element in elements}

    def work(job: Job) -> None:
        write_json(job.directory / ATOMS, chosen)

    return Stage(
        name=f"energies of isolated atoms from {dataset.name}",
        kind="atoms",
        version=1,
        settings={"reference": dataset.method, "energies": chosen},
        inputs={},
        work=work,
        task_seconds=0.1,
    )


def _label_atom(spec: Mapping[str, Any], element: str, inbox: Path) -> None:
    deliver(atom_label(spec, element), inbox)

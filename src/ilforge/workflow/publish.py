"""The labels of a study as a dataset to share, finished or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ase import Atoms

from ilforge import files, frames, machine_programs, potentials
from ilforge.errors import SettingsError
from ilforge.labelling.atoms import held_atoms
from ilforge.labelling.datasets.published import PURPOSES, Entry, Published
from ilforge.labelling.datasets.publishing import publish
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.refusals import REASON, Refusal
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.study.load import Study
from ilforge.study.machine import Machine
from ilforge.workflow.dataset_card import CARD, card_text
from ilforge.workflow.executors import Place
from ilforge.workflow.plan import Plan, make_plan
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import REJECTED
from ilforge.workflow.steps.structures import computes_with, elements_of, liquid_of, reference_spec
from ilforge.workflow.store import ResultStore


def publish_study(
    study: Study, machine: Machine, directory: Path, licence: str = "", note: str = ""
) -> tuple[Published, int]:
    """Write the labels that a study has so far as a dataset, and its card.

    Frames of concurrent learning are for training.

    Parameters
    ----------
    licence, note
        For the card: what others may do with the labels, and what else they must know, a sentence each.

    Returns
    -------
    dataset, missing
        The dataset, and the number of sampled frames without a label.

    Raises
    ------
    SettingsError
        When nothing is labelled yet, or the study takes its labels from a dataset itself.
    """
    if study.settings.dataset is not None:
        raise SettingsError(
            f"The labels of {study.settings.name} come from {study.settings.dataset}: share that folder."
        )
    machine_programs.use(machine.programs)
    store = ResultStore(Path(machine.store))
    plan = make_plan(study, store)
    reference = potentials.create(reference_spec(study))
    sampled = {frames.digest(frame): (frame, purpose, liquid) for frame, purpose, liquid in _sampled(plan, store)}
    if not sampled:
        raise SettingsError(f"{study.settings.name} has no frames in {store.root} yet: run it first.")
    with LabelStore(store.labels) as labels:
        labels.absorb_inbox()
        found = labels.get_many(list(sampled), potentials.digest(reference))
        held = {digest: label for digest, label in found.items() if not label.may_pass}
        elements = elements_of(study)
        atoms = held_atoms(labels, reference.describe(), elements)
    isolated = {element: label.result[0] for element, label in atoms.items() if not label.failed}
    gate, entries = study.settings.gate, []
    for purpose in PURPOSES:
        of = {digest: label.of(sampled[digest][0]) for digest, label in held.items() if sampled[digest][1] == purpose}
        topologies = {sampled[digest][2].label: sampled[digest][2].topology for digest in of}
        reasons = judge_batch(of, partial(_topology, topologies), gate)
        entries += [Entry(label, purpose, reasons[digest]) for digest, label in of.items()]
    dataset = publish(
        directory,
        Path(directory).absolute().name,
        entries,
        title=study.settings.potential(study.settings.reference.potential).title,
        settings=potentials.settings(reference),
        study=study.text,
        gate=gate,
        isolated_atoms=isolated if set(isolated) == set(elements) else {},  # of some elements they are of no use
        programs=Place.here().versions(computes_with(reference_spec(study)["kind"])),
    )
    files.write_text(dataset.directory / CARD, card_text(dataset, licence, note))
    return dataset, len(sampled) - len(held)


def _topology(known: Mapping[str, Topology], frame: Atoms) -> Topology:
    return known[frame.info["ions"]]


def refusals_of_study(study: Study, machine: Machine) -> list[Refusal]:
    """Every label of a study's finished stages that was refused."""
    machine_programs.use(machine.programs)
    store = ResultStore(Path(machine.store))
    plan = make_plan(study, store)
    found = []
    for name, stage in plan.labels.items():
        if store.holds(stage):
            refused = frames.read(store.path(stage) / REJECTED)
            found += [Refusal(frame, f"{name}, {_history(frame)}", frame.info[REASON]) for frame in refused]
    return found


def _history(frame: Atoms) -> str:
    """Where a frame comes from and its name in the label store."""
    parts = [str(frame.info[key]) for key in ("kind", "recipe", "parent") if key in frame.info]
    return ", ".join([*parts, f"frame {frames.digest(frame)[:12]}"])


def _sampled(plan: Plan, store: ResultStore) -> Iterator[tuple[Atoms, str, Liquid]]:
    """Every frame that was made to be labelled, with its purpose and its liquid."""
    for name, stage in plan.labels.items():
        source = stage.inputs["frames"]
        if not store.holds(source):
            continue
        liquid = liquid_of(plan.study.part(plan.sets[name].composition or None))
        purpose = "validation" if plan.sets[name].purpose == "validation" else "training"
        for frame in frames.read(store.path(source) / FRAMES):
            yield frame, purpose, liquid

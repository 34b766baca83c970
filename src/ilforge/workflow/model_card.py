"""The card of a model, ``README.md``: training data, errors, the verdict on the liquid, and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ilforge
from ilforge import potentials
from ilforge.frames import density_g_cm3
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.potentials import POTENTIALS
from ilforge.report.citations import STUDY, works_on
from ilforge.report.wording import quantity_name, shown_unit, with_error
from ilforge.results import HOLDS_LIQUID, TO_TEACHER, Holding, Record
from ilforge.study.lineage import made_from, origin, teacher_of
from ilforge.study.load import Study
from ilforge.study.names import potential_named
from ilforge.training import TRAINERS
from ilforge.workflow.plan import Plan
from ilforge.workflow.records import fine_tuning_notes
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.models import counts_from_atoms
from ilforge.workflow.steps.published import labelled_by
from ilforge.workflow.steps.structures import liquid_of, reference_spec, spec_of
from ilforge.workflow.store import ResultStore, read_manifest

CARD = "README.md"
_ERRORS = ("force_rmse", "force_mae", "energy_rmse_per_atom", "energy_rmse_per_atom_offset_removed")


def card_text(
    plan: Plan,
    store: ResultStore,
    records: Sequence[Record],
    name: str,
    digests: Mapping[str, str],
    snippets: Mapping[str, str],
) -> str:
    """The card in Markdown.

    Parameters
    ----------
    digests
        SHA-256 by file.
    snippets
        Files that run the model, by name.
    """
    settings = plan.study.settings
    kind = TRAINERS[settings.models[name].kind]
    mine = [record for record in records if record.potential == name]
    liquids = ", ".join(liquid_of(part).name for part in plan.study.parts)
    stage = plan.trained[plan.last_iteration, name][0]
    dataset = Dataset.read(store.path(stage.inputs["dataset"]))
    spec = {**kind.spec(store.path(stage), digests[kind.file]), "path": kind.file}
    sections = {
        "Files": [f"- `{file}`, SHA-256 `{digest}`" for file, digest in digests.items()],
        "What it was trained on": list(_training(plan, store, name, stage, dataset)),
        "Errors": list(_errors(mine, name)),
        "Does it hold the liquid?": list(_verdicts(mine)),
        "Limits": list(_limits(plan.study, name, dataset, mine)),
        "How to use it": list(_use(snippets, spec)),
        "Licence": list(_licence(plan, name)),
        "What to cite": list(_works(plan, store, name)),
    }
    lines = [f"# {name}", "", f"{kind.title} model of {liquids}, {origin(settings, name)}; study {settings.name}."]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines) + "\n"


def _training(plan: Plan, store: ResultStore, name: str, stage: Stage, dataset: Dataset) -> Iterator[str]:
    study, model = plan.study, plan.study.settings.models[name]
    summary = dataset.summary()
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["kinds"]["train"].items())
    densities = [density_g_cm3(frame) for frame in dataset.train]
    ions = "; ".join(f"{count} of {label}" for label, count in summary["ions"].items())
    by = f"its teacher {model.teacher}" if model.teacher else labelled_by(study, plan.dataset)
    yield f"- {len(dataset.train)} frames ({kinds}), and {len(dataset.stop)} for early stopping: {ions}."
    yield f"- Densities {min(densities):.2f} to {max(densities):.2f} g/cm³. Labels by {by}."
    if model.teacher:
        yield f"- The teacher: {_teacher_words(plan, name)}. The labels carry its errors."
    yield from (f"- {note}" for note in fine_tuning_notes(plan, store, name))
    if model.start is None and hasattr(model, "atom_energies"):
        from_atoms = counts_from_atoms(study, name)
        zero = "isolated atoms by the reference method" if from_atoms else "a least-squares fit to the labels"
        yield f"- Energies are relative to {zero}."
    manifest = read_manifest(store.path(stage))
    versions = ", ".join(f"{program} {version}" for program, version in manifest["programs"].items())
    yield f"- Trained {manifest['finished']}, seed {stage.settings['seed']}, with {versions}."
    yield f"- Settings: `{json.dumps(stage.settings['training'], sort_keys=True)}`"


def _teacher_words(plan: Plan, name: str) -> str:
    settings, link = plan.study.settings, teacher_of(plan.study.settings, name)
    assert link is not None
    found = potential_named(link.name, settings.potentials)
    words = origin(settings, link.name) if found is None else found.title
    return f"{link.name}, {words}"


def _errors(mine: Sequence[Record], name: str) -> Iterator[str]:
    last = max((r.iteration for r in mine if r.iteration is not None), default=None)
    measured = {f"{quantity}{ending}" for quantity in _ERRORS for ending in ("", TO_TEACHER)}
    chosen = [r for r in mine if r.quantity in measured and r.species is None and r.iteration == last]
    for ending, heading in (("", "Against the reference, on frames that it was not trained on:"),
                            (TO_TEACHER, "Against its teacher:")):  # fmt: skip
        rows = [r for r in chosen if r.quantity in {f"{quantity}{ending}" for quantity in _ERRORS}]
        if not rows:
            continue
        yield from (heading, "", "| error | frames | value |", "|---|---|---|")
        for record in rows:
            unit, factor = shown_unit(record.unit)
            value = f"{with_error(record.value * factor, record.error * factor)} {unit}"
            note = f" ({record.note})" if record.note else ""
            yield f"| {quantity_name(record.quantity)} | {record.dataset} | {value}{note} |"
        yield ""
    if not chosen:
        yield f"None were measured of {name} yet."


def _verdicts(mine: Sequence[Record]) -> Iterator[str]:
    found = [r for r in mine if r.quantity == HOLDS_LIQUID]
    for record in found:
        yield f"- {record.provenance.get('protocol', '')}, {record.temperature_K:g} K: {record.note}."
    if not any(r.verdict in (Holding.HOLDS, Holding.DOES_NOT_HOLD) for r in found):
        yield (
            "Not known: no MD at constant pressure was judged. Small force errors do not mean that a model holds its "
            "liquid; run NPT with it (`[[md]]`) before you trust it."
        )


def _limits(study: Study, name: str, dataset: Dataset, mine: Sequence[Record]) -> Iterator[str]:
    model = study.settings.models[name]
    yield f"- It knows {', '.join(dataset.elements)} in these ions, and these densities, only."
    yield f"- Sampled at {study.settings.liquid.temperature_K:g} K, and hotter only where molecules were distorted."
    if model.teacher:
        yield "- Its labels are those of its teacher: it repeats the teacher's errors, and adds its own."
    if not counts_from_atoms(study, name):
        yield "- Energies of single ions, or of other compositions, mean nothing."
    if any(r.verdict is Holding.DOES_NOT_HOLD for r in mine):
        yield "- **It does not hold the liquid: use it for no property at constant pressure.**"


def _use(snippets: Mapping[str, str], spec: Mapping[str, Any]) -> Iterator[str]:
    if not snippets:
        yield f"In Python: `ilforge.create({spec}).calculator()` is a calculator of ASE."
    for file, text in snippets.items():
        language = "python" if file.endswith(".py") else ""
        yield from (f"`{file}`:", "", f"```{language}", text.rstrip(), "```", "")
    yield "A model file can run code when it is loaded: check it with `sha256sum -c SHA256` first."


def _licence(plan: Plan, name: str) -> Iterator[str]:
    settings, given = plan.study.settings, {}
    for link in made_from(settings, name):
        if link.what == "model":
            continue
        found = potential_named(link.name, settings.potentials)
        told: Mapping[str, str] = {} if found is None else POTENTIALS[found.kind].pretrained
        given[link.name] = told.get(getattr(found, "model", ""), "its licence is not known to ilforge")
    yield "The model is yours to license, within the terms of what it was made from:"
    yield ""
    yield f"- the labels: {labelled_by(plan.study, plan.dataset)}"
    yield from (f"- {other}: {terms}" for other, terms in given.items())


def _works(plan: Plan, store: ResultStore, name: str) -> Iterator[str]:
    settings = plan.study.settings
    stage = plan.trained[plan.last_iteration, name][0]
    kind = TRAINERS[stage.kind]
    specs = [reference_spec(plan.study)]
    methods: list[Mapping[str, Any]] = [{"kind": kind.potential, **kind.keys(store.path(stage))}]
    for link in made_from(settings, name):
        if link.what == "model":
            methods.append({"kind": TRAINERS[settings.models[link.name].kind].potential})
        elif potential_named(link.name, settings.potentials) is not None:
            specs.append(spec_of(plan.study, link.name))
    methods += [potentials.settings(potentials.create(spec)) for spec in specs]
    found = works_on(methods, stage.programs)
    yield from (f"- {work}" for work in (f"ilforge {ilforge.__version__}.", STUDY, *found))

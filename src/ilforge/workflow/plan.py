"""The plan of a study: every stage, from the packed boxes to the last property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ilforge import potentials
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.published import Published
from ilforge.labelling.methods import description
from ilforge.potentials import POTENTIALS
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.lineage import given_names
from ilforge.study.load import Study
from ilforge.study.md_settings import MdSettings
from ilforge.study.names import potential_named
from ilforge.workflow.lessons import Schooling, given_potentials, plan_students, plan_training
from ilforge.workflow.loop import Results
from ilforge.workflow.rounds import goes_on, left_labels, plan_explored_labels, plan_gathering, taken_labels
from ilforge.workflow.stage import Stage, in_order
from ilforge.workflow.steps import aimd, atoms, labels, learning, md, models, named_ions, published, structures

Purpose = Literal["training", "validation", "learning"]


class FrameSet(NamedTuple):
    """What the frames of a set are for, and the composition of their boxes (empty if the study names none)."""

    purpose: Purpose
    composition: str


@dataclass
class Plan:
    """The stages of a study, grouped by their purpose.

    A *set* of frames is named ``"training"``, ``"validation"``, ``"learning 1"``, ..., with ``", NAME"`` behind where
    the study names compositions, and ``" AIMD"`` before that for frames of AIMD.

    Attributes
    ----------
    dataset
        The dataset that replaces sampling and labelling, if the study names one.
    method
        Description of the reference by itself, if it makes labels.
    atoms
        Energies of isolated atoms, if energies of models are relative to them.
    sets
        Every set of frames, by name.
    frames, labels
        By name of the set.
    searches
        Explorations, by ``(iteration, composition)``.
    gatherings
        Decisions which labels a training takes before its iteration is over (``learning.retrain_after``), by iteration.
    datasets
        By iteration.
    trained
        By ``(iteration, model)``: one stage, or the committee's.
    students
        Lessons of the students, by model.
    validations
        By ``(iteration or None, potential, composition)``.
    holding
        Health of the liquid with the explorer's model, where a rule asks for it: by ``(iteration, composition)``.
    comparisons
        Comparisons of students with their teachers, by ``(student, composition, size)``. A size is that of held-out
        boxes, as a multiple of the ions of the liquid, or 0 for the validation frames.
    trajectories
        By ``(protocol, potential)``.
    analyses
        By ``(protocol, potential, property)``.
    notes
        One sentence for each thing that the plan leaves out.
    waits_for
        Stages whose results decide how the plan continues; later stages are not planned yet.
    """

    study: Study
    dataset: Published | None = None
    method: dict[str, Any] = field(default_factory=dict)
    atoms: Stage | None = None
    sets: dict[str, FrameSet] = field(default_factory=dict)
    frames: dict[str, Stage] = field(default_factory=dict)
    labels: dict[str, Stage] = field(default_factory=dict)
    datasets: list[Stage] = field(default_factory=list)
    gatherings: dict[int, Stage] = field(default_factory=dict)
    searches: dict[tuple[int, str], learning.Search] = field(default_factory=dict)
    trained: dict[tuple[int, str], list[Stage]] = field(default_factory=dict)
    students: dict[str, Schooling] = field(default_factory=dict)
    validations: dict[tuple[int | None, str, str], Stage] = field(default_factory=dict)
    holding: dict[tuple[int, str], Stage] = field(default_factory=dict)
    comparisons: dict[tuple[str, str, int], Stage] = field(default_factory=dict)
    trajectories: dict[tuple[str, str], Stage] = field(default_factory=dict)
    analyses: dict[tuple[str, str, str], Stage] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    waits_for: list[Stage] = field(default_factory=list)

    @property
    def stages(self) -> list[Stage]:
        """Every stage once, inputs first."""
        return in_order(
            [
                *self.frames.values(),
                *self.labels.values(),
                *self.gatherings.values(),
                *self.datasets,
                *self.explorations.values(),
                *(stage for members in self.trained.values() for stage in members),
                *self.validations.values(),
                *self.holding.values(),
                *self.comparisons.values(),
                *self.trajectories.values(),
                *self.analyses.values(),
            ]
        )

    def add_set(self, name: str, purpose: Purpose, part: Study) -> str:
        """Note what a set of frames of one composition is for; returns its name, with that of the composition."""
        full = structures.of_composition(part, name)
        self.sets[full] = FrameSet(purpose, part.composition)
        return full

    def labels_for(self, purpose: Purpose) -> dict[str, Stage]:
        """Labels of all sets with this purpose, by name of the set."""
        return {name: stage for name, stage in self.labels.items() if self.sets[name].purpose == purpose}

    @property
    def explorations(self) -> dict[tuple[int, str], Stage]:
        """The stages that select frames from all runs of an exploration, by ``(iteration, composition)``."""
        return {key: search.selected for key, search in self.searches.items()}

    @property
    def last_iteration(self) -> int:
        return len(self.datasets) - 1


def make_plan(
    study: Study, results: Results | None = None, labels_of: Path | None = None, foresee: bool = False
) -> Plan:
    """All stages of a study except its report, with names, keys and expected costs. Nothing is computed.

    Parameters
    ----------
    results
        Results of earlier stages, which decide whether concurrent learning continues (``learning.stop``). Without them
        all iterations are planned.
    labels_of
        Label store of a study that is only inspected. If the program of the reference is not installed any more, the
        description of the method in this store is used instead.
    foresee
        Plan all iterations even if they wait for a decision, to estimate their cost. The keys of stages after it are
        not the final ones.

    Raises
    ------
    SettingsError
        For an unknown ion, a charged box, a force field that does not know the ions, or a name in ``[analysis]`` that
        no composition has.
    """
    plan = Plan(study, published.dataset_of(study))
    if labels_of is None:
        published.require_reference(study, plan.dataset)
    if plan.dataset is None or study.settings.learning.iterations:
        plan.method = description(potentials.create(structures.reference_spec(study)), labels_of)
    _refuse_unknown_names(study)
    if any(models.counts_from_atoms(study, name) for name in study.settings.models):
        plan.atoms = atoms.atoms_stage(study, plan.dataset, plan.method)
    for part in study.parts:
        _refuse_unfit_potentials(part, plan.dataset, ask_reference=labels_of is None)
        _plan_labels(plan, part)
    for iteration in range(study.settings.learning.iterations + 1):
        if not goes_on(plan, iteration, None if foresee else results):
            if not plan.waits_for:
                _plan_left_labels(plan, iteration, results)
            break
        sources = _labels_for(plan, iteration)
        taken = taken_labels(plan, iteration, results, foresee)
        if plan.waits_for:
            break
        _plan_iteration(plan, iteration, sources, taken)
    for part in study.parts:
        _plan_given_validations(plan, part)
    if not plan.waits_for:
        plan_students(plan, _plan_validations)
        _plan_md(plan)
    return plan


def _plan_labels(plan: Plan, part: Study) -> None:
    """Frames of one composition, and their labels."""
    purposes: tuple[Purpose, ...] = ("training", "validation")
    for purpose in purposes:
        counts: FrameCounts = getattr(part.settings.sampling, purpose)
        name = plan.add_set(purpose, purpose, part)
        if plan.dataset is not None:
            taken = published.published_stage(part, purpose, plan.dataset)
            plan.frames[name] = plan.labels[name] = taken
            continue
        sampled = plan.frames[name] = structures.frames_stage(part, purpose)
        plan.labels[name] = labels.label_stage(
            part, f"label {purpose} frames", sampled, counts.single_points, plan.method, counts=counts
        )
        if counts.aimd:
            runs = aimd.aimd_stage(part, purpose, sampled, plan.method)
            name = plan.add_set(f"{purpose} AIMD", purpose, part)
            plan.frames[name] = runs
            plan.labels[name] = labels.label_stage(
                part, f"judge {purpose} frames of AIMD", runs, counts.aimd, plan.method, computed=True
            )


def _labels_for(plan: Plan, iteration: int) -> list[Stage]:
    """Stages with the labels that the dataset of an iteration gets; from the first iteration on, of explored frames."""
    if iteration == 0:
        return list(plan.labels_for("training").values())
    labelled = [plan_explored_labels(plan, part, iteration) for part in plan.study.parts]
    if plan.study.settings.learning.retrain_after is None:
        return labelled
    return [plan_gathering(plan, iteration)]


def _plan_left_labels(plan: Plan, iteration: int, results: Results | None) -> None:
    """After a rule has ended concurrent learning: one more training, if labels are left that none has taken."""
    left = left_labels(plan, iteration, results)
    if left is not None:
        decision, taken = left
        _plan_iteration(plan, iteration, [decision], taken)


def _plan_iteration(plan: Plan, iteration: int, sources: Sequence[Stage], taken: str | None) -> None:
    """Dataset, trainings and validations. For ``taken`` see :func:`~ilforge.workflow.steps.models.dataset_stage`."""
    study, settings = plan.study, plan.study.settings
    before = plan.datasets[-1] if plan.datasets else None
    dataset = models.dataset_stage(study, iteration, sources, before, taken)
    plan.datasets.append(dataset)
    expected = _expected(plan, "training") + iteration * settings.learning.max_candidates
    size = models.size_of(study, expected)
    for name in settings.models:
        if settings.models[name].teacher is None:
            plan_training(plan, name, iteration, size)
            _plan_validations(plan, name, iteration)


def _plan_validations(plan: Plan, name: str, iteration: int) -> None:
    """Comparison of a trained model with the validation frames of every composition."""
    for part in plan.study.parts:
        _plan_validation(plan, part, name, iteration, model=plan.trained[iteration, name][0])


def _plan_validation(
    plan: Plan,
    part: Study,
    name: str,
    iteration: int | None = None,
    model: Stage | None = None,
    spec: dict[str, Any] | None = None,
) -> None:
    """Comparison of a model or a given potential with the validation frames of one composition."""
    title = potential_title(part, name) if iteration is None else f"{name}, iteration {iteration}"
    plan.validations[iteration, name, part.composition] = models.validation_stage(
        part,
        title,
        plan.labels[structures.of_composition(part, "validation")],
        _expected(plan, "validation"),
        model,
        spec,
        trained=name,
    )


def potential_title(study: Study, name: str) -> str:
    """Printed name of a potential or model: its kind, or its own name if this differs from the kind."""
    if name in study.settings.models:
        return models.model_title(study, name)
    settings = potential_named(name, study.settings.potentials)
    return POTENTIALS[name].title if settings is not None and name == settings.kind else name


def _expected(plan: Plan, purpose: str) -> int:
    """Labels of each composition, for planning."""
    if plan.dataset is not None:
        return sum(plan.dataset.counts(purpose).values()) // len(plan.study.parts)
    return int(getattr(plan.study.settings.sampling, purpose).labels)


def _plan_given_validations(plan: Plan, part: Study) -> None:
    """Comparisons with the labels of force fields, of models that are used as they are, and of starts and teachers."""
    links = given_names(part.settings)
    for name, spec in given_potentials(part).items():
        family = POTENTIALS[spec["kind"]].family
        if name not in links and family not in ("force field", "model"):
            continue
        try:
            structures.refuse_unfit_box(part, spec, _densest(part, plan.dataset))
        except SettingsError:
            plan.notes.append(
                f"{potential_title(part, name)} is not compared with labels: its cutoff does not fit into their boxes."
            )
            continue
        _plan_validation(plan, part, name, spec=spec)


def _plan_md(plan: Plan) -> None:
    settings = plan.study.settings
    for protocol in settings.protocols:
        part = plan.study.part(protocol.composition)
        start = structures.start_stage(part, protocol)
        inner = None if protocol.inner_potential is None else _what_runs(plan, part, protocol.inner_potential)
        for name in protocol.potentials:
            runs = _what_runs(plan, part, name)
            model, spec = (runs, None) if isinstance(runs, Stage) else (None, runs)
            if spec is not None:
                _refuse_unfit_md(part, protocol, name, spec)
            trajectory = md.md_stage(part, protocol, name, start, model, spec, inner)
            plan.trajectories[protocol.name, name] = trajectory
            for property_name in md.measured_in(protocol, settings.analysis):
                analysis = md.analysis_stage(part, protocol, trajectory, property_name)
                plan.analyses[protocol.name, name, property_name] = analysis


def _what_runs(plan: Plan, part: Study, name: str) -> Stage | dict[str, Any]:
    """The last training of the model with this name, or the given potential."""
    if name in plan.study.settings.models:
        return plan.trained[plan.last_iteration, name][0]
    return structures.spec_of(part, name)


def _refuse_unknown_names(study: Study) -> None:
    """Check the names in the settings of every property now, because MD may take days before it is measured."""
    protocols, analysis = study.settings.protocols, study.settings.analysis
    liquids = [structures.liquid_of(part) for part in study.parts]
    lone = [structures.ions_of(study, protocol) for protocol in protocols if protocol.vacuum is not None]
    measured = {name for protocol in protocols for name in md.measured_in(protocol, analysis)}
    for name in named_ions.NAMING:
        if name in measured:
            named_ions.refuse_unknown(name, analysis, liquids, lone)


def _densest(part: Study, dataset: Published | None) -> float:
    """Density of the densest box with labels, relative to that of the liquid."""
    sampling, liquid = part.settings.sampling, structures.liquid_of(part)
    ratios = [1.0]
    if dataset is not None and liquid.label in dataset.compositions:
        volume = liquid.volume(part.settings.liquid.density_g_cm3)
        ratios.append(volume / dataset.smallest_side_A(liquid.label) ** 3)
    elif dataset is None:
        ratios += sampling.density_ratios
        for counts in (sampling.training, sampling.validation):
            ratios += counts.density_ratios or []
            for kind in structures.asked_of(counts, sampling).values():
                ratios += [] if kind.ratios is None else kind.ratios(sampling)
    return max(ratios)


def _refuse_unfit_potentials(part: Study, dataset: Published | None, ask_reference: bool) -> None:
    """Check that the potentials that sample and label support the ions and boxes, and that all others support the
    ions."""
    densest = _densest(part, dataset)
    try:
        structures.refuse_unfit(part, structures.sampling_spec(part), densest)
    except SettingsError as error:
        raise SettingsError(f"sampling.potential is {part.settings.sampling.potential!r}: {error}") from None
    if part.settings.dataset is None and ask_reference:
        structures.refuse_unfit(part, structures.reference_spec(part), densest)


def _refuse_unfit_md(part: Study, protocol: MdSettings, name: str, spec: dict[str, Any]) -> None:
    ions = structures.ions_of(part, protocol)
    if protocol.ensemble == "NPT" and not potentials.create(spec).has_stress:
        raise SettingsError(
            f"[[md]] {protocol.name}: NPT needs a stress, which {name} does not give. Use NVT, leave it out of the "
            "potentials of this table, or set stress = true in its own with the cutoff that it asks for."
        )
    structures.refuse_unknown_elements(spec, ions)
    if protocol.vacuum is not None:
        structures.refuse_unfit_ions(spec, ions)
    elif structures.is_force_field(spec):
        try:
            structures.refuse_unfit(part, spec, liquid=ions)
        except SettingsError as error:
            whose = f"[[md]] {protocol.name} with {name}: give it a table [potentials.{name}] or a larger box_multiple"
            raise SettingsError(f"{whose}: {error}") from None

"""The plan of a study: every stage, from the packed boxes to the last property."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ilforge import potentials
from ilforge.errors import SettingsError
from ilforge.labelling.published import Published
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import Study
from ilforge.study.potential_settings import PotentialSettings
from ilforge.study.settings import MdSettings
from ilforge.workflow.stage import Stage, in_order
from ilforge.workflow.steps import aimd, atoms, labels, learning, md, models, named_ions, published, structures

FORCE_FIELDS = {"clp": "CL&P", "clpol": "CL&Pol", "exp6": "exp-6, polarizable"}
"""Potentials that are given by their parameters, and their names."""


@dataclass
class Plan:
    """The stages of a study, by what they are for.

    A *set* of frames is named ``"training"``, ``"validation"``, ``"learning 1"``, ..., with ``", NAME"`` behind where
    the study names compositions, and ``" AIMD"`` before that for frames of AIMD.

    Attributes
    ----------
    dataset
        The dataset that takes the place of sampling and labelling, where the study names one.
    atoms
        Energies of isolated atoms, where models count energies from them.
    frames, labels
        By set.
    explorations
        By ``(iteration, composition)``.
    datasets
        By iteration.
    trained
        By ``(iteration, "mace" or "deepmd")``: one stage, or the committee's.
    validations
        By ``(iteration or None, potential, composition)``.
    trajectories
        By ``(protocol, potential)``.
    analyses
        By ``(protocol, potential, property)``.
    """

    study: Study
    dataset: Published | None = None
    atoms: Stage | None = None
    frames: dict[str, Stage] = field(default_factory=dict)
    labels: dict[str, Stage] = field(default_factory=dict)
    datasets: list[Stage] = field(default_factory=list)
    explorations: dict[tuple[int, str], Stage] = field(default_factory=dict)
    trained: dict[tuple[int, str], list[Stage]] = field(default_factory=dict)
    validations: dict[tuple[int | None, str, str], Stage] = field(default_factory=dict)
    trajectories: dict[tuple[str, str], Stage] = field(default_factory=dict)
    analyses: dict[tuple[str, str, str], Stage] = field(default_factory=dict)

    @property
    def stages(self) -> list[Stage]:
        """Every stage once, inputs first."""
        return in_order(
            [
                *self.frames.values(),
                *self.labels.values(),
                *self.datasets,
                *self.explorations.values(),
                *(stage for members in self.trained.values() for stage in members),
                *self.validations.values(),
                *self.trajectories.values(),
                *self.analyses.values(),
            ]
        )

    @property
    def last_iteration(self) -> int:
        return len(self.datasets) - 1


def make_plan(study: Study) -> Plan:
    """All stages of a study but its report. Nothing is computed; only names, keys and expected costs.

    Raises
    ------
    SettingsError
        For an unknown ion, a charged box, a force field that does not know the ions, or a name in ``[analysis]`` that
        no composition has.
    """
    plan = Plan(study, published.dataset_of(study))
    published.require_reference(study, plan.dataset)
    _refuse_unknown_names(study)
    if "mace" in study.settings.training.models and study.settings.training.mace.atom_energies == "isolated atoms":
        plan.atoms = atoms.atoms_stage(study, plan.dataset)
    for part in study.parts:
        _refuse_unfit_potentials(part, plan.dataset)
        _plan_labels(plan, part)
    for iteration in range(study.settings.learning.iterations + 1):
        _plan_iteration(plan, iteration)
    for part in study.parts:
        _plan_force_field_validations(plan, part)
    _plan_md(plan)
    return plan


def _plan_labels(plan: Plan, part: Study) -> None:
    """Frames of one composition, and their labels."""
    for purpose in ("training", "validation"):
        counts: FrameCounts = getattr(part.settings.sampling, purpose)
        name = structures.of_composition(part, purpose)
        if plan.dataset is not None:
            taken = published.published_stage(part, purpose, plan.dataset)
            plan.frames[name] = plan.labels[name] = taken
            continue
        sampled = plan.frames[name] = structures.frames_stage(part, purpose)
        plan.labels[name] = labels.label_stage(
            part, f"label {purpose} frames", sampled, counts.single_points, counts=counts
        )
        if counts.aimd:
            runs = aimd.aimd_stage(part, purpose, sampled)
            name = structures.of_composition(part, f"{purpose} AIMD")
            plan.frames[name] = runs
            plan.labels[name] = labels.label_stage(
                part, f"judge {purpose} frames of AIMD", runs, counts.aimd, computed=True
            )


def _plan_iteration(plan: Plan, iteration: int) -> None:
    """Dataset, trainings and validations; from the second iteration on, explored and labelled frames first."""
    study, settings = plan.study, plan.study.settings
    if iteration == 0:
        sources = [stage for name, stage in plan.labels.items() if name.startswith("training")]
    else:
        sources = [_plan_exploration(plan, part, iteration) for part in study.parts]
    before = plan.datasets[-1] if plan.datasets else None
    dataset = models.dataset_stage(study, iteration, sources, before)
    plan.datasets.append(dataset)
    expected = _expected(plan, "training") + iteration * settings.learning.max_candidates
    if "mace" in settings.training.models:
        earlier = plan.trained.get((iteration - 1, "mace"), [None])[0]
        plan.trained[iteration, "mace"] = [models.mace_stage(study, iteration, dataset, expected, earlier, plan.atoms)]
    if "deepmd" in settings.training.models:
        earlier = plan.trained.get((iteration - 1, "deepmd"))
        plan.trained[iteration, "deepmd"] = models.deepmd_stages(study, iteration, dataset, earlier)
    for kind in settings.training.models:
        for part in study.parts:
            _plan_validation(plan, part, kind, iteration, model=plan.trained[iteration, kind][0])


def _plan_exploration(plan: Plan, part: Study, iteration: int) -> Stage:
    """Labels of what the committee disagrees on in one composition."""
    starts = plan.frames[structures.of_composition(part, "training")]
    exploration = learning.exploration_stage(part, iteration, plan.trained[iteration - 1, "deepmd"], starts)
    plan.explorations[iteration, part.composition] = exploration
    found = labels.label_stage(
        part, f"label explored frames, iteration {iteration}", exploration, part.settings.learning.max_candidates
    )
    plan.labels[structures.of_composition(part, f"learning {iteration}")] = found
    return found


def _plan_validation(
    plan: Plan,
    part: Study,
    kind: str,
    iteration: int | None = None,
    model: Stage | None = None,
    spec: dict[str, Any] | None = None,
) -> None:
    """A model, or a potential that is given, held against the validation frames of one composition."""
    plan.validations[iteration, kind, part.composition] = models.validation_stage(
        part,
        FORCE_FIELDS.get(kind, kind) if iteration is None else f"{kind}, iteration {iteration}",
        plan.labels[structures.of_composition(part, "validation")],
        _expected(plan, "validation"),
        model,
        spec,
    )


def _expected(plan: Plan, purpose: str) -> int:
    """Labels of each composition, for planning."""
    if plan.dataset is not None:
        return sum(plan.dataset.counts(purpose).values()) // len(plan.study.parts)
    return getattr(plan.study.settings.sampling, purpose).labels


def _plan_force_field_validations(plan: Plan, part: Study) -> None:
    given = given_potentials(part)
    for kind in FORCE_FIELDS:
        if kind in given:
            _plan_validation(plan, part, kind, spec=given[kind])


def _plan_md(plan: Plan) -> None:
    settings = plan.study.settings
    for protocol in settings.md:
        part = plan.study.part(protocol.composition)
        given = given_potentials(part)
        start = structures.start_stage(part, protocol)
        for name in protocol.potentials:
            model = None if name in given else plan.trained[plan.last_iteration, name][0]
            spec = _md_spec(name, given, protocol) if model is None else None
            if name == "reference" and protocol.ensemble == "NPT":
                _require_stress(protocol.name, spec)
            if protocol.vacuum is not None and spec is not None:  # it may not know these ions
                structures.refuse_unfit_ions(spec, structures.ions_of(part, protocol))
            elif name in FORCE_FIELDS:
                _refuse_unfit_md(part, protocol, spec)
            inner = protocol.inner_potential
            if inner is not None:
                inner = (
                    _md_spec(inner, given, protocol) if inner in given else plan.trained[plan.last_iteration, inner][0]
                )
            trajectory = md.md_stage(part, protocol, name, start, model, spec, inner)
            plan.trajectories[protocol.name, name] = trajectory
            for property_name in md.measured_in(protocol, settings.analysis):
                analysis = md.analysis_stage(part, protocol, trajectory, property_name)
                plan.analyses[protocol.name, name, property_name] = analysis


def _refuse_unknown_names(study: Study) -> None:
    """Ask of everything that is measured about what it names: MD may take days before it is."""
    protocols, analysis = study.settings.md, study.settings.analysis
    liquids = [structures.liquid_of(part) for part in study.parts]
    lone = [structures.ions_of(study, protocol) for protocol in protocols if protocol.vacuum is not None]
    measured = {name for protocol in protocols for name in md.measured_in(protocol, analysis)}
    for name in named_ions.NAMING:
        if name in measured:
            named_ions.refuse_unknown(name, analysis, liquids, lone)


def _refuse_unfit_potentials(part: Study, dataset: Published | None) -> None:
    sampling, liquid = part.settings.sampling, structures.liquid_of(part)
    ratios = [1.0]
    if dataset is not None and liquid.label in dataset.compositions:  # CL&P is held against its frames
        volume = liquid.volume(part.settings.liquid.density_g_cm3)
        ratios.append(volume / dataset.smallest_side_A(liquid.label) ** 3)
    elif dataset is None:
        ratios += sampling.density_ratios
        for counts in (sampling.training, sampling.validation):
            ratios += counts.density_ratios or []
            ratios += sampling.intermolecular_density_ratios if counts.intermolecular else []
    structures.refuse_unfit(part, structures.sampling_potential(part), max(ratios))
    if part.settings.dataset is None:
        structures.refuse_unfit(part, structures.spec_of(part, part.settings.reference), max(ratios))
    given = given_potentials(part)
    for kind in FORCE_FIELDS:
        if kind in given:  # held against labels, in their boxes
            structures.refuse_unfit(part, given[kind], max(ratios))


def _refuse_unfit_md(part: Study, protocol: MdSettings, spec: dict[str, Any]) -> None:
    try:
        structures.refuse_unfit(part, spec, liquid=structures.ions_of(part, protocol))
    except SettingsError as error:
        whose = f"[[md]] {protocol.name}, whose own keys are cutoff_A and box_multiple"
        raise SettingsError(f"{whose}: {error}") from None


def _require_stress(protocol: str, spec: dict[str, Any]) -> None:
    if not potentials.create(spec).has_stress:
        raise SettingsError(
            f"[[md]] {protocol}: NPT with the reference needs its stress, which {spec['kind']} does not give as "
            f"[reference] sets it. Use NVT, leave the reference out of its potentials, or set stress = true in "
            f"[reference.{spec['kind']}] with the cutoff that it asks for."
        )


def given_potentials(study: Study) -> dict[str, dict[str, Any]]:
    """Potentials that need no training: the reference, and the force fields that the study uses."""
    settings = study.settings
    given = {"reference": structures.spec_of(study, settings.reference)}
    sampling = settings.sampling.potential
    # one cutoff for all of them: the boxes are the same
    cutoff = sampling.cutoff_A if sampling.kind in FORCE_FIELDS else None
    for kind in FORCE_FIELDS:
        if sampling.kind == kind:
            given[kind] = structures.sampling_potential(study)
        elif any(kind in (*protocol.potentials, protocol.inner_potential) for protocol in settings.md):
            file = _parameter_file(study) if kind == "exp6" else None
            given[kind] = structures.spec_of(study, PotentialSettings(kind=kind, cutoff_A=cutoff, parameters=file))
    return given


def _md_spec(name: str, given: dict[str, dict[str, Any]], protocol: MdSettings) -> dict[str, Any]:
    """A potential as a protocol runs it: with a cutoff of the protocol's, electrostatics as exact as by default."""
    spec = given[name]
    if protocol.cutoff_A is None or name not in FORCE_FIELDS:
        return spec
    return {**{key: value for key, value in spec.items() if key != "ewald_tolerance"}, "cutoff_A": protocol.cutoff_A}


def _parameter_file(study: Study) -> str:
    """The one parameter file of a study's MD with exp6."""
    protocols = [protocol for protocol in study.settings.md if "exp6" in protocol.potentials]
    files = sorted({protocol.parameters for protocol in protocols if protocol.parameters})
    if len(files) != 1:
        found = "none is given" if not files else f"there are {' and '.join(files)}"
        raise SettingsError(
            f"md {protocols[0].name}: exp6 needs one parameter file for all its runs, but {found}. Set parameters in "
            "[[md]], as docs/polarizable-force-field.md describes it."
        )
    return files[0]

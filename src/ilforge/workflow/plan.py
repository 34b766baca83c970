"""The plan of a study: every stage, from the packed boxes to the last property."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ilforge.errors import SettingsError
from ilforge.study.load import Study
from ilforge.study.settings import PotentialSettings
from ilforge.workflow.stage import Stage, in_order
from ilforge.workflow.steps import labels, learning, md, models, structures

FORCE_FIELDS = {"clp": "CL&P", "clpol": "CL&Pol", "exp6": "exp-6, polarizable"}
"""Potentials that are given by their parameters, and their names."""


@dataclass
class Plan:
    """The stages of a study, by what they are for.

    Attributes
    ----------
    frames, labels
        By set: ``"training"``, ``"validation"``, and ``"learning 1"``, ``"learning 2"``, ...
    datasets, explorations
        By iteration.
    trained
        By ``(iteration, "mace" or "deepmd")``: one stage, or the committee's.
    validations
        By ``(iteration or None, potential)``.
    trajectories
        By ``(protocol, potential)``.
    analyses
        By ``(protocol, potential, property)``.
    """

    study: Study
    frames: dict[str, Stage] = field(default_factory=dict)
    labels: dict[str, Stage] = field(default_factory=dict)
    datasets: list[Stage] = field(default_factory=list)
    explorations: list[Stage] = field(default_factory=list)
    trained: dict[tuple[int, str], list[Stage]] = field(default_factory=dict)
    validations: dict[tuple[int | None, str], Stage] = field(default_factory=dict)
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
                *self.explorations,
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
        For an unknown ion, a charged box, or a force field that does not know the ions.
    """
    plan = Plan(study)
    _refuse_unfit_potentials(study)
    _plan_labels(plan)
    for iteration in range(study.settings.learning.iterations + 1):
        _plan_iteration(plan, iteration)
    _plan_md(plan)
    return plan


def _plan_labels(plan: Plan) -> None:
    study = plan.study
    for purpose in ("training", "validation"):
        plan.frames[purpose] = structures.frames_stage(study, purpose)
        expected = structures.frame_count(getattr(study.settings.sampling, purpose))
        plan.labels[purpose] = labels.label_stage(study, f"label {purpose} frames", plan.frames[purpose], expected)


def _plan_iteration(plan: Plan, iteration: int) -> None:
    """Dataset, trainings and validations; from the second iteration on, explored and labelled frames first."""
    study, settings = plan.study, plan.study.settings
    source = plan.labels["training"]
    if iteration > 0:
        committee = plan.trained[iteration - 1, "deepmd"]
        exploration = learning.exploration_stage(study, iteration, committee, plan.frames["training"])
        plan.explorations.append(exploration)
        source = labels.label_stage(
            study, f"label explored frames, iteration {iteration}", exploration, settings.learning.max_candidates
        )
        plan.labels[f"learning {iteration}"] = source
    before = plan.datasets[-1] if plan.datasets else None
    dataset = models.dataset_stage(study, iteration, source, before)
    plan.datasets.append(dataset)
    expected = structures.frame_count(settings.sampling.training) + iteration * settings.learning.max_candidates
    if "mace" in settings.training.models:
        earlier = plan.trained.get((iteration - 1, "mace"), [None])[0]
        plan.trained[iteration, "mace"] = [models.mace_stage(study, iteration, dataset, expected, earlier)]
    if "deepmd" in settings.training.models:
        earlier = plan.trained.get((iteration - 1, "deepmd"))
        plan.trained[iteration, "deepmd"] = models.deepmd_stages(study, iteration, dataset, earlier)
    expected_validation = structures.frame_count(settings.sampling.validation)
    for kind in settings.training.models:
        plan.validations[iteration, kind] = models.validation_stage(
            study,
            f"{kind}, iteration {iteration}",
            plan.labels["validation"],
            expected_validation,
            plan.trained[iteration, kind][0],
        )


def _plan_md(plan: Plan) -> None:
    study, settings = plan.study, plan.study.settings
    given = given_potentials(study)
    expected = structures.frame_count(settings.sampling.validation)
    for kind, name in FORCE_FIELDS.items():
        if kind in given:
            plan.validations[None, kind] = models.validation_stage(
                study, name, plan.labels["validation"], expected, None, given[kind]
            )
    if not settings.md:
        return
    start = structures.start_stage(study)
    for protocol in settings.md:
        for name in protocol.potentials:
            model = None if name in given else plan.trained[plan.last_iteration, name][0]
            spec = given[name] if model is None else None
            trajectory = md.md_stage(study, protocol, name, start, model, spec)
            plan.trajectories[protocol.name, name] = trajectory
            for property_name in settings.analysis.properties:
                plan.analyses[protocol.name, name, property_name] = md.analysis_stage(study, trajectory, property_name)


def _refuse_unfit_potentials(study: Study) -> None:
    ratios = study.settings.sampling.density_ratios
    structures.refuse_unfit(study, structures.sampling_potential(study), max(*ratios, 1.0))
    structures.refuse_unfit(study, structures.spec_of(study, study.settings.reference), max(*ratios, 1.0))
    given = given_potentials(study)
    for kind in FORCE_FIELDS:
        if any(kind in protocol.potentials for protocol in study.settings.md):
            structures.refuse_unfit(study, given[kind])


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
        elif any(kind in protocol.potentials for protocol in settings.md):
            file = _parameter_file(study) if kind == "exp6" else None
            given[kind] = structures.spec_of(study, PotentialSettings(kind=kind, cutoff_A=cutoff, parameters=file))
    return given


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

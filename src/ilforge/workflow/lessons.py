"""Trainings in the plan: models that learn from the labels, and students that learn from their teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ilforge import potentials
from ilforge.errors import SettingsError
from ilforge.study.lineage import given_names, start_of, teacher_of
from ilforge.study.load import Study
from ilforge.training import TRAINERS
from ilforge.training.kind import Size
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps import models, starts, structures, teaching
from ilforge.workflow.steps.starts import Start
from ilforge.workflow.steps.teaching import Teacher

if TYPE_CHECKING:
    from ilforge.workflow.plan import Plan


@dataclass
class Schooling:
    """Everything that a student learns from.

    Attributes
    ----------
    teacher
        The teacher, which labels the frames.
    frames, labels
        By composition and size, a multiple of the ions of the liquid.
    dataset
        The split, including the held-out frames.
    trained
        The student, or its committee.
    """

    teacher: Teacher
    frames: dict[tuple[str, int], Stage] = field(default_factory=dict)
    labels: dict[tuple[str, int], Stage] = field(default_factory=dict)
    dataset: Stage | None = None
    trained: list[Stage] = field(default_factory=list)


def plan_training(plan: Plan, name: str, iteration: int, size: Size | None = None) -> list[Stage]:
    """Trainings of a model in an iteration, and those of its starts; each is planned once."""
    if plan.study.settings.models[name].teacher is not None:
        return _plan_student(plan, name, iteration).trained
    if (iteration, name) not in plan.trained:
        lesson = models.Lesson(
            dataset=plan.datasets[iteration],
            size=size or Size(0, 0),
            iteration=iteration,
            before=plan.trained.get((iteration - 1, name), ()),
            starts=_starts(plan, name, iteration, size) if iteration == 0 else (),
            atoms=plan.atoms if models.counts_from_atoms(plan.study, name) else None,
        )
        plan.trained[iteration, name] = models.model_stages(plan.study, name, lesson)
    return plan.trained[iteration, name]


def plan_students(plan: Plan, validate: Callable[[Plan, str, int], None]) -> None:
    """All students, their validation by ``validate``, and the comparison of each with its teacher."""
    last, settings = plan.last_iteration, plan.study.settings
    students = [name for name, model in settings.models.items() if model.teacher is not None]
    for name in students:
        plan.trained[last, name] = _plan_student(plan, name, last).trained
        validate(plan, name, last)
    for name in students:
        for part in plan.study.parts:
            _plan_comparisons(plan, part, name)


def given_potentials(study: Study) -> dict[str, dict[str, Any]]:
    """Potentials that need no training, by name: those that sample, run MD, start a training or teach."""
    settings = study.settings
    names = [settings.sampling.potential]
    for protocol in settings.md:
        names += [*protocol.potentials, *filter(None, [protocol.inner_potential])]
    found = {name: structures.spec_of(study, name) for name in dict.fromkeys(names) if name not in settings.models}
    for name, link in given_names(settings).items():
        if link.what == "file":
            model = next(one for one in settings.models if start_of(settings, one) == link)
            found[name] = starts.start_spec(study, model)
        else:
            found[name] = structures.spec_of(study, name)
    return found


def methods_of(study: Study) -> dict[str, dict[str, Any]]:
    """Description of each potential that a study uses, by name; of a model that it trains, only the kind."""
    models = {name: {"kind": TRAINERS[model.kind].potential} for name, model in study.settings.models.items()}
    given = {study.settings.reference.potential: structures.reference_spec(study), **given_potentials(study)}
    return models | {name: potentials.settings(potentials.create(spec)) for name, spec in given.items()}


def kinds_of(study: Study) -> dict[str, str]:
    """Kind of each potential that a study uses, by name."""
    return {name: method["kind"] for name, method in methods_of(study).items()}


def _starts(plan: Plan, name: str, iteration: int, size: Size | None) -> list[Start]:
    """The start of each member of a committee; empty if the model is trained from scratch."""
    link = start_of(plan.study.settings, name)
    if link is None:
        return []
    trained = plan_training(plan, link.name, iteration, size) if link.what == "model" else []
    members = range(plan.study.settings.models[name].committee)
    from_each = [trained[member % len(trained)] if trained else None for member in members]
    return [starts.start_for(plan.study, name, one, plan.dataset) for one in from_each]


def _plan_student(plan: Plan, name: str, iteration: int) -> Schooling:
    if name in plan.students:
        return plan.students[name]
    study = plan.study
    teacher = _teacher(plan, name, iteration)
    found = Schooling(teacher)
    for part in study.parts:
        _refuse_unfit_teacher(part, name, teacher)
        for multiple in sorted(set(study.settings.models[name].frames_boxes)):
            key = (part.composition, multiple)
            found.frames[key] = teaching.frames_stage(part, name, multiple, teacher)
            found.labels[key] = teaching.label_stage(part, name, multiple, teacher, found.frames[key])
    found.dataset = teaching.set_stage(study, name, found.labels)
    size = teaching.size_of_lesson(study, name)
    counted = models.counts_from_atoms(study, name)
    if counted:
        _refuse_other_atoms(study, name)
    lesson = models.Lesson(
        dataset=found.dataset,
        size=size,
        iteration=None,
        starts=_starts(plan, name, iteration, models.size_of(study, 0)),
        atoms=plan.atoms if counted else None,
    )
    found.trained = models.model_stages(study, name, lesson)
    plan.students[name] = found
    return found


def _teacher(plan: Plan, name: str, iteration: int) -> Teacher:
    link = teacher_of(plan.study.settings, name)
    assert link is not None
    if link.what == "potential":
        return Teacher(link.name, spec=structures.spec_of(plan.study, link.name))
    return Teacher(link.name, stage=plan_training(plan, link.name, iteration)[0])


def _refuse_unfit_teacher(part: Study, name: str, teacher: Teacher) -> None:
    """Check that a given teacher knows the ions, and that the cutoff of a force field fits into the smallest box."""
    if teacher.spec is None:
        return
    densest = max(part.settings.sampling.training.density_ratios or part.settings.sampling.density_ratios)
    try:
        structures.refuse_unfit(part, teacher.spec, densest)
    except SettingsError as error:
        raise SettingsError(f"models.{name}.teacher is {teacher.name!r}: {error}") from None


def _refuse_other_atoms(study: Study, name: str) -> None:
    """Refuse energies relative to isolated atoms of the reference, if those of the teacher have another zero."""
    link = teacher_of(study.settings, name)
    if link is None or link.what != "model" or not models.counts_from_atoms(study, link.name):
        teacher = link.name if link else ""
        raise SettingsError(
            f'models.{name}.atom_energies is "isolated atoms", those of the reference, but its teacher {teacher} does '
            f'not count energies from them. Write atom_energies = "fit", or set it for {teacher} too.'
        )


def _plan_comparisons(plan: Plan, part: Study, name: str) -> None:
    """A student against its teacher: on the validation frames, and on boxes of its own that were held out."""
    school, last = plan.students[name], plan.last_iteration
    composition = part.composition
    mine = plan.validations[last, name, composition]
    teacher = school.teacher.name
    other = plan.validations.get((None if school.teacher.stage is None else last, teacher, composition))
    if other is not None:
        plan.comparisons[name, composition, 0] = teaching.comparison_stage(part, name, teacher, mine, other)
    for (where, multiple), labels in school.labels.items():
        if where != composition or school.dataset is None:
            continue
        large = teaching.enlarged(part, multiple)
        expected = round(teaching.HELD_OUT * labels.tasks)
        plan.comparisons[name, composition, multiple] = models.validation_stage(
            large,
            f"{name} against {teacher}, {structures.liquid_of(large).label}",
            school.dataset,
            expected,
            school.trained[0],
            file=teaching.held_out(composition, multiple),
            trained=name,
        )

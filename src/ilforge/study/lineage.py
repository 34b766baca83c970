"""What the models of a study start from and who teaches them: names resolved, and refused where they lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ilforge.potentials import POTENTIALS
from ilforge.potentials.kind import PotentialSettings
from ilforge.study.names import potential_named
from ilforge.training import TRAINERS
from ilforge.training.kind import ModelSettings

if TYPE_CHECKING:
    from ilforge.study.settings import StudySettings

SCRATCH = "from scratch"
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class Named:
    """What a ``start`` or ``teacher`` means.

    Attributes
    ----------
    what
        ``"model"`` of the study, ``"potential"`` that is given, or ``"file"``.
    name
        Of the model or potential; of a file the name that it has in results.
    """

    what: Literal["model", "potential", "file"]
    name: str


def start_of(settings: StudySettings, name: str) -> Named | None:
    """What a model starts from; None where it is trained from scratch."""
    start = settings.models[name].start
    if start is None:
        return None
    if start in settings.models:
        return Named("model", start)
    if potential_named(start, settings.potentials) is not None:
        return Named("potential", start)
    stem = Path(start).stem
    taken = {*settings.models, *settings.potentials, *POTENTIALS}
    return Named("file", f"start of {name}" if stem in taken or not stem else stem)


def teacher_of(settings: StudySettings, name: str) -> Named | None:
    """Who teaches a model; None where it learns from the labels of the reference."""
    teacher = settings.models[name].teacher
    if teacher is None:
        return None
    return Named("model" if teacher in settings.models else "potential", teacher)


def made_from(settings: StudySettings, name: str) -> Iterator[Named]:
    """The start and the teacher of a model, and in turn theirs, each once."""
    waiting, seen = [name], set[Named]()
    while waiting:
        current = waiting.pop()
        for link in (start_of(settings, current), teacher_of(settings, current)):
            if link is None or link in seen:
                continue
            seen.add(link)
            yield link
            if link.what == "model":
                waiting.append(link.name)


def origin(settings: StudySettings, name: str) -> str:
    """Where a model comes from: ``"from scratch"``, ``"fine-tuned (start: base)"``, ``"student (teacher: tuned)"``.

    Potentials that need no training are used ``"as it is"``.
    """
    if name not in settings.models:
        return AS_IT_IS
    start, teacher = start_of(settings, name), teacher_of(settings, name)
    words = [f"fine-tuned (start: {start.name})"] if start else []
    words += [f"student (teacher: {teacher.name})"] if teacher else []
    return ", ".join(words) or SCRATCH


def movers_of(settings: StudySettings, name: str) -> list[str]:
    """What moves the atoms of the frames that a teacher labels: ``"sampling"``, ``"teacher"`` or both."""
    model, teacher = settings.models[name], teacher_of(settings, name)
    if model.frames_by is not None or teacher is None:
        return list(dict.fromkeys(model.frames_by or ["sampling"]))
    cheap = teacher.what == "model" or POTENTIALS[_kind(settings, teacher.name)].family in ("model", "force field")
    same = teacher.name == settings.sampling.potential
    return ["sampling", "teacher"] if cheap and not same else ["sampling"]


def needs_last_iteration(settings: StudySettings, name: str) -> bool:
    """Whether a model is taught by one that concurrent learning trains again, or starts from such a student."""
    teacher, start = teacher_of(settings, name), start_of(settings, name)
    if teacher is not None and teacher.what == "model":
        trained_again = teacher_of(settings, teacher.name) is None
        return trained_again or needs_last_iteration(settings, teacher.name)
    return start is not None and start.what == "model" and needs_last_iteration(settings, start.name)


def check_lineage(settings: StudySettings) -> None:
    """Refuse starts and teachers that do not exist, do not fit, or lead in a circle.

    Raises
    ------
    ValueError
        Names the model, the key, what was found and what may be there.
    """
    for name, model in settings.models.items():
        if model.start is not None:
            _check_start(settings, name, model)
        if model.teacher is not None:
            _check_teacher(settings, name, model.teacher)
    for name in settings.models:
        _refuse_circle(settings, name)
        if settings.learning.iterations:
            _refuse_late(settings, name)


def _check_start(settings: StudySettings, name: str, model: ModelSettings) -> None:
    key, trainer = f"models.{name}.start", TRAINERS[model.kind]
    if not trainer.fine_tunes:
        able = ", ".join(kind.name for kind in TRAINERS.values() if kind.fine_tunes)
        raise ValueError(
            f"{key}: {trainer.title} can only be trained from scratch; leave start out, or use a kind that can be "
            f"fine-tuned: {able}"
        )
    start = model.start or ""
    other, given = settings.models.get(start), potential_named(start, settings.potentials)
    if (other is not None or given is not None) and model.start_sha256 is not None:
        raise ValueError(
            f"{key} is the name {start!r}, and start_sha256 is the digest of a file: leave start_sha256 out"
        )
    if other is not None:
        if other.kind != model.kind:
            raise ValueError(f"{key} is {start!r}, a model of kind {other.kind!r}; it must be of kind {model.kind!r}")
        return
    if given is not None:
        if given.kind != trainer.potential:
            raise ValueError(
                f"{key} is {start!r}, a potential of kind {given.kind!r}; it must be of kind {trainer.potential!r}"
            )
        return
    suffix = POTENTIALS[trainer.potential].file_suffix
    if suffix is None or not start.endswith(suffix):
        names = ", ".join(other for other in settings.models if other != name) or "no others"
        path = "" if suffix is None else f", or the path of a {suffix} file"
        raise ValueError(
            f"{key} is {start!r}, but there is no model or potential with this name. Name one of the models ({names}), "
            f"a potential{path}"
        )
    if model.start_sha256 is None:
        raise ValueError(
            f"{key} is the file {start}, and a model file can run code when it is loaded. If you trust where it comes "
            f"from, write its digest beside it: start_sha256 = the first word of `sha256sum {start}`"
        )


def _check_teacher(settings: StudySettings, name: str, teacher: str) -> None:
    key = f"models.{name}.teacher"
    if teacher in settings.models:
        return
    if potential_named(teacher, settings.potentials) is None:
        known = ", ".join([*(m for m in settings.models if m != name), *settings.potentials]) or "none"
        raise ValueError(f"{key} is {teacher!r}, but there is no model or potential with this name. Known: {known}")
    if teacher == settings.reference.potential:
        raise ValueError(
            f"{key} is {teacher!r}, the reference itself: leave teacher out, and raise the numbers in "
            "[sampling.training] for more of its labels"
        )


def _refuse_circle(settings: StudySettings, first: str) -> None:
    waiting, seen = [first], set()
    while waiting:
        name = waiting.pop()
        for key, other in _models_before(settings, name):
            if other == first:
                raise ValueError(
                    f"models.{name}.{key} is {other!r}, but {other!r} is itself made from {first!r}: name a model that "
                    "does not depend on it"
                )
            if other not in seen:
                seen.add(other)
                waiting.append(other)


def _models_before(settings: StudySettings, name: str) -> Iterator[tuple[str, str]]:
    """Keys of a model that name another model, and the names."""
    for key, found in (("start", start_of(settings, name)), ("teacher", teacher_of(settings, name))):
        if found is not None and found.what == "model":
            yield key, found.name


def _refuse_late(settings: StudySettings, name: str) -> None:
    """A model that every iteration trains again cannot wait for the last one."""
    start = start_of(settings, name)
    if settings.models[name].teacher is not None:
        if settings.explorer == name:
            raise ValueError(
                f"learning.explorer is {name!r}, which learns from a teacher and not from the labels of the reference: "
                "name another model"
            )
        return
    if start is not None and start.what == "model" and needs_last_iteration(settings, start.name):
        raise ValueError(
            f"models.{name}.start is {start.name!r}, whose teacher is trained again in every iteration of concurrent "
            f"learning: give {name} a teacher too, or set learning.iterations = 0"
        )


def _kind(settings: StudySettings, name: str) -> str:
    found: PotentialSettings | None = potential_named(name, settings.potentials)
    return "" if found is None else found.kind


def given_names(settings: StudySettings) -> Mapping[str, Named]:
    """Starts and teachers that need no training, by the name that they have in results."""
    found = [
        link for name in settings.models for link in (start_of(settings, name), teacher_of(settings, name)) if link
    ]
    return {link.name: link for link in found if link.what != "model"}

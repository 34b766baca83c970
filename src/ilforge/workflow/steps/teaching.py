"""Teacher and student: make frames for a student, label them with its teacher, and compare the student with it.

The teacher is a model of the study or a given potential; it is cheap enough to label thousands of frames, also in boxes
larger than those of the reference. The frames are of the same recipe as those for training (``sampling.training``): as
many EQ, packed, hot, distorted and intermolecular frames in proportion, at all densities of ``sampling``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.dynamics.motion import Exploded
from ilforge.errors import DidNotConverge
from ilforge.labelling.datasets.dataset import split
from ilforge.labelling.methods import description
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.quantum import costs
from ilforge.sampling.registry import SAMPLERS
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.lineage import movers_of
from ilforge.study.load import Study
from ilforge.training import TRAINERS
from ilforge.training.kind import Size
from ilforge.training.validation import Predictions
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES, chosen_frames, of_each_box, sample_box, steps_of
from ilforge.workflow.steps.labels import ACCEPTED, labels_of, net_force_setting, write_judged
from ilforge.workflow.steps.models import PREDICTIONS, keep_errors, model_spec, seconds_per_step
from ilforge.workflow.steps.structures import (
    computes_with,
    identity,
    liquid_of,
    of_composition,
    preparations,
    read_prepared,
    sampling_keys,
    sampling_spec,
)

HELD_OUT = 0.1
"""Share of the frames, as whole boxes, that validate a student against its teacher."""
_BROKEN = "broken.txt"
_FEWEST = 5  # frames of one composition and size


@dataclass(frozen=True)
class Teacher:
    """The teacher: a model of the study, or a given potential.

    Attributes
    ----------
    name
        Its name in the study file.
    stage
        Its training.
    spec
        Its description for :func:`ilforge.potentials.create`.
    """

    name: str
    stage: Stage | None = None
    spec: Mapping[str, Any] | None = None

    @property
    def inputs(self) -> dict[str, Stage]:
        """Its training, if it is a model of the study."""
        return {} if self.stage is None else {"teacher": self.stage}

    @property
    def settings(self) -> dict[str, Any]:
        """Its description by itself, if it is a given potential."""
        return {} if self.spec is None else {"teacher": potentials.create(self.spec).describe()}

    @property
    def kind(self) -> str:
        """Kind of potential."""
        return TRAINERS[self.stage.kind].potential if self.stage is not None else str((self.spec or {})["kind"])

    def read(self, job: Job) -> dict[str, Any]:
        """The teacher as a potential; the trust in a model must be checked before."""
        return dict(self.spec) if self.spec is not None else model_spec(job.trusted_input("teacher"))

    def seconds_per_frame(self, study: Study, n_atoms: int) -> float:
        """Expected time of energy and forces on one core, s."""
        if self.spec is not None:
            return potentials.create(self.spec).seconds_per_frame(n_atoms)
        return seconds_per_step(study, self.name, n_atoms)


def enlarged(part: Study, multiple: int) -> Study:
    """A study of one composition, in boxes with a multiple of its ions."""
    liquid = part.settings.liquid
    ions = {ion: multiple * count for ion, count in liquid.ions.items()}
    larger = liquid.model_copy(update={"ions": ions})
    return replace(part, settings=part.settings.model_copy(update={"liquid": larger}), whole=part.whole or part)


def recipe_of(part: Study, name: str) -> FrameCounts:
    """Frames of a student of one composition and size: the recipe of training frames, for its share of ``frames``."""
    model, whole = part.settings.models[name], part.whole or part
    groups = len(whole.parts) * len(set(model.frames_boxes))
    return scaled(part.settings.sampling.training, max(_FEWEST, round(model.frames / groups)))


def scaled(counts: FrameCounts, total: int) -> FrameCounts:
    """A recipe in the same proportions for about so many frames, without AIMD."""
    numbers = {name: kind.frames_of(counts) for name, kind in SAMPLERS.items()}
    all_starts = sum(numbers.values()) or 1
    keys: dict[str, int] = {}
    for name, number in numbers.items():
        keys |= SAMPLERS[name].counts_for(counts, round(total * number / all_starts))
    return FrameCounts(density_ratios=counts.density_ratios, **keys)


def taught_boxes(part: Study, name: str, multiple: int) -> dict[str, dict[str, Any]]:
    """Every box of these frames by name: recipe, density, seed, number of frames, and the potential that moves its
    atoms."""
    sampling, model = part.settings.sampling, part.settings.models[name]
    counts = recipe_of(part, name)
    ratios = counts.density_ratios or sampling.density_ratios
    at_equilibrium = [kind for kind in SAMPLERS.values() if kind.frame_kind == "EQ"]
    n_runs = sum(kind.boxes_of(counts, sampling)[0] for kind in at_equilibrium)
    turn = sorted(set(model.frames_boxes)).index(multiple) * n_runs  # sizes share the densities out
    ratios = [*ratios[turn % len(ratios) :], *ratios[: turn % len(ratios)]]
    first = "-".join(filter(None, ("taught", part.composition, f"x{multiple}")))
    boxes = of_each_box(first, counts, ratios, sampling)
    movers = movers_of(part.settings, name)
    runs = [key for key, box in boxes.items() if SAMPLERS[box["recipe"]] in at_equilibrium]
    moved_by = {key: movers[number % len(movers)] for number, key in enumerate(runs)}
    return {
        key: {**box, "mover": moved_by.get(key, "sampling"), "seed": part.seed("taught", key)}
        for key, box in boxes.items()
    }


def frames_stage(part: Study, name: str, multiple: int, teacher: Teacher) -> Stage:
    """Frames of one composition and size for a student: ``frames.xyz``."""
    large, counts, sampler = enlarged(part, multiple), recipe_of(part, name), sampling_spec(part)
    liquid, boxes = liquid_of(large), taught_boxes(part, name, multiple)
    by_teacher = any(box["mover"] == "teacher" for box in boxes.values())
    settings = {
        "liquid": identity(liquid),
        "temperature_K": part.settings.liquid.temperature_K,
        "density_g_cm3": part.settings.liquid.density_g_cm3,
        "boxes": boxes,
        "potential": potentials.create(sampler).describe(),
        "sampling": part.settings.sampling.model_dump(include=sampling_keys(counts, part.settings.sampling)),
        "bond_factor": part.settings.gate.bond_factor,
        **(teacher.settings if by_teacher else {}),
    }
    prepared = preparations(part, counts)

    def work(job: Job) -> None:
        specs = {"sampling": sampler, **({"teacher": teacher.read(job)} if by_teacher else {})}
        told = {**settings, "prepared": read_prepared(job, prepared)}
        asked = {key: (liquid, specs[box["mover"]], box, told, key, job.threads) for key, box in boxes.items()}
        paths = job.parts(_sample_box, asked)
        sampled = {key: frames.read(path / FRAMES) for key, path in paths.items()}
        _count_broken(job, name, teacher, paths, [key for key, box in boxes.items() if box["mover"] == "teacher"])
        frames.write(job.directory / FRAMES, chosen_frames(sampled, boxes, liquid, counts))

    programs = [*computes_with(sampler["kind"]), *(computes_with(teacher.kind) if by_teacher else ())]
    return Stage(
        name=of_composition(part, f"sample frames for {name}, {liquid.label}"),
        kind="taught-frames",
        runs_as="md",
        version=1,
        settings=settings,
        inputs={**prepared, **(teacher.inputs if by_teacher else {})},
        work=work,
        tasks=len(boxes),
        task_seconds=2.0 + _seconds_of_runs(large, teacher, boxes) / max(1, len(boxes)),
        programs=("packmol",),
        computes_with=tuple(dict.fromkeys(programs)),
    )


def _sample_box(directory: Path, liquid: Liquid, spec: Any, box: Any, settings: Any, key: str, threads: int) -> None:
    """The same as :func:`sample_box`, but a run by the teacher that breaks gives no frames, and the reason."""
    try:
        sample_box(directory, liquid, spec, box, settings, key, threads)
    except Exploded as error:
        if box["mover"] != "teacher":
            raise
        frames.write(directory / FRAMES, [])
        (directory / _BROKEN).write_text(str(error))


def _count_broken(job: Job, name: str, teacher: Teacher, paths: Mapping[str, Path], runs: Sequence[str]) -> None:
    """Report how many runs of the teacher broke.

    Raises
    ------
    DidNotConverge
        When all of them did.
    """
    broken = [(paths[key] / _BROKEN).read_text() for key in runs if (paths[key] / _BROKEN).is_file()]
    if not broken:
        return
    if len(broken) == len(runs):
        raise DidNotConverge(
            f"All {len(runs)} runs by {teacher.name}, the teacher of {name}, broke: {broken[0]} It cannot "
            f'be used to move atoms: train it better, or set frames_by = ["sampling"] in [models.{name}].'
        )
    job.facts["broken_runs_of_the_teacher"] = len(broken)
    job.say(f"{len(broken)} of {len(runs)} runs by {teacher.name}, the teacher of {name}, broke and give no frames.")


def _seconds_of_runs(large: Study, teacher: Teacher, boxes: Mapping[str, Mapping[str, Any]]) -> float:
    """Expected time of all MD of these boxes on one core, s."""
    sampling, n_atoms = large.settings.sampling, liquid_of(large).topology.n_atoms
    per_step = {
        "sampling": potentials.create(sampling_spec(large)).seconds_per_frame(n_atoms),
        "teacher": teacher.seconds_per_frame(large, n_atoms),
    }
    return sum(per_step[box["mover"]] * steps_of(box, sampling) for box in boxes.values())


def label_stage(part: Study, name: str, multiple: int, teacher: Teacher, sampled: Stage) -> Stage:
    """Labels of a student's frames by its teacher: ``accepted.xyz``, ``rejected.xyz``, ``census.json``."""
    large, gate = enlarged(part, multiple), part.settings.gate
    liquid = liquid_of(large)
    expected = sum(box["frames"] for box in taught_boxes(part, name, multiple).values())

    def work(job: Job) -> None:
        spec = teacher.read(job)
        wanted = {frames.digest(frame): frame for frame in frames.read(job.input("frames") / FRAMES)}
        labels = labels_of(job, wanted, spec, description(potentials.create(spec)), liquid)
        job.facts["rejected"] = write_judged(job.directory, wanted, labels, liquid, gate)

    limit = net_force_setting(gate, {"kind": teacher.kind}, liquid)
    return Stage(
        name=of_composition(part, f"label frames for {name} with {teacher.name}, {liquid.label}"),
        kind="taught-labels",
        runs_as="label",
        version=1,
        settings={"gate": gate.model_dump(), **limit, **teacher.settings},
        inputs={"frames": sampled, **teacher.inputs},
        work=work,
        tasks=expected,
        task_seconds=teacher.seconds_per_frame(large, liquid.topology.n_atoms),
        memory_GB=costs.memory_GB(teacher.kind, liquid.topology.n_atoms),
        computes_with=computes_with(teacher.kind),
    )


def set_stage(study: Study, name: str, labels: Mapping[tuple[str, int], Stage]) -> Stage:
    """The frozen split for the training of a student, and the held-out frames, one file for each size.

    A tenth of the frames of each composition and size is held out, as whole boxes. These frames are used neither for
    training nor for early stopping.

    Parameters
    ----------
    labels
        By composition and size.
    """
    seed, fraction = study.seed("taught split"), study.settings.training.early_stopping_fraction
    sources = {f"labels{i or ''}": key for i, key in enumerate(labels)}

    def work(job: Job) -> None:
        kept: list[Atoms] = []
        for source, key in sources.items():
            divided = split(frames.read(job.input(source) / ACCEPTED), HELD_OUT, seed)
            kept += divided.train
            frames.write(job.directory / held_out(*key), divided.stop)
        split(kept, fraction, seed).write(job.directory)

    return Stage(
        name=f"freeze dataset of {name}",
        kind="taught-dataset",
        version=1,
        settings={
            "fraction": fraction,
            "held_out": HELD_OUT,
            "seed": seed,
            "files": [held_out(*key) for key in labels],
        },
        inputs={source: labels[key] for source, key in sources.items()},
        work=work,
        task_seconds=1.0,
    )


def held_out(composition: str, multiple: int) -> str:
    """Name of the file of held-out frames of one composition and size."""
    return "-".join(filter(None, ("held", composition, f"x{multiple}"))) + ".xyz"


def size_of_lesson(study: Study, name: str) -> Size:
    """Size of the training data of a student, for planning."""
    sizes = sorted(set(study.settings.models[name].frames_boxes))
    atoms, largest = 0, 0
    for part in study.parts:
        n_atoms = liquid_of(part).topology.n_atoms
        for multiple in sizes:
            each = sum(box["frames"] for box in taught_boxes(part, name, multiple).values())
            atoms, largest = atoms + each * n_atoms * multiple, max(largest, n_atoms * multiple)
    return Size(round((1 - HELD_OUT) * atoms), largest)


def comparison_stage(part: Study, name: str, teacher: str, student_on: Stage, teacher_on: Stage) -> Stage:
    """Compare a student with its teacher on the validation frames of the reference.

    Both have already computed these frames; the results of the teacher are used in place of the labels of the
    reference.
    """
    seed = part.seed("bootstrap")

    def work(job: Job) -> None:
        mine, other = (Predictions.load(job.input(who) / PREDICTIONS) for who in ("student", "teacher"))
        against = replace(mine, reference_energies=other.predicted_energies, reference_forces=other.predicted_forces)
        keep_errors(against, seed, job.directory)

    return Stage(
        name=of_composition(part, f"compare {name} with {teacher} on validation frames"),
        kind="comparison",
        version=1,
        settings={"seed": seed},
        inputs={"student": student_on, "teacher": teacher_on},
        work=work,
        task_seconds=1.0,
    )

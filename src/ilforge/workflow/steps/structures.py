"""Boxes and frames: packed, then sampled at equilibrium and away from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ilforge import frames, potentials, trust
from ilforge.devices import Program
from ilforge.dynamics import ENGINES, engines_for
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials import POTENTIALS
from ilforge.potentials.abilities import RefusesBoxes, RefusesElements
from ilforge.potentials.kind import Context
from ilforge.sampling.kind import SamplerKind
from ilforge.sampling.registry import SAMPLERS
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import Study
from ilforge.study.md_settings import MdSettings
from ilforge.study.settings import SamplingSettings
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import (
    FRAMES,
    chosen_frames,
    of_each_box,
    prepare,
    prepared_file,
    sample_box,
    steps_of,
)

_START = "nvt"
"""The sampler that makes the box from which MD starts."""


def liquid_of(study: Study) -> Liquid:
    """The study's liquid, with the user's own ions.

    Raises
    ------
    SettingsError
        For an unknown ion or a box that is not neutral.
    """
    liquid = study.settings.liquid
    return Liquid.of(liquid.ions, liquid.define, study.folder)


def elements_of(study: Study) -> list[str]:
    """Elements of all compositions, in alphabetical order."""
    return sorted(set().union(*(liquid_of(part).elements for part in study.parts)))


def ions_of(study: Study, protocol: MdSettings) -> Liquid:
    """The system of an MD protocol: a multiple of the liquid of the study, or ions in a vacuum."""
    liquid = study.settings.liquid
    if protocol.vacuum is not None:
        return Liquid.of(protocol.vacuum, liquid.define, study.folder, vacuum=True)
    counts = {name: protocol.box_multiple * count for name, count in liquid.ions.items()}
    return Liquid.of(counts, liquid.define, study.folder)


def of_composition(study: Study, name: str) -> str:
    """The name of a stage or set of frames, with the name of the composition if there are several."""
    return f"{name}, {study.composition}" if study.composition else name


def identity(liquid: Liquid) -> dict[str, Any]:
    """A liquid in the form for keys of stages: an ion of the user is represented by its atoms and bonds, not only by
    its name."""
    return {
        "label": liquid.label,
        "ions": {
            ion.name: {
                "charge": ion.charge,
                "symbols": list(ion.symbols),
                "bonds": [[int(a), int(b)] for a, b in ion.bonds],
            }
            for ion, _ in liquid.ions
        },
    }


def reference_spec(study: Study) -> dict[str, Any]:
    """The potential that labels frames."""
    return spec_of(study, study.settings.reference.potential)


def sampling_spec(study: Study) -> dict[str, Any]:
    """The potential that moves atoms while sampling."""
    return spec_of(study, study.settings.sampling.potential)


def spec_of(study: Study, name: str) -> dict[str, Any]:
    """A potential of the study file by its name, for :func:`ilforge.potentials.create`."""
    liquid = study.settings.liquid
    # elements of the whole study, because one method labels all compositions
    elements = tuple(elements_of(study.whole or study))
    context = Context(study.folder, tuple(liquid_of(study).counts), liquid.define, elements)
    return study.settings.potential(name).spec(context)


def computes_with(kind: str, engine: str | None = None) -> tuple[Program, ...]:
    """Programs with GPU support that this potential needs for MD in an engine or, without an engine, for anything
    else."""
    own = ENGINES[engine].computes_with if engine else None
    program = own or POTENTIALS[kind].computes_with
    return () if program is None else (program,)


def engine_programs(kind: str, engine: str | None = None) -> tuple[str, ...]:
    """Programs, apart from Python packages, that must be installed to run a kind of potential."""
    able = [name for name in engines_for(POTENTIALS[kind].potential) if not ENGINES[name].on_request]
    return ENGINES[engine or able[0]].programs


def is_force_field(spec: Mapping[str, Any]) -> bool:
    """Whether a potential is checked for ions and boxes before anything runs."""
    return POTENTIALS[spec["kind"]].family == "force field"


def refuse_unfit(
    study: Study, spec: Mapping[str, Any], density_ratio: float = 1.0, liquid: Liquid | None = None
) -> None:
    """Check before anything runs that a potential supports the ions and the smallest box of a study or of another
    liquid.

    Raises
    ------
    SettingsError
        When it does not know an ion, or its cutoff does not fit the box.
    """
    liquid = liquid or liquid_of(study)
    refuse_unfit_ions(spec, liquid)
    if is_force_field(spec):
        refuse_unfit_box(study, spec, density_ratio, liquid)


def refuse_unfit_box(
    study: Study, spec: Mapping[str, Any], density_ratio: float = 1.0, liquid: Liquid | None = None
) -> None:
    """Check that the cutoff of a force field fits into the smallest box of the study.

    Raises
    ------
    SettingsError
        When its cutoff does not fit.
    """
    liquid = liquid or liquid_of(study)
    side = liquid.volume(study.settings.liquid.density_g_cm3 * density_ratio) ** (1 / 3)
    potential = potentials.create(spec)
    if isinstance(potential, RefusesBoxes):
        potential.refuse_box(np.eye(3) * side)


def refuse_unfit_ions(spec: Mapping[str, Any], liquid: Liquid) -> None:
    """Check that a potential supports the ions of a liquid. This loads a model, except when a study is only
    inspected."""
    refuse_unknown_elements(spec, liquid)
    potential = potentials.create(spec)
    if not (trust.only_looking() and POTENTIALS[spec["kind"]].family == "model"):
        potential.calculator(liquid.topology)


def refuse_unknown_elements(spec: Mapping[str, Any], liquid: Liquid) -> None:
    """Check that a potential knows the elements of a liquid, if this is known without loading it."""
    potential = potentials.create(spec)
    if isinstance(potential, RefusesElements):
        potential.refuse_elements(liquid.topology.symbols)


def frames_stage(study: Study, purpose: str) -> Stage:
    """EQ and nEQ frames for ``"training"`` or ``"validation"``: ``frames.xyz``."""
    sampling = study.settings.sampling
    counts: FrameCounts = getattr(sampling, purpose)
    liquid = liquid_of(study)
    ratios = counts.density_ratios or sampling.density_ratios
    first = f"{study.composition}-{purpose}" if study.composition else purpose
    named = of_each_box(first, counts, ratios, sampling)
    boxes = {name: {**box, "seed": study.seed(purpose, name)} for name, box in named.items()}
    settings = {
        "liquid": identity(liquid),
        "temperature_K": study.settings.liquid.temperature_K,
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "boxes": boxes,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include=sampling_keys(counts, sampling)),
        "bond_factor": study.settings.gate.bond_factor,
        **{name: kind.frames_of(counts) for name, kind in asked_of(counts, sampling).items() if kind.chosen},
    }
    versions = {name: kind.version for name, kind in asked_of(counts, sampling).items() if kind.version > 1}
    settings |= {"versions": versions} if versions else {}
    inputs = preparations(study, counts)

    def work(job: Job) -> None:
        spec = sampling_spec(study)
        told = {**settings, "prepared": read_prepared(job, inputs)}
        parts = job.parts(
            sample_box, {name: (liquid, spec, box, told, name, job.threads) for name, box in boxes.items()}
        )
        sampled = {name: frames.read(path / FRAMES) for name, path in parts.items()}
        frames.write(job.directory / FRAMES, chosen_frames(sampled, boxes, liquid, counts))

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    steps = sum(steps_of(box, sampling) for box in boxes.values()) / max(1, len(boxes))
    return Stage(
        name=of_composition(study, f"sample {purpose} frames"),
        kind="frames",
        runs_as="md",
        version=2,
        settings=settings,
        inputs=inputs,
        work=work,
        tasks=len(boxes),
        task_seconds=2.0 + cost * steps,
        programs=("packmol",),
        computes_with=computes_with(sampling_spec(study)["kind"]),
    )


def preparations(study: Study, counts: FrameCounts) -> dict[str, Stage]:
    """The preparations that frames of a set need, by the sampler; each is made once for each composition."""
    return {
        name: preparation_stage(study, name)
        for name, kind in asked_of(counts, study.settings.sampling).items()
        if kind.preparation is not None and kind.frames_of(counts)
    }


def read_prepared(job: Job, inputs: Mapping[str, Stage]) -> dict[str, Any]:
    """What the preparations among the inputs of a stage found, by the sampler."""
    return {name: json.loads((job.input(name) / prepared_file(name)).read_text()) for name in inputs}


def preparation_stage(study: Study, name: str) -> Stage:
    """What a sampler must know first, such as how hot molecules can be before they come apart: ``hot.json``.

    They are found once for each composition, in a separate box, and used for training and validation.
    """
    sampling, liquid, kind = study.settings.sampling, liquid_of(study), SAMPLERS[name]
    preparation = kind.preparation
    assert preparation is not None
    n_frames = max(kind.boxes_of(counts, sampling)[1] for counts in (sampling.training, sampling.validation))
    settings = {
        "liquid": identity(liquid),
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include=kind.keys),
        "frames": n_frames,
        "bond_factor": study.settings.gate.bond_factor,
        "seed": study.seed(name, study.composition),
    }

    def work(job: Job) -> None:
        told = {**settings, "temperature_K": study.settings.liquid.temperature_K}
        job.run(prepare, job.directory, name, liquid, sampling_spec(study), told, job.threads)

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    return Stage(
        name=of_composition(study, preparation.title),
        kind=name,
        runs_as="md",
        version=preparation.version,
        settings=settings,
        inputs={},
        work=work,
        task_seconds=2.0 + cost * preparation.steps(sampling, n_frames),
        programs=("packmol",),
        computes_with=computes_with(sampling_spec(study)["kind"]),
    )


def asked_of(counts: FrameCounts, sampling: SamplingSettings) -> dict[str, SamplerKind]:
    """The samplers that a set of frames asks for, by name."""
    return {name: kind for name, kind in SAMPLERS.items() if kind.is_asked(counts, sampling)}


def sampling_keys(counts: FrameCounts, sampling: SamplingSettings) -> set[str]:
    """Those keys of the sampling that decide what the frames of a set are."""
    return {key for kind in asked_of(counts, sampling).values() for key in kind.keys}


def start_stage(study: Study, protocol: MdSettings) -> Stage:
    """The start of every run of a protocol, one frame in ``frames.xyz``: an equilibrated box, or ions without a box."""
    if protocol.vacuum is not None:
        return _vacuum_stage(study, protocol)
    sampling, liquid = study.settings.sampling, ions_of(study, protocol)
    multiple = protocol.box_multiple
    name = "equilibrate the box that MD starts from" + (f", {multiple} times the liquid" if multiple > 1 else "")
    box = {"recipe": _START, "density_ratio": 1.0, "frames": 1, "seed": study.seed("md start")}
    settings = {
        "liquid": identity(liquid),
        "temperature_K": study.settings.liquid.temperature_K,
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "box": box,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include=SAMPLERS[_START].keys),
    }
    told = {**settings, "bond_factor": study.settings.gate.bond_factor}

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    steps = steps_of(box, sampling)

    def work(job: Job) -> None:
        job.run(sample_box, job.directory, liquid, sampling_spec(study), box, told, "md-start", job.threads)

    return Stage(
        name=of_composition(study, name),
        kind="start",
        runs_as="md",
        version=1,
        settings=settings,
        inputs={},
        work=work,
        task_seconds=5.0 + steps * cost,
        programs=("packmol",),
        computes_with=computes_with(sampling_spec(study)["kind"]),
    )


def _vacuum_stage(study: Study, protocol: MdSettings) -> Stage:
    ions, seed = ions_of(study, protocol), study.seed("vacuum", protocol.name)

    def work(job: Job) -> None:
        frames.write(job.directory / FRAMES, [in_vacuum(ions, seed)])

    return Stage(
        name=f"place {ions.label} in a vacuum, {protocol.name}",
        kind="vacuum",
        version=1,
        settings={"ions": identity(ions), "seed": seed},
        inputs={},
        work=work,
        task_seconds=1.0,
    )

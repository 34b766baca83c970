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
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import Study
from ilforge.study.md_settings import MdSettings
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES, HOT, RUNS, chosen_frames, find_heat, of_each_box, sample_box

_HOT_KEYS = {"hot_temperature_K", "hot_timestep_fs", "hot_interval_ps"}


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
    return sorted({symbol for part in study.parts for symbol in liquid_of(part).topology.symbols})


def ions_of(study: Study, protocol: MdSettings) -> Liquid:
    """What an MD protocol is run for: a multiple of the study's liquid, or the ions in a vacuum that it names."""
    liquid = study.settings.liquid
    if protocol.vacuum is not None:
        return Liquid.of(protocol.vacuum, liquid.define, study.folder, vacuum=True)
    counts = {name: protocol.box_multiple * count for name, count in liquid.ions.items()}
    return Liquid.of(counts, liquid.define, study.folder)


def of_composition(study: Study, name: str) -> str:
    """The name of a stage or set of frames, with that of the composition where there are several."""
    return f"{name}, {study.composition}" if study.composition else name


def identity(liquid: Liquid) -> dict[str, Any]:
    """What a liquid is, for keys of stages: a user's ion is its atoms and bonds, not only its name."""
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
    # of the whole study: its compositions are labelled by one method
    elements = tuple(elements_of(study.whole or study))
    context = Context(study.folder, tuple(liquid_of(study).counts), liquid.define, elements)
    return study.settings.potential(name).spec(context)


def computes_with(kind: str, engine: str | None = None) -> tuple[Program, ...]:
    """Programs that can use a GPU and that MD, or without an engine's name anything else, asks for this potential."""
    own = ENGINES[engine].computes_with if engine else None
    program = own or POTENTIALS[kind].computes_with
    return () if program is None else (program,)


def engine_programs(kind: str, engine: str | None = None) -> tuple[str, ...]:
    """What has to be installed apart from Python packages to run a kind of potential."""
    able = [name for name in engines_for(POTENTIALS[kind].potential) if not ENGINES[name].on_request]
    return ENGINES[engine or able[0]].programs


def is_force_field(spec: Mapping[str, Any]) -> bool:
    """Whether a potential is asked about ions and boxes before anything runs."""
    return POTENTIALS[spec["kind"]].family == "force field"


def refuse_unfit(
    study: Study, spec: Mapping[str, Any], density_ratio: float = 1.0, liquid: Liquid | None = None
) -> None:
    """Ask a potential about the study's ions, or those of another liquid, and its smallest box before anything runs.

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
    """Ask a force field about the smallest box of the study.

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
    """Ask a potential about the ions of a liquid; a model is loaded for it, but not by those who only look."""
    refuse_unknown_elements(spec, liquid)
    potential = potentials.create(spec)
    if not (trust.only_looking() and POTENTIALS[spec["kind"]].family == "model"):
        potential.calculator(liquid.topology)


def refuse_unknown_elements(spec: Mapping[str, Any], liquid: Liquid) -> None:
    """Ask a potential about the elements of a liquid, if it knows that without being loaded."""
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
    named = of_each_box(first, counts, ratios, sampling.intermolecular_candidates)
    boxes = {name: {**box, "seed": study.seed(purpose, name)} for name, box in named.items()}
    settings = {
        "liquid": identity(liquid),
        "temperature_K": study.settings.liquid.temperature_K,
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "boxes": boxes,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include=sampling_keys(counts)),
        "bond_factor": study.settings.gate.bond_factor,
        **({"intermolecular": counts.intermolecular} if counts.intermolecular else {}),
    }
    hot = {"hot": hot_stage(study)} if counts.hot_boxes and counts.hot_frames_per_box else {}

    def work(job: Job) -> None:
        spec = sampling_spec(study)
        found = json.loads((job.input("hot") / HOT).read_text()) if hot else {}
        parts = job.parts(
            sample_box,
            {name: (liquid, spec, box, {**settings, "hot": found}, name, job.threads) for name, box in boxes.items()},
        )
        sampled = {name: frames.read(path / FRAMES) for name, path in parts.items()}
        frames.write(job.directory / FRAMES, chosen_frames(sampled, boxes, liquid, counts.intermolecular))

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    runs = [box["frames"] for box in boxes.values() if box["recipe"] in RUNS]
    steps = 1000 * (len(runs) * sampling.equilibration_ps + sum(runs) * sampling.interval_ps) / max(1, len(boxes))
    return Stage(
        name=of_composition(study, f"sample {purpose} frames"),
        kind="frames",
        runs_as="md",
        version=2,
        settings=settings,
        inputs=hot,
        work=work,
        tasks=len(boxes),
        task_seconds=2.0 + cost * steps / sampling.timestep_fs,
        programs=("packmol",),
        computes_with=computes_with(sampling_spec(study)["kind"]),
    )


def hot_stage(study: Study) -> Stage:
    """How hot and with how long a step the molecules can be shaken before they come apart: ``hot.json``.

    Found once for each composition, in a box of its own, for training and validation alike.
    """
    sampling, liquid = study.settings.sampling, liquid_of(study)
    counts = (sampling.training, sampling.validation)
    settings = {
        "liquid": identity(liquid),
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include=_HOT_KEYS),
        "frames": max(count.hot_frames_per_box for count in counts),
        "bond_factor": study.settings.gate.bond_factor,
        "seed": study.seed("hot", study.composition),
    }

    def work(job: Job) -> None:
        job.run(find_heat, job.directory, liquid, sampling_spec(study), settings, job.threads)

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    n_frames = max(count.hot_frames_per_box for count in counts)
    steps = n_frames * sampling.hot_interval_ps * 1000 / sampling.hot_timestep_fs
    return Stage(
        name=of_composition(study, "find the highest temperature without bond breaking"),
        kind="hot",
        runs_as="md",
        version=1,
        settings=settings,
        inputs={},
        work=work,
        task_seconds=2.0 + 6 * steps * cost,
        programs=("packmol",),
        computes_with=computes_with(sampling_spec(study)["kind"]),
    )


def sampling_keys(counts: FrameCounts) -> set[str]:
    """Those keys of the sampling that decide what the frames of a set are."""
    keys = set()
    if counts.eq_boxes or counts.intermolecular:
        keys |= {"timestep_fs", "equilibration_ps", "interval_ps"}
    if counts.intermolecular:
        keys |= {"intermolecular_density_ratios", "intermolecular_candidates"}
    if counts.packed or counts.distorted:
        keys |= {"packed_steps"}
    if counts.distorted:
        keys |= {"distorted_bond_strain", "distorted_angle_deg", "distorted_torsion_deg"}
    if counts.hot_boxes:
        keys |= _HOT_KEYS
    return keys


def start_stage(study: Study, protocol: MdSettings) -> Stage:
    """What every run of a protocol starts from, ``frames.xyz`` of one frame: an equilibrated box, or ions without."""
    if protocol.vacuum is not None:
        return _vacuum_stage(study, protocol)
    sampling, liquid = study.settings.sampling, ions_of(study, protocol)
    multiple = protocol.box_multiple
    name = "equilibrate the box that MD starts from" + (f", {multiple} times the liquid" if multiple > 1 else "")
    box = {"recipe": "nvt", "density_ratio": 1.0, "frames": 1, "seed": study.seed("md start")}
    settings = {
        "liquid": identity(liquid),
        "temperature_K": study.settings.liquid.temperature_K,
        "density_g_cm3": study.settings.liquid.density_g_cm3,
        "box": box,
        "potential": potentials.create(sampling_spec(study)).describe(),
        "sampling": sampling.model_dump(include={"timestep_fs", "equilibration_ps", "interval_ps"}),
    }

    cost = potentials.create(sampling_spec(study)).seconds_per_frame(liquid.topology.n_atoms)
    steps = 1000 * (sampling.equilibration_ps + sampling.interval_ps) / sampling.timestep_fs

    def work(job: Job) -> None:
        job.run(sample_box, job.directory, liquid, sampling_spec(study), box, settings, "md-start", job.threads)

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

"""MD with any potential from one description of the protocol, and its measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from ilforge import frames, potentials
from ilforge.dynamics import run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.trajectory import Trajectory, frames_recorded
from ilforge.properties import PROPERTIES, Measurement, create, measure, settings_of
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.shared.local_structure import ShapesSettings
from ilforge.settings import Settings
from ilforge.study.load import Study
from ilforge.study.md_settings import MdSettings
from ilforge.training import TRAINERS
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.models import model_spec, seconds_per_step
from ilforge.workflow.steps.named_ions import as_far_as_named
from ilforge.workflow.steps.structures import computes_with, engine_programs, ions_of
from ilforge.workflow.store import write_json

MEASUREMENT = "measurement.json"
_LARGE = 2000  # number of atoms from which the expected memory grows with their number
_VACUUM_MINIMISATION = 200  # steps: a conformer comes from no run at a temperature, unlike a box


def md_stage(
    study: Study,
    settings: MdSettings,
    name: str,
    start: Stage,
    model: Stage | None,
    spec: dict[str, Any] | None,
    inner: Stage | dict[str, Any] | None = None,
) -> Stage:
    """A trajectory (see :class:`~ilforge.dynamics.trajectory.Trajectory`) of a trained model or a given potential.

    If steps are divided, ``inner`` is the cheap potential, trained or given, that moves the atoms within a step.
    """
    liquid = ions_of(study, settings)
    protocol = protocol_of(study, settings, name)

    def work(job: Job) -> None:
        chosen = spec if model is None else model_spec(job.trusted_input("model"))
        within = model_spec(job.trusted_input("inner")) if isinstance(inner, Stage) else inner
        start_file = job.input("start") / FRAMES
        job.run(_run, chosen, start_file, liquid, protocol, job.directory, job.threads, settings.engine, within)

    n_atoms = liquid.topology.n_atoms
    steps = protocol.unrecorded_steps + protocol.n_frames * protocol.interval_steps
    kind, per_step = _kind_and_speed(study, name, model, spec, n_atoms)
    return Stage(
        name=f"MD {settings.name} with {name}",
        kind="md",
        runs_as="md",
        version=1,
        settings={
            "protocol": protocol.as_dict(),
            "spec": None if spec is None else potentials.create(spec).describe(),
            # left out if not used, so that earlier results keep their names
            **({"engine": settings.engine} if settings.engine else {}),
            **({"inner": potentials.create(inner).describe()} if isinstance(inner, dict) else {}),
        },
        inputs={
            "start": start,
            **({"model": model} if model else {}),
            **({"inner": inner} if isinstance(inner, Stage) else {}),
        },
        work=work,
        task_seconds=5.0 + steps * per_step,
        memory_GB=1.5 * max(1.0, n_atoms / _LARGE),
        programs=engine_programs(kind, settings.engine),
        computes_with=computes_with(kind, settings.engine),
        progress=frames_recorded,
    )


def _kind_and_speed(
    study: Study, name: str, model: Stage | None, spec: dict[str, Any] | None, n_atoms: int
) -> tuple[str, float]:
    """The kind of potential that runs, and the expected time of a step, s."""
    if spec is not None:
        return spec["kind"], potentials.create(spec).seconds_per_frame(n_atoms)
    assert model is not None
    return TRAINERS[model.kind].potential, seconds_per_step(study, name, n_atoms)


def protocol_of(study: Study, settings: MdSettings, name: str) -> MdProtocol:
    """The protocol of a run of the study with a potential of this name."""
    return MdProtocol(
        ensemble=settings.ensemble,
        temperature_K=settings.temperature_K or study.settings.liquid.temperature_K,
        pressure_bar=study.settings.liquid.pressure_bar if settings.pressure_bar is None else settings.pressure_bar,
        timestep_fs=settings.timestep_fs,
        length_ps=settings.length_ps,
        equilibration_ps=settings.equilibration_ps,
        interval_ps=settings.interval_ps,
        pressure_interval_ps=settings.pressure_interval_ps,
        minimise_steps=0 if settings.vacuum is None else _VACUUM_MINIMISATION,
        thermostat=settings.thermostat,
        barostat=settings.barostat,
        hydrogen_mass_amu=settings.hydrogen_mass_amu,
        inner_steps=settings.inner_steps,
        seed=study.seed("md", settings.name, name),  # different seeds: equal ones would correlate the runs
    )


def measured_in(protocol: MdSettings, analysis: AnalysisSettings) -> list[str]:
    """Properties that are meaningful for the system of a protocol."""
    return [name for name in analysis.properties if not (protocol.vacuum and create(name, analysis).needs_cell)]


def analysis_stage(study: Study, protocol: MdSettings, trajectory: Stage, property_name: str) -> Stage:
    """One property of one trajectory: ``measurement.json``.

    If the settings name ions that only other compositions of a series have, these are left out, with a note.
    """
    parts = settings_of(property_name, study.settings.analysis)
    left_out: list[str] = []
    fitting: dict[str, Settings] | None = parts
    if protocol.vacuum is not None and property_name == "shapes":  # definitions may be for other ions of the liquid
        present = ions_of(study, protocol).counts
        defined = cast(ShapesSettings, parts["shapes"]).define
        define = [one for one in defined if one.ion in present]
        parts["shapes"] = parts["shapes"].model_copy(update={"define": define})
    elif protocol.vacuum is None:
        fitting, left_out = as_far_as_named(property_name, parts, ions_of(study, protocol))
        parts = fitting or parts
    others = {part: of for part, of in parts.items() if part != property_name}
    own = parts[property_name].model_dump()

    def work(job: Job) -> None:
        job.run(_measure, job.input("trajectory"), property_name, fitting, left_out, job.directory)

    return Stage(
        name=f"{property_name} of {trajectory.name}",
        kind=property_name,
        version=PROPERTIES[property_name].version,
        settings=own
        | {part: of.model_dump() for part, of in others.items()}
        | ({"left_out": left_out} if left_out else {}),  # if absent, earlier results keep their names
        inputs={"trajectory": trajectory},
        work=work,
        task_seconds=2.0,
    )


def _run(
    spec: dict[str, Any],
    start: Path,
    liquid: Any,
    protocol: MdProtocol,
    directory: Path,
    threads: int,
    engine: str | None,
    inner_spec: dict[str, Any] | None,
) -> None:
    inner = None if inner_spec is None else potentials.create(inner_spec)
    potential, start_frame = potentials.create(spec), frames.read(start)[0]
    run_md(potential, start_frame, liquid, protocol, directory, threads, engine, inner)


def _measure(
    trajectory: Path, name: str, parts: dict[str, Settings] | None, left_out: list[str], directory: Path
) -> None:
    found = Measurement()
    if parts is not None:
        analysis = AnalysisSettings(properties=[name], **parts)
        found = measure(Trajectory(trajectory), [name], analysis)[name]
    found.notes.extend(left_out)
    write_json(directory / MEASUREMENT, found.to_json())

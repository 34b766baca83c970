"""Dynamics: a potential and a box become a trajectory, by the engine that suits the potential."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.motion import Exploded
from ilforge.dynamics.protocol import CONSTRAIN_ABOVE_FS, TIME_STEPS, MdProtocol
from ilforge.dynamics.trajectory import Trajectory, load
from ilforge.errors import SettingsError
from ilforge.kinds import Registry

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.dynamics.motion import Sample, State
    from ilforge.dynamics.simulation import Job, Maker
    from ilforge.liquid.liquid import Liquid
    from ilforge.potentials.potential import Potential

__all__ = [
    "ENGINES",
    "EngineKind",
    "Exploded",
    "MdProtocol",
    "Trajectory",
    "choose_engine",
    "engines_for",
    "load",
    "minimise",
    "run_md",
    "samples",
    "time_step_warning",
]

ENGINES: Registry[EngineKind] = Registry(
    "engine",
    "ilforge.engines",
    {
        "builtin": "ilforge.dynamics.builtin",
        "openmm": "ilforge.dynamics.openmm",
        "lammps": "ilforge.dynamics.lammps",
        "ase": "ilforge.dynamics.ase",
        "gromacs": "ilforge.dynamics.gromacs",
    },
)
"""All engines, in the order in which they are tried. The builtin engine runs potentials that evaluate forces by
themselves; ASE accepts every potential. GROMACS is installed separately and runs only if a run asks for it."""


def engines_for(potential: type) -> list[str]:
    """Engines that can run potentials of a class; the first one is the default."""
    return [name for name, engine in ENGINES.items() if engine.runs(potential)]


def choose_engine(potential: Potential, atoms: Atoms, engine: str | None = None) -> str:
    """Name of the engine that runs this potential in this box: the requested one, or the first that accepts it.

    Raises
    ------
    SettingsError
        When there is no such engine, or it does not accept the potential.
    """
    able = [name for name in ENGINES if ENGINES[name].accepts(potential, atoms.cell)]
    if engine is None:
        return next(name for name in able if not ENGINES[name].on_request)
    ENGINES.named(engine)
    if engine not in able:
        raise SettingsError(
            f"engine = {engine!r} cannot run {potential.kind} in this box. These engines can: {', '.join(able)}."
        )
    return engine


def run_md(
    potential: Potential,
    atoms: Atoms,
    liquid: Liquid,
    protocol: MdProtocol,
    directory: Path,
    threads: int = 1,
    engine: str | None = None,
    inner_potential: Potential | None = None,
    watch: Callable[[Sample, float], None] | None = None,
) -> Trajectory:
    """Run MD and record it; continue from the last checkpoint if the directory contains one.

    A run whose motion explodes ends at that point. This is a finding about the potential, not an error: ``fault``
    tells when and where it happened, and the frames recorded before are kept.

    Parameters
    ----------
    atoms
        The start structure with its atoms in the order of ``liquid``: a periodic box with right angles or, without
        periodicity, ions in a vacuum with any charge. Velocities are drawn from the seed, unless the protocol keeps
        those of the structure.
    directory
        Directory of the run; it is made if it does not exist. A run that has ended there is returned unchanged.
    engine
        A key of :data:`ENGINES`. By default the engine that began the run in this directory, or else the first that
        can run the potential.
    inner_potential
        A cheap potential that moves the atoms within a step, ``protocol.inner_steps`` times. The difference between
        ``potential`` and this one acts once in a step. Only the builtin engine can do this.
    watch
        ``watch(sample, time_ps)`` sees each frame once it is recorded. It may raise :class:`Exploded` to end the run.

    Raises
    ------
    SettingsError
        When potential, box, engine and protocol do not fit together, or the directory contains another run.
    """
    from ilforge.dynamics.recording import Recorder
    from ilforge.dynamics.simulation import Job

    if engine is None:
        engine = _begun_engine(potential, atoms, Path(directory))
    name = choose_engine(potential, atoms, engine)
    if protocol.pressure_interval_ps is not None and not ENGINES[name].records_pressure:
        recording = " or ".join(one for one, kind in ENGINES.items() if kind.records_pressure)
        raise SettingsError(
            f"pressure_interval_ps: engine {name} cannot record the pressure tensor; use engine {recording}."
        )
    job = Job(potential, atoms, liquid.topology, protocol, threads, Path(directory), inner_potential)
    _refuse_choices(name, job)
    recorder = Recorder(job, _about(job, liquid, name))
    if recorder.closed:
        return Trajectory(job.folder)
    fault = None
    try:
        for sample, state in ENGINES[name].frames(job, recorder.state, recorder.n_frames):
            if sample is not None:
                recorder.append(sample)
                if watch is not None:
                    watch(sample, recorder.n_frames * protocol.frame_interval_ps)
            if state is not None:
                recorder.save(state)
    except Exploded as error:
        fault = error
    return recorder.close(fault, ENGINES[name].details(job))


def _begun_engine(potential: Potential, atoms: Atoms, directory: Path) -> str | None:
    """The engine that began the run in this directory, if there is one and it still accepts the potential."""
    from ilforge.dynamics.recording import begun_by

    begun = begun_by(directory)
    if begun is None or begun not in ENGINES or not ENGINES[begun].accepts(potential, atoms.cell):
        return None
    return begun


def _about(job: Job, liquid: Liquid, engine: str) -> dict[str, Any]:
    """What identifies a run: all that determines its trajectory."""
    from ilforge import frames

    about = {
        "ions": liquid.label,
        "potential": job.potential.describe(),
        "protocol": job.protocol.as_dict(),
        "start": frames.digest(job.atoms),
        "run_by": engine,
    }
    if job.protocol.keep_velocities:
        about["start_velocities"] = job.start_velocities_digest
    if job.inner is not None:
        about["inner_potential"] = job.inner.describe()
    return about


def _refuse_choices(engine: str, job: Job) -> None:
    """Refuse options of the protocol that the engine cannot run."""
    for option in ("thermostat", "barostat", "hydrogen_mass_amu", "inner_steps"):
        value = getattr(job.protocol, option)
        if value not in (None, 1) and not ENGINES[engine].honours(job, option, value):
            raise SettingsError(
                f"{option} is {value!r}, which engine {engine} cannot run with {job.potential.kind}: leave it out"
                f"{_able(job, option, value)}."
            )


def _able(job: Job, option: str, value: Any) -> str:
    """``", or use engine openmm"``: the engines that can run the potential with this option; empty if there is none."""
    accept = [kind for kind in ENGINES.values() if kind.accepts(job.potential, job.atoms.cell)]
    able = [kind.name for kind in accept if kind.honours(job, option, value)]
    return f", or use engine {' or '.join(able)}" if able else ""


def time_step_warning(
    potential: Potential, atoms: Atoms, liquid: Liquid, protocol: MdProtocol, engine: str | None = None
) -> str | None:
    """Warning about a time step above 1 fs if bonds to H are not constrained; None if there is nothing to warn about.

    The arguments are those of :func:`run_md`.
    """
    from ilforge.dynamics.simulation import Job

    if protocol.inner_timestep_fs <= CONSTRAIN_ABOVE_FS:
        return None
    job = Job(potential, atoms, liquid.topology, replace(protocol, inner_steps=1))
    slowing = job.slowing_of_hydrogens
    if slowing is None or protocol.inner_timestep_fs <= CONSTRAIN_ABOVE_FS * slowing:
        return None
    name = choose_engine(potential, atoms, engine)
    if ENGINES[name].holds_hydrogens(job):
        return None
    return (
        f"timestep_fs (--timestep) is {protocol.timestep_fs:g}, and bonds to H, whose period is {11 * slowing:.0f} fs, "
        f"are not constrained with {potential.kind} in {name}: the energy drifts, or the run fails. {TIME_STEPS}"
    )


def samples(job: Job) -> Iterator[Sample]:
    """Frames of a run in memory, without recording: by the builtin engine or OpenMM if possible, otherwise by ASE.

    Raises
    ------
    Exploded
        When the motion has become unphysical.
    """
    from ilforge.dynamics.simulation import record

    for sample, _ in record(_in_memory(job), job, None):
        if sample is not None:
            yield sample


def minimise(job: Job, max_steps: int) -> State:
    """The job's start after at most ``max_steps`` steps of energy minimisation, at rest."""
    from ilforge.dynamics.simulation import minimised

    return minimised(_in_memory(job)(job, "NVT"), job, max_steps)


def _in_memory(job: Job) -> Maker:
    """The simulation class that moves these atoms in memory."""
    able = [engine for engine in ENGINES.values() if engine.accepts(job.potential, job.atoms.cell)]
    return next(engine.simulation for engine in able if engine.simulation is not None)

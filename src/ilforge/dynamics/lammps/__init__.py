"""LAMMPS as engine: for potentials that can be written as a pair style in ``units metal``.

NVT and NPT use Nosé-Hoover chains and the barostat of Martyna, Tobias and Klein (``fix nvt``, ``fix npt``) with
0.1 ps and 0.5 ps; NVE is velocity Verlet (``fix nve``). A single molecule with such a chain is not ergodic and keeps
its initial rotation. Therefore NVT of ions in a vacuum is Langevin dynamics (``fix langevin``, 1/ps, no net random
force) with ``fix nve``; each segment has new random numbers that depend on seed and step.

A run consists of segments. Each is a separate process that continues from the restart file of the segment before.
Therefore a run that was killed and continued is the same as an uninterrupted run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.cell import Cell

from ilforge import programs
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.lammps import program as lammps_program
from ilforge.dynamics.lammps.files import data_file, read_dump, read_force_deviation, read_thermo
from ilforge.dynamics.motion import (
    HOTTEST,
    LARGEST,
    SMALLEST,
    Exploded,
    Sample,
    State,
    burst,
    fastest_atoms,
    volume_of,
)
from ilforge.dynamics.simulation import Job
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.potentials.abilities import Overflows, RunsInLammps
from ilforge.potentials.potential import Potential

FOLDER = "ilforge-lammps"
"""LAMMPS's working folder, beside the files of the run; it is emptied at every start."""
THERMOSTAT_PS, BAROSTAT_PS = 0.1, 0.5
FRICTION_PER_PS = 1.0
"""Friction of Langevin dynamics in a vacuum."""

_UNRECORDED = "UNRECORDED "  # begins a checkpoint written before the first frame; the step follows
_DUMPED, _DUMPED_AS = "id xu yu zu vx vy vz", "sort id format float %.16g"
_GUARD_STEPS = 10  # steps between checks of the temperature
_MINIMISED = 0.05  # eV/Å, norm of all forces at which minimisation ends
_SIGNS_OF_EXPLOSION = (
    "Lost atoms",
    "Non-numeric",
    "Out of range atoms",
    "Too many neighbor bins",
    "Domain too large",
    "Neighbor list overflow",
    "has no volume",
)


def accepts(potential: Potential, cell: Cell) -> bool:
    """Whether the potential can be written as a pair style; a committee says so of its members."""
    return isinstance(potential, RunsInLammps) and getattr(potential, "members_run_in_lammps", True)


def details(job: Job) -> dict[str, Any]:
    """Entries of ``run.json`` about the engine."""
    log = programs.last_lines(job.folder / FOLDER / lammps_program.LOG, count=10**6)
    version = re.search(r"^LAMMPS \((.*)\)", log, re.MULTILINE)
    how: dict[str, Any] = {"name": "lammps", "version": version[1] if version else "unknown"}
    if job.protocol.ensemble != "NVE":
        chain, langevin = f"Nosé-Hoover chain, {THERMOSTAT_PS:g} ps", f"Langevin, {FRICTION_PER_PS:g}/ps"
        how["thermostat"] = chain if job.periodic else langevin
    if job.protocol.ensemble == "NPT":
        how["barostat"] = f"Martyna-Tobias-Klein, isotropic, {BAROSTAT_PS:g} ps"
    how["bonds_to_H"] = "free"
    return how


def holds_hydrogens(job: Job) -> bool:
    """Whether bonds to H are constrained in this run: never."""
    return False


def honours(job: Job, option: str, value: Any) -> bool:
    """Whether the engine can run an option of the protocol: only its own thermostat."""
    return bool(value == ("nose-hoover" if job.periodic else "langevin"))


def frames(job: Job, state: bytes | None, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    """Frames after the first ``done`` frames, and restart files from which the run can continue.

    Raises
    ------
    Exploded
        When the motion has become unphysical.
    """
    if job.protocol.constrain_hydrogens:
        raise SettingsError(
            "constrain_hydrogens: the LAMMPS engine cannot constrain bonds. Leave it out, and use a time step of "
            "at most 1 fs."
        )
    found = _overflow(job, job.start_positions, job.cell)
    if found:
        raise SettingsError(f"{found} Use a model that was trained on frames as dense as the start of this run.")
    work, protocol, fault = job.folder / FOLDER, job.protocol, None
    n_frames, every = protocol.n_frames, protocol.checkpoint_steps
    step, state = _where(job, state, done)
    while step < -every:  # the last part of the equilibration runs together with the first recorded frames
        _, fault = _segment(job, work, state, step, step + every)
        if fault is not None:
            break
        step, state = step + every, (work / "end.restart").read_bytes()
        yield None, f"{_UNRECORDED}{step}\n".encode() + state
    while done < n_frames and fault is None:
        count = min(protocol.checkpoint_frames, n_frames - done)
        samples, fault = _segment(job, work, state, step, (done + count) * protocol.interval_steps)
        for sample in samples[:-1]:
            yield sample, None
        done += count
        step = done * protocol.interval_steps
        if fault is None and done < n_frames:
            state = (work / "end.restart").read_bytes()
            yield samples[-1], state
        elif samples:
            yield samples[-1], None
    for leftover in set(work.iterdir()) - {work / lammps_program.INPUT, work / lammps_program.LOG}:
        leftover.unlink()
    if fault is not None:
        raise fault


def _where(job: Job, state: bytes | None, done: int) -> tuple[int, bytes | None]:
    """The step of a checkpoint (negative during equilibration), and LAMMPS's restart file."""
    if state is None:
        return -job.protocol.unrecorded_steps, None
    if not state.startswith(_UNRECORDED.encode()):
        return done * job.protocol.interval_steps, state
    head, _, restart = state.partition(b"\n")
    return int(head[len(_UNRECORDED) :]), restart


def _segment(job: Job, work: Path, state: bytes | None, begin: int, end: int) -> tuple[list[Sample], Exploded | None]:
    """Run from one step to another and read the recorded frames; there are fewer if the motion exploded."""
    interval = job.protocol.interval_steps
    done, count = max(0, begin) // interval, max(0, end) // interval - max(0, begin) // interval
    shutil.rmtree(work, ignore_errors=True)  # delete files that a killed run left here
    work.mkdir(parents=True)
    if state is None:
        (work / "start.data").write_text(data_file(job))
    else:
        (work / "start.restart").write_bytes(state)
    (work / lammps_program.INPUT).write_text("\n".join(_script(job, state is None, begin, end)) + "\n")
    failure = None
    try:
        lammps_program.run(job, work)
    except DidNotFinish as error:
        failure = error
    log = (work / lammps_program.LOG).read_text(errors="replace")
    if _halt(log) and not _recording_had_begun(log):
        return [], _fault(job, work, log, failure)
    samples = _read(job, work, done, count)
    if failure is not None or len(samples) < count:
        return samples, _fault(job, work, log, failure)
    return samples, _crowded(job, samples[-1], end) if samples else None


def _stages(job: Job, begin: int, end: int) -> list[tuple[str, int]]:
    """Ensembles and steps of the equilibration between two (negative) steps; it ends at step zero."""
    found, first = [], -job.protocol.unrecorded_steps
    for ensemble, steps in job.protocol.unrecorded:
        steps_here = min(end, first + steps) - max(begin, first)
        if steps_here > 0:
            found.append((ensemble, steps_here))
        first += steps
    return found


def _script(job: Job, fresh: bool, begin: int, end: int) -> list[str]:
    """LAMMPS input for one segment between two steps; negative steps are not recorded."""
    protocol, elements = job.protocol, sorted(set(job.topology.symbols))
    lines = [
        "units metal",
        "boundary p p p" if job.periodic else "boundary s s s",
        "atom_style atomic",
        "atom_modify map yes",
        f"variable interval equal {protocol.interval_steps}",  # for pair styles that write at every frame
        "read_data start.data" if fresh else "read_restart start.restart",
        *cast(RunsInLammps, job.potential).lammps_pair(elements),
        "neighbor 1.0 bin",
        "neigh_modify every 1 delay 0 check yes",
        f"timestep {protocol.timestep_fs / 1000:.10g}",
        "thermo_style custom step temp pe ke vol",
        f"thermo {protocol.interval_steps}",
    ]
    # "not smaller or equal" is also true for NaN
    guard = [
        f'variable hot equal "!(temp <= {HOTTEST * protocol.temperature_K:.10g})"',
        f"fix guard all halt {_GUARD_STEPS} v_hot != 0 error soft message yes",
    ]
    if job.periodic and protocol.ensemble == "NPT":
        start = volume_of(job.cell)
        small, large = f"{SMALLEST * start:.10g}", f"{LARGEST * start:.10g}"
        guard += [
            f'variable burst equal "!(vol >= {small} && vol <= {large})"',
            f"fix box all halt {_GUARD_STEPS} v_burst != 0 error soft message yes",
        ]
    if fresh and protocol.minimise_steps:
        lines.append(f"minimize 0.0 {_MINIMISED} {protocol.minimise_steps} {10 * protocol.minimise_steps}")
    lines += guard
    moving: list[str] = []
    now = None
    seed = job.random_seed(begin)
    for ensemble, steps in _stages(job, begin, end) + [(protocol.ensemble, 0)] * (end > 0):
        if ensemble != now:
            fixes = _move(job, ensemble, seed)
            lines += [f"unfix {fix.split()[1]}" for fix in moving] + fixes
            moving, now = fixes, ensemble
        lines += [f"run {steps}"] * (steps > 0)
    if end > 0:
        lines += ["reset_timestep 0"] * (begin <= 0) + _recording(protocol.interval_steps, end - max(0, begin))
    return [*lines, "write_restart end.restart", f"write_dump all custom end.dump {_DUMPED} modify {_DUMPED_AS}"]


def _recording(interval: int, steps: int) -> list[str]:
    return [
        "print RECORDING",
        f"dump frames all custom {interval} frames.dump {_DUMPED}",
        f"dump_modify frames {_DUMPED_AS} first no flush yes",
        f'fix thermo all print {interval} "$(step) $(temp:%.16g) $(pe:%.16g) $(ke:%.16g)"'
        ' file thermo.dat screen no title ""',
        f"run {steps}",
    ]


def _move(job: Job, ensemble: str, seed: np.random.SeedSequence) -> list[str]:
    """The fixes that move the atoms: ``move`` and, if it has no thermostat, a heat ``bath``."""
    kelvin = f"{job.protocol.temperature_K:.10g}"
    thermostat = f"temp {kelvin} {kelvin} {THERMOSTAT_PS}"
    if ensemble == "NVE":
        return ["fix move all nve"]
    if ensemble == "NVT" and not job.periodic:
        number = int(seed.generate_state(1)[0] % (2**31 - 1)) + 1
        return [
            "fix move all nve",
            f"fix bath all langevin {kelvin} {kelvin} {1 / FRICTION_PER_PS:g} {number} zero yes",
        ]
    if ensemble == "NVT":
        return [f"fix move all nvt {thermostat}"]
    bar = f"{job.protocol.pressure_bar:.10g}"
    return [f"fix move all npt {thermostat} iso {bar} {bar} {BAROSTAT_PS}"]


def _read(job: Job, work: Path, done: int, count: int) -> list[Sample]:
    """The frames that a segment recorded: those before the first frame that is missing or not finite."""
    thermo = read_thermo(work / "thermo.dat")
    deviation = read_force_deviation(work / "model_devi.out")
    dumped = {frame.step: frame for frame in read_dump(work / "frames.dump", job.topology.n_atoms)}
    samples = []
    for index in range(done + 1, done + count + 1):
        step = index * job.protocol.interval_steps
        if step not in thermo or step not in dumped:
            break
        temperature, potential, kinetic = thermo[step]
        frame = dumped[step]
        if not (np.isfinite(potential) and np.isfinite(frame.positions).all()):
            break
        samples.append(
            Sample(frame.positions, frame.velocities, frame.cell, potential, kinetic, temperature, deviation.get(step))
        )
    return samples


def _fault(job: Job, work: Path, log: str, failure: DidNotFinish | None) -> Exploded:
    """Why a segment has too few frames; raises ``failure`` if the motion is not the cause."""
    halted = _halt(log)
    signs = [sign for sign in _SIGNS_OF_EXPLOSION if sign in log]
    recorded = [*read_dump(work / "frames.dump", job.topology.n_atoms)]
    recorded += read_dump(work / "end.dump", job.topology.n_atoms)
    if halted and halted[1] == "box":
        what = burst(volume_of(recorded[-1].cell), volume_of(job.cell), job.mass) if recorded else None
        what = what or f"the box left {SMALLEST:g} to {LARGEST:g} times its volume at the start"
    elif halted:
        kelvin = job.protocol.temperature_K
        what = f"the temperature is above {HOTTEST * kelvin:.3g} K, {kelvin:g} K was set"
    elif signs:
        what = f"LAMMPS stopped: {signs[0]}"
    else:
        raise failure or DidNotFinish("lmp recorded fewer frames than it should", work, log[-2000:])
    step = int(halted[2]) if halted else max((frame.step for frame in recorded), default=0)
    time_ps = step * job.protocol.timestep_fs / 1000 if _recording_had_begun(log) else None
    fastest = fastest_atoms(recorded[-1].velocities, job.topology) if recorded else ()
    states = [State(frame.positions, frame.velocities, frame.cell, frame.step) for frame in reversed(recorded)]
    return Exploded(what, time_ps, fastest).at(*states)


def _crowded(job: Job, sample: Sample, step: int) -> Exploded | None:
    """A fault if the potential has too few neighbour places for this frame; LAMMPS continues without a message."""
    found = _overflow(job, sample.positions, sample.cell)
    if found is None:
        return None
    exploded = Exploded(found.rstrip("."), job.time_ps(step), fastest_atoms(sample.velocities, job.topology))
    return exploded.at(State(sample.positions, sample.velocities, sample.cell, step))


def _overflow(job: Job, positions: np.ndarray, cell: np.ndarray) -> str | None:
    """How the potential, or a member of a committee, runs out of neighbour places, in a sentence."""
    frame = Atoms(list(job.topology.symbols), positions, cell=cell, pbc=job.periodic)
    for part in (job.potential, *getattr(job.potential, "members", ())):
        found = part.overflow(frame) if isinstance(part, Overflows) else None
        if found is not None:
            return found
    return None


def _halt(log: str) -> re.Match[str] | None:
    """The first halt, with its fix and step."""
    return re.search(r"for fix-id (guard|box) met on step (\d+)", log)


def _recording_had_begun(log: str) -> bool:
    """Whether the run ended while frames were recorded. After a soft halt LAMMPS continues with the next command."""
    began, halted = log.find("\nRECORDING"), _halt(log)
    return began >= 0 and (halted is None or halted.start() > began)


KIND = EngineKind(
    name="lammps",
    title="LAMMPS",
    accepts=accepts,
    frames=frames,
    details=details,
    holds_hydrogens=holds_hydrogens,
    honours=honours,
    needs="lammps_pair",
    programs=("lmp",),
)

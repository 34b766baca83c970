"""GROMACS as engine: for potentials that can be written as a GROMACS topology, and only if a run asks for it.

The protocol is the usual one for ionic liquids: leap-frog, particle mesh Ewald, a Nosé-Hoover thermostat (0.5 ps)
and a Parrinello-Rahman barostat (2 ps, isotropic). Both oscillate far from equilibrium. The equilibration therefore
uses velocity rescaling and stochastic cell rescaling, as the GROMACS manual advises. LINCS constrains bonds to H.
Ions in a vacuum (:mod:`.vacuum`) have Langevin dynamics (``sd``, 1/ps) instead, because a single molecule with a
Nosé-Hoover thermostat is not ergodic and keeps its initial rotation.

A run consists of segments. Each is a separate process that continues from the checkpoint of the segment before.
Therefore a run that was killed and continued is the same as an uninterrupted run. As usual in leap-frog, velocities
are half a step behind positions; the kinetic energy is GROMACS's mean of half a step before and after.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase.cell import Cell

from ilforge import programs
from ilforge.arrays import Floats
from ilforge.dynamics.gromacs import messages
from ilforge.dynamics.gromacs import pressure as gromacs_pressure
from ilforge.dynamics.gromacs import vacuum as gromacs_vacuum
from ilforge.dynamics.gromacs.files import TrrFrame, gro_text, mdp_text, read_g96_positions, read_trr, read_xvg
from ilforge.dynamics.gromacs.options import (
    BAROSTAT_PS,
    FRICTION_PER_PS,
    THERMOSTAT_PS,
    honours,  # of an engine
    nonbonded_options,
    record_options,
    stage_options,
)
from ilforge.dynamics.gromacs.program import gmx, mdrun, version
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.motion import HOTTEST, Exploded, Sample, State, burst, fastest_atoms, volume_of
from ilforge.dynamics.simulation import Job
from ilforge.errors import DidNotFinish
from ilforge.liquid.connectivity import whole_molecules
from ilforge.potentials.abilities import RunsInGromacs
from ilforge.potentials.potential import Potential
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL

FOLDER = "ilforge-gromacs"  # beside the files of the run
_MINIMISED = 10.0  # kJ/mol/nm, largest force at which minimisation ends
_TERMS, _VOLUME = ("Potential", "Kinetic-En.", "Temperature"), "Volume"


def accepts(potential: Potential, cell: Cell) -> bool:
    """Whether the potential can be written as a GROMACS topology."""
    return isinstance(potential, RunsInGromacs)


def details(job: Job) -> dict[str, Any]:
    """Entries of ``run.json`` about the engine."""
    how: dict[str, Any] = {"name": "gromacs", "version": version()}
    if job.protocol.ensemble != "NVE":
        nose_hoover, langevin = f"Nosé-Hoover, {THERMOSTAT_PS:g} ps", f"Langevin, {FRICTION_PER_PS:g}/ps"
        how["thermostat"] = nose_hoover if job.periodic else langevin
    if job.protocol.ensemble == "NPT":
        how["barostat"] = f"Parrinello-Rahman, isotropic, {BAROSTAT_PS:g} ps"
    how["bonds_to_H"] = "held" if holds_hydrogens(job) else "free"
    return how


def holds_hydrogens(job: Job) -> bool:
    """Whether bonds to H are constrained in this run."""
    return job.protocol.hydrogens_held


@dataclass(frozen=True)
class _State:
    """State from which a run continues: GROMACS's input and checkpoint, and the positions of whole molecules."""

    stage: int  # of the equilibration, from 0; one more than the last for the recorded run
    step: int  # within the stage
    tpr: bytes
    cpt: bytes  # empty before the first step
    positions: np.ndarray

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        arrays = {key: np.frombuffer(value, np.uint8) for key, value in (("tpr", self.tpr), ("cpt", self.cpt))}
        np.savez(buffer, **{**asdict(self), **arrays})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> _State:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            tpr, cpt = stored["tpr"].tobytes(), stored["cpt"].tobytes()
            return cls(int(stored["stage"]), int(stored["step"]), tpr, cpt, stored["positions"])


def frames(job: Job, state: bytes | None, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    """Frames after the first ``done`` frames, and checkpoints from which the run can continue.

    Raises
    ------
    Exploded
        When the motion has become unphysical.
    """
    work = job.folder / FOLDER
    work.mkdir(parents=True, exist_ok=True)
    try:
        now = _begin(job, work) if state is None else _State.from_bytes(state)
        while now.stage < len(job.protocol.unrecorded):
            now = _equilibrate(job, work, now)
            yield None, now.to_bytes()
        yield from _record(job, work, now, done)
    finally:
        for scratch in ("segment", "start"):
            shutil.rmtree(work / scratch, ignore_errors=True)


def one_point(job: Job, program: str = "gmx", **options: str) -> dict[str, float]:
    """Energy terms of the start structure of a job by GROMACS's names (``"LJ (SR)"``), eV.

    Parameters
    ----------
    program
        ``gmx``, or ``gmx_d`` for double precision.
    options
        Options of the ``.mdp`` file to change, with ``_`` for ``-``.
    """
    wanted = {"integrator": "md", "nsteps": "0", "nstenergy": "1", "nstcalcenergy": "1", **nonbonded_options(job)}
    wanted |= {key.replace("_", "-"): value for key, value in options.items()}
    with tempfile.TemporaryDirectory(prefix="ilforge-gmx-") as folder:
        work = Path(folder)
        tpr = _grompp(job, work, "point", wanted, job.start_positions, program=program)
        (work / "point.tpr").write_bytes(tpr)
        alone = ("-ntmpi", "1", "-ntomp", "1", "-nb", "cpu")
        gmx(work, "mdrun", "-s", "point.tpr", "-deffnm", "out", *alone, program=program)
        table = _energies(work, work / "out.edr", [str(i) for i in range(1, 31)], program)
    names = list(table)[1:]
    return {name: float(table[name][0]) * KJ_PER_MOL for name in names[: names.index("Potential") + 1]}


def _begin(job: Job, work: Path) -> _State:
    """The initial state: minimised, with velocities drawn from the seed."""
    positions, protocol = job.start_positions, job.protocol
    if protocol.minimise_steps:
        positions = _minimised(job, work, positions)
    tpr = _grompp(job, work, *_part(job, 0), positions, velocities=job.start_velocities)
    return _State(0, 0, tpr, b"", positions)


def _part(job: Job, stage: int) -> tuple[str, dict[str, str]]:
    """Name and options of a stage of the equilibration, or of the recorded run after the last stage."""
    unrecorded = job.protocol.unrecorded
    if stage == len(unrecorded):
        return "record", record_options(job)
    return f"start-{stage + 1}-{unrecorded[stage].ensemble}", stage_options(job, stage)


def _ensemble(job: Job, stage: int) -> str:
    unrecorded = job.protocol.unrecorded
    return job.protocol.ensemble if stage == len(unrecorded) else unrecorded[stage].ensemble


def _minimised(job: Job, work: Path, positions: np.ndarray) -> np.ndarray:
    steps = str(job.protocol.minimise_steps)
    options = {"integrator": "steep", "emtol": f"{_MINIMISED}", "nsteps": steps, **nonbonded_options(job)}
    tpr = _grompp(job, work, "minimise", options, positions)
    segment = _fresh(work / "segment")
    (segment / "run.tpr").write_bytes(tpr)
    try:
        mdrun(job, segment, dynamics=False)
    except DidNotFinish as error:
        raise _translate_error(job, segment, error, None, []) from None
    found = read_g96_positions(segment / "out.part0001.g96")
    return _continued(found, gromacs_vacuum.box(job), job.start_positions, job)


def _equilibrate(job: Job, work: Path, state: _State) -> _State:
    """Run one segment of an equilibration stage; at the end of the stage, prepare the input of the next one."""
    total = job.protocol.unrecorded[state.stage].steps
    steps = min(job.protocol.checkpoint_steps, total - state.step)
    segment = _segment(job, work, state, steps)
    fault, _ = segment.look(job, state.step, recording=False)
    if fault is not None:
        raise fault
    cpt, positions = segment.checkpoint(), state.positions
    for frame in segment.frames:
        positions = _continued(frame.positions, frame.cell, positions, job)
    if state.step + steps < total:
        return replace(state, step=state.step + steps, cpt=cpt, positions=positions)
    stage = state.stage + 1
    tpr = _grompp(job, work, *_part(job, stage), job.start_positions, checkpoint=cpt)
    return _State(stage, 0, tpr, b"", positions)


def _record(job: Job, work: Path, state: _State, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    protocol, interval = job.protocol, job.protocol.interval_steps
    gromacs_pressure.begin(job, state.step)
    while done < protocol.n_frames:
        count = min(protocol.checkpoint_frames, protocol.n_frames - done)
        segment = _segment(job, work, state, count * interval)
        fault, hot_step = segment.look(job, state.step, recording=True)
        gromacs_pressure.append(job, segment.energies, state.step, hot_step)
        samples, positions = [], state.positions
        for frame in segment.frames:
            if frame.step <= state.step or frame.step >= hot_step:
                continue
            positions = _continued(frame.positions, frame.cell, positions, job)
            samples.append(segment.sample(job, frame, positions))
        if fault is None and len(samples) < count:
            raise DidNotFinish("gmx mdrun recorded fewer frames than it should", segment.directory, segment.said)
        done += count
        for sample in samples[:-1]:
            yield sample, None
        if fault is None and done < protocol.n_frames:
            state = replace(state, step=done * interval, cpt=segment.checkpoint(), positions=positions)
            yield samples[-1], state.to_bytes()
        elif samples:
            yield samples[-1], None
        if fault is not None:
            raise fault


@dataclass
class _Segment:
    """The output of one GROMACS process."""

    directory: Path
    frames: list[TrrFrame]
    energies: dict[str, np.ndarray]
    failure: DidNotFinish | None

    @property
    def said(self) -> str:
        return programs.last_lines(self.directory / "mdrun.out", count=60)

    def checkpoint(self) -> bytes:
        return (self.directory / "out.cpt").read_bytes()

    def look(self, job: Job, first: int, recording: bool) -> tuple[Exploded | None, float]:
        """Whether, and at which step, the motion became unphysical; the step is infinity if it did not."""
        kelvin = job.protocol.temperature_K
        steps = np.rint(self.energies.get("time", np.empty(0)) * 1000 / job.protocol.timestep_fs)
        found = self.energies.get("Temperature", np.empty(0))
        volumes = self.energies.get(_VOLUME, np.empty(0)) * ANGSTROM_PER_NM**3
        bursts = [burst(volume, volume_of(job.cell), job.mass) for volume in volumes] or [None] * len(steps)
        hot = ~(found <= HOTTEST * kelvin)
        bad = np.flatnonzero((hot | np.array([one is not None for one in bursts], dtype=bool)) & (steps > first))
        if not len(bad):
            if self.failure is None:
                return None, np.inf
            end = steps[-1] if len(steps) else float(first)
            return _translate_error(job, self.directory, self.failure, end if recording else None, self.frames), end + 1
        step = float(steps[bad[0]])
        at = [frame for frame in self.frames if frame.step >= step][:1] or self.frames[-1:]
        fastest = fastest_atoms(at[0].velocities, job.topology) if at else ()
        what = bursts[bad[0]]
        if hot[bad[0]]:
            what = f"the temperature is {found[bad[0]]:.3g} K, {kelvin:g} K was set"
        exploded = Exploded(what, job.time_ps(int(step)) if recording else None, fastest)
        return exploded.at(*_states(job, at), *_states(job, self.frames)), step

    def sample(self, job: Job, frame: TrrFrame, positions: np.ndarray) -> Sample:
        steps = np.rint(self.energies["time"] * 1000 / job.protocol.timestep_fs)
        row = int(np.flatnonzero(steps == frame.step)[0])
        return Sample(
            positions=positions,
            velocities=frame.velocities,
            cell=frame.cell if job.periodic else job.cell,
            potential_energy=float(self.energies["Potential"][row]) * KJ_PER_MOL,
            kinetic_energy=float(self.energies["Kinetic En."][row]) * KJ_PER_MOL,
            temperature=float(self.energies["Temperature"][row]),
        )


def _segment(job: Job, work: Path, state: _State, steps: int) -> _Segment:
    """Run this many steps from a state and read the output."""
    directory = _fresh(work / "segment")
    (directory / "run.tpr").write_bytes(state.tpr)
    arguments = ["-nsteps", str(steps)]
    if state.cpt:
        (directory / "start.cpt").write_bytes(state.cpt)
        arguments += ["-cpi", "start.cpt"]
    failure = None
    try:
        mdrun(job, directory, *arguments)
    except DidNotFinish as error:
        failure = error
    frames = [frame for path in sorted(directory.glob("out*.trr")) for frame in read_trr(path)]
    energies: dict[str, np.ndarray] = {}
    terms = _TERMS + (_VOLUME,) * (_ensemble(job, state.stage) == "NPT")  # GROMACS writes the volume only if it changes
    terms += () if job.protocol.pressure_steps is None else gromacs_pressure.PRESSURE_TERMS
    for path in directory.glob("out*.edr"):
        try:
            energies = _energies(directory, path, terms)
        except DidNotFinish:
            if failure is None:
                raise
    return _Segment(directory, frames, energies, failure)


def _grompp(
    job: Job,
    work: Path,
    name: str,
    options: dict[str, str],
    positions: np.ndarray,
    velocities: np.ndarray | None = None,
    checkpoint: bytes = b"",
    program: str = "gmx",
) -> bytes:
    """Make the binary input of a part of the run; its text form stays in the folder of the run for inspection."""
    (work / "topol.top").write_text(cast(RunsInGromacs, job.potential).gromacs_topology(job.topology))
    (work / f"{name}.mdp").write_text(mdp_text(options))
    start = _fresh(work / "start")
    placed = positions + gromacs_vacuum.shift(job)
    (start / "start.gro").write_text(gro_text(job.topology, placed, gromacs_vacuum.box(job), velocities))
    arguments = ["-f", f"../{name}.mdp", "-c", "start.gro", "-p", "../topol.top", "-o", "run.tpr"]
    if checkpoint:
        (start / "start.cpt").write_bytes(checkpoint)
        arguments += ["-t", "start.cpt"]
    try:
        gmx(start, "grompp", *arguments, program=program)
    except DidNotFinish as error:
        raise messages.refusal(job, start / "grompp.out") or error from None
    return (start / "run.tpr").read_bytes()


def _energies(work: Path, edr: Path, terms: Any, program: str = "gmx") -> dict[str, np.ndarray]:
    (work / "terms").write_text("\n".join(terms) + "\n\n")
    gmx(work, "energy", "-f", edr.name, "-o", "energy.xvg", "-dp", stdin=work / "terms", program=program)
    return read_xvg(work / "energy.xvg")


def _continued(positions: Floats, cell: Floats, before: Floats, job: Job) -> Floats:
    """Positions of whole molecules, each at the image nearest to its previous position."""
    topology = job.topology
    whole = whole_molecules(positions, cell, topology) - gromacs_vacuum.shift(job)
    first = topology.first_atoms
    images = np.rint((whole[first] - before[first]) @ np.linalg.inv(cell))
    continued: Floats = whole - (images @ cell)[topology.molecules]
    gromacs_vacuum.check(job, continued)
    return continued


def _translate_error(
    job: Job, directory: Path, failure: DidNotFinish, step: float | None, recorded: list[TrrFrame]
) -> Any:
    """Why GROMACS stopped, as an :class:`Exploded`; raises another error if the motion is not the cause."""
    said = f"{failure}\n{programs.last_lines(directory / 'mdrun.out', count=60)}"
    if messages.box_too_small(said):
        raise messages.bigger_box(job)
    sign = messages.sign_of_explosion(said)
    if sign is None:
        raise failure
    fastest = fastest_atoms(recorded[-1].velocities, job.topology) if recorded else ()
    exploded = Exploded(f"GROMACS stopped: {sign}", None if step is None else job.time_ps(int(step)), fastest)
    return exploded.at(*_states(job, recorded))


def _states(job: Job, frames: list[TrrFrame]) -> list[State]:
    """States of recorded frames for inspection, the last one first."""
    return [
        State(
            whole_molecules(frame.positions, frame.cell, job.topology) - gromacs_vacuum.shift(job),
            frame.velocities,
            frame.cell if job.periodic else job.cell,
            frame.step,
        )
        for frame in reversed(frames)
    ]


def _fresh(directory: Path) -> Path:
    """An empty folder; files that a killed run left in it are deleted."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


KIND = EngineKind(
    name="gromacs",
    title="GROMACS",
    accepts=accepts,
    frames=frames,
    details=details,
    holds_hydrogens=holds_hydrogens,
    honours=honours,
    needs="gromacs_topology",
    on_request=True,
    records_pressure=True,
    programs=("gmx",),
    computes_with="gromacs",
)

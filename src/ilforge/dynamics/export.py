"""Export: write a box and its potential as input that OpenMM, GROMACS or LAMMPS runs without ilforge.

Every export is a folder that is ready to run: minimisation, equilibration, and the recorded run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

from ilforge import programs
from ilforge.dynamics.gromacs.files import gro_text, mdp_text
from ilforge.dynamics.gromacs.options import nonbonded_options, record_options, stage_options
from ilforge.dynamics.openmm import BAROSTAT_STEPS, integrator_for, substeps_of, system_for
from ilforge.dynamics.recording import pdb_text
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.folders import claim
from ilforge.potentials import POTENTIALS
from ilforge.potentials.abilities import ExportsToLammps, RunsInGromacs
from ilforge.potentials.classical.lammps_molecules import LammpsInput

_RUN_PY = '''"""Written by ilforge. Needs only OpenMM: python run.py"""

import openmm
from openmm import app, unit


def read(name):
    with open(name) as file:
        return openmm.XmlSerializer.deserialize(file.read())


def simulation_of(ensemble, before=None):
    system = read("system.xml")
    if ensemble == "NPT":
        system.addForce(openmm.MonteCarloBarostat({pressure!r}, {temperature!r}, {barostat}))
    moved_by = "integrator-nve.xml" if ensemble == "NVE" else "integrator.xml"
    simulation = app.Simulation(pdb.topology, system, read(moved_by))
    if before is not None:
        state = before.context.getState(positions=True, velocities=True)
        simulation.context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
        simulation.context.setPositions(state.getPositions())
        simulation.context.setVelocities(state.getVelocities())
    return simulation


pdb = app.PDBFile("start.pdb")
# Drude particles come after the atoms and start at the positions of their atoms
system = read("system.xml")
drude = [force for force in system.getForces() if isinstance(force, openmm.DrudeForce)]
hosts = [force.getParticleParameters(k)[1] for force in drude for k in range(force.getNumParticles())]
atoms = list(range(pdb.topology.getNumAtoms()))


def with_drude(values):
    return [values[i] for i in (*atoms, *hosts)]


stages = {stages!r}  # ensemble and steps; the last stage is recorded
simulation = simulation_of(stages[0][0])
simulation.context.setPositions(with_drude(pdb.positions))
simulation.minimizeEnergy(maxIterations=1000)
simulation.context.setVelocitiesToTemperature({temperature!r} * unit.kelvin, {seed})
velocities = simulation.context.getState(velocities=True).getVelocities()
simulation.context.setVelocities(with_drude(velocities))
for (_, steps), (following, _) in zip(stages, stages[1:]):
    simulation.step(steps)
    simulation = simulation_of(following, simulation)
columns = {{"potentialEnergy": True, "temperature": True, "volume": True, "density": True, "step": True}}
simulation.reporters.append(app.DCDReporter("trajectory.dcd", {interval}, atomSubset=atoms))
simulation.reporters.append(app.StateDataReporter("thermo.csv", {interval}, **columns))
simulation.step(stages[-1][1])
simulation.saveState("end.xml")
'''
_RUN_SH = """#!/bin/sh
# Written by ilforge. Needs only GROMACS: sh run.sh
set -e
gmx grompp -f minimise.mdp -c start.gro -p topol.top -o minimise.tpr
gmx mdrun -deffnm minimise
gmx grompp -f {first}.mdp -c minimise.gro -p topol.top -o {first}.tpr
gmx mdrun -deffnm {first}
"""
_THEN_SH = """gmx grompp -f {name}.mdp -c {before}.gro -t {before}.cpt -p topol.top -o {name}.tpr
gmx mdrun -deffnm {name}
"""


def export(job: Job, program: str, directory: Path) -> list[Path]:
    """Write a job as the input of another program.

    Parameters
    ----------
    program
        A key of :data:`FORMATS`.
    directory
        It is made if it does not exist.

    Returns
    -------
    paths
        The files that were written.

    Raises
    ------
    SettingsError
        When the potential cannot be written for that program, or does not fit the box.
    """
    method, write = FORMATS[program]
    if not hasattr(job.potential, method):
        able = [name for name, kind in POTENTIALS.items() if hasattr(kind.potential, method)]
        raise SettingsError(
            f"The potential {job.potential.kind} cannot be exported to {program}: use {' or '.join(able)}."
        )
    if not job.periodic:
        raise SettingsError("Ions in a vacuum cannot be exported: give a structure with a periodic box.")
    texts = write(job)
    claim(directory, "--out")
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in texts]


def _openmm(job: Job) -> dict[str, str]:
    programs.require("openmm")
    import openmm

    protocol = job.protocol
    system = system_for(job, "NVT")
    integrator = integrator_for(job, "NVT", system, protocol.seed)
    substeps = substeps_of(integrator, job)
    try:
        xml = openmm.XmlSerializer.serialize(system)
    except openmm.OpenMMException as error:
        raise SettingsError(
            f"The potential {job.potential.kind} cannot be exported to openmm: ilforge computes a part of it, which "
            f"OpenMM cannot serialize ({error}). Use clp or clpol."
        ) from None
    stages = [(stage.ensemble, stage.steps * substeps) for stage in protocol.unrecorded]
    stages.append((protocol.ensemble, protocol.n_frames * protocol.interval_steps * substeps))
    files = {"system.xml": xml, "integrator.xml": openmm.XmlSerializer.serialize(integrator)}
    if protocol.ensemble == "NVE":
        nve = integrator_for(job, "NVE", system, protocol.seed)
        files["integrator-nve.xml"] = openmm.XmlSerializer.serialize(nve)
    script = _RUN_PY.format(
        temperature=protocol.temperature_K,
        pressure=protocol.pressure_bar,
        barostat=BAROSTAT_STEPS,
        seed=protocol.seed,
        stages=stages,
        interval=protocol.interval_steps * substeps,
    )
    return {
        **files,
        "start.pdb": pdb_text(job.topology, job.start_positions, job.atoms.cell.array),
        "run.py": script,
    }


def _gromacs(job: Job) -> dict[str, str]:
    protocol = job.protocol
    if protocol.ensemble == "NPT" and not protocol.unrecorded:
        raise SettingsError(
            "equilibration is 0 ps: the Parrinello-Rahman barostat of the recorded GROMACS run needs a box close to "
            "its equilibrium density. Equilibrate for some time, such as --equilibration 100."
        )
    minimise = {"integrator": "steep", "emtol": "100", "nsteps": "1000", **nonbonded_options(job)}
    drawn = {"gen-vel": "yes", "gen-temp": f"{protocol.temperature_K:g}", "gen-seed": str(protocol.seed)}
    parts = {f"equilibrate-{i + 1}": stage_options(job, i) for i in range(len(protocol.unrecorded))}
    parts["run"] = record_options(job)
    names = list(parts)
    parts[names[0]] |= {**drawn, "continuation": "no"}
    script = _RUN_SH.format(first=names[0])
    script += "".join(_THEN_SH.format(name=b, before=a) for a, b in zip(names, names[1:], strict=False))
    return {
        "topol.top": cast(RunsInGromacs, job.potential).gromacs_topology(job.topology),
        "start.gro": gro_text(job.topology, job.start_positions, job.atoms.cell.array),
        "minimise.mdp": mdp_text(minimise),
        **{f"{name}.mdp": mdp_text(options) for name, options in parts.items()},
        "run.sh": script,
    }


def _lammps(job: Job) -> dict[str, str]:
    protocol = job.protocol
    potential = cast(ExportsToLammps, job.potential)  # FORMATS requires it
    words = potential.lammps_input(job.topology, job.start_positions, job.atoms.cell.array, protocol.hydrogens_held)
    substeps = math.ceil(protocol.timestep_fs / words.longest_step_fs - 1e-9) or 1
    interval = protocol.interval_steps * substeps
    lines = [
        "# written by ilforge: lmp -in in.lammps",
        "units real",
        "atom_style full",
        *words.before,
        f"read_data start.data {words.reading}".rstrip(),
        *words.after,
        "neighbor 2.0 bin",
        f"thermo_style custom step {words.temperatures} pe ke ebond eangle edihed evdwl ecoul elong press density",
        f"thermo {interval}",
        "minimize 0.0 1.0 1000 10000",
        "reset_timestep 0",
        f"timestep {protocol.timestep_fs / substeps:.10g}",
        f"velocity {words.atoms} create {protocol.temperature_K:g} {protocol.seed} mom yes dist gaussian",
    ]
    for stage in protocol.unrecorded:
        moving = _lammps_fixes(job, words, stage.ensemble)
        lines += [*moving, f"run {stage.steps * substeps}", *(f"unfix {fix.split()[1]}" for fix in moving)]
    lines += [
        *_lammps_fixes(job, words, protocol.ensemble),
        f"dump frames {words.atoms} custom {interval} trajectory.lammpsdump id type xu yu zu",
        "dump_modify frames sort id",
        f"run {protocol.n_frames * interval}",
        "write_data end.data",
    ]
    return {
        "start.data": words.data,
        "start.pdb": pdb_text(job.topology, job.start_positions, job.atoms.cell.array),
        "in.lammps": "\n".join(lines) + "\n",
    }


def _lammps_fixes(job: Job, words: LammpsInput, ensemble: str) -> list[str]:
    """The fixes that move the particles; the one for bond constraints must come after all that add forces."""
    protocol, moves = job.protocol, {"NVE": "nve", "NVT": words.nvt, "NPT": words.npt}
    values = {
        "T": f"{protocol.temperature_K:g}",
        "P": f"{protocol.pressure_bar / 1.01325:.8g}",
        "seed": protocol.seed + 1,
    }
    lines = [f"fix heat all {words.heat.format(**values)}"] if words.heat and ensemble != "NVE" else []
    lines += [f"fix hold {words.hold}"] if words.hold else []
    return [*lines, f"fix move all {moves[ensemble].format(**values)}"]


FORMATS: dict[str, tuple[str, Callable[[Job], dict[str, str]]]] = {
    "openmm": ("openmm_system", _openmm),
    "gromacs": ("gromacs_topology", _gromacs),
    "lammps": ("lammps_input", _lammps),
}
"""Program: the method that a potential needs for it, and the function that writes its files."""

COMMANDS = {"openmm": "python run.py", "gromacs": "sh run.sh", "lammps": "lmp -in in.lammps"}
"""Command that runs the files of each program, in their folder."""

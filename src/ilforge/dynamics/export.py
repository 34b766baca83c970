"""Export: a box and its potential as input that OpenMM, GROMACS or LAMMPS runs without ilforge.

Every format is a folder that runs as it is: minimisation, an unrecorded start, and the recorded run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ilforge.dynamics.gromacs_files import gro_text, mdp_text
from ilforge.dynamics.gromacs_options import nonbonded_options, record_options, stage_options
from ilforge.dynamics.recording import pdb_text
from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError

_RUN_PY = '''"""Written by ilforge. Needs only OpenMM: python run.py"""

import openmm
from openmm import app, unit

pdb = app.PDBFile("start.pdb")
with open("system.xml") as file:
    system = openmm.XmlSerializer.deserialize(file.read())
{barostat}integrator = {integrator}
integrator.setConstraintTolerance(1e-6)
simulation = app.Simulation(pdb.topology, system, integrator)
simulation.context.setPositions(pdb.positions)
simulation.minimizeEnergy(maxIterations=1000)
simulation.context.setVelocitiesToTemperature({temperature!r} * unit.kelvin, {seed})
simulation.step({equilibration})
columns = {{"potentialEnergy": True, "temperature": True, "volume": True, "density": True, "step": True}}
simulation.reporters.append(app.DCDReporter("trajectory.dcd", {interval}))
simulation.reporters.append(app.StateDataReporter("thermo.csv", {interval}, **columns))
simulation.step({steps})
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
        Made if it is not there.

    Returns
    -------
    paths
        The files that were written.

    Raises
    ------
    SettingsError
        When the potential cannot say itself to that program, or does not fit the box.
    """
    method, write = FORMATS[program]
    if not hasattr(job.potential, method):
        raise SettingsError(f"The potential {job.potential.kind} cannot be exported to {program}: use clp.")
    if not job.periodic:
        raise SettingsError("Ions in a vacuum cannot be exported: give a structure with a periodic box.")
    texts = write(job)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in texts]


def _openmm(job: Job) -> dict[str, str]:
    import openmm

    protocol, cell = job.protocol, job.atoms.cell.array
    system = job.potential.openmm_system(job.topology, cell, constrain_hydrogens=protocol.hydrogens_held)
    system.addForce(openmm.CMMotionRemover(100))
    try:
        xml = openmm.XmlSerializer.serialize(system)
    except openmm.OpenMMException as error:
        raise SettingsError(f"OpenMM cannot write the potential {job.potential.kind} down: {error}") from None
    step_ps = protocol.timestep_fs / 1000
    barostat = (
        f"system.addForce(openmm.MonteCarloBarostat({protocol.pressure_bar!r}, {protocol.temperature_K!r}, 25))\n"
    )
    langevin = f"openmm.LangevinMiddleIntegrator({protocol.temperature_K!r}, 1.0, {step_ps!r})"
    script = _RUN_PY.format(
        barostat=barostat if protocol.ensemble == "NPT" else "",
        integrator=f"openmm.VerletIntegrator({step_ps!r})" if protocol.ensemble == "NVE" else langevin,
        temperature=protocol.temperature_K,
        seed=protocol.seed,
        equilibration=protocol.unrecorded_steps,
        interval=protocol.interval_steps,
        steps=protocol.n_frames * protocol.interval_steps,
    )
    return {"system.xml": xml, "start.pdb": pdb_text(job.topology, job.start_positions, cell), "run.py": script}


def _gromacs(job: Job) -> dict[str, str]:
    protocol = job.protocol
    minimise = {"integrator": "steep", "emtol": "100", "nsteps": "1000", **nonbonded_options(job)}
    drawn = {"gen-vel": "yes", "gen-temp": f"{protocol.temperature_K:g}", "gen-seed": str(protocol.seed)}
    parts = {f"equilibrate-{i + 1}": stage_options(job, i) for i in range(len(protocol.unrecorded))}
    parts["run"] = record_options(job)
    names = list(parts)
    parts[names[0]] |= {**drawn, "continuation": "no"}
    script = _RUN_SH.format(first=names[0])
    script += "".join(_THEN_SH.format(name=b, before=a) for a, b in zip(names, names[1:], strict=False))
    return {
        "topol.top": job.potential.gromacs_topology(job.topology),
        "start.gro": gro_text(job.topology, job.start_positions, job.atoms.cell.array),
        "minimise.mdp": mdp_text(minimise),
        **{f"{name}.mdp": mdp_text(options) for name, options in parts.items()},
        "run.sh": script,
    }


def _lammps(job: Job) -> dict[str, str]:
    protocol, interval = job.protocol, job.protocol.interval_steps
    before, after = job.potential.lammps_styles(job.topology, hold="hold" if protocol.hydrogens_held else None)
    lines = [
        "# written by ilforge: lmp -in in.lammps",
        *before,
        "read_data start.data",
        "neighbor 2.0 bin",
        "thermo_style custom step temp pe ke ebond eangle edihed evdwl ecoul elong press density",
        f"thermo {interval}",
        "minimize 0.0 1.0 1000 10000",
        "reset_timestep 0",
        f"timestep {protocol.timestep_fs:g}",
        f"velocity all create {protocol.temperature_K:g} {protocol.seed} mom yes dist gaussian",
        *after,
    ]
    for stage in protocol.unrecorded:
        lines += [_lammps_move(job, stage.ensemble), f"run {stage.steps}", "unfix move"]
    lines += [
        _lammps_move(job, protocol.ensemble),
        f"dump frames all custom {interval} trajectory.dump id type xu yu zu",
        "dump_modify frames sort id",
        f"run {protocol.n_frames * interval}",
        "write_data end.data",
    ]
    data = job.potential.lammps_data(job.topology, job.start_positions, job.atoms.cell.array)
    return {"start.data": data, "in.lammps": "\n".join(lines) + "\n"}


def _lammps_move(job: Job, ensemble: str) -> str:
    kelvin, bar = job.protocol.temperature_K, job.protocol.pressure_bar
    if ensemble == "NVE":
        return "fix move all nve"
    thermostat = f"temp {kelvin:g} {kelvin:g} 100"
    if ensemble == "NVT":
        return f"fix move all nvt {thermostat}"
    atmospheres = f"{bar / 1.01325:.8g}"
    return f"fix move all npt {thermostat} iso {atmospheres} {atmospheres} 1000"


FORMATS: dict[str, tuple[str, Callable[[Job], dict[str, str]]]] = {
    "openmm": ("openmm_system", _openmm),
    "gromacs": ("gromacs_topology", _gromacs),
    "lammps": ("lammps_data", _lammps),
}
"""Program, the method of a potential that it needs, and what writes its files."""

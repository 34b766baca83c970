"""What a run is, as the options of GROMACS's ``.mdp`` files."""

from __future__ import annotations

from ilforge.dynamics.simulation import Job

THERMOSTAT_PS, BAROSTAT_PS = 0.5, 2.0
COMPRESSIBILITY_PER_BAR = 4.5e-5

_GUARD_STEPS = 10  # at most, between looks at the temperature


def record_options(job: Job) -> dict[str, str]:
    """Options of the ``.mdp`` file for the recorded run."""
    return _motion(job, job.protocol.ensemble, "nose-hoover", "Parrinello-Rahman", "yes")


def stage_options(job: Job, index: int) -> dict[str, str]:
    """Options of the ``.mdp`` file for a stage of the unrecorded start."""
    stage = job.protocol.unrecorded[index]
    options = _motion(job, stage.ensemble, "v-rescale", "C-rescale", "yes" if index else "no")
    return {**options, "nsteps": str(stage.steps)}


def _motion(job: Job, ensemble: str, thermostat: str, barostat: str, continued: str) -> dict[str, str]:
    protocol = job.protocol
    often = protocol.pressure_steps or protocol.interval_steps
    look = max(n for n in range(1, _GUARD_STEPS + 1) if often % n == 0)
    every, seldom = str(look), str(protocol.interval_steps)
    options = {
        "integrator": "md",
        "dt": f"{protocol.timestep_fs / 1000:.10g}",
        "nsteps": str(protocol.n_frames * protocol.interval_steps),
        "nstxout": seldom,
        "nstvout": seldom,
        "nstlog": "0",
        "nstenergy": every,
        "nstcalcenergy": every,
        "continuation": continued,
        "gen-vel": "no",
        "constraints": "h-bonds" if protocol.hydrogens_held else "none",
        "ld-seed": str(int(job.random_seed(0).generate_state(1)[0] % (2**31 - 1)) + 1),
        **nonbonded_options(job),
    }
    if ensemble != "NVE":
        options |= {"tcoupl": thermostat, "tc-grps": "System", "tau-t": f"{THERMOSTAT_PS:g}", "nsttcouple": every}
        options["ref-t"] = f"{protocol.temperature_K:.10g}"
    if ensemble == "NPT":
        options |= {"pcoupl": barostat, "pcoupltype": "isotropic", "tau-p": f"{BAROSTAT_PS:g}", "nstpcouple": every}
        options |= {"compressibility": f"{COMPRESSIBILITY_PER_BAR:g}", "ref-p": f"{protocol.pressure_bar:.10g}"}
    return options


def nonbonded_options(job: Job) -> dict[str, str]:
    """How pairs interact: the potential knows."""
    return job.potential.gromacs_options(job.atoms.cell.array)

"""Describe a run by the options of GROMACS's ``.mdp`` files."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ilforge.dynamics.gromacs import vacuum as gromacs_vacuum
from ilforge.dynamics.simulation import Job
from ilforge.potentials.abilities import RunsInGromacs

THERMOSTAT_PS, BAROSTAT_PS = 0.5, 2.0
FRICTION_PER_PS = 1.0
"""Friction of Langevin dynamics in a vacuum."""
COMPRESSIBILITY_PER_BAR = 4.5e-5

_EVERY_STEP = {"nstcalcenergy": "1", "nsttcouple": "1", "nstpcouple": "1"}
"""Options of a barostat, which acts at every step.

GROMACS's default of ten steps (20 fs) is close to the period of bond vibrations. Their part of the pressure then acts
as noise on the box, which has no thermostat: with Parrinello-Rahman, 40 ion pairs had evaporated after 20 ps."""

_GUARD_STEPS = 10  # largest number of steps between checks of the temperature


def honours(job: Job, option: str, value: Any) -> bool:
    """Whether GROMACS can run an option of the protocol: only its own thermostat."""
    return bool(value == ("nose-hoover" if job.periodic else "langevin"))


def record_options(job: Job) -> dict[str, str]:
    """Options of the ``.mdp`` file for the recorded run."""
    return _motion(job, job.protocol.ensemble, "nose-hoover", "Parrinello-Rahman", "yes", job.random_seed(0))


def stage_options(job: Job, index: int) -> dict[str, str]:
    """Options of the ``.mdp`` file for a stage  of the equilibration."""
    stage = job.protocol.unrecorded[index]
    before = sum(earlier.steps for earlier in job.protocol.unrecorded[:index])
    seed = job.random_seed(before - job.protocol.unrecorded_steps)
    options = _motion(job, stage.ensemble, "v-rescale", "C-rescale", "yes" if index else "no", seed)
    return {**options, "nsteps": str(stage.steps)}


def _motion(
    job: Job, ensemble: str, thermostat: str, barostat: str, continued: str, seed: np.random.SeedSequence
) -> dict[str, str]:
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
        "ld-seed": str(int(seed.generate_state(1)[0] % (2**31 - 1)) + 1),
        **nonbonded_options(job),
    }
    if (
        ensemble == "NVE" and protocol.hydrogens_held
    ):  # otherwise the energy drifts by 1e-3 kJ/mol/ps per degree of freedom
        options |= {"lincs-iter": "2", "lincs-order": "6"}
    if not job.periodic:
        options["nstcomm"] = every  # the random forces of Langevin dynamics move the centre of mass
        if ensemble == "NVT":
            bath = {"tc-grps": "System", "tau-t": f"{1 / FRICTION_PER_PS:g}"}
            options |= {"integrator": "sd", **bath, "ref-t": f"{protocol.temperature_K:.10g}"}
    elif ensemble != "NVE":
        options |= {"tcoupl": thermostat, "tc-grps": "System", "tau-t": f"{THERMOSTAT_PS:g}", "nsttcouple": every}
        options["ref-t"] = f"{protocol.temperature_K:.10g}"
    if ensemble == "NPT":
        options |= {"pcoupl": barostat, "pcoupltype": "isotropic", "tau-p": f"{BAROSTAT_PS:g}", **_EVERY_STEP}
        options |= {"compressibility": f"{COMPRESSIBILITY_PER_BAR:g}", "ref-p": f"{protocol.pressure_bar:.10g}"}
    return options


def nonbonded_options(job: Job) -> dict[str, str]:
    """Options for non-bonded interactions, from the potential."""
    potential = cast(RunsInGromacs, job.potential)  # the engine accepted it
    if job.periodic:
        return potential.gromacs_options(job.cell)
    return potential.gromacs_options(gromacs_vacuum.box(job), all_pairs_within_A=gromacs_vacuum.reach(job))

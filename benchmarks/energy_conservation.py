"""Drift of the total energy at constant energy, for every potential and engine: a table for docs/validation.md.

Run ``PYTHONPATH=tests python benchmarks/energy_conservation.py [--mace FILE] [NAME...]``, with some of the names of its
first column. The box is two ion pairs of PYR14BF4 (4 ions, 70 atoms) after half a picosecond at 423 K with CL&P, so
GROMACS has a wider one; a vacuum holds one PYR14+. The learned models are those of the tests: of the right form, hardly
trained. They show what the program conserves, not what a good model does. The slope is that of a straight line through
the total energy, per degree of freedom, its error from the slopes of five parts.

``--mace FILE`` runs that trained model alone (files are run, so give only your own): 10 pairs, 350 atoms, 20 ps after
1 ps at 423 K, on two threads. ``--keep DIRECTORY`` keeps what it recorded, and goes on with a run that was interrupted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import frames, potentials
from ilforge.dynamics import MdProtocol, Trajectory, run_md
from ilforge.dynamics.openmm import Simulation
from ilforge.dynamics.simulation import Job, minimised
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.liquid.vacuum import in_vacuum
from support import md, models
from support.energy import Drift, drift, line

LIMIT = 1e-3
"""Drift that a run should stay below, kJ/mol/ps per degree of freedom."""
LIMIT_TRAINED = 1e-4
"""That of a trained model by compiled kernels at 0.5 fs."""


@dataclass(frozen=True)
class Case:
    """One run: potential, engine, where, time step in fs, and length in ps."""

    potential: str
    engine: str
    where: str
    timestep_fs: float
    length_ps: float

    @property
    def name(self) -> str:
        return f"{self.potential.replace(' ', '-')}-{self.engine}-{self.where}-{self.timestep_fs:g}"


CASES = [
    *(Case("clp", "openmm", "box", step, 4.0) for step in (0.5, 1.0, 2.0)),
    *(Case("clp", "gromacs", "box", step, 4.0) for step in (0.5, 1.0, 2.0)),
    Case("clp", "openmm", "vacuum", 0.5, 4.0),
    Case("clp", "gromacs", "vacuum", 0.5, 4.0),
    Case("clpol", "openmm", "box", 0.5, 1.0),
    Case("clpol", "openmm", "vacuum", 0.5, 2.0),
    Case("clpol with Drude", "openmm", "vacuum", 0.5, 2.0),
    Case("xtb", "ase", "vacuum", 0.5, 0.3),
    Case("mace", "openmm", "vacuum", 0.5, 0.3),
    Case("mace", "builtin", "vacuum", 0.5, 0.3),
    Case("deepmd", "lammps", "box", 0.5, 0.5),
    Case("deepmd", "lammps", "vacuum", 0.5, 0.5),
]


TEN_PAIRS = Liquid.of({"PYR14": 10, "BF4": 10})
TRAINED = Case("trained mace", "builtin", "10 pairs", 0.5, 20.0)


def start_of(case: Case) -> Any:
    """The frame a run starts from."""
    if case == TRAINED:
        box = pack(TEN_PAIRS, 0.95, seed=1)
        box.info["ions"] = TEN_PAIRS.label
        return box
    if case.potential == "xtb":  # BF4: tight binding takes its time over more
        return in_vacuum(Liquid.of({"BF4": 1}, vacuum=True), 1)
    if case.where == "vacuum":
        return md.lone_ion()
    return md.warm_box(0.6 if case.engine == "gromacs" else 1.03)


def specs(scratch: Path) -> dict[str, Callable[[Case], dict[str, Any]]]:
    """What makes each potential; the models are written when they are asked for."""

    def deepmd(case: Case) -> dict[str, Any]:
        frame = frames.read(Path(__file__).parents[1] / "tests" / "data" / "one_pair.xyz")[0]
        return md.deepmd(models.write_deepmd_models(scratch / "deepmd", models.labelled(frame, 3), seeds=(1,))[0])

    return {
        "clp": lambda case: md.WIDE_CLP if case.engine == "gromacs" else md.CLP,
        "clpol": lambda case: md.CLPOL,
        "clpol with Drude": lambda case: md.CLPOL,
        "xtb": lambda case: {"kind": "xtb", "method": "GFN2-xTB"},
        "mace": lambda case: md.mace(models.write_mace_model(scratch / "tiny.model")),
        "deepmd": deepmd,
    }


def run(case: Case, spec: dict[str, Any], directory: Path) -> Trajectory:
    """The case at constant energy, after 0.1 ps at 423 K; a trained model after 1 ps."""
    start, trained = start_of(case), case == TRAINED
    before, often, threads = (1.0, 2000, 2) if trained else (0.1, 10**6, 1)
    protocol = MdProtocol(
        "NVE",
        423.0,
        case.timestep_fs,
        case.length_ps,
        0.01,
        seed=3,
        equilibration_ps=before,
        minimise_steps=100 * trained,
        checkpoint_steps=often,
    )
    liquid = Liquid.of_frame(start)
    trajectory = run_md(
        potentials.create(spec), start, liquid, protocol, directory, threads=threads, engine=case.engine
    )
    if trajectory.fault:
        raise SystemExit(f"{case.name}: {trajectory.fault['message']}")
    return trajectory


def with_drude(case: Case, spec: dict[str, Any]) -> Drift:
    """The same with the kinetic energy of Drude particles about their atoms, which runs do not record."""
    from openmm import unit

    protocol = MdProtocol("NVE", 423.0, case.timestep_fs, case.length_ps, 0.01, seed=3)
    start = start_of(case)
    job = Job(potentials.create(spec), start, Liquid.of_frame(start).topology, protocol)
    warm, cold = Simulation(job, "NVT"), Simulation(job, "NVE")
    warm.restore(replace(minimised(warm, job, 0), velocities=job.start_velocities))
    warm.step(round(100 / case.timestep_fs))
    cold.restore(warm.state())
    totals = []
    for _ in range(protocol.n_frames):
        cold.step(protocol.interval_steps)
        now = cold._context.getState(energy=True)
        totals.append((now.getPotentialEnergy() + now.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole))
    freedom = cold.degrees_of_freedom + 3 * len(cold.riders)
    return line(protocol.frame_interval_ps * np.arange(len(totals)), np.array(totals), freedom)


def row(case: Case, found: Drift) -> str:
    """A line of the table."""
    slope, error, spread = found
    what = f"{case.potential}, {case.engine}, {case.where}"
    return f"| {what} | {case.timestep_fs:g} | {case.length_ps:g} | {slope:.1e} ± {error:.1e} | {spread:.3f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--mace", type=Path, help="a trained MACE model file, of PYR14BF4")
    parser.add_argument("--keep", type=Path, help="directory for the run of the trained model")
    arguments = parser.parse_args()
    print("| run | time step, fs | length, ps | drift, kJ/mol/ps per degree of freedom | spread, kJ/mol |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="ilforge-drift-") as folder:
        scratch = Path(folder)
        if arguments.mace:
            found = drift(run(TRAINED, md.mace(arguments.mace), arguments.keep or scratch / "trained"))
            print(row(TRAINED, found))
            return int(abs(found.slope) - 2 * found.error > LIMIT_TRAINED)
        return int(all_cases(arguments.names, scratch) > 0)


def all_cases(names: list[str], scratch: Path) -> int:
    """Print the drift of the named cases, or of all; how many drift too fast."""
    beyond = 0
    makers = specs(scratch)
    made: dict[tuple[str, str], dict[str, Any]] = {}
    for case in [case for case in CASES if not names or case.name in names]:
        key = (case.potential, case.engine)
        made[key] = made.get(key) or makers[case.potential](case)
        drude = "Drude" in case.potential
        found = with_drude(case, made[key]) if drude else drift(run(case, made[key], scratch / case.name))
        beyond += abs(found.slope) - 2 * found.error > LIMIT
        print(row(case, found), flush=True)
    return beyond


if __name__ == "__main__":
    sys.exit(main())

"""Speed of DeePMD in LAMMPS: one core, two threads, two MPI ranks; plain and compressed models.

Run ``python benchmarks/deepmd.py MODEL... [--pairs 10] [--steps 100] [--rounds 5]`` with DeePMD model files of PYR14BF4
(a training leaves ``model.pb`` and, uncompressed, ``frozen.pb``). Model files are run, so give only your own.

All ways are run in turn, several rounds of them, and every step is timed by itself: the median, and the fastest tenth
of the steps, which tells what a quiet machine would do when others compute on this one. The energy after the first
steps says whether all ways move the atoms alike.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge import potentials, programs
from ilforge.devices import CPU
from ilforge.dynamics import minimise
from ilforge.dynamics.lammps import program as lammps_program
from ilforge.dynamics.lammps.files import data_file
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp

WAYS = {"1 core": (1, False), "2 threads": (2, False), "2 ranks": (2, True)}
"""Cores, and whether they are MPI ranks."""


def main() -> int:
    arguments = parse()
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    box = settled(liquid)
    print(f"{len(box)} atoms in {box.cell.lengths()[0]:.2f} Å, {len(os.sched_getaffinity(0))} cores", flush=True)
    print(f"{'model':30s} {'cores':10s} {'median ms':>10s} {'fastest 10 %':>13s} {'eV at the end':>16s}")
    times: dict[tuple[Path, str], list[float]] = defaultdict(list)
    energies: dict[tuple[Path, str], float] = {}
    for _ in range(arguments.rounds):
        for model in arguments.models:
            spec = {"kind": "deepmd", "path": str(model), "sha256": file_digest(model)}
            for way, (cores, ranks) in WAYS.items():
                protocol = MdProtocol("NVT", 423.0, 0.5, 0.1, 0.1, seed=1)
                job = Job(potentials.create(spec), box, liquid.topology, protocol, cores)
                spent, energies[model, way] = measure(job, ranks, arguments.steps)
                times[model, way] += spent
    for (model, way), spent in times.items():
        fastest = 1e3 * np.mean(np.sort(spent)[: max(1, len(spent) // 10)])
        energy = energies[model, way]
        name = "/".join(model.absolute().parts[-2:])
        print(f"{name:30s} {way:10s} {1e3 * np.median(spent):10.1f} {fastest:13.1f} {energy:16.6f}")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"load of the machine over the last 1, 5 and 15 minutes: {load}")
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="DeePMD model files")
    parser.add_argument("--pairs", type=int, default=10, help="ion pairs of PYR14BF4, 35 atoms each")
    parser.add_argument("--steps", type=int, default=100, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def settled(liquid: Liquid) -> Atoms:
    """A box at 1.0 g/cm3 without bad contacts."""
    box = pack(liquid, 1.0, seed=1)
    protocol = MdProtocol("NVT", 423.0, 2.0, 0.02, 0.02, seed=1)
    force_field = Clp(min(10.0, box.cell.lengths()[0] / 2 - 0.1))
    box.positions = minimise(Job(force_field, box, liquid.topology, protocol), 200).positions
    return box


def measure(job: Job, ranks: bool, steps: int) -> tuple[list[float], float]:
    """Seconds of each step behind the first, and the potential energy after the last, eV."""
    command, environment, threads = lammps_program.command_for(job, CPU)
    if not ranks and "-np" in command:
        command, threads = command[command.index("-np") + 2 :], job.threads
    with tempfile.TemporaryDirectory(prefix="ilforge-deepmd-") as folder:
        work = Path(folder)
        (work / "start.data").write_text(data_file(job))
        lines = [
            "units metal",
            "atom_style atomic",
            "read_data start.data",
            *job.potential.lammps_pair(sorted(set(job.topology.symbols))),
            "neighbor 1.0 bin",
            "neigh_modify every 1 delay 0 check yes",
            f"timestep {job.protocol.timestep_fs / 1000:g}",
            "fix move all nve",
            "thermo_style custom step cpu pe",
            "thermo_modify format float %.12g",
            "thermo 1",
            f"run {steps}",
        ]
        (work / lammps_program.INPUT).write_text("\n".join(lines) + "\n")
        programs.run(command, work, log=lammps_program.LOG, environment=environment, threads=threads)
        said = (work / lammps_program.LOG).read_text(errors="replace")
    rows = np.array(re.findall(r"^\s*(\d+)\s+(\S+)\s+(-?[\d.]+)\s*$", said, re.MULTILINE), dtype=float)
    return np.diff(rows[1:, 1]).tolist(), float(rows[-1, 2])


if __name__ == "__main__":
    raise SystemExit(main())

"""Speed of molecular dynamics: ns/day of every force field and engine, and how the cost grows with the box.

Run ``python benchmarks/engines.py [--mace FILE] [--deepmd FILE] [--threads N] [--large]`` on a machine that does
nothing else. Model files are run, so give only your own. Every figure is the difference of a long and a short run from
the same start: what starting a program costs is not in it.

``--large`` adds boxes of 320 and 1,080 pairs, made of copies of the 40-pair box: CPU time per atom and step must stay
the same for a cost that grows linearly. ``--only NAME...`` measures the force fields whose names begin so.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import potentials
from ilforge.dynamics import minimise, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp

PAIRS = (40, 100)
COPIES = (2, 3)
"""Times that the 40-pair box is repeated along each axis for the large boxes."""

DENSITY = 1.0
DEMONSTRATION = Path(__file__).parents[1] / "examples/exp6/demonstration.toml"
SHORT, LONG = 1, 5
"""Lengths of the two runs in units of a row's steps."""


@dataclass(frozen=True)
class Row:
    """A force field, the engine that moves it, its time step in fs, and the steps of a short run of 40 pairs."""

    name: str
    spec: dict[str, Any]
    engine: str
    timestep_fs: float
    steps: int


class PlainNonbonded(Clp):
    """CL&P's charges and Lennard-Jones numbers under the arithmetic rule of OpenMM: wrong, and the yardstick."""

    def openmm_system(self, topology, cell, constrain_hydrogens=False, threads=1):
        system = super().openmm_system(topology, cell, constrain_hydrogens, threads)
        dispersion, repulsion = system.getNumForces() - 2, system.getNumForces() - 1
        force, other = system.getForce(dispersion), system.getForce(repulsion)
        for i in range(force.getNumParticles()):
            charge, narrow, deep = force.getParticleParameters(i)
            wide, shallow = other.getParticleParameters(i)[1:]
            six, twelve = deep._value * narrow._value**6, shallow._value * wide._value**12
            sigma = (twelve / six) ** (1 / 6) if six else 1.0
            force.setParticleParameters(i, charge, sigma, six / sigma**6)
        system.removeForce(repulsion)
        return system


def main() -> int:
    arguments = parse()
    rows = [
        Row("CL&P", {"kind": "clp"}, "openmm", 2.0, 200),
        Row("CL&P, Ewald 5e-4", {"kind": "clp", "ewald_tolerance": 5e-4}, "openmm", 2.0, 200),
        Row("CL&P", {"kind": "clp"}, "gromacs", 2.0, 1000),
        Row("CL&Pol", {"kind": "clpol"}, "openmm", 1.5, 100),
        Row("exp-6 and dipoles", {"kind": "exp6", "parameters": str(DEMONSTRATION)}, "openmm", 3.0, 10),
    ]
    for kind, engine, file, steps in (
        ("mace", "builtin", arguments.mace, 100),
        ("deepmd", "lammps", arguments.deepmd, 100),
    ):
        if file:
            spec = {"kind": kind, "path": str(file), "sha256": file_digest(file)}
            rows.append(Row(kind, spec, engine, 0.5, steps))
        else:
            print(f"{kind}: not measured, give --{kind} FILE")
    if arguments.only:
        rows = [row for row in rows if row.name.startswith(tuple(arguments.only))]
    boxes = {pairs: settled(pairs) for pairs in PAIRS}
    if arguments.large:
        liquid, box = boxes[PAIRS[0]]
        boxes |= {PAIRS[0] * n**3: repeated(liquid, box, n) for n in COPIES}
    print(f"{'force field':20s} {'engine':8s} {'pairs':>6s} {'ms/step':>9s} {'ns/day':>9s} {'CPU µs/atom/step':>17s}")
    for row in rows:
        for pairs, (liquid, box) in boxes.items():
            if pairs <= max(PAIRS) or row.name not in ("mace", "deepmd"):
                wall, cpu = measure(row, potentials.create(row.spec), liquid, box, arguments.threads)
                report(row, pairs, wall, cpu, len(box))
    plain = Row("plain NonbondedForce", {}, "openmm", 2.0, 200)
    for pairs in PAIRS if not arguments.only else ():
        liquid, box = boxes[pairs]
        wall, cpu = measure(plain, PlainNonbonded(), liquid, box, arguments.threads)
        report(plain, pairs, wall, cpu, len(box))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mace", type=Path, help="a MACE model file")
    parser.add_argument("--deepmd", type=Path, help="a frozen DeePMD model file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these force fields")
    parser.add_argument("--large", action="store_true", help="boxes of 320 and 1,080 pairs as well")
    return parser.parse_args()


def settled(pairs: int) -> tuple[Liquid, Atoms]:
    """A box of PYR14BF4 without bad contacts."""
    liquid = Liquid.of({"PYR14": pairs, "BF4": pairs})
    box = pack(liquid, DENSITY, seed=1)
    protocol = MdProtocol("NVT", 423.0, 2.0, 0.02, 0.02, seed=1)
    box.positions = minimise(Job(Clp(), box, liquid.topology, protocol, threads=2), 200).positions
    return liquid, box


def repeated(liquid: Liquid, box: Atoms, n: int) -> tuple[Liquid, Atoms]:
    """``n`` x ``n`` x ``n`` copies of a box, its atoms in the order of the larger liquid."""
    larger = Liquid.of({name: count * n**3 for name, count in liquid.counts.items()})
    shifts = np.array(list(np.ndindex(n, n, n))) @ box.cell.array
    species = np.array(liquid.topology.species)[liquid.topology.molecules]
    parts = [box.positions[species == name] + shift for name in liquid.counts for shift in shifts]
    return larger, Atoms(larger.topology.symbols, np.concatenate(parts), cell=box.cell.array * n, pbc=True)


def measure(row: Row, potential: Any, liquid: Liquid, box: Atoms, threads: int) -> tuple[float, float]:
    """Seconds per step, by the clock and of all processors together."""
    short = max(10, row.steps * PAIRS[0] // liquid.counts["PYR14"])  # of larger boxes fewer
    unit_ps = short * row.timestep_fs / 1000
    protocol = MdProtocol("NVT", 423.0, row.timestep_fs, unit_ps, unit_ps, seed=1, checkpoint_steps=10**6)
    spent = []
    for units in (SHORT, LONG):
        with tempfile.TemporaryDirectory() as folder:
            clock, cpu = time.perf_counter(), cpu_seconds()
            run_md(
                potential,
                box,
                liquid,
                replace(protocol, length_ps=units * unit_ps),
                Path(folder),
                threads=threads,
                engine=row.engine,
            )
            spent.append((time.perf_counter() - clock, cpu_seconds() - cpu))
    steps = short * (LONG - SHORT)
    return (spent[1][0] - spent[0][0]) / steps, (spent[1][1] - spent[0][1]) / steps


def cpu_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def report(row: Row, pairs: int, wall: float, cpu: float, n_atoms: int) -> None:
    ns_per_day = 86400 / wall * row.timestep_fs * 1e-6
    print(
        f"{row.name:20s} {row.engine:8s} {pairs:6d} {1e3 * wall:9.2f} {ns_per_day:9.3f} {1e6 * cpu / n_atoms:17.2f}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())

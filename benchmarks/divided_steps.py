"""Drift of the total energy and time per ps with divided steps: a table for docs/validation.md.

Run ``PYTHONPATH=tests python benchmarks/divided_steps.py FILE --inner FILE [--pairs N] [--length PS]`` with two MACE
models of PYR14BF4 (files are run, so give only your own). All rows start from the same positions and velocities, after
a picosecond at 423 K and 0.95 g/cm3, and run at constant energy. They take turns of 60 fs in one process on one thread,
so that other work on the machine slows all of them in the same way; times are of the processor. The drift is that of a
straight line through the total energy, its error from the slopes of five parts. The table is printed once for each ps,
so that a run may be ended early.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ilforge.dynamics.builtin import Simulation
from ilforge.dynamics.motion import State
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job, minimised
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.mace import Mace
from ilforge.units import KJ_PER_MOL
from support.energy import line

TURN_FS, SAMPLE_FS = 60, 12
ROWS = ((0.5, 1), (1.0, 1), (1.0, 2), (2.0, 2), (2.0, 4), (3.0, 6))
"""Steps in fs, and into how many inner steps each is divided."""


class Row:
    """A run that takes turns with others."""

    def __init__(self, job: Job, start: State):
        protocol = job.protocol
        self.name = f"{protocol.timestep_fs:g} fs"
        if job.inner is not None:
            self.name += f" in {protocol.inner_steps} of {protocol.inner_timestep_fs:g} fs"
        self._simulation = Simulation(job, "NVE")
        self._simulation.restore(start)
        self._steps = round(SAMPLE_FS / protocol.timestep_fs)
        self.totals, self.kelvin = [], []
        self.seconds: list[float] = []
        self._simulation.step(self._steps)  # the first evaluation reads or makes what later ones use

    def turn(self) -> None:
        """Run for one turn."""
        started = time.process_time()
        for _ in range(TURN_FS // SAMPLE_FS):
            self._simulation.step(self._steps)
            now = self._simulation.sample()
            self.totals.append((now.potential_energy + now.kinetic_energy) / KJ_PER_MOL)
            self.kelvin.append(now.temperature)
        self.seconds.append(time.process_time() - started)

    def line(self, first: Row) -> str:
        """Its row of the table; the last column is the speed relative to another row, by medians of turns."""
        times = 1e-3 * SAMPLE_FS * np.arange(len(self.totals))
        slope, error, spread = line(times, np.array(self.totals), self._simulation.degrees_of_freedom)
        middle = float(np.median(self.seconds))
        ratio = float(np.median(np.array(first.seconds) / np.array(self.seconds)))
        return (
            f"| {self.name} | {slope:.1e} ± {error:.1e} | {spread:.2f} | {np.mean(self.kelvin):.0f} | "
            f"{1000 * middle / TURN_FS:.1f} | {ratio:.2f} |"
        )


def start_of(job: Job) -> State:
    """Positions and velocities after a picosecond at the set temperature."""
    warm = Simulation(job, "NVT")
    still = minimised(warm, job, 100)
    warm.restore(replace(still, velocities=job.start_velocities))
    warm.step(round(1000 / job.protocol.timestep_fs))
    return warm.state()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="FILE")
    parser.add_argument("--inner", type=Path, required=True, help="a cheaper model, for the short steps")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--length", type=float, default=10.0, help="ps of each run")
    arguments = parser.parse_args()
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    box = pack(liquid, 0.95, seed=1)
    outer, inner = (Mace(path, file_digest(path)) for path in (arguments.model, arguments.inner))
    protocol = MdProtocol("NVE", 423.0, 0.5, arguments.length, 0.012, seed=3, constrain_hydrogens=False)
    job = Job(outer, box, liquid.topology, protocol)
    start = start_of(job)
    rows = []
    for step, parts in ROWS:
        divided = replace(protocol, timestep_fs=step, inner_steps=parts)
        rows.append(Row(replace(job, protocol=divided, inner=inner if parts > 1 else None), start))
    for number in range(1, round(1000 * arguments.length / TURN_FS) + 1):
        for row in rows:
            row.turn()
        if number * TURN_FS % 1000 < TURN_FS:
            print(f"\n{1e-3 * number * TURN_FS:.1f} ps, {len(box)} atoms")
            print("| step | drift, kJ/mol/ps per degree of freedom | spread, kJ/mol | K | ms per fs | speed |")
            print("|---|---|---|---|---|---|")
            for row in rows:
                print(row.line(rows[0]), flush=True)


if __name__ == "__main__":
    main()

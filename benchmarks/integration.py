"""Time of a step of the builtin engine around the forces: everything but the potential, which here costs nothing.

Run ``python benchmarks/integration.py``. Figures are processor time, medians of parts of a run; the engine has one
thread.
"""

from __future__ import annotations

import statistics
import time
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from ilforge.dynamics import builtin
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job, record
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.force_evaluator import Evaluation

PAIRS = (10, 100)
STEPS, PARTS = 200, 9
RUNS: dict[str, dict[str, Any]] = {
    "NVE": {"ensemble": "NVE"},
    "NVT, Langevin": {"ensemble": "NVT"},
    "NVT, Nosé-Hoover": {"ensemble": "NVT", "thermostat": "nose-hoover"},
    "NPT, Monte Carlo": {"ensemble": "NPT"},
    "NPT, cell rescaling": {"ensemble": "NPT", "barostat": "cell-rescaling"},
    "NPT, Nosé-Hoover and cell rescaling": {
        "ensemble": "NPT",
        "thermostat": "nose-hoover",
        "barostat": "cell-rescaling",
    },
}


class Nothing:
    """A potential without forces, under pressure balanced so that the box stays about as it is."""

    kind: ClassVar[str] = "nothing"
    has_stress: ClassVar[bool] = True

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind}

    def force_evaluator(self, topology, threads=1):
        return self

    def evaluate(self, positions, cell):
        return Evaluation(0.0, np.zeros_like(positions), np.zeros((3, 3)))


def main() -> int:
    print(f"{'run':38s} {'atoms':>6s} {'ms/step':>9s}")
    for pairs in PAIRS:
        liquid = Liquid.of({"PYR14": pairs, "BF4": pairs})
        box = pack(liquid, 1.0, seed=1)
        for name, choices in RUNS.items():
            print(f"{name:38s} {len(box):6d} {1000 * seconds_per_step(liquid, box, choices):9.4f}", flush=True)
    return 0


def seconds_per_step(liquid: Liquid, box: Atoms, choices: dict[str, Any]) -> float:
    """Median processor time of a step, with the checks of motion and a frame every 200 steps as in a run."""
    # pressure of an ideal gas of as many molecules: the volume has no reason to run away
    pressure_bar = liquid.topology.n_molecules * 0.0364 / box.get_volume() / 6.2415e-7
    protocol = MdProtocol(
        temperature_K=423.0,
        timestep_fs=0.5,
        length_ps=PARTS * STEPS * 0.0005,
        interval_ps=STEPS * 0.0005,
        seed=1,
        pressure_bar=pressure_bar,
        checkpoint_steps=10**6,
        **choices,
    )
    job = Job(Nothing(), box, liquid.topology, protocol)
    times, begun = [], time.process_time()
    for _ in record(builtin.Simulation, job, None):
        now = time.process_time()
        times.append((now - begun) / STEPS)
        begun = now
    return statistics.median(times[1:])


if __name__ == "__main__":
    raise SystemExit(main())

"""The same NPT run by compiled kernels and by mace-torch: how far the atoms are apart after each 20 steps.

Run ``python benchmarks/mace_trajectory.py FILE [--pairs N] [--steps N] [--dtype float32 float64]`` with a MACE model of
PYR14BF4 (files are run, so give only your own). Start, velocities, noise and trials of the volume are the same, so that
trajectories part only by what forces and energies differ. Two trajectories of a liquid part exponentially: what counts
is that the compiled kernels are no farther from double precision than mace-torch in single precision is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ilforge.dynamics.builtin import Simulation
from ilforge.dynamics.motion import State
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job, minimised
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.force_evaluator import CalculatorEvaluator, ForceEvaluator
from ilforge.potentials.learned.mace import Mace

EVERY = 20


class ByTorch:
    """A MACE potential that mace-torch evaluates in single precision, too."""

    def __init__(self, potential: Mace):
        self._potential = potential

    def __getattr__(self, name: str) -> Any:
        return getattr(self._potential, name)

    def force_evaluator(self, topology: Any, threads: int = 1) -> ForceEvaluator:
        """mace-torch's calculator as an evaluator."""
        return CalculatorEvaluator(self._potential._torch_calculator(threads), topology.symbols)


def trajectory(job: Job, start: State, steps: int) -> list[tuple[np.ndarray, float]]:
    """Positions in Å and volume in Å3 after each ``EVERY`` steps."""
    simulation = Simulation(job, "NPT")
    simulation.restore(start)
    found = []
    for _ in range(0, steps, EVERY):
        simulation.step(EVERY)
        now = simulation.state()
        found.append((now.positions, float(np.linalg.det(now.cell))))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="FILE")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"], help="of mace-torch, first the yardstick")
    arguments = parser.parse_args()
    digest = file_digest(arguments.model)
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    box = pack(liquid, 0.95, seed=1)
    length = 0.5e-3 * arguments.steps
    protocol = MdProtocol("NPT", 423.0, 0.5, length, length, seed=1)

    def job(potential: Any) -> Job:
        return Job(potential, box, liquid.topology, protocol, threads=2)

    ours = job(Mace(arguments.model, digest))
    warm = Simulation(ours, "NVT")
    at_rest = State(box.positions, ours.start_velocities, box.cell.array, 0)
    warm.restore(at_rest)
    warm.restore(State(minimised(warm, ours, 200).positions, ours.start_velocities, box.cell.array, 0))
    warm.step(200)
    start = State(warm.state().positions, warm.state().velocities, box.cell.array, 0)
    found = {"compiled kernels": trajectory(ours, start, arguments.steps)}
    for dtype in arguments.dtype:
        potential = ByTorch(Mace(arguments.model, digest, dtype))
        found[f"mace-torch {dtype}"] = trajectory(job(potential), start, arguments.steps)
    yardstick = f"mace-torch {arguments.dtype[0]}"
    report(found, yardstick, start)
    return 0


def report(found: dict[str, list[tuple[np.ndarray, float]]], yardstick: str, start: State) -> None:
    """A table of how far each is from the yardstick."""
    others = [name for name in found if name != yardstick]
    print(f"{len(start.positions)} atoms, 423 K, 1 bar, 0.5 fs. From {yardstick}: largest distance of an atom, Å;")
    print("difference in volume, Å3")
    print("| step | " + " | ".join(others) + " |\n|---|" + "---|" * len(others))
    for number, (positions, volume) in enumerate(found[yardstick], 1):
        cells = []
        for name in others:
            apart = np.linalg.norm(found[name][number - 1][0] - positions, axis=1).max()
            cells.append(f"{apart:.1e}, {abs(found[name][number - 1][1] - volume):.1e}")
        print(f"| {number * EVERY} | " + " | ".join(cells) + " |")
    moved = np.linalg.norm(found[yardstick][-1][0] - start.positions, axis=1)
    before = np.linalg.det(start.cell)
    print(f"The atoms moved by {moved.mean():.2f} Å on average; volume from {before:.1f} Å3 to {volume:.1f}")


if __name__ == "__main__":
    sys.exit(main())

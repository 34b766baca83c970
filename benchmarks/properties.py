"""Speed of properties of a trajectory, one core: 3,500 atoms (100 pairs PYR14BF4) x 2,000 frames.

Run ``OMP_NUM_THREADS=1 python benchmarks/properties.py [frames]``. The frames are made up: rigid ions float.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from ilforge.liquid.liquid import Liquid
from ilforge.properties import Snapshot, System, create
from ilforge.study.settings import AnalysisSettings

PAIRS, SIDE = 100, 33.0
FRAMES = 2000


def floating_ions(n_frames: int) -> tuple[System, Iterator[Snapshot]]:
    """A system, and its frames made one by one."""
    liquid = Liquid.of({"PYR14": PAIRS, "BF4": PAIRS})
    topology = liquid.topology
    shapes = np.concatenate([ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)])
    system = System(topology, n_frames, 1.0, temperature_K=423.0, ensemble="NVT")

    def frames() -> Iterator[Snapshot]:
        rng = np.random.default_rng(1)
        centres = SIDE * rng.random((topology.n_molecules, 3))
        for index in range(n_frames):
            centres = centres + 0.4 * rng.normal(size=centres.shape)
            yield Snapshot(system, index, float(index), centres[topology.molecules] + shapes, SIDE * np.eye(3))

    return system, frames()


def seconds(name: str, n_frames: int) -> tuple[float, float]:
    """Seconds that a property takes for its frames (making the frames left out), and for its results."""
    system, frames = floating_ions(n_frames)
    observer = create(name, AnalysisSettings())
    observer.begin(system)
    spent = 0.0
    for frame in frames:
        start = time.process_time()
        observer.observe(frame)
        spent += time.process_time() - start
    start = time.process_time()
    observer.measurement()
    return spent, time.process_time() - start


def transport_and_structure_factor(n_frames: int) -> None:
    """Conductivity, and S(q) by its default settings (500 frames, 2,000 wave vectors at most)."""
    for name in ("conductivity", "structure_factor"):
        observing, concluding = seconds(name, n_frames)
        print(f"{name:20s} {n_frames} frames: {observing:6.1f} s for the frames, {concluding:5.1f} s for the results")


def main() -> None:
    transport_and_structure_factor(int(sys.argv[1]) if len(sys.argv) > 1 else FRAMES)


if __name__ == "__main__":
    main()

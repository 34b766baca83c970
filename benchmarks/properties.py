"""Speed and memory of properties, beside the same measurement as a loop in MDAnalysis.

Run ``python benchmarks/properties.py [NAME...] [--frames N]``. The trajectory is LiTFSI/PYR14TFSI with x = 0.1,
some 3,500 atoms at random in a box of 33 Å, as DCD on disk; both sides read it from there. Another property is one
function that says the same thing in MDAnalysis, and one line in ``LOOPS``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ilforge.liquid.liquid import Liquid
from ilforge.properties import measure
from ilforge.study.analysis_settings import AnalysisSettings

COUNTS = {"Li": 8, "PYR14": 74, "TFSI": 82}
SIDE_A = 33.0
CUTOFF_A = 2.8
SETTINGS = AnalysisSettings(clusters={"cutoff_A": CUTOFF_A}, transitions={"cutoff_A": CUTOFF_A})


def write_trajectory(folder: Path, n_frames: int):
    """A liquid whose ions stand and tremble; the Universe that reads it, with bonds."""
    import MDAnalysis

    liquid = Liquid.of(COUNTS)
    topology = liquid.topology
    rng = np.random.default_rng(1)
    shapes = np.concatenate([ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)])
    base = shapes + (rng.random((topology.n_molecules, 3)) * SIDE_A)[topology.molecules]
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    universe.add_TopologyAttr("elements", list(topology.symbols))
    universe.add_TopologyAttr("names", list(topology.names))
    universe.add_TopologyAttr("resnames", list(topology.species))
    universe.add_TopologyAttr("resids", list(range(topology.n_molecules)))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    path = folder / "trajectory.dcd"
    with MDAnalysis.Writer(str(path), topology.n_atoms, dt=1.0) as writer:
        for _ in range(n_frames):
            moved = base + 0.1 * rng.normal(size=base.shape)
            universe.atoms.positions = moved - np.floor(moved / SIDE_A) * SIDE_A
            universe.dimensions = [SIDE_A, SIDE_A, SIDE_A, 90, 90, 90]
            writer.write(universe.atoms)
    universe.load_new(str(path))
    return universe


def clusters_by_selection(universe) -> np.ndarray:
    """Ligands of each Li in each frame, a selection for each Li: how such loops are usually written."""
    lithium = universe.select_atoms("resname Li")
    counts = np.zeros((len(universe.trajectory), len(lithium)), dtype=int)
    near = np.zeros_like(counts)
    for frame in universe.trajectory:
        for k, cation in enumerate(lithium):
            oxygen = universe.select_atoms(f"resname TFSI and name O* and around {CUTOFF_A} index {cation.index}")
            counts[frame.frame, k] = len(np.unique(oxygen.resids))
            nitrogen = universe.select_atoms(f"resname TFSI and name N* and around 6.0 index {cation.index}")
            near[frame.frame, k] = len(np.unique(nitrogen.resids))
    return counts


def clusters_by_distances(universe) -> np.ndarray:
    """The same by distance arrays of groups that are selected once: how it is written when it must be fast."""
    from MDAnalysis.lib.distances import capped_distance

    lithium = universe.select_atoms("resname Li")
    oxygen, nitrogen = (
        universe.select_atoms("resname TFSI and name O*"),
        universe.select_atoms("resname TFSI and name N*"),
    )
    ligands = oxygen.resids
    counts = np.zeros((len(universe.trajectory), len(lithium)), dtype=int)
    for frame in universe.trajectory:
        pairs = capped_distance(lithium, oxygen, CUTOFF_A, box=frame.dimensions, return_distances=False)
        bonds = np.unique(np.stack([pairs[:, 0], ligands[pairs[:, 1]]], axis=1), axis=0)
        counts[frame.frame] = np.bincount(bonds[:, 0], minlength=len(lithium))
        capped_distance(lithium, nitrogen, 6.0, box=frame.dimensions, return_distances=False)
    return counts


def only_reading(universe) -> None:
    """Every frame read and thrown away."""
    for _ in universe.trajectory:
        pass


LOOPS: dict[str, list[Callable]] = {"clusters": [clusters_by_selection, clusters_by_distances, only_reading]}
"""For each property, loops in MDAnalysis to hold it against."""


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process: wall time on a shared machine says nothing."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    """Print seconds for each, and the peak of memory for two lengths of run."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SETTINGS.model_fields)[1:])
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        universe = write_trajectory(Path(folder), options.frames)
        print(f"{len(universe.atoms)} atoms, {options.frames} frames; CPU seconds")
        measure(universe, ["density"], SETTINGS, temperature_K=423.0)  # imports are not what is measured
        for name in options.names:
            own = seconds(lambda name=name: measure(universe, [name], SETTINGS, temperature_K=423.0))
            print(f"{name:14s} {own:9.2f}")
            for loop in LOOPS.get(name, []):
                other = seconds(lambda loop=loop: loop(universe))
                print(f"  {loop.__name__:22s} {other:9.2f}   {other / own:6.1f} x")
    return memory(options.names)


def memory(names: list[str]) -> int:
    """Peak of what Python and NumPy allocate while measuring, for a run and one four times as long."""
    with tempfile.TemporaryDirectory() as folder:
        universes = [
            write_trajectory(Path(folder) / str(n), n) for n in (100, 400) if not (Path(folder) / str(n)).mkdir()
        ]
        for name in names:
            peaks = []
            for universe in universes:
                tracemalloc.start()
                measure(universe, [name], SETTINGS, temperature_K=423.0)
                peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
                tracemalloc.stop()
            print(
                f"{name:14s} peak {peaks[0]:7.1f} MB in 100 frames, {peaks[1]:7.1f} MB in 400: "
                f"{(peaks[1] - peaks[0]) / 0.3:7.1f} kB a frame"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

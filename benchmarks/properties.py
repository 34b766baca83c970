"""Speed and memory of properties, beside the programs and loops that a user would otherwise take.

Run ``python benchmarks/properties.py [SECTION...] [--frames N]``. The trajectory is LiTFSI/PYR14TFSI with x = 0.1, some
3,500 atoms at random in a box of 33 Å, as DCD on disk; both sides read it from there. Seconds are those of one core at
work (process time), each the least of some repeats: on a shared machine wall time says nothing. Beside them wall time.

freud, tidynamics and vesin are compared with where they are installed: ``pip install freud-analysis tidynamics``.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ilforge.liquid.liquid import Liquid
from ilforge.properties import PROPERTIES, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.reading.reader import source_of

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


def clusters_by_selection(universe, n_frames: int) -> np.ndarray:
    """Ligands of each Li in each frame, a selection for each Li: how such loops are usually written."""
    lithium = universe.select_atoms("resname Li")
    counts = np.zeros((n_frames, len(lithium)), dtype=int)
    near = np.zeros_like(counts)
    for frame in universe.trajectory[:n_frames]:
        for k, cation in enumerate(lithium):
            oxygen = universe.select_atoms(f"resname TFSI and name O* and around {CUTOFF_A} index {cation.index}")
            counts[frame.frame, k] = len(np.unique(oxygen.resids))
            nitrogen = universe.select_atoms(f"resname TFSI and name N* and around 6.0 index {cation.index}")
            near[frame.frame, k] = len(np.unique(nitrogen.resids))
    return counts


def clusters_by_distances(universe, n_frames: int) -> np.ndarray:
    """The same by distance arrays of groups that are selected once: how it is written when it must be fast."""
    from MDAnalysis.lib.distances import capped_distance

    lithium = universe.select_atoms("resname Li")
    oxygen, nitrogen = (
        universe.select_atoms("resname TFSI and name O*"),
        universe.select_atoms("resname TFSI and name N*"),
    )
    ligands = oxygen.resids
    counts = np.zeros((n_frames, len(lithium)), dtype=int)
    for frame in universe.trajectory[:n_frames]:
        pairs = capped_distance(lithium, oxygen, CUTOFF_A, box=frame.dimensions, return_distances=False)
        bonds = np.unique(np.stack([pairs[:, 0], ligands[pairs[:, 1]]], axis=1), axis=0)
        counts[frame.frame] = np.bincount(bonds[:, 0], minlength=len(lithium))
        capped_distance(lithium, nitrogen, 6.0, box=frame.dimensions, return_distances=False)
    return counts


def only_reading(universe, n_frames: int) -> None:
    """Every frame read and thrown away."""
    for _ in universe.trajectory[:n_frames]:
        pass


def clock(work: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
    """CPU and wall seconds of one call: of the repeats, the one with the least CPU seconds."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(found)


def row(what: str, cpu: float, wall: float, own: float | None = None) -> None:
    """A line of the table: milliseconds, and how many times those of ours."""
    ratio = "" if own is None else f"{cpu / own:8.1f} x"
    print(f"  {what:58s} {1000 * cpu:10.3f} {1000 * wall:10.3f} ms {ratio}", flush=True)


def peer(name: str):
    """A package to compare with, or None and a word on what is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"  {name} is not installed: not compared")
        return None


def rdf(universe, n_frames: int) -> None:
    """All pairs of atoms within 10 Å, then seven pairs of sites as a study asks for them."""
    from ilforge.properties.kernels.pairs import class_histogram

    print("rdf: bins of 0.02 Å up to 10 Å; for each frame")
    positions, n = universe.trajectory[0].positions.astype(float), len(universe.atoms)
    cell, r_max, bins = SIDE_A * np.eye(3), 10.0, 500
    alone, one_class = np.arange(n), np.zeros(n, dtype=int)
    species = np.unique(universe.atoms.elements, return_inverse=True)[1]

    def ours(classes):
        return class_histogram(positions, cell, classes, alone, int(classes.max()) + 1, r_max, bins)

    counts = ours(one_class)[0, 0]
    own, wall = clock(lambda: ours(one_class), 20)
    row("ilforge, all atoms alike", own, wall)
    row(f"ilforge, {species.max() + 1} elements, {(species.max() + 1) * (species.max() + 2) // 2} g(r)",
        *clock(lambda: ours(species), 20), own)  # fmt: skip
    if freud := peer("freud"):
        freud.parallel.set_num_threads(1)
        other = freud.density.RDF(bins=bins, r_max=r_max)
        box = freud.box.Box.cube(SIDE_A)
        row("freud RDF, all atoms alike", *clock(lambda: other.compute((box, positions - SIDE_A / 2)), 5), own)
        moved = np.abs(np.cumsum(other.bin_counts / 2.0) - np.cumsum(counts)).max()
        print(f"  of {counts.sum()} pairs, freud (in single precision) puts at most {moved:.0f} beyond another edge")
    if vesin := peer("vesin"):
        near = vesin.NeighborList(cutoff=r_max, full_list=False, n_threads=1)
        row("vesin, the list of pairs alone", *clock(lambda: near.compute(positions, cell, True, "d"), 5), own)
    print("rdf: as measured, up to half the box (16 Å); for each frame, reading included")
    for title, pairs in (("one pair", PAIRS[:1]), ("seven pairs", PAIRS)):
        settings = SETTINGS.model_copy(update={"rdf": SETTINGS.rdf.model_copy(update={"pairs": pairs})})
        few = min(n_frames, 40)
        whole, wall = measured(universe, ["rdf"], settings, few)
        row(f"ilforge, {title}: {', '.join('-'.join(pair) for pair in pairs)}"[:58], whole / few, wall / few)


PAIRS = [("H", "O"), ("C", "C"), ("PYR14", "TFSI"), ("Li", "O"), ("N:PYR14", "N:TFSI"), ("F", "H"), ("S", "S")]


def measured(universe, names: list[str], settings, n_frames: int, repeats: int = 2) -> tuple[float, float]:
    """CPU and wall seconds for the first frames of a trajectory."""
    source = source_of(universe, None, None, 423.0)
    source = replace(source, system=replace(source.system, n_frames=n_frames))
    return clock(lambda: measure(source, names, settings), repeats)


def msd(universe, n_frames: int) -> None:
    """Mean squared displacements of all ions over all time origins, lags up to half the run."""
    from ilforge.properties.kernels.displacement import mean_squared_displacement

    n_ions = len(universe.residues)
    print(f"msd: {n_ions} ions, {n_frames} frames; for all")
    paths = np.cumsum(np.random.default_rng(2).normal(size=(n_frames, n_ions, 3)), axis=0)
    lags = n_frames // 2
    found = mean_squared_displacement(paths, lags)
    own, wall = clock(lambda: mean_squared_displacement(paths, lags), 5)
    row("ilforge, lags up to half the run", own, wall)
    everything, wall = clock(lambda: mean_squared_displacement(paths, n_frames - 1), 5)
    row("ilforge, all lags", everything, wall)
    if tidynamics := peer("tidynamics"):
        expected = [tidynamics.msd(paths[:, ion]) for ion in range(n_ions)]
        off = max(np.abs(mine - other[: lags + 1]).max() for mine, other in zip(found, expected, strict=True))
        used, wall = clock(lambda: [tidynamics.msd(paths[:, ion]) for ion in range(n_ions)], 5)
        row("tidynamics, all lags", used, wall, everything)
        print(f"  largest difference {off:.1e} Å^2 of {found.max():.0f}")


def clusters(universe, n_frames: int) -> None:
    """Ligands of each Li, beside loops in MDAnalysis."""
    print(f"clusters: {COUNTS['Li']} Li, {n_frames} frames; for each frame, reading included")
    used, wall = measured(universe, ["clusters"], SETTINGS, n_frames, 3)
    own = used / n_frames
    row("ilforge, with populations, residence times, pictures", own, wall / n_frames)
    for loop, few in ((clusters_by_selection, 40), (clusters_by_distances, n_frames), (only_reading, n_frames)):
        few = min(few, n_frames)
        used, wall = clock(lambda loop=loop, few=few: loop(universe, few), 3)
        row(f"{loop.__name__.replace('_', ' ')}, MDAnalysis", used / few, wall / few, own)
    few = min(n_frames, 40)
    plain, careful = clusters_by_selection(universe, few), clusters_by_distances(universe, few)
    print(f"  both loops count the same: {np.array_equal(plain, careful)}")


def single(universe, n_frames: int) -> None:
    """Each property on its own."""
    few = min(n_frames, 40)
    print(f"each property alone; for each of {few} frames, reading and evaluation included")
    for name in PROPERTIES:
        used, wall = measured(universe, [name], SETTINGS, few, 1)
        row(name, used / few, wall / few)


def cores(universe, n_frames: int) -> None:
    """All properties that ``ilforge analyse`` measures, with one process and with two."""
    print(f"all properties in one pass over {n_frames} frames, by one process and by two")
    source = source_of(universe, None, None, 423.0)
    found, walls = [], []
    for workers in (1, 2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, cpu = time.perf_counter(), time.process_time()
        result = measure(source, list(PROPERTIES), SETTINGS, workers=workers)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        other = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append({name: one.to_json() for name, one in result.items()})
        walls.append(wall)
        print(f"  {workers} at work: this one {cpu:.2f} CPU s, the other {other:.2f}; wall {wall:.2f} s", flush=True)
    print(f"  {walls[0] / walls[1]:.2f} times as fast by the clock, start of the other included")
    print(f"  the same result: {str(found[0]) == str(found[1])}")


def memory(universe, n_frames: int) -> None:
    """Peak of what Python and NumPy allocate while measuring, for a run and one ten times as long."""
    lengths = (max(20, n_frames // 10), n_frames)
    print(f"memory: peak in {lengths[0]} and in {lengths[1]} frames")
    for name in PROPERTIES:
        if name in SLOW and n_frames > 400:
            continue  # looks at a fixed number of frames, or takes long; nothing but its sums stays
        peaks = []
        for length in lengths:
            tracemalloc.start()
            measured(universe, [name], SETTINGS, length, 1)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        grown = (peaks[1] - peaks[0]) / (lengths[1] - lengths[0])
        print(f"  {name:18s} {peaks[0] / 1e6:8.1f} {peaks[1] / 1e6:8.1f} MB: {grown:9.0f} bytes a frame", flush=True)


SLOW = ("health", "structure_factor")
SECTIONS = {function.__name__: function for function in (rdf, msd, clusters, single, cores, memory)}


def main() -> int:
    """Print the sections that were asked for."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        universe = write_trajectory(Path(folder), options.frames)
        measured(universe, list(PROPERTIES), SETTINGS, 40, 1)  # imports and compiled code are not what is measured
        print(f"{len(universe.atoms)} atoms, {options.frames} frames; CPU and wall time\n")
        for name in options.sections:
            SECTIONS[name](universe, options.frames)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())

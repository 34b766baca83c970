"""One pass over the frames, by one process or by several: the same to the last bit, and memory that stays small."""

import json
import os
import tracemalloc
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ilforge.errors import DidNotFinish, SettingsError, Unphysical
from ilforge.properties import PROPERTIES, Measurement, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.combining import sharing
from ilforge.properties.reading import reader as reading
from ilforge.properties.reading.reader import source_of
from support.motion import tumbling_ions
from support.patience import PATIENCE_S

COUNTS = {"PYR14": 3, "Li": 3, "TFSI": 3, "BF4": 3}
N_FRAMES = 60
SETTINGS = AnalysisSettings(clusters={"cutoff_A": 3.0}, transitions={"cutoff_A": 3.0})


def written(folder: Path, n_frames: int, steps=None):
    """Universe of a trajectory on disk, ``steps`` ps after one another."""
    import MDAnalysis

    system, positions, cells = tumbling_ions(n_frames, np.random.default_rng(1), counts=COUNTS)
    topology = system.topology
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    universe.add_TopologyAttr("elements", list(topology.symbols))
    universe.add_TopologyAttr("names", list(topology.names))
    universe.add_TopologyAttr("resnames", list(topology.species))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    path = str(folder / f"{n_frames}.xtc")
    with MDAnalysis.Writer(path, topology.n_atoms) as writer:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            universe.atoms.positions = frame
            universe.dimensions = [*np.diag(cell), 90, 90, 90]
            universe.trajectory.ts.time = float(index if steps is None else steps[index])
            writer.write(universe.atoms)
    universe.load_new(path)
    return universe


@pytest.fixture(scope="module")
def universe(tmp_path_factory):
    return written(tmp_path_factory.mktemp("run"), N_FRAMES)


def texts(found: dict[str, Measurement]) -> dict[str, str]:
    return {name: json.dumps(one.to_json()) for name, one in found.items()}


@pytest.fixture(scope="module")
def alone(universe):
    return texts(measure(universe, list(PROPERTIES), SETTINGS, temperature_K=423.0))


@pytest.fixture
def slow_here(monkeypatch):
    """Frames that this process looked at, which waits with them until a helper has started, or ended."""
    looked, starting = [], []
    original = sharing._Look.at

    class Pool(ProcessPoolExecutor):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            if function is sharing._ready:
                starting.append(future)
            return future

    def at(look, index):
        looked.append(index)
        if starting:
            assert wait(starting, PATIENCE_S, FIRST_COMPLETED).done, "no helper started"
        return original(look, index)

    monkeypatch.setattr(sharing, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(sharing._Look, "at", at)
    return looked


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_processes_gives_the_same_to_the_last_bit(universe, alone, workers, slow_here):
    together = measure(universe, list(PROPERTIES), SETTINGS, temperature_K=423.0, workers=workers)
    assert texts(together) == alone
    assert len(set(slow_here)) == len(slow_here) < N_FRAMES, "others looked at none"


def in_memory(n_frames: int):
    from ase import Atoms

    system, positions, cells = tumbling_ions(n_frames, np.random.default_rng(2))
    info = {"ions": "6 PYR14, 6 BF4"}
    return [
        Atoms(system.topology.symbols, frame, cell=cell, pbc=True, info=info)
        for frame, cell in zip(positions, cells, strict=True)
    ]


def test_frames_in_memory_are_shared_too():
    found = [texts(measure(in_memory(20), ["rdf"], frame_interval_ps=1.0, workers=n)) for n in (1, 2)]
    assert found[0] == found[1]


def test_every_frame_is_read_once(universe, monkeypatch):
    read = []
    original = reading.read_frame
    monkeypatch.setattr(reading, "read_frame", lambda u, index, n: read.append(index) or original(u, index, n))
    measure(universe, list(PROPERTIES), SETTINGS, temperature_K=423.0)
    assert read == list(range(N_FRAMES))


class Deadly:
    """Ends the process that it is sent to."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_helper_that_ends_early_is_told(slow_here):
    frames = in_memory(40)
    frames[0].info["deadly"] = Deadly()
    with pytest.raises(DidNotFinish, match="--cores 1"):
        measure(frames, ["density"], frame_interval_ps=1.0, workers=2)


def test_faults_of_frames_that_others_looked_at(tmp_path, slow_here):
    steps = np.arange(40.0)
    steps[30:] += 3.0
    with pytest.raises(SettingsError, match="Frames 29 and 30 are 4 ps apart"):
        measure(written(tmp_path, 40, steps), ["density"], workers=2)
    frames = in_memory(40)
    frames[30].positions[3] = np.nan
    with pytest.raises(Unphysical, match="Frame 30"):
        measure(frames, ["density"], frame_interval_ps=1.0, workers=2)


def test_a_trajectory_that_cannot_be_handed_over(universe):
    copy = universe.copy()
    copy.trajectory.add_transformations(lambda frame: frame)
    with pytest.raises(SettingsError, match="--cores 1"):
        measure(copy, ["density"], workers=2)
    with pytest.raises(SettingsError, match="workers is 0"):
        measure(universe, ["density"], workers=0)


FOLLOWS_IONS = ("diffusion", "conductivity", "clusters", "shapes", "transitions")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    return source_of(written(tmp_path_factory.mktemp("long"), 800), temperature_K=423.0)


@pytest.mark.parametrize("name", PROPERTIES)
def test_memory_grows_by_no_more_than_what_follows_each_ion(name, long_run):
    """Of a frame nothing stays but some numbers, and where ions are followed those of each ion.

    The ions are small here: atoms' positions would be 300 bytes an ion. Centres of mass are 24, and a few times that
    while displacements are worked out.
    """
    peaks = []
    for n_frames in (800, 200, 800):  # first for imports and compiled code
        part = replace(long_run, system=replace(long_run.system, n_frames=n_frames))
        tracemalloc.start()
        measure(part, [name], SETTINGS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    a_frame = (peaks[2] - peaks[1]) / 600
    print(name, peaks, f"{a_frame:.0f} bytes a frame")
    n_ions = long_run.system.topology.n_molecules
    assert a_frame < (250 * n_ions if name in FOLLOWS_IONS else 200)

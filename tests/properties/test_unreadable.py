"""Trajectories of killed runs, and files that are no topology or trajectory: the message names the file to replace."""

import gc
import subprocess
import sys

import MDAnalysis
import numpy as np
import pytest

from ilforge.dynamics.recording import pdb_text
from ilforge.errors import SettingsError
from ilforge.properties.reading.reader import open_trajectory
from support.motion import tumbling_ions

N_FRAMES = 12


@pytest.fixture(scope="module")
def run():
    return tumbling_ions(N_FRAMES, np.random.default_rng(1))


@pytest.fixture
def topology(run, tmp_path):
    system, positions, cells = run
    path = tmp_path / "top.pdb"
    path.write_text(pdb_text(system.topology, positions[0], cells[0]))
    return path


def written(run, path):
    """Frames 2 ps apart in the format of the suffix."""
    system, positions, cells = run
    universe = MDAnalysis.Universe.empty(system.topology.n_atoms, trajectory=True)
    with MDAnalysis.Writer(str(path), system.topology.n_atoms) as writer:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            universe.atoms.positions, universe.dimensions = frame, [*np.diag(cell), 90, 90, 90]
            universe.trajectory.ts.time = 2.0 * index
            writer.write(universe.atoms)
    return path


def cut(path, lost):
    """The same file without its last bytes, as a kill leaves it."""
    path.write_bytes(path.read_bytes()[:-lost])
    return path


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".XTC"])
@pytest.mark.parametrize("lost", [1, 40, 300])
def test_an_incomplete_last_frame_is_left_out(run, topology, tmp_path, suffix, lost):
    whole = written(run, tmp_path / f"a{suffix.lower()}").rename(tmp_path / f"run{suffix}")
    everything = open_trajectory([topology, whole])
    assert everything.system.n_frames == N_FRAMES
    source = open_trajectory([topology, cut(whole, lost)])
    assert source.system.n_frames == N_FRAMES - 1 and source.system.frame_interval_ps == pytest.approx(2.0)
    last = [snapshot.positions for snapshot in source.snapshots()][-1]
    assert np.allclose(last, run[1][-2], atol=6e-3)  # decimals of XTC


def test_an_incomplete_frame_between_two_files_is_found_by_its_time(run, topology, tmp_path):
    system, positions, cells = run
    first = cut(written((system, positions[:6], cells[:6]), tmp_path / "a.xtc"), 40)
    second = tmp_path / "b.xtc"
    universe = MDAnalysis.Universe.empty(system.topology.n_atoms, trajectory=True)
    with MDAnalysis.Writer(str(second), system.topology.n_atoms) as writer:
        for index in range(6, N_FRAMES):
            universe.atoms.positions, universe.dimensions = positions[index], [*np.diag(cells[index]), 90, 90, 90]
            universe.trajectory.ts.time = 2.0 * index
            writer.write(universe.atoms)
    with pytest.raises(SettingsError, match="Frames 4 and 5 are 4 ps apart"):
        open_trajectory([topology, first, second])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.yaml", "---\ntimestep: 0\n", r"run\.yaml is no trajectory.*LAMMPS dump of style atom or custom"),
        ("run.1.cfg", "Number of particles = 2\n", r"run\.1\.cfg is no trajectory"),
        ("run.npz", "PK", r"run\.npz is no trajectory"),
        ("run.xtc", "not an xtc file\n" * 50, r"run\.xtc cannot be read as a trajectory \(XDR read error"),
        (
            "run.lammpstrj",
            "hello\n",
            r"run\.lammpstrj cannot be read as a trajectory \(a frame should begin at 'hello'",
        ),
    ],
)
def test_a_file_that_is_no_trajectory_is_named_alone(run, topology, tmp_path, name, content, words):
    good, bad = written(run, tmp_path / "good.xtc"), tmp_path / name
    bad.write_text(content)
    for files in ([bad], [good, bad], [bad, good]):
        with pytest.raises(SettingsError, match=words) as caught:
            open_trajectory([topology, *files])
        assert "good.xtc" not in str(caught.value) and "top.pdb" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("system.xml", '<?xml version="1.0" ?>\n<System openmmVersion="8.4" type="System" version="1"></System>\n'),
        ("state.chk", "binary"),
        ("run.restart", "LammpS RestartT"),
        ("log.lammps", "LAMMPS (22 Jul 2025)\n"),
        ("top.cif", "data_cell\n_cell.length_a 16.5\nloop_\n_atom_site.id\n1\n"),
        ("run.in", "units real\natom_style full\n"),
    ],
)
def test_a_file_that_is_no_topology_is_named_with_those_that_are(run, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=r"topology.*Give the topology first: tpr, psf, prmtop, a LAMMPS") as caught:
        open_trajectory([tmp_path / name, written(run, tmp_path / "good.xtc")])
    said = str(caught.value)
    assert name in said and "good.xtc" not in said and "NoneType" not in said and "gemmi" not in said


def test_another_number_of_atoms_is_said_with_both_files(run, topology, tmp_path):
    other = tumbling_ions(2, np.random.default_rng(2), counts={"EMIM": 6, "BF4": 6})
    written(run, tmp_path / "good.xtc")
    written(other, tmp_path / "other.dcd")
    atoms = f"{other[0].topology.n_atoms} atoms, the topology .*top.pdb {run[0].topology.n_atoms}"
    for files in (["other.dcd"], ["good.xtc", "other.dcd"]):
        with pytest.raises(SettingsError, match=rf"other\.dcd has {atoms}: give the topology this trajectory was"):
            open_trajectory([topology, *(tmp_path / name for name in files)])


def test_a_reader_that_failed_prints_nothing_when_it_is_closed(run, topology, tmp_path):
    written(run, tmp_path / "good.xtc")
    (tmp_path / "bad.xtc").write_text("not an xtc file\n" * 50)
    program = (
        "import gc, sys\nfrom pathlib import Path\n"
        "from ilforge.errors import SettingsError\n"
        "from ilforge.properties.reading.reader import open_trajectory\n"
        "try:\n    open_trajectory([Path(name) for name in sys.argv[1:]])\n"
        "except SettingsError as error:\n    print(error)\ngc.collect()\n"
    )
    files = [topology, tmp_path / "good.xtc", tmp_path / "bad.xtc"]
    done = subprocess.run([sys.executable, "-c", program, *map(str, files)], capture_output=True, text=True, check=True)
    assert "bad.xtc cannot be read" in done.stdout and done.stderr == ""


def frames_in_pdb(run, path):
    """As OpenMM's PDBReporter writes it: the cell once, before the first frame, and bonds after the last."""
    system, positions, cells = run
    lines = pdb_text(system.topology, positions[0], cells[0]).splitlines()
    bonds = [line for line in lines if line.startswith("CONECT")]
    text = [line for line in lines if line.startswith("CRYST1")]
    for number, (frame, cell) in enumerate(zip(positions, cells, strict=True), 1):
        atoms = [line for line in pdb_text(system.topology, frame, cell).splitlines() if line[:6] in ATOMS]
        text += [f"MODEL     {number:4d}", *atoms, "ENDMDL"]
    path.write_text("\n".join([*text, *bonds, "END"]) + "\n")
    return path


ATOMS = ("ATOM  ", "HETATM")


def test_one_cell_before_many_frames_of_a_pdb_file_is_not_taken_for_that_of_the_run(run, tmp_path):
    path = frames_in_pdb(run, tmp_path / "run.pdb")
    with pytest.raises(SettingsError, match=r"CRYST1 record only before its first frame.*PDBReporter.*\(--cell\)"):
        open_trajectory([path], frame_interval_ps=2.0)
    gc.collect()

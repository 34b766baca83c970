"""Files of other programs: how their frames follow one another in time, and mistakes made in giving them."""

import warnings

import MDAnalysis
import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from MDAnalysis.lib.formats.libmdaxdr import TRRFile

from ilforge import frames
from ilforge.dynamics.recording import pdb_text
from ilforge.errors import SettingsError
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.combining import sharing
from ilforge.properties.reading.reader import open_trajectory
from support.motion import tumbling_ions

N_FRAMES = 12
RUN = range(N_FRAMES)
BEHIND = "ps before frame.*overlap"


@pytest.fixture(scope="module")
def run():
    """A system, and positions and cells of its frames, 2 ps apart."""
    return tumbling_ions(N_FRAMES, np.random.default_rng(1))


@pytest.fixture
def topology(run, tmp_path):
    system, positions, cells = run
    path = tmp_path / "top.pdb"
    path.write_text(pdb_text(system.topology, positions[0], cells[0]))
    return path


def dump(run, path, chosen, steps=None):
    """A text dump of LAMMPS with these frames, at 1000 steps times their number unless said otherwise."""
    system, positions, cells = run
    with path.open("w") as file:
        for k, step in zip(chosen, [1000 * k for k in chosen] if steps is None else steps, strict=True):
            file.write(f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n{system.topology.n_atoms}\n")
            file.write("ITEM: BOX BOUNDS pp pp pp\n" + "".join(f"0 {side}\n" for side in np.diag(cells[k])))
            file.write("ITEM: ATOMS id type x y z\n")
            file.writelines(f"{i} 1 {x} {y} {z}\n" for i, (x, y, z) in enumerate(positions[k], 1))
    return path


def xtc(run, path, chosen, times=None):
    """Frames at 2 ps times their number unless said otherwise."""
    system, positions, cells = run
    universe = MDAnalysis.Universe.empty(system.topology.n_atoms, trajectory=True)
    with MDAnalysis.Writer(str(path), system.topology.n_atoms) as writer:
        for k, time in zip(chosen, [2.0 * k for k in chosen] if times is None else times, strict=True):
            universe.atoms.positions, universe.dimensions = positions[k], [*np.diag(cells[k]), 90, 90, 90]
            universe.trajectory.ts.time = time
            writer.write(universe.atoms)
    return path


def extended_xyz(run, path, chosen, times=None):
    system, positions, cells = run
    made = [Atoms(system.topology.symbols, positions[k], cell=cells[k], pbc=True) for k in chosen]
    for frame, time in zip(made, [2.0 * k for k in chosen] if times is None else times, strict=True):
        frame.info = {} if time is None else {"time": time}
    frames.write(path, made)
    return path


def lammps_data(run, path):
    """A LAMMPS data file, atom_style full, whose atom types are elements."""
    topology, positions, cells = run[0].topology, run[1], run[2]
    elements = sorted(set(topology.symbols))
    with path.open("w") as file:
        file.write(f"LAMMPS data\n\n{topology.n_atoms} atoms\n{len(topology.bonds)} bonds\n")
        file.write(f"{len(elements)} atom types\n1 bond types\n\n")
        file.writelines(f"0 {side} {axis}lo {axis}hi\n" for axis, side in zip("xyz", np.diag(cells[0]), strict=True))
        file.write("\nMasses\n\n")
        file.writelines(f"{k} {atomic_masses[atomic_numbers[one]]:.3f}\n" for k, one in enumerate(elements, 1))
        file.write("\nAtoms # full\n\n")
        for i, (symbol, (x, y, z)) in enumerate(zip(topology.symbols, positions[0], strict=True)):
            file.write(f"{i + 1} {topology.molecules[i] + 1} {elements.index(symbol) + 1} 0.0 {x} {y} {z}\n")
        file.write("\nBonds\n\n")
        file.writelines(f"{k} 1 {i + 1} {j + 1}\n" for k, (i, j) in enumerate(topology.bonds, 1))
    return path


WRITERS = pytest.mark.parametrize(("write", "suffix"), [(dump, ".lammpstrj"), (xtc, ".xtc"), (extended_xyz, ".extxyz")])


@WRITERS
@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([[*range(8), *range(4, 12)]], f"Frame 8 is 6 {BEHIND}"),
        ([[0, 1, 2, 3, 4, 6, 8, 10]], "Frames 4 and 5 are 4 ps apart, the first two 2 ps"),
        ([[3, 2, 1, 0]], "not in time order"),
        ([range(6, 12), range(6)], "Frame 6 is at 0 ps, before the first at 12 ps: files are not in time order"),
        ([range(8), range(5, 12)], f"Frame 8 is 4 {BEHIND}"),
        ([range(4), range(8, 12), range(4, 8)], "Frames 3 and 4 are 10 ps apart"),
        ([range(5), RUN], "Frame 5 is frame 0 again: the trajectory holds the beginning of the run twice"),
        ([range(5), range(1, 12)], "Frame 5 is frame 1 again"),
    ],
)
def test_frames_that_do_not_follow_one_another_are_refused_whatever_the_user_says_of_their_interval(
    run, topology, tmp_path, write, suffix, pieces, words
):
    files = [write(run, tmp_path / f"{k}{suffix}", piece) for k, piece in enumerate(pieces)]
    with pytest.raises(SettingsError, match=words):
        list(open_trajectory([topology, *files], frame_interval_ps=2.0).snapshots())


@WRITERS
@pytest.mark.parametrize("begin", [0, 1], ids=["at zero", "one interval in"])
def test_files_that_each_begin_anew_in_time_follow_one_another(run, topology, tmp_path, write, suffix, begin):
    unit = 1000 if write is dump else 2.0
    first = write(run, tmp_path / f"a{suffix}", range(6))
    second = write(run, tmp_path / f"b{suffix}", range(6, 12), [unit * (k + begin) for k in range(6)])
    found = list(open_trajectory([topology, first, second], frame_interval_ps=0.5).snapshots())
    assert [frame.time_ps for frame in found] == [0.5 * k for k in RUN]


@WRITERS
def test_times_in_any_unit_are_held_against_the_interval_that_is_given(run, topology, tmp_path, write, suffix):
    """As of a file whose time step is wrong, and that begins late."""
    times = [777000 + 40 * k for k in RUN]
    path = write(run, tmp_path / f"a{suffix}", RUN, times)
    assert len(list(open_trajectory([topology, path], frame_interval_ps=0.1).snapshots())) == N_FRAMES
    path = write(run, tmp_path / f"a{suffix}", RUN, [*times[:5], *(time + 40 for time in times[5:])])
    with pytest.raises(SettingsError, match=r"Frames 4 and 5 are 0\.2 ps apart"):
        list(open_trajectory([topology, path], frame_interval_ps=0.1).snapshots())


@WRITERS
def test_files_without_times_are_measured_with_the_interval_that_is_given(run, topology, tmp_path, write, suffix):
    path = write(run, tmp_path / f"a{suffix}", RUN, [0] * N_FRAMES)
    found = list(open_trajectory([topology, path], frame_interval_ps=0.5).snapshots())
    assert [frame.time_ps for frame in found] == [0.5 * k for k in RUN]


def test_times_of_extended_xyz_are_held_against_the_interval(run, topology, tmp_path):
    """Nothing says their unit: a file in fs taken for ps would make D a thousand times too small."""
    path = extended_xyz(run, tmp_path / "a.extxyz", RUN)
    with pytest.raises(SettingsError, match="nor the unit of time=.*--frame-interval"):
        open_trajectory([topology, path])
    source = open_trajectory([topology, path], frame_interval_ps=0.5)
    assert source.system.frame_interval_ps == 0.5 and len(list(source.snapshots())) == N_FRAMES
    path = extended_xyz(run, path, [0, 1, 2, 4])
    with pytest.raises(SettingsError, match="Frames 2 and 3 are 1 ps apart"):
        list(open_trajectory([topology, path], frame_interval_ps=0.5).snapshots())


@pytest.mark.parametrize("key", ["Time", "Timestep", "step"])
def test_times_by_the_names_of_other_programs_are_held_against_the_interval_too(run, topology, tmp_path, key):
    """LAMMPS writes Timestep= and Time= (in fs), GPUMD Time=."""
    path = extended_xyz(run, tmp_path / "a.extxyz", [0, 1, 2, 4])
    path.write_text(path.read_text().replace(" time=", f" {key}="))
    with pytest.raises(SettingsError, match="Frames 2 and 3 are 1 ps apart"):
        list(open_trajectory([topology, path], frame_interval_ps=0.5).snapshots())


@pytest.mark.parametrize("times", [[None] * 3, [0.0, None, 4.0], [0.0, 0.0, 0.0], ["a", "b", "c"]])
def test_extended_xyz_without_times_needs_the_interval(run, topology, tmp_path, times):
    path = extended_xyz(run, tmp_path / "a.extxyz", range(3), times)
    with pytest.raises(SettingsError, match="does not contain the time between its.*--frame-interval"):
        open_trajectory([topology, path])
    assert open_trajectory([topology, path], frame_interval_ps=2.0).system.n_frames == 3


def test_the_interval_of_late_frames_is_that_of_all(run, topology, tmp_path):
    """At 100 ns the first two frames of 0.2 ps are 1.6 % off in single precision."""
    late = (1e5 + 0.2 * np.arange(N_FRAMES)).astype(np.float32)
    path = xtc(run, tmp_path / "late.xtc", RUN, late.astype(float))
    assert late[1] - late[0] != pytest.approx(0.2, rel=0.01)
    assert open_trajectory([topology, path]).system.frame_interval_ps == pytest.approx(0.2, rel=0.005)


def test_elements_are_not_guessed_from_names_of_atoms(run, topology, tmp_path):
    """A PDB file without its last columns, as many programs write it."""
    path = xtc(run, tmp_path / "a.xtc", RUN)
    lines = [line[:66] if line.startswith("HETATM") else line for line in topology.read_text().splitlines()]
    topology.write_text("\n".join(lines) + "\n")
    with pytest.raises(SettingsError, match="does not contain elements"):
        open_trajectory([topology, path])


@WRITERS
def test_elements_come_from_masses_of_lammps_data(run, tmp_path, write, suffix):
    system = run[0]
    data = lammps_data(run, tmp_path / "system.data")
    source = open_trajectory([data, write(run, tmp_path / f"a{suffix}", RUN)], frame_interval_ps=2.0)
    assert source.system.topology.symbols == system.topology.symbols


def test_a_file_that_is_given_twice_is_refused(run, topology, tmp_path):
    path = xtc(run, tmp_path / "a.xtc", RUN)
    with pytest.raises(SettingsError, match=r"a\.xtc is given twice: its frames would count twice"):
        open_trajectory([topology, path, path])
    (tmp_path / "b.xtc").symlink_to(path)
    with pytest.raises(SettingsError, match=r"b\.xtc is given twice, as .*a\.xtc before"):
        open_trajectory([topology, path, tmp_path / "b.xtc"])
    assert open_trajectory([topology, path]).system.n_frames == N_FRAMES


def test_frames_of_velocities_alone_are_refused(run, topology, tmp_path):
    """As GROMACS writes them where nstvout is less than nstxout."""
    n_atoms = run[0].topology.n_atoms
    with TRRFile(str(tmp_path / "a.trr"), "w") as file:
        for k in range(4):
            positions = None if k % 2 else 0.1 * run[1][k]
            file.write(positions, np.zeros((n_atoms, 3)), None, 0.1 * run[2][k], k, 2.0 * k, 0.0, n_atoms)
    source = open_trajectory([topology, tmp_path / "a.trr"])
    assert source.frame(2).positions.shape == (n_atoms, 3)
    with pytest.raises(SettingsError, match=r"Frame 1 contains no positions: .*nstxout"):
        source.frame(1)


@pytest.mark.parametrize("first", [False, True])
def test_a_directory_beside_other_files_is_refused(topology, tmp_path, first):
    given = [tmp_path / "md", topology] if first else [topology, tmp_path / "md"]
    (tmp_path / "md").mkdir()
    with pytest.raises(SettingsError, match=r"md is a directory: .*md/trajectory\.dcd.*--replicas"):
        open_trajectory(given)


@pytest.mark.parametrize("name", ["data.lmp", "system.lammps", "topology"])
def test_lammps_data_is_known_by_what_it_holds(run, tmp_path, name):
    data = lammps_data(run, tmp_path / name)
    source = open_trajectory([data, dump(run, tmp_path / "a.dump", RUN)], frame_interval_ps=2.0)
    assert source.liquid == "6 PYR14, 6 BF4" and source.system.n_frames == N_FRAMES


@pytest.mark.parametrize(("write", "suffix"), [(dump, ""), (xtc, ".xtc")])
def test_a_trajectory_in_the_place_of_the_topology_is_refused(run, topology, tmp_path, write, suffix):
    path = write(run, tmp_path / f"a{suffix}", RUN)
    for given in ([path, topology], [path]):
        with pytest.raises(SettingsError, match=rf"/a{suffix} is a trajectory, .*the topology comes first"):
            open_trajectory(given, frame_interval_ps=2.0)


def test_a_topology_of_gromacs_as_text_is_sent_to_the_tpr(run, tmp_path):
    (tmp_path / "topol.top").write_text('; of a run\n#include "amber.ff/forcefield.itp"\n[ system ]\nliquid\n')
    with pytest.raises(SettingsError, match=r"topol\.top is a text topology of GROMACS.*give the tpr file"):
        open_trajectory([tmp_path / "topol.top", xtc(run, tmp_path / "a.xtc", RUN)])


def test_what_another_library_says_of_a_file_is_one_line(run, topology, tmp_path):
    (tmp_path / "a.top").write_text("%VERSION  VERSION_STAMP = V0001.000\n%FLAG NONE\n")
    with pytest.raises(SettingsError, match=r"a\.top cannot be read as a topology") as caught:
        open_trajectory([tmp_path / "a.top", xtc(run, tmp_path / "a.xtc", RUN)])
    assert "\n" not in str(caught.value) and "<class" not in str(caught.value)
    (tmp_path / "b.xtc").touch()
    with pytest.raises(SettingsError, match=r"b\.xtc is an empty file"):
        open_trajectory([topology, tmp_path / "b.xtc"])


def test_messages_name_the_file_that_lacks_something(run, topology, tmp_path):
    with pytest.raises(SettingsError, match=r"/a\.dump does not say how much time lies between its frames"):
        open_trajectory([topology, dump(run, tmp_path / "a.dump", RUN)])
    with pytest.raises(SettingsError, match=r"/a\.extxyz: extended XYZ does not contain the time"):
        open_trajectory([topology, extended_xyz(run, tmp_path / "a.extxyz", range(3), [None] * 3)])
    topology.write_text("".join(line for line in topology.open() if not line.startswith("CONECT")))
    with pytest.raises(SettingsError, match=r"The topology .*/top\.pdb has no bonds"):
        open_trajectory([topology, tmp_path / "a.dump"], frame_interval_ps=2.0)


def test_a_dump_is_measured_without_warnings_of_the_library_that_reads_it(run, topology, tmp_path):
    """Also by other processes, for which it is pickled."""
    source = open_trajectory([topology, dump(run, tmp_path / "a.dump", RUN)], frame_interval_ps=2.0)
    look = sharing._Look(source, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(source.snapshots())) == N_FRAMES
        sharing._begin(sharing._packed(look, source.system, AnalysisSettings()))
    assert sharing._look_at(range(1)) == [(0.0, {})]

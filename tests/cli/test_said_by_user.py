"""`ilforge analyse` where files lack what they are made of, their cell or their times, and where LAMMPS says them."""

import MDAnalysis
import numpy as np
import pytest
from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.properties.reading.given import Composition, parse_cell
from ilforge.properties.reading.reader import open_trajectory
from support.motion import tumbling_ions

IONS = "6 PYR14, 6 BF4"
N_FRAMES = 6


@pytest.fixture(scope="module")
def run():
    """A system, and positions and cells of its frames: a fixed box."""
    system, positions, cells = tumbling_ions(N_FRAMES, np.random.default_rng(1))
    return system, positions, np.broadcast_to(cells[0], cells.shape)


@pytest.fixture
def shuffled(run):
    """The run with its atoms sorted by element, as frames that say nothing of ions; the order that was taken."""
    system, positions, cells = run
    order = np.argsort(system.topology.symbols, kind="stable")
    symbols = np.array(system.topology.symbols)[order]
    return [Atoms(symbols, x[order], cell=cell, pbc=True) for x, cell in zip(positions, cells, strict=True)], order


def same_molecules(source, run):
    """Whether all ions are where they are in the run, whatever order atoms that are alike stand in."""
    topology, places = run[0].topology, run[1][-1]
    found = source.frame(N_FRAMES - 1)
    assert source.system.topology.symbols == topology.symbols and source.liquid == IONS
    theirs = sorted(
        np.round(places[topology.molecules == k].mean(axis=0) % run[2][0, 0, 0], 2).tolist() for k in range(12)
    )
    mine = sorted(
        np.round(found.positions[topology.molecules == k].mean(axis=0) % run[2][0, 0, 0], 2).tolist() for k in range(12)
    )
    assert np.allclose(theirs, mine, atol=0.03)


def test_frames_in_another_order_without_a_word_on_ions(run, shuffled, tmp_path):
    made, _ = shuffled
    frames.write(tmp_path / "a.extxyz", made[:3])
    frames.write(tmp_path / "b.extxyz", made[3:])
    files = [tmp_path / "a.extxyz", tmp_path / "b.extxyz"]
    same_molecules(open_trajectory(files, 1.0, made_of=Composition(IONS)), run)
    with pytest.raises(SettingsError, match="do not name their ions: name them with --ions"):
        open_trajectory(files, 1.0)
    with pytest.raises(SettingsError, match=r"have 210 atoms .* but 2 PYR14, 2 BF4 are 70"):
        open_trajectory(files, 1.0, made_of=Composition("2 PYR14, 2 BF4"))


def test_frames_that_name_their_ions_in_another_order(run, shuffled, tmp_path):
    for frame in shuffled[0]:
        frame.info["ions"] = IONS
    frames.write(tmp_path / "a.extxyz", shuffled[0])
    same_molecules(open_trajectory([tmp_path / "a.extxyz"], 1.0), run)


def plain(path, made):
    """Elements and positions alone."""
    text = ""
    for frame in made:
        text += f"{len(frame)}\ni = 1, time = 2.0\n"
        text += "".join(
            f"{s} {x:.6f} {y:.6f} {z:.6f}\n" for s, (x, y, z) in zip(frame.symbols, frame.positions, strict=True)
        )
    path.write_text(text)
    return path


def test_plain_xyz_with_ions_and_cell(ilforge, run, shuffled, tmp_path):
    made, side = shuffled[0], run[2][0, 0, 0]
    files = [plain(tmp_path / "a.xyz", made[:3]), plain(tmp_path / "b.xyz", made[3:])]
    source = open_trajectory(files, 1.0, made_of=Composition(IONS, cell=parse_cell(f"{side} {side} {side}")))
    same_molecules(source, run)
    words = ("analyse", *files, "--frame-interval", "1", "--property", "health")
    code, out, err = ilforge(*words, "--ions", IONS, "--cell", f"{side},{side},{side}")
    assert code == 0 and f"largest_cavity_radius                     {IONS}" in out, out + err
    code, _, err = ilforge(*words, "--ions", "6 PYR14, 6 BF4", "--cell", "19 19")
    assert code == 2 and "--cell 19 19: give three lengths" in err
    code, _, err = ilforge(*words[:2], *words[3:], "--ions", "1 PYR14")
    assert code == 2 and "correct --ions" in err


@pytest.mark.parametrize("text", ["0 1 1", "-5 5 5", "5 5 5 90 90", "nan 5 5", "a b c", "20 20 20 10 10 150", ""])
def test_cells_that_are_none(text):
    with pytest.raises(SettingsError, match="--cell .*: give three lengths"):
        parse_cell(text)


def test_a_cell_is_not_put_over_another(run, shuffled, tmp_path):
    frames.write(tmp_path / "a.extxyz", shuffled[0])
    with pytest.raises(SettingsError, match="already have a cell. Leave --cell out"):
        open_trajectory([tmp_path / "a.extxyz"], 1.0, made_of=Composition(IONS, cell=parse_cell("9 9 9")))


def written(run, shuffled, tmp_path, cells=True):
    """A PDB file without bonds and an XTC file, atoms sorted by element."""
    made, _ = shuffled
    universe = MDAnalysis.Universe.empty(len(made[0]), trajectory=True)
    universe.add_TopologyAttr("elements", list(made[0].symbols))
    universe.add_TopologyAttr("names", list(made[0].symbols))
    universe.add_TopologyAttr("resnames", ["UNK"])
    path = tmp_path / "run.xtc"
    with MDAnalysis.Writer(str(path), len(made[0])) as writer:
        for k, frame in enumerate(made):
            universe.atoms.positions = frame.positions
            universe.dimensions = [*frame.cell.lengths(), 90, 90, 90] if cells else None
            universe.trajectory.ts.time = 2.0 * k
            writer.write(universe.atoms)
            if k == 0:
                universe.atoms.write(str(tmp_path / "top.pdb"))
    return [tmp_path / "top.pdb", path]


def test_a_topology_without_bonds_and_the_ions(run, shuffled, tmp_path):
    files = written(run, shuffled, tmp_path)
    with pytest.raises(SettingsError, match="has no bonds.*--ions"):
        open_trajectory(files)
    source = open_trajectory(files, made_of=Composition(IONS))
    same_molecules(source, run)
    assert source.system.frame_interval_ps == 2.0


def test_a_trajectory_without_cell_shared_among_processes(ilforge, run, shuffled, tmp_path):
    files, side = written(run, shuffled, tmp_path, cells=False), run[2][0, 0, 0]
    words = ("analyse", *files, "--ions", IONS, "--property", "health")
    code, _, err = ilforge(*words)
    assert code == 2, err
    code, out, err = ilforge(*words, "--cell", f"{side} {side} {side}", "--cores", "2")
    assert code == 0 and f"largest_cavity_radius                     {IONS}" in out, out + err


def test_own_ions_are_recognised_in_a_topology_with_bonds():
    own = {"MYCAT": IonSettings(smiles="CCCC[N+]1(C)CCCC1")}
    topology = Liquid.of({"MYCAT": 2, "BF4": 2}, own).topology
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    universe.add_TopologyAttr("elements", list(topology.symbols))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    from ilforge.properties.reading.topology_reader import topology_of_universe

    found = topology_of_universe(universe, own=Composition(define=own).own)
    assert found.topology.species == topology.species and found.topology.charges == topology.charges
    assert topology_of_universe(universe).topology.species[0] == "PYR14"


def test_a_run_of_ilforge_says_what_it_is(tmp_path):
    with pytest.raises(SettingsError, match="--ions: .* is a run of ilforge"):
        open_trajectory([tmp_path], made_of=Composition(IONS))


def test_a_cutoff_of_clusters_is_an_option(ilforge, run, shuffled, tmp_path):
    frames.write(tmp_path / "a.extxyz", shuffled[0])
    words = ("analyse", "a.extxyz", "--frame-interval", "1", "--ions", IONS)
    code, _, err = ilforge(*words, "--property", "density", "--cutoff", "3")
    assert code == 2 and "--cutoff is for clusters and transitions" in err
    from ilforge.cli.analysis import _settings

    settings = _settings(None, None, (), 3.1)
    assert settings.clusters.cutoff_A == settings.transitions.cutoff_A == 3.1


DATA = """salt

4 atoms
2 atom types
0 20 xlo xhi
0 20 ylo yhi
0 20 zlo zhi

Masses

1 22.99
2 35.45

Atoms # charge

1 1 1 1 1 1
2 2 -1 5 1 1
3 1 1 9 1 1
4 2 -1 13 1 1
"""


def dump(path, n_frames=8, units="real", times=True, first=0, spoil=None):
    """A dump as `dump_modify units yes time yes` writes it; an atom moves by 0.1 Å from frame to frame."""
    text = f"ITEM: UNITS\n{units}\n" if units else ""
    for k in range(first, first + n_frames):
        frame = (
            f"ITEM: TIME\n{100.0 * k}\n" if times else ""
        ) + f"ITEM: TIMESTEP\n{50 * k}\nITEM: NUMBER OF ATOMS\n4\n"
        frame += "ITEM: BOX BOUNDS pp pp pp\n" + "0 20\n" * 3 + "ITEM: ATOMS id type x y z vx vy vz\n"
        rows = [f"{i + 1} {1 + i % 2} {1 + 4 * i + 0.1 * k:.3f} 1 1 0.001 0 0\n" for i in (2, 0, 3, 1)]
        text += spoil(k, frame, rows) if spoil else frame + "".join(rows)
    path.write_text(text)
    return path


@pytest.fixture
def salt(tmp_path):
    (tmp_path / "salt.data").write_text(DATA)
    return tmp_path / "salt.data"


@pytest.mark.parametrize(("units", "interval", "velocity"), [("real", 0.1, 1.0), ("metal", 100.0, 0.001)])
def test_a_dump_that_says_units_and_times_needs_no_options(salt, tmp_path, units, interval, velocity):
    source = open_trajectory([salt, dump(tmp_path / "a.lammpstrj", units=units)])
    assert source.system.n_frames == 8 and source.system.frame_interval_ps == pytest.approx(interval)
    snapshots = list(source.snapshots())
    assert [s.positions[0, 0] for s in snapshots] == pytest.approx(1 + 0.1 * np.arange(8))
    assert snapshots[3].velocities[0, 0] == pytest.approx(velocity)
    assert snapshots[3].recorded_ps == pytest.approx(3 * interval)


def test_pieces_of_a_dump_with_times_follow_one_another(salt, tmp_path):
    first, second = dump(tmp_path / "a.dump", 4), dump(tmp_path / "b.dump", 4, first=4)
    assert len(list(open_trajectory([salt, first, second]).snapshots())) == 8
    with pytest.raises(SettingsError, match="frames are missing or doubled"):
        list(open_trajectory([salt, first, dump(tmp_path / "c.dump", 4, first=5)]).snapshots())


def test_times_decide_where_steps_are_even(salt, tmp_path):
    """A run whose time step changed: steps are as far apart as before, times are not."""

    def slower(k, frame, rows):
        return frame.replace(f"ITEM: TIME\n{100.0 * k}", f"ITEM: TIME\n{100.0 * k + max(0, k - 4) * 50}") + "".join(
            rows
        )

    source = open_trajectory([salt, dump(tmp_path / "a.dump", spoil=slower)])
    with pytest.raises(SettingsError, match="ps apart, the first two 0.1 ps"):
        list(source.snapshots())


def test_units_without_times_need_the_interval(salt, tmp_path):
    path = dump(tmp_path / "a.dump", times=False)
    with pytest.raises(SettingsError, match="--frame-interval"):
        open_trajectory([salt, path])
    assert open_trajectory([salt, path], 0.1).frame(1).velocities[0, 0] == pytest.approx(1.0)
    timed = dump(tmp_path / "b.dump", units=None)
    assert open_trajectory([salt, timed], lammps_units="real").system.frame_interval_ps == pytest.approx(0.1)


def test_units_that_are_not_in_angstrom_or_contradict_the_user(salt, tmp_path):
    with pytest.raises(SettingsError, match="in units lj: positions in Å have real and metal only"):
        open_trajectory([salt, dump(tmp_path / "a.dump", units="lj")], 1.0)
    with pytest.raises(SettingsError, match="are metal .--lammps-units., but the dump has units real"):
        open_trajectory([salt, dump(tmp_path / "b.dump")], lammps_units="metal")


def test_a_dump_that_is_cut_short_has_its_whole_frames(salt, tmp_path):
    path = dump(tmp_path / "a.dump")
    path.write_text(path.read_text()[:-40])
    assert len(list(open_trajectory([salt, path]).snapshots())) == 7


def test_a_lost_atom_is_named_with_its_frame(salt, tmp_path):
    def lost(k, frame, rows):
        return frame.replace("ATOMS\n4", "ATOMS\n3") + "".join(rows[:3]) if k == 5 else frame + "".join(rows)

    source = open_trajectory([salt, dump(tmp_path / "a.dump", spoil=lost)])
    with pytest.raises(SettingsError, match="Frame 5 .*it has 3 atoms, the first frame 4"):
        list(source.snapshots())


def test_rows_that_are_too_many_are_said(salt, tmp_path):
    def more(k, frame, rows):
        return frame + "".join(rows) + (rows[0] if k == 2 else "")

    with pytest.raises(SettingsError, match="a frame should begin at '3 1"):
        open_trajectory([salt, dump(tmp_path / "a.dump", spoil=more)])


def test_steps_that_begin_anew_are_found(salt, tmp_path):
    """A run that went on with its steps set back to zero, in one file."""

    def again(k, frame, rows):
        return frame.replace(
            f"ITEM: TIMESTEP\n{50 * k}",
            f"ITEM: TIMESTEP\n{50 * (k - 5)}" if k > 4 else "ITEM: TIMESTEP\n" + str(50 * k),
        ) + "".join(rows)

    source = open_trajectory([salt, dump(tmp_path / "a.dump", units=None, times=False, spoil=again)], 1.0)
    assert len(list(source.snapshots())) == 8, "positions go on, so it is one run"

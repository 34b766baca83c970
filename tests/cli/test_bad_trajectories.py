"""`ilforge analyse` on what users have: each lack is refused in words that say what to supply."""

import MDAnalysis
import numpy as np
import pytest
from click.testing import CliRunner

from ilforge import programs
from ilforge.cli import ilforge, load_commands
from ilforge.dynamics.lammps.program import executable
from ilforge.errors import SettingsError
from ilforge.properties.reading.reader import open_trajectory
from support.motion import brownian, tumbling_ions

N_FRAMES, SIDE = 12, 19.0


@pytest.fixture(scope="module")
def floating():
    """Six pairs of PYR14 and BF4 that float about."""
    return tumbling_ions(N_FRAMES, np.random.default_rng(1), side=SIDE)


@pytest.fixture
def ions(floating):
    """The same, and a Universe to write them with."""
    return *floating, universe_of(floating[0].topology)


def universe_of(topology):
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    for name, values in (("elements", topology.symbols), ("names", topology.names), ("resnames", topology.species)):
        universe.add_TopologyAttr(name, list(values))
    universe.add_TopologyAttr("bonds", [tuple(bond) for bond in topology.bonds.tolist()])
    return universe


def write(path, universe, positions, cells, times=None):
    """A trajectory, and a PDB file of its first frame with bonds beside it; its cell only where there are ``cells``."""
    with MDAnalysis.Writer(str(path), len(universe.atoms)) as writer:
        for index, frame in enumerate(positions):
            universe.atoms.positions = frame
            universe.dimensions = None if cells is None else [*np.diag(cells[index]), 90, 90, 90]
            universe.trajectory.ts.time = float(index) if times is None else times[index]
            writer.write(universe.atoms)
            if index == 0:
                universe.atoms.write(str(path.with_name("top.pdb")), bonds="all")
    return path.with_name("top.pdb"), path


def analyse(*words):
    load_commands()
    arguments = ["analyse", *(str(word) for word in words), "--property", "diffusion"]
    return CliRunner().invoke(ilforge, arguments, catch_exceptions=False)


def test_what_is_whole_is_measured(ions, tmp_path):
    _, positions, cells, universe = ions
    assert analyse(*write(tmp_path / "run.xtc", universe, positions, cells)).exit_code == 0


def test_no_cell(ions, tmp_path):
    _, positions, _, universe = ions
    with pytest.raises(SettingsError, match="Frame 0 has no periodic cell. Give a trajectory that contains it"):
        analyse(*write(tmp_path / "run.xyz", universe, positions, None), "--frame-interval", 1)


def test_time_step_unknown(ions, tmp_path):
    _, positions, cells, universe = ions
    with pytest.raises(SettingsError, match="does not say how much time.*--frame-interval, in ps"):
        analyse(*write(tmp_path / "run.xyz", universe, positions, cells))


def test_plain_xyz_alone(ions, tmp_path):
    """No ions, no cell, no times: the first of them is asked for."""
    _, positions, _, universe = ions
    with pytest.raises(SettingsError, match="do not name their ions.*ions="):
        analyse(write(tmp_path / "run.xyz", universe, positions, None)[1])


@pytest.mark.parametrize("counts", [{"EMIM": 6, "BF4": 6}, {"BF4": 6, "PYR14": 6}], ids=["others", "another order"])
def test_topology_of_another_box(ions, tmp_path, counts):
    _, positions, cells, universe = ions
    trajectory = write(tmp_path / "run.xtc", universe, positions, cells)[1]
    system, others, other_cells = tumbling_ions(1, np.random.default_rng(2), side=SIDE, counts=counts)
    (tmp_path / "other").mkdir()
    topology = write(tmp_path / "other" / "run.xtc", universe_of(system.topology), others, other_cells)[0]
    said = "does not fit the trajectory.*bonds have impossible lengths|has 210 atoms, the topology .* \\d+: give"
    with pytest.raises(SettingsError, match=said):
        analyse(topology, trajectory)


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "nm"), (1 / 0.529177, "Bohr")])
def test_positions_in_another_unit(ions, tmp_path, factor, unit):
    _, positions, cells, universe = ions
    files = write(tmp_path / "run.dcd", universe, factor * positions, factor * cells)
    with pytest.raises(SettingsError, match=f"not in Å but probably in {unit}.*Give a trajectory .* in Å"):
        analyse(*files, "--frame-interval", 1)


def test_topology_that_lacks_the_bonds_to_hydrogen(ions, tmp_path):
    system, positions, cells, universe = ions
    top, trajectory = write(tmp_path / "run.xtc", universe, positions, cells)
    hydrogens = {k + 1 for k, symbol in enumerate(system.topology.symbols) if symbol == "H"}
    kept = []
    for line in top.read_text().splitlines():
        if line.startswith("CONECT"):
            atoms = [int(line[k : k + 5]) for k in range(6, len(line.rstrip()), 5)]
            partners = [atom for atom in atoms[1:] if atom not in hydrogens]
            if atoms[0] in hydrogens or not partners:
                continue
            line = "CONECT" + "".join(f"{atom:5d}" for atom in (atoms[0], *partners))
        kept.append(line)
    top.write_text("\n".join(kept) + "\n")
    with pytest.raises(SettingsError, match=r"topology lacks bonds.*120 pairs.*\(1\.\d\d Å\).*with all bonds"):
        analyse(top, trajectory)


def test_missing_frames(ions, tmp_path):
    _, positions, cells, universe = ions
    times = [float(k + (k > 6)) for k in range(N_FRAMES)]
    with pytest.raises(SettingsError, match="Frames 6 and 7 are 2 ps apart.*missing or doubled"):
        analyse(*write(tmp_path / "run.xtc", universe, positions, cells, times))


@pytest.mark.parametrize("first", [1, 7, 11])
def test_atoms_that_change_their_order(ions, tmp_path, first):
    """From one frame on, as a dump that is not sorted; health would call it molecules that fell apart."""
    system, positions, cells, universe = ions
    mixed = positions.copy()
    order = np.random.default_rng(3).permutation(system.topology.n_atoms)
    mixed[first:] = mixed[first:, order]
    with pytest.raises(SettingsError, match="listed in another order than in the first.*sort"):
        analyse(*write(tmp_path / "run.xtc", universe, mixed, cells))


def test_molecules_that_flew_apart_are_no_change_of_order(ions, tmp_path):
    """They are for `health` to see."""
    _, positions, cells, universe = ions
    blown = positions.copy()
    blown[6:] = np.random.default_rng(4).random(blown[6:].shape) * 3 * SIDE
    files = write(tmp_path / "run.xtc", universe, blown, 3 * cells)
    assert analyse(*files).exit_code == 0


def test_wrapped_frames_too_far_apart(tmp_path):
    """Ions that cross half the cell from frame to frame: whichever image is taken, it may be the wrong one."""
    system, first, _ = tumbling_ions(1, np.random.default_rng(5), side=SIDE)
    topology = system.topology
    paths = brownian(np.full(topology.n_molecules, 8.0), 60, 2.0, np.random.default_rng(6))
    positions = (first + paths[:, topology.molecules]) % SIDE
    cells = np.broadcast_to(SIDE * np.eye(3), (60, 3, 3))
    done = analyse(*write(tmp_path / "run.xtc", universe_of(topology), positions, cells))
    assert done.output.count("its image is ambiguous: give frames closer in time") == 1
    assert done.output.count("not converged, for the same reason") == 1


@pytest.mark.slow
@pytest.mark.program("lmp")
def test_times_of_a_dcd_file_of_lammps(tmp_path):
    """LAMMPS writes its own unit of time where CHARMM's is meant: 49 times too long in units real."""
    data = ["made by hand", "", "4 atoms", "2 bonds", "1 atom types", "1 bond types", ""]
    data += [f"0 20 {axis}lo {axis}hi" for axis in "xyz"] + ["", "Masses", "", "1 18.998", "", "Atoms # bond", ""]
    data += [f"{k} {(k + 1) // 2} 1 {2.0 + 1.4 * (k % 2) + 5 * (k // 3)} 5 5" for k in range(1, 5)]
    data += ["", "Bonds", "", "1 1 1 2", "2 1 3 4"]
    (tmp_path / "pair.data").write_text("\n".join(data) + "\n")
    script = "units real\natom_style bond\nbond_style harmonic\nread_data pair.data\nbond_coeff 1 100 1.4\n"
    script += "pair_style zero 5.0\npair_coeff * *\ndump d all dcd 10 run.dcd\nfix move all nve\nrun 40\n"
    (tmp_path / "in.lammps").write_text(script)
    program, environment = executable()
    environment = {**environment, "LAMMPS_PLUGIN_PATH": ""}  # the DeePMD plugin takes seconds to load
    programs.run([program, "-in", "in.lammps"], tmp_path, log="log", environment=environment)
    files = [tmp_path / "pair.data", tmp_path / "run.dcd"]
    assert MDAnalysis.Universe(*map(str, files)).trajectory.dt == pytest.approx(48.89 * 0.01, rel=1e-3)
    with pytest.raises(SettingsError, match="DCD file of LAMMPS.*--frame-interval, in ps"):
        open_trajectory(files)
    assert open_trajectory(files, frame_interval_ps=0.01).system.n_frames == 5

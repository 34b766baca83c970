"""Reading trajectories of any origin, and saying what is missing from those that lack something."""

import MDAnalysis
import numpy as np
import pytest

from ilforge import frames
from ilforge.dynamics import dcd
from ilforge.errors import SettingsError, Unphysical
from ilforge.properties import measure
from ilforge.properties.reading.reader import open_trajectory, source_of
from ilforge.properties.reading.trajectory_files import frame_interval
from support.motion import tumbling_ions

N_FRAMES = 12


@pytest.fixture(scope="module")
def trajectory():
    return tumbling_ions(N_FRAMES, np.random.default_rng(1))


@pytest.fixture
def universe(trajectory, tmp_path):
    """As a user has it: a topology with bonds, and a file with times and cells."""
    return written(trajectory, tmp_path)


def written(trajectory, tmp_path, order=None, drop=(), residues=True):
    system, positions, cells = trajectory
    topology = system.topology
    order = np.arange(topology.n_atoms) if order is None else order
    place = np.argsort(order)
    # residues are not in order of atoms in files that mix molecules
    made = MDAnalysis.Universe.empty(
        topology.n_atoms,
        n_residues=topology.n_molecules,
        atom_resindex=topology.molecules[order],
        trajectory=True,
    )
    made.add_TopologyAttr("elements", np.array(topology.symbols)[order])
    made.add_TopologyAttr("names", np.array(topology.names)[order])
    if residues:
        made.add_TopologyAttr("resnames", list(topology.species))
    made.add_TopologyAttr("bonds", [tuple(bond) for bond in place[topology.bonds].tolist()])
    file = str(tmp_path / "t.xtc")
    with MDAnalysis.Writer(file, topology.n_atoms) as writer:
        for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
            if index in drop:
                continue
            made.atoms.positions = frame[order]
            made.dimensions = [*np.diag(cell), 90, 90, 90]
            made.trajectory.ts.time = 2.0 * index
            writer.write(made.atoms)
    made.load_new(file)
    return made


@pytest.mark.parametrize(
    ("remarks", "timestep_fs", "words"),
    [
        ("Created by DCD plugin", dcd.AKMA_FS, "as VMD and MDTraj write it"),
        ("CP2K", 0.5 * dcd.AKMA_FS, "of CP2K"),
        ("LAMMPS", 0.5 * dcd.AKMA_FS, "of LAMMPS"),
    ],
)
def test_dcd_files_whose_times_mean_nothing_are_refused(tmp_path, remarks, timestep_fs, words):
    """Headers as VMD's plugin (delta 1, every step), CP2K (fs) and LAMMPS (its own unit) write them."""
    header = bytearray(dcd.header(2, 1, timestep_fs))
    place = header.find(b"ilforge")
    header[place : place + 80] = remarks.encode().ljust(80)
    frames_ = [dcd.frame(np.full((2, 3), 1.0 + k), 20.0 * np.eye(3)) for k in range(3)]
    (tmp_path / "t.dcd").write_bytes(bytes(header) + b"".join(frames_))
    with (tmp_path / "t.dcd").open("r+b") as file:
        dcd.set_n_frames(file, 3)
    made = MDAnalysis.Universe.empty(2, trajectory=True)
    made.load_new(str(tmp_path / "t.dcd"))
    with pytest.raises(SettingsError, match=f"{words}.*--frame-interval"):
        frame_interval(made)


def test_universe_of_a_user(universe, trajectory):
    system, positions, cells = trajectory
    source = source_of(universe)
    assert source.liquid == "6 PYR14, 6 BF4" and source.potential == "unknown"
    assert source.system.frame_interval_ps == pytest.approx(2.0)
    assert source.system.topology.species == system.topology.species
    assert source.system.topology.charges == system.topology.charges
    assert np.array_equal(np.sort(source.system.topology.bonds), np.sort(system.topology.bonds))
    found = list(source.snapshots())
    assert [frame.index for frame in found] == list(range(N_FRAMES))
    assert np.allclose([frame.positions for frame in found], positions, atol=0.01)
    assert np.allclose([frame.cell for frame in found], cells, atol=0.01)


def test_molecules_that_are_not_one_after_the_other(trajectory, tmp_path):
    system, positions, _ = trajectory
    order = np.random.default_rng(2).permutation(system.topology.n_atoms)
    source = source_of(written(trajectory, tmp_path, order))
    topology = source.system.topology
    assert np.all(np.diff(topology.molecules) >= 0)
    assert sorted(topology.species) == sorted(system.topology.species)
    whole = next(iter(source.snapshots())).whole
    lengths = np.linalg.norm(whole[topology.bonds[:, 0]] - whole[topology.bonds[:, 1]], axis=1)
    assert lengths.max() < 1.8
    rdf = measure(source, ["rdf"])["rdf"].curves
    straight = measure(written(trajectory, tmp_path), ["rdf"])["rdf"].curves
    assert np.allclose(rdf["rdf PYR14-PYR14"].y, straight["rdf PYR14-PYR14"].y)


def test_ions_whose_names_a_pdb_file_cuts_are_those_of_the_catalogue(universe, trajectory, tmp_path):
    """PYR1 for PYR14: its atoms say which ion it is. Otherwise σ would be that of half the ions."""
    universe.trajectory[0]
    universe.atoms.write(str(tmp_path / "top.pdb"), bonds="all")
    source = open_trajectory([tmp_path / "top.pdb", tmp_path / "t.xtc"])
    assert source.liquid == "6 PYR14, 6 BF4" and source.system.unknown_charges == ()
    assert source.system.topology.charges == trajectory[0].topology.charges


def test_topology_can_be_given(universe, trajectory):
    universe.del_TopologyAttr("bonds")
    source = source_of(universe, topology=trajectory[0].topology)
    assert source.liquid == "6 PYR14, 6 BF4"


def test_time_step_can_be_given_and_overrides(universe):
    source = source_of(universe, frame_interval_ps=0.5, temperature_K=300.0)
    assert source.system.frame_interval_ps == 0.5 and source.temperature_K == 300.0
    assert [frame.time_ps for frame in source.snapshots()] == [0.5 * k for k in range(N_FRAMES)]


def test_no_bonds(universe):
    universe.del_TopologyAttr("bonds")
    with pytest.raises(SettingsError, match="no bonds.*tpr, psf"):
        source_of(universe)


def test_no_elements(universe):
    universe.del_TopologyAttr("elements")
    with pytest.raises(SettingsError, match="does not contain elements.*add_TopologyAttr"):
        source_of(universe)


def test_elements_by_mass(universe, trajectory):
    universe.del_TopologyAttr("elements")
    universe.add_TopologyAttr("masses", np.round(trajectory[0].topology.masses, 2))
    assert source_of(universe).system.topology.symbols == trajectory[0].topology.symbols
    universe.atoms.masses = universe.atoms.masses + 2.0
    with pytest.raises(SettingsError, match="does not contain elements"):
        source_of(universe)


def test_no_cell(universe):
    from MDAnalysis.transformations import set_dimensions

    universe.trajectory.add_transformations(set_dimensions([0, 0, 0, 90, 90, 90]))
    with pytest.raises(SettingsError, match="Frame 0 has no periodic cell.*set_dimensions"):
        measure(universe, ["density"])


def test_no_time_step(trajectory, tmp_path):
    from support.motion import snapshots

    system, positions, cells = trajectory
    path = tmp_path / "t.xyz"
    path.write_text(
        "".join(
            f"{system.topology.n_atoms}\n\n"
            + "".join(f"{s} {x} {y} {z}\n" for s, (x, y, z) in zip(system.topology.symbols, frame, strict=True))
            for frame in (s.positions for s in snapshots(system, positions, cells))
        )
    )
    universe = MDAnalysis.Universe(str(path))
    with pytest.raises(SettingsError, match="time.*--frame-interval"):
        source_of(universe, topology=system.topology)


def test_a_file_that_begins_with_the_last_frame_of_the_one_before(universe, tmp_path):
    """Each file's times begin at zero, so that they tell nothing."""
    for name, part in (("a.xtc", slice(0, 5)), ("doubled.xtc", slice(4, 10)), ("next.xtc", slice(5, 10))):
        with MDAnalysis.Writer(str(tmp_path / name), universe.atoms.n_atoms) as writer:
            for step in universe.trajectory[part]:
                step.time -= 2.0 * part.start
                writer.write(universe.atoms)
    universe.load_new([str(tmp_path / "a.xtc"), str(tmp_path / "next.xtc")])
    assert source_of(universe).system.n_frames == 10
    universe.load_new([str(tmp_path / "a.xtc"), str(tmp_path / "doubled.xtc")])
    with pytest.raises(SettingsError, match="Frames 4 and 5 are the same: a file begins with the last frame"):
        source_of(universe)
    (tmp_path / "a.xtc").write_bytes((tmp_path / "a.xtc").read_bytes()[:-100])
    universe.load_new([str(tmp_path / "a.xtc"), str(tmp_path / "next.xtc")])
    with pytest.raises(SettingsError, match="Frame 4 of the trajectory cannot be read"):
        source_of(universe)


def test_missing_frames(trajectory, tmp_path):
    universe = written(trajectory, tmp_path, drop=(5,))
    with pytest.raises(SettingsError, match="Frames 4 and 5 are 4 ps apart"):
        measure(universe, ["density"])
    with pytest.raises(SettingsError, match="Frames 4 and 5 are 1 ps apart"):
        measure(universe, ["density"], frame_interval_ps=0.5)


def test_topology_of_something_else(universe, trajectory):
    from ilforge.liquid.liquid import Liquid

    with pytest.raises(SettingsError, match="has 35 atoms.*has 210"):
        source_of(universe, topology=Liquid.of({"PYR14": 1, "BF4": 1}).topology)
    swapped = Liquid.of({"BF4": 6, "PYR14": 6}).topology
    with pytest.raises(SettingsError, match="atom 1 is B in the topology, N in the trajectory"):
        source_of(universe, topology=swapped)


def test_bonds_that_do_not_fit_the_frames(universe, trajectory):
    order = np.arange(210)
    carbons = np.flatnonzero(np.array(trajectory[0].topology.symbols) == "C")
    order[carbons] = np.roll(carbons, 4)
    universe.trajectory.add_transformations(lambda frame: scramble(frame, order))
    with pytest.raises(SettingsError, match="does not fit the trajectory.*impossible lengths"):
        measure(universe, ["density"])


def scramble(frame, order):
    frame.positions = frame.positions[order]
    return frame


def test_other_number_of_atoms(universe, trajectory, tmp_path):
    universe.atoms[:100].write(str(tmp_path / "part.xtc"), frames="all")
    with pytest.raises((SettingsError, ValueError)):
        universe.load_new(str(tmp_path / "part.xtc"))
        measure(universe, ["density"])


def test_positions_that_are_not_numbers(universe):
    def spoil(frame):
        if frame.frame == 3:
            frame.positions = frame.positions * np.nan
        return frame

    universe.trajectory.add_transformations(spoil)
    with pytest.raises(Unphysical, match="Frame 3"):
        measure(universe, ["density"])


def test_frames_of_extended_xyz(trajectory, tmp_path):
    from ase import Atoms

    system, positions, cells = trajectory
    made = [
        Atoms(system.topology.symbols, frame, cell=cell, pbc=True, info={"ions": "6 PYR14, 6 BF4"})
        for frame, cell in zip(positions, cells, strict=True)
    ]
    frames.write(tmp_path / "run.xyz", made)
    source = open_trajectory([tmp_path / "run.xyz"], frame_interval_ps=1.0)
    direct = measure(made, ["rdf"], frame_interval_ps=1.0)["rdf"]
    assert measure(source, ["rdf"])["rdf"].curves["rdf PYR14-BF4"].y == pytest.approx(
        direct.curves["rdf PYR14-BF4"].y, abs=0.02
    )
    with pytest.raises(SettingsError, match="--frame-interval"):
        open_trajectory([tmp_path / "run.xyz"])
    made[3].symbols[0] = "P"
    with pytest.raises(SettingsError, match="atom 1 is N in the topology, P in frame 3"):
        measure(made, ["density"], frame_interval_ps=1.0)
    del made[0].info["ions"]
    with pytest.raises(SettingsError, match="ions="):
        source_of(made, frame_interval_ps=1.0)


def test_files_by_name(universe, trajectory, tmp_path):
    universe.trajectory[0]
    universe.atoms.write(str(tmp_path / "top.pdb"), bonds="all")
    source = open_trajectory([tmp_path / "top.pdb", tmp_path / "t.xtc"], temperature_K=423.0)
    assert source.system.n_frames == N_FRAMES and source.temperature_K == 423.0
    with pytest.raises(SettingsError, match="no file or directory"):
        open_trajectory([tmp_path / "nothing.pdb"])
    (tmp_path / "broken.xtc").write_bytes(b"not a trajectory")
    with pytest.raises(SettingsError, match="cannot be read"):
        open_trajectory([tmp_path / "top.pdb", tmp_path / "broken.xtc"])


def test_a_run_at_constant_energy_has_the_temperature_that_it_had(two_pairs, tmp_path):
    """Not that of its start, which says so in its health; two such runs have the mean of both."""
    from ilforge import potentials
    from ilforge.dynamics import MdProtocol, run_md
    from ilforge.liquid.liquid import Liquid
    from ilforge.properties.combining.replicas import open_replicas

    liquid = Liquid.from_label(two_pairs.info["ions"])
    clp = potentials.create({"kind": "clp", "cutoff_A": 4.0})
    means = []
    for seed in (1, 2):
        protocol = MdProtocol("NVE", 423.0, timestep_fs=0.5, length_ps=0.1, interval_ps=0.005, seed=seed)
        run = run_md(clp, two_pairs, liquid, protocol, tmp_path / f"run-{seed}")
        means.append(run.thermo()["temperature_K"].mean())
        assert source_of(run).temperature_K == pytest.approx(means[-1]) and abs(means[-1] - 423) > 1
        assert source_of(run, temperature_K=423.0).temperature_K == 423.0
        said = [verdict.what for verdict in measure(run, ["health"])["health"].verdicts]
        assert any(f"is {means[-1]:.0f} ±" in what and "423 K was set at the start" in what for what in said)
    both = open_replicas([tmp_path / "run-1", tmp_path / "run-2"])
    assert [one.temperature_K for one in both] == pytest.approx([np.mean(means)] * 2)
    protocol = MdProtocol("NVE", 423.0, 0.5, length_ps=0.1, interval_ps=0.005, seed=1, keep_velocities=True)
    (last,) = frames.read(run.last_file)
    last.set_velocities(0.5 * last.get_velocities())  # nothing was set, so that nothing is off
    run = run_md(clp, last, liquid, protocol, tmp_path / "cold")
    assert not any("temperature" in verdict.what for verdict in measure(run, ["health"])["health"].verdicts)
    with pytest.raises(SettingsError, match="do not have the same temperature"):
        open_replicas([tmp_path / "run-1", tmp_path / "cold"])


def test_run_of_ilforge(two_pairs, topology_of, tmp_path):
    """One pass over a run of our own, with what its thermostat said."""
    from ilforge import potentials
    from ilforge.dynamics import MdProtocol, run_md
    from ilforge.liquid.liquid import Liquid

    protocol = MdProtocol("NPT", 423.0, timestep_fs=0.5, length_ps=0.1, interval_ps=0.005, seed=3)
    liquid = Liquid.from_label(two_pairs.info["ions"])
    potential = potentials.create({"kind": "clp", "cutoff_A": 4.0})
    run = run_md(potential, two_pairs, liquid, protocol, tmp_path / "run")
    source = source_of(run)
    assert (source.liquid, source.potential, source.temperature_K) == ("2 PYR14, 2 BF4", "clp", 423.0)
    assert source.system.ensemble == "NPT" and source.system.fault is None
    assert source.system.topology.species == topology_of(two_pairs).species
    assert source.system.topology.charges == topology_of(two_pairs).charges
    found = list(source.snapshots())
    thermo = run.thermo()
    assert len(found) == len(thermo["time_ps"]) == 20
    assert np.allclose([frame.volume for frame in found], thermo["volume_A3"], rtol=1e-5)
    assert np.allclose([frame.temperature_K for frame in found], thermo["temperature_K"])
    result = measure(run)
    assert set(result) == {"density", "diffusion", "rdf", "health"}
    assert not any(e.converged for q, _, e in result["diffusion"].estimates)
    again = open_trajectory([run.directory])
    assert again.liquid == source.liquid


def test_unknown_property(universe):
    with pytest.raises(SettingsError, match="'denisty' is not a kind of property. Did you mean density"):
        measure(universe, ["denisty"])


def test_velocities_of_a_trajectory_come_in_the_order_of_its_atoms(trajectory, tmp_path):
    """A TRR file, which keeps velocities in nm/ps; molecules mixed, so that atoms are reordered with them."""
    system, positions, cells = trajectory
    order = np.random.default_rng(5).permutation(system.topology.n_atoms)
    velocities = np.random.default_rng(6).normal(size=positions.shape)
    mixed = written(trajectory, tmp_path, order=order)
    path = tmp_path / "run.trr"
    blank = mixed.copy()
    with MDAnalysis.Writer(str(path), len(order)) as writer:
        for index in range(3):
            frame = blank.trajectory.ts
            frame.has_velocities = True
            frame.time, frame.frame = float(index), index
            frame.positions, frame.velocities = positions[index][order], velocities[index][order]
            frame.dimensions = [*np.diag(cells[index]), 90, 90, 90]
            writer.write(blank.atoms)
    mixed.load_new(str(path))
    for index, snapshot in enumerate(source_of(mixed).snapshots()):
        # atoms come back molecule by molecule, their velocities with them
        nearest = np.linalg.norm(snapshot.positions[:, None] - positions[index][None], axis=-1).argmin(axis=1)
        np.testing.assert_allclose(snapshot.velocities, velocities[index][nearest], atol=1e-4)
    without = source_of(written(trajectory, tmp_path))
    assert next(without.snapshots()).velocities is None

"""Solvation clusters: known by construction, against MDAnalysis, and residence times of known processes."""

import warnings

import numpy as np
import pytest
from ase.io import read

from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.properties import System, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.clusters import Residence, first_shell
from ilforge.properties.kernels.contacts import aggregate_sizes, close_pairs, contact_correlations, with_release
from ilforge.properties.kernels.populations import decay_time, population, relaxation
from ilforge.properties.shared.local_structure import ClustersSettings, SolvationSettings
from ilforge.properties.shared.solvation import Contacts, Solvation
from support.clusters import box_of
from support.motion import atomic_ions, estimate, measured, snapshots

SKEWED = np.array([[12.0, 0, 0], [3.0, 11.0, 0], [-2.0, 1.0, 10.0]])


def all_images(a, b, cell, cutoff):
    lattice = np.stack(np.meshgrid(*[[-2, -1, 0, 1, 2]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    apart = a[:, None, None] - b[None, :, None] + lattice
    shortest = np.linalg.norm(apart, axis=-1).min(axis=-1)
    i, j = np.nonzero(shortest < cutoff)
    return i, j, shortest[i, j]


@pytest.mark.parametrize("cutoff", [2.0, 4.9, 7.5])
def test_close_pairs_are_those_of_all_images(cutoff):
    """Below and above half the height of a skewed cell, where one way of counting ends and the other begins."""
    rng = np.random.default_rng(1)
    a, b = (rng.random((n, 3)) @ SKEWED for n in (7, 30))
    wandered = b + rng.integers(-3, 4, size=(30, 3)) @ SKEWED
    for found, expected in zip(close_pairs(a, wandered, SKEWED, cutoff), all_images(a, b, SKEWED, cutoff), strict=True):
        assert np.allclose(found, expected)


def test_a_contact_ends_only_beyond_the_release():
    distance = np.array([2.7, 2.4, 2.7, 2.9, 2.4, 2.8, 2.6])
    frame = np.array([0, 1, 2, 3, 6, 7, 10])
    held = with_release(frame, np.zeros(7, dtype=int), distance, 2.5, 3.0)
    assert held.tolist() == [False, True, True, True, True, True, False]
    both = with_release(np.tile(frame, 2), np.repeat([4, 9], 7), np.tile(distance, 2), 2.5, 3.0)
    assert both.tolist() == 2 * held.tolist()
    assert with_release(frame[:0], frame[:0], distance[:0], 2.5, 3.0).tolist() == []


def test_correlation_functions_are_those_of_the_double_loop():
    rng = np.random.default_rng(2)
    h = rng.random((5, 40)) < 0.6
    pair, frame = np.nonzero(h)
    group = np.array([0, 0, 1, 1, 1])
    found = contact_correlations(frame, pair, group[pair], 40, 2, 19)
    expected = np.zeros((3, 2, 20))
    for p in range(5):
        for k in range(20):
            for t in range(40 - k):
                if h[p, t]:
                    expected[:, group[p], k] += [h[p, t + k], h[p, t : t + k + 1].all(), 1]
    assert np.allclose(found, expected)


def test_aggregates_are_those_of_a_walk():
    frame, cation, ligand = np.array([0, 0, 0, 0, 0, 1, 1, 1]), np.array([0, 1, 1, 2, 3, 0, 3, 1]), np.array(
        [5, 5, 6, 6, 7, 1, 1, 2]
    )  # fmt: skip
    assert aggregate_sizes(frame, cation, ligand, (3, 4)).tolist() == [[3, 3, 3, 1], [2, 1, 1, 2], [1, 1, 1, 1]]


KINDS = [(4, 0), (3, 0), (2, 1), (2, 1), (0, 2), (1, 1), (3, 0), (3, 1), (2, 1), (1, 2)]


@pytest.fixture(scope="module")
def known():
    return box_of(KINDS, 30, np.random.default_rng(3), bridged=2)


def test_clusters_known_by_construction_are_found(known):
    """Molecules cut by the boundary of a skewed cell; the cutoff comes from g(r)."""
    system, positions, cell = known
    result = measured("clusters", system, snapshots(system, positions, cell))
    (note,) = result.notes
    assert "first minimum of g(r)" in note and 2.2 < float(note.split("within ")[1].split()[0]) < 3.3
    expected = [a + b for a, b in KINDS] + [1, 1]  # two more cations on the first ligands
    for n in set(expected):
        share = estimate(result, "cluster_population", f"Li(TFSI){n}")
        assert share.value == pytest.approx(100 * expected.count(n) / 12)
    assert estimate(result, "coordinating_ligands", "Li-TFSI").value == pytest.approx(np.mean(expected))
    atoms = [a + 2 * b for a, b in KINDS] + [1, 1]
    assert estimate(result, "coordinating_atoms", "Li-TFSI").value == pytest.approx(np.mean(atoms))
    assert estimate(result, "bidentate_ligands", "Li-TFSI").value == pytest.approx(sum(b for _, b in KINDS) / 12)
    assert estimate(result, "bridged_cations", "Li-TFSI").value == pytest.approx(100 * 4 / 12)
    sizes = result.tables["aggregates Li"]
    assert sizes.column("n_cations") == [1, 2]
    assert np.allclose(sizes.column("cations_percent"), [100 * 8 / 12, 100 * 4 / 12])
    assert np.allclose(sizes.column("aggregates_per_frame"), [8, 2])
    kinds = result.tables["kinds Li"]
    found = {row[2:4]: row[5] for row in kinds.rows}
    assert found[3, 0] == pytest.approx(100 * 2 / 12) and found[2, 1] == pytest.approx(100 * 3 / 12)


def test_clusters_that_never_change_are_no_result(known):
    """Twelve cations frozen in what they started as: no error over time would show it."""
    system, positions, cell = known
    result = measured("clusters", system, snapshots(system, positions, cell))
    share = estimate(result, "cluster_population", "Li(TFSI)3")
    assert not share.converged and "run at least" in share.note
    assert share.error == pytest.approx(100 * np.sqrt(0.5**2 / 11), rel=0.05)  # half of the cations have three
    stay = estimate(result, "residence_time_continuous", "Li-TFSI")
    assert not stay.converged and "no ligand left" in stay.note


def test_table_5_comes_as_tidy_rows(known):
    system, positions, cell = known
    table = measured("clusters", system, snapshots(system, positions, cell)).tables["populations Li"]
    assert table.columns[:4] == ("x_LiTFSI", "T_K", "definition", "n_TFSI")
    n_cations = sum(charge > 0 for charge in system.topology.charges)
    assert set(table.column("x_LiTFSI")) == {12 / n_cations} and set(table.column("T_K")) == {423.0}
    for definition in ("first shell", "N within 6 Å"):
        shares = [row[4] for row in table.rows if row[2] == definition]
        assert sum(shares) == pytest.approx(100)
    first = {row[3]: row for row in table.rows if row[2] == "first shell"}
    assert first[3][8] == pytest.approx(100 - sum(first[n][4] for n in (2, 3, 4)))


def test_pictures_are_whole_clusters(known):
    """Every example has its ligands around it in one piece, at the distances they coordinate at."""
    from io import StringIO

    system, positions, cell = known
    result = measured("clusters", system, snapshots(system, positions, cell))
    assert result.structures
    for name, text in result.structures.items():
        atoms = read(StringIO(text), format="extxyz")
        n = int(name.split(")")[1].split()[0])
        assert len(atoms) == 1 + 15 * n and atoms[0].symbol == "Li"
        oxygen = np.array([atom.position for atom in atoms if atom.symbol == "O"])
        single, double = (int(word) for word in name.split()[1::2])
        assert np.sum(np.linalg.norm(oxygen, axis=1) < 2.5) == single + 2 * double
        bonds = np.linalg.norm(atoms.positions[1:16] - atoms.positions[1], axis=1) if n else np.zeros(1)
        assert bonds.max() < 8.0


def random_liquid(n_frames, rng, side=24.0):
    liquid = Liquid.of({"PYR14": 6, "Li": 4, "TFSI": 10})
    shapes = np.concatenate([ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)])
    topology = liquid.topology
    centres = rng.random((n_frames, topology.n_molecules, 3)) * side
    positions = shapes + centres[:, topology.molecules]
    return topology, (positions - np.floor(positions / side) * side).astype(np.float32), side * np.eye(3)


@pytest.mark.parametrize("cutoff", [3.5, 5.0])
def test_same_as_a_loop_written_in_mdanalysis(cutoff):
    import MDAnalysis
    from MDAnalysis.lib.distances import distance_array

    topology, positions, cell = random_liquid(25, np.random.default_rng(4))
    system = System(topology, 25, 1.0)
    universe = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules, trajectory=True
    )
    universe.add_TopologyAttr("names", list(topology.symbols))
    universe.add_TopologyAttr("resnames", list(topology.species))
    universe.add_TopologyAttr("resids", list(range(topology.n_molecules)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe.load_new(positions, dimensions=np.tile([24.0, 24, 24, 90, 90, 90], (25, 1)))
    lithium = universe.select_atoms("resname Li")
    expected, near = np.zeros((25, 4), dtype=int), np.zeros((25, 4), dtype=int)
    for frame in universe.trajectory:
        for k, cation in enumerate(lithium):
            around = universe.select_atoms(f"resname TFSI and name O and around {cutoff} index {cation.index}")
            expected[frame.frame, k] = len(np.unique(around.resids))
        nitrogen = universe.select_atoms("resname TFSI and name N")
        near[frame.frame] = (distance_array(lithium, nitrogen, box=frame.dimensions) < 6.0).sum(axis=1)
    assert expected.max() > 1
    solvation = Solvation(ClustersSettings(cutoff_A=cutoff), "analysis.clusters")
    assert solvation.begin(system) == ""
    for snapshot in snapshots(system, positions, cell):
        solvation.add(solvation.look(snapshot))
    assert np.array_equal(first_shell(solvation.contacts(cutoff), (25, 4)).ligands, expected)
    settings = AnalysisSettings(clusters=ClustersSettings(cutoff_A=cutoff))
    result = measured("clusters", system, snapshots(system, positions, cell), settings.clusters)
    for n in np.unique(near):
        share = estimate(result, "near_population", f"Li(TFSI){n}")
        assert share.value == pytest.approx(100 * np.mean(near == n))


def two_state(n_cations, n_ligands, n_frames, off, on, rng):
    """Contacts that end with probability ``off`` and begin with ``on`` from frame to frame, in equilibrium."""
    h = np.zeros((n_frames, n_cations, n_ligands), dtype=bool)
    h[0] = rng.random(h.shape[1:]) < on / (on + off)
    for t in range(1, n_frames):
        u = rng.random(h.shape[1:])
        h[t] = np.where(h[t - 1], u >= off, u < on)
    frame, cation, ligand = np.nonzero(h)
    return Contacts(frame, cation, ligand, ligand, np.full(len(frame), 2.0, dtype=np.float32))


def test_residence_times_of_a_two_state_process():
    """Both times within two errors in at least nine of ten runs, and the errors no larger than they need be."""
    off, on, interval = 0.04, 0.01, 0.5
    exact = {"continuous": -interval / np.log(1 - off), "intermittent": -interval / np.log(1 - off - on)}
    inside, errors = [], []
    for seed in range(40):
        contacts = two_state(20, 8, 600, off, on, np.random.default_rng(seed))
        residence = Residence(contacts, (600, 20), 8, interval)
        for kind, value in exact.items():
            found = residence.time(kind)
            assert found.converged and found.unit == "ps"
            inside.append(abs(found.value - value) < 1.96 * found.error)
            errors.append(found.error / value)
    assert np.mean(inside) >= 0.9
    assert np.mean(errors) < 0.08


def test_residence_that_becomes_shorter_along_the_run_is_not_converged():
    rng = np.random.default_rng(1)
    first, second = (two_state(20, 8, 400, off, off / 4, rng) for off in (0.02, 0.06))
    together = [np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("cation", "ligand", "site")]
    frame = np.concatenate([first.frame, second.frame + 400])
    contacts = Contacts(frame, *together, np.full(len(frame), 2.0, dtype=np.float32))
    found = Residence(contacts, (800, 20), 8, 0.5).time("intermittent")
    assert not found.converged and not found.steady
    assert "the number of ligands that leave a cation changes from" in found.note


def test_an_ion_is_no_neighbour_of_itself():
    """An ideal gas of one kind, each ion both cation and ligand: g(r) = 1, and contacts have no memory."""
    rng, n = np.random.default_rng(2), 6
    system = System(atomic_ions(Li=n), 3000, 1.0, 423.0)
    solvation = Solvation(SolvationSettings(cation="Li", ligand="Li", ligand_atoms="Li", cutoff_A=4.0), "here")
    assert solvation.begin(system) == ""
    for snapshot in snapshots(system, 10 * rng.random((3000, n, 3)), 10 * np.eye(3)):
        solvation.add(solvation.look(snapshot))
    r, g = solvation.pair_function()
    weights = r**2
    assert np.average(g.mean(axis=0), weights=weights) == pytest.approx(1.0, abs=0.03)
    residence = Residence(solvation.contacts(4.0), (3000, n), solvation.n_candidates, 1.0)
    assert np.abs(residence.function("intermittent")[1:1000]).mean() < 0.02
    alone = Solvation(SolvationSettings(cation="Li", ligand="Li", ligand_atoms="Li", cutoff_A=4.0), "here")
    assert "no other Li is around it" in alone.begin(System(atomic_ions(Li=1), 3, 1.0, 423.0))


def test_residence_longer_than_the_run_says_how_long_it_takes():
    contacts = two_state(8, 12, 200, 0.002, 0.0005, np.random.default_rng(5))
    found = Residence(contacts, (200, 8), 12, 1.0).time("continuous")
    assert not found.converged and np.isnan(found.value) and "departure" in found.note


def test_decay_time_of_an_exponential():
    times = np.arange(400)
    for tau in (5.0, 20.0, 60.0):
        assert decay_time(np.exp(-times / tau), 0.5) == pytest.approx(0.5 * tau, rel=0.01)
    assert np.isnan(decay_time(np.exp(-times / 400.0), 0.5))


def test_a_slow_tail_counts_as_far_as_it_stands_out_of_the_noise():
    """0.85 of the contacts with 10 ps, 0.15 with 800 ps: 128.5 ps, of which the fast ones are 8.5."""
    times = np.arange(10000.0)
    two = 0.85 * np.exp(-times / 10) + 0.15 * np.exp(-times / 800)
    rng = np.random.default_rng(7)
    noisy = two + 0.002 * np.convolve(rng.normal(size=10049), np.ones(50) / np.sqrt(50), "valid")
    assert decay_time(noisy, 1.0, np.full(10000, 0.004)) == pytest.approx(128.5, rel=0.08)
    assert np.isnan(decay_time(two[:300], 1.0, np.full(300, 0.01))), "what the tail would be is a guess"


def test_cations_that_never_lose_a_ligand_keep_a_residence_time_from_converging():
    """17 of 20 exchange within 20 ps, 3 never: C(t) falls to 0.2 fast, and says nothing of these."""
    moving = two_state(17, 12, 2000, 0.05, 0.02, np.random.default_rng(8))
    frame = np.repeat(np.arange(2000), 12)
    stuck = np.tile(np.repeat([17, 18, 19], 4), 2000), np.tile(np.arange(12), 2000)
    parts = [(moving.frame, frame), (moving.cation, stuck[0]), (moving.ligand, stuck[1])]
    joined = [np.concatenate(part) for part in parts]
    order = np.argsort(joined[0], kind="stable")
    frame, cation, ligand = (part[order] for part in joined)
    contacts = Contacts(frame, cation, ligand, ligand, np.full(len(frame), 2.0))
    found = Residence(contacts, (2000, 20), 12, 1.0).time("continuous")
    assert not found.converged and "of the contacts last longer than 1e+03 ps" in found.note


def jumping(n_frames, n_ions, leave, enter, rng):
    state = np.zeros((n_frames, n_ions), dtype=bool)
    state[0] = rng.random(n_ions) < enter / (leave + enter)
    for t in range(1, n_frames):
        u = rng.random(n_ions)
        state[t] = np.where(state[t - 1], u >= leave, u < enter)
    return state


@pytest.mark.parametrize(("n_ions", "leave"), [(20, 0.05), (40, 0.005), (1, 0.1)])
def test_errors_of_populations_cover_the_truth(n_ions, leave):
    """Ions that change often and ions that hardly change in the run: both errors are of one formula."""
    enter, inside = leave / 3, []
    for seed in range(120):
        visits = jumping(800, n_ions, leave, enter, np.random.default_rng(seed))
        found = population(visits, relaxation(visits), 2.0, 1.0)
        inside.append(abs(found.value - 25.0) < 1.96 * found.error)
    assert np.mean(inside) >= 0.9


def test_relaxation_of_a_known_process():
    """g = (1 + λ) / (1 - λ) for a correlation λ^t, and the whole run for ions that never change."""
    visits = jumping(4000, 50, 0.06, 0.04, np.random.default_rng(6))
    assert relaxation(visits).inefficiency == pytest.approx(1.9 / 0.1, rel=0.1)
    frozen = np.tile(np.arange(10) % 2 == 0, (300, 1))
    assert relaxation(frozen) == (300.0, 10.0)


def test_any_cation_around_any_ligand():
    """PYR14 by its N, and BF4 by its F."""
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    positions = np.concatenate([ion.positions for ion, _ in Liquid.of({"PYR14": 1, "BF4": 1}).ions])
    nitrogen = topology.symbols.index("N")
    fluorine = topology.symbols.index("F")
    positions[-5:] += positions[nitrogen] - positions[fluorine] + [3.9, 0, 0]
    system = System(topology, 6, 1.0)
    frames = list(snapshots(system, np.tile(positions, (6, 1, 1)), 30 * np.eye(3)))
    settings = ClustersSettings(
        cation="PYR14", cation_atom="N", ligand="BF4", ligand_atoms="F", cutoff_A=4.0, count_atom="B"
    )
    result = measured("clusters", system, frames, settings)
    assert estimate(result, "cluster_population", "PYR14(BF4)1").value == 100.0
    loose = settings.model_copy(update={"cation_atom": "C"})
    with pytest.raises(SettingsError, match="cation_atom.*9 atoms of PYR14"):
        measured("clusters", system, frames, loose)


def test_liquid_without_lithium_is_told_so():
    topology = atomic_ions(Cs=2, F=2)
    system = System(topology, 2, 1.0)
    frames = list(snapshots(system, np.zeros((2, 4, 3)), 10 * np.eye(3)))
    assert "no Li" in measured("clusters", system, frames).notes[0]
    with pytest.raises(SettingsError, match="analysis.clusters.cation is 'Na'.*Cs, F"):
        measured("clusters", system, frames, ClustersSettings(cation="Na"))
    with pytest.raises(SettingsError, match="ligand_atoms is 'O'.*elements F"):
        measured("clusters", system, frames, ClustersSettings(cation="Cs", ligand="F"))


def test_box_smaller_than_the_distance_is_no_obstacle():
    """Training boxes: a ligand within 6 Å in two images counts once."""
    topology, positions, cell = random_liquid(3, np.random.default_rng(7), side=9.5)
    system = System(topology, 3, 1.0)
    result = measured("clusters", system, snapshots(system, positions, cell), ClustersSettings(cutoff_A=2.8))
    most = max(int(species.split(")")[1]) for q, species, _ in result.estimates if q == "near_population")
    assert most <= 10


def test_reached_through_measure():
    from ase import Atoms

    topology, positions, cell = random_liquid(8, np.random.default_rng(8))
    frames = [Atoms(topology.symbols, p, cell=cell, pbc=True) for p in positions.astype(float)]
    settings = AnalysisSettings(properties=["clusters"], clusters=ClustersSettings(cutoff_A=3.0))
    found = measure(frames, ["clusters"], settings, topology=topology, frame_interval_ps=1.0)["clusters"]
    assert any(quantity == "cluster_population" for quantity, _, _ in found.estimates)

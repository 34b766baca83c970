"""Radial distribution functions of ideal gases, lattices and random ions."""

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.properties import System
from ilforge.properties.kernels.pairs import class_histogram
from ilforge.properties.kernels.shells import Course, first_shell, gap
from ilforge.properties.rdf import find_site
from ilforge.properties.shared.settings import RdfSettings
from support.motion import atomic_ions, estimate, measured, snapshots

SKEWED = np.array([[12.0, 0, 0], [3.0, 11.0, 0], [-2.0, 1.0, 10.0]])


def test_histogram_equals_every_pair_by_hand():
    rng = np.random.default_rng(1)
    points = rng.random((60, 3)) @ SKEWED + rng.integers(-3, 4, size=(60, 3)) @ SKEWED
    classes, molecules = rng.integers(0, 3, 60), rng.integers(0, 20, 60)
    found = class_histogram(points, SKEWED, classes, molecules, 3, 4.5, 9)
    expected = np.zeros((3, 3, 9))
    lattice = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) @ SKEWED
    fractional = points @ np.linalg.inv(SKEWED)
    points = (fractional - np.floor(fractional)) @ SKEWED
    for i in range(60):
        for j in range(i):
            distances = np.linalg.norm(points[i] - points[j] + lattice, axis=1)
            for distance in distances[(distances < 4.5) & (molecules[i] != molecules[j])]:
                expected[classes[i], classes[j], int(distance / 0.5)] += 1
    assert np.array_equal(found + found.transpose(1, 0, 2), expected + expected.transpose(1, 0, 2))


@pytest.mark.parametrize("counts", [{"Cs": 40, "F": 25}, {"Cs": 2, "F": 3}])
def test_ideal_gas_has_g_of_one(counts):
    """However few particles there are, and under NPT: the normalisation counts pairs, not N squared."""
    rng = np.random.default_rng(2)
    topology = atomic_ions(**counts)
    n = 400 if topology.n_atoms > 10 else 4000
    sides = 12 * (1 + 0.02 * rng.normal(size=n))
    cells = sides[:, None, None] * np.eye(3)
    positions = rng.random((n, topology.n_atoms, 3)) * sides[:, None, None]
    result = measured("rdf", System(topology, n, 1.0), snapshots(System(topology, n, 1.0), positions, cells))
    for pair in ("Cs-Cs", "Cs-F", "F-F"):
        curve = result.curves[f"rdf {pair}"]
        assert curve.x[-1] < 0.5 * sides.min()
        weights = curve.x**2
        assert np.average(curve.y, weights=weights) == pytest.approx(1.0, abs=0.03)
        far = curve.x > 1.5
        assert np.mean(np.abs(curve.y[far] - 1) < 3 * curve.error[far]) > 0.9
        assert not estimate(result, "rdf_first_peak", pair).converged
    count = result.curves["coordination Cs-F"]
    expected = counts["F"] * 4 / 3 * np.pi * count.x[-1] ** 3 * np.mean(sides**-3.0)
    assert count.y[-1] == pytest.approx(expected, rel=0.05)


def caesium_chloride(side, repeats, n_frames, rng):
    """Rattling CsCl lattice: both ions' positions, ``(n_frames, 2 repeats³, 3)``, and its cell."""
    corners = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = side * np.concatenate([corners, corners + 0.5])
    return sites + 0.1 * rng.normal(size=(n_frames, len(sites), 3)), side * repeats * np.eye(3)


def test_lattice_has_its_known_shells():
    rng = np.random.default_rng(3)
    positions, cell = caesium_chloride(4.1, 4, 40, rng)
    topology = atomic_ions(Cs=64, Cl=64)
    system = System(topology, 40, 1.0)
    result = measured("rdf", system, snapshots(system, positions, cell))
    for pair, distance, neighbours in (("Cs-Cl", 4.1 * np.sqrt(3) / 2, 8), ("Cs-Cs", 4.1, 6), ("Cl-Cl", 4.1, 6)):
        peak = estimate(result, "rdf_first_peak", pair)
        assert abs(peak.value - distance) < max(3 * peak.error, 0.03)
        assert estimate(result, "coordination_number", pair).value == pytest.approx(neighbours, abs=0.01)
        minimum = estimate(result, "rdf_first_minimum", pair)
        assert distance < minimum.value < 1.7 * distance


def ions_at_random(n_frames, rng, side=25.0):
    liquid = Liquid.of({"PYR14": 8, "BF4": 8})
    topology = liquid.topology
    shapes = np.concatenate([ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)])
    centres = rng.random((n_frames, topology.n_molecules, 3)) * side
    positions = shapes + centres[:, topology.molecules]
    return topology, positions - np.floor(positions / side) * side, side * np.eye(3)


def test_ions_placed_at_random_have_g_of_one_for_any_sites():
    """Atoms of one molecule never count as a pair, and leave no dent in g either."""
    rng = np.random.default_rng(4)
    topology, positions, cell = ions_at_random(400, rng)
    system = System(topology, 400, 1.0)
    pairs = [("B", "B"), ("B", "N:PYR14"), ("H", "H"), ("F", "BF4"), ("PYR14", "C1:PYR14"), ("N", "N:PYR14")]
    result = measured("rdf", system, snapshots(system, positions, cell), RdfSettings(pairs=pairs, bin_A=0.5))
    for a, b in pairs:
        curve = result.curves[f"rdf {a}-{b}"]
        assert np.average(curve.y, weights=curve.x**2) == pytest.approx(1.0, abs=0.03), (a, b)


def test_many_pairs_in_one_pass_are_those_of_one_each():
    rng = np.random.default_rng(5)
    topology, positions, cell = ions_at_random(10, rng)
    system = System(topology, 10, 1.0)
    pairs = [("PYR14", "BF4"), ("B", "N:PYR14"), ("H:PYR14", "F"), ("F", "H:PYR14")]
    together = measured("rdf", system, snapshots(system, positions, cell), RdfSettings(pairs=pairs))
    for a, b in pairs:
        alone = measured("rdf", system, snapshots(system, positions, cell), RdfSettings(pairs=[(a, b)]))
        for kind in ("rdf", "coordination"):
            name = f"{kind} {a}-{b}"
            assert np.allclose(together.curves[name].y, alone.curves[name].y)
    assert np.allclose(together.curves["rdf F-H:PYR14"].y, together.curves["rdf H:PYR14-F"].y)


def test_cell_shape_does_not_matter():
    """The same crystal in a cubic and in a sheared cell of the same lattice."""
    rng = np.random.default_rng(6)
    positions, cell = caesium_chloride(4.1, 4, 10, rng)
    sheared = cell.copy()
    sheared[1] += cell[0]
    system = System(atomic_ions(Cs=64, Cl=64), 10, 1.0)
    settings = RdfSettings(r_max_A=5.5)
    cubic = measured("rdf", system, snapshots(system, positions, cell), settings)
    other = measured("rdf", system, snapshots(system, positions, sheared), settings)
    assert np.allclose(cubic.curves["rdf Cs-Cl"].y, other.curves["rdf Cs-Cl"].y)


def test_box_that_shrinks_shortens_the_range():
    topology = atomic_ions(Cs=20)
    system = System(topology, 10, 1.0)
    positions = np.random.default_rng(7).random((10, 20, 3)) * 10
    cells = np.linspace(12, 10, 10)[:, None, None] * np.eye(3)
    curve = measured("rdf", system, snapshots(system, positions, cells)).curves["rdf Cs-Cs"]
    assert 4.8 < curve.x[-1] < 5.0


def test_tiny_box_says_that_nothing_is_resolved():
    topology, positions, cell = ions_at_random(3, np.random.default_rng(8), side=9.0)
    system = System(topology, 3, 1.0)
    result = measured("rdf", system, snapshots(system, positions, cell))
    assert all(not found.converged and found.note for _, _, found in result.estimates)
    assert result.curves["rdf PYR14-BF4"].error is None


def test_single_ion_has_no_pair_with_its_kind():
    topology = atomic_ions(Li=1, F=4)
    system = System(topology, 6, 1.0)
    positions = np.random.default_rng(9).random((6, 5, 3)) * 10
    result = measured("rdf", system, snapshots(system, positions, 10 * np.eye(3)))
    assert "rdf Li-Li" not in result.curves and any("Li-Li" in note for note in result.notes)
    assert "rdf Li-F" in result.curves


def test_sites_that_are_not_there_are_named():
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    for name in ("Li", "N:BF4", "TFSI", "C99:PYR14", "B:TFSI"):
        with pytest.raises(SettingsError, match="PYR14, BF4.*N, C, H"):
            find_site(name, topology)
    assert len(find_site("B", topology).points) == 1
    assert find_site("C1:PYR14", topology).points.tolist() == [topology.names.index("C1")]
    assert find_site("BF4", topology).points.tolist() == [topology.n_atoms + 1]


def test_range_beyond_half_the_box_is_refused():
    system = System(atomic_ions(Cs=5), 1, 1.0)
    frames = list(snapshots(system, np.zeros((1, 5, 3)), 12 * np.eye(3)))
    with pytest.raises(SettingsError, match="r_max_A is 7 Å.*6.00 Å"):
        measured("rdf", system, frames, RdfSettings(r_max_A=7.0))
    with pytest.raises(SettingsError, match="bin_A"):
        measured("rdf", system, frames, RdfSettings(bin_A=2.0))


def pairs_that_come_and_go(n_frames, rng, stay=0.9, n_pairs=16, rattle=0.1):
    """A lithium each 2 or 5 Å from its fluorine, half of the time each; the lattice is too wide for other pairs."""
    near = np.zeros((n_frames, n_pairs), dtype=bool)
    near[0] = rng.random(n_pairs) < 0.5
    for t in range(1, n_frames):
        near[t] = np.where(rng.random(n_pairs) < stay, near[t - 1], rng.random(n_pairs) < 0.5)
    spots = 14.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_pairs]
    distance = np.where(near, 2.0, 5.0) + rattle * rng.normal(size=near.shape)
    others = spots + distance[..., None] * [1.0, 0.0, 0.0]
    positions = np.concatenate([np.tile(spots, (n_frames, 1, 1)), others], axis=1)
    return System(atomic_ions(Li=n_pairs, F=n_pairs), n_frames, 0.5), positions, 42.0 * np.eye(3)


def shells_of(n_frames, seed, **how):
    system, positions, cell = pairs_that_come_and_go(n_frames, np.random.default_rng(seed), **how)
    found = measured("rdf", system, snapshots(system, positions, cell), RdfSettings(pairs=[("Li", "F")], r_max_A=7))
    return {quantity: one for quantity, _, one in found.estimates}


def test_numbers_of_shells_are_honest_where_blocks_hold_many_relaxations():
    """g = (1 + 0.9)/(1 - 0.9) = 19 frames: 1,000 of them are 53 independent samples."""
    inside, samples = [], []
    for seed in range(20):
        found = shells_of(1000, seed)["coordination_number"]
        if found.converged:
            inside.append(abs(found.value - 0.5) < 1.96 * found.error)
            samples.append(found.n_eff)
    assert len(inside) >= 16 and np.mean(inside) >= 0.85, (len(inside), np.mean(inside))
    assert 30 < np.median(samples) < 90


@pytest.mark.parametrize(("n_frames", "stay"), [(10, 0.9), (60, 0.9), (400, 0.995)])
def test_numbers_of_shells_from_less_than_their_relaxation_are_refused(n_frames, stay):
    for seed in range(5):
        found = shells_of(n_frames, seed, stay=stay)
        assert not any(one.converged for one in found.values()), found
        assert "independent samples of the first shell" in found["rdf_first_peak"].note
        assert "run at least" in found["rdf_first_peak"].note


def test_a_shell_that_never_changes_says_so():
    """As in a crystal, whose shells no run is long enough for: a box packed otherwise may say something else."""
    found = shells_of(200, 1, stay=1.0)
    assert all(one.converged for one in found.values())
    assert all("never changed in 100 ps, so other arrangements were not sampled" in one.note for one in found.values())
    assert not found["coordination_number"].error <= 0


SOFT_SIDE = 15.2


def soft_spheres(n_frames, rng, every=8, per_kind=25, start=400):
    """Brownian motion of soft spheres of two kinds that like each other: a liquid whose shells are shallow."""
    kind = np.repeat([0, 1], per_kind)
    reach = np.where(kind[:, None] == kind, 5.0, 3.3)
    np.fill_diagonal(reach, 0.0)
    x, found = rng.random((2 * per_kind, 3)) * SOFT_SIDE, []
    for step in range(start + n_frames * every):
        d = x[:, None] - x
        d -= SOFT_SIDE * np.rint(d / SOFT_SIDE)
        r = np.linalg.norm(d, axis=-1) + 1e-9
        force = (4.0 * np.maximum(reach - r, 0.0) / r)[..., None] * d
        x = x + 0.05 * force.sum(axis=1) + np.sqrt(2 * 0.25 * 0.05) * rng.normal(size=x.shape)
        if step >= start and (step - start) % every == 0:
            found.append(x)
    return np.array(found)


def soft_shell(positions):
    system = System(atomic_ions(Li=25, Cl=25), len(positions), 1.0)
    frames = snapshots(system, positions, SOFT_SIDE * np.eye(3))
    found = measured("rdf", system, frames, RdfSettings(pairs=[("Li", "Cl")])).estimates
    return {quantity: one for quantity, _, one in found}


def test_neighbours_up_to_a_shallow_minimum_carry_the_error_of_the_minimum():
    """Runs of one liquid differ by what they say, because each has its own minimum."""
    found = [soft_shell(soft_spheres(200, np.random.default_rng(seed))) for seed in range(8)]
    counts = [one["coordination_number"] for one in found if one["coordination_number"].converged]
    assert len(counts) >= 4
    spread, said = np.std([one.value for one in counts], ddof=1), np.mean([one.error for one in counts])
    assert 0.4 * said < spread < 2.0 * said, (spread, said)


def test_ions_that_rattle_about_one_arrangement_are_no_liquid():
    """The number of pairs changes all the time; what ions have as neighbours does not."""
    rng = np.random.default_rng(11)
    positions = soft_spheres(1, rng, every=1) + 0.25 * rng.normal(size=(100, 50, 3))
    found = soft_shell(positions)
    assert found and not any(one.converged for one in found.values())
    assert "relaxation times of one ion" in found["rdf_first_peak"].note


def test_first_minimum_of_a_gap_is_its_middle():
    r = 0.05 + 0.1 * np.arange(100)
    shape = np.exp(-(((r - 2.0) / 0.2) ** 2)) + np.where(r > 4.6, 1.0, 0.0)
    rng = np.random.default_rng(2)
    g = shape * (1 + 0.02 * rng.normal(size=(10, len(r))))
    series = np.cumsum(shape * (1 + 0.02 * rng.normal(size=(200, len(r)))), axis=1)
    found = dict(first_shell(r, g, np.cumsum(g, axis=1), Course(series, 100.0, 20.0)))
    assert found["rdf_first_minimum"].value == gap(r, g) == pytest.approx(3.5, abs=0.15)


def test_first_minimum_lies_behind_the_first_maximum():
    """A minimum within 0.5 Å of the maximum: the other side of the maximum is deeper, and is not meant."""
    r = 0.05 + 0.1 * np.arange(120)
    shape = np.exp(-(((r - 8.6) / 0.15) ** 2)) + 0.9 * np.where(r > 8.9, 1.0, 0.0)
    rng = np.random.default_rng(1)
    g = shape * (1 + 0.02 * rng.normal(size=(10, len(r))))
    series = np.cumsum(shape * (1 + 0.02 * rng.normal(size=(200, len(r)))), axis=1)
    found = dict(first_shell(r, g, np.cumsum(g, axis=1), Course(series, 100.0, 20.0)))
    peak, minimum = found["rdf_first_peak"], found["rdf_first_minimum"]
    assert peak.converged and minimum.converged and peak.value == pytest.approx(8.6, abs=0.1)
    assert peak.value < minimum.value < 9.1


@pytest.mark.parametrize("n_runs", [1, 4])
def test_a_shell_that_fills_up_along_the_run_is_not_converged(n_runs):
    """Also where each of several runs that count as one does so: one after the other they look at rest."""
    r = 0.05 + 0.1 * np.arange(100)
    shape = np.exp(-(((r - 2.0) / 0.2) ** 2)) + np.where(r > 4.6, 1.0, 0.0)
    rng = np.random.default_rng(2)
    g = shape * (1 + 0.02 * rng.normal(size=(10, len(r))))
    for rise, converged in ((0.0, True), (0.1, False)):
        level = 1 + np.tile(rise * np.linspace(-0.5, 0.5, 200 // n_runs), n_runs) + 0.05 * rng.normal(size=200)
        series = np.cumsum(shape * (1 + 0.02 * rng.normal(size=(200, len(r)))), axis=1) * level[:, None]
        course = Course(series, 100.0, 20.0, n_runs=n_runs)
        found = dict(first_shell(r, g, np.cumsum(g, axis=1), course))
        assert found["coordination_number"].converged is converged, found["coordination_number"].note
    note = found["coordination_number"].note
    assert n_runs == 1 or note.startswith("not stationary: the number of neighbours within"), note


def test_a_minimum_that_is_noise_of_a_shell_cut_by_the_box_is_not_one():
    """g(r) that falls from its maximum until the end of the range, with noise of a known size: there is no minimum."""
    from ilforge.properties.kernels.shells import extrema, smoothed

    rng, r = np.random.default_rng(1), np.arange(0.05, 9.0, 0.1)
    shell = np.exp(-(((r - 7.7) / 1.2) ** 2)) + 1 / (1 + np.exp(-(r - 5.0) / 0.3))
    found = []
    for _ in range(100):
        noisy = smoothed(shell + 0.03 * rng.normal(size=len(r)), r)
        found.append(extrema(noisy, np.full(len(r), 0.02)).minimum is not None)
    assert sum(found) <= 5
    rising = smoothed(shell + 0.9 * np.exp(-(((r - 8.9) / 0.25) ** 2)), r)  # the next shell begins before the end
    minimum = extrema(rising, np.full(len(r), 0.02)).minimum
    assert minimum is not None and 8.2 < r[minimum] < 8.8

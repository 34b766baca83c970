"""Markov state models: known chains recovered, recrossings not counted, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.properties import System, create
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.kernels.markov import chapman_kolmogorov, estimate, lags_to_try, level_lag
from ilforge.properties.shared.local_structure import TransitionsSettings
from ilforge.properties.transitions import cores, count_exits
from support.clusters import box_of
from support.motion import atomic_ions, measured, snapshots
from support.motion import estimate as the_estimate

CHAIN = np.array([[0.95, 0.05, 0.0], [0.02, 0.96, 0.02], [0.0, 0.1, 0.9]])
SHARES = np.array([0.25, 0.625, 0.125])  # detailed balance: 0.25 * 0.05 = 0.625 * 0.02, 0.625 * 0.02 = 0.125 * 0.1


def walk(matrix, shares, n_paths, n_frames, rng):
    edges = np.cumsum(matrix, axis=1)
    path = np.zeros((n_frames, n_paths), dtype=int)
    path[0] = rng.choice(len(matrix), size=n_paths, p=shares)
    for t in range(1, n_frames):
        path[t] = (rng.random(n_paths)[:, None] > edges[path[t - 1]]).sum(axis=1)
    return list(path.T)


@pytest.mark.parametrize("lag", [1, 5])
def test_a_known_chain_is_recovered_within_errors(lag):
    """Of all true values at least nine in ten lie within 1.96 standard errors; none is far off."""
    assert np.allclose(SHARES @ CHAIN, SHARES)
    matrix = np.linalg.matrix_power(CHAIN, lag)
    scales = -lag / np.log(np.sort(np.linalg.eigvals(matrix))[::-1][1:])
    life = lag / (1 - np.diag(matrix))
    flux = SHARES[:, None] * matrix / lag
    inside = {"matrix": [], "shares": [], "scales": [], "lifetimes": [], "fluxes": []}
    for seed in range(50):
        model = estimate(walk(CHAIN, SHARES, 10, 600, np.random.default_rng(seed)), lag, 3)
        spread = model.samples.std(axis=0, ddof=1)
        pairs = {
            "matrix": (model.matrix, spread, matrix),
            "shares": (model.stationary, model.stationary_samples.std(axis=0, ddof=1), SHARES),
            "scales": (*model.time_scales(), scales),
            "lifetimes": (*model.lifetimes(), life),
            "fluxes": (*model.fluxes(), flux),
        }
        for name, (found, error, truth) in pairs.items():
            known = truth > 1e-12 if lag == 1 else np.ones_like(truth, dtype=bool)
            inside[name] += (np.abs(found - truth) < 1.96 * error)[known].tolist()
    for name, hits in inside.items():
        assert np.mean(hits) >= 0.9, (name, np.mean(hits))


def test_the_matrix_is_that_of_a_plain_iteration():
    """Counts by a loop over windows; detailed balance by the fixed point x_ij = (c_ij + c_ji)/(c_i/x_i + c_j/x_j)."""
    paths, lag = walk(CHAIN, SHARES, 4, 300, np.random.default_rng(9)), 3
    counts = np.zeros((3, 3))
    for path in paths:
        np.add.at(counts, (path[:-lag], path[lag:]), 1.0 / lag)
    model = estimate(paths, lag, 3)
    np.testing.assert_allclose(model.counts, counts)
    x = counts + counts.T
    for _ in range(20_000):
        ratio = counts.sum(axis=1) / x.sum(axis=1)
        x = (counts + counts.T) / (ratio[:, None] + ratio[None, :])
    np.testing.assert_allclose(model.matrix, x / x.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(model.stationary, x.sum(axis=1) / x.sum(), atol=1e-4)


def test_same_seed_same_posterior():
    paths = walk(CHAIN, SHARES, 5, 300, np.random.default_rng(1))
    assert np.array_equal(estimate(paths, 2, 3).samples, estimate(paths, 2, 3).samples)


def test_chapman_kolmogorov_passes_a_chain_and_fails_what_is_none():
    """A state with a memory: two hidden kinds of it are left at rates that differ thirtyfold."""
    passed = []
    for seed in range(10):
        paths = walk(CHAIN, SHARES, 20, 1000, np.random.default_rng(seed))
        passed.append(chapman_kolmogorov(estimate(paths, 2, 3), paths, 3).passed)
    assert np.mean(passed) >= 0.9
    hidden = np.array([[0.7, 0.0, 0.3], [0.0, 0.99, 0.01], [0.15, 0.005, 0.845]])
    shares = np.linalg.matrix_power(hidden, 5000)[0]
    paths = [np.where(p == 2, 1, 0) for p in walk(hidden, shares, 20, 2000, np.random.default_rng(2))]
    test = chapman_kolmogorov(estimate(paths, 1, 2), paths, 2)
    assert not test.passed and test.largest > 5


def test_lag_is_the_first_with_level_time_scales():
    """A chain needs one step; one seen through noise needs more, and through too much noise none is level."""
    rng = np.random.default_rng(3)
    two = np.array([[0.99, 0.01], [0.01, 0.99]])
    paths = walk(two, [0.5, 0.5], 30, 2000, rng)
    lags = lags_to_try(2000).tolist()
    assert level_lag([estimate(paths, lag, 2, 60) for lag in lags]).lag == 1
    found = []
    for noise in (0.02, 0.1):
        noisy = [np.where(rng.random(len(p)) < noise, 1 - p, p) for p in paths]
        found.append(level_lag([estimate(noisy, lag, 2, 60) for lag in lags]))
    assert found[0].lag > 5 and found[1] is None


def test_rare_states_are_no_cores():
    series = np.array([[2, 0], [0, 0], [2, 1], [0, 1], [1, 2], [1, 1]])
    paths, labels = cores(series, ["a", "b", "c"], 0.3)
    assert labels == ["a", "b"]
    assert [p.tolist() for p in paths] == [[0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1]]
    assert count_exits(paths, 2).tolist() == [2, 0]


def binding(n_frames, rng, off=0.03, on=0.03, n_ions=16, n_ligands=3, border=0.1):
    """Lithium with three ligands each that come and go independently; bound ones stray over the border and back.

    The number of ligands is then a Markov chain with slowest time scale -1 / ln(1 - on - off).
    """
    topology = atomic_ions(Li=n_ions, O=n_ions * n_ligands)
    bound = np.zeros((n_frames, n_ions, n_ligands), dtype=bool)
    bound[0] = rng.random(bound.shape[1:]) < on / (on + off)
    for t in range(1, n_frames):
        u = rng.random(bound.shape[1:])
        bound[t] = np.where(bound[t - 1], u >= off, u < on)
    distance = np.where(rng.random(bound.shape) < border, 2.9, 2.0)
    newly = bound & ~np.concatenate([np.zeros_like(bound[:1]), bound[:-1]])
    distance = np.where(newly, 2.0, distance)
    distance = np.where(bound, distance, 6.0)
    spots = 16.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)[:n_ions]
    ways = np.eye(3)[:n_ligands]
    ligands = spots[None, :, None] + distance[..., None] * ways
    positions = np.concatenate([np.tile(spots, (n_frames, 1, 1)), ligands.reshape(n_frames, -1, 3)], axis=1)
    return System(topology, n_frames, 0.5), positions, 48.0 * np.eye(3), bound.sum(axis=2)


OWN_SHAPE = {
    "ion": "TFSI",
    "coordinates": [{"name": "long", "smarts": "[#6]-[#16]-[#7]-[#16]-[#6]", "atoms": [0, 4]}],
    "states": [
        {"name": "compact", "ranges": {"long": [0.0, 1.0]}},
        {"name": "anything", "ranges": {"long": [1.0, 50.0]}},
    ],
}


def with_shapes(system, positions, cell, **shapes):
    """Transitions between states by shapes, with the user's own."""
    settings = AnalysisSettings(
        transitions=TransitionsSettings(states="shapes", cutoff_A=2.6), shapes={"define": [OWN_SHAPE], **shapes}
    )
    observer = create("transitions", settings)
    observer.begin(system)
    for snapshot in snapshots(system, positions, cell):
        observer.add(observer.look(snapshot))
    return set(observer.measurement().tables["course Li-TFSI"].column("state"))


def test_states_by_shapes_that_the_user_defined():
    system, positions, cell = box_of([(2, 1), (3, 0)], 30, np.random.default_rng(7))
    assert with_shapes(system, positions, cell) == {"Li(TFSI)3 3 anything"}


def stretched(system, positions, cell, ligands, start=0):
    """Those TFSI 0.4 Å longer from one frame on, and a border half way."""
    topology = system.topology
    carbon = np.flatnonzero((topology.atom_species == "TFSI") & (np.asarray(topology.symbols) == "C")).reshape(-1, 2)
    apart = positions[:, carbon[:, 1]] - positions[:, carbon[:, 0]]
    apart -= np.rint(apart @ np.linalg.inv(cell)) @ cell
    length = np.linalg.norm(apart, axis=-1, keepdims=True)
    positions = positions.copy()
    positions[start:, carbon[ligands, 1]] += 0.4 * (apart / length)[start:, ligands]
    return positions, float(length.mean()) + 0.2


def test_margins_of_defined_shapes_are_those_of_the_settings(monkeypatch):
    """TFSI that grow by 0.4 Å over a border after the first frame: 0.2 Å within the new shape."""
    system, positions, cell = box_of([(2, 1), (3, 0)], 30, np.random.default_rng(7))
    positions, border = stretched(system, positions, cell, slice(None), start=1)
    states = [{"name": "short", "ranges": {"long": [0, border]}}, {"name": "tall", "ranges": {"long": [border, 50]}}]
    monkeypatch.setitem(OWN_SHAPE, "states", states)
    assert with_shapes(system, positions, cell, margin_A=0.1) == {"Li(TFSI)3 3 short", "Li(TFSI)3 3 tall"}
    assert with_shapes(system, positions, cell, margin_A=0.3) == {"Li(TFSI)3 3 short"}


def test_as_many_shapes_as_can_be_defined_are_told_apart(monkeypatch):
    """Twenty and `other`, of which ligands have the first and the last."""
    system, positions, cell = box_of([(2, 1), (3, 0)], 30, np.random.default_rng(7))
    positions, border = stretched(system, positions, cell, slice(1))
    states = [{"name": "short", "ranges": {"long": [0, border]}}]
    states += [{"name": f"s{k}", "ranges": {"long": [100 + k, 101 + k]}} for k in range(18)]
    states += [{"name": "tall", "ranges": {"long": [border, 50]}}]
    monkeypatch.setitem(OWN_SHAPE, "states", states)
    assert with_shapes(system, positions, cell) == {"Li(TFSI)3 2 short 1 tall", "Li(TFSI)3 3 short"}


def test_shapes_that_are_neither_built_in_nor_defined_are_refused():
    system, positions, cell, _ = binding(30, np.random.default_rng(8))
    with pytest.raises(
        SettingsError, match="shapes of O are neither built in .* nor defined in analysis.shapes.define"
    ):
        measured(
            "transitions", system, snapshots(system, positions, cell), TransitionsSettings(**OXYGEN, states="shapes")
        )


OXYGEN = {"ligand": "O", "ligand_atoms": "O", "cutoff_A": 2.6}


def test_exchange_of_known_rate_is_recovered_and_recrossings_do_not_count():
    system, positions, cell, n = binding(1200, np.random.default_rng(4))
    frames = list(snapshots(system, positions, cell))
    result = measured("transitions", system, frames, TransitionsSettings(**OXYGEN))
    moves = result.tables["jumps Li-O"]
    assert sum(moves.column("transitions")) == np.sum(n[1:] != n[:-1])
    slowest = the_estimate(result, "exchange_time_scale", "Li-O")
    assert slowest.converged and slowest.unit == "ps"
    assert abs(slowest.value + 0.5 / np.log(1 - 0.06)) < 3 * slowest.error
    for k, share in enumerate((12.5, 37.5, 37.5, 12.5)):
        found = the_estimate(result, "markov_population", f"Li(O){k}")
        assert abs(found.value - share) < 3 * found.error
    life = the_estimate(result, "cluster_lifetime", "Li(O)3")
    assert life.converged and life.value > 0 and life.error > 0
    (verdict,) = result.verdicts
    assert verdict.ok and "Chapman-Kolmogorov" in verdict.what
    table = result.tables["transition matrix Li-O"]
    flux = {(row[0], row[1]): row[5] for row in table.rows}
    assert flux["Li(O)1", "Li(O)2"] == pytest.approx(flux["Li(O)2", "Li(O)1"])
    (row,) = (row for row in table.rows if row[:2] == ("Li(O)1", "Li(O)2"))
    share, lag_ns = the_estimate(result, "markov_population", "Li(O)1").value / 100, row[2] / 1000
    assert flux["Li(O)1", "Li(O)2"] == pytest.approx(share * row[3] / lag_ns, rel=0.05)
    careless = measured("transitions", system, frames, TransitionsSettings(**OXYGEN, release_A=0.0))
    counted = sum(careless.tables["jumps Li-O"].column("transitions"))
    assert counted > 3 * sum(moves.column("transitions"))


def test_too_few_transitions_are_refused_with_the_length_it_takes():
    system, positions, cell, _ = binding(120, np.random.default_rng(5), off=0.002, on=0.002)
    result = measured("transitions", system, snapshots(system, positions, cell), TransitionsSettings(**OXYGEN))
    (found,) = (e for q, _, e in result.estimates if q == "exchange_time_scale")
    assert not found.converged and np.isnan(found.value)
    assert "10 needed: run" in found.note and "ps" in found.note
    assert not any(q == "cluster_lifetime" for q, _, _ in result.estimates)


def test_exchange_that_becomes_faster_along_the_run_is_not_converged():
    """The same shares of states in both halves; only how often ligands come and go tells."""
    rng = np.random.default_rng(4)
    system, slow, cell, _ = binding(800, rng, off=0.02, on=0.02)
    _, fast, _, _ = binding(800, rng, off=0.08, on=0.08)
    system = replace(system, n_frames=1600)
    frames = snapshots(system, np.concatenate([slow, fast]), cell)
    result = measured("transitions", system, frames, TransitionsSettings(**OXYGEN))
    assert not any(one.converged for _, _, one in result.estimates)
    assert "the number of changes of state changes from" in the_estimate(result, "exchange_time_scale", "Li-O").note


def test_a_lag_that_is_too_short_for_the_process_fails_the_test():
    """Bound ligands that stray over the border, counted without hysteresis: no Markov chain at one frame."""
    system, positions, cell, _ = binding(1500, np.random.default_rng(6), border=0.2)
    settings = TransitionsSettings(**OXYGEN, release_A=0.0, lag_ps=0.5)
    result = measured("transitions", system, snapshots(system, positions, cell), settings)
    slowest = the_estimate(result, "exchange_time_scale", "Li-O")
    assert not result.verdicts[0].ok and not slowest.converged and "the model fails" in slowest.note


@pytest.mark.parametrize(("states", "expected"), [("atoms", "Li(TFSI)3 4 O"), ("shapes", "Li(TFSI)3 3 ")])
def test_states_by_atoms_and_by_shapes(states, expected):
    """Real ligands, two on one O and one on two."""
    system, positions, cell = box_of([(2, 1), (3, 0)], 30, np.random.default_rng(7))
    settings = TransitionsSettings(states=states, cutoff_A=2.6)
    result = measured("transitions", system, snapshots(system, positions, cell), settings)
    seen = set(result.tables["course Li-TFSI"].column("state"))
    assert any(label.startswith(expected) for label in seen), seen
    (refused,) = (e for q, _, e in result.estimates if q == "exchange_time_scale")
    assert not refused.converged

"""Kernels of diffusion: unwrapping, drift, mean squared displacements and their covariance."""

import numpy as np
import pytest

from ilforge.properties.kernels.displacement import (
    independent_ions,
    jumps,
    mean_squared_displacement,
    msd_covariance,
    remove_drift,
    unwrap,
)
from support.motion import breathing_cells, brownian, scaled_and_wrapped


def test_unwrapping_restores_paths_in_a_fixed_skewed_cell():
    rng = np.random.default_rng(1)
    cell = np.array([[10.0, 0, 0], [3.0, 9.0, 0], [-2.0, 1.0, 8.0]])
    cells = np.repeat(cell[None], 200, axis=0)
    paths = 5 + brownian(np.full(6, 0.2), 200, 1.0, rng)
    fractional = paths @ np.linalg.inv(cell)
    wrapped = (fractional - np.floor(fractional)) @ cell
    unwrapped, longest = unwrap(wrapped, cells)
    assert np.allclose(np.diff(unwrapped, axis=0), np.diff(paths, axis=0))
    assert longest < 0.5


def test_unwrapping_keeps_displacements_when_the_cell_breathes():
    """Wrapped input and input unwrapped by lattice vectors give the particles' own steps alike."""
    rng = np.random.default_rng(2)
    cells = breathing_cells(20.0, 5000, rng)
    paths = 10 + brownian(np.full(20, 0.5), 5000, 1.0, rng)
    wrapped = scaled_and_wrapped(paths, cells)
    images = np.cumsum(np.rint(np.diff(wrapped @ np.linalg.inv(cells), axis=0)), axis=0)
    by_lattice = wrapped.copy()
    by_lattice[1:] -= images @ cells[1:]
    true = mean_squared_displacement(paths, 100).mean(axis=0)[1:]
    for positions in (wrapped, by_lattice):
        found = mean_squared_displacement(unwrap(positions, cells)[0], 100).mean(axis=0)[1:]
        assert np.allclose(found, true, rtol=1e-3)
    naive = mean_squared_displacement(by_lattice, 100).mean(axis=0)[1:]
    assert naive[0] > 1.02 * true[0]  # what the scheme is there to avoid


def test_drift_is_that_of_the_centre_of_mass():
    rng = np.random.default_rng(3)
    masses = np.array([1.0, 20.0, 300.0])
    paths = brownian(np.ones(3), 50, 1.0, rng)
    moving = paths + np.arange(50)[:, None, None] * np.array([1.0, -2.0, 0.5])
    still = remove_drift(moving, masses)
    assert np.allclose(still, remove_drift(paths, masses))
    assert np.allclose(np.einsum("tix,i->tx", still, masses), 0.0)


def test_msd_equals_the_direct_sum():
    paths = 1e3 + brownian(np.ones(3), 40, 1.0, np.random.default_rng(4))
    found = mean_squared_displacement(paths, 12)
    for lag in range(1, 13):
        direct = np.mean(np.sum((paths[lag:] - paths[:-lag]) ** 2, axis=2), axis=0)
        assert np.allclose(found[:, lag], direct)
    assert np.allclose(found[:, 0], 0.0, atol=1e-9)


def test_msd_in_chunks_is_the_same(monkeypatch):
    from ilforge.properties.kernels import displacement

    paths = brownian(np.ones(7), 60, 1.0, np.random.default_rng(5))
    whole = mean_squared_displacement(paths, 20)
    monkeypatch.setattr(displacement, "_CHUNK_ELEMENTS", 6 * 60 * 2)
    assert np.array_equal(mean_squared_displacement(paths, 20), whole)


def test_covariance_equals_the_double_sum():
    n_frames, lags = 30, np.array([1, 2, 5])
    rho = np.arange(6) ** 1.5
    straight = np.concatenate([rho, rho[5] + (rho[5] - rho[4]) * np.arange(1, 40)])

    def displacement_covariance(a, m, b, n):
        at = [straight[abs(k)] for k in (a - b + m, a - b - n, a - b + m - n, a - b)]
        return 0.5 * (at[0] + at[1] - at[2] - at[3])

    found = msd_covariance(rho, lags, n_frames, 4)
    for row, m in enumerate(lags):
        for column, n in enumerate(lags):
            origins = [(a, b) for a in range(n_frames - m) for b in range(n_frames - n)]
            total = sum(displacement_covariance(a, m, b, n) ** 2 for a, b in origins)
            assert found[row, column] == pytest.approx(2 * total / (3 * 4 * (n_frames - m) * (n_frames - n)))


def test_covariance_is_that_of_brownian_motion():
    rng = np.random.default_rng(6)
    lags = np.array([1, 4, 16])
    sampled = mean_squared_displacement(brownian(np.full(20_000, 0.5), 64, 1.0, rng), 16)[:, lags]
    predicted = msd_covariance(3.0 * np.arange(17), lags, 64, 1)
    assert np.allclose(np.cov(sampled.T), predicted, rtol=0.05)


def test_ions_without_drift_are_worth_one_less():
    assert independent_ions(np.full(5, 80.0), np.arange(5)) == pytest.approx(4.0)
    many = independent_ions(np.full(400, 80.0), np.arange(200))
    assert many == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize(("n", "at_least"), [(5, 30), (10, 40), (40, 40)])
def test_pieces_in_the_wrong_order_are_a_jump_and_runs_of_one_piece_have_none(n, at_least):
    """In 40 seeds each, for Brownian ions; also for those of which each hops in 2 % of the frames."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        steps = 0.3 * rng.normal(size=(600, n, 3))
        hops = 2.0 * rng.normal(size=(600, n, 3)) * (rng.random((600, n, 1)) < 0.02)
        path, hopping = np.cumsum(steps, axis=0), np.cumsum(0.2 * steps + hops, axis=0)
        assert len(jumps(path)) == 0 and len(jumps(hopping)) == 0
        found += jumps(np.concatenate([path[300:], path[:300]])).tolist() == [300]
    assert found >= at_least


def test_a_motion_that_becomes_faster_or_has_few_particles_is_no_jump():
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(400, 30, 3)) * np.where(np.arange(400) < 200, 0.2, 1.0)[:, None, None]
    assert len(jumps(np.cumsum(steps, axis=0))) == 0  # this is a change of the diffusion
    assert len(jumps(np.cumsum(steps[:, :2], axis=0))) == 0 and len(jumps(np.zeros((50, 10, 3)))) == 0
    apart = np.cumsum(steps[:200], axis=0)
    apart[-1:] += 5 * rng.normal(size=(30, 3))
    assert jumps(apart).tolist() == [199]
    apart[1:-1] += 5 * rng.normal(size=(30, 3))
    assert jumps(apart[:-1]).tolist() == [1]

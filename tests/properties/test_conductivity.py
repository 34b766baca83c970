"""Conductivities and Onsager coefficients of charges whose motion is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.constants import Avogadro, Boltzmann, elementary_charge

from ilforge.properties import System
from ilforge.properties.kernels.displacement import cross_displacements, displacement_covariance, msd_covariance
from support.motion import (
    atomic_ions,
    breathing_cells,
    brownian,
    estimate,
    measured,
    ornstein_uhlenbeck,
    scaled_and_wrapped,
    snapshots,
)

INTERVAL = 2.0  # ps
SIDE = 30.0  # Å
T = 423.0
SCALE = elementary_charge**2 * 1e-8 / (SIDE**3 * 1e-30 * Boltzmann * T)  # of Σ z² D in Å²/ps, to S/m
CHARGES = {"Cs": 1, "Na": 1, "F": -1}


def charged(n_frames, interval=INTERVAL, **counts):
    """A system of monatomic ions, in NPT."""
    topology = atomic_ions(**counts)
    topology = replace(topology, charges=tuple(CHARGES[name] for name in topology.species))
    return System(topology, n_frames, interval, T, ensemble="NPT")


def conductivity_of(system, paths, rng):
    """Measured in a breathing box and a frame that drifts, wrapped."""
    cells = breathing_cells(SIDE, len(paths), rng, size=0.002)
    drift = np.arange(len(paths))[:, None] * rng.normal(size=3) * 0.3
    start = SIDE * rng.random((paths.shape[1], 3))
    positions = scaled_and_wrapped(start + paths + drift[:, None], cells)
    return measured("conductivity", system, snapshots(system, positions, cells))


def pairs(n, n_frames, share, rng):
    """Paths of n cations and then n anions: every pair has this share of its steps (squared) in common."""
    free = brownian(np.full(2 * n, 0.1 * (1 - share)), n_frames, INTERVAL, rng)
    common = brownian(np.full(n, 0.1 * share), n_frames, INTERVAL, rng)
    return free + np.concatenate([common, common], axis=1)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_error_bars_are_honest_for_charges_free_and_in_pairs(share):
    """σ and H inside their 95 % intervals in at least 90 of 100 seeds; free charges have H = 1, paired ones more."""
    system, n = charged(400, Cs=12, F=12), 12
    sigma = SCALE * 2 * n * 0.1 * (1 - share)
    masses = system.topology.masses
    mu = masses / masses.sum()
    partner = np.roll(np.arange(2 * n), n)
    correlation = np.eye(2 * n) + share * np.eye(2 * n)[partner]
    projected = np.eye(2 * n) - np.outer(np.ones(2 * n), mu)
    haven = SCALE * 0.1 * np.trace(projected @ correlation @ projected.T) / sigma
    inside, errors = {"conductivity": 0, "haven_ratio": 0}, []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        result = conductivity_of(system, pairs(n, 400, share, rng), rng)
        for quantity, true in (("conductivity", sigma), ("haven_ratio", haven)):
            found = estimate(result, quantity)
            if found.converged:
                inside[quantity] += abs(found.value - true) < 1.96 * found.error
        errors.append(estimate(result, "conductivity").error / sigma)
    assert min(inside.values()) >= 90, inside
    assert np.nanmedian(errors) < 0.15  # honest, and useful


def test_onsager_coefficients_and_transference_of_a_known_diffusion_matrix():
    """Three kinds of free ions: L follows from their diffusion and the barycentric frame, exactly."""
    counts, n_frames = {"Cs": 8, "Na": 16, "F": 24}, 600
    system = charged(n_frames, **counts)
    names, n = list(counts), np.array(list(counts.values()))
    free = np.array([0.03, 0.15, 0.08])
    masses = np.array([system.topology.masses[members[0]] for members in system.ions.values()])
    frame = np.eye(3) - np.outer(n, masses) / (n @ masses)
    matrix = frame @ np.diag(n * free) @ frame.T
    z = np.array([1, 1, -1])
    onsager = matrix * SCALE / (elementary_charge * Avogadro) ** 2
    sigma = SCALE * z @ matrix @ z
    share = z * (matrix @ z) / (z @ matrix @ z)
    deviations = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        result = conductivity_of(system, brownian(np.repeat(free, n), n_frames, INTERVAL, rng), rng)
        pick = {(q, s): e for q, s, e in result.estimates}
        if not pick["conductivity", None].converged:
            continue
        wanted = {
            ("onsager_coefficient", f"{names[i]}-{names[j]}"): onsager[i, j] for i in range(3) for j in range(i, 3)
        }
        wanted |= {("transference_number", name): value for name, value in zip(names, share, strict=True)}
        wanted[("conductivity", None)] = sigma
        deviations.append([(pick[key].value - value) / pick[key].error for key, value in wanted.items()])
        assert sum(pick["transference_number", name].value for name in names) == pytest.approx(1)
        held = sum(
            masses[i] * pick["onsager_coefficient", "-".join(names[k] for k in sorted((i, j)))].value
            for i in range(3)
            for j in [0]
        )
        assert abs(held) < 1e-9 * masses[0] * onsager[0, 0]
    assert len(deviations) >= 27
    inside = np.mean(np.abs(deviations) < 1.96, axis=0)
    assert inside.mean() >= 0.9 and inside.min() >= 0.8, inside


def test_with_two_kinds_of_ions_masses_fix_the_transference_numbers():
    system = charged(400, Cs=12, F=12)
    rng = np.random.default_rng(2)
    result = conductivity_of(system, pairs(12, 400, 0.0, rng), rng)
    found = estimate(result, "transference_number", "Cs")
    assert found.value == pytest.approx(18.998 / (18.998 + 132.905), rel=1e-4) and found.error < 1e-6
    assert any("the transference numbers relative to the centre of mass" in note for note in result.notes)


def test_the_covariance_of_products_is_that_of_many_runs():
    """Two correlated Brownian components: variances of X_11, X_12 at several lags against 4,000 runs."""
    rng = np.random.default_rng(3)
    mixing = np.linalg.cholesky(np.array([[1.0, 0.6], [0.6, 2.0]]))
    lags = np.array([1, 3, 9])
    steps = np.einsum("ij,rtjx->rtix", mixing, rng.normal(size=(4000, 40, 2, 3)))
    found = np.array([cross_displacements(run, 10)[:, :, lags] for run in np.cumsum(steps, axis=1)])
    rho = 3 * np.einsum("ik,jk->ij", mixing, mixing)[:, :, None] * np.arange(11)
    pure = msd_covariance(rho[0, 0], lags, 40, 1.0)
    cross = displacement_covariance(rho[0, 0], rho[1, 1], lags, 40) + displacement_covariance(
        rho[0, 1], rho[0, 1], lags, 40
    )
    np.testing.assert_allclose(np.cov(found[:, 0, 0].T), pure, rtol=0.1)
    np.testing.assert_allclose(np.cov(found[:, 0, 1].T), cross / 3, rtol=0.1)


def test_products_of_displacements_are_those_of_a_plain_sum():
    path = np.random.default_rng(4).normal(size=(30, 2, 3)).cumsum(axis=0)
    found = cross_displacements(path, 5)
    step = path[5:] - path[:-5]
    np.testing.assert_allclose(found[0, 1, 5], np.mean(np.sum(step[:, 0] * step[:, 1], axis=1)))


def test_ions_that_rattle_are_refused_with_the_length_needed():
    system = charged(300, Cs=10, F=10)
    rng = np.random.default_rng(5)
    result = conductivity_of(system, 0.3 * rng.normal(size=(300, 20, 3)), rng)
    found = estimate(result, "conductivity")
    assert not found.converged and np.isnan(found.value) and "run at least about" in found.note
    assert not any(e.converged for _, _, e in result.estimates)


def test_neutral_particles_and_unknown_temperatures_are_refused():
    rng = np.random.default_rng(6)
    system = charged(100, Cs=4, F=4)
    neutral = replace(system, topology=replace(system.topology, charges=(0,) * 8))
    paths = brownian(np.full(8, 0.1), 100, INTERVAL, rng)
    assert "no charged ions" in estimate(conductivity_of(neutral, paths, rng), "conductivity").note
    half = replace(system, topology=replace(system.topology, charges=(0,) * 4 + (-1,) * 4))
    note = estimate(conductivity_of(half, paths, rng), "conductivity").note
    assert "add up to -4 e (Cs +0, F -1)" in note and "give a topology with charges" in note
    blind = replace(system, temperature_K=None)
    assert "--temperature" in estimate(conductivity_of(blind, paths, rng), "conductivity").note


def langevin(n, n_frames, interval, decay, rng):
    """Velocities of an Ornstein-Uhlenbeck process and the exact displacements that belong to the frames, Å/ps and Å."""
    velocities = ornstein_uhlenbeck(3 * n, n_frames, interval, decay, rng).T.reshape(n_frames, n, 3)
    return velocities, np.cumsum(velocities, axis=0) * interval


@pytest.mark.slow
def test_green_kubo_from_velocities_gives_the_known_integral():
    """σ of free charges with <v(0) v(t)> = exp(-t/τ): Σ z² τ, within the stated error."""
    system = charged(4000, 0.01, Cs=6, F=6)
    deviations = []
    for seed in range(12):
        velocities, paths = langevin(12, 4000, 0.01, 0.1, np.random.default_rng(seed))
        frames = snapshots(system, paths + 15, SIDE * np.eye(3), velocities=velocities)
        found = estimate(measured("conductivity", system, frames), "conductivity_green_kubo")
        if found.converged:
            deviations.append((found.value - SCALE * 12 * 0.1) / found.error)
    assert len(deviations) >= 11  # one run of a hundred is taken to change
    assert np.mean(np.abs(deviations) < 1.96) >= 0.8 and abs(np.mean(deviations)) < 0.7


def test_green_kubo_from_velocities_too_far_apart_is_refused():
    system = charged(2000, 0.5, Cs=6, F=6)
    velocities, paths = langevin(12, 2000, 0.5, 0.1, np.random.default_rng(1))
    frames = snapshots(system, paths + 15, SIDE * np.eye(3), velocities=velocities)
    found = estimate(measured("conductivity", system, frames), "conductivity_green_kubo")
    assert not found.converged and "record it more often" in found.note


def test_the_displacement_of_the_charge_is_that_of_mdanalysis():
    """MDAnalysis's windowed mean squared displacement of one particle that stands for the charge as a whole."""
    import MDAnalysis
    from MDAnalysis.analysis.msd import EinsteinMSD

    system = charged(60, Cs=5, Na=3, F=8)
    paths = 15 + brownian(np.full(16, 0.1), 60, INTERVAL, np.random.default_rng(7))
    curve = measured("conductivity", system, snapshots(system, paths, SIDE * np.eye(3))).curves["charge_msd"]
    masses, charges = system.topology.masses, np.array(system.topology.charges)
    centred = paths - np.einsum("a,tax->tx", masses / masses.sum(), paths)[:, None]
    whole = np.einsum("a,tax->tx", charges, centred) / np.sqrt(np.sum(charges**2))
    universe = MDAnalysis.Universe.empty(1, trajectory=True)
    universe.load_new(whole[:, None].astype(np.float32))
    found = EinsteinMSD(universe, msd_type="xyz", fft=False).run().results.timeseries
    np.testing.assert_allclose(curve.y, found[np.rint(curve.x / INTERVAL).astype(int)], rtol=1e-4)

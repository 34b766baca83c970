"""Diffusion coefficients of particles whose diffusion is known, and refusals of those that do not diffuse."""

from dataclasses import replace

import numpy as np
import pytest

from ilforge.properties import System
from ilforge.properties.diffusion import infinite_system, yeh_hummer
from ilforge.properties.shared.einstein import MsdAnalysis
from ilforge.properties.shared.settings import DiffusionSettings
from ilforge.results import Estimate
from support.motion import (
    atomic_ions,
    breathing_cells,
    brownian,
    estimate,
    measured,
    scaled_and_wrapped,
    snapshots,
)

INTERVAL = 2.0  # ps
UNIT = 1e-8  # Å^2/ps in m^2/s


def system_of(topology, n_frames):
    return System(topology, n_frames, INTERVAL, 423.0, ensemble="NPT")


def in_the_frame_of_all(diffusion, masses):
    """Diffusion coefficient of each free particle relative to the centre of mass of all, exactly."""
    share = masses / masses.sum()
    return diffusion * (1 - 2 * share) + np.sum(share**2 * diffusion)


def brownian_npt(topology, diffusion, n_frames, rng):
    """Wrapped positions and cells of a breathing box, in a frame that drifts and jumps."""
    cells = breathing_cells(30.0, n_frames, rng)
    drift = np.arange(n_frames)[:, None] * rng.normal(size=3) * 0.3 + np.cumsum(rng.normal(size=(n_frames, 3)), 0)
    paths = 30 * rng.random((topology.n_atoms, 3)) + brownian(diffusion, n_frames, INTERVAL, rng)
    return scaled_and_wrapped(paths + drift[:, None], cells), cells


def test_error_bars_are_honest_for_brownian_particles():
    """D inside its 95 % interval in at least 90 of 100 seeds: wrapped, NPT, drifting, unequal masses."""
    topology = atomic_ions(Cs=24, F=36)
    free = np.where(np.array(topology.symbols) == "Cs", 0.05, 0.12)
    true = in_the_frame_of_all(free, topology.masses)
    system = system_of(topology, 400)
    inside, errors = {"Cs": 0, "F": 0}, {"Cs": [], "F": []}
    for seed in range(100):
        frames = snapshots(system, *brownian_npt(topology, free, 400, np.random.default_rng(seed)))
        result = measured("diffusion", system, frames)
        for name, index in (("Cs", 0), ("F", -1)):
            found = estimate(result, "self_diffusion", name)
            if not found.converged:
                continue
            inside[name] += abs(found.value / UNIT - true[index]) < 1.96 * found.error / UNIT
            errors[name].append(found.error / found.value)
    assert inside["Cs"] >= 90 and inside["F"] >= 90
    assert np.median(errors["F"]) < 0.05  # honest, and useful


def test_error_bars_are_honest_behind_a_cage_and_inertia():
    """Rattling in cages and inertia come before diffusion; they must not enter D."""
    from scipy.signal import lfilter

    topology = atomic_ions(Cs=60)
    true = in_the_frame_of_all(np.full(60, 0.02), topology.masses)[0]
    system = system_of(topology, 1500)
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        paths = lfilter([0.5], [1, -0.5], np.diff(brownian(np.full(60, 0.02), 1501, INTERVAL, rng), axis=0), axis=0)
        rattling = lfilter([1], [1, -0.7], 0.35 * rng.normal(size=paths.shape), axis=0)
        positions = np.cumsum(paths, axis=0) + rattling
        found = estimate(
            measured("diffusion", system, snapshots(system, positions, 30 * np.eye(3))), "self_diffusion", "Cs"
        )
        if found.converged:
            values.append(found.value / UNIT)
            errors.append(found.error / UNIT)
    assert len(values) >= 25
    inside = np.abs(np.array(values) - true) < 1.96 * np.array(errors)
    assert inside.mean() >= 0.9
    assert np.mean(values) == pytest.approx(true, rel=0.03)


def hopping(n_ions, n_frames, chance, length, rng):
    """Paths of ions that stand still but for rare hops, ``(n_frames, n_ions, 3)``: D = chance · length²/2 a frame."""
    hops = rng.random((n_frames, n_ions, 1)) < chance
    return np.cumsum(hops * length * rng.normal(size=(n_frames, n_ions, 3)), axis=0)


def of_hopping(n_ions, rng):
    """What 2,000 frames of ions that hop twenty times each give, with D = 0.02 Å^2 a frame."""
    paths = hopping(n_ions, 2000, 0.01, 2.0, rng)
    return MsdAnalysis([paths], 400, 1.0, DiffusionSettings(), float(n_ions)).estimate()


def test_error_bars_of_a_few_hopping_ions_hold():
    """Hops vary more from ion to ion than Gaussian motion does; of five ions the spread counts with Student's t."""
    found = [of_hopping(5, np.random.default_rng(seed)) for seed in range(60)]
    found = [one for one in found if one.converged]
    assert len(found) >= 40
    inside = [abs(one.value / UNIT - 0.02) < 1.96 * one.error / UNIT for one in found]
    assert np.mean(inside) >= 0.85, np.mean(inside)
    assert not any("Gaussian" in one.note for one in found)


def test_one_or_two_ions_say_that_their_motion_is_taken_to_be_gaussian():
    for n_ions in (1, 2):
        notes = [one.note for one in (of_hopping(n_ions, np.random.default_rng(k)) for k in range(30)) if one.converged]
        assert notes and all("assumes Gaussian motion" in note for note in notes)


def test_curves_carry_the_msd_and_its_slope():
    topology = atomic_ions(Cs=40)
    system = system_of(topology, 300)
    positions, cells = brownian_npt(topology, np.full(40, 0.1), 300, np.random.default_rng(1))
    result = measured("diffusion", system, snapshots(system, positions, cells))
    msd, slope = result.curves["msd Cs"], result.curves["msd_slope Cs"]
    expected = 6 * in_the_frame_of_all(np.full(40, 0.1), topology.masses)[0] * msd.x
    assert np.all(np.abs(msd.y - expected) < 4 * msd.error)
    assert msd.x.max() <= 0.2 * 300 * INTERVAL
    assert np.all(np.abs(slope.y - 1) < 4 * slope.error + 1e-9)


def refused(positions, side=40.0, settings=None, symbol="Cs"):
    topology = atomic_ions(**{symbol: positions.shape[1]})
    system = system_of(topology, len(positions))
    result = measured("diffusion", system, snapshots(system, positions, side * np.eye(3)), settings)
    found = estimate(result, "self_diffusion", symbol)
    assert not found.converged and np.isnan(found.value)
    return found.note


def test_ions_that_rattle_are_refused_with_the_length_needed():
    note = refused(20 + 0.5 * np.random.default_rng(1).normal(size=(500, 30, 3)))
    assert "moved only" in note and "run at least about" in note and "ns" in note


def test_subdiffusion_is_refused():
    """Displacements that grow as t^0.3 (fractional Brownian motion), however far they go."""
    n = 400
    lags = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    power = np.arange(n) ** 0.6
    covariance = 0.5 * (power[:, None] + power[None, :] - lags**0.6)
    root = np.linalg.cholesky(covariance[1:, 1:])
    rng = np.random.default_rng(2)
    paths = 4.0 * (root @ rng.normal(size=(n - 1, 40 * 3))).reshape(n - 1, 40, 3)
    note = refused(paths, side=200.0)
    assert "not diffusive" in note and "run at least about" in note


def test_ballistic_motion_is_refused():
    rng = np.random.default_rng(3)
    paths = rng.normal(size=(60, 3)) * 0.05 * np.arange(300)[:, None, None]
    assert "not diffusive" in refused(paths, side=100.0)


def test_two_ions_for_a_moment_are_refused():
    rng = np.random.default_rng(4)
    assert "too few" in refused(brownian(np.full(2, 0.1), 20, INTERVAL, rng), side=9.0)
    note = refused(brownian(np.full(2, 0.1), 60, INTERVAL, rng), side=30.0)
    assert "run at least about" in note


def test_frames_too_far_apart_are_refused():
    rng = np.random.default_rng(5)
    assert "ambiguous" in refused(brownian(np.full(20, 5.0), 200, INTERVAL, rng), side=9.0)


def test_ions_that_stand_still_are_refused():
    assert "moved only 0 Å" in refused(np.ones((100, 5, 3)))


def test_settings_decide_how_far_ions_must_have_moved():
    topology = atomic_ions(Cs=60)
    system = system_of(topology, 500)
    positions = brownian(np.full(60, 0.005), 500, INTERVAL, np.random.default_rng(6))
    frames = list(snapshots(system, positions, 40 * np.eye(3)))
    strict = measured("diffusion", system, frames)
    loose = measured("diffusion", system, frames, DiffusionSettings(min_displacement_A=1.0))
    assert not estimate(strict, "self_diffusion", "Cs").converged
    assert estimate(loose, "self_diffusion", "Cs").value == pytest.approx(0.005 * UNIT, rel=0.1)


def test_finite_size_correction():
    """2.837297 kT / (6 π η L) = 5.33e-11 m^2/s at 423 K, 5 mPa s and 33 Å, worked out by hand."""
    assert yeh_hummer(1e-10, 423.0, 5e-3, 33.0) - 1e-10 == pytest.approx(5.328e-11, rel=1e-3)
    assert yeh_hummer(1e-10, 423.0, 5e-3, 1e9) == pytest.approx(1e-10)


def test_the_correction_carries_the_errors_of_both():
    """Errors of D (3e-12) and of a tenth of the correction (5.328e-12), added in squares."""
    found = infinite_system(
        Estimate(1e-10, 3e-12, 40, "m^2/s"), Estimate(5e-3, 5e-4, 90, "Pa s"), temperature_K=423.0, box_A=33.0
    )
    assert found.value == pytest.approx(1.5328e-10, rel=1e-3) and found.error == pytest.approx(6.114e-12, rel=1e-3)
    assert not infinite_system(
        Estimate(1e-10, 3e-12, 40, "m^2/s"), Estimate.refused("Pa s", "short"), 423, 33
    ).converged


def test_the_settings_viscosity_gives_the_infinite_system():
    topology = atomic_ions(Cs=40)
    system = system_of(topology, 300)
    positions = brownian(np.full(40, 0.1), 300, INTERVAL, np.random.default_rng(1))
    settings = DiffusionSettings(viscosity_Pa_s=5e-3, viscosity_error_Pa_s=5e-4)
    cubic = measured("diffusion", system, snapshots(system, positions, 40 * np.eye(3)), settings)
    own, infinite = (estimate(cubic, name, "Cs") for name in ("self_diffusion", "self_diffusion_infinite"))
    assert infinite.value == pytest.approx(yeh_hummer(own.value, 423.0, 5e-3, 40.0)) and infinite.error > own.error
    flat = measured("diffusion", system, snapshots(system, positions, np.diag([40.0, 40, 50])), settings)
    assert "cubic" in estimate(flat, "self_diffusion_infinite", "Cs").note


@pytest.mark.parametrize("quantity", ["diffusion", "conductivity"])
def test_pieces_of_a_run_in_the_wrong_order_are_refused(quantity):
    """Where files have no times, as DCD of OpenMM, whose pieces all begin at one interval, only motion shows it."""
    topology = replace(atomic_ions(Na=20, Cl=20), charges=(1,) * 20 + (-1,) * 20)
    system = System(topology, 600, INTERVAL, 423.0, ensemble="NVT")
    rng = np.random.default_rng(1)
    paths = 100 * rng.random((40, 3)) + brownian(np.full(40, 0.05), 600, INTERVAL, rng)
    cells = np.repeat(100.0 * np.eye(3)[None], 600, axis=0)
    for _, _, found in measured(quantity, system, snapshots(system, paths % 100.0, cells)).estimates:
        assert "jump" not in found.note and (found.converged or quantity == "conductivity")
    swapped = np.concatenate([paths[400:], paths[:400]]) % 100.0
    for _, _, found in measured(quantity, system, snapshots(system, swapped, cells)).estimates:
        assert not found.converged and "between frames 199 and 200 most ions jump" in found.note

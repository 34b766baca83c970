"""Runs that change along their way are refused, runs at rest are not: shares over many seeds.

The whole table, with more seeds: ``benchmarks/steadiness.py``.
"""

import numpy as np
import pytest
from scipy.signal import lfilter

from ilforge.properties import System
from ilforge.properties.kernels.displacement import repeated_frames, squared_displacements
from ilforge.properties.kernels.populations import population, relaxation
from ilforge.properties.shared.density_course import mean_density
from ilforge.properties.shared.einstein import MsdAnalysis
from ilforge.properties.shared.green_kubo import transport_coefficient
from ilforge.properties.shared.settings import DiffusionSettings
from ilforge.properties.shared.steadiness import Course, drift, in_parts, judged, step, temperature_note, unsteady
from ilforge.results import Estimate
from support.motion import atomic_ions, estimate, measured, snapshots


def noise(n, correlation, rng, rows=1):
    """Stationary, of unit variance, falling by e in ``correlation`` samples; ``(rows, n)``."""
    factor = np.exp(-1.0 / correlation)
    kicks = rng.normal(size=(rows, n)) * np.sqrt(1 - factor**2)
    kicks[:, 0] = rng.normal(size=rows)
    return lfilter([1.0], [1.0, -factor], kicks, axis=1)


def share_refused(make, seeds=200):
    return np.mean([bool(unsteady(Course("it", make(np.random.default_rng(seed)), 100.0))) for seed in range(seeds)])


def test_slope_and_step_of_an_exact_series():
    line = np.linspace(0.0, 3.0, 200)[None]
    assert drift(line).size == pytest.approx(3.0 * 200 / 199)
    level = np.where(np.arange(200) < 140, 1.0, 3.5)[None]
    found = step(level)
    assert found.part == 140 and found.size == pytest.approx(2.5)


@pytest.mark.parametrize("correlation", [0.1, 2.0, 5.0])
def test_series_at_rest_are_refused_at_most_once_in_twenty(correlation):
    assert share_refused(lambda rng: noise(200, correlation, rng)) <= 0.05


def test_units_that_change_slowly_are_judged_by_the_spread_between_them():
    """Forty ions that each remember a fifth of the run: the mean of all drifts, as means of slow things do."""
    assert share_refused(lambda rng: noise(200, 40.0, rng, rows=40)) <= 0.05


def test_squared_normal_numbers_at_rest_are_skewed_and_pass():
    assert share_refused(lambda rng: rng.chisquare(3, size=(1, 40))) <= 0.05


@pytest.mark.parametrize(("drifts_by", "caught"), [(0.5, 0.35), (1.0, 0.95), (2.0, 1.0)])
def test_a_density_that_drifts_is_refused_whatever_is_left_out_of_its_start(drifts_by, caught):
    """375 independent samples; the slopes of the whole run are 2.7, 5.5 and 11 of their errors."""
    refused = 0
    for seed in range(60):
        series = noise(1500, 2.0, np.random.default_rng(seed))[0] + drifts_by * np.linspace(-0.5, 0.5, 1500)
        found = mean_density(1.2 + 0.01 * series, 1.0, 20.0)
        refused += not found.converged
        assert found.converged == found.steady or "independent samples" in found.note
    assert refused / 60 >= caught


def test_a_density_says_how_much_of_its_start_was_left_out():
    series = 1.2 + 0.01 * noise(2000, 2.0, np.random.default_rng(5))[0]
    assert mean_density(series, 1.0, 20.0).note == "whole run used"
    begun = series - 0.2 * np.exp(-np.arange(2000) / 40.0)
    found = mean_density(begun, 1.0, 20.0)
    assert found.converged and "first" in found.note and found.note.endswith("ps left out")
    assert found.value == pytest.approx(1.2, abs=4 * found.error)


def brownian_ions(n_ions, factors, rng):
    """Paths of ions whose D is 0.08 Å^2/ps times a factor for each frame (and, if wanted, each ion)."""
    size = np.sqrt(0.16 * np.broadcast_to(factors.reshape(len(factors), -1), (len(factors), n_ions)))
    return np.cumsum(size[:, :, None] * rng.normal(size=(len(factors), n_ions, 3)), axis=0)


def diffusion_of(paths):
    return MsdAnalysis([paths], len(paths) // 5, 1.0, DiffusionSettings(), float(paths.shape[1])).estimate()


HALF, RAMP = np.arange(400) >= 200, np.linspace(0, 1, 400)


@pytest.mark.parametrize(
    ("n_ions", "factors", "least"),
    [(40, 1.0 + HALF, 1.0), (40, 1.0 + 4.0 * HALF, 1.0), (40, 1.0 + 3.0 * RAMP, 1.0), (3, 1.0 + HALF, 0.9)],
)
def test_diffusion_that_changes_is_not_converged(n_ions, factors, least):
    found = [diffusion_of(brownian_ions(n_ions, factors, np.random.default_rng(seed))) for seed in range(20)]
    assert np.mean([not one.converged for one in found]) >= least
    assert sum("mean squared displacement" in one.note for one in found) >= 18


def test_diffusion_at_rest_is_hardly_ever_refused():
    found = [diffusion_of(brownian_ions(12, np.ones(400), np.random.default_rng(seed))) for seed in range(100)]
    assert np.mean([not one.steady for one in found]) <= 0.05
    assert all("whole run used" in one.note for one in found if one.converged)


def test_a_few_fast_ions_diffuse():
    """Three of sixty ions are twenty times as fast: the line is straight, and the errors must know that ions differ."""
    own = np.where(np.arange(60) < 3, 20.0, 1.0)[None] * np.ones((400, 1))
    found = [diffusion_of(brownian_ions(60, own, np.random.default_rng(seed))) for seed in range(30)]
    good = [one for one in found if one.converged]
    assert len(good) >= 27
    true = 0.08e-8 * own.mean()
    assert np.mean([abs(one.value - true) < 1.96 * one.error for one in good]) >= 0.9


def test_a_population_that_drifts_is_not_converged():
    refused = []
    for drifts_by in (0.0, 0.5):
        n = 0
        for seed in range(60):
            threshold = drifts_by * np.linspace(-0.5, 0.5, 600)
            visits = (noise(600, 3.0, np.random.default_rng(seed), rows=30) < threshold).T
            n += not population(visits, relaxation(visits), 20.0, 1.0).steady
        refused.append(n / 60)
    assert refused[0] <= 0.05 and refused[1] >= 0.9


@pytest.mark.parametrize(("factor", "steady"), [(1.0, True), (2.0, False), (5.0, False)])
def test_green_kubo_integrals_of_decays_that_become_slower_are_not_converged(factor, steady):
    rng = np.random.default_rng(3)
    series = np.concatenate([noise(2000, 10.0, rng, 5), noise(2000, 10.0 * factor, rng, 5)], axis=1)
    found, _ = transport_coefficient(series, 1.0, 1.0, "Pa s", "the pressure tensor")
    assert found.steady is steady and found.converged is steady
    assert steady or "the power of the pressure tensor at" in found.note


def test_what_has_not_converged_keeps_its_reason_and_doubt_is_a_word():
    short = Estimate(1.0, 0.1, 3.0, "1", False, "too short")
    steep = Course("it", np.linspace(0, 1, 100)[None] + 0.1 * noise(100, 0.1, np.random.default_rng(1)), 10.0, "Å")
    assert judged(short, [steep]) == short
    good = Estimate(1.0, 0.1, 3.0, "1", True, "fitted")
    assert not judged(good, [steep]).converged and not judged(good, [steep]).steady
    assert judged(good, [], 5.0).note == "fitted; first 5 ps left out"
    slight = Course("it", 0.085 * np.linspace(0, 1, 100)[None] + 0.1 * noise(100, 0.1, np.random.default_rng(2)), 10.0)
    assert "it may drift, by" in judged(good, [slight]).note and judged(good, [slight]).converged


def test_parts_are_averages_in_order():
    assert np.allclose(in_parts(np.arange(10.0)[None], 5), [[0.5, 2.5, 4.5, 6.5, 8.5]])
    assert in_parts(np.arange(1001.0)[None]).shape == (1, 166)


def test_squared_displacements_along_the_run_have_the_mean_of_all():
    paths = brownian_ions(4, np.ones(101), np.random.default_rng(1))
    parts = squared_displacements(paths, 1, 10)
    assert parts.shape == (10, 4)
    assert np.allclose(parts.mean(axis=0), np.mean(np.sum(np.diff(paths, axis=0) ** 2, axis=2), axis=0))


def test_a_frame_that_stands_twice_is_said():
    topology = atomic_ions(Cs=20)
    paths = brownian_ions(20, np.ones(200), np.random.default_rng(3)) + 10
    doubled = np.concatenate([paths[:100], paths[99:]])
    assert repeated_frames(doubled).tolist() == [100]
    system = System(topology, 201, 1.0, ensemble="NVT")
    notes = measured("diffusion", system, snapshots(system, doubled, 30 * np.eye(3))).notes
    assert any("Frames 99 and 100 are the same" in note for note in notes)


def test_a_run_that_is_heated_says_so():
    topology = atomic_ions(Cs=20)
    system = System(topology, 200, 1.0, ensemble="NVT")
    paths = brownian_ions(20, np.ones(200), np.random.default_rng(3)) + 10
    kelvin = 400 + 20 * RAMP[::2] + 5 * np.random.default_rng(1).normal(size=200)
    frames = snapshots(system, paths, 30 * np.eye(3), temperature_K=kelvin)
    result = measured("diffusion", system, frames)
    assert any(note.startswith("Not stationary: the temperature is still drifting") for note in result.notes)
    assert temperature_note([400.0, None], 2.0) == [] and temperature_note([], 2.0) == []
    assert estimate(result, "self_diffusion", "Cs").converged

"""Density of boxes whose volume fluctuates in a known way."""

import numpy as np
import pytest

from ilforge.properties import System
from ilforge.properties.shared.settings import DensitySettings
from ilforge.units import AMU_PER_A3_IN_G_CM3
from support.motion import atomic_ions, estimate, measured, snapshots

TOPOLOGY = atomic_ions(Cs=5)


def run(densities, ensemble="NPT", settings=None):
    """A run whose densities in g/cm^3 are these."""
    volumes = TOPOLOGY.masses.sum() * AMU_PER_A3_IN_G_CM3 / np.asarray(densities)
    system = System(TOPOLOGY, len(volumes), 0.5, ensemble=ensemble)
    positions = np.zeros((len(volumes), 5, 3))
    return measured(
        "density",
        system,
        snapshots(system, positions, np.cbrt(volumes)[:, None, None] * np.eye(3)),
        settings,
    )


def fluctuating(n, rng, phi=0.8):
    from scipy.signal import lfilter

    kicks = 0.01 * np.sqrt(1 - phi**2) * rng.normal(size=n)
    return 1.2 + lfilter([1], [1, -phi], kicks)


def test_error_is_honest():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        found = estimate(run(fluctuating(600, rng)), "density")
        inside += abs(found.value - 1.2) < 1.96 * found.error
        assert found.unit == "g/cm^3" and found.converged
    assert inside >= 54


def test_start_is_left_out():
    rng = np.random.default_rng(2)
    densities = fluctuating(800, rng) - 0.4 * np.exp(-np.arange(800) / 30)
    found = estimate(run(densities), "density")
    assert found.value == pytest.approx(1.2, abs=4 * found.error)
    assert found.error < 0.003


def test_stationary_runs_do_not_drift():
    """In 100 seeds no more than four are taken to drift."""
    alarms = 0
    for seed in range(100):
        found = estimate(run(fluctuating(600, np.random.default_rng(seed))), "density")
        alarms += "still drifting" in found.note
    assert alarms <= 4


@pytest.mark.parametrize(("by", "time", "caught"), [(0.08, 0.3, 0.8), (0.04, 1.0, 0.5)])
def test_a_run_that_still_drifts_is_not_converged(by, time, caught):
    """Fluctuations of 0.01 on a density that comes to rest as exp(-t/time), t in lengths of the run."""
    said, hidden = 0, 0
    for seed in range(40):
        densities = fluctuating(1000, np.random.default_rng(seed)) - by * np.exp(-np.arange(1000) / 1000 / time)
        found = estimate(run(densities), "density")
        hidden += found.converged
        said += "still drifting, by" in found.note and found.note.endswith("ps: run longer")
    assert said >= 10 and 1 - hidden / 40 >= caught


def test_curve_is_the_series():
    densities = fluctuating(30, np.random.default_rng(3))
    curve = run(densities).curves["density"]
    assert np.allclose(curve.y, densities) and np.allclose(curve.x, 0.5 * np.arange(30))


def test_short_run_is_not_converged():
    found = estimate(run(fluctuating(60, np.random.default_rng(4), phi=0.95)), "density")
    assert not found.converged and np.isfinite(found.value)
    assert "20 needed: run at least" in found.note
    loose = estimate(
        run(fluctuating(60, np.random.default_rng(4)), settings=DensitySettings(min_independent_samples=2)), "density"
    )
    assert loose.converged


def test_a_few_frames_are_refused():
    found = estimate(run([1.2, 1.21, 1.19]), "density")
    assert not found.converged and np.isnan(found.value)


@pytest.mark.parametrize(("ensemble", "densities"), [("NVT", [1.1] * 8), (None, [1.1] * 8), ("NVE", [1.1] * 8)])
def test_fixed_volume_is_a_note_not_a_result(ensemble, densities):
    result = run(densities, ensemble)
    assert result.estimates == []
    assert "1.1000 g/cm^3 was set, not measured" in result.notes[0]


def test_volume_of_a_barostat_that_did_not_move_says_nothing():
    for densities in ([1.1], [1.1] * 8):
        assert not estimate(run(densities), "density").converged

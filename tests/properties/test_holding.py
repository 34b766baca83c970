"""Whether a run holds the liquid: hand-made trajectories whose densities take a known course."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from scipy.signal import lfilter

from ilforge.properties import System, create
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.property import DensityChange, Measurement
from ilforge.properties.shared.holding import as_judged
from ilforge.results import HOLDS_LIQUID, Holding
from support.motion import atomic_ions, snapshots

TOPOLOGY = atomic_ions(Cs=64)
LATTICE = np.stack(np.meshgrid(*[np.arange(4) / 4] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
INTERVAL_PS = 0.1
AMU_PER_A3 = 1.66053906660  # g/cm^3
LIQUID = 1.02


def judged(course, names=("health", "density"), **system):
    """What is measured on a crystal that is scaled to these densities, g/cm^3; its voids are let pass."""
    volumes = TOPOLOGY.masses.sum() * AMU_PER_A3 / np.asarray(course, dtype=float)
    cells = np.cbrt(volumes)[:, None, None] * np.eye(3)
    about = System(TOPOLOGY, len(course), INTERVAL_PS, **{"ensemble": "NPT", **system})
    observers = {name: create(name, AnalysisSettings(health={"max_cavity_radius_A": 50.0, "max_empty_fraction": 1.0}))
                 for name in names}  # fmt: skip
    for observer in observers.values():
        observer.begin(about)
    for snapshot in snapshots(about, LATTICE @ cells, cells):
        for observer in observers.values():
            observer.add(observer.look(snapshot))
    return as_judged({name: observer.measurement() for name, observer in observers.items()})


def noise(n, rng, size, time_ps=0.5):
    """Correlated fluctuations of relative ``size`` that decay in ``time_ps``."""
    phi = np.exp(-INTERVAL_PS / time_ps)
    return 1 + lfilter([1], [1, -phi], size * np.sqrt(1 - phi**2) * rng.normal(size=n))


def density_of(found):
    ((_, _, estimate),) = found["density"].estimates
    return estimate


def verdict_number(found):
    return {quantity: estimate for quantity, _, estimate in found["health"].estimates}[HOLDS_LIQUID]


def test_a_steady_run_holds_the_liquid():
    found = judged(LIQUID * noise(400, np.random.default_rng(1), 0.03))
    liquid = found["health"].liquid
    assert liquid.holding is Holding.HOLDS and not liquid.lost
    assert liquid.density == pytest.approx(LIQUID, abs=0.02) and liquid.time_ps == 40.0
    assert re.fullmatch(
        rf"holds the liquid: the density is 1\.0\d\d ± 0\.00\d g/cm3 over 40 ps "
        rf"\({liquid.n_eff:.0f} independent samples\)",
        str(liquid),
    )
    assert verdict_number(found).value == 1.0 and verdict_number(found).note == str(liquid)
    assert density_of(found).converged and all(verdict.ok for verdict in found["health"].verdicts)


def test_a_run_too_short_for_a_density_quotes_no_error():
    """Slow fluctuations: enough samples to see that it holds, too few to say at which density."""
    found = judged(LIQUID * noise(400, np.random.default_rng(3), 0.02, time_ps=1.5))
    liquid = found["health"].liquid
    assert 10 <= liquid.n_eff < 20 and not density_of(found).converged
    assert liquid.holding is Holding.HOLDS and "±" not in str(liquid)
    assert f"over 40 ps ({liquid.n_eff:.0f} independent samples: too few for a reliable error)" in str(liquid)


def test_a_boiling_run_names_the_density_it_reached_and_when():
    found = judged(np.linspace(1.02, 0.45, 111) * noise(111, np.random.default_rng(2), 0.003))
    liquid = found["health"].liquid
    assert str(liquid).startswith("does not hold the liquid: the density fell from 1.02 to 0.4")
    assert liquid.start_density == pytest.approx(1.02, abs=0.01) and liquid.density == pytest.approx(0.455, abs=0.01)
    assert liquid.time_ps == pytest.approx(10.9, abs=0.2)
    assert verdict_number(found).value == 0.0
    (fault,) = (verdict for verdict in found["health"].verdicts if not verdict.ok)
    assert fault.grave and fault.what in str(liquid) and fault.frame == round(liquid.time_ps / INTERVAL_PS)
    assert not density_of(found).converged and density_of(found).note == f"the run {liquid}"


def test_a_gas_that_is_at_rest_does_not_hold_the_liquid_either():
    """Its mean density looks converged: that of the part which is left after the start."""
    course = np.concatenate([np.linspace(1.02, 0.5, 60), np.full(540, 0.5)])
    found = judged(course * noise(600, np.random.default_rng(3), 0.01))
    liquid = found["health"].liquid
    assert liquid.lost and liquid.density == pytest.approx(0.5, abs=0.02)
    assert liquid.time_ps == pytest.approx(6, abs=0.7)
    assert not density_of(found).converged


def test_a_collapse_is_found_with_its_time():
    course = np.concatenate([np.full(100, 1.0), np.linspace(1.0, 1.5, 20), np.full(280, 1.5)])
    liquid = judged(course * noise(400, np.random.default_rng(4), 0.002))["health"].liquid
    assert liquid.lost and "the density rose from 1.00 to 1.5" in str(liquid)
    assert liquid.time_ps == pytest.approx(12.0, abs=0.5)


def test_a_slow_drift_is_not_judged():
    found = judged(np.linspace(1.02, 0.92, 400) * noise(400, np.random.default_rng(5), 0.01))
    liquid = found["health"].liquid
    assert liquid.holding is Holding.NOT_JUDGED and not liquid.lost
    assert str(liquid).startswith("not judged: the density is still drifting, by -0.")
    assert not verdict_number(found).converged and not density_of(found).converged


def test_a_box_begun_too_loose_comes_back_and_holds():
    course = 0.97 - 0.13 * np.exp(-np.arange(400) * INTERVAL_PS / 0.7)
    assert judged(course * noise(400, np.random.default_rng(6), 0.02))["health"].liquid.holding is Holding.HOLDS


def test_a_box_that_boiled_before_the_recorded_part_has_lost_the_liquid():
    """And one that was packed loosely and came to its density there has not."""
    boiled = judged(0.6 * noise(400, np.random.default_rng(9), 0.02), start_density=1.02, unrecorded_ps=5.0)
    liquid = boiled["health"].liquid
    assert liquid.lost and liquid.start_density == 1.02 and 5.0 <= liquid.time_ps <= 45.0
    assert "the density fell from 1.02 to 0.5" in str(liquid)
    packed = judged(0.97 * noise(400, np.random.default_rng(9), 0.02), start_density=0.6, unrecorded_ps=5.0)
    assert packed["health"].liquid.holding is Holding.HOLDS


@pytest.mark.parametrize(("size", "least"), [(0.05, 18), (0.12, 18)])
def test_fluctuations_of_small_boxes_are_no_departure(size, least):
    """Relative fluctuations of 10 and of 2 pairs: never lost, and nearly always judged."""
    held = 0
    for seed in range(20):
        liquid = judged(LIQUID * noise(600, np.random.default_rng(seed), size), ("health",))["health"].liquid
        assert not liquid.lost, str(liquid)
        held += liquid.holding is Holding.HOLDS
    assert held >= least


def test_a_short_run_and_a_fixed_volume_are_not_judged():
    short = judged(LIQUID * noise(20, np.random.default_rng(7), 0.03))["health"].liquid
    assert short.holding is Holding.NOT_JUDGED
    assert "for the density, " in short.what and "10 needed" in short.what
    fixed = judged(np.full(100, LIQUID), ("health",), ensemble="NVT")["health"].liquid
    assert fixed.holding is Holding.NOT_JUDGED and "at constant volume" in fixed.what


def test_a_run_that_the_engine_stopped_is_said_by_its_density():
    """The frames end before the stop: what the engine says of it counts."""
    stop = {"fault": "At 11 ps: the box grew.", "fault_density": DensityChange(1.02, 0.45, 11.0), "ended": True}
    found = judged(np.linspace(1.02, 0.75, 100), **stop)
    liquid = found["health"].liquid
    assert str(liquid) == "does not hold the liquid: the density fell from 1.02 to 0.45 g/cm3 within 11 ps"
    assert (liquid.start_density, liquid.density, liquid.time_ps) == (1.02, 0.45, 11.0)
    assert not density_of(found).converged


def test_a_run_that_ended_in_an_explosion_is_said_by_its_fault():
    stop = {"fault": "At 3 ps: the temperature is 9000 K.", "fault_density": DensityChange(1.02, 1.0, 3.0)}
    liquid = judged(np.full(30, 1.02) * noise(30, np.random.default_rng(8), 0.01), **stop)["health"].liquid
    assert str(liquid) == "does not hold the liquid: the run ended early: At 3 ps: the temperature is 9000 K."


def test_the_verdict_survives_json():
    measurement = judged(np.linspace(1.02, 0.45, 111))["health"]
    again = Measurement.from_json(json.loads(json.dumps(measurement.to_json(), allow_nan=False)))
    assert again.liquid == measurement.liquid and again.liquid.holding is Holding.DOES_NOT_HOLD
    before = measurement.to_json()
    del before["liquid"]  # as versions before wrote it
    assert Measurement.from_json(before).liquid is None

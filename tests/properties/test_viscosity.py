"""Viscosities from pressure tensors whose autocorrelation is known, and tables of them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.constants import Boltzmann

from ilforge.errors import SettingsError
from ilforge.properties import System
from ilforge.properties.kernels.spectrum import integrate, power_spectrum
from ilforge.properties.reading.pressure_table import read_pressure
from ilforge.properties.shared.green_kubo import transport_coefficient
from support.motion import atomic_ions, estimate, measured, ornstein_uhlenbeck, ornstein_uhlenbeck_pressure, snapshots

SIDE, T = 30.0, 423.0


def viscosity(pressure, temperature=T):
    system = System(atomic_ions(Cs=2), 3, 1.0, temperature, pressure=pressure)
    return measured("viscosity", system, snapshots(system, np.ones((3, 2, 3)), SIDE * np.eye(3)))


def test_error_bars_are_honest_for_exponential_decays():
    """<P P> = σ² exp(-t/τ), so η = V σ² τ/(k T): inside the 95 % interval in at least 36 of 40 seeds."""
    size, decay, interval = 300.0, 0.5, 0.02
    sampled = interval * (0.5 + 1 / np.expm1(interval / decay))  # the integral of the sampled function
    true = (SIDE * 1e-10) ** 3 / (Boltzmann * T) * (size * 1e5) ** 2 * sampled * 1e-12
    inside, errors = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = estimate(viscosity(ornstein_uhlenbeck_pressure(6000, interval, decay, size, rng)), "viscosity")
        inside += found.converged and abs(found.value - true) < 1.96 * found.error
        errors.append(found.error / true)
    assert inside >= 36
    assert np.nanmedian(errors) < 0.15


def test_two_decays_are_not_taken_for_one():
    """Fast fluctuations five times as large, ten times as fast: the slow decay still counts whole."""
    deviations = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        slow, fast = ornstein_uhlenbeck(5, 6000, 0.05, 1.0, rng), ornstein_uhlenbeck(5, 6000, 0.05, 0.1, rng)
        found = integrate(power_spectrum(slow + np.sqrt(5) * fast, 0.05))
        true = 0.05 * (0.5 + 1 / np.expm1(0.05)) + 5 * 0.05 * (0.5 + 1 / np.expm1(0.5))
        deviations.append((found.integral - true) / found.error)
    assert np.mean(np.abs(deviations) < 1.96) >= 0.85 and abs(np.mean(deviations)) < 0.7


@pytest.mark.parametrize("decays", [((1, 2), (0.02, 100)), ((1, 2), (0.05, 40), (0.004, 500))])
def test_error_bars_hold_with_several_decays(decays):
    """Variances and times of decays that give about as much each to the integral; runs of 40 times the slowest."""
    sampled = sum(variance * (0.5 + 1 / np.expm1(1 / decay)) for variance, decay in decays)
    n, inside = 40 * decays[-1][1], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        series = sum(np.sqrt(variance) * ornstein_uhlenbeck(5, n, 1.0, decay, rng) for variance, decay in decays)
        found = integrate(power_spectrum(series, 1.0))
        inside.append(abs(found.integral - sampled) < 1.96 * found.error)
    assert np.mean(inside) >= 0.75, np.mean(inside)


def test_off_diagonal_elements_alone_give_a_larger_error():
    pressure = ornstein_uhlenbeck_pressure(6000, 0.02, 0.5, 300.0, np.random.default_rng(1))
    five = estimate(viscosity(pressure), "viscosity")
    three = estimate(viscosity(replace(pressure, diagonal=None)), "viscosity")
    assert three.converged and abs(three.value - five.value) < 3 * (three.error + five.error)


def test_what_cannot_be_told_is_refused_in_words():
    rng = np.random.default_rng(2)
    assert "--pressure" in estimate(viscosity(None), "viscosity").note
    short = estimate(viscosity(ornstein_uhlenbeck_pressure(400, 0.02, 2.0, 300.0, rng)), "viscosity")
    assert not short.converged and "run at least about" in short.note
    coarse = estimate(viscosity(ornstein_uhlenbeck_pressure(4000, 2.0, 0.5, 300.0, rng)), "viscosity")
    assert "record it more often" in coarse.note
    sound = ornstein_uhlenbeck_pressure(4000, 0.02, 0.5, 300.0, rng)
    assert "--temperature" in estimate(viscosity(sound, None), "viscosity").note


def test_the_spectrum_goes_to_the_viscosity():
    result = viscosity(ornstein_uhlenbeck_pressure(6000, 0.02, 0.5, 300.0, np.random.default_rng(3)))
    curve, found = result.curves["viscosity_spectrum"], estimate(result, "viscosity")
    low = curve.x < 0.1
    assert np.average(curve.y[low], weights=curve.error[low] ** -2) == pytest.approx(found.value, rel=0.4)


def test_tables_are_read_and_refused_in_words(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("time_ps, pxy_bar, pxz_bar, pyz_bar\n0.0,1,2,3\n0.1,4,5,6\n0.2,7,8,9\n")
    found = read_pressure(path)
    assert found.interval_ps == pytest.approx(0.1) and found.diagonal is None
    np.testing.assert_array_equal(found.off_diagonal[1], [4, 5, 6])
    for text, said in (
        ("time_ps,pxy_bar\n", "no column 'pxz_bar'"),
        ("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n", "1 samples"),
        ("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n1,1,2\n", "line 3: 3 values for 4 columns"),
        ("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n1,1,2,3\n2,1,2,3\n9,1,2,3\n", "line 5: times must be evenly"),
        ("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n1,x,2,3\n", "not all values are numbers"),
        ("time_ps,pxy_bar,pxz_bar,pyz_bar\n0,1,2,3\n1,nan,2,3\n", "line 3: a value is not a finite number"),
    ):
        path.write_text(text)
        with pytest.raises(SettingsError, match=said):
            read_pressure(path)
    with pytest.raises(SettingsError, match="no file"):
        read_pressure(tmp_path / "none.csv")


def test_the_command_takes_a_table(tmp_path):
    """As a user has it: frames without velocities or energies, and a CSV file."""
    from pathlib import Path

    from click.testing import CliRunner

    from ilforge.cli import ilforge, load_commands

    load_commands()
    pressure = ornstein_uhlenbeck_pressure(3000, 0.02, 0.5, 300.0, np.random.default_rng(1))
    times = 0.02 * np.arange(3000)
    table = np.column_stack([times, pressure.off_diagonal, pressure.diagonal])
    header = "time_ps,pxy_bar,pxz_bar,pyz_bar,pxx_bar,pyy_bar,pzz_bar"
    np.savetxt(tmp_path / "p.csv", table, delimiter=",", header=header, comments="")
    frame = Path(__file__).parents[1] / "data" / "two_pairs.xyz"
    arguments = ["analyse", str(frame), "--property", "viscosity", "--temperature", "423"]
    said = CliRunner().invoke(ilforge, [*arguments, "--pressure", str(tmp_path / "p.csv")]).output
    assert re.search(r"\d\(\d+\)e-\d Pa s", said)
    assert "was not recorded" in CliRunner().invoke(ilforge, arguments).output


@pytest.mark.parametrize(("n_components", "most"), [(5, False), (20, True)])
def test_runs_of_thirty_decays_give_a_number_only_together(n_components, most):
    """Of one run those would pass that look faster than they are; four together hold 600 decays."""
    passed = []
    for seed in range(10):
        series = ornstein_uhlenbeck(n_components, 600, 1.0, 20.0, np.random.default_rng(seed))
        passed.append(transport_coefficient(series, 1.0, 1.0, "Pa s", "the pressure tensor")[0].converged)
    assert sum(passed) >= 8 if most else sum(passed) <= 1

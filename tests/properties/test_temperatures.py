"""Activation energies and VFT parameters of values whose temperature dependence is known; replicas."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.properties.combining.temperatures import GAS_CONSTANT, arrhenius, combined, temperature_series, vft
from ilforge.results import Estimate, Record

T = np.array([333.0, 353.0, 373.0, 393.0, 413.0, 433.0])


def test_activation_energies_are_honest():
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        true = np.exp(-20.0 - 25.0 / (GAS_CONSTANT * T))
        errors = true * rng.uniform(0.03, 0.1, size=6)
        found = arrhenius(T, true + errors * rng.normal(size=6), errors)
        inside += found.converged and abs(found.value - 25.0) < 1.96 * found.error
    assert inside >= 180


def test_vft_parameters_are_honest():
    inside = {"vft_B": 0, "vft_T0": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        true = np.exp(3.0 - 800.0 / (T - 200.0))
        errors = 0.01 * true
        found = vft(T, true + errors * rng.normal(size=6), errors, rng)
        for name, value in (("vft_B", 800.0), ("vft_T0", 200.0)):
            inside[name] += found[name].converged and abs(found[name].value - value) < 1.96 * found[name].error
    assert min(inside.values()) >= 35, inside


def test_too_few_temperatures_are_refused():
    values, rng = np.array([1.0, 2.0, 3.0]), np.random.default_rng(1)
    assert "at least 3" in arrhenius(T[:2], values[:2], 0.1 * values[:2]).note
    assert "at least 4" in vft(T[:3], values, 0.1 * values, rng)["vft_T0"].note


def test_a_bend_is_no_activation_energy_and_a_line_has_no_vft_temperature():
    bent, straight = np.exp(3.0 - 800.0 / (T - 200.0)), np.exp(-25.0 / (GAS_CONSTANT * T))
    assert "not linear" in arrhenius(T, bent, 0.01 * bent).note
    assert "too straight to determine T0" in vft(T, straight, 0.02 * straight, np.random.default_rng(1))["vft_T0"].note


def test_viscosity_has_a_positive_activation_energy():
    values = np.exp(30.0 / (GAS_CONSTANT * T))
    assert arrhenius(T, values, 0.01 * values, falls=True).value == pytest.approx(30.0)
    (series,) = temperature_series(
        [replace(one, quantity="viscosity", value=v, error=0.02 * v) for one, v in zip(records(T), values, strict=True)]
    )
    assert series.records(np.random.default_rng(1))[0].value == pytest.approx(30.0)


def test_what_changes_the_wrong_way_has_a_negative_activation_energy():
    """A diffusion that falls as it gets hotter, and a viscosity that rises."""
    falling = np.exp(20.0 / (GAS_CONSTANT * T))
    found = arrhenius(T, falling, 0.01 * falling)
    assert found.converged and found.value == pytest.approx(-20.0) and "the values fall with temperature" in found.note
    rising = arrhenius(T, 1 / falling, 0.01 / falling, falls=True)
    assert rising.value == pytest.approx(-20.0) and "the values rise with temperature" in rising.note
    bent = np.exp(3.0 + 800.0 / (T - 200.0))
    rng = np.random.default_rng(1)
    there, back = (vft(T, bent, 0.01 * bent, rng, falls)["vft_B"] for falls in (True, False))
    assert there.value == pytest.approx(800.0, rel=0.01) and not there.note
    assert back.value == pytest.approx(-800.0, rel=0.01) and back.note.startswith("negative")


def test_diffusion_in_an_infinite_box_is_fitted_too():
    (series,) = temperature_series([replace(one, quantity="self_diffusion_infinite") for one in records(T)])
    assert series.records(np.random.default_rng(1))[0].value == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("temperatures", "values", "errors", "said"),
    [([0.0, 353, 373, 393], [1, 2, 3, 4], [0.1] * 4, "temperatures is 0: temperatures must be above 0 K"),
     ([-10.0, 353, 373, 393], [1, 2, 3, 4], [0.1] * 4, "temperatures is -10"),
     ([333, 353, 373, 393], [1, 2, -3, 4], [0.1] * 4, "values is -3: values must be above 0"),
     ([333, 353, 373, 393], [1, 0, 3, 4], [0.1] * 4, "values is 0"),
     ([333, 353, 373, 393], [1, 2, 3, np.nan], [0.1] * 4, "values is nan"),
     ([333, 353, 373, 393], [1, 2, 3, 4], [0.1, 0.0, 0.1, 0.1], "errors is 0"),
     ([333, 353, 373, 393], [1, 2, 3], [0.1] * 3, "equal numbers; found 4, 3, 3")],
)  # fmt: skip
def test_numbers_without_a_logarithm_are_refused_in_words(temperatures, values, errors, said):
    for fit in (arrhenius, lambda *of: vft(*of, np.random.default_rng(1))):
        with pytest.raises(SettingsError, match=said):
            fit(temperatures, values, errors)
    with pytest.raises(SettingsError, match="is at 0 K: temperatures must be above 0 K"):
        temperature_series([replace(records(T)[0], temperature_K=0.0)])


def test_runs_of_one_state_are_combined_and_refused_where_they_disagree():
    runs = [Estimate(1.0, 0.1, 50, "S/m"), Estimate(1.2, 0.2, 20, "S/m"), Estimate.refused("S/m", "too short")]
    found = combined(runs)
    # errors of 1/10 and 1/6: weights of 100 and 36
    assert found.value == pytest.approx(143.2 / 136) and found.n_eff == 70
    assert found.error == pytest.approx(found.value / np.sqrt(136))
    assert "2 of 3 runs" in found.note
    for value, error in ((2.0, 0.1), (0.1, 0.03), (0.01, 0.004)):
        assert "disagree" in combined([Estimate(1.0, 0.1, 9, "S/m"), Estimate(value, error, 9, "S/m")]).note
    plain = combined([Estimate(1.0, 0.1, 9, "Å"), Estimate(1.2, 0.2, 9, "Å")])
    assert plain.value == pytest.approx(1.04) and plain.error == pytest.approx(0.2 / np.sqrt(5))
    assert combined(runs[2:]) is runs[2]


def test_errors_that_are_a_share_of_the_value_do_not_favour_small_values():
    """Eight runs whose errors are 10 or 30 % of what each found: the mean is the truth's, and so is its error."""
    rng = np.random.default_rng(3)
    for share in (0.1, 0.3):
        found = []
        for _ in range(400):
            values = rng.gamma(share**-2, share**2, 8)
            found.append(combined([Estimate(v, share * v, 9, "Pa s") for v in values]))
        converged = [one for one in found if one.converged]
        assert len(converged) > 390
        assert np.mean([one.value for one in converged]) == pytest.approx(1.0, abs=0.02)
        inside = [abs(one.value - 1.0) < 1.96 * one.error for one in converged]
        assert np.mean(inside) > 0.9


def records(temperatures):
    values = np.exp(-25.0 / (GAS_CONSTANT * temperatures))
    return [
        Record("self_diffusion", "2 PYR14, 2 BF4", t, "clp", "BF4", None, None, v, 0.02 * v, 50, "m^2/s", True)
        for t, v in zip(temperatures, values, strict=True)
    ]


def test_series_come_from_records():
    second = [replace(one, n_eff=51) for one in records(T[:2])]
    (series,) = temperature_series([*records(T), *second])
    assert len(series.temperatures) == 6 and series.repeated == 0 and series.errors[0] < 0.015 * series.values[0]
    energy = series.records(np.random.default_rng(1))[0]
    assert energy.quantity == "activation_energy self_diffusion" and energy.value == pytest.approx(25.0)
    with pytest.raises(SettingsError, match="No record has a temperature"):
        temperature_series([])


def test_a_run_given_several_times_counts_once_and_the_output_says_so():
    (once,), (four,) = temperature_series(records(T)), temperature_series(records(T) * 4)
    assert np.array_equal(four.values, once.values) and np.array_equal(four.errors, once.errors)
    assert four.repeated == 18
    note = four.records(np.random.default_rng(1))[0].note
    assert note == "from 333 to 433 K; 18 records given more than once, counted once"
    refused = [replace(one, value=np.nan, error=np.nan, converged=False, note="too short") for one in records(T)]
    (series,) = temperature_series(refused * 2)
    assert series.left_out == 6 and series.repeated == 0


def of_state(factor=1.0, iteration=None, **state):
    return [
        replace(one, value=factor * one.value, error=factor * one.error, iteration=iteration, provenance=state)
        for one in records(T)
    ]


def test_runs_of_another_state_or_model_are_no_replicas():
    """Protocols have names of their own at each temperature, and do not tell series apart."""
    kinds = [
        {"ensemble": "NPT", "pressure_bar": 1.0},
        {"ensemble": "NPT", "pressure_bar": 1000.0},
        {"ensemble": "NVT"},
        {"ensemble": "NVT", "iteration": 1},
        {"ensemble": "NVT", "iteration": 2},
        {},
    ]
    given = [of_state(1 - 0.1 * k, ions="2 PYR14, 2 BF4", **kind) for k, kind in enumerate(kinds)]
    given = [[replace(r, provenance={**r.provenance, "protocol": f"md-{r.temperature_K:g}"}) for r in g] for g in given]
    series = temperature_series([one for group in given for one in group])
    assert [len(one.temperatures) for one in series] == [6] * 6
    np.testing.assert_allclose([one.values[0] for one in series], [group[0].value for group in given])
    energies = [one.records(np.random.default_rng(1))[0] for one in series]
    assert energies[1].note == "from 333 to 433 K; NPT at 1000 bar"
    assert energies[1].provenance == {"ions": "2 PYR14, 2 BF4", "ensemble": "NPT", "pressure_bar": 1000.0}
    assert energies[4].iteration == 2 and energies[4].note.endswith("; NVT; iteration 2")
    assert energies[5].note == "from 333 to 433 K"


def test_the_command_reads_files_of_records(tmp_path):
    from click.testing import CliRunner

    from ilforge.cli import ilforge, load_commands

    load_commands()
    files = []
    for record in records(T[:4]):
        files.append(tmp_path / f"{record.temperature_K:g}.json")
        files[-1].write_text(json.dumps([record.as_json()]))
    said = CliRunner().invoke(ilforge, ["temperatures", *map(str, files)])
    assert said.exit_code == 0 and "25.0" in said.output and "kJ/mol" in said.output
    assert "K)" in said.output.split("activation_energy")[1].splitlines()[0], "the range that it was fitted to"
    again = CliRunner().invoke(ilforge, ["temperatures", "--json", *map(str, files)])
    assert json.loads(again.output)[0]["unit"] == "kJ/mol"
    (tmp_path / "no.json").write_text("{")
    bad = CliRunner().invoke(ilforge, ["temperatures", str(tmp_path / "no.json")])
    assert isinstance(bad.exception, SettingsError) and "records" in str(bad.exception)

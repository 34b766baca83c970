"""Verdicts stand before all numbers in the terminal, and no number of a run that lost the liquid is printed."""

from __future__ import annotations

import json

import pytest

from ilforge import frames
from ilforge.cli import study
from ilforge.results import HOLDS_LIQUID, Estimate, Holding, LiquidVerdict, Record
from support import md

LOST = LiquidVerdict(Holding.DOES_NOT_HOLD, "the density fell from 1.02 to 0.45 g/cm3 within 11 ps", 0.45, 1.02, 11.0)
HELD = LiquidVerdict(Holding.HOLDS, "the density is 0.950 ± 0.012 g/cm3 over 40 ps", 0.95, 1.02, 40.0, 25.0)


def of_run(quantity, potential, liquid, estimate, species=None):
    labels = {"liquid": "PYR14BF4", "temperature_K": 423.0, "provenance": {"protocol": "npt"}}
    return Record.of(
        estimate, quantity=quantity, potential=potential, species=species, verdict=liquid.holding, **labels
    )


def density(liquid, value):
    lost = {"converged": False, "note": f"the run {liquid}"} if liquid.lost else {}
    return Estimate(value, 0.012, 25.0, "g/cm^3", **lost)


RECORDS = [
    Record.of(
        Estimate(0.0748, 0.005, 20.0, "eV/Å"), quantity="force_rmse", liquid="PYR14BF4", potential="mace", dataset="EQ"
    ),
    of_run("density", "mace", LOST, density(LOST, 0.4512)),
    of_run(HOLDS_LIQUID, "mace", LOST, LOST.estimate),
    of_run("density", "clp", HELD, density(HELD, 0.9503)),
    *(of_run("self_diffusion", "clp", HELD, Estimate.refused("m^2/s", "too short"), f"ION{k}") for k in range(12)),
    of_run(HOLDS_LIQUID, "clp", HELD, HELD.estimate),
]


def test_the_end_of_a_run_says_verdicts_first_then_ten_rows_of_numbers(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    study.print_verdicts(RECORDS)
    study._print_key_numbers(RECORDS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "MACE (npt): does not hold the liquid: the density fell from 1.02 to 0.45 g/cm3 within 11 ps"
    assert lines[1] == "CL&P (npt): holds the liquid: the density is 0.950 ± 0.012 g/cm3 over 40 ps"
    head = next(k for k, line in enumerate(lines) if line.startswith("Quantity"))
    assert lines[head].split() == ["Quantity", "MACE", "CL&P"]
    row = lines[head + 1]
    assert row.startswith("Density (g/cm³)") and "does not hold (1)" in row and row.endswith("0.950 ± 0.012")
    notes = [k for k, line in enumerate(lines) if line.startswith("(")]
    assert notes[0] == head + 1 + study.KEY_ROWS
    assert lines[notes[0]] == f"(1) the run {LOST}" and lines[notes[1]] == "(2) too short"
    assert "0.45 ±" not in "\n".join(lines) and "0.4512" not in "\n".join(lines)


def test_results_print_verdicts_before_the_numbers(ilforge, tmp_path, monkeypatch):
    monkeypatch.setattr("ilforge.workflow.study_run.FinishedStudy.records", lambda _: RECORDS)
    (tmp_path / "study.toml").write_text(
        'name = "x"\n[liquid]\nions = { PYR14 = 1, BF4 = 1 }\ndensity_g_cm3 = 1.0\n[potentials.clp]\ncutoff_A = 3.0\n'
    )
    code, out, _ = ilforge("results", "study.toml")
    assert code == 0 and out.splitlines()[0].startswith("MACE (npt): does not hold the liquid")
    assert HOLDS_LIQUID not in out and "not converged: the run does not hold the liquid" in out
    code, out, _ = ilforge("results", "study.toml", "--json")
    found = {(row["quantity"], row["potential"]): row for row in json.loads(out)}
    assert found["density", "mace"]["verdict"] == "does not hold" and not found["density", "mace"]["converged"]
    assert found[HOLDS_LIQUID, "mace"]["value"] == 0.0 and found[HOLDS_LIQUID, "clp"]["value"] == 1.0
    assert found["force_rmse", "mace"]["verdict"] is None
    code, out, _ = ilforge("results", "study.toml", "--csv")
    assert out.splitlines()[0].endswith(",verdict") and out.splitlines()[2].endswith(",does not hold")
    assert Record.from_json(found["density", "mace"]).verdict is Holding.DOES_NOT_HOLD


@pytest.mark.parametrize(
    ("kelvin", "said"),
    [("2900", "does not hold the liquid: the density fell from"), ("423", "not judged: ")],
)
def test_md_ends_with_its_verdict(ilforge, tmp_path, monkeypatch, kelvin, said):
    monkeypatch.setattr("ilforge.dynamics.openmm.BAROSTAT_STEPS", 2)
    frames.write(tmp_path / "box.xyz", [md.warm_box(0.8)])
    run = ("md", "box.xyz", "--potential", "clp:4", "--ensemble", "NPT", "--timestep", "1", "--interval", "0.02")
    code, out, err = ilforge(*run, "--length", "2" if said.startswith("does") else "0.2", "--temperature", kelvin)
    assert code == 0 and out.splitlines()[0].startswith(f"clp: {said}")
    assert ("The run failed and ended early" in err) == said.startswith("does")

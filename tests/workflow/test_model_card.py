"""Sections of the card of a model."""

from __future__ import annotations

from ilforge.results import Estimate, Record
from ilforge.workflow.model_card import _errors


def record(quantity, value, unit, **labels):
    return Record.of(Estimate(value, 0.01, 10.0, unit), quantity=quantity, potential="m", verdict=None, **labels)


def test_a_model_with_md_and_without_validation_says_that_no_errors_were_measured():
    assert list(_errors([record("density", 1.0, "g/cm^3")], "m")) == ["None were measured of m yet."]
    found = list(_errors([record("force_rmse", 0.05, "eV/A", dataset="EQ")], "m"))
    assert any(line.startswith("| Force RMSE | EQ |") for line in found) and "None were" not in "".join(found)

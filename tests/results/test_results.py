"""Estimates and records: digits that mean something, and no number where there is none to quote."""

from __future__ import annotations

import json
import math

import pytest

from ilforge.results import Estimate, Record


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.03456, 0.0031, "1.0346 ± 0.0031 g/cm^3"),
        (423.4, 12.0, "423 ± 12 g/cm^3"),
        (0.5, math.nan, "0.5 g/cm^3 (no error)"),
    ],
)
def test_as_many_digits_as_the_error_allows(value, error, text):
    assert str(Estimate(value, error, 30.0, "g/cm^3")) == text


def test_what_has_not_converged_is_not_quoted():
    estimate = Estimate(1.0346, 0.0031, 3.0, "g/cm^3", converged=False, note="3 independent samples, 20 needed")
    assert str(estimate) == "not converged: 3 independent samples, 20 needed"
    assert "1.03" not in Record.of(estimate, quantity="density", liquid="x", potential="clp").text


def test_a_refused_estimate_has_no_number():
    refused = Estimate.refused("m^2/s", "the ions are not diffusive")
    assert math.isnan(refused.value) and not refused.converged
    assert "not diffusive" in str(refused)


def test_a_record_survives_json_with_its_missing_numbers():
    record = Record.of(Estimate.refused("m^2/s", "too short"), quantity="self_diffusion", liquid="x", potential="mace")
    text = json.dumps(record.as_json(), allow_nan=False)
    again = Record.from_json(json.loads(text))
    assert math.isnan(again.value) and again.note == "too short" and again.quantity == "self_diffusion"

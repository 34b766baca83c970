"""Estimates and records: digits that mean something, and no number where there is none to quote."""

from __future__ import annotations

import json
import math

import pytest

from ilforge.results import Estimate, Record, too_few_frames, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.03456, 0.0031, "1.0346(31) g/cm3"),
        (423.4, 12.0, "423(12) g/cm3"),
        (0.5, math.nan, "0.5 g/cm3 (no error)"),
    ],
)
def test_as_many_digits_as_the_error_allows(value, error, text):
    assert str(Estimate(value, error, 30.0, "g/cm^3")) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.162e-9, 1.9e-11, "1.162(19)e-9"),
        (423.44, 1.23, "423.4(1.2)"),
        (4234.0, 120.0, "4230(120)"),
        (-0.5, 0.02, "-0.500(20)"),
        (1e-9, 5e-9, "1.0(5.0)e-9"),
        (9.996e-4, 2e-6, "9.996(20)e-4"),
        (0.9999, 0.0996, "1.00(10)"),
        (1e7, 2e5, "1.000(20)e7"),
        (0.0, 0.1, "0.00(10)"),
    ],
)
def test_errors_stand_in_brackets_in_units_of_the_last_digits(value, error, text):
    assert with_error(value, error) == text
    digits, _, exponent = text.partition("e")
    assert float(digits.partition("(")[0]) * 10.0 ** int(exponent or 0) == pytest.approx(value, abs=0.06 * error)


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


def test_one_frame_is_said_in_the_singular():
    assert too_few_frames(1, "for an error") == "1 frame is too few for an error"
    assert too_few_frames(2, "for an error") == "2 frames are too few for an error"

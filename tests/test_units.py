"""Numbers in words: digits, and lower limits that are never rounded down."""

from __future__ import annotations

import math

import pytest

from ilforge.units import at_least, in_digits


@pytest.mark.parametrize(
    ("value", "words"), [(203.6, "210"), (200.0, "200"), (0.0121, "0.013"), (999.0, "1000"), (1.0, "1"), (99.01, "100")]
)
def test_a_lower_limit_is_rounded_up(value, words):
    assert at_least(value) == words


def test_what_is_no_length_is_said_as_it_is():
    assert at_least(math.inf) == "inf" and at_least(0.0) == "0"


def test_digits_without_exponent():
    assert in_digits(590.4, 2) == "590" and in_digits(12345.0, 2) == "12000"

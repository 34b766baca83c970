"""Digests are those that labels and results are named by: as `sha256sum` finds them, whatever the order of keys."""

from __future__ import annotations

import hashlib

import pytest

from ilforge.canonical import canonical_json, digest, spaced_digest

DATA = {"b": [1, 2.5, None], "a": {"y": "Å", "x": True}}


def test_text_and_digest_are_those_of_json_written_by_hand():
    text = '{"a":{"x":true,"y":"\\u00c5"},"b":[1,2.5,null]}'
    assert canonical_json(DATA) == text
    assert digest(DATA) == hashlib.sha256(text.encode()).hexdigest()
    assert spaced_digest({"b": 1, "a": [2, 3]}) == hashlib.sha256(b'{"a": [2, 3], "b": 1}').hexdigest()


def test_the_order_of_keys_does_not_matter_and_values_do():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_not_a_number_has_no_name():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest({"a": float("nan")})

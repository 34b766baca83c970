"""Canonical JSON and its digest, which is equal for equal data; results, labels and methods are named by it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and without spaces, so that equal data give the same text.

    Raises
    ------
    ValueError
        For NaN and infinity, which do not exist in JSON.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256 of data in canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def spaced_digest(data: Any) -> str:
    """SHA-256 of data in JSON with sorted keys and a space after each comma and colon.

    The digests of force-field parameters have this form for historical reasons; they are part of the keys of labels.
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

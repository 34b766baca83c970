"""One text, and one digest, for the same data: what results, labels and methods are named by."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same data, everywhere.

    Raises
    ------
    ValueError
        For NaN and infinity, which JSON does not have.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(data: Any) -> str:
    """SHA-256 of data in canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()


def spaced_digest(data: Any) -> str:
    """SHA-256 of data in JSON with sorted keys and a space after each comma and colon.

    Digests of the parameters of force fields were first made so, and labels are named by them.
    """
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

"""``taken.json``: the labels that a training takes before its iteration is over (:mod:`.gathering`)."""

from __future__ import annotations

import json
from pathlib import Path

from ilforge import canonical
from ilforge.errors import DidNotFinish

TAKEN = "taken.json"


def known_in(gathering: Path) -> list[str]:
    """Digests of all frames whose labels were taken up to a decision, from its result."""
    known: list[str] = json.loads((gathering / TAKEN).read_text())["known"]
    return known


def count_in(gathering: Path) -> int:
    """Number of labels that a decision took and no decision before it had taken, from its result."""
    return len(json.loads((gathering / TAKEN).read_text())["taken"])


def taken_in(gathering: Path) -> str | None:
    """Digest of all labels that were taken up to a decision, from its result; None if its file is damaged."""
    try:
        return canonical.digest(known_in(gathering))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def require_same(gathering: Path, digest: str) -> None:
    """Check that a decision is still the one for which the dataset after it was planned.

    Raises
    ------
    DidNotFinish
        When its result was damaged or deleted, and another decision was made in its place.
    """
    if taken_in(gathering) != digest:
        raise DidNotFinish(
            f"{gathering / TAKEN} was lost and has been decided again, from the labels that are there now. Run the "
            "same command again: it goes on from this decision. No label is lost."
        )

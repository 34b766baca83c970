"""Models that were loaded from verified files and not used up yet, so that the next user need not load them again."""

from __future__ import annotations

from typing import Any

_MOST = 8  # those of a committee

_unused: dict[str, Any] = {}


def keep(sha256: str, model: Any) -> None:
    """Keep an unchanged model for the next :func:`take`; ``sha256`` is the digest of the contents it was loaded from.

    ``Any``, because the kinds of models have no type in common.
    """
    _unused[sha256.lower()] = model
    while len(_unused) > _MOST:
        del _unused[next(iter(_unused))]


def take(sha256: str) -> Any | None:
    """The model that was loaded from contents with this digest, for one user alone; None if none is kept."""
    return _unused.pop(sha256.lower(), None)

"""How loops are compiled: by numba at the first call, and kept in its cache for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code that lets other threads run."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep it in that can be written to: every process compiles for itself
        return njit(nogil=True)(function)

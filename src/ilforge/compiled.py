"""How loops are compiled: by numba at the first call, and kept in its cache for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code that lets other threads run."""
    try:
        return cast(F, njit(cache=True, nogil=True)(function))  # called as the function is
    except RuntimeError:  # no folder to keep it in that can be written to: every process compiles for itself
        return cast(F, njit(nogil=True)(function))

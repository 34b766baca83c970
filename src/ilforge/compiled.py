"""Compile loops with numba at the first call, with a cache for later processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function to machine code that does not block other threads."""
    try:
        return cast(F, njit(cache=True, nogil=True)(function))  # a compiled function is called in the same way
    except RuntimeError:  # numba has no writable folder for its cache, so every process compiles for itself
        return cast(F, njit(nogil=True)(function))

"""Compile loops with numba at the first call, with a cache for later processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function to machine code that does not block other threads."""
    return _compiled(function, forceinline=False)


def inlined(function: F) -> F:
    """Compile a function into the compiled functions that call it, because passing many arguments takes time."""
    return _compiled(function, forceinline=True)


def _compiled(function: F, forceinline: bool) -> F:
    try:  # a compiled function is called in the same way, so its type is the same
        return cast(F, njit(cache=True, nogil=True, forceinline=forceinline)(function))
    except RuntimeError:  # numba has no writable folder for its cache, so every process compiles for itself
        return cast(F, njit(nogil=True, forceinline=forceinline)(function))

"""Function calls as bytes, which are sent to a worker, and answers as bytes, which come back."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

from ilforge.errors import DidNotFinish


def pack(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """The call as bytes."""
    return pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)


def answer(call: bytes) -> bytes:
    """Run a packed call; returns its result or its exception, packed. It never raises an exception."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)), protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        error.add_note("".join(traceback.format_exception(error)))
        return _failure(error)


def unpack(answered: bytes) -> tuple[bool, Any]:
    """Whether a call succeeded, and its result or its exception."""
    try:
        answer: tuple[bool, Any] = pickle.loads(answered)
        return answer
    except Exception as error:  # for example a class that does not exist here
        return False, error


def _failure(error: BaseException) -> bytes:
    try:
        packed = pickle.dumps((False, error))
        pickle.loads(packed)  # some exceptions cannot be made again from their arguments
        return packed
    except Exception:
        return pickle.dumps((False, DidNotFinish(f"{type(error).__name__}: {error}")))

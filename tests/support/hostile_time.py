"""A limit of time for what should be refused at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_BUSY = 10.0  # a machine that others use too may be so many times slower by the clock


class Late(BaseException):
    """It took too long; no handler of errors may catch it."""


@contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Raise :class:`Late` in the block after so many seconds of work, or of waiting for what never comes."""

    def late(*_: object) -> None:
        raise Late

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, _BUSY * seconds))
    before = [signal.signal(number, late) for _, number, _ in clocks]
    for clock, _, limit in clocks:
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for (clock, number, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(number, handler)

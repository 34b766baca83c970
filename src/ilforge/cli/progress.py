"""How far a single command has come, and the time left, on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TextIO

LIVE_S, PLAIN_S = 0.5, 30.0
"""Between updates of the line in a terminal, and between lines elsewhere, s."""
POLL_S = 1.0


class Progress:
    """Shows ``labels: 12 of 60, about 3 min left``.

    In a terminal one line is rewritten. Elsewhere a line is added every half minute, so that short commands print
    nothing. The time left is that of the pace in the latter half of what has been done since the first call: it learns
    when work becomes slower, and work that an earlier run had done does not count.

    Parameters
    ----------
    what
        What is counted.
    stream
        Standard error without it.
    """

    def __init__(self, what: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self._what, self._stream, self._clock = what, stream or sys.stderr, clock
        self._live = self._stream.isatty()
        self._shown = clock()
        self._seen: deque[tuple[float, float]] = deque()  # when, and how much was done
        self._first, self._width = 0.0, 0

    def __call__(self, done: float, total: float) -> None:
        """So much of the whole is done."""
        now = self._clock()
        if not self._seen:
            self._first = done
        if not self._seen or now - self._seen[-1][0] >= LIVE_S:
            self._seen.append((now, done))
        if now - self._shown < (LIVE_S if self._live else PLAIN_S) or total <= 0:
            return
        self._shown = now
        self._show(f"{self._what}: {done:,.0f} of {total:,.0f}{self._left(done, total, now)}")

    def close(self) -> None:
        """Remove the line from the terminal."""
        if self._live and self._width:
            self._write("\r" + " " * self._width + "\r")

    def _left(self, done: float, total: float, now: float) -> str:
        from ilforge.report.wording import rough_duration

        while len(self._seen) > 1 and self._seen[1][1] <= (self._first + done) / 2:
            self._seen.popleft()
        then, before = self._seen[0]
        if done <= before:
            return ""
        return f", about {rough_duration((total - done) * (now - then) / (done - before))} left"

    def _show(self, text: str) -> None:
        if self._live:
            self._write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it
            self._stream.write(text)
            self._stream.flush()


@contextlib.contextmanager
def shown(what: str) -> Iterator[Progress]:
    """A progress that ends with the block."""
    progress = Progress(what)
    try:
        yield progress
    finally:
        progress.close()


@contextlib.contextmanager
def watched(what: str, read: Callable[[], tuple[float, float]]) -> Iterator[None]:
    """Show the progress of the block, which ``read`` finds out: done, and all (0 where that is not known yet)."""
    over = threading.Event()
    with shown(what) as progress:

        def watch() -> None:
            while not over.wait(POLL_S):
                with contextlib.suppress(OSError, ValueError, KeyError):  # a file that is being written
                    progress(*read())

        thread = threading.Thread(target=watch, daemon=True)
        with contextlib.suppress(RuntimeError):  # the system refuses a thread: then nothing is shown
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.ident is not None:
                thread.join()

"""Waiting for what must come, however fast or loaded the machine is.

No test may rely on something being over within some seconds: a machine that others use too takes any time for it. So
tests wait for what they need, and only what never comes ends them, after :data:`PATIENCE_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 1100.0
"""Time after which something that a test waits for never comes, s; a little less than pytest allows a test."""


def until(
    there: Callable[[], object],
    what: str = "what the test waits for",
    longest_s: float = PATIENCE_S,
    every_s: float = 0.05,
) -> None:
    """Wait until ``there()`` is true.

    Raises
    ------
    AssertionError
        When it is not true for ``longest_s``; ``what`` says what is missing.
    """
    deadline = time.monotonic() + longest_s
    while not there():
        assert time.monotonic() < deadline, f"{what}: not after {longest_s:g} s"
        time.sleep(every_s)


def until_file(path: Path) -> None:
    """Wait until a file is there, such as one with which a test lets its tasks go on."""
    until(path.exists, str(path), every_s=0.02)

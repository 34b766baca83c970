"""Tasks of :mod:`support.worlds` that wait for each other in different processes, by files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from support import tasks
from support.patience import until
from support.worlds import What


@dataclass(frozen=True)
class Pace:
    """A ``wait`` of a world: slow tasks end only when iteration 2 explores.

    Attributes
    ----------
    folder
        Where tasks leave files for each other: ``explores``, and ``slow`` with a line for each slow task that began,
        ``kind=process`` with the parent of the process that ran it.
    slow
        The slow tasks.
    """

    folder: Path
    slow: tuple[What, ...]

    def __call__(self, what: What) -> None:
        if what[:2] == ("explore", 2):
            self.explores.touch()
        if what in self.slow:
            tasks.count_call(self.folder / "slow", f"{what[0]}={os.getppid()}")
            until(self.explores.exists, "exploration of iteration 2")

    @property
    def explores(self) -> Path:
        return self.folder / "explores"

    def slow_began(self, count: int) -> bool:
        """Whether so many slow tasks have begun."""
        path = self.folder / "slow"
        return path.exists() and len(path.read_text().split()) >= count

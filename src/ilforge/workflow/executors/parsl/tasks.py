"""Tasks on nodes: their time limits, and their errors if a process or a node is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ilforge.errors import SettingsError
from ilforge.workflow.executors.executor import OutOfMemory, Resources, name_of
from ilforge.workflow.executors.parsl.settings import ParslSettings
from ilforge.workflow.executors.queue import Task

MOST_LOSSES = 10
"""A task that has lost this number of nodes is tried once more, and then given up."""
_MEASURED = 3  # from this number of tasks on, measured times replace the estimate
_USABLE = 0.9  # share of the walltime that a task may need: the rest is for the start


@dataclass(eq=False)
class ClusterTask(Task):
    """A task, and its history on nodes.

    Attributes
    ----------
    began
        When it was last sent to a node, on the clock of :func:`time.monotonic`, s.
    losses
        How often its node was lost.
    refusals
        How often a job had too little time left for it.
    overruns
        How often its node was lost after more time than it was expected to take.
    least_s
        Time that a job must have left for it, s, because it took longer than expected before.
    """

    began: float = 0.0
    losses: int = 0
    refusals: int = 0
    overruns: int = 0
    least_s: float = 0.0


class Durations:
    """The time that tasks take: the expected time, until enough tasks of the same stage were measured."""

    def __init__(self, settings: ParslSettings):
        self._settings = settings
        self._count: dict[tuple[Callable[..., Any], Resources], int] = defaultdict(int)
        self._longest: dict[tuple[Callable[..., Any], Resources], float] = defaultdict(float)

    @property
    def most_s(self) -> float:
        """Longest time that a task may need, s."""
        return _USABLE * self._settings.walltime_s

    def took(self, task: ClusterTask, seconds: float) -> None:
        """Record a task that has ended."""
        key = task.function, task.resources
        self._count[key] += 1
        self._longest[key] = max(self._longest[key], seconds)

    def needs_s(self, task: ClusterTask) -> float:
        """Time that a job must have left to start a task, s."""
        key = task.function, task.resources
        expected = self._longest[key] if self._count[key] >= _MEASURED else task.resources.expected_s or 0.0
        return max(self._settings.margin * expected, task.least_s)

    def overran(self, task: ClusterTask, ran_s: float) -> None:
        """Record a task whose node was lost after more than the expected time, because its job may have ended.

        Raises
        ------
        SettingsError
            When the task had nearly a whole job in an earlier try, too.
        """
        task.overruns += 1
        if task.overruns > 1 and ran_s > 0.8 * self.most_s:
            ran, limit = hours(ran_s), hours(self._settings.walltime_s)
            raise SettingsError(
                f"{name_of(task.function)} did not end within {ran}, twice, in jobs of {limit}: set walltime_h higher."
            )
        task.least_s = min(self._settings.margin * ran_s, self.most_s)


def too_long(task: ClusterTask, needs_s: float, settings: ParslSettings) -> SettingsError:
    """The error of a task that needs more time than a job has."""
    return SettingsError(
        f"walltime_h = {settings.walltime_h:g}, but a task of {name_of(task.function)} needs {hours(needs_s)} (its "
        f"expected time times margin = {settings.margin:g}), and the start of a job takes time, too. Set "
        f"walltime_h to {needs_s / 3600 / _USABLE:.3g} or more, or give this kind of work to another executor (`run`)."
    )


def out_of_memory_alone(task: ClusterTask, said: str, memory_GB: float | None) -> OutOfMemory:
    """The error of a task that ran out of memory, in a job of its own, too."""
    had = "a job of its own" if memory_GB is None else f"a job of its own with {memory_GB:g} GB"
    return OutOfMemory(
        f"{name_of(task.function)} ran out of memory twice, the second time in {had} ({said}). Set more_memory_GB, and "
        "a partition whose nodes have it."
    )


def hours(seconds: float) -> str:
    """A time in words: ``"90 s"``, ``"2.5 h"``."""
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.3g} h"

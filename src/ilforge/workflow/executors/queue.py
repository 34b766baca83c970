"""Select the next task: the most urgent one for which there is room."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from ilforge.workflow.executors.executor import Resources

_serial = itertools.count()


@dataclass(eq=False)
class Task:
    """A task, and how often it has been tried.

    Attributes
    ----------
    attempts
        How often a process has run it.
    starts
        How often no process could be started for it.
    alone
        It ran out of memory, so no other task may run at the same time when it is tried again.
    overtook
        It was started before a more urgent task that did not fit.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    resources: Resources
    urgency: float = 0.0
    on_start: Callable[[], None] | None = None
    future: Future[Any] = field(default_factory=Future)
    serial: int = field(default_factory=lambda: next(_serial))
    attempts: int = 0
    starts: int = 0
    alone: bool = False
    overtook: bool = False

    @property
    def order(self) -> tuple[bool, float, int]:
        """Position in the queue: tasks that must run alone wait until no other task runs."""
        return self.alone, -self.urgency, self.serial

    def claim(self) -> bool:
        """Whether it is still needed. After this call it cannot be cancelled, because its process would continue
        unnoticed."""
        return self.future.running() or self.future.set_running_or_notify_cancel()

    def cancel(self) -> None:
        """Cancel it, whether it runs or not, and wake the threads that wait for it.

        ``Future.cancel`` alone does not wake threads in ``concurrent.futures.wait``.
        """
        if self.future.cancel():
            self.future.set_running_or_notify_cancel()
        elif not self.future.done():
            self.future.set_exception(CancelledError())

    def fail(self, error: Exception) -> None:
        """End it with an error; a cancelled task stays cancelled."""
        if self.future.done() or not self.claim():
            self.cancel()
        else:
            self.future.set_exception(error)


class Queue:
    """Waiting tasks in order.

    If a task does not fit yet, later tasks that fit may start first, as long as they leave the room that it will need.
    One task always runs, whatever its needs.

    Parameters
    ----------
    slots
        Tasks that run at the same time.
    room
        Upper limits for the needs of all running tasks together.
    """

    def __init__(self, slots: int, room: Resources):
        self._slots, self._room = slots, room
        self._waiting: list[Task] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> None:
        bisect.insort(self._waiting, task, key=lambda one: one.order)

    def clear(self) -> Iterator[Task]:
        """Take out all tasks."""
        while self._waiting:
            yield self._waiting.pop()

    def take(self, running: Sequence[Task]) -> Task | None:
        """Remove and return the next task that fits beside the running ones; None if no task fits."""
        while (position := self._next(running)) is not None:
            task = self._waiting.pop(position)
            if task.claim():
                return task
        return None

    def _next(self, running: Sequence[Task]) -> int | None:
        if not running:
            return 0 if self._waiting else None
        if len(running) >= self._slots or any(task.alone for task in running):
            return None
        overtakers = [task for task in running if task.overtook]
        first: Task | None = None
        for position, task in enumerate(self._waiting):
            if task.future.cancelled():
                return position
            if task.alone:  # all tasks after it must run alone, too
                return None
            if self._fit([*running, task]) and (first is None or self._fit([first, *overtakers, task])):
                task.overtook = first is not None
                return position
            first = first or task
        return None

    def _fit(self, tasks: Sequence[Task]) -> bool:
        """Whether these tasks can run side by side."""
        needs = [task.resources for task in tasks]
        return (
            sum(need.cores for need in needs) <= self._room.cores
            and sum(need.gpus for need in needs) <= self._room.gpus
            and sum(need.memory_GB for need in needs) <= self._room.memory_GB
        )

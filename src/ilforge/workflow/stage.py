"""A stage: a function of settings and inputs, whose result is a directory named by their digest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ilforge import canonical
from ilforge.workflow.executors import Resources, Work

if TYPE_CHECKING:
    from ilforge.devices import Program
    from ilforge.workflow.job import Job
    from ilforge.workflow.store import ResultStore

_SHORTEST_LIMIT_S, _LIMIT = 3600.0, 10.0
"""The time limit of a task is ten times its expected time, but at least this time, an hour, in s."""


class AtHand(NamedTuple):
    """Number of tasks with results in a store, number of those that failed, and number of all tasks."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a study.

    Attributes
    ----------
    name
        What the user sees: ``"label training frames"``. Not part of the key.
    kind
        One word for its work; the first half of the name of its directory.
    version
        Number that is raised if the same settings and inputs give another result than before.
    settings
        Everything that affects the result, as JSON values; never the machine.
    inputs
        Stages whose results it reads, by the names that it uses for them.
    work
        Function that fills ``job.directory`` from ``job.settings`` and ``job.input(name)``.
    tasks, task_seconds
        Expected number of tasks and expected time of each on one core, s: for planning and progress only.
    memory_GB
        Expected memory of one task, GB: for planning, and to limit the number of tasks that run at the same time.
    runs_as
        Its kind of work, for ``run`` in ``machine.toml``.
    programs
        Programs that it will start.
    computes_with
        Its programs that can use a GPU, by their names in :data:`ilforge.devices.PROGRAMS`.
    progress
        For a stage of one long task: reads ``(steps done, steps in all)`` from its scratch directory.
    at_hand
        For a stage of many tasks: counts their results in a store, without computing anything.
    may_begin
        For a stage that takes what is there: whether enough is there in a store. It is asked often once the inputs are
        finished, so it must be quick. The result of such a stage is no function of its key, so its digest is a setting
        of the stages that follow (:mod:`.steps.gathering`).
    """

    name: str
    kind: str
    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, Stage]
    work: Callable[[Job], None]
    tasks: int = 1
    task_seconds: float = 1.0
    memory_GB: float = 0.5
    runs_as: Work = "analyse"
    programs: tuple[str, ...] = ()
    computes_with: tuple[Program, ...] = ()
    progress: Callable[[Path], tuple[int, int]] | None = None
    at_hand: Callable[[ResultStore], AtHand] | None = None
    may_begin: Callable[[ResultStore], bool] | None = None

    @cached_property
    def key(self) -> str:
        """``kind-`` and 20 hex digits of the SHA-256 of kind, version, settings and the inputs' keys."""
        made_of = {
            "kind": self.kind,
            "version": self.version,
            "settings": self.settings,
            "inputs": {name: stage.key for name, stage in sorted(self.inputs.items())},
        }
        return f"{self.kind}-{canonical.digest(made_of)[:20]}"

    @property
    def resources(self) -> Resources:
        """Resources of one of its tasks on one core; not part of the key."""
        limit_s = max(_SHORTEST_LIMIT_S, _LIMIT * self.task_seconds)
        return Resources(memory_GB=self.memory_GB, walltime_s=limit_s, expected_s=self.task_seconds)

    @property
    def seconds(self) -> float:
        """Expected time of all its tasks on one core, s."""
        return self.tasks * self.task_seconds


def in_order(targets: Iterable[Stage], finished: Collection[str] = ()) -> list[Stage]:
    """The targets and all stages that they need, each once (by key), inputs first.

    A stage whose key is in ``finished`` is left out, and so are stages that only such stages need.
    """
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key in ordered or stage.key in finished:
            return
        for parent in stage.inputs.values():
            visit(parent)
        ordered[stage.key] = stage

    for target in targets:
        visit(target)
    return list(ordered.values())


def seconds_to_the_end(stages: Iterable[Stage], workers: int = 1) -> dict[str, float]:
    """For each key, the expected time of the longest chain among ``stages`` that starts with it, s.

    A stage takes at least as long as one of its tasks, and as all of them spread over the workers.

    The scheduler runs the longest chain first, which keeps all workers busy to the end (list scheduling by
    critical path).
    """
    stages = list(stages)
    alone = {stage.key: max(stage.task_seconds, stage.seconds / workers) for stage in stages}
    remaining = dict(alone)
    for stage in reversed(stages):
        for parent in (parent for parent in stage.inputs.values() if parent.key in remaining):
            remaining[parent.key] = max(remaining[parent.key], alone[parent.key] + remaining[stage.key])
    return remaining

"""Executors run tasks. To add one, write a file here and a line in :data:`EXECUTORS`, or a plug-in."""

from __future__ import annotations

from ilforge.workflow.executors.executor import (
    Executor,
    ExecutorKind,
    NoWorker,
    OutOfMemory,
    Place,
    Resources,
    Surroundings,
    Work,
    WorkerDied,
    no_worker,
)
from ilforge.workflow.executors.local import ATTEMPTS, LocalExecutor, require_main_guard
from ilforge.workflow.executors.registry import EXECUTORS, Executors, require_executors

__all__ = [
    "ATTEMPTS",
    "EXECUTORS",
    "Executor",
    "ExecutorKind",
    "Executors",
    "LocalExecutor",
    "NoWorker",
    "OutOfMemory",
    "Place",
    "Resources",
    "Surroundings",
    "Work",
    "WorkerDied",
    "no_worker",
    "require_executors",
    "require_main_guard",
]

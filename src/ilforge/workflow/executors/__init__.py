"""Executors: where tasks run. Another one is one file here and one line in :data:`EXECUTORS`, or a plug-in.

A plug-in is a package with an entry point of the group ``ilforge.executors`` that names such a class.
"""

from __future__ import annotations

from ilforge.workflow.executors.executor import (
    Executor,
    NoWorker,
    OutOfMemory,
    Resources,
    Surroundings,
    Work,
    WorkerDied,
    no_worker,
)
from ilforge.workflow.executors.local import LocalExecutor, require_main_guard
from ilforge.workflow.executors.registry import EXECUTORS, GROUP, Executors, known, require_executors

__all__ = [
    "EXECUTORS",
    "GROUP",
    "Executor",
    "Executors",
    "LocalExecutor",
    "NoWorker",
    "OutOfMemory",
    "Resources",
    "Surroundings",
    "Work",
    "WorkerDied",
    "known",
    "no_worker",
    "require_executors",
    "require_main_guard",
]

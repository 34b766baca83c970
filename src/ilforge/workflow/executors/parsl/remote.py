"""The code that runs on a node: each worker of Parsl has one additional process, which runs one call after the other.

Because the call runs in this process, a crash of its libraries or a kill for lack of memory is noticed at once, with
its exit code, and is distinguished from the loss of the node.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Literal

from ilforge import machine_programs
from ilforge.workflow.executors.calls import answer
from ilforge.workflow.executors.executor import NoWorker, OutOfMemory, Place, Surroundings, WorkerDied
from ilforge.workflow.executors.local import LocalExecutor
from ilforge.workflow.executors.parsl.providers import ENDS
from ilforge.workflow.executors.queue import Task

GRACE_S = 10.0
"""Time at the end of a job in which no task is started, s."""

_ENDED_TOO_S = 2.0  # a job that is cancelled or over loses all of its processes within this time

Outcome = Literal["answered", "too late", "no process", "died", "out of memory"]


@dataclass(frozen=True)
class Reply:
    """The reply of a node about a task.

    Attributes
    ----------
    outcome
        ``answered`` if the call ended, with a result or an exception.
    place
        Where.
    job
        Parsl's number of the job.
    content
        The answer as bytes, for :func:`~ilforge.workflow.executors.calls.unpack`.
    said
        A description if there is no answer.
    """

    outcome: Outcome
    place: Place
    job: str
    content: bytes = b""
    said: str = ""


class _OneTry(LocalExecutor):
    """One process; if a task ends it, the task is not tried again here."""

    def _again(self, task: Task, error: WorkerDied) -> None:
        task.future.set_exception(error)


_process: _OneTry | None = None


def perform(call: bytes, surroundings: Surroundings, needs_s: float) -> Reply:
    """Run a packed call, unless too little time of the job is left.

    Parameters
    ----------
    call
        See :func:`~ilforge.workflow.executors.calls.pack`.
    surroundings
        Settings for the process at its start.
    needs_s
        Time that must be left of the job, s.
    """
    global _process
    machine_programs.use(surroundings.programs)  # which environments there are
    place = Place.here()
    job = os.environ.get("PARSL_WORKER_BLOCK_ID", "")
    left_s = float(os.environ.get(ENDS, "inf")) - time.time() - GRACE_S
    if left_s < needs_s:
        return Reply("too late", place, job, said=f"{left_s:.0f} s are left")
    try:
        if _process is None or _process.closed.is_set():
            _forget_main()
            _process = _OneTry(1, surroundings=surroundings)
        return Reply("answered", place, job, content=_process.submit(answer, call).result())
    except NoWorker as error:
        return Reply("no process", place, job, said=str(error))
    except WorkerDied as error:
        time.sleep(_ENDED_TOO_S)  # if this process is killed as well, the job was ended, and the task did nothing wrong
        if isinstance(error, OutOfMemory):
            return Reply("out of memory", place, job, said=error.why or "it was killed")
        return Reply("died", place, job, said=error.why)


def _forget_main() -> None:
    """Keep the new process from importing Parsl's main program, which it does not need and which takes a second."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    vars(main).pop("__file__", None)

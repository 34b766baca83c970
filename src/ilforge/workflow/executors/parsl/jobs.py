"""Jobs of a queueing system: their number, their states, and the messages of the system.

A job is alive if its nodes are connected; the state in the queueing system counts only for jobs without connected
nodes. So nothing changes if the system does not answer for a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilforge.programs import last_lines
from ilforge.workflow.executors.executor import NoWorker
from ilforge.workflow.executors.parsl.ledger import Ledger
from ilforge.workflow.executors.parsl.settings import ParslSettings

FIRST_TRIES, PATIENCE_S = 3, 1800.0
"""Number of times that the first job may be refused; time for which later jobs may be refused, s."""
FAILED_STARTS = 3
"""Number of jobs in a row that may end before one of their nodes is connected."""
PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
"""Waiting time after a job was refused, which doubles each time, s."""
_CANCEL_TRIES = 3  # a job that has ended meanwhile is an error, too
_COMMAND_S = 600.0  # for an answer of Parsl's own processes


@dataclass
class QueuedJob:
    """A job that was submitted.

    Attributes
    ----------
    block
        Parsl's number.
    number
        Number in the queueing system; empty if the job runs although the system returned no number.
    nodes
        Nodes that are connected now.
    slots, busy
        Tasks that they can run, and tasks that they run now.
    idle_s
        Time for which no task has run on any of them, s.
    called_in
        Whether a node has ever been connected.
    held
        No further task is started on it: too little time is left.
    over
        It has ended.
    """

    block: str
    number: str
    nodes: int = 0
    slots: int = 0
    busy: int = 0
    idle_s: float = 0.0
    called_in: bool = False
    held: bool = False
    over: bool = False
    submitted: float = 0.0


class Jobs:
    """The jobs of one shape; used by one thread.

    Parameters
    ----------
    htex
        Parsl's executor, at work.
    slots_per_job
        Tasks at the same time in a job.
    ledger
        Book of the jobs.
    say
        Function that prints a line for the user.
    """

    def __init__(
        self, htex: Any, settings: ParslSettings, slots_per_job: int, ledger: Ledger, say: Callable[[str], None]
    ):
        self._htex, self._settings, self._ledger, self._say = htex, settings, ledger, say
        self._slots_per_job = slots_per_job
        self._jobs: dict[str, QueuedJob] = {}
        self._next_block, self._next_status = 0, 0.0
        self._accepted = False
        self._refusals, self._refused_since, self._next_try = 0, 0.0, 0.0
        self._failed_starts = 0
        self._said_limit = False
        self._to_cancel: dict[str, int] = {}  # number of a job -> how often it is tried yet
        self._said = ""  # last message of the queueing system or of a job about the reason why there is no job

    @property
    def alive(self) -> list[QueuedJob]:
        """Jobs that wait or run."""
        return [job for job in self._jobs.values() if not job.over]

    @property
    def room(self) -> int:
        """Number of tasks that the connected nodes may run."""
        return sum(job.slots for job in self.alive if not job.held)

    def look(self) -> None:
        """Find the connected nodes and, from time to time, the states of jobs in the queueing system."""
        managers = self._htex.command_client.run("MANAGERS", timeout_s=_COMMAND_S)
        for job in self._jobs.values():
            nodes = [manager for manager in managers if manager["block_id"] == job.block]
            if not job.number and nodes:  # it was taken although the command that submitted it failed
                job.over = False
            if not job.over:
                self._count(job, nodes)
        if time.monotonic() >= self._next_status:
            self._next_status = time.monotonic() + self._settings.status_s
            self._ask_the_system()
            self.cancel(())

    def hold(self, block: str) -> None:
        """Start nothing more on a job."""
        job = self._jobs.get(block)
        if job is None or job.held:
            return
        job.held = True
        for manager in self._htex.command_client.run("MANAGERS", timeout_s=_COMMAND_S):
            if manager["block_id"] == block:
                self._htex.command_client.run(["HOLD_MANAGER", manager["manager"]], timeout_s=_COMMAND_S)

    def ask_for(self, tasks: int, most: int) -> None:
        """Submit jobs for this number of running and waiting tasks, but at most ``most`` jobs.

        Raises
        ------
        NoWorker
            When no job is accepted, or none starts to work; the message quotes the queueing system.
        """
        usable = [job for job in self.alive if not job.held]
        lacking = math.ceil(tasks / self._slots_per_job) - len(usable)
        for _ in range(min(lacking, most)):
            if not self._may_submit() or not self._submit():
                return

    def end_idle(self, waiting: int, longest_s: float) -> None:
        """End jobs that had no task for the idle time, and held jobs without tasks; ``waiting`` is the number of
        waiting tasks."""
        needless = []
        for job in self.alive:
            if job.nodes:
                done = job.busy == 0 and (job.held or (not waiting and job.idle_s > longest_s))
            else:
                done = not waiting and not job.called_in and time.monotonic() - job.submitted > longest_s
            if done:
                needless.append(job)
                if job.nodes:  # until it counts as lost, Parsl would send it tasks
                    self.hold(job.block)
        self.cancel(needless)

    def cancel(self, jobs: Sequence[QueuedJob] | None = None) -> bool:
        """End these jobs (by default all), and jobs that could not be ended before; False if some are left."""
        for job in self.alive if jobs is None else jobs:
            job.over = True
            if job.number:
                self._to_cancel[job.number] = _CANCEL_TRIES
        numbers = list(self._to_cancel)
        if not numbers:
            return True
        try:
            done = all(self._htex.provider.cancel(numbers))
        except Exception:  # such as a command that does not come back
            done = False
        tried = {} if done else {number: tries - 1 for number, tries in self._to_cancel.items()}
        self._to_cancel = {number: tries for number, tries in tried.items() if tries}
        return done

    def _count(self, job: QueuedJob, managers: Sequence[dict[str, Any]]) -> None:
        job.nodes = len(managers)
        job.slots = sum(manager["worker_count"] for manager in managers if manager["active"])
        job.busy = sum(manager["tasks"] for manager in managers)
        job.idle_s = min((manager["idle_duration"] for manager in managers), default=0.0)
        if managers and not job.called_in:
            job.called_in, self._failed_starts = True, 0
        elif job.called_in and not managers:
            self.cancel([job])  # if it still runs, nothing uses it
            self._say(
                f"job {job.number} is gone; tasks that it had run again in another. It said:\n{self._written(job)}"
            )

    def _ask_the_system(self) -> None:
        asked = [job for job in self.alive if job.number]
        try:
            states = self._htex.provider.status([job.number for job in asked])
        except Exception as error:  # it is asked again; nodes that are there go on
            self._said = said_by(error)
            return
        for job, state in zip(asked, states, strict=True):
            if state is not None and state.terminal and not job.nodes:
                job.over = True
                if not job.called_in:
                    self._failed_to_start(job, state)

    def _failed_to_start(self, job: QueuedJob, state: Any) -> None:
        self._failed_starts += 1
        self._said = self._written(job, state)
        self._say(f"job {job.number} ended ({state.status_name.lower()}) before it ran a task. It said:\n{self._said}")
        if self._failed_starts >= FAILED_STARTS and not any(one.called_in for one in self.alive):
            raise NoWorker(
                f"{self._failed_starts} jobs in a row ended before they ran a task; see `environment` and `python`. "
                f"The last one ({job.number}) said:\n{self._said}"
            )

    def _written(self, job: QueuedJob, state: Any = None) -> str:
        """The content of a job's error file, to which the queueing system also writes the reason for ending a job."""
        known = self._htex.provider.resources.get(job.number, {}).get("job_stderr_path")
        path = known or getattr(state, "stderr_path", None)
        written = last_lines(Path(path), 10).strip() if path else ""
        return written or str(getattr(state, "message", None) or "(nothing in its error file)")

    def _may_submit(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        limit = self._settings.submissions_per_hour
        pause_s = self._ledger.pause_s(limit)
        if pause_s > 0 and not self._said_limit:
            at = time.strftime("%H:%M", time.localtime(time.time() + pause_s))
            self._say(f"{limit} jobs were submitted within an hour (submissions_per_hour); the next one at {at}.")
        self._said_limit = pause_s > 0
        return pause_s == 0

    def _submit(self) -> bool:
        block = str(self._next_block)
        self._next_block += 1
        command = self._htex.launch_cmd.format(block_id=block)
        job = self._jobs[block] = QueuedJob(block, "", submitted=time.monotonic())
        self._ledger.submitting()
        try:
            number = self._htex.provider.submit(command, 1, f"ilforge.{block}")
            if not number:
                raise RuntimeError("the queueing system gave the job no number")
        except Exception as error:  # whatever a provider raises: it may be a hiccup
            job.over = True
            self._refused(said_by(error))
            return False
        job.number = str(number)
        self._ledger.submitted(job.number)
        self._accepted, self._refusals = True, 0
        return True

    def _refused(self, said: str) -> None:
        self._said = said
        if self._refusals == 0:
            self._refused_since = time.monotonic()
        pause_s = min(LONGEST_PAUSE_S, PAUSE_S * 2**self._refusals)
        self._refusals += 1
        self._next_try = time.monotonic() + pause_s
        lasted_s = time.monotonic() - self._refused_since
        if any(job.nodes for job in self.alive):
            given_up = False
        else:
            given_up = lasted_s > PATIENCE_S if self._accepted else self._refusals >= FIRST_TRIES
        if given_up:
            raise NoWorker(f"The queueing system took no job, {self._refusals} times in a row. It said:\n{said}")
        self._say(f"a job was not taken; tried again in {pause_s:.0f} s. The queueing system said:\n{said}")


def said_by(error: Exception) -> str:
    """The error output of a command of the queueing system; if there is none, the error itself."""
    for name in ("stderr", "stdout"):
        written = getattr(error, name, None)
        if isinstance(written, bytes):
            written = written.decode(errors="replace")
        if written and written.strip():
            return str(written).strip()
    return str(error) or type(error).__name__

"""The executor of a cluster: a priority queue for jobs of a queueing system, which Parsl starts and feeds.

Tasks wait here until a node has room. Until then they can be cancelled, and more urgent tasks go first. One thread
submits and ends the jobs; replies arrive in a thread of Parsl.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

from ilforge.devices import Devices
from ilforge.programs import require
from ilforge.study.machine import Machine
from ilforge.workflow.executors.calls import unpack
from ilforge.workflow.executors.executor import (
    NoWorker,
    OutOfMemory,
    Resources,
    Surroundings,
    WorkerDied,
    is_out_of_memory,
    name_of,
    worker_died,
)
from ilforge.workflow.executors.local import ATTEMPTS, require_main_guard
from ilforge.workflow.executors.parsl.jobs import Jobs
from ilforge.workflow.executors.parsl.ledger import Ledger
from ilforge.workflow.executors.parsl.pool import Pool
from ilforge.workflow.executors.parsl.providers import Shape, cancel
from ilforge.workflow.executors.parsl.remote import Reply
from ilforge.workflow.executors.parsl.settings import ParslSettings
from ilforge.workflow.executors.parsl.tasks import (
    MOST_LOSSES,
    ClusterTask,
    Durations,
    out_of_memory_alone,
    too_long,
)
from ilforge.workflow.executors.queue import Task

LOOK_S = 0.5
"""Time between checks of the nodes, s."""
_CANCEL_TRIES, _CANCEL_PAUSE_S = 3, 2.0
_MOST_REFUSALS = 100  # of jobs that had too little time left for a task
_FOLDER = "executors"


class ParslExecutor:
    """Runs tasks in jobs of a queueing system; see :class:`~ilforge.workflow.executors.executor.Executor`.

    A task that runs out of memory, or is expected to need more than its share of a node, goes to a job of its own that
    asks for more memory.

    Parameters
    ----------
    settings
        The table of ``machine.toml``.
    surroundings
        Settings for each process at its start.
    folder
        Folder for records of the jobs, on a disk that the nodes see.
    name
        Name of the table.

    Attributes
    ----------
    say
        Function that prints a line for the user.
    closed
        Set when no task runs any more.
    """

    def __init__(self, settings: ParslSettings, surroundings: Surroundings, folder: Path, name: str):
        require("parsl")
        require_main_guard()
        self.slots, self.threads = settings.slots, settings.threads
        self.say: Callable[[str], None] = lambda text: None
        self._settings, self._surroundings, self._name = settings, surroundings, name
        self._ledger = Ledger(folder)
        self._durations = Durations(settings)
        shapes = {
            False: Shape(settings.workers_per_node, settings.memory_GB),
            True: Shape(1, settings.alone_GB),
        }
        self._pools = {
            alone: Pool(settings, surroundings, shape, self._ledger, self._settle, self._tell)
            for alone, shape in shapes.items()
        }
        self._unfinished: set[ClusterTask] = set()
        self._lock = threading.RLock()
        self._awake, self.closed = threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"executor {name}", daemon=True)
        self._keeper.start()
        atexit.register(self.close)

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        resources: Resources | None = None,
        urgency: float = 0.0,
        on_start: Callable[[], None] | None = None,
    ) -> Future[Any]:
        """Run ``function(*arguments)`` on a node: see :meth:`.executor.Executor.submit`."""
        task = ClusterTask(function, arguments, resources or Resources(cores=self.threads), urgency, on_start)
        task.alone = self._settings.share_GB is not None and task.resources.memory_GB > self._settings.share_GB
        with self._lock:
            if not self.closed.is_set():
                self._unfinished.add(task)
        task.future.add_done_callback(lambda _: self._forget(task))
        self._queue(task)
        return task.future

    def close(self) -> None:
        """Stop at once: cancel waiting tasks and end the jobs."""
        atexit.unregister(self.close)
        with self._lock:
            self.closed.set()
            self._awake.set()
        if threading.current_thread() is not self._keeper:
            self._keeper.join()

    def __enter__(self) -> ParslExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self, task: ClusterTask) -> None:
        with self._lock:
            self._unfinished.discard(task)

    def _tell(self, text: str) -> None:
        self.say(f"[executors.{self._name}] {text}")

    def _queue(self, task: ClusterTask) -> None:
        """Add a task to the queue, if a job can be long enough for it."""
        needs_s = self._durations.needs_s(task)
        if needs_s > self._durations.most_s:
            task.fail(too_long(task, needs_s, self._settings))
            return
        pool = self._pools[task.alone]
        with self._lock:
            closed = self.closed.is_set()
            if not closed and pool.fault is None:
                pool.waiting.add(task)
                self._awake.set()
        if closed:
            task.cancel()
        elif pool.fault is not None:
            self._fail(task, pool.fault)
        else:
            self._feed(pool)

    def _feed(self, pool: Pool) -> None:
        """Send tasks to nodes that have room."""
        chosen = []
        with self._lock:
            while not self.closed.is_set() and len(pool.running) < pool.room:
                task = cast("ClusterTask | None", pool.waiting.take(()))
                if task is None:
                    break
                pool.running.add(task)
                chosen.append(task)
        for task in chosen:
            try:
                if task.on_start is not None:
                    task.on_start()
                task.began = time.monotonic()
                pool.send(task, self._durations.needs_s(task))
            except Exception as error:
                with self._lock:
                    pool.running.discard(task)
                task.fail(error)

    def _settle(self, pool: Pool, task: ClusterTask, done: Future[Any]) -> None:
        """Receive the outcome of a task on a node; called in a thread of Parsl."""
        with self._lock:
            pool.running.discard(task)
        error = done.exception()
        try:
            if error is None:
                self._take(pool, task, done.result())
            else:
                self._lost(task, error)
        except Exception as fault:  # whatever it is: nobody may wait for this task for ever
            task.fail(fault)
        self._feed(pool)

    def _take(self, pool: Pool, task: ClusterTask, reply: Reply) -> None:
        """Handle the reply of a node about a task."""
        if reply.outcome == "answered":
            done, value = unpack(reply.content)
            if done:
                self._durations.took(task, time.monotonic() - task.began)
            if not done and is_out_of_memory(value):
                self._more_memory(task, f"{type(value).__name__}: {value}".strip(": "))
                return
            if not task.future.done():
                task.future.place = reply.place  # type: ignore[attr-defined]  # see Executor.submit
                task.future.set_result(value) if done else task.future.set_exception(value)
        elif reply.outcome == "out of memory":
            self._more_memory(task, reply.said)
        elif reply.outcome == "died":
            task.attempts += 1
            self._again(task, worker_died(task.function, f"{reply.said} on {reply.place.host}"))
        else:
            self._refused(pool, task, reply)

    def _more_memory(self, task: ClusterTask, said: str) -> None:
        """Try a task once more in a job of its own, which asks for more memory."""
        if task.alone and task.attempts:
            task.fail(out_of_memory_alone(task, said, self._settings.alone_GB))
            return
        task.attempts += 1
        task.alone = True
        self._queue(task)

    def _again(self, task: ClusterTask, error: WorkerDied) -> None:
        if task.attempts < ATTEMPTS:
            self._queue(task)
        else:
            task.fail(error)

    def _refused(self, pool: Pool, task: ClusterTask, reply: Reply) -> None:
        """Handle a task that a node did not start: its job gets no more tasks."""
        task.refusals += 1
        if task.refusals > _MOST_REFUSALS:
            raise NoWorker(f"[executors.{self._name}]: no job could start {name_of(task.function)}: {reply.said}.")
        with self._lock:
            pool.to_hold.add(reply.job)
            pool.room = len(pool.running)  # until the next look
        if reply.outcome == "no process":
            self._tell(f"job on {reply.place.host} gets no more tasks: {reply.said}")
        self._queue(task)

    def _lost(self, task: ClusterTask, error: BaseException) -> None:
        """Handle the loss of a node or of its Parsl worker, which does not count as a failure of the task."""
        if type(error).__name__ not in ("ManagerLost", "WorkerLost"):
            raise NoWorker(
                f"[executors.{self._name}]: a node could not run {name_of(task.function)}: {type(error).__name__}: "
                f"{error}. See that `python` and `environment` give it the ilforge of this run."
            )
        task.losses += 1
        if task.losses > MOST_LOSSES:
            raise WorkerDied(f"{MOST_LOSSES + 1} nodes were lost while they ran {name_of(task.function)}: {error}.")
        ran_s = time.monotonic() - task.began
        needs_s = self._durations.needs_s(task)
        if 0 < needs_s < ran_s - self._settings.lost_after_s:
            self._durations.overran(task, ran_s)
        self._queue(task)

    def _keep(self) -> None:
        """The thread for the jobs: check nodes, send them tasks, submit and end jobs, until closed."""
        fault: BaseException | None = None
        try:
            self._end_leftovers()
            while not self.closed.is_set():
                for alone, pool in self._pools.items():
                    if pool.jobs is None and pool.tasks:
                        pool.start("alone" if alone else "many")
                    if pool.jobs is not None:
                        self._look_after(pool, pool.jobs)
                self._awake.wait(LOOK_S)
                self._awake.clear()
        except BaseException as error:
            fault = error
        self._end(fault)

    def _look_after(self, pool: Pool, jobs: Jobs) -> None:
        try:
            pool.look()
            self._feed(pool)
            alive = sum(len(one.jobs.alive) for one in self._pools.values() if one.jobs is not None)
            jobs.ask_for(pool.tasks, self._settings.jobs - alive)
        except NoWorker as error:
            with self._lock:
                pool.fault = NoWorker(f"[executors.{self._name}] in machine.toml: {error}")
                tasks: list[Task] = [*pool.waiting.clear(), *pool.running]
            for task in tasks:
                self._fail(task, pool.fault)
        others = [one for one in self._pools.values() if one is not pool]
        longest_s = 0.0 if any(one.starves for one in others) else 60 * self._settings.idle_min
        jobs.end_idle(len(pool.waiting), longest_s)

    def _fail(self, task: Task, fault: NoWorker) -> None:
        """End a task for which there is no job; if it ran out of memory before, with that error."""
        if task.alone and task.attempts:
            task.fail(
                OutOfMemory(f"{name_of(task.function)} ran out of memory, and no job with more is there. {fault}")
            )
        else:
            task.fail(fault)

    def _end_leftovers(self) -> None:
        """Cancel jobs of killed runs, because nobody waits for their results."""
        for folder, numbers in self._ledger.left_by_others().items():
            # processes of this machine end by themselves, and their numbers are used again
            if self._settings.provider == "local" or not numbers or cancel(self._settings, numbers):
                self._ledger.remove(folder)

    def _end(self, fault: BaseException | None) -> None:
        """End the jobs; then cancel the remaining tasks, or end them with an error."""
        with self._lock:
            self.closed.set()
            left = set(self._unfinished)
        for task in left:
            task.cancel() if fault is None else task.fail(_in_words(fault, self._name))
        ended = [_closed(pool) for pool in self._pools.values()]
        self._ledger.close(all(ended))


def _closed(pool: Pool) -> bool:
    """End the jobs of a pool; try again if the queueing system does not answer."""
    ended = pool.close()
    for _ in range(_CANCEL_TRIES - 1):
        if ended or pool.jobs is None:
            break
        time.sleep(_CANCEL_PAUSE_S)
        ended = pool.jobs.cancel(())
    return ended


def _in_words(fault: BaseException, name: str) -> NoWorker:
    said = f"{type(fault).__name__}: {fault}" if not isinstance(fault, NoWorker) else str(fault)
    return NoWorker(f"[executors.{name}] in machine.toml: {said}")


def start(machine: Machine, settings: ParslSettings, name: str) -> ParslExecutor:
    """The executor of the table ``[executors.NAME]``; its jobs are written down in a folder with this name."""
    devices = machine.devices if settings.device is None else Devices.parse(settings.device)
    surroundings = Surroundings(settings.threads, devices, machine.programs)
    return ParslExecutor(settings, surroundings, Path(machine.store) / _FOLDER / name, name)

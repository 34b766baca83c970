"""The executor of this machine: worker processes that continue if one of them dies.

Only this file starts, monitors and kills processes.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import connection
from typing import Annotated, Any, Literal

from pydantic import Field

from ilforge.errors import SettingsError
from ilforge.programs import die_with_parent, variables_for_children
from ilforge.settings import Positive, Settings
from ilforge.study.machine import Machine
from ilforge.workflow.executors.calls import answer, pack, unpack
from ilforge.workflow.executors.executor import (
    ExecutorKind,
    OutOfMemory,
    Resources,
    Surroundings,
    WorkerDied,
    is_out_of_memory,
    killed_for_memory,
    no_worker,
    out_of_memory,
    worker_died,
)
from ilforge.workflow.executors.queue import Queue, Task

ATTEMPTS = 2
"""Number of tries of a task whose worker dies, or that runs out of memory."""

STARTS, PAUSE_S = 5, 1.0
"""Number of times that the system may refuse a process for a task, and the time between two tries, s."""

ENDING_S = 60.0
"""Time that a process has to end after it has closed its channel, s: on a busy machine this is not at once."""

_CONTEXT = multiprocessing.get_context("spawn")  # forked copies of a process with threads may dead-lock
_NAME, _UNGUARDED = "ilforge worker", 79  # exit code of a worker whose main script starts workers when it is imported
_GUARD = """A script that starts workers is imported by each of them, so it must not start them when it is imported. \
Put what it does under `if __name__ == "__main__":`."""


class LocalSettings(Settings):
    """A table of ``[executors]`` of the kind ``local``; missing keys have the values of the whole machine."""

    kind: Literal["local"] = "local"
    """Processes of this machine."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Tasks of this executor at the same time."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of each task."""
    memory_GB: Positive | None = None
    """Upper limit for the expected memory of its tasks together, GB."""
    gpus: Annotated[int, Field(ge=1)] | None = None
    """Tasks on a GPU at the same time."""


class LocalExecutor:
    """A priority queue and processes of this machine that run its tasks.

    :class:`~ilforge.workflow.executors.queue.Queue` selects the next task. If a process dies, only the task that it ran
    is affected. This task is tried once more or, if memory was exhausted, once more with no other task beside it.

    Parameters
    ----------
    slots
        Tasks that run at the same time.
    memory_GB
        Upper limit for the expected memory of all running tasks together, GB.
    gpus
        Tasks on a GPU at the same time; without a limit, they share the GPUs.
    surroundings
        Settings for each process at its start.

    Attributes
    ----------
    closed
        Set when no task runs any more.
    """

    def __init__(
        self,
        slots: int,
        memory_GB: float = math.inf,
        gpus: int | None = None,
        surroundings: Surroundings | None = None,
    ):
        require_main_guard()
        self.slots, self._surroundings = slots, surroundings or Surroundings()
        self.threads = self._surroundings.threads
        room = Resources(slots * self.threads, sys.maxsize if gpus is None else gpus, memory_GB)
        self._waiting = Queue(slots, room)
        self._unfinished: set[Task] = set()
        self._workers: list[_Worker] = []
        self._lock = threading.RLock()
        self._rest_until: float | None = None  # the system refused a process
        self._woken = False
        self.closed = threading.Event()
        # One long-lived thread starts all processes: on Linux a child dies with the *thread* that started it.
        self._dispatcher = threading.Thread(target=self._dispatch, name="local executor", daemon=True)
        try:
            self._alarm, self._bell = _CONTEXT.Pipe(duplex=False)
            self._dispatcher.start()
        except (OSError, RuntimeError) as error:
            raise no_worker(error) from error
        atexit.register(self.close)

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        resources: Resources | None = None,
        urgency: float = 0.0,
        on_start: Callable[[], None] | None = None,
    ) -> Future[Any]:
        """Run ``function(*arguments)`` in a process: see :meth:`.executor.Executor.submit`."""
        task = Task(function, arguments, resources or Resources(cores=self.threads), urgency, on_start)
        task.future.add_done_callback(lambda _: self._unfinished.discard(task))
        self._queue(task)
        return task.future

    def close(self) -> None:
        """Stop at once: forget waiting tasks and kill the processes."""
        atexit.unregister(self.close)
        with self._lock:
            self.closed.set()
            self._wake()
        if threading.current_thread() is not self._dispatcher:
            self._dispatcher.join()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _queue(self, task: Task) -> None:
        with self._lock:
            if not self.closed.is_set():
                self._unfinished.add(task)
                self._waiting.add(task)
                self._wake()
                return
        task.cancel()

    def _wake(self) -> None:
        """Wake the dispatcher; called with the lock held."""
        if not self._woken:
            self._woken = True
            with contextlib.suppress(OSError):  # closed already
                self._bell.send_bytes(b"")

    def _dispatch(self) -> None:
        """The dispatcher: start tasks and receive answers of processes, until closed."""
        fault: BaseException | None = None
        try:
            while not self.closed.is_set():
                self._begin_what_fits()
                self._listen()
        except BaseException as error:  # whatever it is: nobody may wait for this thread for ever
            fault = error
        self._end(fault)

    def _begin_what_fits(self) -> None:
        if self._rest_until is not None and time.monotonic() < self._rest_until:
            return
        self._rest_until = None
        while self._rest_until is None and (task := self._take()) is not None:
            self._begin(task)

    def _take(self) -> Task | None:
        running = [worker.task for worker in self._workers if worker.task is not None]
        with self._lock:
            return None if self.closed.is_set() else self._waiting.take(running)

    def _begin(self, task: Task) -> None:
        """Give a task to a process; if the system refuses memory, a descriptor or a process, the future gets this
        error."""
        try:
            if task.on_start is not None:
                task.on_start()
            message = pack(task.function, task.arguments)
        except Exception as error:
            task.future.set_exception(error)
            return
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            try:
                worker = _Worker(self._surroundings)
            except Exception as error:
                self._not_started(task, error)
                return
            self._workers.append(worker)
        worker.give(task, message)

    def _not_started(self, task: Task, error: Exception | str) -> None:
        """Try again later, because the system may have room then."""
        task.starts += 1
        self._rest_until = time.monotonic() + PAUSE_S
        if task.starts < STARTS:
            self._queue(task)
        else:
            task.future.set_exception(no_worker(error))

    def _listen(self) -> None:
        """Wait for a task, a result, or the end of a process."""
        workers: dict[Any, _Worker] = {worker.connection: worker for worker in self._workers}
        workers |= {worker.process.sentinel: worker for worker in self._workers}
        rest_s = None if self._rest_until is None else max(0.0, self._rest_until - time.monotonic())
        ready = connection.wait([self._alarm, *workers], rest_s)
        if self._alarm in ready:
            with self._lock:
                self._alarm.recv_bytes()
                self._woken = False
        for worker in dict.fromkeys(workers[one] for one in ready if one is not self._alarm):
            self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.connection.recv_bytes() if worker.connection.poll() else None
        except (EOFError, OSError):
            said = None
        if said is None:
            self._lost(worker)
        elif not worker.ready:
            worker.begin()
        else:
            self._settle(worker.take_back(), worker, *unpack(said))

    def _settle(self, task: Task, worker: _Worker, done: bool, value: Any) -> None:
        if done:
            task.future.set_result(value)
        elif not is_out_of_memory(value):
            task.future.set_exception(value)
        else:
            self._workers.remove(worker)
            worker.end()  # its memory may be fragmented
            said = f"{type(value).__name__}: {value}".strip(": ")
            self._again(task, out_of_memory(task.function, said))

    def _lost(self, worker: _Worker) -> None:
        """Handle a process that ended although ilforge did not stop it."""
        self._workers.remove(worker)
        code, task = worker.end(kill=False), worker.task
        if task is None:
            return
        if code == _UNGUARDED:
            task.future.set_exception(SettingsError(_GUARD))
        elif not worker.sent:
            self._not_started(task, f"a new process ended at once, with {_ending(code)}; its output is above")
        else:
            killed = code == -signal.SIGKILL  # not by ilforge: usually the system does this if memory is exhausted
            died = worker_died(task.function, _ending(code))
            self._again(task, killed_for_memory(task.function) if killed else died)

    def _again(self, task: Task, error: WorkerDied) -> None:
        """Try a task once more, without other tasks if it ran out of memory; after the last try, end it with an
        error."""
        if task.attempts < ATTEMPTS:
            task.alone = isinstance(error, OutOfMemory)
            self._queue(task)
        else:
            task.future.set_exception(error)

    def _end(self, fault: BaseException | None) -> None:
        """Kill every process; then cancel the remaining tasks, or end them with an error."""
        with self._lock:
            self.closed.set()
            left = {*self._waiting.clear(), *self._unfinished}
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        for task in left:
            task.cancel() if fault is None else task.fail(no_worker(fault))
        self._alarm.close()
        self._bell.close()


class _Worker:
    """One process, and its current task."""

    def __init__(self, surroundings: Surroundings):
        self.task: Task | None = None
        self.ready = self.sent = False
        self._message = b""
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_serve, args=(theirs, os.getpid(), surroundings), name=_NAME)
        try:
            with variables_for_children(surroundings.variables):
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def give(self, task: Task, message: bytes) -> None:
        """Hand over a task: now, or as soon as the process is ready."""
        self.task, self._message, self.sent = task, message, False
        if self.ready:
            self.begin()

    def begin(self) -> None:
        self.ready = True
        with contextlib.suppress(OSError):  # it is dead; its sentinel reports this
            self.connection.send_bytes(self._message)
            self.sent = True
            if self.task is not None:
                self.task.attempts += 1
        self._message = b""

    def take_back(self) -> Task:
        task, self.task = self.task, None
        assert task is not None  # it has one
        task.overtook = False
        return task

    def end(self, kill: bool = True) -> int | None:
        """Make sure that the process is gone; returns the exit code of one that ended by itself, -9 for SIGKILL."""
        if not kill:
            self.process.join(ENDING_S)  # its exit code says why it ended
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            self.process.join()
        self.connection.close()
        return code


def require_main_guard() -> None:
    """End a worker that itself starts workers, because its main script does so when it is imported.

    Raises
    ------
    SettingsError
        In a process that another library started, which imports the main script as well.
    """
    process = multiprocessing.current_process()
    if not getattr(process, "_inheriting", False):  # only while a new process imports the main script
        return
    if process.name == _NAME:
        os._exit(_UNGUARDED)  # the process that started this one reports the reason
    raise SettingsError(_GUARD)


def _serve(channel: connection.Connection, parent: int, surroundings: Surroundings) -> None:
    """A worker process: answer each task with its result, until the parent closes the channel or dies."""
    die_with(parent)
    surroundings.enter()
    channel.send_bytes(b"")  # ready
    while True:
        try:
            message = channel.recv_bytes()
        except EOFError:
            return
        channel.send_bytes(answer(message))


def die_with(parent: int) -> None:
    """Die with the parent process, even when it is killed: no worker may outlive its study."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator stops its workers itself
    if sys.platform == "linux":
        die_with_parent()
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _ending(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code or 0}"


def start(machine: Machine, settings: LocalSettings, name: str) -> LocalExecutor:
    """The executor of a table of ``[executors]``."""
    here = _here(machine, settings)
    return LocalExecutor(here.worker_count, here.usable_memory_GB, here.gpus, Surroundings.of(here))


def _here(machine: Machine, settings: LocalSettings) -> Machine:
    return machine.model_copy(update=settings.model_dump(exclude={"kind"}, exclude_none=True))


KIND = ExecutorKind("local", LocalSettings, start, lambda machine, settings: _here(machine, settings).worker_count)

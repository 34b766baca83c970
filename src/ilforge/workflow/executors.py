"""Workers: where tasks run. A pool of local processes that survives the death of any of them."""

from __future__ import annotations

import ctypes
import heapq
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from ilforge import devices
from ilforge.devices import Devices
from ilforge.errors import DidNotFinish
from ilforge.programs import thread_variables

ATTEMPTS = 2
"""A task whose worker dies under it is tried this often."""

STARTS, PAUSE_S = 5, 1.0
"""So often the system may refuse a process for a task, and the time in between, s."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
"""TensorFlow: no start-up chatter, and one fixed order of summation."""


class WorkerDied(DidNotFinish):
    """A worker process died under a task, :data:`ATTEMPTS` times."""


class NoWorker(DidNotFinish):
    """No process could be started for a task, :data:`STARTS` times."""


@dataclass(order=True)
class _Task:
    order: tuple[float, int]
    function: Callable[..., Any] = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    future: Future = field(compare=False)
    on_start: Callable[[], None] | None = field(compare=False, default=None)
    attempts: int = field(default=0, compare=False)
    starts: int = field(default=0, compare=False)


class Workers:
    """A priority queue in front of some processes.

    A task goes to a process only when one is free, so the most urgent waiting task always goes next. Each process
    is alone in its pool: when it dies (out of memory, a crash in a library), that concerns the task it was running and
    no other. The task is tried once more in a new process; one that fails like that twice raises :class:`WorkerDied`.

    Parameters
    ----------
    count
        Processes.
    threads
        Threads that numerical libraries may use in each.
    chosen
        Where programs compute in each; without it on the processor.

    Attributes
    ----------
    closed
        Set when nothing runs any more.
    """

    def __init__(self, count: int, threads: int = 1, chosen: Devices | None = None):
        self.count, self.threads = count, threads
        self._devices = chosen or Devices()
        self._waiting: list[_Task] = []
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[ProcessPoolExecutor, _Task] = {}
        self._running = 0
        self._changed = threading.Condition()
        self._serial = itertools.count()
        self.closed = threading.Event()
        # One long-lived thread starts all processes: on Linux a child dies with the *thread* that started it.
        threading.Thread(target=self._dispatch, name="workers", daemon=True).start()

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        urgency: float = 0.0,
        on_start: Callable[[], None] | None = None,
    ) -> Future:
        """Run ``function(*arguments)`` in a process; the more urgent task first. Returns its future.

        ``on_start`` is called, in another thread, when the task leaves the queue.
        """
        task = _Task((-urgency, next(self._serial)), function, arguments, Future(), on_start)
        with self._changed:
            if self.closed.is_set():
                _cancel(task.future)
            else:
                heapq.heappush(self._waiting, task)
                self._changed.notify()
        return task.future

    def close(self) -> None:
        """Stop at once: forget waiting tasks and kill the processes."""
        with self._changed:
            self.closed.set()
            waiting, self._waiting = self._waiting, []
            pools = [*self._idle, *self._busy]
            self._idle = []
            self._changed.notify()
        for task in waiting:
            _cancel(task.future)
        for pool in pools:
            _kill(pool)
        for pool in pools:
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dispatch(self) -> None:
        """Hand the most urgent task to a process whenever one is free, until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.closed.is_set() or (self._waiting and self._running < self.count))
                if self.closed.is_set():
                    return
                task = heapq.heappop(self._waiting)
                # from here on it cannot be cancelled from outside: its process would go on unseen
                if not task.future.running() and not task.future.set_running_or_notify_cancel():
                    continue
                self._running += 1
            self._start(task)

    def _start(self, task: _Task) -> None:
        """Give a task to a process; what the system refuses (memory, descriptors, processes) ends in its future."""
        try:
            if task.on_start is not None:
                task.on_start()
            with self._changed:
                pool = self._idle.pop() if self._idle else None
            pool = pool or self._new_process()
            inner = pool.submit(task.function, *task.arguments)
        except BrokenProcessPool:  # the process died while it was idle
            self._not_started(task, None)
        except Exception as error:
            self._not_started(task, error)
        else:
            task.attempts += 1
            with self._changed:
                self._busy[pool] = task
                if self.closed.is_set():  # since it left the queue
                    _kill(pool)
            inner.add_done_callback(lambda done: self._finished(task, pool, done))

    def _not_started(self, task: _Task, error: Exception | None) -> None:
        task.starts += 1
        if error is not None:
            time.sleep(PAUSE_S)  # what lacks now may be there soon
        with self._changed:
            self._running -= 1
            if not self.closed.is_set() and (error is None or task.starts < STARTS):
                heapq.heappush(self._waiting, task)
                self._changed.notify()
                return
        if self.closed.is_set():
            _cancel(task.future)
        else:
            task.future.set_exception(_no_worker(error))

    def _finished(self, task: _Task, pool: ProcessPoolExecutor, inner: Future) -> None:
        error = None if inner.cancelled() else inner.exception()
        broken = isinstance(error, BrokenProcessPool)
        with self._changed:
            self._running -= 1
            self._busy.pop(pool, None)
            if not broken and not self.closed.is_set():
                self._idle.append(pool)
            again = broken and task.attempts < ATTEMPTS and not self.closed.is_set()
            if again:
                heapq.heappush(self._waiting, task)
            closed = self.closed.is_set()
            self._changed.notify()
        if again:
            return
        if inner.cancelled() or (closed and broken):
            _cancel(task.future)
        elif broken:
            task.future.set_exception(_died(task))
        elif error is not None:
            task.future.set_exception(error)
        else:
            task.future.set_result(inner.result())

    def _new_process(self) -> ProcessPoolExecutor:
        # fresh interpreters (spawn): forked copies of a threaded process dead-lock, and inherit locks;
        # numerical libraries read these variables when they are loaded, so they are set here already
        os.environ.update(thread_variables(self.threads) | QUIET)
        return ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(os.getpid(), self._devices),
        )


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()


def _cancel(future: Future) -> None:
    """Cancel a future, running or not, and wake those who wait for it; ``cancel`` alone leaves :func:`wait` asleep."""
    if future.cancel():
        future.set_running_or_notify_cancel()
    elif not future.done():
        future.set_exception(CancelledError())


def _died(task: _Task) -> WorkerDied:
    return WorkerDied(
        f"A worker process died twice while it ran {task.function.__module__}.{task.function.__name__}: it was "
        "killed, ran out of memory, or a library crashed. Fewer workers (machine.toml) need less memory."
    )


def _no_worker(error: Exception | None) -> NoWorker:
    said = getattr(error, "strerror", None) or str(error)
    return NoWorker(
        f"No worker process could be started ({said}): memory, open files or processes of this machine are used up. "
        "What is finished is kept; fewer workers (machine.toml) need less. The same command goes on from there."
    )


def _start_worker(parent: int, chosen: Devices) -> None:
    """Die with the parent, even when it is killed: no worker may outlive its study."""
    devices.use(chosen)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator stops its workers itself
    for library in ("e3nn", "mace"):  # about a variable that MACE itself sets: nothing a user could do
        warnings.filterwarnings("ignore", message=".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", module=library)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)

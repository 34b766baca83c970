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
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from ilforge.errors import DidNotFinish
from ilforge.programs import thread_variables

ATTEMPTS = 2
"""A task whose worker dies under it is tried this often."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
"""TensorFlow: no start-up chatter, and one fixed order of summation."""


class WorkerDied(DidNotFinish):
    """A worker process died under a task, :data:`ATTEMPTS` times."""


@dataclass(order=True)
class _Task:
    order: tuple[float, int]
    function: Callable[..., Any] = field(compare=False)
    arguments: tuple[Any, ...] = field(compare=False)
    future: Future = field(compare=False)
    on_start: Callable[[], None] | None = field(compare=False, default=None)
    attempts: int = field(default=0, compare=False)


class Workers:
    """A priority queue in front of a process pool.

    A task goes to a process only when one is free, so the most urgent waiting task always goes next. When a
    process dies (out of memory, a crash in a library), the pool is made anew and the tasks that were running are
    tried once more, alone at fault or not; a task that fails like that twice raises :class:`WorkerDied`.

    Parameters
    ----------
    count
        Processes.
    threads
        Threads that numerical libraries may use in each.
    """

    def __init__(self, count: int, threads: int = 1):
        self.count, self.threads = count, threads
        self._waiting: list[_Task] = []
        self._running = 0
        self._changed = threading.Condition()
        self._serial = itertools.count()
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False
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
            if self._closed:
                _cancel(task.future)
            else:
                heapq.heappush(self._waiting, task)
                self._changed.notify()
        return task.future

    def close(self) -> None:
        """Stop at once: forget waiting tasks and kill the processes."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            pool, self._pool = self._pool, None
            self._changed.notify()
        for task in waiting:
            _cancel(task.future)
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dispatch(self) -> None:
        """Hand the most urgent task to the pool whenever a process is free, until closed."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._waiting and self._running < self.count))
                if self._closed:
                    return
                task = heapq.heappop(self._waiting)
                if task.future.cancelled():
                    continue
                self._running += 1
                task.attempts += 1
                pool = self._processes()
            self._start(task, pool)

    def _start(self, task: _Task, pool: ProcessPoolExecutor) -> None:
        if task.on_start is not None:
            task.on_start()
        try:
            inner = pool.submit(task.function, *task.arguments)
        except RuntimeError:  # the pool broke, or was closed, since the last task
            inner = Future()
            inner.set_exception(BrokenProcessPool())
            task.attempts -= 1
        inner.add_done_callback(lambda done: self._finished(task, pool, done))

    def _finished(self, task: _Task, pool: ProcessPoolExecutor, inner: Future) -> None:
        error = None if inner.cancelled() else inner.exception()
        with self._changed:
            self._running -= 1
            broken = isinstance(error, BrokenProcessPool)
            if broken and self._pool is pool:
                self._pool = None
            again = broken and task.attempts < ATTEMPTS and not self._closed
            if again:
                heapq.heappush(self._waiting, task)
            closed = self._closed
            self._changed.notify()
        if again:
            return
        if inner.cancelled() or closed:
            _cancel(task.future)
        elif broken:
            task.future.set_exception(_died(task))
        elif error is not None:
            task.future.set_exception(error)
        else:
            task.future.set_result(inner.result())

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # fresh interpreters (spawn): forked copies of a threaded process dead-lock, and inherit locks;
            # numerical libraries read these variables when they are loaded, so they are set here already
            os.environ.update(thread_variables(self.threads) | QUIET)
            self._pool = ProcessPoolExecutor(
                self.count,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(os.getpid(),),
            )
        return self._pool


def _cancel(future: Future) -> None:
    """Cancel a future and wake those who wait for it; ``cancel`` alone leaves :func:`wait` asleep."""
    if future.cancel():
        future.set_running_or_notify_cancel()


def _died(task: _Task) -> WorkerDied:
    return WorkerDied(
        f"A worker process died twice while it ran {task.function.__module__}.{task.function.__name__}: it was "
        "killed, ran out of memory, or a library crashed. Fewer workers (machine.toml) need less memory."
    )


def _start_worker(parent: int) -> None:
    """Die with the parent, even when it is killed: no worker may outlive its study."""
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

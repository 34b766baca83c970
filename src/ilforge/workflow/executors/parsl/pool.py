"""Jobs of one shape and their tasks; Parsl's executor passes the tasks to the jobs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ilforge.workflow.executors.calls import pack
from ilforge.workflow.executors.executor import NoWorker, Resources, Surroundings
from ilforge.workflow.executors.parsl.jobs import Jobs
from ilforge.workflow.executors.parsl.ledger import Ledger
from ilforge.workflow.executors.parsl.providers import Shape, provider_of
from ilforge.workflow.executors.parsl.remote import perform
from ilforge.workflow.executors.parsl.settings import ParslSettings
from ilforge.workflow.executors.parsl.tasks import ClusterTask
from ilforge.workflow.executors.queue import Queue

_NO_LIMIT = sys.maxsize


class Pool:
    """Jobs of one shape, and the tasks that wait for them and run in them.

    Parameters
    ----------
    shape
        Resources that a job requests.
    ledger
        Records of the jobs; Parsl's files are written to its folder.
    settled
        Called with pool, task and Parsl's future when a node has replied, or was lost.
    say
        Function that prints a line for the user.

    Attributes
    ----------
    waiting
        Tasks that have not been sent yet.
    running
        Tasks that were sent to a node.
    to_hold
        Parsl's numbers of jobs that get no further task.
    room
        Number of tasks that the connected nodes may run.
    fault
        The reason why there are no jobs, after ilforge has given up.
    jobs
        The jobs; None until :meth:`start`.
    """

    def __init__(
        self,
        settings: ParslSettings,
        surroundings: Surroundings,
        shape: Shape,
        ledger: Ledger,
        settled: Callable[[Pool, ClusterTask, Future[Any]], None],
        say: Callable[[str], None],
    ):
        self._settings, self._surroundings, self._shape, self._ledger = settings, surroundings, shape, ledger
        self._settled, self._say = settled, say
        self.waiting = Queue(_NO_LIMIT, Resources(_NO_LIMIT, _NO_LIMIT, float("inf")))
        self.running: set[ClusterTask] = set()
        self.to_hold: set[str] = set()
        self.room = 0
        self.fault: NoWorker | None = None
        self.jobs: Jobs | None = None
        self._htex: Any = None
        self._sending = threading.Lock()  # only one thread at a time may use Parsl's sockets

    @property
    def tasks(self) -> int:
        """Tasks that wait or run."""
        return len(self.waiting) + len(self.running)

    @property
    def starves(self) -> bool:
        """Whether tasks wait, and there is no job for them."""
        return len(self.waiting) > 0 and not (self.jobs is not None and self.jobs.alive)

    def start(self, label: str) -> None:
        """Start Parsl's executor. The calling thread must live as long as the executor, because its interchange ends
        with the thread."""
        _write_log(self._ledger.own / "parsl.log")
        self._htex = _executor(self._settings, self._shape, self._ledger.own, label)
        self._htex.start()
        slots = self._settings.nodes * self._shape.workers
        self.jobs = Jobs(self._htex, self._settings, slots, self._ledger, self._say)

    def look(self) -> None:
        """Find the connected nodes, and send no more tasks to those with too little time left.

        Raises
        ------
        NoWorker
            When Parsl's interchange has ended.
        """
        if self.jobs is None:
            return
        if self._htex.interchange_proc.poll() is not None:
            raise NoWorker(f"Parsl's interchange ended; see {self._ledger.own}. The same command goes on from there.")
        while self.to_hold:
            self.jobs.hold(self.to_hold.pop())
        self.jobs.look()
        self.room = self.jobs.room

    def send(self, task: ClusterTask, needs_s: float) -> None:
        """Give a task to a node.

        Raises
        ------
        Exception
            When the call cannot be packed.
        """
        call = pack(task.function, task.arguments)
        with self._sending:
            future = self._htex.submit(perform, {}, call, self._surroundings, needs_s)
        future.add_done_callback(lambda done: self._settled(self, task, done))

    def close(self) -> bool:
        """End all jobs and Parsl's executor; False if the queueing system did not end a job."""
        if self._htex is None:
            return True
        ended = self.jobs is None or self.jobs.cancel()
        self._htex.shutdown()
        return ended


def _executor(settings: ParslSettings, shape: Shape, folder: Path, label: str) -> Any:
    """Parsl's executor; if this machine is the only node, its interchange listens only to this machine."""
    from parsl.executors import HighThroughputExecutor

    here = settings.provider == "local"
    period = max(1, settings.lost_after_s // 6)
    provider = provider_of(settings, shape)
    htex = HighThroughputExecutor(
        label=label,
        provider=provider,
        address="127.0.0.1" if here or settings.address is None else settings.address,
        launch_cmd=_launch_command(settings),
        interchange_launch_cmd=[sys.executable, "-m", f"{__package__}.interchange", str(os.getpid())],
        cores_per_worker=float(settings.threads),
        max_workers_per_node=shape.workers,
        available_accelerators=settings.gpus,
        heartbeat_period=period,
        heartbeat_threshold=settings.lost_after_s,
        block_error_handler=False,
    )
    if not here and settings.address is None:
        htex.address = None  # listen on all; given at first, Parsl asks no server of the internet for its address
        htex.all_addresses = _addresses()
    htex.run_dir = str(folder)
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    provider.script_dir = str(scripts)
    return htex


def _launch_command(settings: ParslSettings) -> str:
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

    program, arguments = DEFAULT_LAUNCH_CMD.split(" ", 1)
    python = settings.python or sys.executable
    return f"{python} -m parsl.executors.high_throughput.{program.removesuffix('.py')} {arguments}"


def _addresses() -> set[str]:
    """Addresses of this machine in all of its networks."""
    import psutil

    found = {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family.name == "AF_INET"
    }
    return found or {"127.0.0.1"}


def _write_log(path: Path) -> None:
    """Write Parsl's messages to a file instead of the terminal."""
    logger = logging.getLogger("parsl")
    logger.addHandler(logging.FileHandler(path))
    logger.propagate = False

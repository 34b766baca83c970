"""The protocol of all executors, the resources of a task, and the errors of lost tasks."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ilforge import devices, machine_programs
from ilforge.devices import Devices
from ilforge.errors import DidNotFinish
from ilforge.machine_programs import MachinePrograms
from ilforge.potentials import environment_versions
from ilforge.programs import installed_versions, thread_variables
from ilforge.settings import Settings
from ilforge.study.machine import Machine

Work = Literal["label", "train", "md", "explore", "analyse"]
"""Kinds of work that ``run`` in ``machine.toml`` gives to executors."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
"""Environment variables for TensorFlow: no messages at the start, and a fixed order of sums."""


@dataclass(frozen=True)
class Resources:
    """Resources that a task needs on the machine that runs it; never part of a key.

    Attributes
    ----------
    cores
        Processor cores that it uses.
    gpus
        GPUs that it uses.
    memory_GB
        Expected memory, GB.
    walltime_s
        Time limit to request from a queue, s, much longer than the expected time; None if unknown.
    expected_s
        Expected time, s; None if unknown.
    """

    cores: int = 1
    gpus: int = 0
    memory_GB: float = 0.5
    walltime_s: float | None = None
    expected_s: float | None = None


@dataclass(frozen=True)
class Place:
    """Where a task was computed, if not on the machine of the run.

    Attributes
    ----------
    host
        Name of the machine.
    programs
        Versions of the packages that decide numbers there.
    environments
        The same in environments of their own (:mod:`ilforge.environments`), by environment.
    """

    host: str
    programs: Mapping[str, str]
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def here(cls) -> Place:
        """The machine of this process."""
        return cls(platform.node(), installed_versions(), environment_versions())

    def versions(self, used: Collection[str]) -> dict[str, str]:
        """Versions of its packages, and of those in the environments that were used."""
        apart = {
            f"{package} (environment {name})": version
            for name in sorted(set(used) & set(self.environments))
            for package, version in self.environments[name].items()
        }
        return {**self.programs, **apart}


@dataclass(frozen=True)
class Surroundings:
    """Settings that every worker process gets at its start, on any machine.

    Attributes
    ----------
    threads
        Threads that numerical libraries may use for a task.
    devices
        Where programs compute.
    programs
        How programs are started there.
    """

    threads: int = 1
    devices: Devices = field(default_factory=Devices)
    programs: MachinePrograms = field(default_factory=MachinePrograms)

    @classmethod
    def of(cls, machine: Machine) -> Surroundings:
        """What ``machine.toml`` says."""
        return cls(machine.threads, machine.devices, machine.programs)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the process: numerical libraries read it when they are loaded."""
        return thread_variables(self.threads) | QUIET

    def enter(self) -> None:
        """Apply these settings to the current process."""
        devices.use(self.devices)
        machine_programs.use(self.programs)
        for library in ("e3nn", "mace"):  # about a variable that MACE itself sets: nothing a user could do
            warnings.filterwarnings("ignore", message=".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", module=library)


class Executor(Protocol):
    """Runs tasks somewhere.

    Functions and arguments are picklable, and a task says what it needs, so an executor may run it in another process
    or on another machine.

    Attributes
    ----------
    slots
        Tasks that can run at the same time.
    threads
        Cores that each task may use.
    """

    slots: int
    threads: int

    def submit(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        resources: Resources | None = None,
        urgency: float = 0.0,
        on_start: Callable[[], None] | None = None,
    ) -> Future[Any]:
        """Run ``function(*arguments)``, the most urgent task first.

        Parameters
        ----------
        resources
            Resources of the task; by default :attr:`threads` cores.
        urgency
            Tasks with a higher urgency start earlier.
        on_start
            Called, in any thread, when the task begins.

        Returns
        -------
        Future
            The function's result or exception. It may also end in :class:`WorkerDied`, :class:`OutOfMemory`,
            :class:`NoWorker`, or in ``CancelledError`` when the executor is closed. An executor whose tasks run on
            other machines sets its attribute ``place``, a :class:`Place`, before the result.
        """
        ...

    def close(self) -> None:
        """Stop at once: cancel waiting tasks and kill running ones. Afterwards no process of the executor is left."""
        ...


@dataclass(frozen=True)
class ExecutorKind:
    """One kind of executor.

    Attributes
    ----------
    name
        Value of ``kind`` in a table ``[executors.NAME]`` of ``machine.toml``.
    settings
        Keys of such a table.
    start
        ``start(machine, settings, name)`` gives the executor, at work. The name is that of its table: two tables may
        have the same keys.
    slots
        ``slots(machine, settings)`` returns the number of tasks at the same time, for planning; by default the number
        of workers of the machine.
    elsewhere
        Whether its tasks may run on other machines, which may have other programs and devices than this one.
    """

    name: str
    settings: type[Settings]
    start: Callable[[Machine, Any, str], Executor]
    slots: Callable[[Machine, Any], int] | None = None
    elsewhere: bool = False


class WorkerDied(DidNotFinish):
    """The worker process died each time it ran a task.

    Attributes
    ----------
    why
        How it ended the last time; not available after the error was sent to another process.
    """

    why: str = ""


class OutOfMemory(WorkerDied):
    """A task ran out of memory, also when nothing else was running beside it."""


class NoWorker(DidNotFinish):
    """No worker could be started for a task."""


def no_worker(error: BaseException | str) -> NoWorker:
    """The error of a machine that refuses another process, thread or open file.

    Parameters
    ----------
    error
        The error from the system.
    """
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return NoWorker(
        f"No worker process could be started ({said}): memory, open files or processes of this machine may be used up. "
        "What is finished is kept; fewer workers (machine.toml) need less. The same command goes on from there."
    )


def worker_died(function: Callable[..., Any], why: str) -> WorkerDied:
    """The error of a task whose worker process died each time, the last time with ``why``."""
    error = WorkerDied(
        f"A worker process died twice while it ran {name_of(function)}, with {why}: it was stopped, or a library "
        "crashed."
    )
    error.why = why
    return error


def killed_for_memory(function: Callable[..., Any]) -> OutOfMemory:
    """The error of a task whose worker process was killed by the system each time."""
    return OutOfMemory(
        f"A worker process died twice while it ran {name_of(function)}: killed (probably out of memory), the second "
        "time with no other task beside it. It needs more memory than this machine has free."
    )


def out_of_memory(function: Callable[..., Any], said: str) -> OutOfMemory:
    """The error of a task that got no memory each time; quotes its message."""
    return OutOfMemory(
        f"{name_of(function)} ran out of memory twice, the second time with no other task beside it ({said}). It needs "
        "more memory than this machine has free."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory, or the memory of a GPU (PyTorch), was exhausted."""
    return any(kind.__name__ in ("MemoryError", "OutOfMemoryError") for kind in type(error).__mro__)


def name_of(function: Callable[..., Any]) -> str:
    """Module and name of a function."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"

"""All kinds of executors, and the executor that ``machine.toml`` assigns to each kind of work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from ilforge.devices import Devices, Program
from ilforge.errors import SettingsError
from ilforge.kinds import Registry
from ilforge.settings_file import check_settings
from ilforge.study.machine import LOCAL, Machine
from ilforge.workflow.executors.executor import Executor, ExecutorKind, Work

EXECUTORS: Registry[ExecutorKind] = Registry(
    "executor",
    "ilforge.executors",
    {
        "local": "ilforge.workflow.executors.local",
        "parsl": "ilforge.workflow.executors.parsl",
    },
)
"""Every kind of executor. To add one, write a file that describes it and a line here, or a plug-in."""


class Executors:
    """The executors of a run.

    Parameters
    ----------
    by_name
        Executors by the name that ``machine.toml`` gives them.
    run
        Name of the executor for each kind of work; other kinds of work go to the first executor.
    devices
        Devices of programs, which determine the tasks that need a GPU.
    elsewhere
        Names of the executors whose tasks may run on other machines.

    Attributes
    ----------
    closed
        Set when no task runs any more.
    """

    def __init__(
        self,
        by_name: Mapping[str, Executor],
        run: Mapping[Work, str] | None = None,
        devices: Devices | None = None,
        elsewhere: Collection[str] = (),
    ):
        self._by_name, self._run, self._devices = dict(by_name), dict(run or {}), devices or Devices()
        self._elsewhere = frozenset(elsewhere)
        self.closed = threading.Event()

    @classmethod
    def of_machine(cls, machine: Machine) -> Executors:
        """Start the executors that ``run`` in ``machine.toml`` names.

        Raises
        ------
        SettingsError
            See :func:`require_executors`.
        NoWorker
            When the system has no room for them.
        """
        run = cast(dict[Work, str], machine.run.model_dump())  # its keys are the kinds of work
        started: dict[str, Executor] = {}
        kinds = require_executors(machine)
        try:
            for name, (kind, settings) in kinds.items():
                started[name] = kind.start(machine, settings, name)
        except BaseException:
            for executor in started.values():
                executor.close()
            raise
        return cls(started, run, machine.devices, [name for name, (kind, _) in kinds.items() if kind.elsewhere])

    @property
    def slots(self) -> int:
        """Tasks that can run at the same time, on all executors together."""
        return sum(executor.slots for executor in self._by_name.values())

    def of(self, work: Work) -> Executor:
        """The executor of a kind of work."""
        return self._by_name[self._name_of(work)]

    def is_elsewhere(self, work: Work) -> bool:
        """Whether a kind of work may run on other machines, whose programs are not known here."""
        return self._name_of(work) in self._elsewhere

    def listen(self, say: Callable[[str], None]) -> None:
        """Give executors with messages for the user a function that prints a line."""
        talkers: list[Any] = [executor for executor in self._by_name.values() if hasattr(executor, "say")]
        for executor in talkers:
            executor.say = say

    def _name_of(self, work: Work) -> str:
        return self._run.get(work, next(iter(self._by_name)))

    def gpus_of(self, programs: Collection[Program]) -> int:
        """Number of GPUs for a task that computes with these programs."""
        return int(any(self._devices.of(program).is_gpu for program in programs))

    def close(self) -> None:
        """Stop at once: see :meth:`.executor.Executor.close`."""
        self.closed.set()
        for executor in self._by_name.values():
            executor.close()

    def __enter__(self) -> Executors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_executors(machine: Machine) -> dict[str, tuple[ExecutorKind, Any]]:
    """Kind and settings of each executor that ``run`` in ``machine.toml`` names.

    Raises
    ------
    SettingsError
        When the kind of an executor is unknown, or it has a key that its kind does not have.
    """
    found: dict[str, tuple[ExecutorKind, Any]] = {}
    for name in dict.fromkeys(machine.run.model_dump().values()):
        table, source = machine.executors.get(name, {"kind": LOCAL}), f"machine.toml, [executors.{name}]"
        try:
            kind = EXECUTORS.named(table["kind"])
        except SettingsError as error:
            raise SettingsError(f"{source}: {error}") from None
        found[name] = kind, check_settings(kind.settings, table, source)
    return found

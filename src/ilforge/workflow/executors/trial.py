"""Run a short task on each executor, for ``ilforge doctor --machine``."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ilforge import devices, hardware, programs
from ilforge.errors import IlforgeError, MissingProgram
from ilforge.study.machine import Machine
from ilforge.workflow.executors.executor import Resources
from ilforge.workflow.executors.registry import require_executors

PATIENCE_S = 600.0
"""Longest waiting time, s, because a job may be in the queue for long."""


@dataclass(frozen=True)
class Seen:
    """What a task found on the machine where it ran.

    Attributes
    ----------
    host
        Name of the machine.
    cores, memory_GB
        Cores and memory (GB) that a process may use there.
    gpus
        Names of the GPUs.
    versions
        Versions of ilforge, Python and the packages that affect results.
    programs
        Programs that were found there.
    """

    host: str
    cores: int
    memory_GB: float
    gpus: tuple[str, ...]
    versions: dict[str, str]
    programs: tuple[str, ...]


def look_around() -> Seen:
    """A task that inspects the machine on which it runs."""
    return Seen(
        platform.node(),
        hardware.usable_cores(),
        hardware.memory_GB(),
        tuple(devices.gpus()),
        programs.installed_versions(),
        tuple(program for program in programs.PACKAGES if _is_there(program)),
    )


def trials(machine: Machine, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Name of each executor that has work, and a description of the outcome of a short task; ``say`` gets progress
    messages."""
    here = look_around()
    for name, (kind, settings) in require_executors(machine).items():
        try:
            yield name, _trial(kind.start(machine, settings, name), here, say)
        except IlforgeError as error:
            yield name, f"does not work: {error}"


def _trial(executor: Any, here: Seen, say: Callable[[str], None]) -> str:
    if hasattr(executor, "say"):
        executor.say = say
    asked = time.monotonic()
    try:
        future: Future[Any] = executor.submit(look_around, resources=Resources(cores=executor.threads, expected_s=1.0))
        seen = future.result(PATIENCE_S)
    except TimeoutError:
        return f"still waits for a place after {PATIENCE_S / 60:.0f} min; nothing is known to be wrong"
    finally:
        executor.close()
    return in_words(seen, here, time.monotonic() - asked)


def in_words(seen: Seen, here: Seen, waited_s: float) -> str:
    """Describe what a task found, and the differences from this machine."""
    said = f"works: {seen.host}, after {waited_s:.0f} s; {seen.cores} cores, {seen.memory_GB:.0f} GB"
    if seen.gpus:
        said += f", {len(seen.gpus)} x {seen.gpus[0]}"
    names = [*seen.versions, *(name for name in here.versions if name not in seen.versions)]
    other = [
        f"{name} {seen.versions.get(name, 'missing')} (here {here.versions.get(name, 'missing')})"
        for name in names
        if seen.versions.get(name) != here.versions.get(name)
    ]
    if other:
        said += f". Other versions than here: {', '.join(other)}"
    missing = [program for program in here.programs if program not in seen.programs]
    if missing:
        said += f". Found here, but missing there: {', '.join(missing)}"
    return said


def _is_there(program: str) -> bool:
    try:
        programs.find(program)
    except MissingProgram:
        return False
    return True

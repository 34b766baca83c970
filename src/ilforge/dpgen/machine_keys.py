"""What a section of ``machine.json`` asks for: its keys, and the limits among its lines for the queueing system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ilforge.dpgen.book import Book, Path, named
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError


@dataclass(frozen=True)
class Section:
    """One of the three sections, with the paths of its parts in the file."""

    name: str
    machine: Path
    resources: Path
    command: Path


class Asked:
    """What a section asks for: reads keys of ``resources`` and enters what became of them."""

    def __init__(self, book: Book, section: Section, table: Table):
        self.book, self.section, self.table = book, section, table

    def path(self, *names: str) -> Path:
        """The first of these keys that is there; otherwise the first."""
        paths = [(*self.section.resources, name) for name in names]
        return next((path for path in paths if self.book.has(*path)), paths[0])

    def put(self, key: str, value: Any, *paths: Path, note: str = "") -> None:
        """Write a key of the executor, and enter where it comes from."""
        said = ", ".join(dict.fromkeys(map(named, paths)))
        self.table.add(key, value, note or f"{self.book.file}: {said}")
        for path in paths:
            self.book.take(path, f"machine.toml: {self.table.name}.{key}")

    def leave(self, why: str, *names: str) -> None:
        for name in names:
            self.book.leave((*self.section.resources, name), why)


class Flags:
    """Limits from ``custom_flags`` (``"#SBATCH -t 96:0:0"``), or from keys of the older layout."""

    def __init__(self, asked: Asked, provider: str):
        self.walltime_h: tuple[float, Path] | None = None
        self.memory_GB: tuple[float, Path] | None = None
        self.account: tuple[str, Path] | None = None
        self.options: list[tuple[str, Path]] = []
        path = asked.path("custom_flags")
        for flag in asked.book.texts(*path):
            self._read(flag, path, provider)
        self._read_older(asked, provider)

    def _read(self, flag: str, path: Path, provider: str) -> None:
        words = flag.strip()
        if hours := _match(r"#SBATCH\s+(?:-t\s*|--time[= ]\s*)(\S+)|#PBS\s+-l\s+walltime=([\d:]+)\s*$", words):
            seconds = hours.isdigit() and flag.strip().startswith("#PBS")
            self.walltime_h = (float(hours) / 3600 if seconds else _hours(hours, flag), path)
        elif (size := _match(r"#SBATCH\s+--mem[= ]\s*(\S+)|#PBS\s+-l\s+mem=(\S+)\s*$", words)) and _gigabytes(size):
            self.memory_GB = (_gigabytes(size), path)
        elif account := _match(r"#SBATCH\s+(?:-A\s*|--account[= ]\s*)(\S+)|#PBS\s+-A\s+(\S+)", words):
            self.account = (account, path)
        else:
            self.options.append((words, path))

    def _read_older(self, asked: Asked, provider: str) -> None:
        book = asked.book
        limit, memory = asked.path("time_limit"), asked.path("mem_limit")
        if book.get(*limit):
            self.walltime_h = (_hours(str(book.get(*limit)), f"{book.file}: time_limit"), limit)
        if amount := book.number(*memory):
            self.memory_GB = (amount, memory)
        account = asked.path("account")
        if book.get(*account):
            self.account = (str(book.get(*account)), account)
        if provider != "slurm":
            return
        lists = {"exclude_list": "--exclude=", "constraint_list": "--constraint=", "license_list": "--licenses="}
        for key, option in lists.items():
            if names := book.texts(*(path := asked.path(key))):
                self.options.append((f"#SBATCH {option}{','.join(names)}", path))
        if book.get(*(qos := asked.path("qos"))):
            self.options.append((f"#SBATCH --qos={book.get(*qos)}", qos))


def _match(pattern: str, text: str) -> str:
    found = re.match(pattern, text)
    return next((group for group in found.groups() if group), "") if found else ""


def _hours(text: str, source: str) -> float:
    """Hours of a time limit as Slurm and PBS write it: ``days-hours:minutes:seconds``, or minutes."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    try:
        numbers = [float(part) for part in parts]
        by_hours = [numbers[0], *numbers[1:]] if days or len(numbers) == 3 else [0.0, *numbers]
        hours: float = 24 * float(days or 0) + sum(number / 60**place for place, number in enumerate(by_hours))
    except ValueError:
        raise SettingsError(f"{source}: {text!r} is not a time limit such as 24:00:00 or 2-00:00:00.") from None
    return round(hours, 4)


def _gigabytes(text: str) -> float:
    """Memory in GB; Slurm counts in MB where no unit is given. 0 for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)b?", text.lower())
    per_unit = {"k": 1e-6, "": 1e-3, "m": 1e-3, "g": 1.0, "t": 1e3}
    return 0.0 if found is None else float(found[1]) * per_unit[found[2]]

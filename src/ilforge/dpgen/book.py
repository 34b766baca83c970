"""A book of every key of a file of DP-GEN: where its value went, or why it was not taken over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ilforge.errors import SettingsError

Path = tuple[str | int, ...]
"""Keys and numbers that lead to a value: ``("model_devi_jobs", 0, "temps")``."""

NOT_KNOWN = "ilforge does not know this key"
COMMENT = "a comment"
_SECRET = re.compile(r"pass(word|phrase|wd)?|secret|token|credential|e?mail|ticket", re.IGNORECASE)
_LONGEST = 60  # characters of a value in a list


@dataclass(frozen=True)
class Entry:
    """What became of one key.

    Attributes
    ----------
    key
        As the user would write it: ``model_devi_jobs[0].temps``.
    value
        In one line; passwords are not shown.
    became
        For a key that was taken over, where it is now; for any other, why it was not.
    """

    key: str
    value: str
    became: str


class Book:
    """The content of a file, and what became of each of its keys.

    A key that is entered stands for all keys below it. :meth:`left` also contains every key that nobody entered, so
    that none can be forgotten.

    Parameters
    ----------
    file
        Name of the file, for errors and lists.
    data
        Its content.
    """

    def __init__(self, file: str, data: Mapping[str, Any]):
        self.file, self.data = file, data
        self._taken: dict[Path, str] = {}
        self._left: dict[Path, str] = {}

    def get(self, *path: str | int, default: Any = None) -> Any:
        """The value at a path; the default if there is none."""
        found: Any = self.data
        for step in path:
            inside = isinstance(found, Mapping) if isinstance(step, str) else isinstance(found, Sequence)
            if not inside or isinstance(found, str):
                return default
            try:
                found = found[step]
            except (KeyError, IndexError):
                return default
        return found

    def has(self, *path: str | int) -> bool:
        """Whether there is a value at a path, which may be null."""
        missing = object()
        return self.get(*path, default=missing) is not missing

    def take(self, path: Path, into: str) -> None:
        """Enter that a key was taken over, and where it is now."""
        if self.has(*path):
            before = self._taken.get(path)
            self._taken[path] = into if before in (None, into) else f"{before}; {into}"

    def leave(self, path: Path, why: str) -> None:
        """Enter that a key was not taken over, or not completely, and why."""
        if self.has(*path):
            self._left[path] = why

    def entered(self, path: Path) -> bool:
        """Whether it was already said what became of a key."""
        return path in self._taken or path in self._left

    def number(self, *path: str | int) -> float | None:
        """The number at a path, which may be written as text (``"1.0E-6"``); None if there is none.

        Raises
        ------
        SettingsError
            When the value is no number.
        """
        value = self.get(*path)
        if value is None:
            return None
        found = as_number(value)
        if found is None:
            raise self.fault(path, "a number")
        return found

    def whole(self, *path: str | int) -> int | None:
        """The whole number at a path; None if there is none.

        Raises
        ------
        SettingsError
            When the value is no whole number.
        """
        found = self.number(*path)
        if found is not None and found != int(found):
            raise self.fault(path, "a whole number")
        return None if found is None else int(found)

    def _listed(self, path: Path) -> list[Any]:
        """What stands at a path, as a list: one value is a list of one, and nothing is an empty list."""
        value = self.get(*path)
        return value if isinstance(value, list) else [] if value is None else [value]

    def numbers(self, *path: str | int) -> list[float]:
        """The numbers at a path: a list, or one number; none if there is nothing.

        Raises
        ------
        SettingsError
            When a value is no number.
        """
        given = self._listed(path)
        found = [as_number(one) for one in given]
        if None in found:
            raise self.fault(path, "a list of numbers")
        return [one for one in found if one is not None]

    def texts(self, *path: str | int) -> list[str]:
        """The texts at a path: a list, or one text; none if there is nothing.

        Raises
        ------
        SettingsError
            When a value is no text.
        """
        given = self._listed(path)
        if not all(isinstance(one, str) for one in given):
            raise self.fault(path, "a list of texts")
        return given

    def fault(self, path: Path, expected: str) -> SettingsError:
        """The error for a value of another type than DP-GEN expects."""
        return SettingsError(f"{self.file}: {named(path)} is {shown(path, self.get(*path))}; expected {expected}.")

    def taken(self) -> list[Entry]:
        """Keys that were taken over, in the order of the file."""
        return self._entries(self._taken)

    def left(self) -> list[Entry]:
        """Keys that were not taken over, in the order of the file, with those that nobody entered."""
        entered = {**self._taken, **self._left}
        rest: dict[Path, str] = {}
        for path in leaves(self.data):
            if not any(path[: length + 1] in entered for length in range(len(path))):
                rest[path] = COMMENT if is_comment(path) else NOT_KNOWN
        return self._entries({**self._left, **rest})

    def _entries(self, entered: Mapping[Path, str]) -> list[Entry]:
        """One entry for each key; keys of a list with the same answer share one."""
        order = {path: number for number, path in enumerate(all_paths(self.data))}
        groups: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(entered, key=lambda path: order.get(path, len(order))):
            anywhere = named(tuple("*" if isinstance(step, int) else step for step in path))
            groups.setdefault((anywhere, entered[path]), []).append(path)
        found = []
        for (anywhere, became), members in groups.items():
            values = list(dict.fromkeys(shown(path, self.get(*path)) for path in members))
            more = f" and {len(values) - 1} more" if len(values) > 1 else ""
            key = named(members[0]) if len(members) == 1 else f"{anywhere} ({len(members)} times)"
            found.append(Entry(key, values[0] + more, became))
        return found


def as_number(value: Any) -> float | None:
    """The number that a value is, or that its text says; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_comment(path: Path) -> bool:
    """Whether a key is a comment: DP-GEN ignores keys that begin with an underscore."""
    return any(isinstance(step, str) and step.startswith("_") and step != "_" for step in path)


def named(path: Path) -> str:
    """A path as the user would write it: ``model_devi_jobs[0].temps``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) or step == "*" else f".{step}" if text else str(step)
    return text


def shown(path: Path, value: Any) -> str:
    """A value in one line; no password."""
    if any(isinstance(step, str) and _SECRET.search(step) for step in path):
        return "(not shown)"
    text = json.dumps(_without_secrets(value), ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: "(not shown)" if _SECRET.search(str(key)) else _without_secrets(inner) for key, inner in value.items()
        }
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


def leaves(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all values that contain no further keys; a list of plain values is one value."""
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from leaves(value, (*path, str(key)))
    elif isinstance(data, list) and any(isinstance(item, Mapping) for item in data):
        for number, item in enumerate(data):
            yield from leaves(item, (*path, number))
    elif path:
        yield path


def all_paths(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths of all keys in the order of the file, the outer one before the inner ones."""
    if path:
        yield path
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from all_paths(value, (*path, str(key)))
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from all_paths(item, (*path, number))

"""Read a study file, and say what is wrong with it in the words of its author."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ilforge.errors import SettingsError
from ilforge.study.base import Settings
from ilforge.study.settings import StudySettings

T = TypeVar("T", bound=Settings)
_MOST_BYTES, _DEEPEST, _LONGEST = 2**20, 16, 10_000
_LARGEST, _SMALLEST = 1e10 - 1, 1e-20  # of any number, whatever its unit


@dataclass(frozen=True)
class Study:
    """A study file as it was read.

    Attributes
    ----------
    settings
        Every key, checked and filled with defaults.
    path
        The file; paths in it are relative to its folder.
    text
        What the file said, for the report.
    whole
        The study of all compositions that this is a part of; None where it is no part.
    """

    settings: StudySettings
    path: Path
    text: str
    whole: Study | None = None

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def composition(self) -> str:
        """Name of the composition this is about; empty where the study file names none."""
        named = self.settings.liquid.compositions
        return named[0].name if named else ""

    @property
    def parts(self) -> list[Study]:
        """This study for each of its compositions on its own: alike in all but the ions and their density."""
        compositions, liquid = self.settings.liquid.compositions, self.settings.liquid
        liquids = [
            liquid.model_copy(update={"ions": c.ions, "density_g_cm3": c.density_g_cm3, "compositions": [c]})
            for c in compositions
        ]
        whole = self.whole or self
        return [
            replace(self, settings=self.settings.model_copy(update={"liquid": one}), whole=whole) for one in liquids
        ] or [self]

    def part(self, composition: str | None) -> Study:
        """The study for the composition of that name; without a name for the first."""
        return next(part for part in self.parts if composition in (None, part.composition))

    def seed(self, *purpose: object) -> int:
        """A seed of its own for each purpose, descending from the study's: below 2^31, never 0."""
        words = "/".join(map(str, (self.settings.seed, *purpose)))
        return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "little") % (2**31 - 1) + 1


def load_study(path: str | Path) -> Study:
    """Read and check a study file.

    Raises
    ------
    SettingsError
        Naming every key that is wrong: what it is, what it may be, and for a misspelt key the nearest known one.
    """
    path = Path(path).resolve()
    text, data = read_toml(path)
    refuse_absurd(data, path.name)
    return Study(check_settings(StudySettings, data, path.name), path, text)


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and content of a TOML file."""
    try:
        # a pipe or a device could be waited for without end, or never end itself
        if path.exists() and not path.is_file():
            raise SettingsError(f"{path} is no file to be read.")
        if path.stat().st_size > _MOST_BYTES:
            raise SettingsError(f"{path} has {path.stat().st_size} bytes; a settings file has at most {_MOST_BYTES}.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} could not be read: {error}") from error
    try:
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def refuse_absurd(data: dict[str, Any], source: str) -> None:
    """Refuse what no key can mean, whatever the key: numbers without bounds, text and lists without end.

    Raises
    ------
    SettingsError
        Naming every such key.
    """
    faults = [f"{key}: {fault}" for key, fault in _absurd(data, "")]
    if faults:
        more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise SettingsError(f"{source}:\n" + "\n".join(f"  - {fault}" for fault in faults[:20]) + more)


def _absurd(data: Any, key: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        yield key, f"tables and lists are nested at most {_DEEPEST} deep"
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _absurd(value, f"{key}.{name}" if key else name, depth + 1)
    elif isinstance(data, list):
        if len(data) > _LONGEST:
            yield key, f"the list has {len(data)} entries, and may have {_LONGEST}"
            return
        for number, value in enumerate(data):
            yield from _absurd(value, f"{key}.{number}", depth + 1)
    elif isinstance(data, str) and (len(data) > _LONGEST or not _is_text(data)):
        yield key, f"the text has {len(data)} characters (at most {_LONGEST}), or some that cannot be printed"
    elif isinstance(data, int | float) and not isinstance(data, bool):
        size = abs(data)
        if not size <= _LARGEST or 0 < size < _SMALLEST:  # NaN is not
            yield key, f"{data:.6g} is no number that it can be: from {_SMALLEST:g} to {_LARGEST:g}, or 0"


def _is_text(data: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t\r" for letter in data)


def check_settings(model: type[T], data: dict[str, Any], source: str) -> T:
    """``data`` as ``model``, or one SettingsError that names every fault."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_in_words(model, fault) for fault in error.errors()]
        raise SettingsError(f"{source}:\n" + "\n".join(f"  - {fault}" for fault in faults)) from None


def _in_words(model: type[BaseModel], fault: Any) -> str:
    location = [part for part in fault["loc"] if part not in ("function-after", "function-before")]
    key = ".".join(map(str, location))
    if fault["type"] == "extra_forbidden":
        return _unknown_key(model, location)
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    if fault["type"] == "missing":
        return f"{key} is missing: {_description(model, location)}"
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    found = fault["input"]
    found = "a table" if isinstance(found, dict) else repr(found)
    return f"{key} is {found}, but should be {message}. {_description(model, location)}".rstrip()


def _unknown_key(model: type[BaseModel], location: list[Any]) -> str:
    parent = _model_at(model, location[:-1])
    known = list(parent.model_fields) if parent else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    where = f"[{'.'.join(map(str, location[:-1]))}]" if len(location) > 1 else "the study file"
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{'.'.join(map(str, location))} is not a known key.{hint} Known in {where}: {', '.join(known)}"


def _description(model: type[BaseModel], location: list[Any]) -> str:
    parent = _model_at(model, location[:-1])
    field = parent.model_fields.get(str(location[-1])) if parent else None
    return (field.description or "") if field else ""


def _model_at(model: type[BaseModel], location: list[Any]) -> type[BaseModel] | None:
    """The settings class that a key's parents lead to."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = _class_within(current.model_fields[part].annotation)
        elif current is None:
            return None
        # a list index or a dictionary key leads into the class already found
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _class_within(annotation: Any) -> type[BaseModel] | None:
    """The settings class inside ``list[X]``, ``dict[str, X]``, ``X | None``, or ``X`` itself."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    for argument in typing.get_args(annotation):
        found = _class_within(argument)
        if found is not None:
            return found
    return None

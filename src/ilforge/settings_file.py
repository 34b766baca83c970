"""Settings files: read TOML, refuse absurd values, and report faults with the names that the author used."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ilforge.errors import SettingsError
from ilforge.settings import Settings, meaning_of

T = TypeVar("T", bound=Settings)
_MOST_BYTES, _DEEPEST, _LONGEST = 2**20, 16, 10_000
_LARGEST, _SMALLEST = 1e10 - 1, 1e-20  # allowed size of a number in any unit


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and content of a TOML file."""
    try:
        # reading a pipe or a device might never end
        if path.exists() and not path.is_file():
            raise SettingsError(f"{path} is not a regular file.")
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
    """Refuse values that are absurd for any key: huge numbers, very long texts and lists.

    Raises
    ------
    SettingsError
        With every such key.
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
            yield key, f"the list has {len(data)} entries, but at most {_LONGEST} are allowed"
            return
        for number, value in enumerate(data):
            yield from _absurd(value, f"{key}.{number}", depth + 1)
    elif isinstance(data, str) and (len(data) > _LONGEST or not _is_text(data)):
        yield key, f"the text has {len(data)} characters (at most {_LONGEST}), or some are not printable"
    elif isinstance(data, int | float) and not isinstance(data, bool):
        size = abs(data)
        if not size <= _LARGEST or 0 < size < _SMALLEST:  # true for NaN
            yield key, f"{data:.6g} is outside the allowed range, {_SMALLEST:g} to {_LARGEST:g}, or 0"


def _is_text(data: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t\r" for letter in data)


def check_settings(model: type[T], data: dict[str, Any], source: str) -> T:
    """Convert ``data`` to ``model``, or raise one SettingsError with all faults."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = [_in_words(model, fault) for fault in error.errors()]
        raise SettingsError(f"{source}:\n" + "\n".join(f"  - {fault}" for fault in faults)) from None


def _in_words(model: type[BaseModel], fault: Any) -> str:
    raw = [part for part in fault["loc"] if part not in ("function-after", "function-before")]
    location = _without_tags(model, raw)
    key = ".".join(map(str, location))
    if fault["type"] == "extra_forbidden":
        return _unknown_key(model, raw, location)
    if fault["type"] in ("union_tag_invalid", "union_tag_not_found"):
        found = fault["input"].get("kind") if isinstance(fault["input"], dict) else None
        allowed = ", ".join(_tags(model, raw))
        return f"{key}.kind is {'missing' if found is None else repr(found)}: it may be one of {allowed}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    if fault["type"] == "missing":
        return f"{key} is missing: {_description(model, raw)}"
    if fault["type"] == "value_error":
        return f"{key}: {message}" if key else message
    found = fault["input"]
    found = ("a table" if found else "an empty table") if isinstance(found, dict) else repr(found)
    if fault["type"] in ("model_attributes_type", "model_type", "dict_type"):
        message = "a table"
    elif fault["type"] == "too_short":
        message = f"one with {fault['ctx']['min_length']} or more entries"
    return f"{key} is {found}, but should be {message}. {_description(model, raw)}".rstrip()


def _unknown_key(model: type[BaseModel], raw: list[Any], location: list[Any]) -> str:
    parent = _model_at(model, raw[:-1])
    known = list(parent.model_fields) if parent else []
    where = f"[{'.'.join(map(str, location[:-1]))}]" if len(location) > 1 else "this file or table"
    moved = getattr(parent, "moved_keys", {}).get(str(location[-1]))
    if moved:
        return f"{'.'.join(map(str, location))} is not a key any more: {moved}"
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{'.'.join(map(str, location))} is not a known key.{hint} Known in {where}: {', '.join(known)}"


def _description(model: type[BaseModel], raw: list[Any]) -> str:
    parent = _model_at(model, raw[:-1])
    known = parent is not None and raw and str(raw[-1]) in parent.model_fields
    return meaning_of(parent, str(raw[-1])) if parent and known else ""


def _steps(model: type[BaseModel], raw: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each part of a location, and what it refers to: a class, classes distinguished by kind, ``"tag"``, or None.

    The part after a list or a dictionary is an index or a name, even if the name is that of a kind.
    """
    current: Any = model
    is_name = False
    for part in raw:
        if is_name:
            is_name = False
        elif isinstance(current, tuple):
            chosen = next((one for one in current if _kind_of(one) == part), None)
            if chosen is not None:
                current = chosen
                yield part, "tag"
                continue
        elif isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            annotation = current.model_fields[part].annotation
            is_name = _is_container(annotation)
            current = _classes_within(annotation)
        yield part, current


def _is_container(annotation: Any) -> bool:
    """Whether the value of a key is a list or a dictionary, or optionally one."""
    if typing.get_origin(annotation) in (list, dict):
        return True
    return any(_is_container(inner) for inner in typing.get_args(annotation))


def _without_tags(model: type[BaseModel], raw: list[Any]) -> list[Any]:
    """A location as in the file, without the kinds that pydantic inserts."""
    return [part for part, what in _steps(model, raw) if what != "tag"]


def _model_at(model: type[BaseModel], raw: list[Any]) -> type[BaseModel] | None:
    """The settings class of the table that contains a key."""
    current: Any = model
    for part, what in _steps(model, raw):
        current = next(one for one in current if _kind_of(one) == part) if what == "tag" else what
    return current if isinstance(current, type) else None


def _tags(model: type[BaseModel], raw: list[Any]) -> list[str]:
    """The kinds that are allowed at a location."""
    found = [what for _, what in _steps(model, raw)][-1] if raw else None
    return [str(_kind_of(one)) for one in found] if isinstance(found, tuple) else []


def _kind_of(model: type[BaseModel]) -> str | None:
    """The value of ``kind`` of a settings class."""
    field = model.model_fields.get("kind")
    return None if field is None else field.default


def _classes_within(annotation: Any) -> Any:
    """The class inside ``list[X]``, ``dict[str, X]``, ``X | None``, or all classes of a union distinguished by kind."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found: list[Any] = []
    for argument in typing.get_args(annotation):
        inner = _classes_within(argument)
        found += list(inner) if isinstance(inner, tuple) else [inner] if inner is not None else []
    return found[0] if len(found) == 1 else tuple(found) or None

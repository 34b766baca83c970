"""Read DP-GEN's settings files: JSON as DP-GEN takes it, and YAML; errors say where and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilforge.dpgen.book import Book
from ilforge.errors import MissingProgram, SettingsError

_MOST_BYTES = 2**24
PARAM_NAMES = ("param.json", "run_param.json", "param.yaml", "param.yml")
MACHINE_NAMES = ("machine.json", "run_machine.json", "machine.yaml", "machine.yml")


def find_file(workdir: Path, given: Path | None, names: tuple[str, ...], option: str) -> Path | None:
    """The file that the user gave, or the one of these names in the work directory; None if there is none.

    Raises
    ------
    SettingsError
        When the given file does not exist, or two files have such names.
    """
    if given is not None:
        if not given.is_file():
            raise SettingsError(f"{option} {given}: there is no such file.")
        return given
    found = [workdir / name for name in names if (workdir / name).is_file()]
    if len(found) > 1:
        listed = " and ".join(path.name for path in found)
        raise SettingsError(f"{workdir} contains {listed}: give the one that DP-GEN was run with, with {option}.")
    return found[0] if found else None


def require_param(workdir: Path, found: Path | None) -> Path:
    """The file of DP-GEN's settings, or an error that names what is there instead."""
    if found is not None:
        return found
    others = sorted(path.name for pattern in ("*.json", "*.y*ml") for path in workdir.glob(pattern))
    there = f" It holds {', '.join(others[:6])}." if others else ""
    raise SettingsError(
        f"{workdir} holds no {PARAM_NAMES[0]}.{there} WORKDIR is the folder in which `dpgen run PARAM MACHINE` was "
        "started; if the file has another name, give it with --param."
    )


def read_settings(path: Path) -> Book:
    """Content of a JSON or YAML file of DP-GEN.

    Raises
    ------
    SettingsError
        When it is broken, is not a table of keys, or has comments that JSON does not have.
    MissingProgram
        When it is YAML, and PyYAML is not installed.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SettingsError(f"{path} has {path.stat().st_size} bytes, too many for a file of settings.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} could not be read: {error}.") from error
    data = _of_yaml(text, path) if path.suffix.lower() in (".yaml", ".yml") else _of_json(text, path)
    if not isinstance(data, dict):
        raise SettingsError(f"{path} holds {type(data).__name__} at its top; expected keys and values: {{ ... }}.")
    return Book(path.name, data)


def _of_json(text: str, path: Path) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found and not key.startswith("_"):
                raise SettingsError(
                    f"{path}: the key {key!r} occurs twice, with the values {json.dumps(found[key])[:60]} and "
                    f"{json.dumps(value)[:60]}. DP-GEN uses the last one without a warning: delete one of the two."
                )
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}, line {error.lineno}, column {error.colno}: {_in_words(text, error)}") from None
    except RecursionError:
        raise SettingsError(f"{path}: its lists and tables are nested too deep to be read.") from None


def _in_words(text: str, error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text, and how to mend it."""
    lines = text.splitlines() or [""]
    line = lines[min(error.lineno, len(lines)) - 1].strip()
    rest = text[error.pos :].lstrip()
    before = text[: error.pos].rstrip()
    if rest.startswith(("//", "/*", "#")):
        return (
            f"found the comment {line[:60]!r}. JSON has no comments, and DP-GEN refuses them too: delete it, or write "
            'it as a key, "_comment": "...".'
        )
    if rest[:1] in ("}", "]") and before.endswith(","):
        return f"the comma before {rest[0]!r} is too much: delete it."
    if not text.strip():
        return "the file is empty."
    if error.pos >= len(text.rstrip()):
        return "the file ends before all brackets are closed; perhaps it was cut short."
    if rest.startswith("'"):
        return f"found {line[:60]!r}; texts are in double quotes."
    return f"found {line[:60]!r}: {error.msg}. It is not valid JSON."


def _of_yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingProgram("PyYAML", "pip install pyyaml; or convert the file to JSON", path.name) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None

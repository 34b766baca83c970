"""Studies that nobody could mean: every key of two examples in turn replaced by what breaks things.

Each is refused in time, with the key named, or is a study that can be planned; none is a fault of ilforge.
"""

from __future__ import annotations

import copy
import json
import math
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ilforge.errors import IlforgeError, SettingsError
from ilforge.settings_file import read_toml
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.study_run import check_study
from support.hostile_time import Late, in_time
from support.studies import COMPOSITIONS, SMALLEST

TIME_S = 30  # a few of processor time, where the machine is fast and nothing shares its caches
NUMBERS = (10**10, 10**30, math.inf, 1e308, math.nan, -1, 0, 1e-300, "x", [])
TEXTS = ("", "nonsense", "../x", "a" * 20_000, "\0", 7)
ELSEWHERE = {  # what a wrong value is a fault of, where it is another key: all its neighbours name it
    "liquid.compositions": "liquid.ions",
    "liquid.compositions.1.name": "composition",
    "sampling.training.eq_boxes": "sampling.training",
    "sampling.training.eq_frames_per_box": "sampling.training",
}


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def places(data: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key), value
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def replacements(value: Any) -> tuple:
    if isinstance(value, bool):
        return ("x", 2)
    if isinstance(value, int | float):
        return NUMBERS
    if isinstance(value, str):
        return TEXTS
    return ([], [[]], "x", value * 1000) if isinstance(value, list) else ({}, {"nonsense": 1}, 3)


def with_value(data: dict, path: tuple, value: Any) -> dict:
    changed = copy.deepcopy(data)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def verdict(path: Path, key: str, machine: Machine) -> str | None:
    """What is wrong with how a study was taken; None when it is right."""
    try:
        with in_time(TIME_S):
            check_study(load_study(path), machine)
    except SettingsError as error:
        named = key.rpartition(".")[2] if not key[-1].isdigit() else key.split(".")[-2]
        said = str(error)
        return None if named in said or ELSEWHERE.get(key, "\0") in said else f"{key} is not named: {said[:200]}"
    except Late:
        return "too late"
    except IlforgeError as error:
        return f"no fault of the settings: {error}"
    except Exception as error:
        return f"a fault of ilforge: {error!r}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("example", [SMALLEST.replace("REFERENCE", "gfn1"), COMPOSITIONS], ids=["smallest", "two"])
def test_every_key_replaced_by_what_breaks_things(tmp_path, example):
    """Some 600 studies each."""
    data, machine = tomllib.loads(example), Machine(store=str(tmp_path / "store"), output=str(tmp_path / "out"))
    wrong, count = [], 0
    for path, value in places(data):
        for bad in replacements(value):
            count += 1
            file = tmp_path / "s.toml"
            changed = with_value(data, path, bad)
            file.write_text("".join(f"{json.dumps(key)} = {toml(inner)}\n" for key, inner in changed.items()))
            fault = verdict(file, ".".join(map(str, path)), machine)
            if fault is not None:
                wrong.append((".".join(map(str, path)), str(bad)[:40], fault))
    assert count > 400
    assert not wrong, wrong


@pytest.mark.parametrize(
    "key", ["seed", "liquid", "sampling", "md", "training", "reference", "learning", "potentials", "models"]
)
@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1e308", "{ a = { b = 1e300 } }", f"{'[' * 40}1{']' * 40}"])
def test_what_no_key_can_be_is_named(tmp_path, key, value):
    (tmp_path / "s.toml").write_text(f'name = "x"\n{key} = {value}\n')
    with in_time(TIME_S), pytest.raises(SettingsError, match=key):
        load_study(tmp_path / "s.toml")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{ b = " * 20_000,
        "\n".join(f"k{i} = 1" for i in range(800_000)),
        "a" * 2_000_000,
        "a = " + "9" * 5000,
        "\0\1\2",
        "",
    ],
    ids=["lists", "tables", "keys", "long", "digits", "bytes", "empty"],
)
def test_files_without_end_or_sense_are_refused_in_time(tmp_path, text):
    (tmp_path / "s.toml").write_text(text)
    with in_time(TIME_S), pytest.raises(SettingsError, match=r"s\.toml"):
        load_study(tmp_path / "s.toml")


def test_what_is_no_file_is_not_read(tmp_path):
    """A pipe would be waited for, a device never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/random"), tmp_path, tmp_path / "missing"):
        with in_time(TIME_S), pytest.raises(SettingsError, match=path.name):
            read_toml(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("liquid.temperature_K", 25.0),
        ("liquid.temperature_K", 150.0),
        ("liquid.density_g_cm3", 5.0),
        ("liquid.pressure_bar", -100.0),
        ("md.0.timestep_fs", 50.0),
        ("sampling.timestep_fs", 50.0),
        ("md.0.pressure_bar", -1.0),
        ("md.0.temperatures_K", [1e6]),
    ],
)
def test_states_that_are_no_liquid_are_refused(tmp_path, key, value):
    data = tomllib.loads(SMALLEST.replace("REFERENCE", "gfn1"))
    path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    changed = with_value(data, path, value)
    (tmp_path / "s.toml").write_text("".join(f"{name} = {toml(inner)}\n" for name, inner in changed.items()))
    with pytest.raises(SettingsError, match=key.replace(".", r"\.")):
        load_study(tmp_path / "s.toml")

"""Bounds of options and arguments: numbers out of range, and paths that are not files or folders, are refused.

They are refused by name, and before anything runs.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from typing import Any

import click

from ilforge.errors import SettingsError

_BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (1.0, 5000.0),  # K
    "pressure": (0.0, 1e6),  # bar
    "density": (0.05, 4.0),  # g/cm^3
    "timestep": (1e-3, 8.0),  # fs
    "length": (1e-6, 1e9),  # ps, as all times below
    "interval": (1e-6, 1e9),
    "pressure_interval": (1e-6, 1e9),
    "frame_interval": (1e-9, 1e9),
    "equilibration": (0.0, 1e9),
    "constant_volume": (0.0, 1e9),
    "minimise": (0, 10**7),
    "count": (1, 10**5),
    "threads": (1, 1024),
    "cores": (1, 1024),
    "seed": (0, 2**31 - 1),
}
_OTHERS = 1e9


def bound(group: click.Group) -> None:
    """Put bounds on every option of every command that takes numbers, and on every path."""
    for command in commands_of(group):
        for parameter in command.params:
            if parameter.callback is not None:
                continue
            if isinstance(parameter, click.Option) and takes_numbers(parameter):
                parameter.callback = _refuse
            elif isinstance(parameter.type, click.Path):
                parameter.callback = _refuse_devices


def commands_of(group: click.Group) -> Iterator[click.Command]:
    """Every command of a group and of the groups in it."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands_of(command)
        else:
            yield command


def takes_numbers(option: click.Option) -> bool:
    """Whether an option takes numbers."""
    kinds = option.type.types if isinstance(option.type, click.Tuple) else [option.type]
    return any(isinstance(kind, click.types.IntParamType | click.types.FloatParamType) for kind in kinds)


def refuse_empty(arguments: list[str]) -> None:
    """Refuse an option whose value is empty text, for example from a variable that is not set.

    Raises
    ------
    SettingsError
        Naming the option.
    """
    for option, value in zip(arguments, arguments[1:], strict=False):
        if option.startswith("--") and value == "" and option != "--ions":
            raise SettingsError(f"{option} is empty: give it a value, or leave it out.")


def option_of(path: str, arguments: list[str]) -> str:
    """The option that a path comes from, followed by a space; empty if there is none."""
    for option, value in zip(arguments, arguments[1:], strict=False):
        if option.startswith("--") and value and (path == value or path.startswith(f"{value}/")):
            return f"{option} "
    return ""


def _refuse(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    numbers = value if isinstance(value, tuple) else (value,)
    least, most = _BOUNDS.get(parameter.name or "", (-_OTHERS, _OTHERS))
    for number in numbers:
        if isinstance(number, int | float) and not (math.isfinite(number) and least <= number <= most):
            raise click.BadParameter(
                f"{number:g} is outside the allowed range, {least:g} to {most:g}.", context, parameter
            )
    return value


def _refuse_devices(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Refuse pipes, which would block, and devices, which may never end."""
    for path in value if isinstance(value, tuple) else (value,):
        try:
            kind = os.stat(path).st_mode if path is not None else stat.S_IFREG
        except (OSError, ValueError):  # reported when the file is opened
            continue
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise click.BadParameter(f"{path} is a device or a pipe: give a file or a folder.", context, parameter)
    return value

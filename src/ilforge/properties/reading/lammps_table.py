"""Read the pressure tensor from LAMMPS: from a log, its screen output, or the file of a ``fix print``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ilforge.errors import SettingsError

UNITS = {"real": (1e-3, 1.01325), "metal": (1.0, 1.0), "electron": (1e-3, 1e-5), "si": (1e12, 1e-5)}
"""For each unit style of LAMMPS: its unit of time in ps, and its unit of pressure in bar."""
_TENSOR = ("pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
_NEEDED = _TENSOR[3:]
_ASK = "thermo_style custom step time temp pxx pyy pzz pxy pxz pyz"
_ASK_FIX = (
    'fix ID all print 5 "$(time) $(pxx) $(pyy) $(pzz) $(pxy) $(pxz) $(pyz)" file p.dat '
    'title "# time pxx pyy pzz pxy pxz pyz"'
)
_SAYS_UNITS = re.compile(r"^\s*(?:units\s+|Unit style\s*:\s*)(\w+)")
_SAYS_STEP = re.compile(r"^\s*(?:timestep\s+|Time step\s*:\s*)([-+.\deE]+)\s*$")
_NAME = re.compile(r"[A-Za-z]\w*")
_CONSISTENT = 1e-3


@dataclass
class _Run:
    """The output of one run command: columns, rows, unit style and time step."""

    names: list[str]
    units: str | None
    timestep: float | None
    rows: list[list[float]] = field(default_factory=list)


def read_lammps_pressure(path: Path, units: str | None = None) -> dict[str, np.ndarray]:
    """Columns ``time_ps``, ``pxy_bar`` and so on of the last run in the file.

    Only the last run is read, because earlier runs are usually equilibration. The first and last lines are left out if
    they are not at the regular interval, which happens if a run begins or ends between two outputs. Incomplete lines
    are left out too.

    Parameters
    ----------
    path
        A log (``log.lammps``), the screen output, or the file of a ``fix print`` whose title names its columns.
    units
        Unit style of the run, one of :data:`UNITS`; needed if the file does not contain it.

    Raises
    ------
    SettingsError
        When the file has no such table; the message contains the LAMMPS commands that print it.
    """
    runs, seen = _runs(path)
    if not runs:
        said = f"; it has thermo output of {', '.join(seen)}" if seen else ""
        raise SettingsError(
            f"{path}: no table with the columns time (or step), pxy, pxz and pyz{said}. Have LAMMPS print them: "
            f"{_ASK}; or {_ASK_FIX}."
        )
    run = runs[-1]
    time_ps, bar = _scales(path, run, units)
    table = dict(zip(run.names, np.array(run.rows).reshape(-1, len(run.names)).T, strict=True))
    found = {"time_ps": _time(path, run, table) * time_ps}
    found |= {f"{name}_bar": bar * table[name] for name in _TENSOR if name in table}
    return _without_odd_ends(found)


def _runs(path: Path) -> tuple[list[_Run], list[str]]:
    """All runs with the tensor, in order, and the columns of the last run without it."""
    runs: list[_Run] = []
    units, timestep, current, seen = None, None, None, []
    for line in path.read_text(errors="replace").splitlines():
        if said := _SAYS_UNITS.match(line):
            units = said[1]
        elif said := _SAYS_STEP.match(line):
            timestep = float(said[1])
        elif names := _header(line):
            current = _Run(names, units, timestep) if set(_NEEDED) <= set(names) else None
            if current:
                runs.append(current)
            else:
                seen = names
        elif line.startswith("Loop time of"):
            current = None
        elif current:
            current.rows += _row(line, len(current.names))
    return runs, seen


def _header(line: str) -> list[str]:
    """Column names in small letters, if the line contains them: from thermo output, its YAML form, or a title."""
    words = line.strip().removeprefix("#").removeprefix("keywords:").replace("'", " ").strip(" []").replace(",", " ")
    names = [word.lower().removeprefix("v_") for word in words.split()]
    whole = len(names) > 1 and names[0] in ("step", "time") and all(_NAME.match(name) for name in names)
    return names if whole else []


def _row(line: str, n: int) -> Iterator[list[float]]:
    """The numbers in a line of the table; nothing for warnings and incomplete lines."""
    words = line.strip().removeprefix("- ").strip("[] ").replace(",", " ").split()
    if len(words) == n:
        try:
            yield [float(word) for word in words]
        except ValueError:
            return


def _scales(path: Path, run: _Run, given: str | None) -> tuple[float, float]:
    if given and run.units and given != run.units:
        raise SettingsError(f"{path} is in units {run.units}, not in units {given} (--pressure-units).")
    units = given or run.units
    if units is None:
        raise SettingsError(f"{path} does not contain its units: give them with --pressure-units ({', '.join(UNITS)}).")
    if units not in UNITS:
        raise SettingsError(f"{path} is in units {units}: pressures in bar follow from units {', '.join(UNITS)} only.")
    return UNITS[units]


def _time(path: Path, run: _Run, table: dict[str, np.ndarray]) -> np.ndarray:
    """Times in LAMMPS's unit: exact values from steps, unless the time step changed."""
    time, by_step = table.get("time"), None
    if "step" in table and run.timestep:
        by_step = table["step"] * run.timestep
    known = time if by_step is None else by_step
    if known is None:
        raise SettingsError(f"{path} contains steps but not the time step: have LAMMPS print the time, {_ASK_FIX}.")
    if by_step is None or time is None or len(time) < 2:
        return known
    whole = time[-1] - time[0]
    return by_step if math.isclose(by_step[-1] - by_step[0], whole, rel_tol=_CONSISTENT) else time


def _without_odd_ends(table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    steps = np.diff(table["time_ps"])
    if len(steps) < 3:
        return table
    interval = np.median(steps)
    start = int(steps[0] < interval * (1 - _CONSISTENT))
    stop = len(steps) + 1 - int(steps[-1] < interval * (1 - _CONSISTENT))
    return {name: values[start:stop] for name, values in table.items()}

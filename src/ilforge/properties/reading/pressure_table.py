"""Read pressure tensors from a table: CSV (from GROMACS's ``gmx energy`` or a run of ilforge) or LAMMPS output."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.property import PressureSeries
from ilforge.properties.reading.lammps_table import read_lammps_pressure

_OFF_DIAGONAL = ("pxy_bar", "pxz_bar", "pyz_bar")
_DIAGONAL = ("pxx_bar", "pyy_bar", "pzz_bar")
_UNEVEN = 0.01
_SEPARATORS = {";": "semicolons", "\t": "tabs"}
_HEAD = 4000  # bytes, read to recognise the format of a file
_TAKEN = (
    "Supported are CSV, columns time_ps, pxy_bar, pxz_bar, pyz_bar and, if known, pxx_bar, pyy_bar, pzz_bar separated "
    "by commas, and LAMMPS output (its log, or the file of a fix print)"
)


def read_pressure(path: Path, units: str | None = None) -> PressureSeries:
    """The pressure tensor from a CSV file with a line of column names, or from LAMMPS's own output.

    CSV: ``time_ps, pxy_bar, pxz_bar, pyz_bar``, and if known ``pxx_bar, pyy_bar, pzz_bar``, in any order; other columns
    are ignored. Times must be evenly spaced. LAMMPS: see
    :func:`~ilforge.properties.reading.lammps_table.read_lammps_pressure`.

    Parameters
    ----------
    units
        Unit style of LAMMPS (``"real"``, ``"metal"``); needed if its file does not contain it.

    Raises
    ------
    SettingsError
        When a column or line is invalid; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected a table of the pressure tensor (CSV, or LAMMPS's log).")
    separated = _is_csv(path)
    if separated and units is not None:
        raise SettingsError(
            f"{path} is a CSV table, in ps and bar as its columns say: units of LAMMPS (--pressure-units) do not "
            "apply, leave them out."
        )
    table = _read_csv(path) if separated else read_lammps_pressure(path, units)
    if len(table["time_ps"]) < 2:
        raise SettingsError(f"{path} contains {len(table['time_ps'])} samples: a time series needs more.")
    steps = np.diff(table["time_ps"])
    interval = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - interval) > _UNEVEN * interval)
    if interval <= 0 or len(uneven):
        sample = int(uneven[0]) + 2 if len(uneven) else 2
        where = f"line {sample + 1}" if separated else f"sample {sample}"
        raise SettingsError(
            f"{path}, {where}: times must be evenly spaced and ascending, here in steps of {interval:g} ps."
        )
    if not all(np.isfinite(values).all() for values in table.values()):
        raise SettingsError(f"{path}: a value is not a finite number.")
    whole = all(name in table for name in _DIAGONAL)
    return PressureSeries(
        interval,
        np.stack([table[name] for name in _OFF_DIAGONAL], axis=1),
        np.stack([table[name] for name in _DIAGONAL], axis=1) if whole else None,
    )


def _is_csv(path: Path) -> bool:
    """Whether a file is CSV and not LAMMPS output; any other format is refused, with its name if known."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    first = lines[0] if lines else ""
    other = [word for mark, word in _SEPARATORS.items() if "," not in first and first.count(mark) >= len(_OFF_DIAGONAL)]
    if not head.strip():
        found = "is empty"
    elif b"\0" in head:
        found = "is a binary file, such as GROMACS's .edr: `gmx energy` reads that, see docs/properties/viscosity.md"
    elif any(line.startswith(("@ ", "@TYPE")) for line in lines):
        found = "is a GROMACS .xvg file: docs/properties/viscosity.md has the two lines that turn it into CSV"
    elif other:
        found = f"has columns separated by {other[0]}: separate them by commas, with points in numbers"
    else:
        return "," in first
    raise SettingsError(f"{path} {found}. {_TAKEN}.")


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    # spreadsheet programs may add a byte order mark, and may write names of other columns in an older encoding
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = [name.strip() for name in lines[0].split(",")] if lines else []
    missing = [name for name in ("time_ps", *_OFF_DIAGONAL) if name not in names]
    if missing:
        raise SettingsError(
            f"{path}: the first line has no column {missing[0]!r}, it has {', '.join(names) or 'nothing'}. Needed: "
            f"time_ps, {', '.join(_OFF_DIAGONAL)}; {', '.join(_DIAGONAL)} are used if present."
        )
    return _numbers(path, lines[1:], names)


def _numbers(path: Path, lines: list[str], names: list[str]) -> dict[str, np.ndarray]:
    rows = [(number, line.split(",")) for number, line in enumerate(lines, start=2) if line.strip()]
    for number, fields in rows:
        if len(fields) != len(names):
            raise SettingsError(f"{path}, line {number}: {len(fields)} values for {len(names)} columns.")
    try:
        table = np.array([fields for _, fields in rows], dtype=float).reshape(-1, len(names))
    except ValueError as error:
        raise SettingsError(f"{path}: not all values are numbers ({error}).") from None
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise SettingsError(f"{path}, line {rows[bad[0]][0]}: a value is not a finite number.")
    return dict(zip(names, table.T, strict=True))

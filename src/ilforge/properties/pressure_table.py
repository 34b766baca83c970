"""Pressure tensors from a table, CSV: of GROMACS's ``gmx energy``, of LAMMPS's thermo output, or of a run here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.property import PressureSeries

_OFF_DIAGONAL = ("pxy_bar", "pxz_bar", "pyz_bar")
_DIAGONAL = ("pxx_bar", "pyy_bar", "pzz_bar")
_UNEVEN = 0.01


def read_pressure(path: Path) -> PressureSeries:
    """The pressure tensor from a CSV file with a line of column names.

    ``time_ps, pxy_bar, pxz_bar, pyz_bar``, and if known ``pxx_bar, pyy_bar, pzz_bar``, in any order; other columns
    are not looked at. Times are evenly spaced.

    Raises
    ------
    SettingsError
        Saying which column or line is not as it should be.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected a table of the pressure tensor (CSV).")
    lines = path.read_text().splitlines()
    names = [name.strip() for name in lines[0].split(",")] if lines else []
    missing = [name for name in ("time_ps", *_OFF_DIAGONAL) if name not in names]
    if missing:
        raise SettingsError(
            f"{path}: the first line has no column {missing[0]!r}, it has {', '.join(names) or 'nothing'}. Needed: "
            f"time_ps, {', '.join(_OFF_DIAGONAL)}; {', '.join(_DIAGONAL)} are used where they are there."
        )
    table = _numbers(path, lines[1:], names)
    if len(table["time_ps"]) < 2:
        raise SettingsError(f"{path} holds {len(table['time_ps'])} samples: a time series has more.")
    steps = np.diff(table["time_ps"])
    interval = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - interval) > _UNEVEN * interval)
    if interval <= 0 or len(uneven):
        line = int(uneven[0]) + 3 if len(uneven) else 3
        raise SettingsError(f"{path}, line {line}: times must be evenly spaced and ascending, here by {interval:g} ps.")
    whole = all(name in table for name in _DIAGONAL)
    return PressureSeries(
        interval,
        np.stack([table[name] for name in _OFF_DIAGONAL], axis=1),
        np.stack([table[name] for name in _DIAGONAL], axis=1) if whole else None,
    )


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

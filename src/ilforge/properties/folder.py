"""Measurements as files: CSV of every table and curve, XYZ of every structure, JSON of everything."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.properties.property import Measurement
from ilforge.results import Curve, Table

MEASUREMENTS = "measurements.json"


def write_measurements(folder: Path, found: Mapping[str, Measurement], labels: Mapping[str, str]) -> list[Path]:
    """Write measurements into a folder, one subfolder a property.

    ``measurements.json`` holds all of them for :func:`read_measurements`; tables and curves are tidy CSV, structures
    extended XYZ.

    Parameters
    ----------
    folder
        Made where it is missing; files of the same names are replaced.
    found
        By property.
    labels
        Columns that stand before those of every table, the same in each row: ``{"liquid": ..., "method": ...}``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everything = {name: measurement.to_json() for name, measurement in found.items()}
    written = [folder / MEASUREMENTS]
    files.write_text(written[0], json.dumps(everything, indent=1, allow_nan=False) + "\n")
    for name, measurement in found.items():
        own = folder / name
        tables = {**measurement.tables, **{key: _as_table(curve) for key, curve in measurement.curves.items()}}
        if tables or measurement.structures:
            own.mkdir(exist_ok=True)
        for title, table in tables.items():
            written.append(_write_csv(own / f"{_file_name(title)}.csv", table, labels))
        for title, text in measurement.structures.items():
            written.append(own / f"{_file_name(title)}.xyz")
            files.write_text(written[-1], text)
    return written


def read_measurements(folder: Path) -> dict[str, Measurement]:
    """What :func:`write_measurements` wrote."""
    path = folder / MEASUREMENTS
    if not path.is_file():
        raise SettingsError(
            f"{folder} holds no {MEASUREMENTS}: write it with ilforge analyse TRAJECTORY --out {folder}"
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: Measurement.from_json(one) for name, one in data.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} is damaged ({error}): write it again with ilforge analyse --out") from error


def _as_table(curve: Curve) -> Table:
    """A curve as rows of x, y and error, units in the names."""
    columns = [_column(curve.x_label, curve.x_unit), _column(curve.y_label, curve.y_unit)]
    parts = [curve.x, curve.y]
    if curve.error is not None:
        columns.append("error")
        parts.append(curve.error)
    return Table(tuple(columns), [tuple(row) for row in np.stack(parts, axis=1).tolist()])


def _column(label: str, unit: str) -> str:
    return label if unit == "1" else f"{label} [{unit}]"


def _write_csv(path: Path, table: Table, labels: Mapping[str, str]) -> Path:
    with files.replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*labels, *table.columns])
        writer.writerows([*labels.values(), *_plain(row)] for row in table.rows)
    return path


def _plain(row: Sequence[Any]) -> list[Any]:
    """What is not a number is empty; numbers in full."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in row]
    return ["" if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in plain]


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.()+-]+", "-", title).strip("-")

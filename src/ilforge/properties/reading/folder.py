"""Write measurements: tidy CSV for numbers, tables and curves, XYZ for structures, JSON for everything."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.properties.property import Measurement
from ilforge.results import Curve, Estimate, Table

MEASUREMENTS = "measurements.json"
_NAMING = ("liquid", "protocol", "potential")


@dataclass(frozen=True)
class Run:
    """The measurements of one trajectory.

    Attributes
    ----------
    labels
        Additional first columns of every table, such as ``{"liquid": ..., "potential": ...}``.
    found
        Measurements by property.
    """

    labels: Mapping[str, Any]
    found: Mapping[str, Measurement]


def write_measurements(folder: Path, found: Mapping[str, Measurement], labels: Mapping[str, Any]) -> list[Path]:
    """Write the measurements of one trajectory into a folder.

    ``measurements.json`` contains everything for :func:`read_measurements`; for the other files see
    :func:`write_tidy`.

    Parameters
    ----------
    folder
        It is made if it does not exist; files with the same names are replaced.
    found, labels
        As in :class:`Run`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    everything = {name: measurement.to_json() for name, measurement in found.items()}
    files.write_text(folder / MEASUREMENTS, json.dumps(everything, indent=1, allow_nan=False) + "\n")
    return [folder / MEASUREMENTS, *write_tidy(folder, [Run(labels, found)])]


def write_tidy(folder: Path, runs: Sequence[Run]) -> list[Path]:
    """Write the measurements of one or several trajectories as tidy CSV: one observation in each row, runs together.

    ``numbers/QUANTITY.csv`` contains each number with its error, ``PROPERTY/TITLE.csv`` each table and curve, and
    ``PROPERTY/TITLE.xyz`` (extended XYZ) each structure; with several runs, the title begins with the run.
    """
    tables: dict[str, list[tuple[Mapping[str, Any], Table]]] = {}
    texts: dict[str, str] = {}
    for run in runs:
        for name, measurement in run.found.items():
            for title, table in _tables(name, measurement).items():
                tables.setdefault(f"{title}.csv", []).append((run.labels, table))
            which = "-".join(str(run.labels[key]) for key in _NAMING if run.labels.get(key)) if len(runs) > 1 else ""
            for title, text in measurement.structures.items():
                texts[f"{name}/{_file_name(f'{which} {title}')}.xyz"] = text
    for path, parts in tables.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        _write_csv(folder / path, parts)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / path, text)
    return [folder / path for path in (*tables, *texts)]


def read_measurements(folder: Path) -> dict[str, Measurement]:
    """Read the measurements that :func:`write_measurements` wrote."""
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


def _tables(name: str, measurement: Measurement) -> dict[str, Table]:
    """All tables of one property for CSV files, by path without suffix."""
    found = {f"numbers/{_file_name(quantity)}": table for quantity, table in _numbers(measurement).items()}
    for title, table in measurement.tables.items():
        found[f"{name}/{_file_name(title)}"] = table
    for title, curve in measurement.curves.items():
        found[f"{name}/{_file_name(title)}"] = _as_table(title, curve, measurement)
    return found


def _numbers(measurement: Measurement) -> dict[str, Table]:
    """Estimates by quantity; those that have not converged keep their value, with ``converged`` false."""
    rows: dict[str, list[tuple[float | str | None, ...]]] = {}
    units: dict[str, str] = {}
    for quantity, species, estimate in measurement.estimates:
        units[quantity] = estimate.unit
        rows.setdefault(quantity, []).append((species, *_beside(estimate), estimate.note))
    return {
        quantity: Table(("species", *_beside_columns(quantity, units[quantity]), "note"), of_quantity)
        for quantity, of_quantity in rows.items()
    }


def _beside(estimate: Estimate) -> tuple[float, float, float, bool]:
    return estimate.value, estimate.error, estimate.n_eff, estimate.converged


def _beside_columns(name: str, unit: str) -> tuple[str, str, str, str]:
    return _column(name, unit), _column("error", unit), "n_independent", "converged"


def _as_table(title: str, curve: Curve, measurement: Measurement) -> Table:
    """A curve as rows: species, x, y, error, independent samples, and whether it has converged.

    If the curve itself has no such entry, it has converged if all numbers of the same species and property have.
    """
    key = title.partition(" ")[2]
    same = [estimate.converged for _, species, estimate in measurement.estimates if (species or "") == key]
    converged = curve.converged if curve.converged is not None or not same else all(same)
    n = len(curve.x)
    error = np.full(n, np.nan) if curve.error is None else curve.error
    n_eff = np.full(n, np.nan) if curve.n_eff is None else np.broadcast_to(np.asarray(curve.n_eff, dtype=float), n)
    columns = ("species", _column(curve.x_label, curve.x_unit), *_beside_columns(curve.y_label, curve.y_unit))
    points = np.stack([curve.x, curve.y, error, n_eff], axis=1).tolist()
    return Table(columns, [(key or None, *point, converged) for point in points])


_UNIT_WORDS = {"Å": "A", "Å^2": "A2", "1/Å": "per_A", "g/cm^3": "g_cm3", "%": "percent", "m^2/s": "m2_s", "1/degrees":
               "per_degree", "1": "", "1/ps": "per_ps"}  # fmt: skip


def _column(label: str, unit: str) -> str:
    """``"mean squared displacement"`` and ``"Å^2"`` as ``"mean_squared_displacement_A2"``."""
    words = f"{label}_{_UNIT_WORDS.get(unit, unit.replace('^', '').replace('1/', 'per_'))}"
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")


def _write_csv(path: Path, parts: Sequence[tuple[Mapping[str, Any], Table]]) -> None:
    """Write tables of several runs one after the other; columns that a table lacks are empty."""
    names = list(dict.fromkeys(name for labels, _ in parts for name in labels))
    columns = list(dict.fromkeys(column for _, table in parts for column in table.columns))
    with files.replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([files.csv_cell(name) for name in (*names, *columns)])
        for labels, table in parts:
            of_run = _plain([labels.get(name) for name in names])
            where = [table.columns.index(column) if column in table.columns else None for column in columns]
            for row in table.rows:
                writer.writerow([*of_run, *_plain([None if k is None else row[k] for k in where])])


def _plain(row: Sequence[Any]) -> list[Any]:
    """A row with all digits of numbers; NaN becomes empty."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in row]
    plain = ["" if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in plain]
    return [files.csv_cell(value) for value in plain]


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.()+-]+", "-", title).strip("-")

"""Results as files: JSON as printed by ``ilforge results``, and tidy CSV with the same content."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ilforge.files import csv_cell
from ilforge.results import Record

_DIGITS = 6


def results_json(records: Sequence[Record]) -> str:
    """A list of records with all digits of numbers; NaN becomes null."""
    plain = _plain([record.as_json() for record in records])
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def results_csv(records: Sequence[Record]) -> str:
    """One line for each record; NaN becomes empty, provenance is JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Record)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = _plain(record.as_json())
        provenance = json.dumps(row["provenance"], sort_keys=True, ensure_ascii=False, default=str)
        cells = {**row, "provenance": provenance if row["provenance"] else ""}
        writer.writerow({key: csv_cell(value) for key, value in cells.items()})
    return text.getvalue()


def script_json(data: Any) -> str:
    """JSON for use inside a ``<script>``: without NaN, with six digits, and without characters special in HTML."""
    text = json.dumps(_plain(data, _DIGITS), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(data: Any, digits: int | None = None) -> Any:
    """Arrays as lists, NaN and infinity as None; floats rounded to ``digits`` significant digits, if given."""
    if isinstance(data, dict):
        return {str(key): _plain(value, digits) for key, value in data.items()}
    if isinstance(data, np.ndarray | np.generic):
        return _plain(data.tolist(), digits)
    if isinstance(data, list | tuple):
        return [_plain(value, digits) for value in data]
    if isinstance(data, float):
        if not math.isfinite(data):
            return None
        return data if digits is None else float(f"{data:.{digits}g}")
    return data

"""Results as files: JSON as ``ilforge results`` prints it, and a tidy CSV of the same."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ilforge.results import Record

_DIGITS = 6


def results_json(records: Sequence[Record]) -> str:
    return json.dumps([record.as_json() for record in records], indent=1, ensure_ascii=False, default=_plain) + "\n"


def results_csv(records: Sequence[Record]) -> str:
    """One line a record; what is not a number is empty, provenance is JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Record)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = record.as_json()
        provenance = json.dumps(row["provenance"], sort_keys=True, ensure_ascii=False, default=_plain)
        writer.writerow({**row, "provenance": provenance if row["provenance"] else ""})
    return text.getvalue()


def script_json(data: Any) -> str:
    """JSON that may stand inside a ``<script>``: no NaN, six digits, and no character that HTML could read."""
    text = json.dumps(_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def write_atomically(path: Path, text: str) -> Path:
    """The whole file or none of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def _plain(data: Any) -> Any:
    """Arrays as lists, numbers rounded, NaN and infinity as None."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, np.ndarray):
        return _plain(data.tolist())
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if isinstance(data, np.generic):
        return _plain(data.item())
    if isinstance(data, float):
        return float(f"{data:.{_DIGITS}g}") if math.isfinite(data) else None
    return data

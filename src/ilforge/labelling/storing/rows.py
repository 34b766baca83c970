"""Convert labels to rows of the label store and back; each row has its own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.labelling.labels import Label, method_digest
from ilforge.labelling.storing.inbox import info_json

COLUMNS = (
    "frame", "method", "numbers", "positions", "cell", "pbc", "info", "energy", "forces", "stress", "converged",
    "error", "cost_s", "host", "time",
)  # fmt: skip
"""Columns of the table of labels; the checksum follows after them."""
OF_PARENT = "SELECT frame FROM labels WHERE method = ? AND instr(info, ?)"
"""Query for labels whose ``info``, a JSON text, contains a piece of text."""
REALS = tuple(COLUMNS.index(name) for name in ("energy", "cost_s", "time"))
"""Columns that hold floating-point numbers."""


def row_of(label: Label) -> tuple[Any, ...]:
    """The values of :data:`COLUMNS` for a label."""
    frame = label.frame
    return (
        label.frame_digest,
        label.method_digest,
        np.asarray(frame.numbers, dtype="<i4").tobytes(),
        np.asarray(frame.positions, dtype="<f8").tobytes(),
        np.asarray(frame.cell.array, dtype="<f8").tobytes(),
        np.asarray(frame.pbc, dtype="u1").tobytes(),
        info_json(frame),
        None if label.energy is None else float(label.energy),
        None if label.forces is None else np.asarray(label.forces, dtype="<f8").tobytes(),
        None if label.stress is None else np.asarray(label.stress, dtype="<f8").tobytes(),
        int(label.converged),
        label.error,
        float(label.cost_s),
        label.host,
        float(label.time),
    )


def label_of(row: Sequence[Any], method: Mapping[str, Any]) -> Label:
    """The label of a row; ``method`` is the description of its method."""
    _, _, numbers, positions, cell, pbc, info, energy, forces, stress, converged, error, cost_s, host, time = row[:15]
    frame = Atoms(
        numbers=np.frombuffer(numbers, dtype="<i4"),
        positions=np.frombuffer(positions, dtype="<f8").reshape(-1, 3),
        cell=np.frombuffer(cell, dtype="<f8").reshape(3, 3),
        pbc=np.frombuffer(pbc, dtype="u1").astype(bool),
        info=json.loads(info),
    )
    return Label(
        frame=frame,
        method=method,
        energy=energy,
        forces=None if forces is None else np.frombuffer(forces, dtype="<f8").reshape(-1, 3).copy(),
        stress=None if stress is None else np.frombuffer(stress, dtype="<f8").copy(),
        converged=bool(converged),
        error=error,
        cost_s=cost_s,
        host=host,
        time=time,
    )


def checksum(row: Sequence[Any]) -> bytes:
    """Checksum of the values of :data:`COLUMNS`."""
    hasher = hashlib.blake2b(digest_size=16)
    for value in row:
        hasher.update(value if isinstance(value, bytes) else repr(value).encode())
        hasher.update(b"\0")
    return hasher.digest()


def method_text(description: Mapping[str, Any]) -> str:
    """The text of a method's description in the store."""
    return json.dumps(description, sort_keys=True)


def method_of(digest: str, text: Any) -> dict[str, Any] | None:
    """The description of a method from its text; None if the text is damaged and does not fit the digest."""
    try:
        description = json.loads(text)
        return description if method_digest(description) == digest else None
    except (ValueError, TypeError):
        return None

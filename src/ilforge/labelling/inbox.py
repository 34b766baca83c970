"""Finished labels as small files: how a worker hands a label over so that no crash can lose it.

Workers never open the label store. Each writes its label under a temporary name, makes sure it is on disk, and
renames it into the inbox; the coordinator takes it into the store and only then deletes the file. Killing any
process at any moment leaves either no file, a complete file, or a file and a stored label: never half of one.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.labels import Label

SUFFIX = ".label"
_PARTIAL, _DAMAGED = ".partial", ".damaged"
_ABANDONED_S = 3600.0  # a temporary file this old belongs to no living worker


def deliver(label: Label, inbox: Path) -> Path:
    """Write a label into the inbox, complete or not at all.

    Raises
    ------
    SettingsError
        When the inbox cannot be written to.
    DidNotFinish
        When the disk is full.
    """
    inbox = Path(inbox)
    name = f"{label.frame_digest[:32]}-{label.method_digest[:16]}{SUFFIX}"
    partial = inbox / f"{name}.{os.getpid()}{_PARTIAL}"
    try:
        inbox.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(encode(label))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, inbox / name)
    except PermissionError as error:
        raise SettingsError(f"Labels cannot be written to {inbox}: {error.strerror}.") from error
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DidNotFinish(f"A label could not be written to {inbox}: {error.strerror}", inbox) from error
    return inbox / name


def waiting(inbox: Path) -> Iterator[tuple[Path, Label]]:
    """Every label in the inbox, with its file.

    A file that cannot be read (a disk that lost power, a hand that edited it) is set aside under another name,
    and its label is computed again.
    """
    for path in sorted(Path(inbox).glob(f"*{SUFFIX}")):
        try:
            yield path, decode(path.read_bytes())
        except FileNotFoundError:
            continue  # another coordinator on the same store was faster
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            os.replace(path, path.with_name(path.name + _DAMAGED))


def damaged(inbox: Path) -> list[Path]:
    """Files of the inbox that were set aside because they could not be read."""
    return sorted(Path(inbox).glob(f"*{_DAMAGED}"))


def sweep(inbox: Path) -> None:
    """Remove what workers that were killed while writing have left."""
    for path in Path(inbox).glob(f"*{_PARTIAL}"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:
            continue


def encode(label: Label) -> bytes:
    """A label as the bytes of an ``.npz`` archive (which carries a checksum of each part)."""
    frame = label.frame
    record = {
        "info": info_json(frame),
        "method": label.method,
        "energy": label.energy,
        "converged": label.converged,
        "error": label.error,
        "cost_s": label.cost_s,
        "host": label.host,
        "time": label.time,
    }
    arrays = {
        "numbers": np.asarray(frame.numbers, dtype="<i4"),
        "positions": np.asarray(frame.positions, dtype="<f8"),
        "cell": np.asarray(frame.cell.array, dtype="<f8"),
        "pbc": np.asarray(frame.pbc, dtype="u1"),
    }
    for name, values in (("forces", label.forces), ("stress", label.stress)):
        if values is not None:
            arrays[name] = np.asarray(values, dtype="<f8")
    buffer = io.BytesIO()
    np.savez(buffer, record=np.frombuffer(json.dumps(record).encode(), dtype="u1"), **arrays)
    return buffer.getvalue()


def decode(data: bytes) -> Label:
    """The label that :func:`encode` wrote; ValueError, KeyError or BadZipFile when it is not one."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    record = json.loads(arrays.pop("record").tobytes())
    frame = Atoms(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        cell=arrays["cell"],
        pbc=arrays["pbc"].astype(bool),
        info=json.loads(record.pop("info")),
    )
    return Label(frame=frame, forces=arrays.get("forces"), stress=arrays.get("stress"), **record)


def info_json(frame: Atoms) -> str:
    """Where a frame comes from, as JSON: everything in ``info`` but labels."""
    kept = {key: _plain(value) for key, value in frame.info.items() if not key.startswith("REF_")}
    return json.dumps(kept, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)

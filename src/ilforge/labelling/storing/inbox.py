"""Deliver finished labels as small files, so that no crash can lose a label.

Workers never open the label store. Each writes its label under a temporary name, makes sure that it is on disk, and
renames it into the inbox. The coordinator adds it to the store and only then deletes the file. If a process is killed
at any moment, there is no file, a complete file, or a file and a stored label, but never an incomplete one.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.labels import Label

SUFFIX = ".label"
_PARTIAL, _DAMAGED = ".partial", ".damaged"
_MAGIC, _CHECKSUM_BYTES = b"ilforge label 1\n", 16
_ABANDONED_S = 3600.0  # a temporary file this old belongs to no living worker


def deliver(label: Label, inbox: Path) -> Path:
    """Write a label into the inbox, completely or not at all.

    Raises
    ------
    SettingsError
        When the inbox cannot be written to.
    DidNotFinish
        When the disk is full.
    """
    inbox = Path(inbox)
    name = name_of(label.frame_digest, label.method_digest)
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


def name_of(frame_digest: str, method_digest: str) -> str:
    """Name of the file of a label in the inbox."""
    return f"{frame_digest[:32]}-{method_digest[:16]}{SUFFIX}"


def waiting(inbox: Path, set_aside: bool = True) -> Iterator[tuple[Path, Label]]:
    """Every label in the inbox, with its file.

    A file that is not a valid label (damaged by a power failure, edited, written by a newer version, a folder or a
    link) is renamed, and its label is computed again.

    Parameters
    ----------
    set_aside
        Whether invalid files are renamed.
    """
    for path in sorted(Path(inbox).glob(f"*{SUFFIX}")):
        try:
            label = _read(path)
        except FileNotFoundError:
            continue  # another coordinator on the same store has already taken it
        except (ValueError, IsADirectoryError):
            if set_aside:
                os.replace(path, path.with_name(f"{path.name}.{time.time_ns()}{_DAMAGED}"))
            continue
        yield path, label


def _read(path: Path) -> Label:
    if path.is_symlink():
        raise ValueError("a link")
    return decode(path.read_bytes())


def damaged(inbox: Path) -> list[Path]:
    """Files of the inbox that were renamed because they could not be read."""
    return sorted(Path(inbox).glob(f"*{_DAMAGED}"))


def sweep(inbox: Path) -> None:
    """Remove temporary files of workers that were killed while writing."""
    for path in Path(inbox).glob(f"*{SUFFIX}.*{_PARTIAL}"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:
            continue


def encode(label: Label) -> bytes:
    """A label as bytes: a line with the format, a line of JSON, the arrays, and a checksum of everything."""
    frame = label.frame
    arrays = {
        "numbers": np.asarray(frame.numbers, dtype="<i4"),
        "positions": np.asarray(frame.positions, dtype="<f8"),
        "cell": np.asarray(frame.cell.array, dtype="<f8"),
        "pbc": np.asarray(frame.pbc, dtype="u1"),
    }
    for name, values in (("forces", label.forces), ("stress", label.stress)):
        if values is not None:
            arrays[name] = np.asarray(values, dtype="<f8")
    record = {
        "info": info_json(frame),
        "method": label.method,
        "energy": None if label.energy is None else float(label.energy),
        "converged": bool(label.converged),
        "error": label.error,
        "cost_s": label.cost_s,
        "host": label.host,
        "time": label.time,
    }
    layout = {name: [array.dtype.str, *array.shape] for name, array in arrays.items()}
    header = json.dumps({"label": record, "arrays": layout}).encode()
    content = b"".join([_MAGIC, header, b"\n", *(array.tobytes() for array in arrays.values())])
    return content + _checksum(content)


def decode(data: bytes) -> Label:
    """The label from the bytes of :func:`encode`; ValueError if they are not a complete label."""
    content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not content.startswith(_MAGIC) or checksum != _checksum(content):
        raise ValueError("not a complete label")
    try:
        return _decoded(content)
    except (KeyError, TypeError, AttributeError) as error:  # complete, but in the format of another version
        raise ValueError(f"a label of another version: {error!r}") from error


def _decoded(content: bytes) -> Label:
    start = content.index(b"\n", len(_MAGIC))
    header = json.loads(content[len(_MAGIC) : start])
    arrays, start = {}, start + 1
    for name, (dtype, *shape) in header["arrays"].items():
        count = math.prod(shape)
        arrays[name] = np.frombuffer(content, dtype, count, start).reshape(shape).copy()
        start += arrays[name].nbytes
    record = header["label"]
    frame = Atoms(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        cell=arrays["cell"],
        pbc=arrays["pbc"].astype(bool),
        info=json.loads(record.pop("info")),
    )
    return Label(frame=frame, forces=arrays.get("forces"), stress=arrays.get("stress"), **record)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES).digest()


def info_json(frame: Atoms) -> str:
    """The origin of a frame as JSON: everything in ``info`` except labels."""
    kept = {key: _plain(value) for key, value in frame.info.items() if not key.startswith("REF_")}
    return json.dumps(kept, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)

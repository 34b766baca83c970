"""Remember which label stores this process has checked, so that it need not read them again after its own changes.

To check a file, SQLite reads all of it. A damaged file was changed by something else than the transactions of this
process: by a disk, by another program, or by another process whose locks do not work. So a checked file is checked
again as soon as its size, its time of change or its place on the disk are not those that this process left behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

State = tuple[tuple[int, int, int] | None, ...]

one_at_a_time = threading.RLock()
"""Held while a thread of this process checks or changes a label store, so that threads do not mistake each other."""
_known: dict[Path, State] = {}


def is_known(path: Path) -> bool:
    """Whether this process has checked a file, and has alone changed it since."""
    return _known.get(path) == _state(path)


@contextmanager
def becomes_known(path: Path) -> Iterator[None]:
    """Check a file in this context; if it raises nothing, the file is known as it was at the beginning."""
    with one_at_a_time:
        before = _state(path)
        _known.pop(path, None)
        yield
        _known[path] = before


@contextmanager
def own_change(path: Path) -> Iterator[None]:
    """Change a file in this context, protected from other processes; a known file stays known."""
    with one_at_a_time:
        known = is_known(path)
        yield
        if known:
            _known[path] = _state(path)


def _state(path: Path) -> State:
    """Place, size and time of change of an SQLite file and of its log; None for a file that is empty or missing."""
    return tuple(_stamp(file) for file in (path, path.with_name(f"{path.name}-wal")))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if found.st_size else None

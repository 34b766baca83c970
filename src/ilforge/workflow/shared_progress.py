"""What a running study says to other shells: the time left, and which of its stages failed.

A small file beside the lock of the study. Nothing is decided by it, and without it nothing is lost.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ilforge import files

_LARGEST = 2**20  # bytes; a file of somebody else's store may be of any size


@dataclass(frozen=True)
class SharedProgress:
    """What the last run of a study said last.

    Attributes
    ----------
    seconds_left
        Expected time to the end, s, at the pace of that run.
    failed
        Why stages failed, by key.
    by
        Process and host.
    written
        When, s since the epoch.
    """

    seconds_left: float
    failed: Mapping[str, str] = field(default_factory=dict)
    by: str = ""
    written: float = 0.0


def file_of(locks: Path, study: str) -> Path:
    """Where a run of a study writes it; ``locks`` is the folder of the store's locks."""
    return locks / f"study-{study}.progress"


def write(path: Path, seconds_left: float, failed: Mapping[str, str]) -> None:
    """Replace what was said."""
    said = {
        "seconds_left": seconds_left,
        "failed": dict(failed),
        "by": f"process {os.getpid()} on {platform.node()}",
        "written": time.time(),
    }
    files.write_text(path, json.dumps(said) + "\n")


def read(path: Path) -> SharedProgress | None:
    """What was said last; None where nothing was, or nothing that can be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        said: Any = json.loads(path.read_text())
        failed = {str(key): str(reason) for key, reason in said["failed"].items()}
        found = SharedProgress(float(said["seconds_left"]), failed, str(said["by"]), float(said["written"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if math.isfinite(found.seconds_left) and math.isfinite(found.written) else None

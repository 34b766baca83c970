"""Information about a running study for other shells: the time left, and the stages that failed.

A small file beside the lock of the study. No decision depends on it, and nothing is lost without it.
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

_LARGEST = 2**20  # bytes; a file in a foreign store may have any size


@dataclass(frozen=True)
class SharedProgress:
    """The last message of the last run of a study.

    Attributes
    ----------
    seconds_left
        Expected time to the end, s, at the pace of that run.
    failed
        Reasons why stages failed, by key.
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
    """Path of the file for a study; ``locks`` is the folder of the store's locks."""
    return locks / f"study-{study}.progress"


def write(path: Path, seconds_left: float, failed: Mapping[str, str]) -> None:
    """Replace the message."""
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

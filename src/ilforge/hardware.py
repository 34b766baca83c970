"""Resources of this machine: processor cores and memory that this process may use, and disk space."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_GB = 1e9
_CGROUP = Path("/sys/fs/cgroup")
# files with the limit of a container or a job, in cgroups of version 2 and 1
_LIMITS = (
    "memory.max",
    "memory/memory.limit_in_bytes",
)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_GB() -> float:
    """Memory of this machine or, if it is less, of the container of this process, GB."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB]
    for name in _LIMITS:
        try:
            found.append(int((_CGROUP / name).read_text()) / _GB)
        except (OSError, ValueError):  # there is no limit: the file is missing, or contains "max"
            continue
    return min(found)


def usable_memory_GB() -> float:
    """Memory that tasks may use, GB; a tenth, but at least 1 GB, is reserved for other programs."""
    there = memory_GB()
    return max(there / 2, there - max(1.0, there / 10))


def free_disk_GB(place: Path) -> float:
    """Free disk space for a folder that exists or will be made, GB.

    Raises
    ------
    OSError
        When the system does not report it.
    """
    folder = Path(place).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / _GB

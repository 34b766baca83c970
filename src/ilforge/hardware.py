"""What this machine has: processor cores and memory, as far as this process may use them, and disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_GB = 1e9
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of a container or a job: cgroups of version 2 and 1


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_GB() -> float:
    """Memory of this machine, or of the container that this process is in where that is less, GB."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB]
    for name in _LIMITS:
        try:
            found.append(int((_CGROUP / name).read_text()) / _GB)
        except (OSError, ValueError):  # no such limit: the file is missing, or says "max"
            continue
    return min(found)


def usable_memory_GB() -> float:
    """Memory that tasks may take, GB: a tenth, and 1 GB at least, is left to everything else."""
    there = memory_GB()
    return max(there / 2, there - max(1.0, there / 10))


def free_disk_GB(place: Path) -> float:
    """Free disk of a folder that exists or is yet to be made, GB.

    Raises
    ------
    OSError
        When the system does not say.
    """
    folder = Path(place).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / _GB

"""A process that is killed at its n-th change of the disk, for any n."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def killed_at(n: int | None, work: Callable[[], Any]) -> bool:
    """Run ``work`` in a forked process that kills itself (SIGKILL) before its ``n``-th change of the disk.

    Python itself says what changes the disk, by its audit events: opening for writing, renaming, removing, making
    folders. What is in the buffers of open files is lost, as in a real kill.

    Returns
    -------
    bool
        Whether it was killed; False when it ended first. That it failed is an AssertionError.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple) -> None:
            nonlocal count
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
            if not (writes or event in _CHANGES):
                return
            count += 1
            if count == n:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the process failed, see its traceback"
    return os.WIFSIGNALED(status)

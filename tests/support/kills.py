"""Processes that are killed: at the n-th change of the disk, for any n, and in the middle of a training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.patience import until

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


def kill_in_the_middle(code: str, directory: Path, there: Callable[[], bool]) -> None:
    """Run Python code in a process that is killed (SIGKILL) while ``there()`` is true, and leave ``directory`` as then.

    Where a machine is so fast, or this process so slow, that the code is through before it is killed, the directory is
    put back and the code is run again.
    """
    before = directory.with_name(f"{directory.name}-before")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(directory, before)
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        until(lambda running=process: running.poll() is not None or there(), every_s=0.005)
        process.kill()
        if process.wait() == -signal.SIGKILL and there():
            shutil.rmtree(before)
            return
        assert process.returncode in (0, -signal.SIGKILL), "the process failed"
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(before, directory, dirs_exist_ok=True)
    raise AssertionError("it always ended before it could be killed")

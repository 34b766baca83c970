"""Records of jobs on disk: the jobs submitted within the last hour, and jobs of killed runs.

Folder of an executor, in the store: ``submissions`` holds a time for each job that was asked for, by any run; each run
has a folder of its own, with its jobs (``jobs``), a lock that it holds while it lives (``alive``), and Parsl's files.
"""

from __future__ import annotations

import fcntl
import os
import platform
import secrets
import shutil
import time
from pathlib import Path

_HOUR_S = 3600.0
_LONG_S = 7 * 24 * _HOUR_S  # of a run on another machine: its jobs are over, whatever their walltime


class Ledger:
    """Records of the jobs of one executor.

    Parameters
    ----------
    folder
        Folder of the executor.

    Attributes
    ----------
    own
        Folder of this run, on a disk that nodes see.
    """

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.own = self.folder / f"run-{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.own.mkdir(parents=True)
        self._alive = open(self.own / "alive", "w")  # noqa: SIM115 (its lock is held until the run ends)
        fcntl.flock(self._alive, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before the name: others would take it for ended
        self._alive.write(platform.node())
        self._alive.flush()

    def submitting(self) -> None:
        """Record a submission before it happens, so that it also counts if the run is killed."""
        with open(self.folder / "submissions", "a") as file:
            file.write(f"\n{time.time():.3f}\n")  # a new line, even after a line that a full disk cut short

    def submitted(self, job: str) -> None:
        """Record the number of a job in the queueing system."""
        with open(self.own / "jobs", "a") as file:
            file.write(f"{job}\n")
            file.flush()
            os.fsync(file.fileno())

    def pause_s(self, per_hour: int) -> float:
        """Time until another job may be submitted, s."""
        times = self._times()
        if len(times) < per_hour:
            return 0.0
        return max(0.0, times[-per_hour] + _HOUR_S - time.time())

    def left_by_others(self) -> dict[Path, list[str]]:
        """Folders of runs that have ended, with the jobs of those that did not end them."""
        found: dict[Path, list[str]] = {}
        for folder in self.folder.glob("run-*"):
            if folder != self.own and _is_over(folder):
                jobs = folder / "jobs"
                ended = (folder / "ended").exists() or not jobs.exists()
                found[folder] = [] if ended else jobs.read_text().split()
        return found

    def remove(self, folder: Path) -> None:
        """Remove the folder of a run that has ended, and the keys of its network traffic with it."""
        shutil.rmtree(folder, ignore_errors=True)

    def close(self, ended: bool) -> None:
        """Give up the lock; ``ended`` says whether all jobs of this run are cancelled."""
        if ended:
            (self.own / "ended").touch()
        self._alive.close()

    def _times(self) -> list[float]:
        """When jobs were submitted within the last hour, s since the epoch."""
        try:
            lines = (self.folder / "submissions").read_text().split()
        except FileNotFoundError:
            return []
        return sorted(at for at in map(_number, lines) if at > time.time() - _HOUR_S)


def _is_over(folder: Path) -> bool:
    """Whether the run of a folder has ended, so that no process holds its lock. Locks of other machines do not
    count."""
    alive = folder / "alive"
    try:
        if alive.read_text() != platform.node():
            return time.time() - alive.stat().st_mtime > _LONG_S
        with open(alive) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False  # it is just starting
    except OSError:
        return False
    return True


def _number(line: str) -> float:
    try:
        return float(line)
    except ValueError:  # a line that a full disk has cut short
        return 0.0

"""Claims: which run labels which frame, so that no two runs on one store compute the same label.

A claim is a small file in the folder ``claims`` of the label store. It is made by a hard link, which only one process
can create. It names its holder, a run; every run updates its own file regularly while it lives. The claim of a
dead holder is ignored: at once if both runs are on one machine, because the system releases the lock on the holder's
file when the process ends, otherwise after the lease. Ages are taken from the clock of the file system, so hosts
with different clocks agree on them.

After a frame was labelled, ``done`` replaces its claim, for runs that listed their missing frames before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.folders import refuse_links

FOLDER = "claims"
LEASE_S, HEARTBEAT_S = 120.0, 10.0
"""Time without a sign of life after which a holder counts as dead, and time between two signs, s."""
_ALIVE, _CLAIM = ".alive", ".claim"
_DONE = "done"
_SKEW_S = 3600.0  # largest difference between the clocks of hosts


class State(Enum):
    """The state of a frame according to its claim."""

    FREE, MINE, BUSY, DONE = range(4)


@dataclass(frozen=True)
class Holder:
    """A run that claims frames; made by :func:`holding`, handed to its workers.

    Attributes
    ----------
    folder
        Folder of the claims.
    name
        Name of the run: host, process, and a random word.
    """

    folder: Path
    name: str

    def take(self, frame: str, method: str) -> State:
        """Claim a frame for a method, both by digest; returns :attr:`State.MINE`, or the state that prevents it."""
        path = self._path(frame, method)
        state = self.state(frame, method)
        if state is not State.FREE:
            return state
        with self._one_at_a_time():  # only one run at a time removes and replaces the claim of a dead holder
            if self.state(frame, method) is State.FREE:
                path.unlink(missing_ok=True)
                self._write(path)
        return self.state(frame, method)

    def state(self, frame: str, method: str) -> State:
        """The state of a frame; the claim of a dead holder is ignored."""
        holder = _text(self._path(frame, method))
        if holder is None:
            return State.FREE
        if holder == _DONE:
            return State.DONE
        if holder == self.name:
            return State.MINE
        return State.FREE if self._is_dead(holder) else State.BUSY

    def holder_of(self, frame: str, method: str) -> str:
        """Name of the run that has claimed a frame; empty without a claim."""
        return _text(self._path(frame, method)) or ""

    def finish(self, frame: str, method: str) -> None:
        """Record that the label of a claimed frame was delivered."""
        files.write_text(self._path(frame, method), _DONE)

    def settle(self, frame: str, method: str, cut_short: bool) -> None:
        """End a claim: the label was delivered, or the calculation was cut short and the frame is free again."""
        (self.release if cut_short else self.finish)(frame, method)

    def release(self, frame: str, method: str) -> None:
        """Release a frame that this run has claimed or that is done; claims of other runs stay."""
        path = self._path(frame, method)
        if _text(path) in (self.name, _DONE):
            path.unlink(missing_ok=True)

    def _path(self, frame: str, method: str) -> Path:
        return self.folder / f"{frame[:32]}-{method[:16]}{_CLAIM}"

    def _write(self, path: Path) -> None:
        """Create the claim with its content in one step, unless another run was faster."""
        own = path.with_name(f"{path.name}.{self.name}{files.PARTIAL}")
        own.write_text(self.name)
        try:
            os.link(own, path)
        except FileExistsError:
            return
        finally:
            own.unlink(missing_ok=True)

    def _is_dead(self, holder: str) -> bool:
        alive = self.folder / f"{holder}{_ALIVE}"
        try:
            with open(alive) as file:
                said = json.loads(file.read())
                if self._now() - os.fstat(file.fileno()).st_mtime > said["lease_s"]:
                    return True
                return said["machine"] == _machine() and _lock(file)
        except FileNotFoundError:
            return True
        except (ValueError, KeyError, TypeError):
            return False  # it is probably being written; otherwise its age will show this
        except OSError as error:
            raise SettingsError(f"The claims in {self.folder} cannot be read: {error.strerror}.") from error

    def _now(self) -> float:
        """The time by the clock of the file system, s."""
        own = self.folder / f"{self.name}{_ALIVE}"
        os.utime(own)
        return own.stat().st_mtime

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with open(self.folder / "lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def sweep(self) -> None:
        """Remove files of dead runs, and ``done`` entries that are too old to matter for any living run."""
        began = [time.time()]
        for alive in self.folder.glob(f"*{_ALIVE}"):
            if alive.stem == self.name:
                continue
            if self._is_dead(alive.name.removesuffix(_ALIVE)):
                alive.unlink(missing_ok=True)
            else:
                began.append(_began(alive))
        for path in self.folder.glob(f"*{_CLAIM}"):
            with contextlib.suppress(FileNotFoundError):
                if _text(path) == _DONE and path.stat().st_mtime < min(began) - (_SKEW_S if len(began) > 1 else 0.0):
                    path.unlink()


@contextmanager
def holding(labels: Path, lease_s: float | None = None) -> Iterator[Holder]:
    """Context with a holder of claims on a label store; the holder gives signs of life until the block ends.

    Parameters
    ----------
    labels
        Folder of the label store.
    lease_s
        Lease, s; by default :data:`LEASE_S`.
    """
    folder = Path(labels) / FOLDER
    refuse_links(folder, folder / "lock")
    folder.mkdir(parents=True, exist_ok=True)
    holder = Holder(folder, f"{_plain(platform.node())}-{os.getpid()}-{secrets.token_hex(4)}")
    said = {"machine": _machine(), "lease_s": lease_s or LEASE_S, "began": time.time()}
    path = folder / f"{holder.name}{_ALIVE}"
    partial = path.with_name(path.name + files.PARTIAL)
    ended = threading.Event()
    with open(partial, "w") as file:
        _lock(file)
        file.write(json.dumps(said))
        file.flush()
        os.replace(partial, path)
        beat = threading.Thread(target=_give_signs, args=(path, ended, said["lease_s"]), daemon=True)
        beat.start()
        try:
            holder.sweep()
            yield holder
        finally:
            ended.set()
            beat.join()
            path.unlink(missing_ok=True)


def _give_signs(path: Path, ended: threading.Event, lease_s: float) -> None:
    while not ended.wait(min(HEARTBEAT_S, lease_s / 8)):
        with contextlib.suppress(OSError):  # the file system may be unavailable for a moment
            os.utime(path)


def _lock(file: IO[Any]) -> bool:
    """Lock the file of a holder; False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _machine() -> str:
    """Identifier of the running kernel: equal for all its processes, even with different host names."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _began(alive: Path) -> float:
    try:
        return float(json.loads(alive.read_text())["began"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _plain(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:40] or "host"

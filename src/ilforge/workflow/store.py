"""The store: one directory for each finished stage, published by one rename, and checked by digest before it is used.

::

    ilforge-store/
      results/<kind>-<hash>/   a finished stage; manifest.json was written last
      scratch/<kind>-<hash>/   a running or stopped stage: a new run continues from it
      damaged/                 results whose files no longer match their manifest
      labels/                  labels, one by one, shared by all studies (see ilforge.labelling.storing.store)
      locks/
      notes/                   short facts about results, kept so that commands which show a study need not read them
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ilforge import canonical, files, trust
from ilforge.errors import DidNotFinish, IlforgeError, SettingsError
from ilforge.files import PARTIAL, file_digest
from ilforge.folders import REPLACED, refuse_links
from ilforge.workflow.stage import Stage

MANIFEST = "manifest.json"
_PARTS = "parts"  # see Job.parts


class ResultStore:
    """Finished stages on disk.

    Parameters
    ----------
    root
        Folder of the store; made when it is not there.
    trust
        Load models of the store even if this user did not make them.
    verify
        Count a stage as finished only if its files are unchanged, as for commands that show results.
    largest
        Size of the largest file whose digest is then checked, bytes; larger files need only exist. None for all.

    Attributes
    ----------
    faults
        With ``verify``: what is wrong with a result, by its key; None for a result without a fault.
    """

    def __init__(self, root: Path, trust: bool = False, verify: bool = False, largest: int | None = None):
        self.root, self.trust, self.verify, self._largest = Path(root).absolute(), trust, verify, largest
        self.faults: dict[str, str | None] = {}
        self.results, self.scratch = self.root / "results", self.root / "scratch"
        self.notes = self.root / "notes"
        self.labels, self.locks, self.damaged = self.root / "labels", self.root / "locks", self.root / "damaged"

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        SettingsError
            When the store cannot be written to.
        """
        for folder in (self.results, self.scratch, self.labels, self.locks):
            refuse_links(folder)
            require_writable(folder, "The store", "--store, or with `store` in machine.toml")

    def path(self, stage: Stage) -> Path:
        """Where the stage's result is, or will be."""
        return self.results / stage.key

    def holds(self, stage: Stage) -> bool:
        """Whether the stage is finished; checks only the manifest, unless the store was opened with ``verify``."""
        if not (self.path(stage) / MANIFEST).is_file():
            return False
        if not self.verify:
            return True
        if stage.key not in self.faults:
            self.faults[stage.key] = fault_of(self.path(stage), self._largest)
        return self.faults[stage.key] is None

    def require_trusted(self, stage: Stage) -> Path:
        """The result of a stage, after a check that its files may be loaded as models, which can run code.

        Raises
        ------
        SettingsError
            When this user neither made it nor declared it trusted, or its files have changed.
        """
        directory = self.path(stage)
        if not self.trust and not trust.is_signed(read_manifest(directory)):
            raise SettingsError(
                f"{directory} was not made by you: it has no signature of your key, and loading a model can run "
                "code in it. If you trust who made it, say so with `ilforge run --trust`; to sign a whole store, made "
                f"by an earlier ilforge or moved from another account of yours: ilforge store trust {self.root}"
            )
        fault = self.fault(stage)
        if fault is not None:
            raise SettingsError(f"{directory} is damaged: {fault}. Run the study again to replace it.")
        return directory

    def fault(self, stage: Stage) -> str | None:
        """What is wrong with the files of a finished stage; None if every digest is correct."""
        return fault_of(self.path(stage))

    def set_aside(self, stage: Stage) -> Path:
        """Move a damaged result away, so that it is made again."""
        self.damaged.mkdir(exist_ok=True)
        target = self.damaged / f"{stage.key}-{time.time_ns()}"
        os.replace(self.path(stage), target)
        return target

    def noted(self, stage: Stage, what: str, look: Callable[[Path], list[str]]) -> list[str]:
        """What ``look`` finds in the folder of a finished stage, from a note if it was found before.

        A result never changes, so the note holds for ever. It is a convenience for commands that show a study, and
        no result may depend on it: a store from elsewhere may have any note. It is not kept in a store that cannot be
        written to.

        Parameters
        ----------
        what
            What is looked for; a note is found again by these words.
        """
        path = self.notes / f"{stage.key}-{canonical.digest(what)[:12]}.json"
        refuse_links(self.notes, path)
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_text())
            if isinstance(found, list) and all(isinstance(one, str) for one in found):
                return found
        found = look(self.path(stage))
        with contextlib.suppress(OSError):
            self.notes.mkdir(exist_ok=True)
            write_json(path, found)
        return found

    def open_scratch(self, stage: Stage) -> Path:
        """The scratch directory of the stage, with the files that a stopped run left there; it is not a result yet."""
        directory = self.scratch / stage.key
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MANIFEST).unlink(missing_ok=True)
        return directory

    def publish(self, stage: Stage, manifest: dict[str, Any]) -> Path:
        """Digest the scratch directory's files, write the manifest last, and rename it into place.

        Parts are removed only when the manifest is written: a run that was killed earlier finds all of them.
        """
        directory = self.scratch / stage.key
        files = {
            str(path.relative_to(directory)): file_digest(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file() and path != directory / MANIFEST and not _is_left_over(path.relative_to(directory))
        }
        write_json(directory / MANIFEST, trust.signed({**manifest, "files": files}))
        return self._put_in_place(stage)

    def finish_publishing(self, stage: Stage) -> bool:
        """Publish a result whose last file was written before a stop; returns whether there was one."""
        directory = self.scratch / stage.key
        if not (directory / MANIFEST).is_file() or fault_of(directory) is not None:
            return False
        self._put_in_place(stage)
        return True

    def _put_in_place(self, stage: Stage) -> Path:
        _remove_leftovers(self.scratch / stage.key)
        if self.path(stage).exists():  # without a manifest, because otherwise it would count as finished
            self.set_aside(stage)
        os.replace(self.scratch / stage.key, self.path(stage))
        return self.path(stage)

    @contextlib.contextmanager
    def stage_lock(self, stage: Stage) -> Iterator[None]:
        """Lock a stage: another run that needs the same stage waits here, and then finds it finished."""
        with _opened(self.locks / f"{stage.key}.lock") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def at_work(self, stage: Stage) -> bool:
        """Whether a process has locked the stage now."""
        return _is_held(self.locks / f"{stage.key}.lock")


def study_at_work(folder: Path, name: str) -> bool:
    """Whether some process runs a study of this name; ``folder`` is that of the store's locks."""
    return _is_held(_study_lock_file(folder, name))


def _study_lock_file(folder: Path, name: str) -> Path:
    return folder / f"study-{name}.lock"


def _is_held(lock: Path) -> bool:
    if not lock.is_file() or lock.is_symlink():
        return False
    with open(lock) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: see _take_at_once
        except OSError:
            return True
    return False


@contextlib.contextmanager
def study_lock(folder: Path, name: str) -> Iterator[None]:
    """Lock a study of this store. A second run is refused; the error names the process that holds the lock, and since
    when."""
    with _opened(_study_lock_file(folder, name)) as handle:
        try:
            _take_at_once(handle)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            handle.seek(0)
            raise IlforgeError(
                f"The study {name} is running already ({handle.read().strip() or 'by another process'}). "
                "Wait for it to end, follow it with `ilforge status`, or stop it first."
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        handle.flush()
        yield


def _take_at_once(handle: IO[str]) -> None:
    """Lock or fail. A process that only looks whether the file is locked shares it for a moment; this waits for that
    process, however slow the machine is."""
    while True:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails where another process has locked it
        fcntl.flock(handle, fcntl.LOCK_UN)
        time.sleep(0.05)


def _opened(path: Path) -> IO[str]:
    """A lock file, which is made if it is missing. A link is refused, because its target would be overwritten."""
    try:
        return open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+")
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise DidNotFinish(
                f"The lock {path} cannot be opened ({error.strerror}). What is finished is kept; allow more open files "
                "(ulimit -n), and the same command goes on from there."
            ) from error
        refuse_links(path)
        raise SettingsError(f"The lock {path} cannot be opened ({error.strerror}): remove it.") from error


def require_writable(folder: Path, what: str, instead: str) -> None:
    """Make a folder and write to it.

    Raises
    ------
    SettingsError
        When this is not possible; the message says how to name another folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"{what} {folder} cannot be written to ({error.strerror}). Name another folder with {instead}."
        ) from error


def sign(directory: Path) -> str | None:
    """Sign a result with the key of this user if it is undamaged; otherwise return what is wrong with it."""
    fault = fault_of(directory)
    if fault is None:
        write_json(directory / MANIFEST, trust.signed(read_manifest(directory)))
    return fault


def fault_of(directory: Path, largest: int | None = None) -> str | None:
    """What is wrong with the files of a result; None if every digest in its manifest is correct.

    Files larger than ``largest`` bytes need only exist.
    """
    if directory.is_symlink():
        return "it is a link, and links inside a store are not followed"
    try:
        manifest = read_manifest(directory)
        listed = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its manifest cannot be read ({error})"
    if manifest.get("key") != directory.name or not _is_complete(manifest):
        return "its manifest is that of another result"
    for name, expected in listed.items():
        if name in (MANIFEST, MANIFEST + PARTIAL):  # earlier versions listed them after a kill
            continue
        try:
            if _leads_out(directory, name):
                return f"{name} is a link, or leads out of the result"
            size = (directory / name).stat().st_size
            if (largest is None or size <= largest) and file_digest(directory / name) != expected:
                return f"{name} is not what was stored"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def _is_complete(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest has all entries that are shown to users."""
    texts = all(isinstance(manifest.get(key), str) for key in ("name", "host", "finished"))
    return texts and isinstance(manifest.get("wall_s"), int | float) and isinstance(manifest.get("programs"), dict)


def _leads_out(directory: Path, name: str) -> bool:
    """Whether a file of a result is a link, below one, or outside its folder."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return True
    return any((directory / part).is_symlink() for part in (path, *path.parents))


def _is_left_over(path: Path) -> bool:
    """Whether a file of a stage is no part of its result, by its path in the stage's directory."""
    return path.parts[0] == _PARTS or any(Path(name).suffix in (PARTIAL, REPLACED) for name in path.parts)


def _remove_leftovers(directory: Path) -> None:
    """Remove files that a stage does not need any more, and files of writers that were killed."""
    if (directory / _PARTS).is_dir():  # by one rename first: half of the parts must not look like all of them
        shutil.rmtree(directory / f"{_PARTS}{PARTIAL}", ignore_errors=True)
        os.replace(directory / _PARTS, directory / f"{_PARTS}{PARTIAL}")
    for path in [path for path in directory.rglob("*") if path.suffix in (PARTIAL, REPLACED)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a result: settings and inputs, time, machine, programs, and the digest of each file."""
    manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
    return manifest


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file, completely or not at all."""
    files.write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")

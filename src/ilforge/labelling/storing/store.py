"""The label store: every label ever paid for, by frame and method, for all studies that share it.

One SQLite file holds the labels, a folder beside it (``inbox``) those that workers have finished and the
coordinator has not yet taken in. The file is in write-ahead mode: a process may be killed at any moment, and
any number of studies may read while one writes. That mode needs memory that all processes share, so on a network file
system the file has a rollback journal instead, which needs locks alone: slower, and as safe as the locks of that file
system. Every label carries a checksum of its own, so that damage to
a row is found when it is read; such a row is dropped, counted, and computed again.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ilforge import files
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.folders import refuse_links
from ilforge.labelling.journal import choose_journal
from ilforge.labelling.labels import Label, checked, is_cut_short
from ilforge.labelling.labels import method_digest as method_digest_of
from ilforge.labelling.storing import inbox as _inbox
from ilforge.labelling.storing import rows

FILE = "labels.sqlite"
"""The labels, in the folder of a store's labels."""
_APPLICATION = 0x696C6667  # "ilfg": tells a label store from any other SQLite file
_VERSION = 1
BACKUP = "backup"
"""Folder with a copy of the file, beside it."""
METHODS = "methods"
"""Folder with the description of each method in a file of its own: without it no label of that method is of use."""
BATCH = 200
"""Labels in one transaction: one flush to disk pays for all of them."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS methods (
    digest TEXT PRIMARY KEY,
    description TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS labels (
    frame TEXT NOT NULL,
    method TEXT NOT NULL REFERENCES methods (digest),
    numbers BLOB NOT NULL, positions BLOB NOT NULL, cell BLOB NOT NULL, pbc BLOB NOT NULL, info TEXT NOT NULL,
    energy REAL, forces BLOB, stress BLOB,
    converged INTEGER NOT NULL, error TEXT, cost_s REAL NOT NULL, host TEXT NOT NULL, time REAL NOT NULL,
    checksum BLOB NOT NULL,
    UNIQUE (frame, method)
);
"""
_COLUMNS = ", ".join(rows.COLUMNS)
_ERROR = rows.COLUMNS.index("error")
# A result replaces an earlier failure, and anything a calculation that was cut short; nothing replaces a result.
_INSERT = f"""
INSERT INTO labels ({_COLUMNS}, checksum) VALUES ({", ".join("?" * 16)})
ON CONFLICT (frame, method) DO UPDATE SET
    info = excluded.info, energy = excluded.energy, forces = excluded.forces, stress = excluded.stress,
    numbers = excluded.numbers, positions = excluded.positions, cell = excluded.cell, pbc = excluded.pbc,
    converged = excluded.converged, error = excluded.error, cost_s = excluded.cost_s,
    host = excluded.host, time = excluded.time, checksum = excluded.checksum
WHERE labels.error IS NOT NULL AND (excluded.error IS NULL OR cut_short(labels.error))
"""


class LabelStore:
    """Labels on disk. Open it with a folder, use it as a context manager or :meth:`close` it.

    Parameters
    ----------
    directory
        Folder of the store, made when it is not there: ``labels.sqlite`` and ``inbox``.
    busy_timeout_s
        How long to wait for another study that is writing.
    read_only
        Change nothing in the folder, which need not be writable.

    Raises
    ------
    SettingsError
        When the file is no label store, is damaged, is a link, or cannot be written.
    """

    def __init__(self, directory: str | Path, busy_timeout_s: float = 60.0, read_only: bool = False):
        self.directory, self.read_only = Path(directory), read_only
        self.path, self.inbox = self.directory / FILE, self.directory / "inbox"
        self.damaged_rows = 0
        self._lock = threading.RLock()
        refuse_links(self.directory, self.path, self.inbox)
        with _explained(self.path):
            if not read_only:
                self.inbox.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect(busy_timeout_s)
            self._connection.create_function("cut_short", 1, is_cut_short, deterministic=True)
            self._prepare()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def get(self, frame_digest: str, method_digest: str) -> Label | None:
        """The label of one frame by one method, or None when it was never computed."""
        return self.get_many([frame_digest], method_digest).get(frame_digest)

    def get_many(self, frame_digests: Sequence[str], method_digest: str) -> dict[str, Label]:
        """The labels that are there, by frame digest."""
        with self._lock, _explained(self.path):
            description = self._description(method_digest)
            if description is None:
                return {}
            found = ((digest, self._row(digest, method_digest)) for digest in dict.fromkeys(frame_digests))
            return {digest: rows.label_of(row, description) for digest, row in found if row is not None}

    def __iter__(self) -> Iterator[Label]:
        """Every label that is whole, results and failures, in the order in which they were stored.

        Of a store that is read only, those that wait in the inbox come last.
        """
        with self._lock, _explained(self.path):
            keys = self._connection.execute("SELECT frame, method FROM labels ORDER BY rowid").fetchall()
        for frame, method in keys:
            label = self.get(frame, method)
            if label is not None:
                yield label
        if self.read_only:
            yield from (label for _, label in _inbox.waiting(self.inbox, set_aside=False))

    def missing(self, frame_digests: Iterable[str], method_digest: str) -> list[str]:
        """Those of the frames, in their order and without repeats, that have neither result nor failure.

        A calculation that was cut short is no failure of its frame: another attempt may have a result.
        """
        frame_digests = list(dict.fromkeys(frame_digests))
        with self._lock, _explained(self.path):
            if self._description(method_digest) is None:
                return frame_digests
            found = ((digest, self._row(digest, method_digest)) for digest in frame_digests)
            return [digest for digest, row in found if row is None or is_cut_short(row[_ERROR])]

    def add(self, label: Label) -> None:
        """Store one label; it is on disk when this returns. A stored result is never overwritten."""
        self.add_many([label])

    def add_many(self, labels: Iterable[Label]) -> None:
        """Store labels in one transaction: all of them or, on any failure, none."""
        with self._lock, _explained(self.path), self._transaction():
            for label in map(checked, labels):
                self._remember(label.method_digest, label.method)
                row = rows.row_of(label)
                self._connection.execute(_INSERT, (*row, rows.checksum(row)))

    def remember(self, method: Mapping[str, Any]) -> None:
        """Store what a method says of itself; a damaged text of the same method is mended."""
        with self._lock, _explained(self.path), self._transaction():
            self._remember(method_digest_of(method), method)

    def absorb_inbox(self) -> int:
        """Take in everything workers have finished, leftovers of killed runs included; returns how many."""
        _inbox.sweep(self.inbox)
        arrivals: Iterator[tuple[Path, Label]] = _inbox.waiting(self.inbox)
        count = 0
        while batch := list(islice(arrivals, BATCH)):
            self.add_many(label for _, label in batch)
            for path, _ in batch:  # only now that the labels are on disk
                path.unlink(missing_ok=True)
            count += len(batch)
        return count

    def forget_failures(self, method_digest: str, frame_digests: Iterable[str] | None = None) -> int:
        """Drop the failed labels of a method so that they are tried again; returns how many.

        ``frame_digests`` are those of the frames that are meant; all without it.
        """
        of_method = "DELETE FROM labels WHERE method = ? AND error IS NOT NULL"
        with self._lock, _explained(self.path), self._transaction():
            if frame_digests is None:
                return self._connection.execute(of_method, (method_digest,)).rowcount
            frames = [(method_digest, digest) for digest in dict.fromkeys(frame_digests)]
            return self._connection.executemany(f"{of_method} AND frame = ?", frames).rowcount

    def methods(self) -> dict[str, Mapping[str, Any]]:
        """Description of every method that has labels here, by digest."""
        with self._lock, _explained(self.path):
            found = self._connection.execute("SELECT digest FROM methods").fetchall()
            described = {digest: self._description(digest) for (digest,) in found}
        return {digest: description for digest, description in described.items() if description is not None}

    def census(self, method_digest: str | None = None) -> dict[str, int]:
        """Numbers of labels, of results, failures and stresses among them, of files waiting, of damaged ones."""
        with self._lock, _explained(self.path):
            labels, failures, stresses = self._connection.execute(
                "SELECT COUNT(*), COUNT(error), COUNT(stress) FROM labels WHERE ?1 IS NULL OR method = ?1",
                (method_digest,),
            ).fetchone()
        return {
            "labels": labels,
            "results": labels - failures,
            "failures": failures,
            "stresses": stresses,
            "waiting": sum(1 for _ in self.inbox.glob(f"*{_inbox.SUFFIX}")),
            "damaged": self.damaged_rows + len(_inbox.damaged(self.inbox)),
        }

    def verify(self) -> bool:
        """Read the whole file and its index; an index that does not fit the labels is made anew.

        Returns
        -------
        bool
            Whether the index was mended.

        Raises
        ------
        SettingsError
            When SQLite finds the file damaged; says how to rescue the labels.
        """
        with self._lock, _explained(self.path):
            faults = self._faults()
            if not faults:
                return False
            if self.read_only or not all("index" in fault for fault in faults):
                raise sqlite3.DatabaseError(faults[0])
            self._connection.execute("REINDEX")
            if left := self._faults():
                raise sqlite3.DatabaseError(left[0])
            return True

    def backup(self) -> Path:
        """Copy the file, checked first, by SQLite's own means; other studies may go on meanwhile. Returns the copy.

        A copy with more labels than there are now (the file was lost, and begun anew) is kept as ``previous.sqlite``.
        """
        self.verify()
        for digest, description in self.methods().items():
            _keep_method(self.directory / METHODS, digest, description)
        path = self.directory / BACKUP / FILE
        with self._lock, _explained(path):
            path.parent.mkdir(exist_ok=True)
            refuse_links(path.parent, path)
            # two runs may copy at once: each has a file of its own, and the last one stays
            with files.replacing(path.with_name(f"{FILE}.{os.getpid()}-{threading.get_ident()}")) as partial:
                partial.unlink(missing_ok=True)
                with contextlib.closing(sqlite3.connect(partial)) as copy:
                    self._connection.backup(copy, pages=2000)
                    copy.execute("PRAGMA journal_mode = DELETE")
                    count = copy.execute("SELECT COUNT(*) FROM labels").fetchone()[0]
            if _count_in(path) > count:
                os.replace(path, path.with_name("previous.sqlite"))
            os.replace(partial.with_suffix(""), path)
        return path

    def _faults(self) -> list[str]:
        """What SQLite finds wrong; nothing when all is well."""
        found = [fault for (fault,) in self._connection.execute("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def _connect(self, timeout_s: float) -> sqlite3.Connection:
        how: dict[str, Any] = {"timeout": timeout_s, "isolation_level": None, "check_same_thread": False}
        if not self.read_only:
            own: sqlite3.Connection = sqlite3.connect(self.path, **how)
            return own
        address = self.path.absolute().as_uri()
        connection: sqlite3.Connection = sqlite3.connect(f"{address}?mode=ro", uri=True, **how)
        try:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            log = self.path.with_name(f"{FILE}-wal")
            if not os.path.exists(self.path) or (log.exists() and log.stat().st_size > 0):
                raise
            # where nothing may be written, not even the index of the log that readers share
            connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True, **how)
        return connection

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("BEGIN")  # one view of the file, whatever another study that is just making it does
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        execute("COMMIT")
        if tables and application != _APPLICATION:
            raise SettingsError(f"{self.path} is an SQLite file but not a label store. Name another file.")
        if version > _VERSION:
            raise SettingsError(f"{self.path} was written by a newer ilforge. Upgrade, or name another file.")
        if self.read_only:
            return
        choose_journal(self._connection, self.directory, new=not tables)
        execute("PRAGMA synchronous = FULL")  # a label outlives a power failure, not only a kill
        execute("PRAGMA wal_autocheckpoint = 4000")  # pages: four times the default, fewer waits for the disk
        if application != _APPLICATION:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    execute(statement)
                execute(f"PRAGMA application_id = {_APPLICATION}")
                execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: wait for the other writer at the start, where waiting is possible, not in the middle.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite ends it by itself when the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def _description(self, method_digest: str) -> Mapping[str, Any] | None:
        """What a method says of itself, checked by its digest; from its own file where the row is damaged."""
        row = self._connection.execute("SELECT description FROM methods WHERE digest = ?", (method_digest,)).fetchone()
        if row is None:
            return None
        description = rows.method_of(method_digest, row[0])
        return description or rows.method_of(method_digest, _text_of(self.directory / METHODS, method_digest))

    def _remember(self, digest: str, method: Mapping[str, Any]) -> None:
        row = self._connection.execute("SELECT description FROM methods WHERE digest = ?", (digest,)).fetchone()
        if row is not None and rows.method_of(digest, row[0]) is not None:
            return
        self._connection.execute("INSERT OR REPLACE INTO methods VALUES (?, ?)", (digest, rows.method_text(method)))
        _keep_method(self.directory / METHODS, digest, method)

    def _row(self, frame_digest: str, method_digest: str) -> tuple[Any, ...] | None:
        """A row that is there and whole; one that is not whole is dropped and counted."""
        key = (frame_digest, method_digest)
        row: tuple[Any, ...] | None = self._connection.execute(
            f"SELECT {_COLUMNS}, checksum FROM labels WHERE frame = ? AND method = ?", key
        ).fetchone()
        if row is None or row[-1] == rows.checksum(row[:-1]):
            return row
        if not self.read_only:
            with self._transaction():
                self._connection.execute("DELETE FROM labels WHERE frame = ? AND method = ?", key)
        self.damaged_rows += 1
        return None


def _keep_method(folder: Path, digest: str, method: Mapping[str, Any]) -> None:
    """A method's description in a file of its own, where there is none that is whole."""
    refuse_links(folder)
    if rows.method_of(digest, _text_of(folder, digest)) is None:
        folder.mkdir(exist_ok=True)
        files.write_text(folder / f"{digest}.json", rows.method_text(method))


def _text_of(folder: Path, digest: str) -> str:
    try:
        return (folder / f"{digest}.json").read_text()
    except (OSError, ValueError):
        return ""


def _count_in(path: Path) -> int:
    """Number of labels in a copy; 0 where there is none that can be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            found: int = copy.execute("SELECT COUNT(*) FROM labels").fetchone()[0]
            return found
    except sqlite3.Error:
        return 0


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a chemist can act on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise DidNotFinish(f"The label store {path} could not be written: {said}", path.parent) from error
        if "locked" in said or "busy" in said:
            raise DidNotFinish(f"Another study kept the label store {path} busy. Start again", None) from error
        raise SettingsError(f"The label store {path} cannot be opened or written: {said}.") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError(
            f"The label store {path} is damaged ({error}). Rescue what is whole in it, and in its backup, with: "
            f"ilforge store salvage {shlex.quote(str(path.parent))}. The damaged file is kept beside it, and labels "
            "that were lost are computed again."
        ) from error
    except OSError as error:
        raise SettingsError(f"The label store {path} cannot be written: {error.strerror}.") from error

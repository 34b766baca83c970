"""The label store: all computed labels, by frame and method, for all studies that share it.

One SQLite file contains the labels; a folder beside it (``inbox``) contains new labels from workers that are not yet
in the file. The file is in write-ahead mode: a process may be killed at any moment, and any number of studies may read
while one writes. This mode needs memory shared by all processes, which a network file system cannot provide. There the
file has a rollback journal instead, which needs only locks: it is slower, and as safe as the locks of the file system.
Every label has its own checksum, so a damaged row is found when it is read; it is dropped, counted, and computed again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.folders import refuse_links
from ilforge.labelling.journal import choose_journal
from ilforge.labelling.labels import Label, checked, is_cut_short
from ilforge.labelling.labels import method_digest as method_digest_of
from ilforge.labelling.storing import checks, rows
from ilforge.labelling.storing import inbox as _inbox
from ilforge.labelling.storing.sql import COLUMNS, INSERT, TABLES, explained

FILE = "labels.sqlite"
"""The labels, in the folder of a store's labels."""
_APPLICATION = 0x696C6667  # "ilfg": distinguishes a label store from other SQLite files
_VERSION = 1
BACKUP = "backup"
"""Folder with a copy of the file, beside it."""
METHODS = "methods"
"""Folder with a file for the description of each method; labels without this description are useless."""
BATCH = 200
"""Number of labels in one transaction, which needs a single flush to disk."""
_ERROR = rows.COLUMNS.index("error")
_AT_ONCE = 500  # frames in one query


class LabelStore:
    """Labels on disk. Open it with a folder, use it as a context manager or :meth:`close` it.

    Parameters
    ----------
    directory
        Folder of the store with ``labels.sqlite`` and ``inbox``; it is made if it does not exist.
    busy_timeout_s
        Time to wait for another study that is writing, s.
    read_only
        Change nothing in the folder, which then need not be writable.

    Raises
    ------
    SettingsError
        When the file is not a label store, is damaged, is a link, or cannot be written.
    """

    def __init__(self, directory: str | Path, busy_timeout_s: float = 60.0, read_only: bool = False):
        self.directory, self.read_only = Path(directory), read_only
        self.path, self.inbox = self.directory / FILE, self.directory / "inbox"
        self.damaged_rows, self._timeout_s = 0, busy_timeout_s
        self._unmade = False  # another process is just making the file that is only read here
        self._lock = threading.RLock()
        refuse_links(self.directory, self.path, self.inbox)
        with explained(self.path):
            if not read_only:
                self.inbox.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
            self._connection.create_function("cut_short", 1, is_cut_short, deterministic=True)
            self._prepare()

    def __enter__(self) -> LabelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with checks.own_change(self.path):  # the last connection merges the log of SQLite into the file
            self._connection.close()

    def get(self, frame_digest: str, method_digest: str) -> Label | None:
        """The label of one frame by one method, or None when it was never computed."""
        return self.get_many([frame_digest], method_digest).get(frame_digest)

    def get_many(self, frame_digests: Sequence[str], method_digest: str) -> dict[str, Label]:
        """The labels that exist in the store, by frame digest."""
        with self._lock, explained(self.path):
            description = self._description(method_digest)
            if description is None:
                return {}
            found = ((digest, self._row(digest, method_digest)) for digest in dict.fromkeys(frame_digests))
            return {digest: rows.label_of(row, description) for digest, row in found if row is not None}

    def __iter__(self) -> Iterator[Label]:
        """Every intact label, results and failures, in the order in which they were stored.

        In a read-only store, the labels in the inbox come last.
        """
        with self._lock, explained(self.path):
            keys = self._connection.execute("SELECT frame, method FROM labels ORDER BY rowid").fetchall()
        for frame, method in keys:
            label = self.get(frame, method)
            if label is not None:
                yield label
        if self.read_only:
            yield from (label for _, label in _inbox.waiting(self.inbox, set_aside=False))

    def of_parent(self, parent: str, method_digest: str) -> list[Label]:
        """Labels by one method of the frames that descend from a box, which ``info["parent"]`` names."""
        with self._lock, explained(self.path):
            found = self._connection.execute(rows.OF_PARENT, (method_digest, f'"parent": "{parent}"')).fetchall()
        return list(self.get_many([digest for (digest,) in found], method_digest).values())

    def missing(self, frame_digests: Iterable[str], method_digest: str) -> list[str]:
        """The frames without a result or failure, in their order and without repeats.

        A calculation that was cut short does not count as a failure: another attempt may succeed.
        """
        frame_digests = list(dict.fromkeys(frame_digests))
        with self._lock, explained(self.path):
            if self._description(method_digest) is None:
                return frame_digests
            found = ((digest, self._row(digest, method_digest)) for digest in frame_digests)
            return [digest for digest, row in found if row is None or is_cut_short(row[_ERROR])]

    def errors_of(self, frame_digests: Iterable[str], method_digest: str) -> dict[str, str | None]:
        """What went wrong with each frame that has a result or failure; None for a result.

        A quick look for counts: rows are not compared with their checksums, and no forces are read.
        """
        wanted = [] if self._unmade else list(dict.fromkeys(frame_digests))
        found: dict[str, str | None] = {}
        with self._lock, explained(self.path):
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                query = f"SELECT frame, error FROM labels WHERE method = ? AND frame IN ({marks})"
                found.update(self._connection.execute(query, (method_digest, *some)))
        return found

    def add(self, label: Label) -> None:
        """Store one label; it is on disk when this returns. A stored result is never overwritten."""
        self.add_many([label])

    def add_many(self, labels: Iterable[Label]) -> None:
        """Store labels in one transaction: all of them or, on any failure, none."""
        with self._lock, explained(self.path), self._transaction():
            for label in map(checked, labels):
                self._remember(label.method_digest, label.method)
                row = rows.row_of(label)
                self._connection.execute(INSERT, (*row, rows.checksum(row)))

    def remember(self, method: Mapping[str, Any]) -> None:
        """Store the description of a method; a damaged text of the same method is replaced."""
        with self._lock, explained(self.path), self._transaction():
            self._remember(method_digest_of(method), method)

    def absorb_inbox(self) -> int:
        """Store all labels in the inbox, also those of killed runs; returns their number."""
        _inbox.sweep(self.inbox)
        arrivals: Iterator[tuple[Path, Label]] = _inbox.waiting(self.inbox)
        count = 0
        while batch := list(islice(arrivals, BATCH)):
            self.add_many(label for _, label in batch)
            for path, _ in batch:  # only now, because the labels are on disk
                path.unlink(missing_ok=True)
            count += len(batch)
        return count

    def forget_failures(self, method_digest: str, frame_digests: Iterable[str] | None = None) -> int:
        """Drop failed labels of a method so that they are computed again; returns their number.

        ``frame_digests`` restricts this to some frames; by default all failures are dropped.
        """
        of_method = "DELETE FROM labels WHERE method = ? AND error IS NOT NULL"
        with self._lock, explained(self.path), self._transaction():
            if frame_digests is None:
                return self._connection.execute(of_method, (method_digest,)).rowcount
            frames = [(method_digest, digest) for digest in dict.fromkeys(frame_digests)]
            return self._connection.executemany(f"{of_method} AND frame = ?", frames).rowcount

    def methods(self) -> dict[str, Mapping[str, Any]]:
        """Description of every method that has labels here, by digest."""
        with self._lock, explained(self.path):
            found = self._connection.execute("SELECT digest FROM methods").fetchall()
            described = {digest: self._description(digest) for (digest,) in found}
        return {digest: description for digest, description in described.items() if description is not None}

    def census(self, method_digest: str | None = None) -> dict[str, int]:
        """Numbers of labels, of results, failures and stresses among them, of files in the inbox, of damaged labels."""
        with self._lock, explained(self.path):
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

    def verify(self, again: bool = True) -> bool:
        """Read the whole file and its index; an index that does not fit the labels is rebuilt.

        Parameters
        ----------
        again
            Also if this process has read it before, and has alone changed it since.

        Returns
        -------
        bool
            Whether the index was rebuilt.

        Raises
        ------
        SettingsError
            When SQLite finds the file damaged; the message contains the command to rescue the labels.
        """
        with self._lock, explained(self.path), checks.one_at_a_time:
            if not again and checks.is_known(self.path):
                return False
            with checks.becomes_known(self.path):
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
        """Check the file and copy it with SQLite's backup function; other studies may continue. Returns the copy.

        An older copy with more labels than the file (which was lost and started again) is kept as ``previous.sqlite``.
        """
        self.verify()
        for digest, description in self.methods().items():
            _keep_method(self.directory / METHODS, digest, description)
        path = self.directory / BACKUP / FILE
        with self._lock, explained(path):
            path.parent.mkdir(exist_ok=True)
            refuse_links(path.parent, path)
            # two runs may copy at the same time: each writes its own file, and the last one stays
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
        """Faults that SQLite finds in the file; empty if there are none."""
        found = [fault for (fault,) in self._connection.execute("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found

    def _connect(self) -> sqlite3.Connection:
        how: dict[str, Any] = {"timeout": self._timeout_s, "isolation_level": None, "check_same_thread": False}
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
            # nothing may be written here, not even the index of the log that readers share
            connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True, **how)
        return connection

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("BEGIN")  # a consistent view of the file, even if another study is just creating it
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        execute("COMMIT")
        if tables and application != _APPLICATION:
            raise SettingsError(f"{self.path} is an SQLite file, but not a label store: name another store.")
        if version > _VERSION:
            raise SettingsError(
                f"{self.path} was written by a newer version of ilforge: upgrade ilforge, or name another store."
            )
        if self.read_only:
            self._unmade = not tables
            return
        choose_journal(self._connection, self.directory, new=not tables, timeout_s=self._timeout_s)
        execute("PRAGMA synchronous = FULL")  # labels survive a power failure, not only a kill
        execute("PRAGMA wal_autocheckpoint = 4000")  # in pages: four times the default, to wait less often for the disk
        if application != _APPLICATION:
            with self._transaction():
                for statement in TABLES.split(";"):
                    execute(statement)
                execute(f"PRAGMA application_id = {_APPLICATION}")
                execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: wait for other writers at the start, because waiting is not possible in the middle
        with checks.one_at_a_time:
            self._connection.execute("BEGIN IMMEDIATE")
            with checks.own_change(self.path):
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # if the disk is full, SQLite has already ended it
                        self._connection.execute("ROLLBACK")
                    raise

    def _description(self, method_digest: str) -> Mapping[str, Any] | None:
        """The description of a method, checked by its digest; from its own file if the row is damaged."""
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
        """An intact row, or None; a damaged row is dropped and counted."""
        key = (frame_digest, method_digest)
        row: tuple[Any, ...] | None = self._connection.execute(
            f"SELECT {COLUMNS}, checksum FROM labels WHERE frame = ? AND method = ?", key
        ).fetchone()
        if row is None or row[-1] == rows.checksum(row[:-1]):
            return row
        if not self.read_only:
            with self._transaction():
                self._connection.execute("DELETE FROM labels WHERE frame = ? AND method = ?", key)
        self.damaged_rows += 1
        return None


def _keep_method(folder: Path, digest: str, method: Mapping[str, Any]) -> None:
    """Write the description of a method to its own file, unless an intact one exists."""
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
    """Number of labels in a copy; 0 if there is no readable copy."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            found: int = copy.execute("SELECT COUNT(*) FROM labels").fetchone()[0]
            return found
    except sqlite3.Error:
        return 0

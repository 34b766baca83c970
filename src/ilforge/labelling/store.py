"""The label store: every label ever paid for, by frame and method, for all studies that share it.

One SQLite file holds the labels, a folder beside it (``inbox``) those that workers have finished and the
coordinator has not yet taken in. The file is in write-ahead mode: a process may be killed at any moment, and
any number of studies may read while one writes. Every label carries a checksum of its own, so that damage to
a row is found when it is read; such a row is dropped, counted, and computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling import inbox as _inbox
from ilforge.labelling.labels import Label, checked, is_cut_short

FILE = "labels.sqlite"
_APPLICATION = 0x696C6667  # "ilfg": tells a label store from any other SQLite file
_VERSION = 1
_BATCH = 200  # labels in one transaction while absorbing: one flush to disk pays for all of them
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
_COLUMNS = (
    "frame, method, numbers, positions, cell, pbc, info, energy, forces, stress, converged, error, cost_s, host, time"
)
_ERROR = _COLUMNS.split(", ").index("error")
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
        Folder of the store, made when it is not there: ``labels.sqlite`` and ``inbox``. The file must lie on a
        local disk of the coordinator; the inbox need not.
    busy_timeout_s
        How long to wait for another study that is writing.

    Raises
    ------
    SettingsError
        When the file is no label store, is damaged, or cannot be written.
    """

    def __init__(self, directory: str | Path, busy_timeout_s: float = 60.0):
        self.path = Path(directory) / FILE
        self.inbox = Path(directory) / "inbox"
        self.damaged_rows = 0
        self._lock = threading.RLock()
        with _explained(self.path):
            self.inbox.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
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
            rows = ((digest, self._row(digest, method_digest)) for digest in dict.fromkeys(frame_digests))
            return {digest: _label_of(row, description) for digest, row in rows if row is not None}

    def __iter__(self) -> Iterator[Label]:
        """Every label that is whole, results and failures, in the order in which they were stored."""
        with self._lock, _explained(self.path):
            keys = self._connection.execute("SELECT frame, method FROM labels ORDER BY rowid").fetchall()
        for frame, method in keys:
            label = self.get(frame, method)
            if label is not None:
                yield label

    def missing(self, frame_digests: Iterable[str], method_digest: str) -> list[str]:
        """Those of the frames, in their order and without repeats, that have neither result nor failure.

        A calculation that was cut short is no failure of its frame: another attempt may have a result.
        """
        with self._lock, _explained(self.path):
            rows = ((digest, self._row(digest, method_digest)) for digest in dict.fromkeys(frame_digests))
            return [digest for digest, row in rows if row is None or is_cut_short(row[_ERROR])]

    def add(self, label: Label) -> None:
        """Store one label; it is on disk when this returns. A stored result is never overwritten."""
        self.add_many([label])

    def add_many(self, labels: Iterable[Label]) -> None:
        """Store labels in one transaction: all of them or, on any failure, none."""
        with self._lock, _explained(self.path), self._transaction():
            for label in map(checked, labels):
                self._remember_method(label)
                row = _row_of(label)
                self._connection.execute(_INSERT, (*row, _checksum(row)))

    def absorb_inbox(self) -> int:
        """Take in everything workers have finished, leftovers of killed runs included; returns how many."""
        _inbox.sweep(self.inbox)
        arrivals: Iterator[tuple[Path, Label]] = _inbox.waiting(self.inbox)
        count = 0
        while batch := list(islice(arrivals, _BATCH)):
            self.add_many(label for _, label in batch)
            for path, _ in batch:  # only now that the labels are on disk
                path.unlink(missing_ok=True)
            count += len(batch)
        return count

    def forget_failures(self, method_digest: str) -> int:
        """Drop the failed labels of a method so that they are tried again; returns how many."""
        with self._lock, _explained(self.path), self._transaction():
            return self._connection.execute(
                "DELETE FROM labels WHERE method = ? AND error IS NOT NULL", (method_digest,)
            ).rowcount

    def methods(self) -> dict[str, dict[str, Any]]:
        """Description of every method that has labels here, by digest."""
        with self._lock, _explained(self.path):
            rows = self._connection.execute("SELECT digest, description FROM methods").fetchall()
        return {digest: json.loads(description) for digest, description in rows}

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

    def verify(self) -> None:
        """Read the whole file.

        Raises
        ------
        SettingsError
            When SQLite finds it damaged; says how to rescue the labels.
        """
        with self._lock, _explained(self.path):
            verdict = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)

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
        if execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            execute("PRAGMA journal_mode = WAL")
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
        row = self._connection.execute("SELECT description FROM methods WHERE digest = ?", (method_digest,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _remember_method(self, label: Label) -> None:
        self._connection.execute(
            "INSERT OR IGNORE INTO methods VALUES (?, ?)",
            (label.method_digest, json.dumps(label.method, sort_keys=True)),
        )

    def _row(self, frame_digest: str, method_digest: str) -> tuple[Any, ...] | None:
        """A row that is there and whole; one that is not whole is dropped and counted."""
        key = (frame_digest, method_digest)
        row = self._connection.execute(
            f"SELECT {_COLUMNS}, checksum FROM labels WHERE frame = ? AND method = ?", key
        ).fetchone()
        if row is None or row[-1] == _checksum(row[:-1]):
            return row
        with self._transaction():
            self._connection.execute("DELETE FROM labels WHERE frame = ? AND method = ?", key)
        self.damaged_rows += 1
        return None


def salvage(directory: str | Path) -> tuple[int, Path]:
    """Rescue a damaged store: set it aside, and copy every label that is still whole into a new one.

    Returns
    -------
    count, aside
        Number of labels rescued, and where the damaged file now is.
    """
    path = Path(directory) / FILE
    aside = path.with_name(path.name + ".damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + suffix))
    with LabelStore(directory) as store:
        return sum(_copy_whole(aside, store.add)), aside


def _copy_whole(source: Path, add: Callable[[Label], None]) -> Iterator[int]:
    """Yield 1 for each label copied; rows are asked for one by one since a scan ends at the first bad page."""
    try:
        connection = sqlite3.connect(source)
        methods = dict(connection.execute("SELECT digest, description FROM methods").fetchall())
        last = connection.execute("SELECT MAX(rowid) FROM labels").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        return
    for rowid in range(1, last + 1):
        try:
            row = connection.execute(f"SELECT {_COLUMNS}, checksum FROM labels WHERE rowid = ?", (rowid,)).fetchone()
        except sqlite3.DatabaseError:
            continue
        if row is not None and row[1] in methods and row[-1] == _checksum(row[:-1]):
            add(_label_of(row, json.loads(methods[row[1]])))
            yield 1
    connection.close()


def _row_of(label: Label) -> tuple[Any, ...]:
    frame = label.frame
    return (
        label.frame_digest,
        label.method_digest,
        np.asarray(frame.numbers, dtype="<i4").tobytes(),
        np.asarray(frame.positions, dtype="<f8").tobytes(),
        np.asarray(frame.cell.array, dtype="<f8").tobytes(),
        np.asarray(frame.pbc, dtype="u1").tobytes(),
        _inbox.info_json(frame),
        None if label.energy is None else float(label.energy),
        None if label.forces is None else np.asarray(label.forces, dtype="<f8").tobytes(),
        None if label.stress is None else np.asarray(label.stress, dtype="<f8").tobytes(),
        int(label.converged),
        label.error,
        float(label.cost_s),
        label.host,
        float(label.time),
    )


def _label_of(row: Sequence[Any], method: Mapping[str, Any]) -> Label:
    _, _, numbers, positions, cell, pbc, info, energy, forces, stress, converged, error, cost_s, host, time = row[:15]
    frame = Atoms(
        numbers=np.frombuffer(numbers, dtype="<i4"),
        positions=np.frombuffer(positions, dtype="<f8").reshape(-1, 3),
        cell=np.frombuffer(cell, dtype="<f8").reshape(3, 3),
        pbc=np.frombuffer(pbc, dtype="u1").astype(bool),
        info=json.loads(info),
    )
    return Label(
        frame=frame,
        method=method,
        energy=energy,
        forces=None if forces is None else np.frombuffer(forces, dtype="<f8").reshape(-1, 3).copy(),
        stress=None if stress is None else np.frombuffer(stress, dtype="<f8").copy(),
        converged=bool(converged),
        error=error,
        cost_s=cost_s,
        host=host,
        time=time,
    )


def _checksum(row: Sequence[Any]) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    for value in row:
        hasher.update(value if isinstance(value, bytes) else repr(value).encode())
        hasher.update(b"\0")
    return hasher.digest()


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
            f"The label store {path} is damaged ({error}). Rescue what is whole in it with: "
            f"python -c \"from ilforge.labelling import salvage; print(salvage('{path.parent}'))\". "
            "The damaged file is kept beside it, and labels that were lost are computed again."
        ) from error
    except OSError as error:
        raise SettingsError(f"The label store {path} cannot be written: {error.strerror}.") from error

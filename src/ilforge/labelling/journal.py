"""Choose how the SQLite file of the label store protects a write: write-ahead log or rollback journal."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ilforge.folders import on_network

_PAUSE_S = 0.05


def choose_journal(connection: sqlite3.Connection, directory: Path, new: bool, timeout_s: float = 60.0) -> None:
    """Use a write-ahead log for a new file on a local disk, and a rollback journal if other machines may write.

    A file with a rollback journal keeps it, because other machines may use this folder as a network file system.
    Where another study uses the file at this moment, the change is tried again for up to ``timeout_s``, s: SQLite
    itself does not wait for its turn when the journal changes.

    Raises
    ------
    sqlite3.OperationalError
        When a process on another machine has opened the file with a write-ahead log, or when another study has used
        the file for longer than ``timeout_s``.
    """
    shared, until = on_network(directory), time.monotonic() + timeout_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            wanted = "delete" if shared else "wal" if new else mode
            if mode != wanted:
                mode = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(_PAUSE_S)
    if shared and mode != "delete":
        raise sqlite3.OperationalError("database is locked")

"""Choose how the SQLite file of the label store protects a write: write-ahead log or rollback journal."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ilforge.folders import on_network


def choose_journal(connection: sqlite3.Connection, directory: Path, new: bool) -> None:
    """Use a write-ahead log for a new file on a local disk, and a rollback journal if other machines may write.

    A file with a rollback journal keeps it, because other machines may use this folder as a network file system.

    Raises
    ------
    sqlite3.OperationalError
        When a process on another machine has opened the file with a write-ahead log.
    """
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    shared = on_network(directory)
    wanted = "delete" if shared else "wal" if new else mode
    if mode == wanted:
        return
    found = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    if shared and found != "delete":
        raise sqlite3.OperationalError("database is locked")

"""How the label store's SQLite file keeps a change that is being made: in a log, or in a journal to roll back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ilforge.folders import on_network


def choose_journal(connection: sqlite3.Connection, directory: Path, new: bool) -> None:
    """Write-ahead for a new file on a disk of this machine, a rollback journal wherever other machines may write.

    A file that has a rollback journal keeps it: another machine may have this folder as a network file system.

    Raises
    ------
    sqlite3.OperationalError
        When a process of another machine has the file open with a write-ahead log.
    """
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    shared = on_network(directory)
    wanted = "delete" if shared else "wal" if new else mode
    if mode == wanted:
        return
    found = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    if shared and found != "delete":
        raise sqlite3.OperationalError("database is locked")

"""The tables of the label store, how labels get into them, and errors of SQLite in words."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.labelling.storing import rows

TABLES = """
CREATE TABLE IF NOT EXISTS methods (
    digest TEXT PRIMARY KEY, description TEXT NOT NULL
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
COLUMNS = ", ".join(rows.COLUMNS)
# A result replaces a failure, any label replaces a calculation that was cut short, and nothing replaces a result.
INSERT = f"""
INSERT INTO labels ({COLUMNS}, checksum) VALUES ({", ".join("?" * 16)})
ON CONFLICT (frame, method) DO UPDATE SET
    info = excluded.info, energy = excluded.energy, forces = excluded.forces, stress = excluded.stress,
    numbers = excluded.numbers, positions = excluded.positions, cell = excluded.cell, pbc = excluded.pbc,
    converged = excluded.converged, error = excluded.error, cost_s = excluded.cost_s,
    host = excluded.host, time = excluded.time, checksum = excluded.checksum
WHERE labels.error IS NOT NULL AND (excluded.error IS NULL OR cut_short(labels.error))
"""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Translate errors of SQLite about a file into errors that a user can act on."""
    try:
        yield
    except sqlite3.OperationalError as error:
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise DidNotFinish(f"The label store {path} could not be written: {said}", path.parent) from error
        if "locked" in said or "busy" in said:
            raise DidNotFinish(
                f"Another study was writing to the label store {path} for too long. Run the same command again", None
            ) from error
        raise SettingsError(f"The label store {path} cannot be opened or written: {said}.") from error
    except sqlite3.DatabaseError as error:
        raise SettingsError(
            f"The label store {path} is damaged ({error}). Rescue intact labels from it and from its backup with: "
            f"ilforge store salvage {shlex.quote(str(path.parent))}. The damaged file is kept beside it, and lost "
            "labels are computed again."
        ) from error
    except OSError as error:
        raise SettingsError(f"The label store {path} cannot be written: {error.strerror}.") from error

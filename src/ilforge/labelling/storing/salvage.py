"""Rescue the labels of a damaged store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ilforge.labelling.labels import Label
from ilforge.labelling.storing import rows, sqlite_pages
from ilforge.labelling.storing.store import BACKUP, BATCH, FILE, METHODS, LabelStore


def salvage(directory: str | Path) -> tuple[int, Path]:
    """Rescue a damaged store: rename its file, and copy every intact label into a new one.

    Rows are read page by page from the file, its write-ahead log and the last backup. Each row is checked by its
    checksum, and the text of each method by its digest.

    Returns
    -------
    count, aside
        Number of rescued labels, and the new name of the damaged file.
    """
    directory = Path(directory)
    aside = _set_aside(directory / FILE)
    # also files of earlier rescues, because a killed rescue had not copied all labels
    sources = [*_databases(directory, f"{FILE}.damaged*"), *_databases(directory / BACKUP, "*.sqlite")]
    with LabelStore(directory) as store:
        known = _methods(sources, directory / METHODS)
        found = (label for path in sources for label in _labels(path, known))
        while batch := list(islice(found, BATCH)):
            store.add_many(batch)
        return store.census()["labels"], aside


def _databases(folder: Path, pattern: str) -> list[Path]:
    return [
        path for path in sorted(folder.glob(pattern)) if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    ]


def _set_aside(path: Path) -> Path:
    """Rename the file and its log files; returns the new name."""
    aside = path.with_name(path.name + ".damaged")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged{number}")
    for suffix in ("-wal", "-shm", ""):  # the file itself last, so that a killed rescue can be repeated
        part = path.with_name(path.name + suffix)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + suffix))
    return aside


def _methods(sources: Iterable[Path], folder: Path) -> dict[str, Mapping[str, Any]]:
    """Descriptions of methods by digest, from the rows of the files and from the folder of methods."""
    texts = [(row[0], row[1]) for path in sources for row in sqlite_pages.rows(path) if len(row) == 2]
    texts += [(path.stem, path.read_text(errors="replace")) for path in sorted(folder.glob("*.json"))]
    read = ((digest, rows.method_of(digest, text)) for digest, text in texts if isinstance(digest, str))
    return {digest: description for digest, description in read if description is not None}


def _labels(path: Path, methods: Mapping[str, Mapping[str, Any]]) -> Iterator[Label]:
    """Every label of a file with an intact row and a known method."""
    for found in sqlite_pages.rows(path):
        if len(found) != len(rows.COLUMNS) + 1 or found[1] not in methods:
            continue
        row = [float(v) if i in rows.REALS and isinstance(v, int) else v for i, v in enumerate(found[:-1])]
        if rows.checksum(row) == found[-1]:
            yield rows.label_of(row, methods[found[1]])

"""Write files completely or not at all."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ilforge.errors import SettingsError

_ALWAYS_BYTES, _MOST_BYTES = 64 * 2**20, 16 * 2**30
_MOST_TIMES = 300  # largest allowed ratio of sizes; for numbers as text it is 3 to 10
PARTIAL = ".partial"
"""Ending of a file that is being written."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write; it replaces ``path`` when the block ends without an error, and is removed otherwise.

    After a kill or with a full disk, ``path`` is unchanged, because the content is on disk before the file is renamed.

    Raises
    ------
    SettingsError
        When ``path`` is a device or a pipe, which would be replaced.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise SettingsError(f"{path} is a device or a pipe, and would be replaced by a file: name a file.")
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, completely or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8, completely or not at all."""
    write_bytes(path, text.encode())


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Bounded(io.RawIOBase):
    """Decompressed data up to a limit, because a small malicious file could expand to fill the memory.

    Parameters
    ----------
    content
        The open decompressor.
    path
        The compressed file.
    """

    def __init__(self, content: IO[bytes], path: Path):
        super().__init__()
        self._content, self._path = content, Path(path)
        self._limit = min(_MOST_BYTES, max(_ALWAYS_BYTES, _MOST_TIMES * self._path.stat().st_size))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._content.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        data = self._content.read(len(buffer))
        buffer[: len(data)] = data
        if self._content.tell() > self._limit:
            raise SettingsError(
                f"{self._path} expands from {self._path.stat().st_size} bytes to more than "
                f"{self._limit / 2**20:.0f} MiB, which is unusual for numbers. If it is valid, decompress it first."
            )
        return len(data)


def csv_cell(value: Any) -> Any:
    """A value as a cell of a CSV file; text that a spreadsheet would read as a formula gets a leading apostrophe."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

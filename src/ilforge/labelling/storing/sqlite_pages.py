"""Rows of a damaged SQLite file, read page by page without SQLite.

SQLite finds rows through a tree of pages, so one damaged page can hide all rows below it. Here every page is read
separately: each leaf of a table contains complete rows, even if the rest of the file is damaged. The caller must check
each row by its checksum.

Source: "Database File Format" and "WAL-mode File Format", https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_LEAF = 0x0D  # type of a page that holds rows of a table
_HEADER_BYTES = 100  # of the file, at the start of page 1
_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of values by their serial type: NULL, integers, a float, 0 and 1
_PAGE = 4096  # bytes, SQLite's default, if the header of the file is lost


def rows(path: Path) -> Iterator[tuple[Any, ...]]:
    """Every readable row of all tables in a file and in its write-ahead log.

    A row may occur twice, in an old and a new version. Rows with invalid UTF-8 are left out.

    Parameters
    ----------
    path
        The SQLite file; the name of its log ends in ``-wal``.
    """
    content = _content(path)
    size = _page_size(content)
    pages = {1 + start // size: content[start : start + size] for start in range(0, len(content), size)}
    yield from _rows_of(pages, size)
    newer = _pages_of_log(_content(path.with_name(path.name + "-wal")), size)
    if newer:
        yield from _rows_of({**pages, **newer}, size)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _page_size(content: bytes) -> int:
    size = int.from_bytes(content[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size in {2**n for n in range(9, 17)} else _PAGE


def _pages_of_log(log: bytes, size: int) -> dict[int, bytes]:
    """The newest version of each page in a write-ahead log."""
    pages, start = {}, 32
    while start + 24 + size <= len(log):
        number = int.from_bytes(log[start : start + 4], "big")
        if log[start + 8 : start + 16] == log[16:24]:  # the page belongs to the current generation of the log
            pages[number] = log[start + 24 : start + 24 + size]
        start += 24 + size
    return pages


def _rows_of(pages: Mapping[int, bytes], size: int) -> Iterator[tuple[Any, ...]]:
    for number, page in pages.items():
        start = _HEADER_BYTES if number == 1 else 0
        if len(page) < size or page[start] != _LEAF:
            continue
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for i in range(min(count, size // 4)):
            place = int.from_bytes(page[start + 8 + 2 * i : start + 10 + 2 * i], "big")
            try:
                yield _record(_payload(pages, page, place, size))
            except (IndexError, KeyError, ValueError, struct.error):
                continue  # the row is damaged, or these bytes are not a row


def _payload(pages: Mapping[int, bytes], page: bytes, place: int, size: int) -> bytes:
    """The bytes of a row: those in its cell and those in overflow pages."""
    length, place = _varint(page, place)
    _, place = _varint(page, place)  # the row's number
    largest = size - 35
    here = length
    if length > largest:
        smallest = (size - 12) * 32 // 255 - 23
        here = smallest + (length - smallest) % (size - 4)
        here = here if here <= largest else smallest
    found = bytearray(page[place : place + here])
    following = int.from_bytes(page[place + here : place + here + 4], "big") if here < length else 0
    while len(found) < length:
        more = pages[following]
        following = int.from_bytes(more[:4], "big")
        found += more[4 : min(size, 4 + length - len(found))]
    if len(found) != length:
        raise ValueError("an incomplete row")
    return bytes(found)


def _record(payload: bytes) -> tuple[Any, ...]:
    """The values of a row."""
    end, place = _varint(payload, 0)
    kinds = []
    while place < end:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values, place = [], end
    for kind in kinds:
        size = _SIZES[kind] if kind < 10 else (kind - 12) // 2
        raw = payload[place : place + size]
        if size < 0 or len(raw) != size:
            raise ValueError("an incomplete value")
        values.append(_value(kind, raw))
        place += size
    return tuple(values)


def _value(kind: int, raw: bytes) -> Any:
    if kind >= 12:
        return raw if kind % 2 == 0 else raw.decode()
    if kind == 0:
        return None
    if kind == 7:
        return struct.unpack(">d", raw)[0]
    return kind - 8 if kind in (8, 9) else int.from_bytes(raw, "big", signed=True)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of up to nine bytes with seven bits each, and the index after it."""
    value = 0
    for i in range(8):
        byte = data[place + i]
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, place + i + 1
    return (value << 8) | data[place + 8], place + 9

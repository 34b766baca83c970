"""Read extended XYZ of other programs frame by frame, so that an incomplete or invalid frame does not affect others."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.frames import why_unreadable
from ilforge.potentials.quantum.outputs import text_of

RAW = "raw_"
"""Prefix for the names ``stress``, ``virial`` and ``virials`` of a header, which ASE reads only with nine numbers."""

_SUFFIXES = (".xyz", ".extxyz", ".exyz")
_OWN_NAMES = re.compile(r"(?<![\w-])(stress|virials?)(?=\s*=)", re.I)


def is_xyz(path: Path) -> bool:
    """Whether the name of a file is that of extended XYZ, compressed or not."""
    names = Path(path).suffixes[-2:]
    return bool(names) and (names[-1].lower() in _SUFFIXES or (len(names) > 1 and names[0].lower() in _SUFFIXES))


def read_xyz_frames(path: Path) -> tuple[list[Atoms | str], str | None]:
    """Every frame of a file, and the fault at its end.

    Returns
    -------
    frames
        For a frame that cannot be read, a text with the reason.
    ending
        None if the file is complete.

    Raises
    ------
    SettingsError
        When the file contains no frame.
    """
    text = text_of(path).removeprefix("\ufeff")
    frames: list[Atoms | str] = []
    ending = None
    for block, torn in _blocks(text):
        if torn:
            ending = f"truncated: the file ends in the middle of frame {len(frames)}"
            if not re.fullmatch(r"\s*\d+\s*", block[0]):
                place = f"after frame {len(frames) - 1}" if frames else "in its first line"
                ending = f"not read to its end: {place} a number of atoms was expected, found {block[0][:60]!r}"
        else:
            frames.append(_frame(block))
    if not any(isinstance(frame, Atoms) for frame in frames):
        why = next((frame for frame in frames if isinstance(frame, str)), ending or "it holds no frames")
        raise SettingsError(f"{path} could not be read as extended XYZ: {why}.")
    return frames, ending


def _blocks(text: str) -> Iterator[tuple[list[str], bool]]:
    """The lines of each frame, and whether it is incomplete; nothing can be read after an incomplete frame."""
    lines, place = text.splitlines(), 0
    while place < len(lines):
        if not lines[place].strip():
            place += 1
            continue
        if not lines[place].strip().isdigit():
            yield lines[place : place + 1], True
            return
        end = place + 2 + int(lines[place])
        block = lines[place:end]
        last = end >= len(lines)
        yield block, len(block) < end - place or (last and not text.endswith("\n") and _is_cut(block))
        place = end


def _is_cut(block: list[str]) -> bool:
    """Whether the last row of the last frame is shorter than all other rows."""
    rows = block[2:]
    return len(rows) > 1 and len(rows[-1].rstrip()) < min(len(row.rstrip()) for row in rows[:-1])


def _frame(block: list[str]) -> Atoms | str:
    import ase.io

    header = _OWN_NAMES.sub(lambda found: RAW + found[1].lower(), block[1])
    text = "\n".join([block[0], header, *block[2:]]) + "\n"
    try:
        return cast(Atoms, ase.io.read(io.StringIO(text), format="extxyz"))  # without an index: one frame
    except Exception as error:  # ASE's parser may raise any exception
        return f"unreadable: {why_unreadable(error)}"

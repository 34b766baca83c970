"""Extended XYZ of other programs, frame by frame: one that is torn or wrong costs no other."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.outputs import text_of

RAW = "raw_"
"""Before the names ``stress``, ``virial`` and ``virials`` of a header, which ASE reads with nine numbers only."""

_SUFFIXES = (".xyz", ".extxyz", ".exyz")
_OWN_NAMES = re.compile(r"(?<![\w-])(stress|virials?)(?=\s*=)", re.I)


def is_xyz(path: Path) -> bool:
    """Whether a file is extended XYZ by its name, compressed or not."""
    names = Path(path).suffixes[-2:]
    return bool(names) and (names[-1].lower() in _SUFFIXES or (len(names) > 1 and names[0].lower() in _SUFFIXES))


def read_xyz_frames(path: Path) -> tuple[list[Atoms | str], str | None]:
    """Every frame of a file, and what is wrong with its end.

    Returns
    -------
    frames
        A frame that cannot be read is a text that says why.
    ending
        None when the file is whole.

    Raises
    ------
    SettingsError
        When there is not one frame in it.
    """
    text = text_of(path).removeprefix("\ufeff")
    frames: list[Atoms | str] = []
    ending = None
    for block, torn in _blocks(text):
        if torn:
            ending = f"truncated: the file ends in the middle of frame {len(frames)}"
            if not re.fullmatch(r"\s*\d+\s*", block[0]):
                ending = (
                    f"not read to its end: after frame {len(frames) - 1} a number of atoms was expected, found "
                    f"{block[0][:60]!r}"
                )
        else:
            frames.append(_frame(block))
    if not any(isinstance(frame, Atoms) for frame in frames):
        why = next((frame for frame in frames if isinstance(frame, str)), ending or "it holds no frames")
        raise SettingsError(f"{path} could not be read as extended XYZ: {why}.")
    return frames, ending


def _blocks(text: str) -> Iterator[tuple[list[str], bool]]:
    """The lines of each frame, and whether it is torn; after one that is, nothing can be read."""
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
    """Whether the last row of the last frame lacks characters that all others have."""
    rows = block[2:]
    return len(rows) > 1 and len(rows[-1].rstrip()) < min(len(row.rstrip()) for row in rows[:-1])


def _frame(block: list[str]) -> Atoms | str:
    import ase.io

    header = _OWN_NAMES.sub(lambda found: RAW + found[1].lower(), block[1])
    text = "\n".join([block[0], header, *block[2:]]) + "\n"
    try:
        return cast(Atoms, ase.io.read(io.StringIO(text), format="extxyz"))  # one frame
    except Exception as error:  # ASE raises whatever its parser met
        return f"unreadable: {type(error).__name__}: {' '.join(str(error).split())}"

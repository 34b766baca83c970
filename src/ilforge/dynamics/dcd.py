"""DCD, the binary trajectory format of CHARMM and NAMD: frames of equal size, so a file can be cut and continued.

Without a box, frames have no cell block, and a flag in the header says so.

Every block is enclosed by its length as a 4-byte integer. The first holds ``CORD`` and twenty integers, the second
the title, the third the number of atoms; a frame is the cell (a, gamma, b, beta, alpha, c) as doubles and then all
x, all y and all z as single-precision numbers, Å.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from ase.geometry import cell_to_cellpar

AKMA_FS = 48.88821
"""CHARMM's unit of time in fs, with the digits that readers of the format use."""

_TITLE = b"ilforge: positions in Angstrom, molecules whole, not wrapped into the cell".ljust(80)
_N_FRAMES_AT = 8  # byte position of the number of frames


def header(n_atoms: int, interval_steps: int, timestep_fs: float, periodic: bool = True) -> bytes:
    """The header of a file that has no frames yet."""
    numbers = [0] * 20
    numbers[1] = numbers[2] = interval_steps  # first recorded step, and steps between frames
    numbers[10] = int(periodic)  # frames carry a cell
    numbers[19] = 24  # as CHARMM 24 wrote it
    control = bytearray(b"CORD" + struct.pack("<20i", *numbers))
    control[4 + 9 * 4 : 4 + 10 * 4] = struct.pack("<f", timestep_fs / AKMA_FS)
    title = struct.pack("<i", 1) + _TITLE
    return _block(bytes(control)) + _block(title) + _block(struct.pack("<i", n_atoms))


def frame(positions: np.ndarray, cell: np.ndarray) -> bytes:
    """One frame from positions ``(n_atoms, 3)`` and cell ``(3, 3)``, Å; a cell of zeros means no box."""
    box = b""
    if np.any(cell):
        a, b, c, alpha, beta, gamma = cell_to_cellpar(cell)
        box = _block(struct.pack("<6d", a, gamma, b, beta, alpha, c))
    columns = np.asarray(positions, dtype="<f4").T
    return box + b"".join(_block(np.ascontiguousarray(column).tobytes()) for column in columns)


def cut(path: Path, n_atoms: int, n_frames: int, periodic: bool = True) -> None:
    """Keep the first ``n_frames`` frames of a file and correct the number in its header."""
    start = len(header(n_atoms, 1, 1.0))
    with open(path, "r+b") as file:
        file.truncate(start + n_frames * _frame_size(n_atoms, periodic))
        set_n_frames(file, n_frames)


def set_n_frames(file: BinaryIO, n_frames: int) -> None:
    """Write the number of frames into the header of an open file."""
    file.seek(_N_FRAMES_AT)
    file.write(struct.pack("<i", n_frames))
    file.seek(0, 2)


def count(path: Path, n_atoms: int, periodic: bool = True) -> int:
    """Number of whole frames in a file; 0 if it does not exist."""
    if not path.is_file():
        return 0
    return max(0, (path.stat().st_size - len(header(n_atoms, 1, 1.0))) // _frame_size(n_atoms, periodic))


def _frame_size(n_atoms: int, periodic: bool) -> int:
    return (8 + 48) * periodic + 3 * (8 + 4 * n_atoms)


def _block(content: bytes) -> bytes:
    length = struct.pack("<i", len(content))
    return length + content + length

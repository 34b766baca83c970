"""What a reference program wrote, frame by frame: results, whether each converged, and what is wrong with it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError

_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ENDINGS = ("", ".gz", ".bz2", ".xz")


@dataclass(frozen=True, eq=False)
class Reading:
    """One frame of an output.

    Attributes
    ----------
    atoms
        The structure, without calculator.
    energy
        The energy that the forces belong to, eV (with smeared electrons the free energy).
    forces
        ``(n_atoms, 3)`` eV/Å.
    stress
        ``(6,)`` eV/Å^3, Voigt, tension positive; None where there is none that can be trusted.
    converged
        Whether self-consistency was reached in this very frame; None where the file does not say.
    fault
        Why there is no usable result; None when there is one.
    notes
        More that the program says of this frame.
    """

    atoms: Atoms
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    converged: bool | None = None
    fault: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Output:
    """A whole output.

    Attributes
    ----------
    method
        What made it, as JSON can hold it: program, version and the settings that decide numbers.
    readings
        Its frames in their order.
    ending
        What is wrong with the end of the file, such as a frame that was cut off; None when it is whole.
    remarks
        What was left out of it and why, one sentence each.
    """

    method: Mapping[str, Any]
    readings: tuple[Reading, ...]
    ending: str | None = None
    remarks: tuple[str, ...] = ()


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The content of a file, of one compressed by gzip, bzip2 or xz too: which it is, is seen from its first bytes.

    Raises
    ------
    SettingsError
        When the file is not there, is empty, or cannot be decompressed.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    with open(path, "rb") as file:
        head = file.read(6)
    if not head:
        raise SettingsError(f"{path} is empty.")
    opener: Callable[..., IO[bytes]] = next(
        (opener for magic, opener in _COMPRESSED.items() if head.startswith(magic)), open
    )
    try:
        with opener(path, "rb") as content:
            yield content if opener is open else io.BufferedReader(files.Bounded(content, path))
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise SettingsError(f"{path} is compressed and cannot be decompressed ({error}): copy it again.") from error


def text_of(path: Path) -> str:
    """A whole file as text, decompressed; see :func:`opened`."""
    with opened(path) as content:
        return content.read().decode(errors="replace").replace("\r\n", "\n")


def named(folder: Path, name: str) -> Path | None:
    """The file of a folder with this name, or with this name and the ending of a compressed file; None without one."""
    return next((path for ending in _ENDINGS if (path := Path(folder) / (name + ending)).is_file()), None)

"""Frames of outputs of reference programs: results, convergence and faults of each frame."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
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
        The energy that is consistent with the forces, eV (the free energy if electrons are smeared).
    forces
        ``(n_atoms, 3)`` eV/Å.
    stress
        ``(6,)`` eV/Å^3, Voigt, tension positive; None if there is no reliable stress.
    converged
        Whether self-consistency was reached in this frame; None if unknown.
    fault
        Why there is no usable result; None if there is one.
    notes
        Further information of the program on this frame.
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
        Description of the method as JSON values: program, version, and the settings that determine results.
    readings
        Frames in their order.
    ending
        Fault at the end of the file, such as an incomplete frame; None if the file is complete.
    remarks
        Sentences on data that were left out, with reasons.
    units_chosen
        Whether the user of the program may have chosen a unit of forces that no file contains.
    """

    method: Mapping[str, Any]
    readings: tuple[Reading, ...]
    ending: str | None = None
    remarks: tuple[str, ...] = ()
    units_chosen: bool = False


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, which may be compressed by gzip, bzip2 or xz; the format is recognised from its first bytes.

    Raises
    ------
    SettingsError
        When the file does not exist, is empty, or cannot be decompressed.
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
    """The file with this name in a folder, or its compressed version; None if there is none."""
    return next((path for ending in _ENDINGS if (path := Path(folder) / (name + ending)).is_file()), None)


def number(text: str) -> float:
    """A Fortran number, whose exponent may lack its letter; NaN for anything else, such as stars in a full column."""
    text = text.strip().replace("D", "E").replace("d", "e")
    try:
        return float(text)
    except ValueError:
        repaired = re.sub(r"(?<=\d)([+-]\d+)$", r"e\1", text)
        try:
            return float(repaired)
        except ValueError:
            return float("nan")

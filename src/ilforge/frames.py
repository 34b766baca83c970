"""Frames: ``ase.Atoms`` with a few agreed keys, kept on disk as extended XYZ.

A frame's ``info`` carries where it came from, and after labelling what it was labelled with:

==============  =====================================================================
``ions``        what it is made of, in atom order: ``"2 PYR14, 2 BF4"``
``kind``        ``"EQ"`` or ``"nEQ"``
``recipe``      ``"nvt"``, ``"packed"``, ``"hot"``, ``"distorted"``, ``"scaled"``, ``"parted"``, ``"cavity"``,
                ``"aimd"`` or ``"explored"``
``seed``        the seed of the random numbers that made it
``parent``      name of the packed box it descends from
``REF_energy``  reference energy, eV (labelled frames only)
``REF_stress``  reference stress, eV/Å^3, Voigt xx yy zz yz xz xy, tension positive
==============  =====================================================================

and ``arrays["REF_forces"]`` holds the reference forces in eV/Å. Molecules are stored one after the other,
whole, and in the order of ``ions``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError

ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"
_RESOLUTION = 1e-6  # Å


def quantize(atoms: Atoms) -> Atoms:
    """Round positions and cell to 1e-6 Å, in place, so that writing and reading changes no digit."""
    atoms.set_cell(np.round(atoms.cell.array, 6), scale_atoms=False)
    atoms.set_positions(np.round(atoms.positions, 6), apply_constraint=False)
    return atoms


def digest(atoms: Atoms) -> str:
    """Name of a structure: SHA-256 over elements, positions, cell and periodicity at 1e-6 Å."""
    hasher = hashlib.sha256()
    hasher.update(np.asarray(atoms.numbers, dtype="<i4").tobytes())
    for lengths in (atoms.positions, atoms.cell.array):
        hasher.update(np.rint(np.asarray(lengths) / _RESOLUTION).astype("<i8").tobytes())
    hasher.update(np.asarray(atoms.pbc, dtype="u1").tobytes())
    return hasher.hexdigest()


def write(path: Path, frames: Iterable[Atoms]) -> None:
    """Write frames as extended XYZ: the whole file or, on any failure, none of it."""
    from ase.io import write as write_file

    path = Path(path)
    bare = []
    for frame in frames:
        copy = frame.copy()  # drops the calculator: labels live under their own keys, not a calculator's
        copy.info = {key: _in_one_line(value) for key, value in copy.info.items()}
        bare.append(copy)
    with files.replacing(path) as partial:
        if bare:
            write_file(partial, bare, format="extxyz", write_results=False)
        else:
            partial.write_text("")


def _in_one_line(value: Any) -> Any:
    """Text of several lines, such as what a program last said, would tear the file, and a backslash would be lost."""
    if not isinstance(value, str) or not ("\n" in value or "\\" in value):
        return value
    return " ".join(value.replace("\\", "/").split())


def read(path: Path) -> list[Atoms]:
    """Read every frame of an extended XYZ file; an empty file is an empty list."""
    from ase.io import read as read_file

    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected frames in extended XYZ form.")
    if path.stat().st_size == 0:
        return []
    try:
        frames = read_file(path, index=":", format="extxyz")
    except Exception as error:
        raise SettingsError(f"{path} could not be read as extended XYZ: {error}") from error
    for frame in frames:
        frame.calc = None
        if STRESS in frame.info:
            frame.info[STRESS] = np.asarray(frame.info[STRESS], dtype=float).reshape(6)
    return frames


def rms_force(frames: Sequence[Atoms], key: str = FORCES) -> float:
    """Root mean square force component over all atoms of all frames, eV/Å."""
    if not frames:
        return float("nan")
    return float(np.sqrt(np.mean(np.concatenate([frame.arrays[key].ravel() for frame in frames]) ** 2)))

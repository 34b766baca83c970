"""Frames: ``ase.Atoms`` with a few agreed keys, kept on disk as extended XYZ.

A frame's ``info`` contains its origin and, after labelling, its labels:

================  ===================================================================
``ions``          ions of the frame, in the order of its atoms: ``"2 PYR14, 2 BF4"``
``kind``          ``"EQ"`` or ``"nEQ"``
``recipe``        ``"nvt"``, ``"packed"``, ``"hot"``, ``"distorted"``, ``"scaled"``, ``"parted"``, ``"cavity"``,
                  ``"aimd"`` or ``"explored"``
``seed``          seed of the random numbers used to make it
``parent``        name of the packed box from which it was made
``charge``        net charge, e, of frames without periodicity and of charged boxes
``multiplicity``  2S + 1; frames whose multiplicity is not the lowest are not labelled
``REF_energy``    reference energy, eV (labelled frames only)
``REF_stress``    reference stress, eV/Å^3, Voigt xx yy zz yz xz xy, tension positive
================  ===================================================================

and ``arrays["REF_forces"]`` contains the reference forces in eV/Å. Molecules are whole and stored one after the other,
in the order of ``ions``.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.arrays import Floats
from ilforge.errors import SettingsError
from ilforge.units import AMU_PER_A3_IN_G_CM3

ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"
CHARGE, MULTIPLICITY = "charge", "multiplicity"
_RESOLUTION = 1e-6  # Å
_DENSITY = re.compile(r"(?:mass_?)?(?:density|rho)(?:_?(?P<mass>k?g)(?:_|/|_per_)?(?:c?m\^?-?3))?", re.IGNORECASE)
_SAME_DENSITY = 0.02  # allowed relative difference, because headers are rounded
_UNPACK: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def quantize(atoms: Atoms) -> Atoms:
    """Round positions and cell to 1e-6 Å, in place, so that they do not change when written and read."""
    atoms.set_cell(np.round(atoms.cell.array, 6), scale_atoms=False)
    atoms.set_positions(np.round(atoms.positions, 6), apply_constraint=False)
    return atoms


def digest(atoms: Atoms) -> str:
    """Name of a structure: SHA-256 of elements, positions, cell and periodicity at 1e-6 Å, charge and multiplicity.

    Charge and multiplicity are left out for a neutral box with the lowest multiplicity, and for a frame without a
    charge in its ``info``. For a frame without periodicity, a charge of zero is included, because the same atoms may
    also be an ion.
    """
    hasher = hashlib.sha256()
    hasher.update(np.asarray(atoms.numbers, dtype="<i4").tobytes())
    for lengths in (atoms.positions, atoms.cell.array):
        hasher.update(np.rint(np.asarray(lengths) / _RESOLUTION).astype("<i8").tobytes())
    hasher.update(np.asarray(atoms.pbc, dtype="u1").tobytes())
    charge, multiplicity = charge_of(atoms), multiplicity_of(atoms)
    if charge is not None and (charge or not atoms.pbc.any()):
        hasher.update(f"charge {charge}".encode())
    if multiplicity is not None and multiplicity != lowest_multiplicity(atoms):
        hasher.update(f"multiplicity {multiplicity}".encode())
    return hasher.hexdigest()


def charge_of(atoms: Atoms) -> int | None:
    """The net charge in the ``info`` of a frame, e; None if there is none.

    Raises
    ------
    SettingsError
        When it is not a whole number.
    """
    return _whole_number(atoms, CHARGE)


def multiplicity_of(atoms: Atoms) -> int | None:
    """The multiplicity 2S + 1 in the ``info`` of a frame; None if there is none.

    Raises
    ------
    SettingsError
        When it is not a whole number from 1.
    """
    found = _whole_number(atoms, MULTIPLICITY)
    if found is not None and found < 1:
        raise SettingsError(f"A frame has {MULTIPLICITY} = {found}: it is 2S + 1, a whole number from 1.")
    return found


def lowest_multiplicity(atoms: Atoms) -> int:
    """1 for an even number of electrons, 2 for an odd one; a frame without a charge counts as neutral."""
    electrons = int(atoms.numbers.sum()) - (charge_of(atoms) or 0)
    return 1 + electrons % 2


def _whole_number(atoms: Atoms, key: str) -> int | None:
    value = atoms.info.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer():
        raise SettingsError(f"A frame has {key} = {value!r}: it must be a whole number.")
    return int(number)


def density_g_cm3(atoms: Atoms) -> float:
    """Density of a periodic frame from its masses and its cell, g/cm^3."""
    return float(atoms.get_masses().sum()) * AMU_PER_A3_IN_G_CM3 / float(atoms.get_volume())


def said_density(atoms: Atoms) -> str | None:
    """How a density in the header of a frame differs from that of its cell and masses, in words; None if it agrees.

    Headers have ``density``, ``density_g_cm3``, ``rho``, ``density_kg_m3`` and similar keys. A key without a unit may
    be in g/cm^3 or kg/m^3.
    """
    if not atoms.pbc.all() or not atoms.cell.volume > 0.0:
        return None
    true = density_g_cm3(atoms)
    for key, value in atoms.info.items():
        named = _DENSITY.fullmatch(key)
        if named is None or not isinstance(value, int | float | np.number) or isinstance(value, bool):
            continue
        in_g_cm3 = {None: (1.0, 1e-3), "g": (1.0,), "kg": (1e-3,)}[named["mass"] and named["mass"].lower()]
        if not any(abs(float(value) * factor - true) <= _SAME_DENSITY * true for factor in in_g_cm3):
            return f"{key} = {value:g} in its header, but {true:.4g} g/cm^3 from its cell and masses"
    return None


def said_densities(frames: Sequence[Atoms]) -> str | None:
    """The same for many frames in one sentence, with the number of the first such frame."""
    found = [(number, said) for number, frame in enumerate(frames) if (said := said_density(frame))]
    if not found:
        return None
    number, said = found[0]
    return f"the density in the header of {len(found)} of {len(frames)} frames is wrong: frame {number} has {said}"


def write(path: Path, frames: Iterable[Atoms]) -> None:
    """Write frames as extended XYZ, completely or, on any failure, not at all."""
    from ase.io import write as write_file

    path = Path(path)
    bare = []
    for frame in frames:
        copy = frame.copy()  # without the calculator, because labels are stored under their own keys
        copy.info = {key: _in_one_line(value) for key, value in copy.info.items()}
        bare.append(copy)
    with files.replacing(path) as partial:
        if bare:
            write_file(partial, bare, format="extxyz", write_results=False)
        else:
            partial.write_text("")


def _in_one_line(value: Any) -> Any:
    """Encode text with several lines (which would break the file) or backslashes (which would be lost) in one line."""
    if not isinstance(value, str) or not ("\n" in value or "\\" in value):
        return value
    return " ".join(value.replace("\\", "/").split())


def why_unreadable(error: Exception) -> str:
    """The reason of ASE in words: its message for an unknown element is only the name."""
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is no element"
    if isinstance(error, UnicodeError):
        return "it is no text in UTF-8 (plain ASCII is)"
    return " ".join(str(error).split()).rstrip(".")


def read(path: Path) -> list[Atoms]:
    """Read every frame of an extended XYZ file; an empty file is an empty list."""
    from ase.io import read as read_file

    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected frames in extended XYZ form.")
    if path.stat().st_size == 0:
        return []
    try:
        with _content(path) as content:
            frames = cast(list[Atoms], read_file(content, index=":", format="extxyz"))  # ":" gives a list
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} could not be read as extended XYZ: {why_unreadable(error)}.") from error
    for number, frame in enumerate(frames):
        frame.calc = None
        if STRESS in frame.info:
            try:
                frame.info[STRESS] = voigt(frame.info[STRESS])
            except ValueError as error:
                raise SettingsError(f"{path}, frame {number}: {STRESS} {error}.") from error
    return frames


def voigt(stress: Any) -> Floats:
    """A stress of six or nine numbers as ``(6,)``, xx yy zz yz xz xy.

    Raises
    ------
    ValueError
        For any other number of components.
    """
    values: Floats = np.asarray(stress, dtype=float)
    if values.size == 6:
        return values.reshape(6)
    if values.size != 9:
        raise ValueError(f"has {values.size} numbers; a stress has 6 (xx yy zz yz xz xy) or 9 (row by row)")
    full = values.reshape(3, 3)
    full = (full + full.T) / 2
    return full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _content(path: Path) -> TextIO:
    """The text of a file without the byte order mark of Windows; the size of a decompressed file is limited."""
    if path.suffix not in _UNPACK:
        return path.open(encoding="utf-8-sig")
    with _UNPACK[path.suffix](path, "rb") as content:
        return io.StringIO(io.BufferedReader(files.Bounded(content, path)).read().decode("utf-8-sig"))


def rms_force(frames: Sequence[Atoms], key: str = FORCES) -> float:
    """Root mean square force component over all atoms of all frames, eV/Å."""
    if not frames:
        return float("nan")
    return float(np.sqrt(np.mean(np.concatenate([frame.arrays[key].ravel() for frame in frames]) ** 2)))

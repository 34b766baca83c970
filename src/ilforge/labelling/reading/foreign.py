"""Read labels from files that are not outputs of reference programs: extended XYZ, ASE databases, DeePMD systems."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.frames import CHARGE, ENERGY, FORCES, MULTIPLICITY, STRESS, said_densities, voigt
from ilforge.labelling.datasets.exchange import read_deepmd
from ilforge.labelling.datasets.exchange_hdf5 import MAGIC, read_deepmd_hdf5
from ilforge.labelling.reading.foreign_units import ForeignUnits, header_units
from ilforge.labelling.reading.xyz_frames import RAW, is_xyz, read_xyz_frames
from ilforge.labelling.storing.state import require_whole_periodicity
from ilforge.potentials.quantum.outputs import Output, Reading

NOT_STATED = "not stated"

_KEPT = ("ions", "kind", "recipe", "seed", "parent", CHARGE, MULTIPLICITY)
_OTHER_NAMES = {"total_charge": CHARGE, "spin_multiplicity": MULTIPLICITY}
_NAMES = {
    "energy": ("free_energy", "energy", ENERGY),
    "forces": ("force", "forces", FORCES),  # QUIP and dpdata write the first
    "stress": ("stress", f"{RAW}stress", STRESS),
    "virial": (f"{RAW}virial", f"{RAW}virials", "REF_virial", "REF_virials", "virial", "virials"),
}
_NEEDED = ("energy", "forces")
_OPTIONS = {
    "energy": "--energy-key", "forces": "--forces-key", "stress": "--stress-key", "virial": "--virial-key",
}  # fmt: skip
_FORMATS = ("bundletrajectory", "db", "extxyz", "json", "netcdftrajectory", "traj", "xyz")
"""Formats of ASE that are read: those in which a user keeps labels, and not outputs of programs."""
_SAME = {"energy": 1e-6, "forces": 1e-6}  # eV, eV/Å


@dataclass(frozen=True)
class Keys:
    """Names and units of labels in a user's files.

    Attributes
    ----------
    energy, forces, stress, virial
        Names of the labels in the file; None for the names that ASE, MACE, QUIP and ilforge use.
    units
        Units that the file itself does not state.
    """

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    virial: str | None = None
    units: ForeignUnits = field(default_factory=ForeignUnits)


def read_foreign(path: Path, method: str = "", keys: Keys | None = None) -> Output:
    """Read every frame of a file that ASE can read, or of a DeePMD system.

    Raises
    ------
    SettingsError
        When the file cannot be read, when no frame has the labels, or when two entries could be the label.
    """
    path, keys = Path(path), keys or Keys()
    if path.is_dir() or is_hdf5(path):
        found, remarks = read_deepmd(path) if path.is_dir() else read_deepmd_hdf5(path)
        readings = [_converted(_of_deepmd(frame), keys.units) for frame in found]
        return _finished(path, method, readings, None, remarks)
    frames, ending = read_xyz_frames(path) if is_xyz(path) else (_read_by_ase(path), None)
    _require_labels(path, [frame for frame in frames if isinstance(frame, Atoms)], keys)
    readings = [
        Reading(Atoms(), fault=frame) if isinstance(frame, str) else _of_ase(frame, keys, f"{path}, frame {number}")
        for number, frame in enumerate(frames)
    ]
    return _finished(path, method, readings, ending, _of_densities(frames, readings))


def _of_densities(frames: Sequence[Atoms | str], readings: Sequence[Reading]) -> list[str]:
    """A remark if the densities in headers differ from those of the boxes."""
    boxes = []
    for frame, reading in zip(frames, readings, strict=True):
        boxes.append(reading.atoms.copy())
        if isinstance(frame, Atoms):
            boxes[-1].info = dict(frame.info)
    said = said_densities(boxes)
    return [said] if said else []


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its first bytes."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _read_by_ase(path: Path) -> list[Atoms]:
    import ase.io

    if (format := _format_without_labels(path)) is not None:
        raise SettingsError(
            f"{path} is {format}, which ilforge does not import. It imports outputs only of VASP, CP2K and GPAW, in "
            "which it finds for each frame whether it converged. For another program, write the converged frames as "
            "extended XYZ, with energies in eV and forces in eV/Å (ase.io.write('labels.extxyz', frames)), and import "
            "that file."
        )
    try:
        return cast(list[Atoms], ase.io.read(path, index=":"))  # ":" gives a list
    except Exception as error:
        raise SettingsError(
            f"{path} could not be read ({type(error).__name__}: {error}). Supported are vasprun.xml, OUTCAR, CP2K's "
            "output, GPAW's text output, ASE databases and trajectories, extended XYZ, and folders of DeePMD systems."
        ) from error


def _format_without_labels(path: Path) -> str | None:
    """A format of ASE in which users do not keep labels, in words; None for one in which they do, or an unknown one."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        name = filetype(str(path))
    except (UnknownFileTypeError, OSError):
        return None
    known = ioformats.get(name)  # ASE takes an unknown suffix for the name of a format
    return None if known is None or name in _FORMATS else f"a file of the format {known.description} ({name})"


def _finished(
    path: Path, method: str, readings: Sequence[Reading], ending: str | None, remarks: Sequence[str]
) -> Output:
    """The output without invalid stresses: exact zeros and NaN."""
    kept, zero, broken = [], 0, 0
    for given in readings:
        reading = _with_sound_structure(given)
        stress = reading.stress
        is_zero = stress is not None and not np.any(stress)
        is_broken = stress is not None and not np.all(np.isfinite(stress))
        zero, broken = zero + is_zero, broken + is_broken
        kept.append(Reading(**{**vars(reading), "stress": None}) if is_zero or is_broken else reading)
    said = list(remarks)
    if zero:
        said.append(f"the stress of {zero} frames is left out: it is exactly zero, which does not occur in a liquid")
    if broken:
        said.append(f"the stress of {broken} frames is left out: it is not a number")
    return Output(_unknown(method, path), tuple(kept), ending, tuple(said))


def _with_sound_structure(reading: Reading) -> Reading:
    """The frame, or a failed reading if its positions or its box are invalid."""
    atoms = reading.atoms
    fault = None
    if not (np.all(np.isfinite(atoms.positions)) and np.all(np.isfinite(atoms.cell.array))):
        fault = "not finite: NaN or infinity in positions or box"
    elif atoms.pbc.any() and abs(np.linalg.det(atoms.cell.array)) < 1.0:
        fault = "box: the frame is periodic, but its box has no volume"
    if reading.fault is not None or fault is None:
        return reading
    bare = Atoms(numbers=atoms.numbers, positions=np.nan_to_num(atoms.positions))
    bare.info = dict(atoms.info)
    return Reading(bare, fault=fault)


def _unknown(method: str, path: Path) -> dict[str, Any]:
    """A method known only by its name; without a name, it counts as different from the method of any other file."""
    return {"program": "unknown", "method": method or unnamed_method(path), "convergence": NOT_STATED}


def unnamed_method(path: Path) -> str:
    """A name for a method that is not known: it differs from that of any other file."""
    return f"of {path.name} {_content(path)}"


def _content(path: Path) -> str:
    """Digest of a file, or of all files of a folder."""
    parts = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    digests = [files.file_digest(part) for part in parts]
    return (digests[0] if path.is_file() else hashlib.sha256("".join(digests).encode()).hexdigest())[:16]


def _of_deepmd(frame: Atoms) -> Reading:
    return Reading(_stripped(frame), frame.info[ENERGY], frame.arrays[FORCES], frame.info.get(STRESS))


def _held(frame: Atoms) -> dict[str, Any]:
    """All entries of a frame that could be labels, by name."""
    results = dict(frame.calc.results) if frame.calc is not None else {}
    arrays = {key: value for key, value in frame.arrays.items() if key not in ("numbers", "positions")}
    return {**arrays, **frame.info, **results}


def _value(held: Mapping[str, Any], quantity: str, key: str | None) -> Any:
    if key is not None:
        return held.get(key, held.get(RAW + key))
    return next((held[name] for name in _NAMES[quantity] if held.get(name) is not None), None)


def _require_labels(path: Path, frames: Sequence[Atoms], keys: Keys) -> None:
    """Refuse a file in which no frame has a required label, or in which two possible labels contradict each other."""
    held = [_held(frame) for frame in frames]
    lacking: dict[str, str | None] = {}
    for quantity, option in _OPTIONS.items():
        key = getattr(keys, quantity)
        if quantity not in _NEEDED and key is None:
            continue
        if not any(_value(each, quantity, key) is not None for each in held):
            lacking[quantity] = key
        elif key is None and (two := _two_values(held, quantity)) is not None:
            raise SettingsError(
                f"{path} contains both {two[0]} and {two[1]}, and they differ: choose the label with {option}."
            )
    if not lacking:
        return
    known = sorted({name.removeprefix(RAW) for each in held for name in each})
    if {"i", "E"} <= set(known):
        raise SettingsError(
            f"{path} is a trajectory of CP2K. Give the output of the run, which names its method and says which steps "
            "converged; ilforge then reads the trajectories beside it."
        )
    wanted = [key or " or ".join(name for name in _NAMES[quantity][-2:]) for quantity, key in lacking.items()]
    likely = []
    for quantity in lacking:
        alike = [name for name in known if quantity.rstrip("s") in name.lower()]
        likely.append(f"{_OPTIONS[quantity]} {alike[0] if alike else 'KEY'}")
    raise SettingsError(
        f"{path}: no frame has its {' and its '.join(lacking)} under the name {', nor under '.join(wanted)}. It has "
        f"{', '.join(known) or 'only positions'}. Give the name with an option, such as {' '.join(likely)}."
    )


def _two_values(held: Sequence[Mapping[str, Any]], quantity: str) -> tuple[str, str] | None:
    names = [name for name in _NAMES[quantity] if name != "free_energy"]
    for each in held:
        present = [name for name in names if each.get(name) is not None]
        for plain, ours in itertools.pairwise(present):
            first, second = np.asarray(each[plain], dtype=float), np.asarray(each[ours], dtype=float)
            if first.shape != second.shape or np.any(np.abs(first - second) > _SAME[quantity]):
                return plain, ours
    return None


def _of_ase(frame: Atoms, keys: Keys, where: str) -> Reading:
    held, atoms = _held(frame), _stripped(frame)
    try:
        require_whole_periodicity(frame)
    except SettingsError as error:
        return Reading(atoms, fault=f"periodicity: {error}")
    energy, forces = (_value(held, quantity, getattr(keys, quantity)) for quantity in ("energy", "forces"))
    lacking = [name for name, value in (("energy", energy), ("forces", forces)) if value is None]
    if lacking:
        known = ", ".join(sorted(name.removeprefix(RAW) for name in held)) or "nothing but positions"
        return Reading(atoms, fault=f"missing: the frame has no {' and no '.join(lacking)}; it has {known}")
    units = header_units(frame.info, where).under(keys.units)
    try:
        energy, forces = float(energy), np.array(forces, dtype=float)
    except (TypeError, ValueError):
        return Reading(atoms, fault="unreadable: the energy or the forces are not numbers")
    stress, fault = _stress(held, atoms, keys, units)
    reading = Reading(atoms, energy * units.factor("energy"), forces * units.factor("forces"), stress, fault=fault)
    return _scaled(reading, units.factor("length"))


def _stress(held: Mapping[str, Any], atoms: Atoms, keys: Keys, units: ForeignUnits) -> tuple[Any, str | None]:
    r"""A frame's stress in eV/Å^3, and its fault.

    From a virial :math:`\Xi = -\partial E/\partial\epsilon`, the convention of QUIP, MACE and DeePMD, the stress is
    :math:`-\Xi/V`.
    """
    found = {}
    volume = abs(np.linalg.det(atoms.cell.array)) * units.factor("length") ** 3 if atoms.pbc.all() else 0.0
    conversions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "stress": lambda values: values * units.factor("stress"),
        "virial": lambda values: -values * units.factor("virial") / volume,
    }
    for quantity, convert in conversions.items():
        value = _value(held, quantity, getattr(keys, quantity))
        if value is None or not volume or getattr(units, quantity) == 0.0:
            continue
        try:
            found[quantity] = convert(voigt(value))
        except (TypeError, ValueError) as error:
            return None, f"incomplete: its {quantity} {error}"
    if len(found) == 2 and not np.allclose(found["stress"], found["virial"], rtol=1e-3, atol=1e-6):
        if keys.stress is None and keys.virial is None:
            opposite = np.allclose(found["stress"], -found["virial"], rtol=1e-3, atol=1e-6)
            how = "have opposite signs" if opposite else "differ"
            return None, (
                f"contradiction: its stress and its virial {how} (stress = -virial / volume); leave one out with "
                "--units stress=none or --units virial=none"
            )
        return found["stress" if keys.stress is not None else "virial"], None
    return next(iter(found.values()), None), None


def _converted(reading: Reading, units: ForeignUnits) -> Reading:
    """A frame of DeePMD in ilforge's units; its own are eV, eV/Å and Å, unless the user gives others."""
    stress = reading.stress
    if stress is not None:
        factor = units.virial if units.virial is not None else units.stress if units.stress is not None else 1.0
        stress = None if factor == 0.0 else stress * factor
    assert reading.energy is not None and reading.forces is not None  # every DeePMD frame has both
    energy, forces = reading.energy * units.factor("energy"), reading.forces * units.factor("forces")
    length = units.factor("length")
    if stress is not None:  # the stress is a virial divided by a volume
        stress = stress / length**3
    return _scaled(Reading(reading.atoms, energy, forces, stress, fault=reading.fault), length)


def _scaled(reading: Reading, length: float) -> Reading:
    if length != 1.0:
        reading.atoms.set_cell(reading.atoms.cell.array * length)
        reading.atoms.positions *= length
    return reading


def _stripped(frame: Atoms) -> Atoms:
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    info = {_OTHER_NAMES.get(key, key): value for key, value in frame.info.items()}
    bare.info = {key: info[key] for key in _KEPT if key in info}
    return bare

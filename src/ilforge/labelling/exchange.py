"""Labelled frames from and to the files other programs use: extended XYZ and DeePMD's ``npy`` systems."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from ilforge import files
from ilforge import frames as _frames
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES, STRESS


def import_extxyz(
    path: Path,
    *,
    energy: str = "energy",
    forces: str = "forces",
    stress: str | None = "stress",
    kind: str = "EQ",
    independent: bool = False,
) -> list[Atoms]:
    """Read labelled frames of another program.

    Parameters
    ----------
    energy, forces, stress
        Names the labels have in the file, eV, eV/Å and eV/Å^3 (Voigt, tension positive).
    kind
        Kind of frames that do not say theirs, ``"EQ"`` or ``"nEQ"``.
    independent
        Whether frames that do not name their parent are independent of each other. If not, as along a
        trajectory, the whole file counts as one parent.

    Raises
    ------
    SettingsError
        When a frame has no such energy or forces: nothing is ever taken for zero.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected labelled frames in extended XYZ form.")
    imported = []
    for index, raw in enumerate(ase.io.read(path, index=":", format="extxyz")):
        frame = Atoms(numbers=raw.numbers, positions=raw.positions, cell=raw.cell, pbc=raw.pbc)
        frame.info = {k: v for k, v in raw.info.items() if k not in (energy, stress) and not k.startswith("REF_")}
        found = _labels_of(raw, energy, forces, stress)
        if found[0] is None or found[1] is None:
            lacking = f"energy {energy!r}" if found[0] is None else f"forces {forces!r}"
            has = sorted({*raw.info, *raw.arrays, *(raw.calc.results if raw.calc else {})})
            raise SettingsError(f"Frame {index} of {path} has no {lacking}; it has {', '.join(has)}.")
        _put_labels(frame, *found)
        imported.append(with_origin(frame, path.stem, index, kind, independent))
    return imported


def export_extxyz(path: Path, labelled: Iterable[Atoms]) -> None:
    """Write labelled frames as extended XYZ under the keys of :mod:`ilforge.frames`."""
    _frames.write(path, labelled)


def export_plain_extxyz(path: Path, labelled: Iterable[Atoms]) -> None:
    """Write labelled frames under the names that ASE gives results: ``energy``, ``forces``, ``stress``.

    eV, eV/Å and eV/Å^3 (tension positive).
    """
    plain = []
    for frame in labelled:
        copy = frame.copy()
        stress = copy.info.pop(STRESS, None)
        results = {"energy": copy.info.pop(ENERGY), "forces": copy.arrays.pop(FORCES)}
        copy.calc = SinglePointCalculator(copy, **results, **({} if stress is None else {"stress": stress}))
        plain.append(copy)
    with files.replacing(path) as partial:
        ase.io.write(partial, plain, format="extxyz")


def export_deepmd(
    directory: Path, labelled: Sequence[Atoms], type_map: Sequence[str], virials: bool = True
) -> list[Path]:
    """Write DeePMD ``npy`` systems, one for each sequence of elements that occurs; returns their folders.

    The virial is :math:`\\Xi = -V \\sigma` in eV, with :math:`\\sigma = (1/V)\\,\\partial E/\\partial\\epsilon`
    the stress (tension positive); DeePMD's own definition is :math:`\\Xi = -\\partial E/\\partial\\epsilon`.

    Parameters
    ----------
    type_map
        Elements in the order of their type numbers.
    virials
        Write virials of systems whose frames all have a stress.

    Raises
    ------
    SettingsError
        When the folder holds other systems.
    """
    systems = systems_of(labelled)
    folders = [Path(directory) / name for name in systems]
    _refuse_other_systems(Path(directory), folders)
    for folder, members in zip(folders, systems.values(), strict=True):
        _write_system(folder, members, list(type_map), virials)
    return folders


def systems_of(labelled: Iterable[Atoms]) -> dict[str, list[Atoms]]:
    """Frames by the DeePMD system they belong to: one for each sequence of elements."""
    systems: dict[bytes, list[Atoms]] = {}
    for frame in labelled:
        key = np.asarray(frame.numbers, dtype="<i4").tobytes() + bytes(np.asarray(frame.pbc, dtype="u1"))
        systems.setdefault(key, []).append(frame)
    return {f"{group[0].get_chemical_formula()}.{n}": group for n, group in enumerate(systems.values())}


def import_deepmd(directory: Path, kind: str = "EQ", independent: bool = False) -> list[Atoms]:
    """Read every DeePMD ``npy`` system at or below a folder; see :func:`import_extxyz` for the options."""
    directory = Path(directory)
    systems = _systems_below(directory)
    if not systems:
        raise SettingsError(f"There is no DeePMD system (a folder with type.raw) in {directory}.")
    imported: list[Atoms] = []
    for system in systems:
        for index, frame in enumerate(_read_system(system)):
            name = str(system.relative_to(directory)) if system != directory else system.name
            imported.append(with_origin(frame, name, index, kind, independent))
    return imported


def virial_from_stress(stress: np.ndarray, volume: float) -> np.ndarray:
    """Virial ``(3, 3)`` in eV of a Voigt stress ``(6,)`` in eV/Å^3: minus stress times volume."""
    return -volume * voigt_6_to_full_3x3_stress(np.asarray(stress, dtype=float))


def _labels_of(
    raw: Atoms, energy: str, forces: str, stress: str | None
) -> tuple[float | None, np.ndarray | None, np.ndarray | None]:
    # ASE moves the usual names out of info and arrays into a calculator when it reads them
    results = dict(raw.calc.results) if raw.calc is not None else {}
    found_energy = raw.info.get(energy, results.get(energy))
    found_forces = raw.arrays.get(forces, results.get(forces))
    found_stress = raw.info.get(stress, results.get(stress)) if stress else None
    if found_stress is not None:
        found_stress = np.asarray(found_stress, dtype=float)
        if found_stress.size == 9:
            found_stress = full_3x3_to_voigt_6_stress(found_stress.reshape(3, 3))
    return found_energy, found_forces, found_stress


def _put_labels(frame: Atoms, energy: float, forces: np.ndarray, stress: np.ndarray | None) -> None:
    frame.info[ENERGY] = float(energy)
    frame.arrays[FORCES] = np.array(forces, dtype=float)
    if stress is not None:
        frame.info[STRESS] = np.array(stress, dtype=float)


def with_origin(frame: Atoms, source: str, index: int, kind: str, independent: bool) -> Atoms:
    """The frame with a kind, a recipe and a parent, where it says none."""
    frame.info.setdefault("kind", kind)
    frame.info.setdefault("recipe", "imported")
    frame.info.setdefault("parent", f"{source}/{index}" if independent else source)
    return frame


def _write_system(folder: Path, members: Sequence[Atoms], type_map: list[str], virials: bool) -> None:
    """A system in the place of what was there, of which nothing stays: an old virial would be learnt."""
    first = members[0]
    types = [type_map.index(symbol) for symbol in first.get_chemical_symbols()]
    arrays = arrays_of(members, virials)
    with files.replacing_folder(folder) as partial:
        (partial / "type.raw").write_text("\n".join(map(str, types)) + "\n")
        (partial / "type_map.raw").write_text("\n".join(type_map) + "\n")
        if not any(first.pbc):
            (partial / "nopbc").write_text("")
        part = partial / "set.000"
        part.mkdir()
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", values)


def arrays_of(members: Sequence[Atoms], virials: bool) -> dict[str, np.ndarray]:
    """DeePMD's arrays of one system, ``(n_frames, ...)``."""
    arrays = {
        "coord": [frame.positions for frame in members],
        "box": [frame.cell.array for frame in members],
        "energy": [frame.info[ENERGY] for frame in members],
        "force": [frame.arrays[FORCES] for frame in members],
    }
    if virials and all(STRESS in frame.info for frame in members):
        arrays["virial"] = [virial_from_stress(frame.info[STRESS], frame.get_volume()) for frame in members]
    return {name: np.asarray(values, dtype=float).reshape(len(members), -1) for name, values in arrays.items()}


def _systems_below(directory: Path) -> list[Path]:
    """Folders of systems at or below a folder, but those that a killed process did not finish."""
    found = sorted(path.parent for path in directory.rglob("type.raw"))
    return [folder for folder in found if folder.suffix not in (files.PARTIAL, files.REPLACED)]


def _refuse_other_systems(directory: Path, folders: Sequence[Path]) -> None:
    """Refuse a folder with systems that would stay beside the new ones, and be trained on with them."""
    others = sorted(set(_systems_below(directory)) - set(folders))
    if others:
        names = ", ".join(str(path.relative_to(directory)) for path in others[:3])
        raise SettingsError(
            f"{directory} holds DeePMD systems that are none of these labels ({names}): they would be read together. "
            "Name an empty folder, or remove them."
        )


def _read_system(system: Path) -> Iterable[Atoms]:
    types = np.loadtxt(system / "type.raw", dtype=int, ndmin=1)
    try:
        elements = np.array((system / "type_map.raw").read_text().split())
    except FileNotFoundError as error:
        raise SettingsError(f"{system} has no type_map.raw: its elements are unknown.") from error
    periodic = not (system / "nopbc").exists()
    for part in sorted(system.glob("set.*")):
        arrays = {path.stem: np.load(path, allow_pickle=False) for path in part.glob("*.npy")}
        yield from frames_of(elements, types, arrays, periodic, str(part))


def frames_of(
    elements: np.ndarray, types: np.ndarray, arrays: Mapping[str, np.ndarray], periodic: bool, source: str
) -> Iterator[Atoms]:
    """The labelled frames of one set of DeePMD's arrays.

    Parameters
    ----------
    elements, types
        The type map, and for each atom its place there. Where a set has ``real_atom_types`` (DeePMD's mixed type),
        each frame has its own, and -1 fills up the frames with fewer atoms.

    Raises
    ------
    SettingsError
        When an array is not there: nothing is taken for zero.
    """
    lacking = {"coord", "energy", "force", *(["box"] if periodic else [])} - set(arrays)
    if lacking:
        raise SettingsError(f"{source} has no {', '.join(sorted(lacking))}: nothing is taken for zero.")
    for i, coordinates in enumerate(arrays["coord"]):
        cell = arrays["box"][i].reshape(3, 3) if periodic else np.zeros((3, 3))
        own = arrays["real_atom_types"][i].astype(int) if "real_atom_types" in arrays else types
        real = own >= 0
        frame = Atoms(elements[own[real]], positions=coordinates.reshape(-1, 3)[real], cell=cell, pbc=periodic)
        stress = None
        if periodic and "virial" in arrays:
            stress = full_3x3_to_voigt_6_stress(arrays["virial"][i].reshape(3, 3) / -frame.get_volume())
        _put_labels(frame, float(arrays["energy"][i].item()), arrays["force"][i].reshape(-1, 3)[real], stress)
        yield frame

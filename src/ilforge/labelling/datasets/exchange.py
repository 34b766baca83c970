"""Read and write labelled frames in formats of other programs: extended XYZ and DeePMD's ``npy`` systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from ilforge import files
from ilforge import frames as _frames
from ilforge.errors import SettingsError
from ilforge.folders import REPLACED, replacing_folder
from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.storing.state import require_whole_periodicity

NO_ELEMENTS = (
    "{system} has no type_map.raw: its elements are unknown. Write this file, with the element of each type of "
    "type.raw (0, 1, ...) on a line of its own."
)


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
        Names of the labels in the file; units are eV, eV/Å and eV/Å^3 (Voigt, tension positive).
    kind
        Kind of frames without an entry for it, ``"EQ"`` or ``"nEQ"``.
    independent
        Whether frames that do not name their parent are independent of each other. If not, for example in a
        trajectory, the whole file counts as one parent.

    Raises
    ------
    SettingsError
        When a frame has no such energy or forces; missing labels are never taken as zero.
    """
    import ase.io

    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}: expected labelled frames in extended XYZ form.")
    imported = []
    for index, raw in enumerate(cast(list[Atoms], ase.io.read(path, index=":", format="extxyz"))):  # a list, by ":"
        frame = Atoms(numbers=raw.numbers, positions=raw.positions, cell=raw.cell, pbc=raw.pbc)
        frame.info = {k: v for k, v in raw.info.items() if k not in (energy, stress) and not k.startswith("REF_")}
        its_energy, its_forces, its_stress = _labels_of(raw, energy, forces, stress)
        if its_energy is None or its_forces is None:
            lacking = f"energy {energy!r}" if its_energy is None else f"forces {forces!r}"
            has = sorted({*raw.info, *raw.arrays, *(raw.calc.results if raw.calc else {})})
            raise SettingsError(f"Frame {index} of {path} has no {lacking}. It has {', '.join(has)}.")
        _put_labels(frame, its_energy, its_forces, its_stress)
        imported.append(with_origin(frame, path.stem, index, kind, independent))
    return imported


def export_extxyz(path: Path, labelled: Iterable[Atoms]) -> None:
    """Write labelled frames as extended XYZ under the keys of :mod:`ilforge.frames`."""
    _frames.write(path, labelled)


def export_plain_extxyz(path: Path, labelled: Iterable[Atoms]) -> None:
    """Write labelled frames under ASE's names of results: ``energy``, ``forces``, ``stress``.

    eV, eV/Å and eV/Å^3 (tension positive).
    """
    import ase.io

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
    """Write DeePMD ``npy`` systems, one for each sequence of elements; returns their folders.

    The virial is :math:`\\Xi = -V \\sigma` in eV, with :math:`\\sigma = (1/V)\\,\\partial E/\\partial\\epsilon`
    the stress (tension positive); DeePMD's own definition is :math:`\\Xi = -\\partial E/\\partial\\epsilon`.

    Parameters
    ----------
    type_map
        Elements in the order of their type numbers.
    virials
        Whether virials are written; frames without a stress then form separate systems.

    Raises
    ------
    SettingsError
        When the folder contains other systems, or a frame is periodic in only one or two directions.
    """
    systems = systems_of(labelled, virials)
    folders = [Path(directory) / name for name in systems]
    _refuse_other_systems(Path(directory), folders)
    for folder, members in zip(folders, systems.values(), strict=True):
        _write_system(folder, members, list(type_map), virials)
    return folders


def systems_of(labelled: Iterable[Atoms], virials: bool = True) -> dict[str, list[Atoms]]:
    """Group frames by DeePMD system: one for each sequence of elements, with and without virials.

    DeePMD supports boxes that are periodic in all directions, or no box: any other frame is refused.
    """
    systems: dict[tuple[bytes, bool], list[Atoms]] = {}
    for frame in labelled:
        require_whole_periodicity(frame)
        made_of = np.asarray(frame.numbers, dtype="<i4").tobytes() + bytes(np.asarray(frame.pbc, dtype="u1"))
        systems.setdefault((made_of, virials and STRESS in frame.info), []).append(frame)
    return {f"{group[0].get_chemical_formula()}.{n}": group for n, group in enumerate(systems.values())}


def import_deepmd(directory: Path, kind: str = "EQ", independent: bool = False) -> list[Atoms]:
    """Read every DeePMD system at or below a folder; see :func:`import_extxyz` for the options."""
    return read_deepmd(directory, kind, independent)[0]


def read_deepmd(directory: Path, kind: str = "EQ", independent: bool = False) -> tuple[list[Atoms], tuple[str, ...]]:
    """Every frame of the DeePMD systems at or below a folder, and remarks on what was left out.

    A system is a folder with ``type.raw`` and sets of ``npy`` arrays or, without sets, ``*.raw`` text files.

    Raises
    ------
    SettingsError
        When there is no system or no frame, or a part is missing or invalid.
    """
    directory = Path(directory)
    systems = _systems_below(directory)
    if not systems:
        raise SettingsError(f"There is no DeePMD system (a folder with type.raw) in {directory}.")
    imported: list[Atoms] = []
    remarks: list[str] = []
    for system in systems:
        for index, frame in enumerate(_read_system(system, remarks)):
            name = str(system.relative_to(directory)) if system != directory else system.name
            imported.append(with_origin(frame, name, index, kind, independent))
    if not imported:
        raise SettingsError(
            f"The DeePMD systems in {directory} contain no frames: there is no set.*/coord.npy or coord.raw."
        )
    return imported, tuple(remarks)


def virial_from_stress(stress: np.ndarray, volume: float) -> np.ndarray:
    """Virial ``(3, 3)`` in eV of a Voigt stress ``(6,)`` in eV/Å^3: minus stress times volume."""
    found: np.ndarray = -volume * voigt_6_to_full_3x3_stress(np.asarray(stress, dtype=float))
    return found


def _labels_of(
    raw: Atoms, energy: str, forces: str, stress: str | None
) -> tuple[float | None, np.ndarray | None, np.ndarray | None]:
    # when ASE reads labels with its own names, it moves them from info and arrays to a calculator
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
    """The frame with a kind, a recipe and a parent, if it lacks them."""
    frame.info.setdefault("kind", kind)
    frame.info.setdefault("recipe", "imported")
    frame.info.setdefault("parent", f"{source}/{index}" if independent else source)
    return frame


def _write_system(folder: Path, members: Sequence[Atoms], type_map: list[str], virials: bool) -> None:
    """Write a system and delete everything that was in its folder, so that no old virial is used for training."""
    first = members[0]
    types = [type_map.index(symbol) for symbol in first.get_chemical_symbols()]
    arrays = arrays_of(members, virials)
    with replacing_folder(folder) as partial:
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
    """Folders of systems at or below a folder, without incomplete ones of a killed process."""
    found = sorted(path.parent for path in directory.rglob("type.raw"))
    return [folder for folder in found if folder.suffix not in (files.PARTIAL, REPLACED)]


def _refuse_other_systems(directory: Path, folders: Sequence[Path]) -> None:
    """Refuse a folder with other systems, because a training would read them together with the new ones."""
    others = sorted(set(_systems_below(directory)) - set(folders))
    if others:
        names = ", ".join(str(path.relative_to(directory)) for path in others[:3])
        raise SettingsError(
            f"{directory} holds other DeePMD systems ({names}), which would be read together with these labels. "
            "Name an empty folder, or delete them."
        )


def _read_system(system: Path, remarks: list[str]) -> Iterable[Atoms]:
    try:
        types = np.loadtxt(system / "type.raw", dtype=int, ndmin=1)
        elements = elements_of((system / "type_map.raw").read_text().split(), types, str(system))
    except FileNotFoundError as error:
        raise SettingsError(NO_ELEMENTS.format(system=system)) from error
    except ValueError as error:
        raise SettingsError(f"{system / 'type.raw'}: expected whole numbers, one for each atom ({error}).") from error
    periodic = not (system / "nopbc").exists()
    parts = sorted(system.glob("set.*"))
    for part in parts:
        arrays = {
            path.stem: _loaded(path, lambda path: np.load(path, allow_pickle=False)) for path in part.glob("*.npy")
        }
        yield from frames_of(elements, types, arrays, periodic, str(part), remarks)
    if not parts:
        names = ("coord", "box", "energy", "force", "virial")
        found = {name: system / f"{name}.raw" for name in names if (system / f"{name}.raw").is_file()}
        arrays = {name: _loaded(path, lambda path: np.loadtxt(path, ndmin=2)) for name, path in found.items()}
        if arrays:
            yield from frames_of(elements, types, arrays, periodic, str(system), remarks)


def _loaded(path: Path, load: Callable[[Path], np.ndarray]) -> np.ndarray:
    try:
        return load(path)
    except (ValueError, EOFError, OSError) as error:
        raise SettingsError(f"{path} could not be read: {error}") from error


def elements_of(names: Sequence[str], types: np.ndarray, source: str) -> np.ndarray:
    """The element of each atom of a DeePMD system.

    Raises
    ------
    SettingsError
        For a type without a name, or a name that is not an element.
    """
    if len(types) and not -1 <= types.min() <= types.max() < len(names):
        raise SettingsError(f"{source}: type.raw has types up to {types.max()}, but type_map.raw names {len(names)}.")
    unknown = [name for name in names if name not in atomic_numbers]
    if unknown:
        raise SettingsError(
            f"{source}: type_map.raw names {', '.join(unknown[:4])}, which are not elements (perhaps types of a force "
            "field): replace each type by its element."
        )
    return np.array(list(names))


def frames_of(
    elements: np.ndarray,
    types: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    periodic: bool,
    source: str,
    remarks: list[str],
) -> Iterator[Atoms]:
    """The labelled frames of one set of DeePMD's arrays; the shortest array gives their number.

    Parameters
    ----------
    elements, types
        The type map, and for each atom its index in the map. In a set with ``real_atom_types`` (DeePMD's mixed type),
        each frame has its own types; -1 fills frames with fewer atoms.
    remarks
        List to which remarks on omitted frames are appended.

    Raises
    ------
    SettingsError
        When an array is missing or has another number of atoms; missing values are never taken as zero.
    """
    needed = ["coord", "energy", "force", *(["box"] if periodic else [])]
    lacking = set(needed) - set(arrays)
    if lacking:
        raise SettingsError(f"{source} has no {', '.join(sorted(lacking))}. Missing labels are not taken as zero.")
    n_atoms = arrays["real_atom_types"].shape[1] if "real_atom_types" in arrays else len(types)
    rows = {name: _rows(arrays[name], name, n_atoms, source) for name in (*needed, "virial") if name in arrays}
    lengths = {name: len(rows[name]) for name in needed}
    n_frames = min(lengths.values())
    if n_frames < max(lengths.values()):
        listed = ", ".join(f"{name} {n}" for name, n in lengths.items())
        remarks.append(
            f"{max(lengths.values()) - n_frames} frames of {source} are left out: its arrays have different lengths "
            f"({listed}), as after an interrupted copy; the first {n_frames} frames of each are used"
        )
    for i in range(n_frames):
        cell = rows["box"][i].reshape(3, 3) if periodic else np.zeros((3, 3))
        own = arrays["real_atom_types"][i].astype(int) if "real_atom_types" in arrays else types
        real = own >= 0
        frame = Atoms(elements[own[real]], positions=rows["coord"][i].reshape(-1, 3)[real], cell=cell, pbc=periodic)
        stress = None
        volume = abs(np.linalg.det(cell))
        if volume > 0 and i < len(rows.get("virial", ())) and np.all(np.isfinite(rows["virial"][i])):
            stress = full_3x3_to_voigt_6_stress(rows["virial"][i].reshape(3, 3) / -volume)
        _put_labels(frame, float(rows["energy"][i].item()), rows["force"][i].reshape(-1, 3)[real], stress)
        yield frame


def _rows(array: np.ndarray, name: str, n_atoms: int, source: str) -> np.ndarray:
    """An array with a row for each frame; the array of a single frame may be one-dimensional."""
    width = {"coord": 3 * n_atoms, "force": 3 * n_atoms, "box": 9, "virial": 9, "energy": 1}[name]
    if array.size % width:
        raise SettingsError(
            f"{source}: {name} has shape {array.shape}, but {n_atoms} atoms need rows of {width} numbers."
        )
    return np.asarray(array, dtype=float).reshape(-1, width)

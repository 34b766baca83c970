"""Labels out of what users' own calculations have left: VASP, CP2K, GPAW, ASE databases, extended XYZ, DeePMD.

Nothing is taken on trust: every frame of an output is either a label or a rejected label with its reason, what
is not there is told apart from zero, and units are checked against the physics where frames follow
each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from ilforge import files
from ilforge import frames as _frames
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.atom_order import in_order
from ilforge.labelling.exchange import import_deepmd
from ilforge.labelling.exchange_hdf5 import MAGIC, import_deepmd_hdf5
from ilforge.labelling.labels import SAME_ENERGY_EV, Label, checked, method_digest
from ilforge.labelling.published import Entry, is_published, open_published
from ilforge.labelling.units_check import ONLY_TOGETHER, UNCHECKED, require_consistent_units
from ilforge.potentials.cp2k_output import read_cp2k
from ilforge.potentials.gpaw_output import read_gpaw
from ilforge.potentials.outputs import Output, Reading, named, opened
from ilforge.potentials.vasp_outcar import read_outcar
from ilforge.potentials.vasp_output import read_vasprun

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Imported:
    """What a set of files holds.

    Attributes
    ----------
    labels
        One for every frame, in the order of the files; those that cannot be used say why in ``error``.
    endings
        What is wrong with the end of a file, by file.
    unstated
        Number of labels whose file does not say whether they converged.
    remarks
        By file what was left out, changed, or could not be checked, one sentence each.
    """

    labels: tuple[Label, ...]
    endings: dict[str, str] = field(default_factory=dict)
    unstated: int = 0
    remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)


def import_labels(paths: Sequence[Path], *, ions: str = "", method: str = "", one_method: bool = True) -> Imported:
    """Read every frame of some outputs as labels.

    Parameters
    ----------
    paths
        Files, or folders of VASP, of DeePMD or of a dataset (:mod:`ilforge.labelling.published`). What each is, is seen
        from its content.
    ions
        What frames that do not say so are made of, ``"2 PYR14, 2 BF4"``: atoms are put in this order by their bonds.
    method
        Name of the method, for files that do not say how they were made.
    one_method
        Refuse files that were made with different methods.

    Raises
    ------
    SettingsError
        For a file that is none of these, units that contradict each other, or methods that differ.
    """
    labels: list[Label] = []
    endings, remarks, unstated, methods = {}, {}, 0, {}
    for path in map(Path, paths):
        if is_published(path):
            dataset = open_published(path)
            labels += [_of_dataset(entry, path, index) for index, entry in enumerate(dataset.entries())]
            methods[str(path)] = dataset.method
            continue
        output = read_output(path, method)
        stated = output.method.get("convergence") != NOT_STATED
        checked_units = require_consistent_units(path, output.readings)
        output = in_order(output, ions)
        methods[str(path)] = output.method
        if output.ending:
            endings[str(path)] = output.ending
        # units of a program's own output are known; those of any other file are what its author took
        of_units = () if stated else (ONLY_TOGETHER if checked_units else UNCHECKED,)
        said = (*output.remarks, *of_units)
        if said:
            remarks[str(path)] = said
        unstated += 0 if stated else sum(reading.fault is None for reading in output.readings)
        for index, reading in enumerate(output.readings):
            labels.append(_label(reading, output.method, path, index, ions, stated))
    if one_method:
        _require_one_method(methods)
    return Imported(tuple(_without_repeats(labels)), endings, unstated, remarks)


def read_output(path: Path, method: str = "") -> Output:
    """One output, whatever wrote it.

    Raises
    ------
    SettingsError
        When it is not there, or nothing that is known.
    """
    path = Path(path)
    if path.is_dir():
        for name, reader in (("vasprun.xml", read_vasprun), ("OUTCAR", read_outcar)):
            if (found := named(path, name)) is not None:
                return reader(found)
        if any(path.rglob("type.raw")):
            return _deepmd(path, method)
        raise SettingsError(f"{path} holds neither vasprun.xml nor OUTCAR nor a DeePMD system.")
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    if _is_hdf5(path):
        return _deepmd(path, method)
    reader = _reader(path)
    return _ase(path, method) if reader is None else reader(path)


def _is_hdf5(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _reader(path: Path) -> Callable[[Path], Output] | None:
    with opened(path) as file:
        head = file.read(20000).decode(errors="replace")
    if "<modeling>" in head:
        return read_vasprun
    if head.lstrip().startswith("vasp."):
        return read_outcar
    if "CP2K| version string" in head:
        return read_cp2k
    if "_gpaw: " in head and "Arch: " in head:
        return read_gpaw
    return None


def _ase(path: Path, method: str) -> Output:
    """Anything else that ASE reads: extended XYZ, databases, trajectories."""
    try:
        found = ase.io.read(path, index=":")
    except Exception as error:
        raise SettingsError(
            f"{path} could not be read ({type(error).__name__}: {error}). Known are vasprun.xml, OUTCAR, CP2K's "
            "output, GPAW's text, ASE databases and trajectories, extended XYZ, and folders of DeePMD systems."
        ) from error
    return Output(_unknown(method, path), tuple(_of_ase(frame, converged=None) for frame in found))


def _deepmd(path: Path, method: str) -> Output:
    found = import_deepmd(path) if path.is_dir() else import_deepmd_hdf5(path)
    readings = tuple(
        Reading(_stripped(frame), frame.info[ENERGY], frame.arrays[FORCES], frame.info.get(STRESS)) for frame in found
    )
    return Output(_unknown(method, path), readings)


def _unknown(method: str, path: Path) -> dict[str, Any]:
    """A method of which only its name is known; without one, no other file is taken for made by the same."""
    return {"program": "unknown", "method": method or f"of {path.name} {_content(path)}", "convergence": NOT_STATED}


def _content(path: Path) -> str:
    """Digest of a file, or of all files of a folder."""
    parts = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    digests = [files.file_digest(part) for part in parts]
    return (digests[0] if path.is_file() else hashlib.sha256("".join(digests).encode()).hexdigest())[:16]


def _of_ase(frame: Atoms, converged: bool | None) -> Reading:
    results = dict(frame.calc.results) if frame.calc is not None else {}
    energy = results.get("free_energy", results.get("energy", frame.info.get(ENERGY, frame.info.get("energy"))))
    forces = results.get("forces", frame.arrays.get(FORCES, frame.arrays.get("forces")))
    stress = results.get("stress", frame.info.get(STRESS))
    if stress is not None:
        stress = np.asarray(stress, dtype=float)
        if stress.size == 9:
            full = stress.reshape(3, 3)
            stress = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    lacking = [name for name, value in (("energy", energy), ("forces", forces)) if value is None]
    fault = f"missing: the frame has no {' and no '.join(lacking)}" if lacking else None
    return Reading(_stripped(frame), energy, forces, stress, converged, fault)


def _stripped(frame: Atoms) -> Atoms:
    bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    bare.info = {key: frame.info[key] for key in ("ions", "kind", "recipe", "seed", "parent") if key in frame.info}
    return bare


def _label(reading: Reading, method: Any, path: Path, index: int, ions: str, stated: bool) -> Label:
    frame = _frames.quantize(reading.atoms.copy())
    frame.info.setdefault("kind", "EQ")
    frame.info.setdefault("recipe", "imported")
    frame.info.setdefault("parent", f"{path.parent.name}/{path.name}" if path.parent.name else path.name)
    frame.info["source"] = f"{path}#{index}"
    if ions:
        frame.info.setdefault("ions", ions)
    common = {"frame": frame, "method": dict(method), "host": "imported"}
    if reading.fault is not None:
        return Label(**common, error=reading.fault)
    if reading.energy is None or reading.forces is None:
        return Label(**common, error="missing: the frame has no energy or no forces")
    if len(reading.atoms) > 1 and not np.any(reading.forces):
        return Label(**common, error="zero forces: every force is exactly zero, which no frame of a liquid has")
    if reading.converged is None and stated:
        return Label(**common, error="not stated: the output does not say whether this frame converged")
    label = Label(
        **common,
        energy=float(reading.energy),
        forces=np.array(reading.forces, dtype=float),
        stress=None if reading.stress is None else np.array(reading.stress, dtype=float),
        converged=reading.converged is not False,
    )
    return checked(label)


def _of_dataset(entry: Entry, path: Path, index: int) -> Label:
    """A label of a dataset as it is there; what was refused once is judged again by whoever reads it."""
    frame = entry.label.frame.copy()
    frame.info["source"] = f"{path}#{index}"
    return entry.label.of(frame)


def _without_repeats(labels: Iterable[Label]) -> Iterable[Label]:
    """The labels, a frame that was there before as a rejected one."""
    seen: dict[tuple[str, str], Label] = {}
    for label in labels:
        key = (label.frame_digest, label.method_digest)
        first = seen.get(key)
        if label.failed or first is None:
            if not label.failed:
                seen[key] = label
            yield label
            continue
        apart, of = abs(label.energy - first.energy), first.frame.info["source"]
        what = f"duplicate: the frame of {of}"
        if apart > SAME_ENERGY_EV:
            what = f"contradiction: the frame of {of} with an energy {apart:.4g} eV off, by another method of that name"
        yield replace(label, energy=None, forces=None, stress=None, converged=False, error=what)


def _require_one_method(methods: dict[str, Any]) -> None:
    first, *others = methods
    for other in others:
        if method_digest(methods[first]) == method_digest(methods[other]):
            continue
        if methods[first].get("convergence") == methods[other].get("convergence") == NOT_STATED:
            differ = ["method (give these files one name with --method if they were made alike)"]
        else:
            keys = sorted({*methods[first], *methods[other]})
            differ = [key for key in keys if methods[first].get(key) != methods[other].get(key)]
        raise SettingsError(
            f"{first} and {other} were not made by the same method; they differ in {', '.join(differ)}. Models cannot "
            "learn both: import them apart, or with --mixed-methods when you know that they agree."
        )

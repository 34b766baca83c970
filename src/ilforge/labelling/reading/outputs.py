"""Import labels from users' own calculations: VASP, CP2K, GPAW, ASE databases, extended XYZ, DeePMD.

All data are checked: every frame of an output becomes a label or a rejected label with a reason, missing values are
distinguished from zeros, and units are checked against physics if frames are consecutive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from ilforge import frames as _frames
from ilforge.errors import SettingsError
from ilforge.frames import CHARGE, MULTIPLICITY
from ilforge.labelling.atom_order import in_order
from ilforge.labelling.datasets.published import Entry, is_published, open_published
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import SAME_ENERGY_EV, Label, checked, method_digest
from ilforge.labelling.reading.foreign import NOT_STATED, Keys, is_hdf5, read_foreign, unnamed_method
from ilforge.labelling.reading.units_check import require_consistent_units
from ilforge.labelling.refusals import Refusal
from ilforge.labelling.storing.state import with_state
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.potentials.quantum.cp2k.output import NOT_PRINTED, read_cp2k
from ilforge.potentials.quantum.gpaw.output import read_gpaw
from ilforge.potentials.quantum.outputs import Output, Reading, named, opened
from ilforge.potentials.quantum.vasp.outcar import read_outcar
from ilforge.potentials.quantum.vasp.output import read_vasprun


@dataclass(frozen=True)
class Imported:
    """The contents of a set of files.

    Attributes
    ----------
    labels
        One label for every frame, in the order of the files; labels that cannot be used have the reason in ``error``.
    endings
        Fault at the end of a file, such as a truncated frame, by file.
    unstated
        Number of labels whose file does not state whether they converged.
    remarks
        Sentences on what was left out, changed, or could not be checked, by file.
    """

    labels: tuple[Label, ...]
    endings: dict[str, str] = field(default_factory=dict)
    unstated: int = 0
    remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)


def import_labels(
    paths: Sequence[Path],
    *,
    ions: str = "",
    method: str = "",
    one_method: bool = True,
    keys: Keys | None = None,
    charge: int | None = None,
    define: Mapping[str, IonSettings] | None = None,
    bond_factor: float | None = None,
) -> Imported:
    """Read every frame of some outputs as labels.

    Parameters
    ----------
    paths
        Files, or folders of VASP, of DeePMD or of a dataset (:mod:`~ilforge.labelling.datasets.published`).
        The format is recognised from the content.
    ions
        Ions of frames that do not name theirs, ``"2 PYR14, 2 BF4"``: atoms are put in this order by their bonds.
    method
        Name of the method, for files that do not contain it.
    one_method
        Refuse files that were made with different methods.
    keys
        Names and units of the labels in files that are not outputs of reference programs.
    charge
        Net charge of frames without periodicity that do not contain theirs, e.
    define
        The user's own ions, by name.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii; by default that of the gate.

    Raises
    ------
    SettingsError
        For a file of another format, units that contradict each other, or methods that differ.
    """
    stating = _Stating(ions, charge, define)
    read = []
    for path in map(Path, paths):
        if is_published(path):
            read.append(_dataset_file(path))
        else:
            read.append(_output_file(path, read_output(path, method, keys), stating, bond_factor))
    if one_method:
        _require_one_method({file.path: file.method for file in read})
    return Imported(
        tuple(_without_repeats(label for file in read for label in file.labels)),
        {file.path: file.ending for file in read if file.ending},
        sum(file.unstated for file in read),
        {file.path: file.remarks for file in read if file.remarks},
    )


@dataclass(frozen=True)
class _Stating:
    """Information from the user about all frames of a file."""

    ions: str
    charge: int | None
    define: Mapping[str, IonSettings] | None


@dataclass(frozen=True)
class _File:
    """What one file contains; see :class:`Imported`."""

    path: str
    labels: Sequence[Label]
    method: Mapping[str, Any]
    ending: str | None = None
    unstated: int = 0
    remarks: tuple[str, ...] = ()


def _dataset_file(path: Path) -> _File:
    dataset = open_published(path)
    labels = [_of_dataset(entry, path, index) for index, entry in enumerate(dataset.entries())]
    return _File(str(path), labels, dataset.method)


def _output_file(path: Path, output: Output, stating: _Stating, bond_factor: float | None) -> _File:
    says_convergence = output.method.get("convergence") != NOT_STATED
    output = in_order(output, stating.ions, stating.define, bond_factor)
    of_units = _unit_remarks(path, output, says_convergence)
    labels = [
        _label(reading, output.method, path, index, stating, says_convergence)
        for index, reading in enumerate(output.readings)
    ]
    unstated = 0 if says_convergence else sum(reading.fault is None for reading in output.readings)
    return _File(str(path), labels, output.method, output.ending, unstated, (*output.remarks, *of_units))


def judge_imported(
    found: Imported, topology_of: Callable[[Atoms], Topology | None], gate: GateSettings
) -> tuple[list[Atoms], list[Refusal]]:
    """Accepted frames with their labels, and the refusals of all others, in the order of the files.

    Parameters
    ----------
    topology_of
        Function that gives the molecules of which a frame must still consist, or None.
    """
    # a faulty frame in a file counts as a rejected label, not as a failed calculation
    labels = {str(i): label for i, label in enumerate(found.labels)}
    verdicts = judge_batch(labels, topology_of, gate)
    accepted, refusals = [], []
    for label, verdict in zip(found.labels, verdicts.values(), strict=True):
        reason = label.error or verdict
        if reason is None:
            accepted.append(label.on(label.frame))
        else:
            refusals.append(Refusal(label.frame, label.frame.info["source"], reason))
    return accepted, refusals


def read_output(path: Path, method: str = "", keys: Keys | None = None) -> Output:
    """Read one output of any supported format; ``method`` and ``keys`` are for files without this information.

    Raises
    ------
    SettingsError
        When the file does not exist, or its format is unknown.
    """
    path = Path(path)
    if path.is_dir():
        for name, read in (("vasprun.xml", read_vasprun), ("OUTCAR", read_outcar)):
            if (found := named(path, name)) is not None:
                return read(found)
        if any(path.rglob("type.raw")):
            return read_foreign(path, method, keys)
        raise SettingsError(f"{path} holds neither vasprun.xml nor OUTCAR nor a DeePMD system.")
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    if is_hdf5(path):
        return read_foreign(path, method, keys)
    reader = _reader(path)
    if reader is None:
        return read_foreign(path, method, keys)
    return _with_choices(reader(path), path, method, keys or Keys())


def _with_choices(output: Output, path: Path, method: str, keys: Keys) -> Output:
    """An output of CP2K with what its text does not contain: the method after PRINT_LEVEL LOW, the unit of forces."""
    if output.method.get("method") == NOT_PRINTED:
        name = method or unnamed_method(path)
        output = replace(output, method={**output.method, "method": name})
        if not method:
            said = (
                "the output does not name its functional and basis sets (PRINT_LEVEL LOW): name the method (--method)"
            )
            output = replace(output, remarks=(*output.remarks, said))
    if output.units_chosen and keys.units.forces is not None:
        factor = keys.units.forces / (Hartree / Bohr)
        readings = (
            reading if reading.forces is None else replace(reading, forces=factor * reading.forces)
            for reading in output.readings
        )
        output = replace(output, readings=tuple(readings))
    return output


def _unit_remarks(path: Path, output: Output, stated: bool) -> tuple[str, ...]:
    """What could not be checked about units; those of programs are known, unless their user can choose them (CP2K)."""
    if not stated:
        return require_consistent_units(path, output.readings)
    if output.units_chosen:
        try:
            require_consistent_units(path, [replace(reading, stress=None) for reading in output.readings])
        except SettingsError as error:
            raise SettingsError(
                f"{error} In a run of CP2K, forces have the unit of UNIT in MOTION/PRINT/FORCES, which no file "
                "contains. If it is not the default, give it: --units forces=ev/a."
            ) from error
    return ()


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


def _label(reading: Reading, method: Any, path: Path, index: int, stating: _Stating, says_convergence: bool) -> Label:
    frame = _frames.quantize(reading.atoms.copy())
    frame.info.setdefault("kind", "EQ")
    frame.info.setdefault("recipe", "imported")
    frame.info.setdefault("parent", f"{path.parent.name}/{path.name}" if path.parent.name else path.name)
    frame.info["source"] = f"{path}#{index}"
    if stating.ions:
        frame.info.setdefault("ions", stating.ions)
    common: dict[str, Any] = {"method": dict(method), "host": "imported"}
    if reading.fault is not None:
        frame.info.pop(CHARGE, None)  # the charge in the frame may be the fault
        return Label(frame, **common, error=reading.fault)
    try:
        frame = with_state(frame, _liquid(frame, stating), stating.charge)
    except SettingsError as error:
        frame.info = {key: value for key, value in frame.info.items() if key not in (CHARGE, MULTIPLICITY)}
        return Label(frame, **common, error=f"charge: {error}")
    common["frame"] = frame
    if reading.energy is None or reading.forces is None:
        return Label(**common, error="missing: the frame has no energy or no forces")
    if len(reading.atoms) > 1 and not np.any(reading.forces):
        return Label(**common, error="zero forces: every force is exactly zero, which no frame of a liquid has")
    if reading.converged is None and says_convergence:
        return Label(**common, error="not stated: the output does not say whether this frame converged")
    label = Label(
        **common,
        energy=float(reading.energy),
        forces=np.array(reading.forces, dtype=float),
        stress=None if reading.stress is None else np.array(reading.stress, dtype=float),
        converged=reading.converged is not False,
    )
    return checked(label)


def _liquid(frame: Atoms, stating: _Stating) -> Liquid | None:
    """The ions of a frame, which give its charge; None if they are not named or not known."""
    label = str(frame.info.get("ions", ""))
    if not label:
        return None
    try:
        return Liquid.from_label(label, stating.define, vacuum=True)
    except SettingsError:
        if label == stating.ions:
            raise
        return None


def _of_dataset(entry: Entry, path: Path, index: int) -> Label:
    """A label of a dataset; labels refused before are included, because the reader judges them again."""
    frame = entry.label.frame.copy()
    frame.info["source"] = f"{path}#{index}"
    return entry.label.of(frame)


def _without_repeats(labels: Iterable[Label]) -> Iterable[Label]:
    """The labels; a frame that occurs again becomes a rejected label."""
    seen: dict[tuple[str, str], Label] = {}
    for label in labels:
        key = (label.frame_digest, label.method_digest)
        first = seen.get(key)
        if label.failed or first is None:
            if not label.failed:
                seen[key] = label
            yield label
            continue
        apart, of = abs(label.result[0] - first.result[0]), first.frame.info["source"]
        what = f"duplicate: the same frame as {of}"
        if apart > SAME_ENERGY_EV:
            what = (
                f"contradiction: the same frame as {of}, but with an energy that differs by {apart:.4g} eV: it was "
                "made by another method with the same name"
            )
        yield replace(label, energy=None, forces=None, stress=None, converged=False, error=what)


def _require_one_method(methods: Mapping[str, Any]) -> None:
    first, *others = methods
    for other in others:
        if method_digest(methods[first]) == method_digest(methods[other]):
            continue
        if methods[first].get("convergence") == methods[other].get("convergence") == NOT_STATED:
            differ = ["method (if both files were made by the same method, give it a name with --method)"]
        else:
            keys = sorted({*methods[first], *methods[other]})
            differ = [key for key in keys if methods[first].get(key) != methods[other].get(key)]
        raise SettingsError(
            f"{first} and {other} were not made by the same method; they differ in {', '.join(differ)}. A model cannot "
            "learn both: import them separately, or use --mixed-methods if you know that they agree."
        )

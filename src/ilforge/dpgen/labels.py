"""Labels of DP-GEN: the ions of each system, and the same import and gate as those of ``ilforge import``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ilforge.errors import SettingsError
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import Label
from ilforge.labelling.reading.outputs import Imported, import_labels, judge_imported, read_output
from ilforge.labelling.refusals import Refusal
from ilforge.liquid.connectivity import bond_graph
from ilforge.liquid.ions import Ion, get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.recognition import BondGraph, known_ion, sum_formula
from ilforge.liquid.settings import IonSettings
from ilforge.units import AMU_PER_A3_IN_G_CM3

_TRIED = 20  # frames of a system in which ions are looked for; in some, bonds may be broken


@dataclass(frozen=True)
class MovedLabels:
    """The labels of a work directory, judged by the gate.

    Attributes
    ----------
    labels
        All labels, refused ones too: for the store.
    accepted
        Frames with their labels, in the order of their ions.
    refusals
        The others, with reasons.
    densities
        Median density of accepted frames in g/cm³ by composition, the most frequent composition first.
    remarks
        Sentences on what could not be read or checked.
    """

    labels: tuple[Label, ...] = ()
    accepted: tuple[Atoms, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    densities: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def move_labels(
    systems: Sequence[Path],
    workdir: Path,
    method: str,
    ions: str,
    define: Mapping[str, IonSettings],
    gate: GateSettings,
) -> MovedLabels:
    """Read and judge the labels of these systems.

    Parameters
    ----------
    workdir
        Folder of the iterations: frames of one system of one iteration have one parent.
    method
        Name of the method, which DeePMD's files do not contain.
    ions
        Ions of the frames, as the user named them; empty if they are to be found by their bonds.
    define
        The user's own ions, by name.

    Raises
    ------
    SettingsError
        When no system has frames with known ions, or units contradict each other.
    """
    remarks: list[str] = []
    by_ions, unknown = _by_ions(systems, ions, define, gate, remarks)
    if unknown and not by_ions:
        raise SettingsError(_not_recognised(unknown))
    for path, formulas in unknown.items():
        remarks.append(
            f"{path}: ilforge does not know the ions {formulas}, so the labels of this file are left out. Define the "
            "ions with --define."
        )
    groups = [
        import_labels(paths, ions=label, method=method, define=define, bond_factor=gate.bond_factor)
        for label, paths in by_ions.items()
    ]
    for label in (label for found in groups for label in found.labels):
        label.frame.info["parent"] = _parent(label.frame.info["source"], workdir)
    labels: list[Label] = []
    accepted: list[Atoms] = []
    refusals: list[Refusal] = []
    for found in groups:
        good, refused = judge_imported(found, lambda frame: Liquid.of_frame(frame, define).topology, gate)
        labels += found.labels
        accepted += good
        refusals += refused
        remarks += _said(found)
    return MovedLabels(tuple(labels), tuple(accepted), tuple(refusals), _densities(accepted, define), tuple(remarks))


def _parent(source: str, workdir: Path) -> str:
    """The system of a frame: ``iter.000001/data.000``; of initial data the path as it is given."""
    path = Path(source.rpartition("#")[0])
    inside = path.relative_to(workdir) if path.is_relative_to(workdir) else path
    return "/".join(part for part in inside.parts if part != "02.fp")


def _by_ions(
    systems: Sequence[Path],
    ions: str,
    define: Mapping[str, IonSettings],
    gate: GateSettings,
    remarks: list[str],
) -> tuple[dict[str, list[Path]], dict[Path, str]]:
    """Systems by the label of their ions, and the formulas of molecules in systems without known ions."""
    own = [get_ion(name, define) for name in define]
    asked = sorted(Liquid.from_label(ions, define).topology.symbols) if ions else None
    by_ions: dict[str, list[Path]] = {}
    unknown: dict[Path, str] = {}
    for system in systems:
        try:
            frames = [reading.atoms for reading in read_output(system).readings if reading.fault is None]
        except SettingsError as error:
            remarks.append(f"{error} Its labels are left out.")
            continue
        if asked is not None and frames and sorted(frames[0].get_chemical_symbols()) == asked:
            by_ions.setdefault(ions, []).append(system)
            continue
        label, formulas = _recognised(frames[:_TRIED], own, gate.bond_factor)
        if label:
            by_ions.setdefault(label, []).append(system)
        else:
            unknown[system] = formulas
    return by_ions, unknown


def _recognised(frames: Sequence[Atoms], own: Sequence[Ion], factor: float) -> tuple[str, str]:
    """Ions of the first frame in which every molecule is known; otherwise the formulas of unknown molecules."""
    formulas = "its molecules"
    for frame in frames:
        counts: Counter[Ion] = Counter()
        strange: Counter[str] = Counter()
        for graph in molecules(frame, factor):
            ion = known_ion(graph, own)
            if ion is None:
                strange[sum_formula(graph.symbols)] += 1
            else:
                counts[ion] += 1
        if not strange and sum(ion.charge * count for ion, count in counts.items()) == 0:
            ordered = sorted(counts, key=lambda ion: (-ion.charge, ion.name))
            return ", ".join(f"{counts[ion]} {ion.name}" for ion in ordered), ""
        if formulas == "its molecules":
            formulas = ", ".join(f"{count} {formula}" for formula, count in strange.items()) or "its charges"
    return "", formulas


def molecules(frame: Atoms, factor: float) -> Iterator[BondGraph]:
    """The molecules of a frame by the distances between its atoms.

    Parameters
    ----------
    factor
        Two atoms are bonded below this factor times the sum of their covalent radii.
    """
    bonds = bond_graph(frame, factor)
    bonds = bonds[bonds[:, 0] != bonds[:, 1]]
    pairs = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(len(frame), len(frame)))
    _, member = connected_components(pairs, directed=False)
    symbols = np.array(frame.get_chemical_symbols())
    for molecule in range(member.max() + 1):
        atoms = np.flatnonzero(member == molecule)
        own = bonds[member[bonds[:, 0]] == molecule]
        yield BondGraph.of(symbols[atoms].tolist(), np.searchsorted(atoms, own))


def _densities(accepted: Sequence[Atoms], define: Mapping[str, IonSettings]) -> dict[str, float]:
    """Median density of the frames of each composition, g/cm³."""
    volumes: dict[str, list[float]] = {}
    for frame in accepted:
        if frame.pbc.all():
            volumes.setdefault(frame.info["ions"], []).append(frame.get_volume())
    ordered = sorted(volumes, key=lambda label: -len(volumes[label]))
    masses = {label: Liquid.from_label(label, define).mass for label in ordered}
    return {
        label: round(masses[label] * AMU_PER_A3_IN_G_CM3 / float(np.median(volumes[label])), 4) for label in ordered
    }


def _said(found: Imported) -> list[str]:
    """Remarks of the import in sentences; the same remark on many files is one sentence."""
    members: dict[str, list[str]] = {}
    for path, ending in found.endings.items():
        members.setdefault(ending, []).append(path)
    for path, remarks in found.remarks.items():
        for remark in remarks:
            members.setdefault(remark.rstrip("."), []).append(path)
    return [f"{paths[0]}{_and_more(paths)}: {remark}." for remark, paths in members.items()]


def _and_more(paths: Sequence[str]) -> str:
    return "" if len(paths) == 1 else f" and {len(paths) - 1} more"


def _not_recognised(unknown: Mapping[Path, str]) -> str:
    path, formulas = next(iter(unknown.items()))
    return (
        f"{path}: ilforge does not know the ions {formulas}. Define each with --define NAME=SMILES or --define "
        "NAME=FILE.xyz:CHARGE (`ilforge ions` lists those that are known), or name the ions of all frames with --ions, "
        "such as --ions '2 PYR14, 2 BF4'."
    )

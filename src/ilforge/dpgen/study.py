"""The study file: every value with the key of DP-GEN that it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilforge.dpgen.book import Book, as_number
from ilforge.dpgen.exploring import Exploring, move_exploring
from ilforge.dpgen.reference import Reference
from ilforge.dpgen.toml import Table
from ilforge.dpgen.training import move_training
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.study.document import toml_key
from ilforge.study.first import clp_cutoffs, define_tables, has_clp

_PAIRS = 40  # ion pairs of MD boxes, for properties to publish
_MASS_MAP = 0.5  # amu; a larger difference from the standard mass is an isotope


@dataclass(frozen=True)
class Setting:
    """What the study file is made of, beside the settings of DP-GEN.

    Attributes
    ----------
    name
        Name of the study.
    out
        Folder of the study file.
    densities
        Density in g/cm³ by composition, such as ``"2 PYR14, 2 BF4"``.
    define
        The user's own ions.
    models
        Names and digests of copied models.
    finished
        Number of iterations that DP-GEN has finished.
    runs
        Number of explorations in its last iteration.
    labels
        Where the densities come from.
    dataset
        Name of the folder of labels on which the study trains; None if it makes its own.
    """

    name: str
    out: Path
    densities: Mapping[str, float]
    define: Mapping[str, IonSettings]
    models: Sequence[tuple[str, str]]
    finished: int
    runs: int | None
    labels: str
    dataset: str | None = None


def study_text(book: Book, reference: Reference, setting: Setting, notes: list[str]) -> str:
    """The study file.

    Parameters
    ----------
    notes
        List to which sentences for the user are appended.
    """
    exploring, learning, stop = move_exploring(book, setting.finished, setting.runs)
    notes += exploring.notes
    liquids = {label: Liquid.from_label(label, setting.define) for label in setting.densities}
    own_clp = has_clp({name for liquid in liquids.values() for name in liquid.counts}, setting.define)
    _masses(book, notes)
    deepmd = move_training(book, notes)
    tables = [
        *_liquid(book, setting, exploring, liquids),
        *(_clp(liquids, setting) if own_clp else []),
        reference.table,
        _reference(reference, book),
        *([] if setting.dataset else [_sampling(own_clp)]),
        deepmd,
        _mace(),
        learning,
        stop,
        _md(book, exploring, liquids),
        _analysis(),
    ]
    head = [
        f"# A study that goes on from DP-GEN. Behind each value is the key of {book.file} that it comes from.",
        "# What was not taken over is in from-dpgen.md, with the reasons. Units are in the names of keys.",
        f'name = "{setting.name}"',
        "seed = 1",
    ]
    if setting.dataset:
        head.append(f'dataset = "{setting.dataset}"     # the labels of DP-GEN; they replace [sampling] and labelling')
    lines = [*head, *(line for table in tables for line in table.text()), *_models(setting)]
    return "\n".join(lines) + "\n"


def study_name(workdir: Path) -> str:
    """A name for the study, from that of the work directory."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", workdir.resolve().name).strip("-.")[:60] or "from-dpgen"


def _masses(book: Book, notes: list[str]) -> None:
    """``type_map`` and ``mass_map``: elements follow from the ions, and masses from the elements."""
    from ase.data import atomic_masses, atomic_numbers

    book.take(("type_map",), "study.toml: liquid.ions, whose atoms have these elements")
    if not isinstance(book.get("mass_map"), list):
        book.leave(("mass_map",), "masses are those of the elements")
        return
    masses = [as_number(mass) for mass in book.get("mass_map")]
    heavy = [
        f"{element} {mass:g}"
        for element, mass in zip(book.texts("type_map"), masses, strict=False)
        if mass is not None
        and element in atomic_numbers
        and abs(mass - atomic_masses[atomic_numbers[element]]) > _MASS_MAP
    ]
    book.leave(("mass_map",), "masses are those of the elements")
    if heavy:
        notes.append(f"{book.file}: mass_map has {', '.join(heavy)} amu: ilforge computes with natural isotopes.")


def _liquid(
    book: Book, setting: Setting, exploring: Exploring, liquids: Mapping[str, Liquid]
) -> list[Table]:  # fmt: skip
    table = Table("liquid")
    several = len(liquids) > 1
    if not several:
        label, liquid = next(iter(liquids.items()))
        table.add("ions", liquid.counts, setting.labels)
        table.add("density_g_cm3", setting.densities[label], f"{setting.labels}: their median")
    table.add("temperature_K", exploring.temperatures_K[0], f"{book.file}: the lowest of temps of the next jobs")
    table.add("pressure_bar", exploring.pressure_bar, exploring.pressure_source)
    tables = [table]
    for name, ion in define_tables(setting.define, setting.out).items():
        own = Table(f"liquid.define.{toml_key(name)}")
        for key, value in ion.items():
            own.add(key, value, "")
        tables.append(own)
    if several:
        for name, (label, liquid) in zip(composition_names(liquids), liquids.items(), strict=True):
            part = Table("liquid.compositions", several=True)
            part.add("name", name, "")
            part.add("ions", liquid.counts, setting.labels)
            part.add("density_g_cm3", setting.densities[label], f"{setting.labels}: their median")
            tables.append(part)
    return tables


def composition_names(liquids: Mapping[str, Liquid]) -> list[str]:
    """A name for each composition, such as ``2PYR14-2BF4``."""
    return [re.sub(r"[^A-Za-z0-9_.-]+", "", label.replace(", ", "-").replace(" ", "")) for label in liquids]


def _clp(liquids: Mapping[str, Liquid], setting: Setting) -> list[Table]:
    """CL&P with a cutoff that fits the smallest boxes."""
    cutoffs = [clp_cutoffs(liquid, setting.densities[label], _multiple(liquid)) for label, liquid in liquids.items()]
    table = Table("potentials.clp")
    table.add("cutoff_A", min(small for small, _ in cutoffs), "fits the boxes that are labelled")
    table.add("ewald_tolerance", 1e-4, "")
    return [table]


def _multiple(liquid: Liquid) -> int:
    return max(1, math.ceil(2 * _PAIRS / sum(liquid.counts.values())))


def _reference(reference: Reference, book: Book) -> Table:
    table = Table("reference")
    table.add("potential", reference.name, f"{book.file}: fp_style")
    return table


def _sampling(own_clp: bool) -> Table:
    table = Table("sampling")
    table.add("potential", "clp" if own_clp else "gfn1", "not from DP-GEN: makes the first frames to train on")
    return table


def _mace() -> Table:
    table = Table("models.mace")
    table.add("preset", "liquid", "not from DP-GEN: a second kind of model on the same labels; delete it if unwanted")
    return table


def _md(book: Book, exploring: Exploring, liquids: Mapping[str, Liquid]) -> Table:
    table = Table("md", several=True)
    table.note("not in DP-GEN: MD with the models, from which the properties are measured")
    table.add("name", exploring.ensemble.lower(), "")
    table.add("ensemble", exploring.ensemble, f"{book.file}: ensemble")
    table.add("potentials", ["deepmd", "mace"], "")
    if len(liquids) > 1:
        table.add("compositions", composition_names(liquids), "")
    table.add("temperatures_K", exploring.temperatures_K, f"{book.file}: temps")
    multiple = max(_multiple(liquid) for liquid in liquids.values())
    table.add("box_multiple", multiple, f"times the ions of the liquid: {_PAIRS} pairs or more")
    table.add("timestep_fs", min(exploring.timestep_fs, 8.0), f"{book.file}: model_devi_dt")
    table.add("equilibration_ps", 5.0, "")
    table.add("length_ps", 50.0, "")
    step_ps = exploring.timestep_fs / 1000
    table.add("interval_ps", round(max(1, round(0.05 / step_ps)) * step_ps, 9), "")
    return table


def _analysis() -> Table:
    table = Table("analysis")
    table.add("properties", ["density", "diffusion", "rdf", "health"], "")
    return table


def _models(setting: Setting) -> list[str]:
    """The models of DP-GEN as comments: only the user can say that they may be loaded."""
    if not setting.models:
        return []
    lines = [
        "",
        "# Models of DP-GEN. A model file can run code when it is loaded, so ilforge loads none of them until you",
        "# say so: if you made them, remove the # below, and name them in the potentials of [[md]].",
    ]
    for number, (file, digest) in enumerate(setting.models):
        suffix = Path(file).suffix
        lines += [f"# [potentials.dpgen-{number}]", '# kind = "deepmd"', f'# path = "{file}"', f'# sha256 = "{digest}"']
        if suffix != ".pb":
            lines.append(f"# ilforge runs DeePMD with TensorFlow (.pb): a {suffix} file has to be converted first")
    return lines


def smallest_side_A(cells: Sequence[np.ndarray]) -> float | None:
    """Shortest edge of all boxes, Å; None without boxes."""
    sides = [float(np.linalg.norm(cell, axis=1).min()) for cell in cells]
    return min(sides) if sides else None

"""From a work directory of DP-GEN to a folder with a study, a machine file, labels and models."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ilforge import files, frames, trust
from ilforge.dpgen.book import Book
from ilforge.dpgen.labels import MovedLabels, move_labels
from ilforge.dpgen.lists import lists_text
from ilforge.dpgen.machine import leave_top, move_machine
from ilforge.dpgen.reading import MACHINE_NAMES, PARAM_NAMES, find_file, read_settings, require_param
from ilforge.dpgen.reference import Reference, move_reference, style_of
from ilforge.dpgen.study import Setting, smallest_side_A, study_name, study_text
from ilforge.dpgen.workdir import Found, look
from ilforge.errors import SettingsError
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.refusals import write_refusals
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.settings_file import check_settings, read_toml
from ilforge.study.load import load_study
from ilforge.study.machine import Machine

STUDY, MACHINE, LISTS, LABELS, STORE, MODELS, DATASET = (
    "study.toml", "machine.toml", "from-dpgen.md", "labels.xyz", "ilforge-store", "models", "dataset",
)  # fmt: skip


@dataclass(frozen=True)
class Wishes:
    """What the user said beside the work directory.

    Attributes
    ----------
    param, machine
        Files of settings with other names; None for the usual ones.
    ions
        Ions of the labelled frames; empty if they are found by their bonds.
    density_g_cm3
        Density of the liquid; None for that of the labels.
    define
        The user's own ions.
    gate
        Limits of the labels.
    same_method
        Whether the labels are by the method of ``[reference]``, so that the study may train on them.
    """

    param: Path | None = None
    machine: Path | None = None
    ions: str = ""
    density_g_cm3: float | None = None
    define: Mapping[str, IonSettings] = field(default_factory=dict)
    gate: GateSettings = GateSettings()
    same_method: bool = False


@dataclass(frozen=True)
class Moved:
    """What was written.

    Attributes
    ----------
    out
        The new folder.
    found
        What the work directory holds.
    labels
        Its labels, judged.
    models
        Copied models.
    taken, left
        Numbers of keys that were taken over, and that were not.
    notes
        What the user must look at.
    """

    out: Path
    found: Found
    labels: MovedLabels
    models: Sequence[Path]
    taken: int
    left: int
    notes: Sequence[str]


def import_dpgen(workdir: Path, out: Path, wishes: Wishes | None = None) -> Moved:
    """Read a work directory of DP-GEN and write a study that goes on from it; nothing else is written or changed.

    Parameters
    ----------
    workdir
        Folder in which ``dpgen run`` was started.
    out
        New or empty folder to write.

    Raises
    ------
    SettingsError
        When a file is missing or broken, a value is none that DP-GEN takes, or ``out`` holds files.
    """
    workdir, out, wishes = Path(workdir), Path(out).absolute(), wishes or Wishes()
    _refuse_filled(workdir, out)
    param, machine = _settings(workdir, wishes)
    style, found = style_of(param), look(workdir, param)
    notes = list(found.remarks)
    machine_text = _machine_text(machine, style, out, workdir, notes)
    method = f"{style} by DP-GEN in {workdir.resolve().name}"
    systems = [*found.initial, *found.systems]
    moved = move_labels(systems, workdir, method, wishes.ions, wishes.define, wishes.gate)
    notes += moved.remarks
    for key in ("init_data_prefix", "init_data_sys"):
        param.take((key,), f"{LABELS} and {STORE}")
    densities = _densities(moved, wishes)
    reference = _reference(param, workdir, densities, moved, wishes)
    notes += reference.notes
    text = study_text(param, reference, _setting(workdir, out, densities, moved, found, wishes), notes)
    books = [param, *reference.books, *([machine] if machine else [])]
    texts = {STUDY: text, LISTS: lists_text(workdir, books, notes), **({MACHINE: machine_text} if machine_text else {})}
    _write(out, texts, moved, found, reference, wishes)
    taken, left = sum(len(book.taken()) for book in books), sum(len(book.left()) for book in books)
    return Moved(out, found, moved, found.models, taken, left, notes)


def _settings(workdir: Path, wishes: Wishes) -> tuple[Book, Book | None]:
    """DP-GEN's two files; the second may be missing."""
    param = read_settings(require_param(workdir, find_file(workdir, wishes.param, PARAM_NAMES, "--param")))
    machine = find_file(workdir, wishes.machine, MACHINE_NAMES, "--machine-json")
    return param, None if machine is None else read_settings(machine)


def _reference(
    param: Book, workdir: Path, densities: Mapping[str, float], moved: MovedLabels, wishes: Wishes
) -> Reference:
    liquids = [Liquid.from_label(label, wishes.define) for label in densities]
    elements = sorted({symbol for liquid in liquids for symbol in liquid.topology.symbols})
    cells = [frame.cell.array for frame in moved.accepted if frame.pbc.all()]
    return move_reference(param, workdir, elements, smallest_side_A(cells))


def _setting(
    workdir: Path, out: Path, densities: Mapping[str, float], moved: MovedLabels, found: Found, wishes: Wishes
) -> Setting:
    return Setting(
        name=study_name(workdir),
        out=out,
        densities=densities,
        define=wishes.define,
        models=[(f"{MODELS}/{path.name}", files.file_digest(path)) for path in found.models],
        finished=found.progress.finished if found.progress else found.iterations,
        runs=found.runs,
        labels=f"the {len(moved.accepted)} accepted labels" if moved.accepted else "--ions and --density",
        dataset=DATASET if wishes.same_method else None,
    )


def _refuse_filled(workdir: Path, out: Path) -> None:
    if not workdir.is_dir():
        raise SettingsError(f"WORKDIR {workdir} is not a folder.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingsError(f"--out {out} exists and is not empty: name a new folder. Nothing is overwritten.")


def _machine_text(machine: Book | None, style: str, out: Path, workdir: Path, notes: list[str]) -> str:
    """``machine.toml``, checked; empty without a ``machine.json``."""
    if machine is None:
        notes.append(
            f"{workdir} holds no {MACHINE_NAMES[0]}: there is no {MACHINE}, and the study runs on this machine. Give "
            "the file with --machine-json if it has another name."
        )
        return ""
    moved = move_machine(machine, style, str(out / STORE))
    leave_top(machine)
    notes += moved.remarks
    head = [f"# Where the study runs. Behind each value is the key of {machine.file} that it comes from."]
    return "\n".join([*head, *moved.lines]) + "\n"


def _densities(moved: MovedLabels, wishes: Wishes) -> dict[str, float]:
    """Density of each composition, from the labels or from the user."""
    if wishes.ions and wishes.density_g_cm3 is not None:
        others = {label: density for label, density in moved.densities.items() if label != wishes.ions}
        return {wishes.ions: wishes.density_g_cm3, **others}
    if not moved.densities:
        why = moved.refusals[0].reason if moved.refusals else ""
        refused = f" All {len(moved.refusals)} labels were refused: {why}." if why else ""
        raise SettingsError(
            f"No label of DP-GEN shows which ions the liquid has.{refused} Name its ions and its density with --ions "
            "'2 PYR14, 2 BF4' --density 1.04."
        )
    if wishes.density_g_cm3 is not None and len(moved.densities) == 1:
        return dict.fromkeys(moved.densities, wishes.density_g_cm3)
    return dict(moved.densities)


def _write(
    out: Path, texts: Mapping[str, str], moved: MovedLabels, found: Found, reference: Reference, wishes: Wishes
) -> None:
    """Fill the folder; the study is checked by loading it, and everything is removed if that fails."""
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        for name, text in texts.items():
            files.write_text(out / name, text)
        reference.copy_into(out)
        for path in found.models:
            (out / MODELS).mkdir(exist_ok=True)
            shutil.copyfile(path, out / MODELS / path.name)
        if moved.labels:
            frames.write(out / LABELS, moved.accepted)
            write_refusals(out / LABELS, moved.refusals)
            with LabelStore(out / STORE / "labels") as store:
                store.add_many(moved.labels)
                store.backup()
        with trust.looking():
            study = load_study(out / STUDY)
        if MACHINE in texts:
            _check_machine(out / MACHINE)
        if wishes.same_method:
            from ilforge.dpgen.dataset import write_dataset

            write_dataset(out / DATASET, study, moved, wishes.gate)
    except BaseException:
        for path in out.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if new:
            out.rmdir()
        raise


def _check_machine(path: Path) -> None:
    """Refuse a machine file that ``ilforge run`` would refuse."""
    from ilforge.workflow.executors.parsl.settings import ParslSettings

    data = read_toml(path)[1]
    check_settings(Machine, data, path.name)
    for name, table in data.get("executors", {}).items():
        check_settings(ParslSettings, table, f"{path.name}, executors.{name}")

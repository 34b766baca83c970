"""Models side by side: as they are, fine-tuned and from scratch; and students beside their teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ilforge.report.blocks import Cell, Table
from ilforge.report.palette import Palette
from ilforge.report.wording import shown_unit, with_error
from ilforge.results import TO_TEACHER, Record

_ENERGY = "energy_rmse_per_atom_offset_removed"
_PLAIN = ("from scratch", "as it is")


def origin_of(records: Sequence[Record], potential: str) -> str:
    """Where a model comes from, as its validation says; empty in studies without fine-tuning and teachers."""
    told = {r.potential: str(r.provenance.get("origin", "")) for r in records if "origin" in r.provenance}
    if all(origin in _PLAIN for origin in told.values()):
        return ""
    return told.get(potential, "")


def origins_table(records: Sequence[Record], palette: Palette) -> Table | None:
    """Errors of every model against the labels of the reference on the same frames; None where all are from scratch."""
    chosen = [r for r in records if r.species is None and r.quantity in ("force_rmse", _ENERGY)]
    names = [name for name in palette if any(r.potential == name for r in chosen)]
    if not any(origin_of(records, name) for name in names):
        return None
    liquids = list(dict.fromkeys(r.liquid for r in chosen))
    columns = [("force_rmse", "EQ"), ("force_rmse", "nEQ"), (_ENERGY, "EQ"), (_ENERGY, "nEQ")]
    head = [Cell("Model"), Cell("Made"), *([Cell("Liquid")] if len(liquids) > 1 else [])]
    head += [
        Cell(f"{'Force' if quantity == 'force_rmse' else 'Energy'} RMSE, {kind}", unit=_unit(quantity))
        for quantity, kind in columns
    ]
    rows = []
    for name in names:
        for liquid in liquids:
            mine = [r for r in chosen if (r.potential, r.liquid) == (name, liquid)]
            cells = [_number(_last(mine, quantity, kind)) for quantity, kind in columns]
            between = [Cell(liquid)] if len(liquids) > 1 else []
            label = Cell(palette.label(name), swatch=palette.colour(name))
            rows.append((label, Cell(origin_of(records, name)), *between, *cells))
    caption = "Errors of all models on the same validation frames; the mean error of energies is subtracted"
    return Table(caption, tuple(head), tuple(rows), frozenset(range(len(head) - 4, len(head))))


def teacher_table(records: Sequence[Record], palette: Palette) -> Table | None:
    """How far students are from their teachers, and both from the reference; None where nobody teaches."""
    chosen = [r for r in records if r.quantity == f"force_rmse{TO_TEACHER}" and r.species is None]
    if not chosen:
        return None
    head = ("Student", "Teacher", "Frames", "student to teacher", "teacher to reference", "student to reference")
    cells = [Cell(word) for word in head[:3]] + [Cell(word, unit=_unit("force_rmse")) for word in head[3:]]
    cells += [Cell("of the teacher's error"), Cell("energies, student to teacher", unit=_unit(_ENERGY))]
    rows = [_row(record, records, palette) for record in chosen]
    caption = "Force errors of students against their teachers, and of both against the reference"
    return Table(caption, tuple(cells), tuple(rows), frozenset(range(3, 8)))


def _row(record: Record, records: Sequence[Record], palette: Palette) -> tuple[Cell, ...]:
    teacher = str(record.provenance["teacher"])
    of_reference = [r for r in records if (r.quantity, r.species, r.liquid) == ("force_rmse", None, record.liquid)]
    theirs, mine = (
        _last([r for r in of_reference if r.potential == name], "force_rmse", record.dataset)
        for name in (teacher, record.potential)
    )
    energy = next(
        (r for r in records
         if (r.quantity, r.potential, r.dataset, r.liquid, r.species)
         == (f"{_ENERGY}{TO_TEACHER}", record.potential, record.dataset, record.liquid, None)),
        None,
    )  # fmt: skip
    ratio = Cell("–", "muted")
    if theirs is not None and theirs.value > 0 and math.isfinite(record.value):
        ratio = Cell(f"{100 * record.value / theirs.value:.0f} %")
    return (
        Cell(palette.label(record.potential), swatch=palette.colour(record.potential)),
        Cell(palette.label(teacher), swatch=palette.colour(teacher)),
        Cell(record.dataset or "all"),
        _number(record),
        _number(theirs),
        _number(mine),
        ratio,
        _number(energy),
    )


def _last(records: Sequence[Record], quantity: str, dataset: str | None) -> Record | None:
    """Of the last iteration."""
    found = [r for r in records if (r.quantity, r.dataset) == (quantity, dataset)]
    return max(found, key=lambda r: -1 if r.iteration is None else r.iteration, default=None)


def _unit(quantity: str) -> str:
    return shown_unit("eV/Å" if quantity == "force_rmse" else "eV/atom")[0]


def _number(record: Record | None) -> Cell:
    if record is None:
        return Cell("–", "muted")
    if not math.isfinite(record.value):
        return Cell("not available", "refused", record.note)
    _, factor = shown_unit(record.unit)
    return Cell(with_error(record.value * factor, record.error * factor), note=record.note)

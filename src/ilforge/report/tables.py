"""Tables of results. A number that has not converged is never printed, only the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ilforge.properties.shared.holding import KEPT
from ilforge.report.blocks import Cell, Table
from ilforge.report.content import ReportContent
from ilforge.report.lineage import origin_of
from ilforge.report.palette import Palette
from ilforge.report.parity import force_residuals
from ilforge.report.wording import number, quantity_name, sentence, shown_unit, with_error
from ilforge.results import HOLDS_LIQUID, Holding, Record

KEY_QUANTITIES = (
    ("density", None),
    ("self_diffusion", None),
    ("rdf_first_peak", None),
    ("force_rmse", "EQ"),
    ("force_rmse", "nEQ"),
    ("pressure_error", "all"),
    ("energy_rmse_per_atom_offset_removed", "EQ"),
    ("energy_rmse_per_atom_offset_removed", "nEQ"),
)
"""Key quantities of a study, most important first."""

COHESION_QUANTITIES = (
    "ion_force_rmse",
    "ion_force_rmse_ratio",
    "ion_torque_rmse",
    "internal_force_rmse",
    "pressure_error",
)
ERROR_QUANTITIES = (
    "force_rmse",
    "force_mae",
    "energy_rmse_per_atom",
    "energy_rmse_per_atom_offset_removed",
    "energy_mae_per_atom",
    "energy_mae_per_atom_offset_removed",
    *COHESION_QUANTITIES,
)
HEALTH_QUANTITIES = ("largest_cavity_radius",)

_HOLDING = {
    Holding.DOES_NOT_HOLD: ("■ Does not hold", "fault"),
    Holding.HOLDS: ("● Holds", "good"),
    Holding.NOT_JUDGED: ("▲ Not judged", "doubt"),
}
"""Verdicts in words. For several runs of a potential, the first verdict in this list that occurs is used."""

_ENERGIES = ("energy_rmse_per_atom", "energy_rmse_per_atom_offset_removed", "energy_mae_per_atom_offset_removed")


def key_numbers(records: Sequence[Record]) -> list[Record]:
    """The most important records, most important first; of models trained repeatedly, only the last iteration."""
    chosen = []
    latest = last_iteration(records)
    for quantity, dataset in KEY_QUANTITIES:
        found = [r for r in latest if (r.quantity, r.dataset) == (quantity, dataset)]
        if quantity == "rdf_first_peak":
            found = [r for r in found if _of_unlike_ions(r)]
        elif quantity != "self_diffusion":  # diffusion is listed for each ion; errors only over all elements
            found = [r for r in found if r.species is None]
        chosen += found
    return chosen


def _of_unlike_ions(record: Record) -> bool:
    """Whether a pair such as ``PYR14-BF4`` consists of two kinds of ion."""
    one, _, other = (record.species or "").partition("-")
    return one != other


def last_iteration(records: Iterable[Record]) -> list[Record]:
    """Records without a later iteration of the same potential and quantity."""
    records = list(records)
    last: dict[tuple[str, str, str], int] = {}
    for record in records:
        key = (record.potential, record.quantity, record.liquid)
        last[key] = max(last.get(key, -1), -1 if record.iteration is None else record.iteration)
    return [r for r in records if r.iteration is None or r.iteration == last[(r.potential, r.quantity, r.liquid)]]


def cell(record: Record) -> Cell:
    """A record as a cell: value and error, or the reason why it cannot be quoted."""
    if record.verdict is Holding.DOES_NOT_HOLD and record.quantity not in KEPT:
        return Cell(str(record.verdict), "refused", record.note)
    if not record.converged:
        return Cell("not converged", "refused", record.note or "no reason was recorded")
    if not math.isfinite(record.value):
        return Cell("not available", "refused", record.note or "no reason was recorded")
    _, factor = shown_unit(record.unit)
    return Cell(with_error(record.value * factor, record.error * factor), note=record.note)


def summary(records: Sequence[Record], palette: Palette) -> Table:
    """Key numbers, one column for each potential."""
    return comparison("Key numbers, with standard errors", key_numbers(records), records, palette)


def verdicts(records: Sequence[Record], palette: Palette) -> Table | None:
    """Which potential holds the liquid, for each run; None if no run was judged."""
    rows = [
        (
            _potential(record.potential, palette),
            Cell(*_HOLDING[record.verdict or Holding.NOT_JUDGED]),
            Cell(_protocol(record)),
            Cell(sentence(record.note.partition(": ")[2])),
        )
        for record in _judged(records, palette)
    ]
    head = tuple(map(Cell, ("Potential", "The liquid", "Run", "Why")))
    return Table("Which potential holds the liquid", head, tuple(rows)) if rows else None


def verdict_lines(records: Sequence[Record], palette: Palette) -> list[str]:
    """The same in plain text, one line for each run."""
    return [f"{palette.label(r.potential)} ({_protocol(r)}): {r.note}" for r in _judged(records, palette)]


def _judged(records: Sequence[Record], palette: Palette) -> list[Record]:
    """Verdicts grouped by potential; runs that cannot be judged are listed only if no run of the potential was."""
    order = list(palette)
    found = [r for r in records if r.quantity == HOLDS_LIQUID and r.verdict is not None]
    known = {r.potential for r in found if r.verdict is not Holding.NOT_JUDGED}
    chosen = [r for r in found if r.verdict is not Holding.NOT_JUDGED or r.potential not in known]
    return sorted(chosen, key=lambda r: order.index(r.potential))


def holding(records: Sequence[Record], potential: str) -> str:
    """The verdict on a potential from all its runs, in two or three words; empty if none was judged."""
    found = [r.verdict for r in records if (r.quantity, r.potential) == (HOLDS_LIQUID, potential)]
    return next((str(verdict) for verdict in _HOLDING if verdict in found), "")


def comparison(caption: str, chosen: Sequence[Record], records: Sequence[Record], palette: Palette) -> Table:
    """Chosen records side by side: one row for each quantity, one column for each potential with its verdict."""
    name = _row_namer(chosen)
    rows: dict[tuple[str, str], dict[str, list[Record]]] = {}
    for record in chosen:
        key = (name(record), shown_unit(record.unit)[0])
        rows.setdefault(key, {}).setdefault(record.potential, []).append(record)
    potentials = [p for p in palette if any(p in columns for columns in rows.values())]
    head = (Cell("Quantity"), *(_potential(p, palette, holding(records, p)) for p in potentials))
    body = tuple(
        (Cell(label, unit=unit), *(_cells(columns.get(p, [])) for p in potentials))
        for (label, unit), columns in rows.items()
    )
    return Table(caption, head, body, frozenset(range(1, len(head))))


def error_table(content: ReportContent, palette: Palette, records: Sequence[Record]) -> Table:
    """Errors against the reference, by model and dataset, and the force error relative to the forces."""
    chosen = [r for r in records if r.quantity in ("force_rmse", "force_mae", *_ENERGIES) and r.species is None]
    quantities = [q for q in ("force_rmse", "force_mae", *_ENERGIES) if any(r.quantity == q for r in chosen)]
    units = {r.quantity: shown_unit(r.unit)[0] for r in chosen}
    head = [Cell("Model"), Cell("Frames"), *(Cell(quantity_name(q), unit=units[q]) for q in quantities)]
    head.insert(3, Cell("of RMS force", note="Force RMSE over the root mean square of the reference forces."))
    rows = []
    for model in _models(chosen):
        of_row = {r.quantity: r for r in chosen if _model(r) == model}
        cells = [cell(of_row[q]) if q in of_row else Cell("–", "muted") for q in quantities]
        relative = _relative_force_error(content, of_row.get("force_rmse"))
        head_cells = _model_cells(model, chosen, content, palette)
        rows.append((*head_cells, cells[0], relative, *cells[1:]))
    return Table("Errors against the reference", tuple(head), tuple(rows), frozenset(range(2, len(head))))


def cohesion_table(content: ReportContent, palette: Palette, records: Sequence[Record]) -> Table | None:
    """Forces between ions: errors of forces and torques on whole ions, and of the pressure."""
    chosen = [r for r in records if r.quantity in COHESION_QUANTITIES]
    if not chosen:
        return None
    units = {r.quantity: shown_unit(r.unit)[0] for r in chosen}
    head = (
        Cell("Model"),
        Cell("Frames"),
        *(Cell(quantity_name(q), unit=units.get(q, "")) for q in COHESION_QUANTITIES if q in units),
    )
    rows = []
    for model in _models(chosen):
        of_row = {r.quantity: r for r in chosen if _model(r) == model}
        cells = [cell(of_row[q]) if q in of_row else Cell("–", "muted") for q in COHESION_QUANTITIES if q in units]
        rows.append((*_model_cells(model, chosen, content, palette), *cells))
    return Table("Forces between ions", head, tuple(rows), frozenset(range(2, len(head))))


def element_table(content: ReportContent, palette: Palette, records: Sequence[Record]) -> Table | None:
    """Force RMSE by element; None if it was not measured."""
    chosen = [r for r in records if r.quantity == "force_rmse" and r.species is not None]
    if not chosen:
        return None
    elements = list(dict.fromkeys(r.species for r in chosen))
    head = (Cell("Model"), Cell("Frames"), *(Cell(str(element)) for element in elements))
    rows = []
    for model in _models(chosen):
        of_row = {r.species: r for r in chosen if _model(r) == model}
        cells = [cell(of_row[e]) if e in of_row else Cell("–", "muted") for e in elements]
        rows.append((*_model_cells(model, chosen, content, palette), *cells))
    unit = shown_unit(chosen[0].unit)[0]
    return Table(f"Force RMSE by element ({unit})", head, tuple(rows), frozenset(range(2, len(head))))


def all_records(content: ReportContent, palette: Palette) -> Table:
    """Every number of the study."""
    names = ("Quantity", "Potential", "Of", "Frames", "Iteration", "T (K)", "Value", "Unit", "Samples")
    rows = [
        (
            Cell(quantity_name(r.quantity)),
            _potential(r.potential, palette),
            Cell(r.species or ""),
            Cell(r.dataset or _protocol(r)),
            Cell("" if r.iteration is None else str(r.iteration)),
            Cell("" if r.temperature_K is None else f"{r.temperature_K:g}"),
            cell(r),
            Cell(shown_unit(r.unit)[0], "muted"),
            Cell(number(r.n_eff), "muted"),
        )
        for r in content.records
        if r.quantity != HOLDS_LIQUID
    ]
    return Table("Every number, with standard errors", tuple(map(Cell, names)), tuple(rows), frozenset({6, 8}))


def _cells(records: Sequence[Record]) -> Cell:
    """The cell of one potential in one row."""
    if not records:
        return Cell("–", "muted")
    cells = [cell(record) for record in records]
    if len(cells) == 1:
        return cells[0]
    notes = " ".join(dict.fromkeys(c.note for c in cells if c.note))
    tone = "refused" if all(c.tone == "refused" for c in cells) else ""
    return Cell("; ".join(c.text for c in cells), tone, notes)


def _row_namer(records: Sequence[Record]) -> Callable[[Record], str]:
    """Function that names rows by what distinguishes them: liquid and temperature only if there are several.

    The protocol is named only if one potential ran several protocols.
    """
    several = {
        "liquid": len({r.liquid for r in records}) > 1,
        "temperature": len({r.temperature_K for r in records if r.temperature_K is not None}) > 1,
    }
    runs: dict[tuple[str, str, str, float | None], set[str]] = {}
    for r in records:
        runs.setdefault((r.quantity, r.potential, r.liquid, r.temperature_K), set()).add(_protocol(r))
    repeated = {quantity for (quantity, *_), protocols in runs.items() if len(protocols) > 1}

    def name(record: Record) -> str:
        parts = [quantity_name(record.quantity), record.species, record.dataset and f"{record.dataset} frames"]
        parts.append(_protocol(record) if record.quantity in repeated else "")
        parts.append(record.liquid if several["liquid"] else "")
        if several["temperature"] and record.temperature_K is not None:
            parts.append(f"{record.temperature_K:g} K")
        return ", ".join(part for part in parts if part)

    return name


def _protocol(record: Record) -> str:
    return str(record.provenance.get("protocol") or "")


def _potential(potential: str, palette: Palette, verdict: str = "") -> Cell:
    return Cell(palette.label(potential), swatch=palette.colour(potential), unit=verdict)


_Model = tuple[str, int | None, str | None, str]
"""A potential, its iteration, and the dataset and liquid on which it is validated."""


def _model(record: Record) -> _Model:
    return record.potential, record.iteration, record.dataset, record.liquid


def _models(records: Sequence[Record]) -> list[_Model]:
    """Models and datasets in the order in which they appear."""
    return list(dict.fromkeys(_model(r) for r in records))


def _model_cells(
    model: _Model, records: Sequence[Record], content: ReportContent, palette: Palette
) -> tuple[Cell, Cell]:
    """Cells of a model (with the verdict on its MD by the last iteration) and of its frames (with the liquid)."""
    potential, iteration, dataset, liquid = model
    last = max((r.iteration or 0 for r in content.records if r.potential == potential), default=0)
    said = "" if iteration is None else f"iteration {iteration}"
    verdict = holding(content.records, potential) if iteration in (None, last) else ""
    several = len({record.liquid for record in records}) > 1
    frames = f"{dataset or 'all'}, {liquid}" if several else dataset or "all"
    of_model = ", ".join(words for words in (origin_of(content.records, potential), said, verdict) if words)
    return Cell(palette.label(potential), swatch=palette.colour(potential), unit=of_model), Cell(frames)


def _relative_force_error(content: ReportContent, record: Record | None) -> Cell:
    """Force RMSE as a share of the root mean square force of the same frames."""
    if record is None or cell(record).tone == "refused":
        return Cell("–", "muted")
    size = rms_force(content, record)
    return Cell(f"{100 * record.value / size:.1f} %") if size else Cell("–", "muted")


def rms_force(content: ReportContent, record: Record) -> float | None:
    """Root mean square reference force (eV/Å) of the frames on which a force error was measured."""
    for parity in content.parity:
        same = (parity.potential, parity.iteration) == (record.potential, record.iteration)
        if same and parity.liquid in ("", record.liquid):
            if record.dataset in parity.datasets:
                forces = force_residuals(parity, record.dataset).reference
            else:
                forces = np.asarray(parity.forces_reference, dtype=float)
            return float(np.sqrt(np.mean(forces**2))) or None if forces.size else None
    return None

"""Coverage of internal coordinates by the frames: a table compared with equilibrium, and the distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ilforge.report.blocks import Cell, Figure, Table
from ilforge.report.content import Coverage
from ilforge.report.palette import Palette
from ilforge.report.plot import axis, layout, line, log_axis
from ilforge.report.wording import with_error

_AXES = {
    "bonds": ("bond length minus EQ mean", "Å"),
    "angles": ("angle minus EQ mean", "degrees"),
    "torsions": ("torsion", "degrees"),
}


def coverage_table(rows: Sequence[Coverage]) -> Table:
    """Spread and reach of bonds, angles and torsions of every recipe, relative to EQ frames of the same set."""
    head = (
        *map(Cell, ("Set", "Frames", "Coordinates")),
        Cell(
            "Spread",
            note=(
                "Standard deviation of each coordinate divided by its standard deviation in EQ frames, as a root mean "
                "square over coordinates."
            ),
        ),
        Cell("Bins reached", note="Number of occupied histogram bins, relative to that of as many EQ frames."),
        Cell("Beyond EQ", unit="%", note="Share of samples in histogram bins that EQ frames do not occupy."),
    )
    body = [
        (
            *map(Cell, (row.dataset, row.recipe, row.coordinate)),
            _number(row.spread),
            _number(row.reached),
            _number(row.beyond, 100.0),
        )
        for row in rows
    ]
    return Table("Coverage of the frames, compared with equilibrium", head, tuple(body), frozenset({3, 4, 5}))


def coverage_figures(rows: Sequence[Coverage]) -> list[Figure]:
    """For each set and kind of coordinate, the distribution over the frames of every recipe."""
    groups: dict[tuple[str, str], list[Coverage]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.coordinate), []).append(row)
    return [_figure(dataset, coordinate, members) for (dataset, coordinate), members in groups.items()]


def _figure(dataset: str, coordinate: str, members: Sequence[Coverage]) -> Figure:
    colours = Palette.of([row.recipe for row in members]).colours
    traces = []
    for row in members:
        seen = np.asarray(row.density) > 0
        x, y = np.asarray(row.centres)[seen], np.asarray(row.density)[seen]
        traces.append(line(x, y, row.recipe, colours[row.recipe], line={"width": 1.5}))
    label, unit = _AXES[coordinate]
    return Figure(
        f"coverage/{dataset}/{coordinate}",
        f"{coordinate.capitalize()}, {dataset}",
        f"Distribution over all {coordinate} of all molecules in the accepted frames; the scale is logarithmic.",
        traces,
        layout(axis(label, unit), log_axis("density", f"1/{unit}", [trace["y"] for trace in traces])),
    )


def _number(pair: tuple[float | None, float | None], factor: float = 1.0) -> Cell:
    value, error = pair
    if value is None:
        return Cell("–", "muted")
    return Cell(with_error(factor * value, float("nan") if error is None else factor * error))

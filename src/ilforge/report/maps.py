"""Maps of the shapes of ions: free energies of all potentials side by side, with one colour scale."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilforge.properties.shared.conformations import MAP_REGIONS, Regions
from ilforge.report import tables
from ilforge.report.blocks import Cell, Figure, FigureRow, Table
from ilforge.report.content import NamedTable, ReportContent
from ilforge.report.palette import Palette
from ilforge.report.plot import axis, escaped, layout
from ilforge.report.wording import joined, number, with_error
from ilforge.results import Record

_COLOURS = np.array(
    [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121],
     [109, 205, 89], [180, 222, 44], [253, 231, 37]]
)  # fmt: skip
"""Viridis (S. van der Walt and N. Smith, 2015): perceptually uniform with any colour vision."""
_STEP_KJ_MOL, _STEP_KT = 2.0, 0.5
_MOST_STEPS = 15
_PIXELS = 12  # side of a bin, so that smoothing by a browser affects only its edge
_LABEL = (0.32, 0.12)  # width and height of a label, as a share of the map
_CORE = np.exp(-((3.0 * np.linspace(-0.5, 0.5, 7)) ** 2))  # the middle of a label has more weight than its ends
_CORE = np.tile(_CORE, 7) / (7 * _CORE.sum())  # weights of its points, line by line
_UNITS = {"degrees": "°", "A": "Å"}


@dataclass(frozen=True)
class ShapeMap:
    """The map of an ion to draw: visited bins, and the shapes on the map."""

    name: NamedTable
    x: np.ndarray
    y: np.ndarray
    free: np.ndarray
    error: np.ndarray
    unit: str
    converged: bool
    populations: tuple[tuple[str, str], ...]

    @property
    def coordinates(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Name and unit of both axes."""
        first, second = (column.rpartition("_") for column in self.name.table.columns[:2])
        return (first[0], _UNITS.get(first[2], first[2])), (second[0], _UNITS.get(second[2], second[2]))

    @property
    def regions(self) -> Regions | None:
        """Regions of the shapes on the map, for built-in shapes."""
        (first, _), (second, _) = self.coordinates
        found = MAP_REGIONS.get((first, second))
        return found if found and {label for label, _ in self.populations} <= set(found.labels) else None


def map_rows(content: ReportContent, palette: Palette) -> list[FigureRow]:
    """One row of maps for each ion and protocol; all maps of an ion have the same axes and colours."""
    rows, order = [], list(palette)
    every = [named for named in content.tables if named.kind == "map" and named.table.rows]
    protocols = list(dict.fromkeys(named.protocol for named in every))
    every.sort(key=lambda named: (protocols.index(named.protocol), order.index(named.potential)))
    for key in dict.fromkeys(named.key for named in every):
        of_ion = [_shape_map(named, content) for named in every if named.key == key]
        rows.append(FigureRow(tuple(_figure(one, of_ion, content, palette) for one in of_ion), columns=0))
    return rows


def divergence_table(records: Sequence[Record], palette: Palette) -> Table | None:
    """Differences between the maps of two runs; None if none were compared."""
    chosen = [record for record in records if record.quantity == "shape_divergence"]
    if not chosen:
        return None
    head = (Cell("Ion"), Cell("Run"), Cell("Compared with"), Cell("Jensen-Shannon divergence", unit="bit"))
    body = []
    for record in chosen:
        other = record.provenance["against"]
        runs = [(record.potential, record.provenance["protocol"]), (other["potential"], other["protocol"])]
        named = [
            Cell(f"{palette.label(potential)}, {protocol}", swatch=palette.colour(potential))
            for potential, protocol in runs
        ]
        body.append((Cell(record.species or ""), *named, tables.cell(record)))
    caption = "Difference between maps of shapes: 0 for equal maps, 1 for maps without overlap"
    return Table(caption, head, tuple(body), frozenset({3}))


def _shape_map(named: NamedTable, content: ReportContent) -> ShapeMap:
    table = named.table
    in_kJ = all(value is not None for value in table.column("F_kJ_mol"))
    unit = "kJ_mol" if in_kJ else "kT"
    free, error = (np.array(table.column(f"{name}_{unit}"), dtype=float) for name in ("F", "F_error"))
    x, y = (np.array(table.column(name), dtype=float) for name in table.columns[:2])
    converged = all(table.column("converged"))
    return ShapeMap(named, x, y, free, error, "kJ/mol" if in_kJ else "kT", converged, _populations(named, content))


def _populations(named: NamedTable, content: ReportContent) -> tuple[tuple[str, str], ...]:
    """Names of shapes, and their populations in words."""
    found = []
    for record in content.records:
        run = record.provenance.get("protocol"), record.potential
        ion, _, label = (record.species or "").rpartition(" ")
        if record.quantity == "shape_population" and run == (named.protocol, named.potential) and ion == named.key:
            refused = tables.cell(record).tone == "refused"
            found.append((label, "" if refused else f"{with_error(record.value, record.error)} %"))
    return tuple(found)


def _figure(one: ShapeMap, of_ion: Sequence[ShapeMap], content: ReportContent, palette: Palette) -> Figure:
    named, levels = one.name, _levels(of_ion)
    label = palette.label(named.potential)
    limits = _limits(of_ion)
    axes = [
        axis(
            name,
            unit,
            range=list(limit),
            showgrid=False,
            **({"dtick": 90} if unit == "°" else {"nticks": 7}),
        )
        for (name, unit), limit in zip(one.coordinates, limits, strict=True)
    ]
    unphysical = any(
        verdict.state == "unphysical" and (verdict.protocol, verdict.potential) == (named.protocol, named.potential)
        for verdict in content.verdicts
    )
    return Figure(
        f"map/{named.key}/{named.protocol}/{named.potential}",
        f"{named.key}, {label}, {named.protocol}",
        _caption(one, content, unphysical),
        [_hover(one), *_scan(one, content, levels), _colour_bar(levels, one.unit)],
        layout(
            *axes,
            images=[_image(one, levels)],
            shapes=_borders(one),
            annotations=_labels(one, limits),
            showlegend=False,
        ),
        square=True,
    )


def _caption(one: ShapeMap, content: ReportContent, unphysical: bool) -> str:
    parts = [f"{label} {share}" for label, share in one.populations if share]
    unknown = [label for label, share in one.populations if not share]
    said = f"F = −kT ln(p / max p) of {one.name.key}; bins that were never visited are blank. "
    if any(table.kind == "scan" and table.key == one.name.key for table in content.tables):
        said += "Circles: energies of a scan relative to its lowest, on the same scale. "
    if unphysical:
        return said + "The run is unphysical: its populations are not quoted."
    if parts:
        said += f"Populations: {'; '.join(parts)}. "
    if unknown and one.populations:
        said += f"The population of {joined(unknown)} has not converged. "
    typical = one.error[np.isfinite(one.error) & (one.free < 4.0 * one.free.max() / 5.0)]
    if typical.size:
        said += f"Standard error of F: {number(float(np.median(typical)), 2)} {one.unit} (median)."
    return said


def _levels(of_ion: Sequence[ShapeMap]) -> np.ndarray:
    """Limits of the colour steps, the same for all maps of an ion."""
    step = _STEP_KJ_MOL if of_ion[0].unit == "kJ/mol" else _STEP_KT
    highest = max(float(one.free.max()) for one in of_ion)
    return step * np.arange(int(np.clip(np.ceil(highest / step), 2, _MOST_STEPS)) + 1)


def _colour_of(step: np.ndarray, n: int) -> np.ndarray:
    """Red, green and blue of colour steps, ``(..., 3)`` bytes, in a scale with ``n`` steps."""
    place = np.clip(step / max(n - 1, 1), 0, 1) * (len(_COLOURS) - 1)
    return np.stack([np.interp(place, np.arange(len(_COLOURS)), channel) for channel in _COLOURS.T], -1).astype(
        np.uint8
    )


def _steps(free: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(levels, free, side="right") - 1, 0, len(levels) - 2)


def _limits(of_ion: Sequence[ShapeMap]) -> list[tuple[float, float]]:
    """Ranges of both axes: 360 degrees for angles, otherwise the range of all maps."""
    found = []
    for which, (_, unit) in enumerate(of_ion[0].coordinates):
        if unit == "°":
            found.append((-180.0, 180.0))
            continue
        values = np.concatenate([(one.x, one.y)[which] for one in of_ion])
        width = _width(values)
        margin = width / 2 + 0.04 * float(np.ptp(values))
        found.append((float(values.min()) - margin, float(values.max()) + margin))
    return found


def _width(centres: np.ndarray) -> float:
    """Width of the bins with these centres."""
    steps = np.diff(np.unique(np.round(centres, 6)))
    return float(steps.min()) if steps.size else 1.0


def _image(one: ShapeMap, levels: np.ndarray) -> dict[str, Any]:
    """The bins as an image, because thousands of squares would be slow to draw."""
    width, height = _width(one.x), _width(one.y)
    column = np.rint((one.x - one.x.min()) / width).astype(int)
    row = np.rint((one.y.max() - one.y) / height).astype(int)
    pixels = np.zeros((row.max() + 1, column.max() + 1, 4), dtype=np.uint8)
    pixels[row, column, :3] = _colour_of(_steps(one.free, levels), len(levels) - 1)
    pixels[row, column, 3] = 255
    picture = png(pixels.repeat(_PIXELS, 0).repeat(_PIXELS, 1))
    return {
        "source": "data:image/png;base64," + base64.b64encode(picture).decode(),
        "xref": "x", "yref": "y", "layer": "below", "sizing": "stretch",
        "x": one.x.min() - width / 2, "y": one.y.max() + height / 2,
        "sizex": width * pixels.shape[1], "sizey": height * pixels.shape[0],
    }  # fmt: skip


def png(pixels: np.ndarray) -> bytes:
    """A PNG of ``(height, width, 4)`` bytes: red, green, blue, opacity (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 4 * width), dtype=np.uint8)  # each line begins with its filter, 0 for none
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def _hover(one: ShapeMap) -> dict[str, Any]:
    """Text on hover, from points of a line without width; symbols would be thousands of elements."""
    (first, first_unit), (second, second_unit) = one.coordinates
    return {
        "type": "scatter", "mode": "lines", "line": {"width": 0}, "hoveron": "points", "name": "F",
        "x": one.x, "y": one.y,
        "customdata": np.stack([one.free, one.error], axis=1),
        "meta": {"columns": [f"{first} ({first_unit})", f"{second} ({second_unit})", f"F ({one.unit})",
                             f"error ({one.unit})"]},
        "hovertemplate": f"{escaped(first)} %{{x:.4g}} {first_unit}<br>{escaped(second)} %{{y:.4g}} {second_unit}<br>"
        f"F = %{{customdata[0]:.3g}} ± %{{customdata[1]:.2g}} {one.unit}<extra></extra>",
    }  # fmt: skip


def _scale(levels: np.ndarray) -> list[list[Any]]:
    """The colour scale for plotly: each colour at both ends of its step."""
    n = len(levels) - 1
    names = [f"rgb({r},{g},{b})" for r, g, b in _colour_of(np.arange(n), n).tolist()]
    return [[(k + end) / n, names[k]] for k in range(n) for end in (0, 1)]


def _colour_bar(levels: np.ndarray, unit: str) -> dict[str, Any]:
    ticks = levels[:: 1 + (len(levels) - 1) // 8]
    bar = {
        "title": {"text": f"F ({unit})", "side": "right"}, "thickness": 10, "outlinewidth": 0, "ticks": "outside",
        "ticklen": 3, "tickvals": ticks.tolist(), "len": 1.0, "xpad": 4, "ypad": 0,
    }  # fmt: skip
    marker = {"color": [0.0], "cmin": 0.0, "cmax": levels[-1], "colorscale": _scale(levels), "showscale": True}
    return {
        "type": "scatter", "mode": "markers", "x": [None], "y": [None], "hoverinfo": "skip",
        "marker": {**marker, "colorbar": bar},
    }  # fmt: skip


def _scan(one: ShapeMap, content: ReportContent, levels: np.ndarray) -> list[dict[str, Any]]:
    """Points of a scan by the reference in the same coordinates and colours."""
    same = [t for t in content.tables if t.kind == "scan" and t.key == one.name.key and t.table.rows]
    if not same or one.unit != "kJ/mol":
        return []
    table = same[0].table
    energies = np.array(table.column("energy_kJ_mol"), dtype=float)
    x, y = (table.column(name) for name in one.name.table.columns[:2])
    marker = {
        "color": energies, "cmin": 0.0, "cmax": levels[-1], "colorscale": _scale(levels), "size": 9, "symbol": "circle",
        "line": {"color": "#ffffff", "width": 1.6},
    }  # fmt: skip
    return [
        {
            "type": "scatter", "mode": "markers", "name": "scan", "x": x, "y": y, "marker": marker,
            "text": [f"scan: {number(energy)} kJ/mol" for energy in energies],
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]  # fmt: skip


def _borders(one: ShapeMap) -> list[dict[str, Any]]:
    lines = one.regions.borders if one.regions else ()
    style = {"type": "line", "line": {"color": "rgba(127,135,145,0.9)", "width": 1, "dash": "dot"}}
    return [{**style, **dict(zip(("x0", "y0", "x1", "y1"), line, strict=True))} for line in lines]


def _labels(one: ShapeMap, limits: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Name and population of each shape, placed in its region where it hides least of the map."""
    if one.regions is None:
        return []
    style = {
        "showarrow": False, "bgcolor": "rgba(255,255,255,0.82)", "borderpad": 2,
        "font": {"size": 10.5, "color": "#1c2026"}, "xref": "x", "yref": "y",
    }  # fmt: skip
    texts = {label: f"<b>{label}</b>" + (f"<br>{share}" if share else "") for label, share in one.populations}
    found: list[dict[str, Any]] = []
    for index, label in enumerate(one.regions.labels):
        place = (
            _place(one, one.regions, index, limits, [(label["x"], label["y"]) for label in found])
            if label in texts
            else None
        )
        if place is not None:
            found.append({**style, "x": place[0], "y": place[1], "text": texts[label]})
    return found


def _place(
    one: ShapeMap,
    regions: Regions,
    index: int,
    limits: Sequence[tuple[float, float]],
    taken: Sequence[tuple[float, float]],
) -> tuple[float, float] | None:
    """Position of a label in a region: free, over the least probability, and as far inside as possible."""
    low, high = np.array(limits).T
    centres = np.stack(np.meshgrid(*[np.linspace(0.16, 0.84, 23), np.linspace(0.07, 0.93, 27)]), -1).reshape(-1, 2)
    box = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 7)] * 2), -1).reshape(-1, 2) * _LABEL
    covered = low + (centres[:, None] + box) * (high - low)
    within = (regions.classify(covered.reshape(-1, 2)) == index).reshape(covered.shape[:2])
    inside = within @ _CORE
    if not inside.max():
        return None
    weight = np.exp(-one.free / max(float(np.median(one.free)), 1e-9))
    points = (np.stack([one.x, one.y], 1) - low) / (high - low)
    apart = np.abs(points[None] - centres[:, None])
    hidden = (np.all(apart < np.array(_LABEL) / 2, axis=2) * weight).sum(axis=1) / weight.sum()
    others = (np.array(taken).reshape(-1, 2) - low) / (high - low)
    crowded = np.all(np.abs(others[None] - centres[:, None]) < np.array(_LABEL) * 1.05, axis=2).any(axis=1)
    best = int(np.argmax(4.0 * inside - 2.0 * hidden - 10.0 * crowded))
    return tuple((low + centres[best] * (high - low)).tolist())

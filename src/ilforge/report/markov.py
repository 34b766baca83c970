"""Exchange of ligands: the Markov state model as a network, and its two tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ilforge.potentials.kind import NEUTRAL
from ilforge.report import tables
from ilforge.report.blocks import Block, Figure, FigureRow, Paragraph
from ilforge.report.content import ReportContent
from ilforge.report.palette import Palette
from ilforge.report.plot import axis, band, escaped, layout, line, log_axis, translucent
from ilforge.report.wording import number, with_error
from ilforge.results import Record, Table

_LARGEST_STATE, _SMALLEST_STATE = 78.0, 14.0  # diameters in pixels
_THICKEST_ARROW, _THINNEST_ARROW = 7.0, 0.8
_STATE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8F6B3E", "#4B4FA6")

_Places: TypeAlias = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class _Model:
    """Results of one run on the exchange of one kind of ligand: tables by kind, numbers by state."""

    protocol: str
    potential: str
    pair: str
    tables: Mapping[str, Table]
    numbers: Mapping[tuple[str, str], Record]

    @property
    def place(self) -> str:
        return f"{self.pair}/{self.protocol}/{self.potential}"


def exchange_blocks(content: ReportContent, palette: Palette) -> list[Block]:
    """For each run: network, implied time scales and Chapman-Kolmogorov test, or the reason why there is no model."""
    blocks: list[Block] = []
    for model in _models(content):
        name, refusal = f"{palette.label(model.potential)}, {model.protocol}", _refusal(model)
        figures = []
        if refusal:
            blocks.append(Paragraph(f"{name}: no Markov state model of {model.pair} is drawn: {refusal}."))
        elif "transition matrix" in model.tables:
            figures.append(_network(model))
        if "time scales" in model.tables and model.tables["time scales"].rows:
            figures.append(_time_scales(model))
        if "Chapman-Kolmogorov" in model.tables:
            figures.append(_chapman_kolmogorov(model))
        if figures:
            blocks.append(FigureRow(tuple(figures), name, palette.colour(model.potential), columns=3))
    return blocks


def _models(content: ReportContent) -> list[_Model]:
    kinds = ("transition matrix", "time scales", "Chapman-Kolmogorov")
    found: dict[tuple[str, str, str], dict[str, Table]] = {}
    numbers: dict[tuple[str, str], dict[tuple[str, str], Record]] = {}
    for record in content.records:
        run = str(record.provenance.get("protocol")), record.potential
        if record.quantity == "exchange_time_scale":
            found.setdefault((*run, record.species or ""), {})
        if record.quantity in ("exchange_time_scale", "cluster_lifetime", "markov_population"):
            numbers.setdefault(run, {})[record.quantity, record.species or ""] = record
    for named in content.tables:
        if named.kind in kinds:
            found.setdefault((named.protocol, named.potential, named.key), {})[named.kind] = named.table
    return [_Model(*key, of_run, numbers.get((key[0], key[1]), {})) for key, of_run in found.items()]


def _refusal(model: _Model) -> str:
    """Why the model must not be shown; empty if it can be shown."""
    record = model.numbers.get(("exchange_time_scale", model.pair))
    cell = tables.cell(record) if record else None
    return cell.note if cell and cell.tone == "refused" else ""


def _network(model: _Model) -> Figure:
    """States as circles on an ellipse; exchange between two states as an arrow with two heads."""
    rows: list[dict[str, Any]] = [dict(zip(model.tables["transition matrix"].columns, row, strict=True))
            for row in model.tables["transition matrix"].rows]  # fmt: skip
    states = list(dict.fromkeys(row["from"] for row in rows))
    share = {state: model.numbers["markov_population", state] for state in states}
    places = _on_ellipse(states)
    largest = max(record.value for record in share.values())
    sizes = {
        state: max(_SMALLEST_STATE, _LARGEST_STATE * np.sqrt(max(record.value, 0.0) / largest))
        for state, record in share.items()
    }
    fluxes = [row for row in rows if row["from"] < row["to"] and (row["flux_per_ns"] or 0) > 0]
    lag = rows[0]["lag_ps"]
    sentences = [f"{state} {_quoted(share[state])}, {_life(model, state)}" for state in states]
    hidden = {"visible": False, "range": [-1.75, 1.75], "fixedrange": True}
    return Figure(
        f"markov/{model.place}",
        f"Exchange of {model.pair}",
        "Areas are populations of the states, widths of arrows the flux between two of them (equal both ways). "
        f"{'; '.join(sentences)}. Lag {number(lag)} ps.",
        [_midpoints(fluxes, places), _circles(states, places, sizes, share, model)],
        layout(
            hidden,
            {**hidden, "range": [-1.95, 1.85]},
            annotations=[*_arrows(fluxes, places, sizes), *_state_labels(states, places, sizes, share, model)],
            showlegend=False,
        ),
    )


def _on_ellipse(states: list[str]) -> _Places:
    """Positions in order, from left to right over the top, so that no three are on a line."""
    n = len(states)
    angles = np.pi - 2 * np.pi * np.arange(n) / max(n, 2)
    return {state: (float(1.15 * np.cos(a)), float(0.95 * np.sin(a))) for state, a in zip(states, angles, strict=True)}


def _arrows(fluxes: list[dict[str, Any]], places: _Places, sizes: Mapping[str, float]) -> list[dict[str, Any]]:
    most = max((row["flux_per_ns"] for row in fluxes), default=1.0)
    found = []
    for row in sorted(fluxes, key=lambda row: row["flux_per_ns"]):
        (x0, y0), (x1, y1) = places[row["from"]], places[row["to"]]
        width = max(_THINNEST_ARROW, _THICKEST_ARROW * row["flux_per_ns"] / most)
        head = max(0.45, 1.1 - 0.25 * np.sqrt(width))  # plotly scales the heads of arrows with their width
        found.append(
            {
                "x": x1, "y": y1, "ax": x0, "ay": y0, "xref": "x", "yref": "y", "axref": "x", "ayref": "y",
                "showarrow": True, "text": "", "arrowside": "end+start", "arrowhead": 2, "startarrowhead": 2,
                "arrowsize": head, "startarrowsize": head,
                "arrowwidth": width, "arrowcolor": NEUTRAL,
                "standoff": sizes[row["to"]] / 2 + 3, "startstandoff": sizes[row["from"]] / 2 + 3,
            }
        )  # fmt: skip
    return found


def _midpoints(fluxes: list[dict[str, Any]], places: _Places) -> dict[str, Any]:
    """Data of the arrows, for hover and CSV."""
    middle = [np.add(places[row["from"]], places[row["to"]]) / 2 for row in fluxes]
    values = [[row["from"], row["to"], row["flux_per_ns"], row["flux_error_per_ns"]] for row in fluxes]
    return {
        "type": "scatter", "mode": "markers", "name": "flux",
        "x": [float(m[0]) for m in middle], "y": [float(m[1]) for m in middle],
        "marker": {"size": 14, "opacity": 0.0, "color": NEUTRAL},
        "text": [escaped(f"{a} ⇄ {b}") for a, b, _, _ in values], "customdata": values,
        "meta": {"columns": ["", "", "from", "to", "flux (1/ns)", "error (1/ns)"]},
        "hovertemplate": "%{text}<br>%{customdata[2]:.3g} ± %{customdata[3]:.2g} per ns and ion<extra></extra>",
    }  # fmt: skip


def _circles(
    states: list[str], places: _Places, sizes: Mapping[str, float], share: Mapping[str, Record], model: _Model
) -> dict[str, Any]:
    values = [[state, share[state].value, share[state].error, *_life_numbers(model, state)] for state in states]
    return {
        "type": "scatter", "mode": "markers", "name": "states",
        "x": [places[state][0] for state in states], "y": [places[state][1] for state in states],
        "marker": {
            "size": [sizes[state] for state in states], "opacity": 1.0,
            "color": [_STATE_COLOURS[k % len(_STATE_COLOURS)] for k in range(len(states))],
            "line": {"color": "rgba(255,255,255,0.8)", "width": 1},
        },
        "text": [escaped(f"{state}: {_quoted(share[state])}, {_life(model, state)}") for state in states],
        "customdata": values,
        "meta": {"columns": ["", "", "state", "population (%)", "error (%)", "lifetime (ps)", "lifetime error (ps)"]},
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip


def _state_labels(
    states: list[str], places: _Places, sizes: Mapping[str, float], share: Mapping[str, Record], model: _Model
) -> list[dict[str, Any]]:
    """Name, population and lifetime beside each circle, on its outer side."""
    found = []
    for state in states:
        x, y = places[state]
        below = y <= 0.05
        text = f"<b>{escaped(state)}</b><br>{escaped(_quoted(share[state]))}<br>{escaped(_life(model, state))}"
        shift = sizes[state] / 2 + 4
        found.append(
            {
                "x": x, "y": y, "xref": "x", "yref": "y", "showarrow": False, "text": text, "font": {"size": 11},
                "yanchor": "top" if below else "bottom", "yshift": -shift if below else shift,
            }
        )  # fmt: skip
    return found


def _quoted(record: Record) -> str:
    return f"{with_error(record.value, record.error)} %" if record.converged else "not converged"


def _life(model: _Model, state: str) -> str:
    record = model.numbers.get(("cluster_lifetime", state))
    return f"{with_error(record.value, record.error)} ps" if record and record.converged else "lifetime not converged"


def _life_numbers(model: _Model, state: str) -> tuple[float | None, float | None]:
    record = model.numbers.get(("cluster_lifetime", state))
    return (record.value, record.error) if record else (None, None)


def _time_scales(model: _Model) -> Figure:
    """Implied time scales of all processes against the lag; below the grey line they are not meaningful."""
    table = model.tables["time scales"]
    lag, process, value, error = (np.array(table.column(name), dtype=float)
                                  for name in ("lag_ps", "process", "time_scale_ps", "error_ps"))  # fmt: skip
    traces = []
    for k in np.unique(process):
        mine = (process == k) & np.isfinite(value) & (value > 0)
        colour = _STATE_COLOURS[int(k - 2) % len(_STATE_COLOURS)]
        x, y, spread = lag[mine], value[mine], np.nan_to_num(error[mine])
        if x.size:
            low = np.maximum(y - spread, 0.05 * y)
            traces.append(band(x, low, y + spread, translucent(colour)))
            traces.append(line(x, y, f"process {k:.0f}", colour, mode="lines+markers", marker={"size": 4}))
    ends = [float(lag.min()), float(lag.max())]
    traces.append(line(ends, ends, "time scale = lag", NEUTRAL, line={"dash": "dash", "width": 1.5}))
    return Figure(
        f"time-scales/{model.place}",
        "Implied time scales",
        "-τ / ln λ of each process against the lag τ: constant if the model is Markovian. Time scales below the dashed "
        "line are shorter than the lag. Bands are standard errors.",
        traces,
        layout(log_axis("lag", "ps", [ends]), log_axis("time scale", "ps", [trace["y"] for trace in traces])),
    )


def _chapman_kolmogorov(model: _Model) -> Figure:
    """Probability to be in the initial state after a time: predicted by the model and counted in the run."""
    table = model.tables["Chapman-Kolmogorov"]
    states = list(dict.fromkeys(table.column("state")))
    traces = []
    for k, state in enumerate(states):
        colour = _STATE_COLOURS[k % len(_STATE_COLOURS)]
        rows = [row[1:] for row in table.rows if row[0] == state]
        time, predicted, error, counted, counted_error = np.array(rows, dtype=float).T
        label = escaped(str(state))
        traces.append(band(time, predicted - error, predicted + error, translucent(colour), legendgroup=label))
        traces.append(line(time, predicted, str(state), colour, legendgroup=label))
        traces.append(
            line(time, counted, f"{state}, counted", colour, mode="markers", legendgroup=label, showlegend=False,
                 marker={"color": colour, "size": 6}, error_y=_bars(counted_error, colour))
        )  # fmt: skip
    return Figure(
        f"chapman-kolmogorov/{model.place}",
        "Chapman-Kolmogorov test",
        "Probability to be in the initial state after a time: lines predicted by the model, with the band of its "
        "standard error, points counted in the run.",
        traces,
        layout(axis("time", "ps", rangemode="tozero"), axis("probability", range=[0, 1.02])),
    )


def _bars(error: np.ndarray, colour: str) -> dict[str, Any]:
    return {"type": "data", "array": np.nan_to_num(error), "thickness": 1.2, "width": 3, "color": colour}

"""Pieces of plotly figures as plain dicts: axes, lines, error bands. Text and grid colours are the page's."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ilforge.potentials.kind import NEUTRAL
from ilforge.report.wording import number, unit_name

MAX_POINTS = 500
"""A line longer than this is thinned before it goes into the page."""


def escaped(text: str) -> str:
    """Foreign text for a plotly string; HTML tags are escaped, because plotly interprets some of them."""
    return html.escape(str(text), quote=False)


def axis(title: str, unit: str = "", **more: Any) -> dict[str, Any]:
    """An axis with its title and unit."""
    name = unit_name(unit)
    text = escaped(title) + (f" ({escaped(name)})" if name else "")
    return {
        "title": {"text": text, "standoff": 8},
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "automargin": True,
        **more,
    }


def log_axis(title: str, unit: str, values: Any) -> dict[str, Any]:
    """A logarithmic axis around positive values, with ticks at 1, 2, 5 or, over many decades, powers of ten."""
    values = np.concatenate([np.asarray(value, dtype=float).ravel() for value in values] or [np.empty(0)])
    values = values[np.isfinite(values) & (values > 0)]
    low, high = (values.min(), values.max()) if values.size else (0.1, 10.0)
    margin = 0.04 * np.log10(high / low) + 0.02
    decades = np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 1)
    span = np.log10(high / low)
    steps = (1, 2, 3, 4, 6, 8) if span < 0.9 else (1, 2, 5) if span < 2.5 else (1,)
    ticks = [float(f"{step * 10.0**decade:.3g}") for decade in decades for step in steps]
    limits = [float(np.log10(low) - margin), float(np.log10(high) + margin)]
    texts = [number(tick, 1) for tick in ticks]
    return axis(title, unit, type="log", range=limits, tickvals=ticks, ticktext=texts)


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The common layout of all figures; the legend is above the plot, so that it needs no width on a phone."""
    return {
        "xaxis": x,
        "yaxis": y,
        "margin": {"l": 10, "r": 12, "t": 12, "b": 10},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "xanchor": "left",
            "traceorder": "normal",
        },
        "hovermode": "closest",
        "autosize": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        **more,
    }


def line(x: ArrayLike, y: ArrayLike, name: str, colour: str, **more: Any) -> dict[str, Any]:
    """A line; ``more`` is passed to plotly."""
    style = {"color": colour, "width": 2, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x, dtype=float),
        "y": np.asarray(y, dtype=float),
        "name": escaped(name),
        "line": style,
        **more,
    }


def band(x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, **more: Any) -> dict[str, Any]:
    """The area between two lines, without outline, hover or legend."""
    x = np.asarray(x, dtype=float)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.concatenate([x, x[::-1]]),
        "y": np.concatenate([np.asarray(high, dtype=float), np.asarray(low, dtype=float)[::-1]]),
        "fill": "toself",
        "fillcolor": colour,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
        **more,
    }


def translucent(colour: str) -> str:
    """The colour of a band around a line of this colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def guide(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    """A thin dashed line between grid and data, as a layout shape."""
    return {
        "type": "line",
        "layer": "between",
        "line": {"color": NEUTRAL, "width": 1, "dash": "dash"},
        **{"x0": x0, "y0": y0, "x1": x1, "y1": y1},
    }


def thinned(n: int, *, logarithmic: bool = False) -> np.ndarray:
    """At most :data:`MAX_POINTS` indices of ``n`` points with both ends, evenly spaced (or in the logarithm)."""
    if n <= MAX_POINTS:
        return np.arange(n)
    if logarithmic:
        return np.unique(np.rint(np.geomspace(1, n, MAX_POINTS)).astype(int)) - 1
    return np.unique(np.rint(np.linspace(0, n - 1, MAX_POINTS)).astype(int))

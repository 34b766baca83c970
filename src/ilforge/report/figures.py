"""Figures of training, concurrent learning and MD, as plotly dicts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ilforge.potentials.kind import NEUTRAL
from ilforge.report.blocks import Figure
from ilforge.report.content import LearningRound, NamedCurve, TrainingCurve
from ilforge.report.palette import Palette
from ilforge.report.plot import axis, band, escaped, guide, layout, line, log_axis, thinned, translucent
from ilforge.report.wording import counted, joined, number, quantity_name, unit_name
from ilforge.results import Curve, Record


def training_figure(curves: Sequence[TrainingCurve], palette: Palette) -> Figure:
    """Force RMSE on the early-stopping frames against epochs or steps, one line for each trained model."""
    traces, sentences, seen = [], [], set()
    last = max(curve.iteration or 0 for curve in curves)
    for curve in curves:
        label = palette.label(curve.potential) + ("" if curve.iteration is None else f", iteration {curve.iteration}")
        dash = ("solid", "dash", "dot", "dashdot")[(last - (curve.iteration or 0)) % 4]
        keep = thinned(len(curve.progress))
        traces.append(
            line(
                np.asarray(curve.progress)[keep],
                np.asarray(curve.force_rmse_eV_A)[keep],
                label,
                palette.colour(curve.potential),
                line={"dash": dash, "width": 1.5},
                legendgroup=escaped(label),
                showlegend=label not in seen,
            )
        )
        if len(curve.force_rmse_eV_A) and label not in seen:
            sentences.append(f"{label}: {number(float(curve.force_rmse_eV_A[-1]))} at the end")
        seen.add(label)
    unit = curves[0].progress_unit
    kinds = joined(tuple(dict.fromkeys(palette.label(curve.potential) for curve in curves)))
    return Figure(
        f"training/{unit}",
        f"Training of {kinds}",
        "Force RMSE on the frames for early stopping, eV/Å. " + "; ".join(sentences) + ".",
        traces,
        layout(axis(unit), log_axis("force RMSE", "eV/Å", [trace["y"] for trace in traces])),
    )


def deviation_figure(rounds: Sequence[LearningRound], palette: Palette) -> Figure:
    """Histogram of the committee's largest force deviation in each round, with the window of candidates."""
    last = rounds[-1]
    return _deviations(
        "deviations",
        "Disagreement of the committee",
        "Largest deviation of forces within the committee for every explored frame. "
        + " ".join(_round_sentence(r) for r in rounds),
        {f"iteration {r.iteration}": r.deviations for r in rounds},
        (last.low_eV_A, last.high_eV_A),
    )


def state_deviation_figure(learning: LearningRound) -> Figure | None:
    """The same for each state of one round; None if there is only one."""
    if len(learning.states) < 2:
        return None
    several = len({one.liquid for one in learning.states}) > 1
    return _deviations(
        "deviations-by-state",
        f"Disagreement by state, iteration {learning.iteration}",
        "Largest deviation of forces within the committee for every explored frame of the last iteration.",
        {f"{one.liquid}, {one.conditions}" if several else one.conditions: one.deviations for one in learning.states},
        (learning.low_eV_A, learning.high_eV_A),
    )


def _deviations(
    key: str, title: str, caption: str, named: dict[str, np.ndarray], window: tuple[float, float]
) -> Figure:
    """Histograms of deviations, eV/Å, by name."""
    low, high = window
    finite = {name: np.asarray(values, dtype=float) for name, values in named.items()}
    finite = {name: values[np.isfinite(values) & (values > 0)] for name, values in finite.items()}
    everything = np.concatenate([*finite.values(), [max(low, 1e-4), high]])
    edges = np.geomspace(everything.min() / 1.2, everything.max() * 1.2, 41)
    traces, colours = [], Palette.of(list(finite)).colours.values()
    for (name, values), colour in zip(finite.items(), colours, strict=True):
        counts, _ = np.histogram(values, bins=edges)
        steps_x, steps_y = np.repeat(edges, 2), np.concatenate([[0], np.repeat(counts, 2), [0]])
        fill = {"fill": "tozeroy", "fillcolor": translucent(colour)}
        traces.append(line(steps_x, steps_y, name, colour, line={"width": 1.5}, **fill))
    return Figure(
        key,
        title,
        f"{caption} Shaded: the window of {number(low, 2)} to {number(high, 2)} eV/Å in which frames are candidates "
        "for labelling.",
        traces,
        layout(
            log_axis("largest force deviation", "eV/Å", [edges]),
            axis("explored frames", rangemode="tozero"),
            shapes=[_window(low, high)],
            showlegend=len(finite) > 1,
        ),
    )


def improvement_figure(records: Sequence[Record], palette: Palette) -> Figure | None:
    """Force RMSE of every model against the iteration of learning, EQ and nEQ; None if there is only one iteration."""
    chosen = [
        r for r in records
        if r.quantity == "force_rmse" and r.species is None and r.iteration is not None and r.converged
        and r.dataset in ("EQ", "nEQ")
    ]  # fmt: skip
    if len({r.iteration for r in chosen}) < 2:
        return None
    traces, sentences = [], []
    for potential in palette:
        for dataset, dash in (("EQ", "solid"), ("nEQ", "dash")):
            points = sorted(
                (r for r in chosen if (r.potential, r.dataset) == (potential, dataset)), key=lambda r: r.iteration or 0
            )
            if not points:
                continue
            label = f"{palette.label(potential)}, {dataset}"
            traces.append(
                line(
                    [r.iteration or 0 for r in points],
                    [r.value for r in points],
                    label,
                    palette.colour(potential),
                    mode="lines+markers",
                    line={"dash": dash},
                    marker={"symbol": "circle" if dataset == "EQ" else "circle-open", "size": 9},
                    error_y={"type": "data", "array": [r.error for r in points], "thickness": 1.5, "width": 4},
                )
            )
            sentences.append(f"{label}: {number(points[0].value)} to {number(points[-1].value)}")
    return Figure(
        "improvement",
        "Force error after each iteration",
        "Force RMSE on the same validation frames, from the first to the last "
        "iteration, eV/Å. " + "; ".join(sentences) + ". "
        "Bars are standard errors.",
        traces,
        layout(axis("iteration", dtick=1), axis("force RMSE", "eV/Å", rangemode="tozero")),
    )


def msd_figure(curves: Sequence[NamedCurve], palette: Palette, unphysical: Collection[str] = ()) -> Figure:
    """Mean squared displacement of one species on log-log axes, with a line of slope 1 for diffusion.

    Here and below, ``unphysical`` names potentials whose run must not be quoted; their lines are dotted.
    """
    first = curves[0]
    traces, sentences = [], []
    for named in curves:
        x, y, error = _positive(named.curve)
        if not x.size:
            continue
        keep = thinned(x.size, logarithmic=True)
        x, y, error = x[keep], y[keep], None if error is None else error[keep]
        if error is not None:
            low = np.maximum(y - error, y * 1e-2)  # a logarithmic axis cannot show zero
            traces.append(band(x, low, y + error, palette.shade(named.potential, 0.2)))
        traces.append(_run_line(x, y, named.potential, palette, unphysical))
        if named.potential not in unphysical:
            sentences.append(
                f"{palette.label(named.potential)}: {number(y[-1])} {unit_name(first.curve.y_unit)} after "
                f"{number(x[-1])} {unit_name(first.curve.x_unit)}, slope {_late_slope(x, y)}"
            )
    if traces:
        traces.append(_slope_one(traces))
    return Figure(
        f"msd/{first.protocol}/{first.key}",
        f"MSD, {first.key}, {first.protocol}",
        "Mean squared displacement; the dashed grey line has slope 1, as for diffusion. "
        + (f"{'; '.join(sentences)} over the last half of the lag times. " if sentences else "")
        + _closing(curves, palette, unphysical),
        traces,
        layout(
            log_axis(first.curve.x_label, first.curve.x_unit, [trace["x"] for trace in traces]),
            log_axis(first.curve.y_label, first.curve.y_unit, [trace["y"] for trace in traces]),
        ),
    )


def rdf_figure(
    curves: Sequence[NamedCurve],
    coordination: Sequence[NamedCurve],
    palette: Palette,
    unphysical: Collection[str] = (),
) -> Figure:
    """g(r) of one pair, and below it the running coordination number n(r) with the same horizontal axis."""
    first = curves[0]
    traces, sentences = [], []
    for named in curves:
        traces += _with_band(named, palette, unphysical)
        peak = _highest_point(named.curve)
        if peak and named.potential not in unphysical:
            sentences.append(f"{palette.label(named.potential)}: {peak[1]:.2f} at {peak[0]:.2f} Å")
    for named in coordination:
        traces += [trace | {"yaxis": "y2", "showlegend": False} for trace in _with_band(named, palette, unphysical)]
    y = axis(first.curve.y_label, first.curve.y_unit, rangemode="tozero")
    more: dict[str, Any] = {"shapes": [guide(0, 1, 1, 1) | {"xref": "paper"}]}
    x = axis(first.curve.x_label, first.curve.x_unit)
    if coordination:
        lower = coordination[0].curve
        more["yaxis2"] = axis(lower.y_label, lower.y_unit, rangemode="tozero", domain=[0, 0.32], nticks=4)
        y["domain"], x["anchor"] = [0.4, 1], "y2"
    highest = "Highest peak: " + "; ".join(sentences) + ". " if sentences else ""
    below = "Below: running coordination number. " if coordination else ""
    return Figure(
        f"rdf/{first.protocol}/{first.key}",
        f"g(r), {first.key}, {first.protocol}",
        f"{highest}{below}{_closing(curves, palette, unphysical)}",
        traces,
        layout(x, y, **more),
    )


def slope_figure(curves: Sequence[NamedCurve], palette: Palette, unphysical: Collection[str] = ()) -> Figure:
    """d ln MSD / d ln t of one species; it is 1 if ions diffuse."""
    first = curves[0]
    traces = [trace for named in curves for trace in _with_band(named, palette, unphysical)]
    times = [np.asarray(named.curve.x, dtype=float) for named in curves]
    return Figure(
        f"msd_slope/{first.protocol}/{first.key}",
        f"Local slope, {first.key}, {first.protocol}",
        "d ln MSD / d ln t against lag time: 2 for free flight, below 1 for vibration in a cage, 1 (dashed) for "
        f"diffusion. {_closing(curves, palette, unphysical)}",
        traces,
        layout(
            log_axis(first.curve.x_label, first.curve.x_unit, times),
            axis("d ln MSD / d ln t", rangemode="tozero"),
            shapes=[guide(0, 1, 1, 1) | {"xref": "paper"}],
        ),
    )


def plain_figure(curves: Sequence[NamedCurve], palette: Palette, unphysical: Collection[str] = ()) -> Figure:
    """Curves of one property on plain axes, such as the density against time."""
    first = curves[0]
    traces, sentences = [], []
    for named in curves:
        traces += _with_band(named, palette, unphysical)
        y = np.asarray(named.curve.y, dtype=float)
        if np.isfinite(y).any() and named.potential not in unphysical:
            label, unit = palette.label(named.potential), unit_name(first.curve.y_unit)
            sentences.append(f"{label}: {number(float(np.nanmin(y)))} to {number(float(np.nanmax(y)))} {unit}")
    name = ", ".join(filter(None, (first.key, first.protocol)))
    return Figure(
        f"{first.property}/{first.protocol}/{first.key}",
        f"{quantity_name(first.property)}, {name}" if name else quantity_name(first.property),
        f"{quantity_name(first.curve.y_label)} against {first.curve.x_label}. "
        + (f"{'; '.join(sentences)}. " if sentences else "")
        + _closing(curves, palette, unphysical),
        traces,
        layout(axis(first.curve.x_label, first.curve.x_unit), axis(first.curve.y_label, first.curve.y_unit)),
    )


def _run_line(
    x: np.ndarray, y: np.ndarray, potential: str, palette: Palette, unphysical: Collection[str]
) -> dict[str, Any]:
    """The line of one run; dotted, with a remark in its name, if the run must not be quoted."""
    label, style = palette.label(potential), {}
    if potential in unphysical:
        label, style = f"{label} (unphysical)", {"dash": "dot"}
    return line(x, y, label, palette.colour(potential), line=style)


def _closing(curves: Sequence[NamedCurve], palette: Palette, unphysical: Collection[str]) -> str:
    """Explanation of bands and dotted lines, if there are any."""
    bands = "Bands are standard errors." if any(named.curve.error is not None for named in curves) else ""
    faulty = dict.fromkeys(palette.label(named.potential) for named in curves if named.potential in unphysical)
    dotted = f"Dotted lines: {joined(tuple(faulty))}, whose run is unphysical." if faulty else ""
    return " ".join(filter(None, (bands, dotted)))


def _with_band(named: NamedCurve, palette: Palette, unphysical: Collection[str]) -> list[dict[str, Any]]:
    """A curve and, if its error is known, the band of one standard error around it."""
    curve = named.curve
    keep = thinned(len(curve.x))
    x, y = np.asarray(curve.x, dtype=float)[keep], np.asarray(curve.y, dtype=float)[keep]
    traces = []
    if curve.error is not None:
        error = np.nan_to_num(np.asarray(curve.error, dtype=float)[keep])
        finite = np.isfinite(y)
        traces.append(band(x[finite], (y - error)[finite], (y + error)[finite], palette.shade(named.potential, 0.2)))
    return [*traces, _run_line(x, y, named.potential, palette, unphysical)]


def _positive(curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The positive points, which a logarithmic axis can show."""
    x, y = np.asarray(curve.x, dtype=float), np.asarray(curve.y, dtype=float)
    keep = (x > 0) & (y > 0) & np.isfinite(x) & np.isfinite(y)
    error = None if curve.error is None else np.nan_to_num(np.asarray(curve.error, dtype=float)[keep])
    return x[keep], y[keep], error


def _late_slope(x: np.ndarray, y: np.ndarray) -> str:
    """d ln y / d ln x over the last half of x, as text."""
    late = x >= 0.5 * x[-1]
    if late.sum() < 3:
        return "–"
    return f"{np.polyfit(np.log(x[late]), np.log(y[late]), 1)[0]:.2f}"


def _slope_one(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of slope 1 over the last decade, above all curves."""
    lines = [trace for trace in traces if "fill" not in trace]
    end = max(trace["x"][-1] for trace in lines)
    top = 1.8 * max(trace["y"][-1] for trace in lines)
    start = max(end / 10, min(trace["x"][0] for trace in lines))
    return line([start, end], [top * start / end, top], "slope 1", NEUTRAL, line={"dash": "dash", "width": 1.5})


def _highest_point(curve: Curve) -> tuple[float, float] | None:
    """Position and height of the highest point."""
    y = np.asarray(curve.y, dtype=float)
    if not np.isfinite(y).any():
        return None
    highest = int(np.nanargmax(y))
    return float(curve.x[highest]), float(y[highest])


def _window(low: float, high: float) -> dict[str, Any]:
    """The shaded window of candidates."""
    return {
        "type": "rect",
        "layer": "below",
        "yref": "paper",
        "x0": low, "x1": high, "y0": 0, "y1": 1,
        "line": {"width": 1, "color": NEUTRAL, "dash": "dot"},
        "fillcolor": "rgba(127,135,145,0.14)",
        "label": {"text": "candidates", "textposition": "top left", "font": {"size": 11, "color": NEUTRAL}},
    }  # fmt: skip


def _round_sentence(learning: LearningRound) -> str:
    return (
        f"Iteration {learning.iteration}: {counted(learning.accurate, 'frame')} below the window, "
        f"{learning.candidate} candidates ({learning.labelled} labelled), "
        f"{learning.failed} above it or with broken bonds."
    )

"""Parity plots: predictions against reference, as a density of points with additional dots for outliers.

A binned plot alone hides outliers, and a scatter plot alone hides the density of points. Therefore bins contain all
points, and every component whose error exceeds :data:`OUTLIER` times the RMSE is also drawn as a dot.
By Chebyshev's inequality these are at most one in sixteen for any distribution.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ilforge.report.blocks import Figure
from ilforge.report.content import Parity
from ilforge.report.palette import Palette
from ilforge.report.plot import axis, escaped, guide, layout, line, log_axis
from ilforge.report.wording import counted, number

OUTLIER = 4.0
"""Errors larger than this multiple of the RMSE are outliers."""

_BINS = 48
_FEW = 400  # up to this number of points, every point is a dot and there are no bins


@dataclass(frozen=True)
class Residuals:
    """Reference and prediction of every compared number, ``(n,)``, and its index in the source array."""

    reference: np.ndarray
    predicted: np.ndarray
    index: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        found: np.ndarray = self.predicted - self.reference
        return found

    @property
    def finite(self) -> np.ndarray:
        found: np.ndarray = np.isfinite(self.errors)
        return found

    @property
    def rmse(self) -> float:
        """RMSE of the finite predictions; NaN if there are none."""
        return float(np.sqrt(np.mean(self.errors[self.finite] ** 2))) if self.finite.any() else float("nan")

    @property
    def mae(self) -> float:
        return float(np.mean(np.abs(self.errors[self.finite]))) if self.finite.any() else float("nan")

    @property
    def outliers(self) -> np.ndarray:
        """Positions of the errors beyond :data:`OUTLIER` RMSE, ``(k,)``."""
        return np.flatnonzero(self.finite & (np.abs(self.errors) > OUTLIER * self.rmse))


def force_residuals(parity: Parity, dataset: str) -> Residuals:
    """Force components of one dataset, eV/Å; indices count components of the whole ``(n, 3)`` array."""
    of_dataset = np.array([name == dataset for name in parity.datasets], dtype=bool)
    chosen = np.repeat(of_dataset[np.asarray(parity.frames, dtype=int)], 3)
    reference, predicted = (
        np.asarray(forces, dtype=float).ravel()[chosen] for forces in (parity.forces_reference, parity.forces_predicted)
    )
    return Residuals(reference, predicted, np.flatnonzero(chosen))


def energy_residuals(parity: Parity, dataset: str) -> tuple[Residuals, float]:
    """Energies of one dataset relative to their means, and the subtracted mean error; meV/atom."""
    chosen = np.array([name == dataset for name in parity.datasets], dtype=bool)
    reference = 1000.0 * np.asarray(parity.energies_reference, dtype=float)[chosen]
    predicted = 1000.0 * np.asarray(parity.energies_predicted, dtype=float)[chosen]
    finite = np.isfinite(predicted)
    if not finite.any():
        return Residuals(reference - np.mean(reference), predicted, np.flatnonzero(chosen)), float("nan")
    offset = float(np.mean(predicted[finite] - reference[finite]))
    centre = np.mean(reference)
    return Residuals(reference - centre, predicted - offset - centre, np.flatnonzero(chosen)), offset


def force_parity(parity: Parity, dataset: str, palette: Palette) -> Figure:
    """Force components of one model on one dataset."""
    residuals = force_residuals(parity, dataset)
    size = float(np.sqrt(np.mean(residuals.reference**2)))
    caption = (
        f"{counted(residuals.index.size, 'component')}. RMSE {number(residuals.rmse)} eV/Å, "
        f"MAE {number(residuals.mae)} eV/Å; forces themselves are {number(size)} eV/Å (root mean square). "
    )
    return _figure(
        f"forces/{_slug(parity)}/{dataset}",
        f"Forces, {dataset}",
        caption,
        residuals,
        [_atom_place(parity, index) for index in residuals.index[_dots(residuals)]],
        ("force", "eV/Å"),
        palette,
        parity.potential,
    )


def energy_parity(parity: Parity, dataset: str, palette: Palette) -> Figure:
    """Energies per atom of one model on one dataset, without the mean error."""
    residuals, offset = energy_residuals(parity, dataset)
    caption = (
        f"{counted(residuals.index.size, 'frame')}, energies relative to their mean. RMSE {number(residuals.rmse)} "
        f"meV/atom after a mean error of {number(offset, 2)} meV/atom was subtracted. "
    )
    return _figure(
        f"energies/{_slug(parity)}/{dataset}",
        f"Energies, {dataset}",
        caption,
        residuals,
        [_frame_place(parity, index) for index in residuals.index[_dots(residuals)]],
        ("energy", "meV/atom"),
        palette,
        parity.potential,
    )


def error_distribution(parities: list[Parity], datasets: list[str], palette: Palette) -> Figure:
    """Share of force components with an error above x, for every model and dataset, to compare the tails."""
    traces, sentences = [], []
    for parity in parities:
        for dataset in datasets:
            residuals = force_residuals(parity, dataset)
            errors = np.sort(np.abs(residuals.errors[residuals.finite]))
            if not errors.size:
                continue
            label = ", ".join(filter(None, (palette.label(parity.potential), dataset, parity.liquid)))
            shares = np.geomspace(0.9, 1.0 / errors.size, 80)
            quantile = errors[np.minimum(errors.size - 1, np.floor((1 - shares) * errors.size).astype(int))]
            dash = "solid" if dataset == datasets[0] else "dash"
            traces.append(line(quantile, shares, label, palette.colour(parity.potential), line={"dash": dash}))
            worst = errors[int(0.99 * (errors.size - 1))]
            sentences.append(f"{label}, {number(worst, 2)}")
    return Figure(
        "force-errors",
        "Distribution of force errors",
        "Share of force components whose error is larger than the value on the horizontal axis; the right end "
        "of each line is the worst component. One in a hundred has an error above: " + "; ".join(sentences) + " eV/Å.",
        traces,
        layout(
            log_axis("error of a force component", "eV/Å", [trace["x"] for trace in traces]),
            log_axis("share with a larger error", "", [trace["y"] for trace in traces]),
        ),
    )


def _figure(
    name: str,
    title: str,
    caption: str,
    residuals: Residuals,
    places: list[str],
    what: tuple[str, str],
    palette: Palette,
    potential: str,
) -> Figure:
    low, high = _range(residuals)
    traces = []
    if residuals.index.size > _FEW:
        bars, counts = _bins(residuals, low, high)
        traces.append(bars | {"marker": _shading(palette, potential, counts)})
        caption += f"The fullest bin contains {counted(int(counts.max(initial=0)), 'point')}. "
    dots = _dots(residuals)
    traces.append(_dot_trace(residuals, dots, places, (low, high), palette.colour(potential)))
    caption += _outlier_sentence(residuals, low, high)
    quantity, unit = what
    square = {"range": [low, high], "constrain": "domain", "nticks": 6}
    figure_layout = layout(
        axis(f"reference {quantity}", unit, **square),
        axis(f"predicted {quantity}", unit, scaleanchor="x", **square),
        shapes=[guide(low, low, high, high)],
        showlegend=False,
        bargap=0,
        barmode="overlay",
    )
    return Figure(name, title, caption.strip(), traces, figure_layout, square=True)


def _dots(residuals: Residuals) -> np.ndarray:
    """Points drawn as dots: all points if there are few, otherwise all outliers."""
    return np.flatnonzero(residuals.finite) if residuals.index.size <= _FEW else residuals.outliers


def _dot_trace(
    residuals: Residuals, dots: np.ndarray, places: Iterable[str], limits: tuple[float, float], colour: str
) -> dict[str, Any]:
    """Dots at their position; a point outside the plot becomes a triangle on its edge, with the value on hover."""
    predicted = residuals.predicted[dots]
    symbols = np.where(predicted > limits[1], "triangle-up", np.where(predicted < limits[0], "triangle-down", "circle"))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "outliers" if residuals.index.size > _FEW else "all points",
        "x": residuals.reference[dots],
        "y": np.clip(predicted, *limits),
        "text": [escaped(place) for place in places],
        "customdata": predicted,
        "marker": {
            "color": colour,
            "size": 6,
            "symbol": symbols.tolist(),
            "line": {"color": "rgba(255,255,255,0.7)", "width": 0.8},
        },
        "hovertemplate": "%{text}<br>reference %{x:.4g}<br>predicted %{customdata:.4g}<extra></extra>",
    }


def _bins(residuals: Residuals, low: float, high: float) -> tuple[dict[str, Any], np.ndarray]:
    """All points as bars with a base (plotly's basic bundle has no heatmap), and the count of each bar."""
    finite = residuals.finite
    edges = np.linspace(low, high, _BINS + 1)
    counts, _, _ = np.histogram2d(residuals.reference[finite], residuals.predicted[finite], bins=(edges, edges))
    column, row = np.nonzero(counts)
    width = edges[1] - edges[0]
    inside = counts[column, row].astype(int)
    bars = {
        "type": "bar",
        "name": "bins",
        "x": edges[column] + width / 2,
        "base": edges[row],
        "y": np.full(column.size, width),
        "width": width,
        "customdata": inside,
        "hovertemplate": "%{customdata} points<extra></extra>",
    }
    return bars, inside


def _shading(palette: Palette, potential: str, counts: np.ndarray) -> dict[str, Any]:
    """The potential's colour with an intensity by the logarithm of the count, for light and dark backgrounds."""
    strength = np.log(counts) / np.log(max(2, counts.max(initial=2)))
    return {"color": palette.colour(potential), "opacity": np.round(0.2 + 0.8 * strength, 2), "line": {"width": 0}}


def _range(residuals: Residuals) -> tuple[float, float]:
    """Limits of both axes: all reference values, and all predictions except outliers."""
    ordinary = residuals.finite.copy()
    ordinary[residuals.outliers] = False
    values = np.concatenate([residuals.reference, residuals.predicted[ordinary]])
    if not values.size:
        return -1.0, 1.0
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _outlier_sentence(residuals: Residuals, low: float, high: float) -> str:
    parts = []
    if residuals.index.size > _FEW:
        parts.append(f"{counted(residuals.outliers.size, 'outlier')} beyond {OUTLIER:g} × RMSE, each drawn as a dot")
    finite = residuals.predicted[residuals.finite]
    outside = int(np.sum((finite < low) | (finite > high)))
    if outside:
        parts.append(f"{outside} outside the plot, drawn as triangles on its edge")
    missing = int(np.sum(~residuals.finite))
    if missing:
        parts.append(f"{counted(missing, 'prediction')} not finite and left out")
    return "; ".join(parts) + "." if parts else ""


def _slug(parity: Parity) -> str:
    liquid = f"/{parity.liquid}" if parity.liquid else ""
    return parity.potential + ("" if parity.iteration is None else f"/{parity.iteration}") + liquid


def _frame_place(parity: Parity, frame: int) -> str:
    recipe = f", {parity.recipes[frame]}" if parity.recipes else ""
    return f"frame {frame}{recipe}"


def _atom_place(parity: Parity, component: int) -> str:
    atom, direction = divmod(int(component), 3)
    frame = int(parity.frames[atom])
    within = atom - int(np.flatnonzero(np.asarray(parity.frames) == frame)[0])
    return f"{_frame_place(parity, frame)}, {parity.elements[atom]} (atom {within}), {'xyz'[direction]}"

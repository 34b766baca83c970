"""Results of measurements: values and curves with errors, tables, verdicts, and records of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and its number of independent samples.

    Attributes
    ----------
    value, error
        In ``unit``; NaN if there is no value (then ``converged`` is False and ``note`` has the reason). A value that is
        not a mean, such as the largest of some frames, has the error NaN, and ``note`` describes it.
    n_eff
        Number of statistically independent samples of the value.
    converged
        False if the number must not be quoted as a result; ``note`` then has the reason and what would be needed.
    steady
        False if its series changes along the run, so that the value is not that of an equilibrium.
    """

    value: float
    error: float
    n_eff: float
    unit: str
    converged: bool = True
    note: str = ""
    steady: bool = True

    @classmethod
    def refused(cls, unit: str, note: str, n_eff: float = 0.0) -> Estimate:
        """An estimate without a value, with the reason."""
        return cls(math.nan, math.nan, n_eff, unit, converged=False, note=note)

    def __str__(self) -> str:
        """Value and error with significant digits, ``1.162(19)e-9 m2/s``; see :func:`with_error`.

        A value that has not converged is not quoted. A value without an error, such as the largest of some frames, is
        followed by its note.
        """
        if not self.converged:
            return f"not converged: {self.note}"
        if not math.isfinite(self.value):
            return f"not available: {self.note}"
        unit = "" if self.unit == "1" else f" {self.unit.replace('^', '')}"
        if not (math.isfinite(self.error) and self.error > 0):
            return f"{self.value:.4g}{unit} ({self.note or 'no error'})"
        return f"{with_error(self.value, self.error)}{unit}"


_LARGE, _SMALL = 6, -3  # a number has an exponent from the first power of ten on, and below the second


def with_error(value: float, error: float) -> str:
    """A number and its standard error in brackets, in units of the last digits: ``1.162(19)e-9``, ``423.4(1.2)``.

    The error has two digits, and the value ends at the same digit. Convention: BIPM, Guide to the Expression of
    Uncertainty in Measurement (2008), 7.2.2.

    Parameters
    ----------
    value, error
        Finite; the error is above zero.
    """
    last = int(f"{error:.1e}".partition("e")[2]) - 1  # power of ten of the last digit, after rounding
    power = math.floor(math.log10(max(abs(value), error)))
    exponent = power if power >= _LARGE or power < _SMALL else 0
    digits = exponent - last
    if digits <= 0:  # for large errors, the last significant digit is before the decimal point
        return f"{round(value / 10.0**last) * 10**last:d}({round(error / 10.0**last) * 10**last:d})"
    scaled, brackets = value / 10.0**exponent, error / 10.0**exponent
    shown = f"{brackets:.{digits}f}" if brackets >= 1.0 else str(round(brackets * 10**digits))
    return f"{scaled:.{digits}f}({shown})" + (f"e{exponent}" if exponent else "")


@dataclass(frozen=True)
class Curve:
    """A function measured at points, with errors if they are known. Arrays have the shape ``(n,)``.

    Attributes
    ----------
    n_eff
        Number of independent samples, for all values or for each point, if known.
    converged
        False if the values must not be quoted; None if unknown.
    """

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None
    x_label: str
    x_unit: str
    y_label: str
    y_unit: str
    n_eff: np.ndarray | float | None = None
    converged: bool | None = None


@dataclass(frozen=True)
class Table:
    """Tidy rows with one observation each; units are in the names of columns.

    Attributes
    ----------
    columns
        Names such as ``"population_percent"``.
    rows
        One tuple for each row, with numbers, texts, truth values, or None.
    kind, of
        What the table holds, for example ``"map"``, and of what: ``"TFSI"``. Tables of known kinds become figures.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[float | int | str | bool | None, ...]]
    kind: str = ""
    of: str = ""

    def column(self, name: str) -> list[float | int | str | bool | None]:
        """The values of one column."""
        where = self.columns.index(name)
        return [row[where] for row in self.rows]


class Holding(StrEnum):
    """Whether a run holds the liquid with which it started."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class LiquidVerdict:
    """The verdict of a run on its potential: does it hold the liquid?

    Attributes
    ----------
    holding
        The verdict.
    what
        The reason, a clause such as ``"the density fell from 1.02 to 0.45 g/cm3 within 11 ps"``.
    density, start_density
        Mean density of a run that holds the liquid, or final density of one that does not, and density of the start,
        g/cm^3; None if unknown.
    time_ps
        Time from the start until ``density`` was reached, if the run does not hold the liquid, or else the length of
        the run, ps.
    n_eff
        Number of independent samples of the density.
    """

    holding: Holding
    what: str
    density: float | None = None
    start_density: float | None = None
    time_ps: float | None = None
    n_eff: float = 0.0

    def __str__(self) -> str:
        """The verdict and its reason, as a sentence without a full stop."""
        what = " the liquid" if self.holding is not Holding.NOT_JUDGED else ""
        return f"{self.holding}{what}: {self.what}"

    @property
    def lost(self) -> bool:
        """Whether the run does not hold the liquid; its numbers are then not those of the liquid."""
        return self.holding is Holding.DOES_NOT_HOLD

    @property
    def estimate(self) -> Estimate:
        """The verdict as a number: 1 if the run holds the liquid, 0 if not, not converged if it is not judged."""
        if self.holding is Holding.NOT_JUDGED:
            return Estimate.refused("1", str(self), self.n_eff)
        value = 1.0 if self.holding is Holding.HOLDS else 0.0
        return Estimate(value, math.nan, self.n_eff, "1", True, str(self))

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LiquidVerdict:
        return cls(**{**data, "holding": Holding(data["holding"])})


def too_few_frames(count: int, purpose: str) -> str:
    """Reason of an estimate without a value: ``"3 frames are too few to follow ions"``."""
    return f"{count} {'frame is' if count == 1 else 'frames are'} too few {purpose}"


HOLDS_LIQUID = "holds_liquid"
"""Quantity of records that contain verdicts."""
TO_TEACHER = "_to_teacher"
"""Ending of quantities that say how far a student is from its teacher, and not from the reference."""


@dataclass(frozen=True)
class Record:
    """One line of ``ilforge results``: an estimate with labels that describe it.

    ``verdict`` is the verdict on the run in which the number was measured; None if there is no run, or ``health`` did
    not judge it. Records of the quantity ``holds_liquid`` are the verdicts themselves.
    """

    quantity: str
    liquid: str
    temperature_K: float | None
    potential: str
    species: str | None
    dataset: str | None
    iteration: int | None
    value: float
    error: float
    n_eff: float
    unit: str
    converged: bool
    note: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    steady: bool = True
    verdict: Holding | None = None

    @classmethod
    def of(cls, estimate: Estimate, **labels: Any) -> Record:
        """A record of an estimate with labels; missing labels are None."""
        blank = dict.fromkeys(("liquid", "temperature_K", "potential", "species", "dataset", "iteration"), None)
        return cls(**{**blank, **asdict(estimate), **labels})

    @property
    def text(self) -> str:
        """Value, error and unit to quote, or the reason why there are none; for a verdict its sentence."""
        if self.quantity == HOLDS_LIQUID:
            return self.note
        return str(Estimate(self.value, self.error, self.n_eff, self.unit, self.converged, self.note))

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values: NaN becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        numbers = {k: math.nan if data[k] is None else data[k] for k in ("value", "error", "n_eff")}
        verdict = data.get("verdict")
        return cls(**{**data, **numbers, "verdict": None if verdict is None else Holding(verdict)})

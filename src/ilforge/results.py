"""What a measurement is: a value with its error, a curve with its errors, a table, a record of either."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and how many independent samples stand behind it.

    Attributes
    ----------
    value, error
        In ``unit``; NaN where nothing can be said (then ``converged`` is False and ``note`` says why). A value that is
        no mean, such as the largest of some frames, has no error: that is NaN too, and ``note`` says what it is.
    n_eff
        Number of statistically independent samples behind the value.
    converged
        False when the number must not be quoted as a result; ``note`` then says why, and what it would take.
    steady
        False where what it is made of changes along the run: a longer run of the same kind would not help.
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
        """No number at all, with the reason."""
        return cls(math.nan, math.nan, n_eff, unit, converged=False, note=note)

    def __str__(self) -> str:
        """Value and error with the digits that mean something, ``1.162(19)e-9 m2/s``; see :func:`with_error`.

        What has not converged is not quoted. A value without an error, such as the largest of some, says in its note
        what it is.
        """
        if not self.converged:
            return f"not converged: {self.note}"
        if not math.isfinite(self.value):
            return f"not available: {self.note}"
        unit = "" if self.unit == "1" else f" {self.unit.replace('^', '')}"
        if not (math.isfinite(self.error) and self.error > 0):
            return f"{self.value:.4g}{unit} ({self.note or 'no error'})"
        return f"{with_error(self.value, self.error)}{unit}"


_LARGE, _SMALL = 6, -3  # powers of ten from and below which a number has an exponent


def with_error(value: float, error: float) -> str:
    """A number and its standard error in brackets, in units of the last digits: ``1.162(19)e-9``, ``423.4(1.2)``.

    The error has two digits, and the value ends where it does. Convention: BIPM, Guide to the Expression of Uncertainty
    in Measurement (2008), 7.2.2.

    Parameters
    ----------
    value, error
        Finite; the error is above zero.
    """
    last = int(f"{error:.1e}".partition("e")[2]) - 1  # power of ten of the last digit, after rounding
    power = math.floor(math.log10(max(abs(value), error)))
    exponent = power if power >= _LARGE or power < _SMALL else 0
    digits = exponent - last
    if digits <= 0:  # hundreds and more: the last digits that count stand before the point
        return f"{round(value / 10.0**last) * 10**last:d}({round(error / 10.0**last) * 10**last:d})"
    scaled, brackets = value / 10.0**exponent, error / 10.0**exponent
    shown = f"{brackets:.{digits}f}" if brackets >= 1.0 else str(round(brackets * 10**digits))
    return f"{scaled:.{digits}f}({shown})" + (f"e{exponent}" if exponent else "")


@dataclass(frozen=True)
class Curve:
    """A function measured at points, with errors where they are known. Arrays are of shape ``(n,)``.

    Attributes
    ----------
    n_eff
        Independent samples behind the values, one number for all or one for each point, where known.
    converged
        False where the values must not be quoted; None where nothing was said.
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
    """Tidy rows: one observation each, units in the names of columns.

    Attributes
    ----------
    columns
        Names such as ``"population_percent"``.
    rows
        Numbers, words, truth values, or None where there is nothing to say; one tuple a row.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[float | int | str | bool | None, ...]]

    def column(self, name: str) -> list[float | int | str | bool | None]:
        """The values of one column."""
        where = self.columns.index(name)
        return [row[where] for row in self.rows]


class Holding(StrEnum):
    """Whether a run holds the liquid that it started with."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class LiquidVerdict:
    """What a run says of its potential: does it hold the liquid?

    Attributes
    ----------
    holding
        The verdict.
    what
        What it rests on, a clause such as ``"the density fell from 1.02 to 0.45 g/cm3 within 11 ps"``.
    density, start_density
        That the run holds, or that it reached, and that of its start, g/cm^3; None where it is not known.
    time_ps
        Time from the start to ``density`` where it does not hold, length of the run where it does, ps.
    n_eff
        Independent samples of the density.
    """

    holding: Holding
    what: str
    density: float | None = None
    start_density: float | None = None
    time_ps: float | None = None
    n_eff: float = 0.0

    def __str__(self) -> str:
        """One sentence without its full stop: the verdict, and why."""
        what = " the liquid" if self.holding is not Holding.NOT_JUDGED else ""
        return f"{self.holding}{what}: {self.what}"

    @property
    def lost(self) -> bool:
        """Whether the run does not hold the liquid: then its numbers are of something else."""
        return self.holding is Holding.DOES_NOT_HOLD

    @property
    def estimate(self) -> Estimate:
        """The verdict as a number: 1 where it holds, 0 where it does not, not converged where it is not judged."""
        if self.holding is Holding.NOT_JUDGED:
            return Estimate.refused("1", str(self), self.n_eff)
        value = 1.0 if self.holding is Holding.HOLDS else 0.0
        return Estimate(value, math.nan, self.n_eff, "1", True, str(self))

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LiquidVerdict:
        return cls(**{**data, "holding": Holding(data["holding"])})


HOLDS_LIQUID = "holds_liquid"
"""The quantity of records that are verdicts."""
TO_TEACHER = "_to_teacher"
"""Ending of quantities that say how far a student is from its teacher, and not from the reference."""


@dataclass(frozen=True)
class Record:
    """One line of ``ilforge results``: an estimate and everything that says what it is of.

    ``verdict`` is that of the run which the number was measured on; None for what was measured on none, or not judged
    by ``health``. Records of the quantity ``holds_liquid`` are the verdicts themselves.
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
        """The estimate, labelled; labels that are not given are None."""
        blank = dict.fromkeys(("liquid", "temperature_K", "potential", "species", "dataset", "iteration"), None)
        return cls(**{**blank, **asdict(estimate), **labels})

    @property
    def text(self) -> str:
        """Value, error and unit as they are quoted, or why they are not; of a verdict the sentence."""
        if self.quantity == HOLDS_LIQUID:
            return self.note
        return str(Estimate(self.value, self.error, self.n_eff, self.unit, self.converged, self.note))

    def as_json(self) -> dict[str, Any]:
        """The record as JSON can hold it: NaN becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        numbers = {k: math.nan if data[k] is None else data[k] for k in ("value", "error", "n_eff")}
        verdict = data.get("verdict")
        return cls(**{**data, **numbers, "verdict": None if verdict is None else Holding(verdict)})

"""Concurrent learning as a loop: whether another iteration follows, decided from the results of those before.

Decisions are pure functions of stored results. The plan is made again from them for each decision. Therefore a run, its
continuation after a stop, ``status`` and the report all reach the same decisions, and no file is needed to store a
state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ilforge.properties import Measurement
from ilforge.results import Holding
from ilforge.study.settings import StopSettings
from ilforge.workflow.stage import Stage


class Results(Protocol):
    """Where finished stages are looked up: a :class:`~ilforge.workflow.store.ResultStore`."""

    def holds(self, stage: Stage) -> bool:
        """Whether the stage is finished."""
        ...

    def path(self, stage: Stage) -> Path:
        """Directory of its result."""
        ...


@dataclass(frozen=True)
class Round:
    """The results of one iteration that are known when the next one is decided.

    Attributes
    ----------
    accurate, explored
        Frames on which the committee agreed, and all that it explored.
    labelled
        Frames of it that were chosen to be labelled.
    to_come
        Frames that may still be chosen, at most, because its runs have not all ended (``learning.retrain_after``).
    force_rmse
        Of the explorer on validation frames before and after the iteration, eV/Å.
    densities
        Of the liquid with the explorer's model before and after the iteration, one for each composition, g/cm^3; None
        where the model does not hold it, or the run was too short to tell.
    """

    accurate: int
    explored: int
    labelled: int
    force_rmse: tuple[float, float] | None = None
    densities: tuple[tuple[float | None, ...], tuple[float | None, ...]] | None = None
    to_come: int = 0


DENSITY_CHANGE = 0.02
"""Largest relative change of the density between two models that both hold the liquid, for ``holds_liquid_ps``."""


def reason_to_stop(rounds: Sequence[Round], stop: StopSettings, exploring: bool) -> str | None:
    """The reason why no further iteration follows, in a sentence; None if one follows.

    Parameters
    ----------
    rounds
        All iterations so far. If ``exploring``, only the exploration of the last one is finished, and its frames are
        not labelled if there is a reason to stop.
    """
    if not rounds:
        return None
    last, made = rounds[-1], sum(one.labelled for one in (rounds[:-1] if exploring else rounds))
    if exploring:
        disagreed = last.explored - last.accurate
        if stop.candidates is not None and disagreed <= stop.candidates * last.explored * (1 + 1e-12):
            share = disagreed / max(1, last.explored)
            return (
                f"of {last.explored:,} explored frames the committee disagreed on {100 * share:.2g} %, and "
                f"learning.stop.candidates is {100 * stop.candidates:g} %"
            )
        return None
    if stop.labels is not None and made >= stop.labels:
        return f"{made:,} explored frames were labelled, and learning.stop.labels is {stop.labels:,}"
    if stop.force_rmse_gain is not None and last.force_rmse is not None:
        before, after = last.force_rmse
        gain = 1 - after / before
        if gain < stop.force_rmse_gain:
            return (
                f"the force RMSE on validation frames went from {before:.4f} to {after:.4f} eV/Å, a gain of "
                f"{100 * gain:.2g} %, and learning.stop.force_rmse_gain is {100 * stop.force_rmse_gain:g} %"
            )
    if stop.holds_liquid_ps is not None and last.densities is not None:
        return _held(*last.densities, stop.holds_liquid_ps)
    return None


def budget_is_open(rounds: Sequence[Round], stop: StopSettings) -> bool:
    """Whether frames that may still be chosen decide if ``learning.stop.labels`` is reached.

    If not, the answer is certain already, and remains the same whatever runs that have not ended will find.
    """
    made = sum(one.labelled for one in rounds)
    return stop.labels is not None and made < stop.labels <= made + sum(one.to_come for one in rounds)


def _held(before: Sequence[float | None], after: Sequence[float | None], length_ps: float) -> str | None:
    """That both models hold the liquid at the same density, in a sentence; None if they do not."""
    words = []
    for one, other in zip(before, after, strict=True):
        if one is None or other is None or abs(other / one - 1) > DENSITY_CHANGE:
            return None
        words.append(f"{one:.3f} and {other:.3f} g/cm3")
    return (
        f"the models before and after it hold the liquid for {length_ps:g} ps (learning.stop.holds_liquid_ps), at "
        f"{'; '.join(words)}"
    )


def round_of(
    selections: Sequence[Path],
    force_rmse: tuple[float, float] | None = None,
    densities: tuple[tuple[float | None, ...], tuple[float | None, ...]] | None = None,
    to_come: int = 0,
) -> Round:
    """An iteration from the files ``selection.json`` of its explorations that have ended, one for each composition."""
    found = [json.loads(path.read_text()) for path in selections]
    accurate = sum(one["accurate"] for one in found)
    explored = sum(one["accurate"] + one["candidate"] + one["failed"] for one in found)
    return Round(accurate, explored, sum(one["chosen"] for one in found), force_rmse, densities, to_come)


def held_density(measurement: Path) -> float | None:
    """Density of a run whose health verdict is "holds", g/cm^3, from ``measurement.json``; else None."""
    liquid = Measurement.from_json(json.loads(measurement.read_text())).liquid
    return liquid.density if liquid is not None and liquid.holding is Holding.HOLDS else None


def force_rmse(errors: Sequence[Path]) -> float:
    """Force RMSE over all validation frames, eV/Å, the mean over compositions of the files ``errors.json``."""
    values = [
        float(row["value"])
        for path in errors
        for row in json.loads(path.read_text())
        if (row["quantity"], row["species"], row["dataset"]) == ("force_rmse", None, "all")
    ]
    return sum(values) / len(values)

"""Concurrent learning as a loop: whether another iteration follows, decided from the results of those before.

Decisions are pure functions of stored results. A plan is made anew from them whenever one is due, so that a run, its
continuation after a stop, ``status`` and the report all come to the same ones, and no file keeps a state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """What one iteration has given, as far as it is known when the next is decided on.

    Attributes
    ----------
    accurate, explored
        Frames on which the committee agreed, and all that it explored.
    labelled
        Frames of it that were chosen to be labelled.
    force_rmse
        Of the explorer on validation frames before and after the iteration, eV/Å.
    """

    accurate: int
    explored: int
    labelled: int
    force_rmse: tuple[float, float] | None = None


def reason_to_stop(rounds: Sequence[Round], stop: StopSettings, exploring: bool) -> str | None:
    """Why no further iteration follows, in a sentence; None where one does.

    Parameters
    ----------
    rounds
        Iterations so far, from the first. Where ``exploring``, the last is one of which only the exploration is there:
        it is not labelled when this gives a reason.
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
    return None


def round_of(selections: Sequence[Path], force_rmse: tuple[float, float] | None = None) -> Round:
    """An iteration from the files ``selection.json`` of its explorations, one for each composition."""
    found = [json.loads(path.read_text()) for path in selections]
    accurate = sum(one["accurate"] for one in found)
    explored = sum(one["accurate"] + one["candidate"] + one["failed"] for one in found)
    return Round(accurate, explored, sum(one["chosen"] for one in found), force_rmse)


def force_rmse(errors: Sequence[Path]) -> float:
    """Force RMSE over all validation frames, eV/Å, the mean over compositions of the files ``errors.json``."""
    values = [
        float(row["value"])
        for path in errors
        for row in json.loads(path.read_text())
        if (row["quantity"], row["species"], row["dataset"]) == ("force_rmse", None, "all")
    ]
    return sum(values) / len(values)

"""What exploration has found so far, from the stored verdicts on its frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ilforge.sampling.explanation import conditions_of, in_words
from ilforge.workflow.plan import Plan
from ilforge.workflow.steps.learning import SELECTION
from ilforge.workflow.store import ResultStore


class Explored(NamedTuple):
    """One finished selection: its iteration, its composition (empty if the study names none) and what it found."""

    iteration: int
    composition: str
    found: dict[str, Any]

    @property
    def notes(self) -> list[str]:
        """Where the window of deviations comes from if it was calibrated, and what to do if nothing was labelled."""
        note, advice = self.found["window"]["note"], self.found["advice"]
        return [*([f"window of deviations: {note}."] if note else []), *([advice] if advice else [])]

    @property
    def lines(self) -> list[str]:
        """What was found, a line for each state."""
        where = f"Iteration {self.iteration}" + (f", {self.composition}" if self.composition else "")
        states = [f"{conditions_of(state)}: {in_words(state)}" for state in self.found["states"]]
        return [f"{where}, {words}" for words in (*states, *self.notes)]


def explored(plan: Plan, store: ResultStore) -> Iterator[Explored]:
    """All finished selections, in order of iterations."""
    for (iteration, composition), stage in plan.explorations.items():
        if store.holds(stage):
            yield Explored(iteration, composition, json.loads((store.path(stage) / SELECTION).read_text()))

"""Forces of a step: all at once, or divided into those of a cheap inner potential and the rest."""

from __future__ import annotations

import numpy as np

from ilforge.potentials.force_evaluator import Evaluation, ForceEvaluator


class Forces:
    """Forces that act in every short step, and forces that act once in a whole step.

    Parameters
    ----------
    potential
        The potential of the run.
    inner
        A cheap potential for the short steps; None if steps are not divided.

    Attributes
    ----------
    now
        The last evaluation of the potential; None before the first.
    short
        Forces of the short steps, ``(n_atoms, 3)`` eV/Å: those of the inner potential or, without one, of the
        potential.
    rest
        Forces of the potential minus those of the inner potential, at the end of a whole step; None without an inner
        potential.
    """

    now: Evaluation | None
    short: np.ndarray
    rest: np.ndarray | None

    def __init__(self, potential: ForceEvaluator, inner: ForceEvaluator | None):
        self._potential, self._inner = potential, inner
        self.now = self.rest = None

    @property
    def last(self) -> Evaluation:
        """The last answer of the potential; only valid after a call."""
        assert self.now is not None
        return self.now

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        """Evaluate the potential without changing the state, for a move that may be rejected."""
        return self._potential.evaluate(positions, cell)

    def update(self, positions: np.ndarray, cell: np.ndarray | None, whole: bool = True) -> None:
        """Update the forces at new positions: all of them at the end of a whole step, else only the short ones."""
        if self._inner is None or whole:
            self.keep(self.evaluate(positions, cell), positions, cell)
        else:
            self.short = self._inner.evaluate(positions, cell).forces

    def keep(self, found: Evaluation, positions: np.ndarray, cell: np.ndarray | None) -> None:
        """Use a result of :meth:`evaluate` as the evaluation of the present positions."""
        self.now = found
        if self._inner is None:
            self.short = found.forces
        else:
            self.short = self._inner.evaluate(positions, cell).forces
            self.rest = found.forces - self.short

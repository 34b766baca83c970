"""Forces of a step, whole or divided into those of a cheap inner potential and the rest."""

from __future__ import annotations

import numpy as np

from ilforge.potentials.force_evaluator import Evaluation, ForceEvaluator


class Forces:
    """What moves atoms in short steps, and what acts once in a whole step.

    Parameters
    ----------
    potential
        The potential that is run.
    inner
        A cheap one that moves atoms in between; None where steps are not divided.

    Attributes
    ----------
    now
        What the potential said last; None before it was asked.
    short
        Forces of the short steps, ``(n_atoms, 3)`` eV/Å: those of the inner potential or, without one, all.
    rest
        What the potential adds to them at the end of a whole step; None without an inner potential.
    """

    now: Evaluation | None
    short: np.ndarray
    rest: np.ndarray | None

    def __init__(self, potential: ForceEvaluator, inner: ForceEvaluator | None):
        self._potential, self._inner = potential, inner
        self.now = self.rest = None

    @property
    def last(self) -> Evaluation:
        """What the potential said last, after it was asked."""
        assert self.now is not None
        return self.now

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        """What the potential says of these positions, with nothing kept: for a move that may be refused."""
        return self._potential.evaluate(positions, cell)

    def update(self, positions: np.ndarray, cell: np.ndarray | None, whole: bool = True) -> None:
        """Forces at new positions: at the end of a whole step, or within it those of the short steps alone."""
        if self._inner is None or whole:
            self.keep(self.evaluate(positions, cell), positions, cell)
        else:
            self.short = self._inner.evaluate(positions, cell).forces

    def keep(self, found: Evaluation, positions: np.ndarray, cell: np.ndarray | None) -> None:
        """Take what :meth:`evaluate` said as that of the present positions."""
        self.now = found
        if self._inner is None:
            self.short = found.forces
        else:
            self.short = self._inner.evaluate(positions, cell).forces
            self.rest = found.forces - self.short

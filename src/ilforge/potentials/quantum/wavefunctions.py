"""Decide whether a calculation starts from the wavefunctions of the last frame."""

from __future__ import annotations

import numpy as np
from ase import Atoms

STEP_A = 0.2
"""If atoms have moved farther, old wavefunctions are worse than none: for frames 0.5 ps apart, GPAW took 30 iterations
instead of 11. With wavefunctions of another box, CP2K's gradient was 4e-3 after 20 iterations, without them 7e-5."""


def is_step(before: Atoms | None, after: Atoms) -> bool:
    """Whether a frame is the next step of a trajectory: the same atoms, with small changes of positions and cell."""
    return (
        before is not None
        and len(before) == len(after)
        and bool((before.numbers == after.numbers).all() and (before.pbc == after.pbc).all())
        and bool(np.abs(before.positions - after.positions).max(initial=0.0) <= STEP_A)
        and bool(np.abs(before.cell.array - after.cell.array).max() <= STEP_A)
    )

"""When the wavefunctions of the last frame are a better start for the next one than none."""

from __future__ import annotations

import numpy as np
from ase import Atoms

STEP_A = 0.2
"""Those of atoms farther off are worse than none: GPAW took 30 iterations instead of 11 for frames 0.5 ps apart; CP2K
was at a gradient of 4e-3 after 20 iterations from those of another box, at 7e-5 from none."""


def is_step(before: Atoms | None, after: Atoms) -> bool:
    """Whether a frame is the next step of a motion: the same atoms, and none, nor a corner of the box, far away."""
    return (
        before is not None
        and len(before) == len(after)
        and bool((before.numbers == after.numbers).all() and (before.pbc == after.pbc).all())
        and bool(np.abs(before.positions - after.positions).max(initial=0.0) <= STEP_A)
        and bool(np.abs(before.cell.array - after.cell.array).max() <= STEP_A)
    )

"""Drude particles at rest: the displacements at which no force acts on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilforge.errors import DidNotConverge

LONGEST_A = 0.5
"""A displacement beyond this is no polarization any more: charges have run into each other."""

_ITERATIONS = 100
_HISTORY = 20


def relaxed(forces: Callable[[np.ndarray], np.ndarray], n: int, stiffness: float, tolerance: float) -> np.ndarray:
    """Displacements of Drude particles without force on them.

    The field hardly changes over the length of a displacement, so that ``d + F(d)/k`` is nearly the answer; Anderson's
    mixing of the last steps (J. Assoc. Comput. Mach. 1965, 12, 547) makes that converge in about ten evaluations,
    from forces alone. It begins at zero, so that the result does not depend on earlier frames.

    Parameters
    ----------
    forces
        Forces on the particles at displacements ``(m, 3)`` Å from their atoms, kJ/mol/Å.
    n
        Number of particles.
    stiffness
        Of their springs, kJ/mol/Å^2.
    tolerance
        Largest component of a force that is left, kJ/mol/Å.

    Returns
    -------
    displacements
        ``(m, 3)`` Å; ``forces`` was called with them last.

    Raises
    ------
    DidNotConverge
        When dipoles grow without bound, or do not settle.
    """
    now = np.zeros((n, 3))
    tried: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_ITERATIONS):
        found = forces(now)
        if np.abs(found).max(initial=0.0) <= tolerance:
            return now
        tried = [*tried[-_HISTORY:], (now, found / stiffness)]
        now = _mixed(tried)
        if not np.abs(now).max() <= LONGEST_A:  # NaN counts, too
            raise DidNotConverge("polarization catastrophe: induced dipoles grow without bound in this structure")
    raise DidNotConverge(f"induced dipoles did not settle in {_ITERATIONS} iterations")


def _mixed(tried: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The combination of earlier displacements whose steps cancel best, and what is left of the step."""
    now, step = tried[-1]
    found: np.ndarray = now + step
    if len(tried) == 1:
        return found
    moves = np.stack([(b - a).ravel() for (a, _), (b, _) in zip(tried, tried[1:], strict=False)], axis=1)
    changes = np.stack([(b - a).ravel() for (_, a), (_, b) in zip(tried, tried[1:], strict=False)], axis=1)
    weights = np.linalg.lstsq(changes, step.ravel(), rcond=1e-10)[0]
    found -= ((moves + changes) @ weights).reshape(now.shape)
    return found

"""Relaxation of Drude particles: displacements without force on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ilforge.errors import DidNotConverge

LONGEST_A = 0.5
"""Larger displacements are unphysical: opposite charges have collapsed onto each other."""

_ITERATIONS = 100
_HISTORY = 20


def relaxed(forces: Callable[[np.ndarray], np.ndarray], n: int, stiffness: float, tolerance: float) -> np.ndarray:
    """Displacements of Drude particles without force on them.

    The field hardly changes over the length of a displacement, so ``d + F(d)/k`` is almost the solution. With Anderson
    mixing of the last steps (J. Assoc. Comput. Mach. 1965, 12, 547), this iteration converges in about ten evaluations
    of forces. It begins at zero, so the result does not depend on earlier frames.

    Parameters
    ----------
    forces
        Forces on the particles at displacements ``(m, 3)`` Å from their atoms, kJ/mol/Å.
    n
        Number of particles.
    stiffness
        Force constant of their springs, kJ/mol/Å^2.
    tolerance
        Largest allowed component of a remaining force, kJ/mol/Å.

    Returns
    -------
    displacements
        ``(m, 3)`` Å; they were the arguments of the last call of ``forces``.

    Raises
    ------
    DidNotConverge
        When dipoles diverge or do not converge.
    """
    now = np.zeros((n, 3))
    tried: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_ITERATIONS):
        found = forces(now)
        if np.abs(found).max(initial=0.0) <= tolerance:
            return now
        tried = [*tried[-_HISTORY:], (now, found / stiffness)]
        now = _mixed(tried)
        if not np.abs(now).max() <= LONGEST_A:  # also true for NaN
            raise DidNotConverge("polarization catastrophe: induced dipoles grow without bound in this structure")
    raise DidNotConverge(f"induced dipoles did not converge in {_ITERATIONS} iterations")


def _mixed(tried: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The combination of earlier displacements with the smallest combined step, plus this step."""
    now, step = tried[-1]
    found: np.ndarray = now + step
    if len(tried) == 1:
        return found
    moves = np.stack([(b - a).ravel() for (a, _), (b, _) in zip(tried, tried[1:], strict=False)], axis=1)
    changes = np.stack([(b - a).ravel() for (_, a), (_, b) in zip(tried, tried[1:], strict=False)], axis=1)
    weights = np.linalg.lstsq(changes, step.ravel(), rcond=1e-10)[0]
    found -= ((moves + changes) @ weights).reshape(now.shape)
    return found

"""What a reference program wrote, frame by frame: results, whether each converged, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms


@dataclass(frozen=True, eq=False)
class Reading:
    """One frame of an output.

    Attributes
    ----------
    atoms
        The structure, without calculator.
    energy
        The energy that the forces belong to, eV (with smeared electrons the free energy).
    forces
        ``(n_atoms, 3)`` eV/Å.
    stress
        ``(6,)`` eV/Å^3, Voigt, tension positive; None where there is none that can be trusted.
    converged
        Whether self-consistency was reached in this very frame; None where the file does not say.
    fault
        Why there is no usable result; None when there is one.
    notes
        More that the program says of this frame.
    """

    atoms: Atoms
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    converged: bool | None = None
    fault: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Output:
    """A whole output.

    Attributes
    ----------
    method
        What made it, as JSON can hold it: program, version and the settings that decide numbers.
    readings
        Its frames in their order.
    ending
        What is wrong with the end of the file, such as a frame that was cut off; None when it is whole.
    """

    method: Mapping[str, Any]
    readings: tuple[Reading, ...]
    ending: str | None = None

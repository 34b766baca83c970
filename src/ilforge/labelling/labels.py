"""A label: the result of a reference method for one frame, stored unchanged."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import canonical, frames
from ilforge.errors import DidNotFinish, SettingsError

_CUT_SHORT = {
    kind.__name__
    for kind in (DidNotFinish, MemoryError, OSError, *OSError.__subclasses__(), *ConnectionError.__subclasses__())
} | {"_ArrayMemoryError", "OutOfMemoryError"}  # names in NumPy and PyTorch
_LACKING = re.compile(
    r"\bMemoryError\b|out of memory|(can ?not|can't|could not|unable to|failed to) (re)?allocate|bad_alloc|oom.?kill"
    r"|no space left|signal -?(9|15)\b|signal: killed|disk quota exceeded|too many open files"
    r"|resource temporarily unavailable",
    re.IGNORECASE,
)
"""Messages of libraries and programs that lacked memory, disk or other resources, or that were killed."""

_KILLED = re.compile(r"worker process died|killed by signal|exited on signal|signal: killed|oom.?kill", re.IGNORECASE)
_KILLED_BEFORE = re.compile(r"^(?:DidNotFinish|GivenUp): killed \d+ times, in (\d+) runs?; the last time: ")
_GIVEN_UP = "GivenUp"
"""Replaces the name of an exception in a label that is not computed again, unless a user asks for it."""
KILLED_RUNS = 3
"""A frame is given up if its calculation was killed at every attempt in this number of runs."""

SAME_ENERGY_EV = 1e-4
"""Two energies of one frame by one method that differ by more than this, in eV, contradict each other."""


def method_digest(description: Mapping[str, Any]) -> str:
    """Name of a method: SHA-256 of everything that determines its results, in canonical JSON."""
    return canonical.digest(description)


def is_cut_short(error: str | None) -> bool:
    """Whether the machine, and not the frame, caused a failure: see :attr:`Label.cut_short`."""
    if error is None or error.startswith(_GIVEN_UP):
        return False
    return error.partition(":")[0] in _CUT_SHORT or bool(_LACKING.search(error))


def may_pass(error: str | None) -> bool:
    """Whether a failure is temporary, such as a lack of memory or a kill, and not a property of the frame.

    A program that ends by itself with an exit code is not a temporary failure.
    """
    if error is None or not is_cut_short(error):
        return False
    return "ended with exit code" not in error or bool(_LACKING.search(error))


def was_killed(error: str | None) -> bool:
    """Whether a calculation or its process was killed, for example by the system because of a lack of memory."""
    return is_cut_short(error) and bool(_KILLED.search(error or ""))


def killed_again(error: str, before: str | None, times: int) -> str:
    """The reason of a calculation that was killed again, with the number of kills.

    Parameters
    ----------
    error
        The reason in this run.
    before
        The reason in an earlier run, if any.
    times
        Number of kills in this run.

    Returns
    -------
    str
        From the :data:`KILLED_RUNS`-th run on, the frame counts as the cause: see :func:`is_cut_short`.
    """
    said = _KILLED_BEFORE.match(before or "")
    runs = 1 + (int(said[1]) if said else 0)
    kind = "DidNotFinish" if runs < KILLED_RUNS else _GIVEN_UP
    last = error.partition(": ")[2] or error
    in_runs = f"{runs} run{'s' if runs > 1 else ''}"
    return f"{kind}: killed {runs * times} times, in {in_runs}; the last time: {last}"


def in_words(error: BaseException) -> str:
    """An exception as text for a label: the name of its class (or of a known base class) and its message."""
    known = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _CUT_SHORT]
    return f"{known[0] if known else type(error).__name__}: {error}"


@dataclass(frozen=True, eq=False)
class Label:
    """One frame, one method, and the answer or the reason why there is none.

    A label does not contain whether it is good enough for training. That is judged when it is read, see
    :func:`ilforge.labelling.gate.judge`, so that no label is computed again after a change of the gate.

    Attributes
    ----------
    frame
        The structure with its ``info``, without labels.
    method
        Description of the reference potential (``Potential.describe()``).
    energy
        Energy in eV, or None when the calculation failed.
    forces
        ``(n_atoms, 3)`` in eV/Å, or None.
    stress
        ``(6,)`` in eV/Å^3, Voigt order xx yy zz yz xz xy, tension positive; None if the method gives none.
    converged
        Whether the method reports convergence.
    error
        Why there is no usable result, in words; None if there is one.
    cost_s
        Wall time of the calculation, s.
    host, time
        Machine and time (seconds since 1970) of the calculation.
    """

    frame: Atoms
    method: Mapping[str, Any]
    energy: float | None = None
    forces: np.ndarray | None = None
    stress: np.ndarray | None = None
    converged: bool = False
    error: str | None = None
    cost_s: float = 0.0
    host: str = field(default_factory=platform.node)
    time: float = field(default_factory=time.time)

    @property
    def result(self) -> tuple[float, np.ndarray]:
        """Energy, eV, and forces, eV/Å; only valid for a label with a result."""
        assert self.energy is not None and self.forces is not None
        return self.energy, self.forces

    @cached_property
    def frame_digest(self) -> str:
        return frames.digest(self.frame)

    @cached_property
    def method_digest(self) -> str:
        return method_digest(self.method)

    @property
    def failed(self) -> bool:
        """Whether there is no result at all (the gate may also refuse an existing result)."""
        return self.error is not None

    @property
    def cut_short(self) -> bool:
        """Whether the calculation was killed or lacked memory or disk, so that another attempt may succeed."""
        return is_cut_short(self.error)

    @property
    def may_pass(self) -> bool:
        """Whether the machine alone caused the failure: see :func:`may_pass`."""
        return may_pass(self.error)

    def of(self, frame: Atoms) -> Label:
        """This label for the same structure with another ``info``, for example from another study."""
        if frames.digest(frame) != self.frame_digest:
            raise SettingsError("A label can only be put on the structure it was computed for.")
        return replace(self, frame=frame)

    def on(self, frame: Atoms) -> Atoms:
        """A copy of ``frame`` (the same structure, perhaps from another study) with this label.

        Raises
        ------
        SettingsError
            When ``frame`` is another structure, or there is no result.
        """
        if frames.digest(frame) != self.frame_digest:
            raise SettingsError("A label can only be put on the structure it was computed for.")
        if self.error is not None or self.energy is None or self.forces is None:
            raise SettingsError(f"There is no result to put on the frame: {self.error}")
        labelled: Atoms = frame.copy()
        labelled.info[frames.ENERGY] = float(self.energy)
        labelled.arrays[frames.FORCES] = np.array(self.forces, dtype=float)
        if self.stress is not None:
            labelled.info[frames.STRESS] = np.array(self.stress, dtype=float)
        return labelled


def checked(label: Label) -> Label:
    """The label, or a failed label with the fault: an invalid result is never stored as a result."""
    if label.error is not None:
        return label
    fault = _fault(label)
    if fault is None:
        return label
    return Label(
        frame=label.frame,
        method=label.method,
        error=fault,
        cost_s=label.cost_s,
        host=label.host,
        time=label.time,
    )


def _fault(label: Label) -> str | None:
    n_atoms = len(label.frame)
    if label.energy is None or label.forces is None:
        return "incomplete result: the method gave no energy or no forces"
    shape = np.shape(label.forces)
    if shape != (n_atoms, 3):
        return f"wrong number of atoms: the frame has {n_atoms}, its forces have shape {shape}"
    if label.stress is not None and np.shape(label.stress) != (6,):
        return f"incomplete result: a stress has 6 components, found shape {np.shape(label.stress)}"
    parts: dict[str, float | np.ndarray] = {"energy": label.energy, "forces": label.forces}
    if label.stress is not None:
        parts["stress"] = label.stress
    broken = [name for name, values in parts.items() if not np.all(np.isfinite(values))]
    if broken:
        return f"not finite: the method gave NaN or infinity in {' and '.join(broken)}"
    return None

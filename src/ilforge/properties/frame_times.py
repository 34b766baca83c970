"""Whether frames follow one another in time as they should: evenly spaced, none missing, none twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ilforge.properties.property import Snapshot

_UNEVEN = 0.01  # of the frame interval
_ROUNDINGS = 4.0  # of a time in single precision, as in XTC and TRR: two of a step, two of what it is held against
_LEAST_GAP = 0.4  # of the frame interval: a frame that is missing or doubled is a whole one off
_SAME_PLACE_A = 2e-3  # files have two or three decimals of an Å, and atoms at any temperature move more


class Clock:
    """Holds the times that frames carry, one after the other, against the time that should lie between them."""

    def __init__(self, interval_ps: float):
        self._interval = interval_ps
        self._first = self._last = np.nan

    def tick(self, index: int, time_ps: float | None) -> None:
        """The time of the next frame, ps; None where it does not matter."""
        if time_ps is None:
            return
        if index == 0:
            self._first = time_ps
        elif time_ps > self._first:  # files read one after the other may each begin at zero
            self._check(time_ps - self._last, index, time_ps)
        self._last = time_ps

    def _check(self, step: float, index: int, time_ps: float) -> None:
        rounding = _ROUNDINGS * float(np.spacing(np.float32(abs(time_ps))))
        allowed = min(max(_UNEVEN * self._interval, rounding), _LEAST_GAP * self._interval)
        if not abs(step - self._interval) <= allowed:
            raise SettingsError(
                f"Frames {index - 1} and {index} are {step:g} ps apart, the first two {self._interval:g} ps: frames "
                "are missing or doubled. Give an evenly spaced trajectory, or say the time between frames "
                "(--frame-interval) if the file's times are wrong."
            )


def refuse_doubled(lengths: Sequence[int], frame: Callable[[int], Snapshot]) -> None:
    """Refuse a file that begins with the frame that the one before it ends with: time would stand still for a step.

    Times do not tell where each file begins at zero.

    Parameters
    ----------
    lengths
        Number of frames of each file.
    frame
        Reads one of them.
    """
    for start in np.cumsum([length for length in lengths if length])[:-1].tolist():
        if same_place(frame(start - 1), frame(start)):
            raise SettingsError(
                f"Frames {start - 1} and {start} are the same: a file begins with the frame that the one before it "
                "ends with. Leave one of them out."
            )


def same_place(one: Snapshot, other: Snapshot) -> bool:
    """Whether two frames of one system are the same but for rounding: the cell, and every atom in it."""
    if np.abs(other.cell - one.cell).max() >= _SAME_PLACE_A:
        return False
    moved = other.positions - one.positions
    if other.system.periodic:
        moved -= np.rint(moved @ np.linalg.inv(other.cell)) @ other.cell
    return bool(np.abs(moved).max() < _SAME_PLACE_A)

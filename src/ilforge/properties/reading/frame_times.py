"""Check the times of frames: evenly spaced, none missing, none twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ilforge.properties.property import Snapshot

_UNEVEN = 0.01  # allowed deviation as a fraction of the frame interval
_ROUNDINGS = 4.0  # rounding errors of times in single precision (XTC, TRR): two each in a step and in its reference
_LEAST_GAP = 0.4  # of the frame interval: a missing or repeated frame shifts the time by a whole interval
_SAME_PLACE_A = 2e-3  # files have two or three decimals of an Å, and real atoms move more


class Clock:
    """Compares the times of consecutive frames with the expected frame interval."""

    def __init__(self, interval_ps: float):
        self._interval = interval_ps
        self._first = self._last = np.nan

    def tick(self, index: int, time_ps: float | None) -> None:
        """Check the time of the next frame, ps; None is not checked."""
        if time_ps is None:
            return
        if index == 0:
            self._first = time_ps
        else:
            self._check(time_ps - self._last, index, time_ps)
        self._last = time_ps

    def begins(self, index: int, before_ps: float | None, time_ps: float | None) -> None:
        """Check the time of the first frame of a later file, and of the frame before it, ps."""
        if before_ps is not None:
            self._last = before_ps
            self.tick(index, time_ps)

    def _check(self, step: float, index: int, time_ps: float) -> None:
        rounding = _ROUNDINGS * float(np.spacing(np.float32(abs(time_ps))))
        allowed = min(max(_UNEVEN * self._interval, rounding), _LEAST_GAP * self._interval)
        since = time_ps - self._first
        if since < -allowed:
            raise SettingsError(
                f"Frame {index} is at {time_ps:g} ps, before the first at {self._first:g} ps: files are not in time "
                "order. Give the pieces of a run in the order in which they were made, and independent runs with "
                "--replicas."
            )
        if step < 0 and min(abs(since), abs(since - self._interval)) <= allowed:
            return  # consecutive files may each begin at zero, or at one interval
        if step < -allowed:
            raise SettingsError(
                f"Frame {index} is {-step:g} ps before frame {index - 1}: files overlap, as after a run that was "
                "restarted from an earlier step, or are not in time order. Leave out repeated frames, and give the "
                "pieces in the order in which they were made."
            )
        if not abs(step - self._interval) <= allowed:
            raise SettingsError(
                f"Frames {index - 1} and {index} are {step:g} ps apart, the first two {self._interval:g} ps: frames "
                "are missing or doubled. Give an evenly spaced trajectory: the time between frames (--frame-interval) "
                "is one number for all of them."
            )


def mean_interval(step: float, first: float, last: float, n_frames: int) -> float:
    """Time between frames from the first and the last one, ps, if the first two agree with it within rounding.

    Times in XTC and TRR have few digits. Late in a run, the interval of two frames may be wrong by 2 %, and with it D
    and σ.
    """
    mean = (last - first) / (n_frames - 1)
    return mean if abs(mean - step) <= _ROUNDINGS * float(np.spacing(np.float32(abs(last)))) else step


def time_scale(first: float, second: float, interval_ps: float) -> float | None:
    """Factor from the times in a file, whose unit may be wrong, to ps.

    Parameters
    ----------
    first, second
        Times of the first two frames in the file.
    interval_ps
        Time between frames from the user, ps.

    Returns
    -------
    float or None
        None if both times are equal: the file has no times.
    """
    if second < first:
        raise SettingsError(
            f"The first two frames are at {first:g} and {second:g} in their file: they are not in time order. Give the "
            "frames of a run in the order in which they were made."
        )
    return interval_ps / (second - first) if second > first else None


def refuse_doubled(lengths: Sequence[int], frame: Callable[[int], Snapshot]) -> None:
    """Refuse a file that begins with the last frame of the file before it, or does not follow it in time.

    If each file begins at zero, times do not show a repeated frame, so positions are compared.

    Parameters
    ----------
    lengths
        Number of frames of each file.
    frame
        Function that reads a frame.
    """
    starts = np.cumsum([length for length in lengths if length])[:-1].tolist()
    if not starts:
        return
    first = frame(0)
    clock = Clock(first.system.frame_interval_ps)
    clock.tick(0, first.recorded_ps)
    for start in starts:
        before, after = frame(start - 1), frame(start)
        if same_place(before, after):
            raise SettingsError(
                f"Frames {start - 1} and {start} are the same: a file begins with the last frame of the one before. "
                "Leave one of them out."
            )
        clock.begins(start, before.recorded_ps, after.recorded_ps)


def refuse_begun_again(later: Snapshot, first_ps: float | None, frame: Callable[[int], Snapshot]) -> None:
    """Refuse a frame with the time and the positions of the first or second: the run was restarted, not only its clock.

    Parameters
    ----------
    later
        Any frame.
    first_ps
        Time of the first frame, ps.
    frame
        Function that reads a frame.
    """
    if later.recorded_ps is None or first_ps is None or later.index < 2:
        return
    intervals = (later.recorded_ps - first_ps) / later.system.frame_interval_ps
    early = 0 if intervals < 0.5 else 1
    if intervals < 1.5 and same_place(frame(early), later):
        raise SettingsError(
            f"Frame {later.index} is frame {early} again: the trajectory holds the beginning of the run twice. Leave "
            "one of them out."
        )


def same_place(one: Snapshot, other: Snapshot) -> bool:
    """Whether two frames of one system have the same cell and positions within rounding."""
    if np.abs(other.cell - one.cell).max() >= _SAME_PLACE_A:
        return False
    moved = other.positions - one.positions
    if other.system.periodic:
        moved -= np.rint(moved @ np.linalg.inv(other.cell)) @ other.cell
    return bool(np.abs(moved).max() < _SAME_PLACE_A)

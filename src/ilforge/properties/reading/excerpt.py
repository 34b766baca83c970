"""Measure a part of a run: a range of times, with a stride."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.property import PressureSeries, Snapshot, System
from ilforge.properties.reading.reader import Source

_ROUNDING = 1e-6  # of the time between frames: tolerance for times that are multiples of it


@dataclass(frozen=True)
class Excerpt:
    """The frames of a run that are measured.

    Attributes
    ----------
    start_ps, stop_ps
        First and last time since the first frame, ps. ``stop_ps`` None: to the end.
    stride
        Use every ``stride``-th frame of this range.
    """

    start_ps: float = 0.0
    stop_ps: float | None = None
    stride: int = 1

    def of(self, source: Source) -> Source:
        """The measured part as a separate run, whose time begins with its first frame.

        Raises
        ------
        SettingsError
            When no frame is left.
        """
        system = source.system
        first, last = self._between(system.frame_interval_ps, system.n_frames)
        numbers = range(first, last, self.stride)
        if len(numbers) == 0:
            length = (system.n_frames - 1) * system.frame_interval_ps
            raise SettingsError(
                f"No frame is between {self.start_ps:g} ps (--start) and "
                f"{'the end' if self.stop_ps is None else f'{self.stop_ps:g} ps (--stop)'}: the {system.n_frames} "
                f"frames of the run are {system.frame_interval_ps:g} ps apart, from 0 to {length:g} ps."
            )
        part = replace(
            system,
            n_frames=len(numbers),
            frame_interval_ps=self.stride * system.frame_interval_ps,
            pressure=None if system.pressure is None else self.of_pressure(system.pressure),
        )
        frame = partial(_frame_of_part, source.frame, part, numbers)
        end = numbers[-1] * system.frame_interval_ps
        used = (
            f"Measured from {first * system.frame_interval_ps:g} to {end:g} ps of "
            f"{(system.n_frames - 1) * system.frame_interval_ps:g} ps: {len(numbers)} of {system.n_frames} frames."
        )
        return replace(source, system=part, frame=frame, used=used)

    def of_pressure(self, pressure: PressureSeries) -> PressureSeries:
        """The pressure tensor at these times; the stride does not apply to it, because it needs all samples."""
        first, last = self._between(pressure.interval_ps, len(pressure.off_diagonal))
        diagonal = None if pressure.diagonal is None else pressure.diagonal[first:last]
        return PressureSeries(pressure.interval_ps, pressure.off_diagonal[first:last], diagonal)

    def _between(self, interval_ps: float, n: int) -> tuple[int, int]:
        """Index of the first sample, and of the one after the last, for ``n`` samples ``interval_ps`` apart."""
        first = int(np.ceil(self.start_ps / interval_ps - _ROUNDING))
        if self.stop_ps is None:
            return first, n
        return first, min(n, int(np.floor(self.stop_ps / interval_ps + _ROUNDING)) + 1)


def _frame_of_part(frame: Callable[[int], Snapshot], part: System, numbers: range, index: int) -> Snapshot:
    return replace(frame(numbers[index]), system=part, index=index, time_ps=index * part.frame_interval_ps)

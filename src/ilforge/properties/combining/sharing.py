"""One pass over the frames of a trajectory, in one or several processes, with the same result to the last bit.

Each helper process opens the trajectory, creates its own properties and evaluates stretches of frames. It sends the
results to the first process, which also evaluates frames and adds up all results in time order. Therefore sums do not
depend on which process evaluated a frame.
"""

from __future__ import annotations

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.property import Property, System
from ilforge.properties.reading.frame_times import Clock
from ilforge.properties.reading.reader import Source
from ilforge.properties.reading.trajectory_files import quietly

_STRETCH = 8  # consecutive frames that are evaluated together
_AHEAD = 2  # stretches assigned to a helper: the present one and the next
_KEPT = 6  # for each process, largest number of evaluated stretches that wait to be added
_looking: _Look | None = None
"""The properties and the trajectory of a helper process."""

_Seen = list[tuple[float | None, dict[str, Any]]]


class _Look(NamedTuple):
    source: Source
    observers: dict[str, Property]

    def at(self, index: int) -> tuple[float | None, dict[str, Any]]:
        """The time of one frame, and the values of all properties in it."""
        snapshot = self.source.frame(index)
        return snapshot.recorded_ps, {name: one.look(snapshot) for name, one in self.observers.items()}


def observe(
    source: Source,
    system: System,
    observers: Mapping[str, Property],
    settings: AnalysisSettings,
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Show all frames to properties that have begun.

    Parameters
    ----------
    source
        The trajectory.
    system
        The system with which the properties were begun.
    observers
        The properties, by name.
    settings
        Settings of the properties.
    workers
        Number of processes that evaluate frames, including this one; at most one for each stretch of 8 frames.
    progress
        Called with the number of frames that have been seen.
    """
    if not observers or system.n_frames == 0:
        return
    from threadpoolctl import threadpool_limits

    clock = Clock(system.frame_interval_ps)
    look = _Look(source, dict(observers))
    with threadpool_limits(1):  # sums of linear algebra libraries depend on the number of their threads
        seen = _seen_alone(look, system.n_frames) if workers == 1 else _seen_together(look, system, settings, workers)
        for index, (time_ps, found) in enumerate(seen):
            clock.tick(index, time_ps)
            for name, one in observers.items():
                one.add(found[name])
            if progress is not None:
                progress(index + 1)


def _seen_alone(look: _Look, n_frames: int) -> Iterator[tuple[float | None, dict[str, Any]]]:
    return map(look.at, range(n_frames))


def _seen_together(
    look: _Look, system: System, settings: AnalysisSettings, workers: int
) -> Iterator[tuple[float | None, dict[str, Any]]]:
    """Results from several processes. All of them evaluate the first frame, on which other results may depend."""
    yield look.at(0)
    todo = deque(range(start, min(start + _STRETCH, system.n_frames)) for start in range(1, system.n_frames, _STRETCH))
    n_helpers = min(workers, len(todo)) - 1
    if n_helpers < 1:
        yield from (look.at(index) for stretch in todo for index in stretch)
        return
    pool = ProcessPoolExecutor(
        n_helpers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(_packed(look, system, settings),),
    )
    starting = [pool.submit(_ready) for _ in range(n_helpers)]
    waiting: deque[Future[_Seen] | _Seen] = deque()
    try:
        while todo or waiting:
            given = sum(not _is_seen(one) for one in waiting)
            if todo and given < _AHEAD * n_helpers and any(one.done() for one in starting):
                waiting.append(pool.submit(_look_at, todo.popleft()))
            elif todo and len(waiting) < _KEPT * workers and not (waiting and _is_seen(waiting[0])):
                waiting.append([look.at(index) for index in todo.popleft()])
            else:
                first = waiting.popleft()
                yield from first.result() if isinstance(first, Future) else first
    except BrokenProcessPool as error:
        raise DidNotFinish(
            "A process that evaluated frames ended early: it ran out of memory, or it was started from a script "
            'without if __name__ == "__main__". Measure with workers=1 (--cores 1).'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _is_seen(stretch: Future[_Seen] | _Seen) -> bool:
    return not isinstance(stretch, Future) or stretch.done()


def _packed(look: _Look, system: System, settings: AnalysisSettings) -> bytes:
    """Everything that a helper needs to create its properties; large arrays of existing properties are not sent."""
    try:
        with quietly():
            return pickle.dumps((look.source, system, list(look.observers), settings))
    except Exception as error:  # a user's trajectory may contain objects that cannot be pickled
        raise SettingsError(
            f"This trajectory cannot be sent to other processes ({error}): measure it with workers=1 (--cores 1)."
        ) from error


def _begin(packed: bytes) -> None:
    global _looking
    from threadpoolctl import threadpool_limits

    from ilforge.properties import create

    with quietly():
        source, system, names, settings = pickle.loads(packed)
    observers = {name: create(name, settings) for name in names}
    for one in observers.values():
        one.begin(system)
    threadpool_limits(1)
    _looking = _Look(source, observers)
    _looking.at(0)


def _ready() -> None:
    """First task of a helper; when it returns, the helper has started."""


def _look_at(stretch: range) -> _Seen:
    assert _looking is not None  # set when the helper process starts
    return [_looking.at(index) for index in stretch]

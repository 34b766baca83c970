"""One pass over the frames of a trajectory, alone or shared among processes, with the same result to the last bit.

Each helper opens the trajectory, makes the properties anew and looks at stretches of frames. What it saw goes to the
first process, which looks at frames as well and adds up all in time order: sums do not depend on who looked.
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

_STRETCH = 8  # frames that are looked at together
_AHEAD = 2  # stretches that a helper has been given: what it looks at, and the next
_KEPT = 6  # stretches for each process that wait to be added
_looking: _Look | None = None
"""What a helper looks with."""

_Seen = list[tuple[float | None, dict[str, Any]]]


class _Look(NamedTuple):
    source: Source
    observers: dict[str, Property]

    def at(self, index: int) -> tuple[float | None, dict[str, Any]]:
        """What all properties see in one frame, and the time that it carries."""
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
        Where the frames are.
    system
        What the properties were begun with.
    observers
        By name.
    settings
        What they were made from.
    workers
        Processes that look at frames, this one among them. More than there are stretches of 8 frames are not
        started.
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
    """The first frame is looked at here, and by each helper for what depends on it; the others by any of them."""
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
            "A process that looked at frames ended early: short of memory, or started from a script that does not "
            'say if __name__ == "__main__" before it measures. Measure with workers=1 (--cores 1).'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _is_seen(stretch: Future[_Seen] | _Seen) -> bool:
    return not isinstance(stretch, Future) or stretch.done()


def _packed(look: _Look, system: System, settings: AnalysisSettings) -> bytes:
    """What a process needs to make its own: large arrays that properties keep are not sent."""
    try:
        with quietly():
            return pickle.dumps((look.source, system, list(look.observers), settings))
    except Exception as error:  # whatever a trajectory of the user's holds
        raise SettingsError(
            f"This trajectory cannot be handed to other processes ({error}): measure it with workers=1 (--cores 1)."
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
    """What a helper does first: it has begun by then."""


def _look_at(stretch: range) -> _Seen:
    assert _looking is not None  # the helper has begun
    return [_looking.at(index) for index in stretch]

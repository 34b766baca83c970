"""What a running study shows: a live display in a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ilforge.workflow import shared_progress
from ilforge.workflow.stage import Stage, seconds_to_the_end
from ilforge.workflow.store import ResultStore

POLL_S = 1.0
SHARED_INTERVAL_S = 5.0
PLAIN_INTERVAL_S = 30.0


class Watch:
    """Keeps count of stages and tasks, and shows it.

    Called from the coordinating threads of several stages at once; every method takes the lock.

    Parameters
    ----------
    console
        Where to show it; a terminal gets a live display.
    store
        Read for the progress of long tasks.
    workers
        Number of tasks that run at the same time, for the time left.
    shared
        File that tells other shells the time left and what failed (:mod:`ilforge.workflow.shared_progress`).
    """

    def __init__(
        self,
        console: Console,
        store: ResultStore,
        workers: int = 1,
        quiet: bool = False,
        shared: Path | None = None,
    ):
        self.console, self.store, self.workers, self.quiet = console, store, workers, quiet
        self._shared, self._failures = shared, dict[str, str]()
        self._lock = threading.RLock()
        self._todo: dict[str, Stage] = {}
        self._total = 0
        self._tasks: dict[str, list[int]] = {}  # key -> [done, expected]
        self._running: dict[str, float] = {}
        self._started = time.monotonic()
        self._expected_done = 0.0
        self._live: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._stopped = threading.Event()

    def start(self, stages: Sequence[Stage], todo: Sequence[Stage]) -> None:
        """Begin: ``stages`` is the whole plan, ``todo`` what is missing of it."""
        with self._lock:
            self._todo = {stage.key: stage for stage in todo}
            self._total = len(todo)
            self._started = time.monotonic()
        self._share_progress()
        if not todo:
            self.say(f"Everything is there already: {len(stages)} stages, nothing to compute.")
            return
        self.say(
            f"{len(stages)} stages, {len(stages) - len(todo)} of them done already; "
            f"about {duration(self.time_left())} on {self.workers} worker{'s' * (self.workers > 1)}."
        )
        if self.console.is_terminal and not self.quiet:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
                console=self.console,
            )
            self._bars["all"] = self._live.add_task("[bold]stages", total=self._total, note="")
            self._live.start()
        with contextlib.suppress(RuntimeError):  # the system refuses a thread: then progress is shown less often
            threading.Thread(target=self._poll, daemon=True).start()

    def grown(self, new: Sequence[Stage]) -> None:
        """The plan has gone on by these stages."""
        with self._lock:
            self._todo |= {stage.key: stage for stage in new}
            self._total += len(new)
            if self._live and "all" in self._bars:
                self._live.update(self._bars["all"], total=self._total)
        self.say(f"  planned   {len(new)} more stages")

    def began(self, stage: Stage) -> None:
        with self._lock:
            self._tasks.setdefault(stage.key, [0, stage.tasks])
            self._running[stage.key] = time.monotonic()
            if self._live:
                self._bars[stage.key] = self._live.add_task(stage.name, total=stage.tasks, note="")
            else:
                self.say(f"  started   {stage.name}")

    def expect(self, stage: Stage, tasks: int) -> None:
        """The stage has this many tasks."""
        with self._lock:
            self._tasks.setdefault(stage.key, [0, tasks])[1] = tasks

    def advance(self, stage: Stage, tasks: int) -> None:
        """So many tasks of the stage are done."""
        with self._lock:
            self._tasks.setdefault(stage.key, [0, stage.tasks])[0] += tasks

    def finished(self, stage: Stage) -> None:
        with self._lock:
            took = time.monotonic() - self._running.get(stage.key, time.monotonic())
            self._remove(stage)
            self._expected_done += stage.seconds
            self._todo.pop(stage.key, None)
            if not self._live:
                done = self._total - len(self._todo)
                left = f", about {duration(self.time_left())} left" if self._todo else ""
                self.say(f"  finished  {stage.name} in {duration(took)} ({done}/{self._total}{left})")

    def failed(self, stage: Stage, error: BaseException) -> None:
        with self._lock:
            self._remove(stage)
            self._todo.pop(stage.key, None)
            self._failures[stage.key] = str(error)
        self._share_progress()
        self.say(f"  failed    {stage.name}: {error}", style="red")

    def say(self, text: str, style: str | None = None) -> None:
        """One line for the user to read, above the live display."""
        if not self.quiet:
            self.console.print(text, style=style, markup=False, highlight=False)

    def time_left(self) -> float:
        """Expected time to the end, s: the work left, spread over the workers, at the pace seen so far."""
        with self._lock:
            if not self._todo:
                return 0.0
            shares = {key: self._share(key) for key in self._todo}
            left = sum(stage.seconds * (1 - shares[key]) for key, stage in self._todo.items())
            done = self._expected_done + sum(stage.seconds * shares[key] for key, stage in self._todo.items())
            chains = seconds_to_the_end(self._todo.values(), self.workers)
            chain = max(length - shares[key] * self._todo[key].seconds for key, length in chains.items())
            elapsed = time.monotonic() - self._started
            pace = 1.0
            if done > 30 and elapsed > 10:  # by now the machine has shown how fast it is
                pace = min(5.0, max(0.2, elapsed * self.workers / done))
            return pace * max(left / self.workers, chain)

    def stop(self) -> None:
        """End the display."""
        self._stopped.set()
        self._share_progress()
        if self._live:
            self._live.stop()

    def _share(self, key: str) -> float:
        done, expected = self._tasks.get(key, (0, 1))
        return min(1.0, done / max(1, expected))

    def _remove(self, stage: Stage) -> None:
        self._running.pop(stage.key, None)
        bar = self._bars.pop(stage.key, None)
        if self._live and bar is not None:
            self._live.remove_task(bar)

    def _share_progress(self) -> None:
        if self._shared is not None:
            with contextlib.suppress(OSError), self._lock:  # a full disk is said by who needs the room
                shared_progress.write(self._shared, self.time_left(), self._failures)

    def _poll(self) -> None:
        last_plain = last_shared = time.monotonic()
        while not self._stopped.wait(POLL_S):
            self._read_progress()
            if time.monotonic() - last_shared > SHARED_INTERVAL_S:
                last_shared = time.monotonic()
                self._share_progress()
            if self._live:
                self._refresh()
            elif time.monotonic() - last_plain > PLAIN_INTERVAL_S:
                last_plain = time.monotonic()
                self._plain()

    def _read_progress(self) -> None:
        with self._lock:
            running = [self._todo[key] for key in self._running if key in self._todo]
        for stage in running:
            if stage.progress is not None:
                done, total = stage.progress(self.store.scratch / stage.key)
                with self._lock:
                    if stage.key in self._tasks and total > 0:
                        self._tasks[stage.key] = [done, total]

    def _refresh(self) -> None:
        assert self._live is not None
        with self._lock:
            for key, bar in self._bars.items():
                if key != "all":
                    done, expected = self._tasks[key]
                    self._live.update(bar, completed=done, total=max(expected, done, 1))
            note = f"about {duration(self.time_left())} left"
            self._live.update(self._bars["all"], completed=self._total - len(self._todo), note=note)

    def _plain(self) -> None:
        with self._lock:
            states = [
                f"{self._todo[key].name} {self._tasks[key][0]}/{self._tasks[key][1]}"
                for key in self._running
                if key in self._todo
            ]
        if states:
            self.say(f"  running   {'; '.join(states)}; about {duration(self.time_left())} left")


def duration(seconds: float) -> str:
    """A length of time as people say it: ``"40 s"``, ``"12 min"``, ``"3.5 h"``, ``"6 days"``."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"

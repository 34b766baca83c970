"""The progress of a running study: a live display in a terminal, otherwise plain lines."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ilforge.report.wording import rough_duration
from ilforge.workflow import shared_progress
from ilforge.workflow.stage import Stage, seconds_to_the_end
from ilforge.workflow.store import ResultStore

POLL_S = 1.0
SHARED_INTERVAL_S = 5.0
PLAIN_INTERVAL_S = 30.0


@dataclass
class _Tasks:
    """Tasks of a stage."""

    expected: int
    done: int = 0

    @property
    def share(self) -> float:
        """The share that is done."""
        return min(1.0, self.done / max(1, self.expected))


class Watch:
    """Counts stages and tasks, and shows the counts.

    The coordinating threads of several stages call it at the same time; every method takes the lock.

    Parameters
    ----------
    console
        Where to show it; a terminal gets a live display.
    store
        Store from which the progress of long tasks is read.
    workers
        Number of tasks that run at the same time, for the time left.
    quiet
        Show nothing; the shared file is written all the same.
    shared
        File that gives the time left and failed stages to other shells (:mod:`ilforge.workflow.shared_progress`).
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
        self._tasks: dict[str, _Tasks] = {}
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
            self.say(f"All {len(stages)} stages are finished already: nothing to compute.")
            return
        self.say(
            f"{len(stages)} stages, {len(stages) - len(todo)} of them done already; "
            f"about {rough_duration(self.time_left())} on {self.workers} worker{'s' * (self.workers > 1)}."
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
        """The plan has these stages in addition."""
        with self._lock:
            self._todo |= {stage.key: stage for stage in new}
            self._total += len(new)
            if self._live and "all" in self._bars:
                self._live.update(self._bars["all"], total=self._total)
        self.say(f"  planned   {len(new)} more stages")

    def began(self, stage: Stage) -> None:
        """A stage is running."""
        with self._lock:
            self._tasks.setdefault(stage.key, _Tasks(stage.tasks))
            self._running[stage.key] = time.monotonic()
            if self._live:
                self._bars[stage.key] = self._live.add_task(stage.name, total=stage.tasks, note="")
            else:
                self.say(f"  started   {stage.name}")

    def expect(self, stage: Stage, tasks: int) -> None:
        """The stage has this many tasks."""
        with self._lock:
            self._tasks.setdefault(stage.key, _Tasks(tasks)).expected = tasks

    def advance(self, stage: Stage, tasks: int) -> None:
        """Count finished tasks of the stage."""
        with self._lock:
            self._tasks.setdefault(stage.key, _Tasks(stage.tasks)).done += tasks

    def finished(self, stage: Stage) -> None:
        """A stage is done."""
        with self._lock:
            took = time.monotonic() - self._running.get(stage.key, time.monotonic())
            self._remove(stage)
            self._expected_done += stage.seconds
            self._todo.pop(stage.key, None)
            if not self._live:
                done = self._total - len(self._todo)
                left = f", about {rough_duration(self.time_left())} left" if self._todo else ""
                self.say(f"  finished  {stage.name} in {rough_duration(took)} ({done}/{self._total}{left})")

    def failed(self, stage: Stage, error: BaseException) -> None:
        """A stage ended with an error."""
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
            shares = {key: self._tasks[key].share if key in self._tasks else 0.0 for key in self._todo}
            left = sum(stage.seconds * (1 - shares[key]) for key, stage in self._todo.items())
            done = self._expected_done + sum(stage.seconds * shares[key] for key, stage in self._todo.items())
            chains = seconds_to_the_end(self._todo.values(), self.workers)
            chain = max(length - shares[key] * self._todo[key].seconds for key, length in chains.items())
            elapsed = time.monotonic() - self._started
            pace = 1.0
            if done > 30 and elapsed > 10:  # enough is measured to know the speed of the machine
                pace = min(5.0, max(0.2, elapsed * self.workers / done))
            return pace * max(left / self.workers, chain)

    def stop(self) -> None:
        """End the display."""
        self._stopped.set()
        self._share_progress()
        if self._live:
            self._live.stop()

    def _remove(self, stage: Stage) -> None:
        self._running.pop(stage.key, None)
        bar = self._bars.pop(stage.key, None)
        if self._live and bar is not None:
            self._live.remove_task(bar)

    def _share_progress(self) -> None:
        if self._shared is not None:
            with contextlib.suppress(OSError), self._lock:  # if the disk is full, the stage that needs space reports it
                shared_progress.write(self._shared, self.time_left(), self._failures)

    def _poll(self) -> None:
        last_plain = last_shared = time.monotonic()
        while not self._stopped.wait(POLL_S):
            self._read_progress()
            if self._stopped.is_set():  # what is shared after the end would be taken for news
                return
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
                with contextlib.suppress(OSError, ValueError, KeyError):  # a file that is being written or removed
                    done, total = stage.progress(self.store.scratch / stage.key)
                    self._set_tasks(stage, done, total)

    def _set_tasks(self, stage: Stage, done: int, total: int) -> None:
        with self._lock:
            if stage.key in self._tasks and total > 0:
                self._tasks[stage.key] = _Tasks(total, done)

    def _refresh(self) -> None:
        assert self._live is not None
        with self._lock:
            for key, bar in self._bars.items():
                if key != "all":
                    tasks = self._tasks[key]
                    self._live.update(bar, completed=tasks.done, total=max(tasks.expected, tasks.done, 1))
            note = f"about {rough_duration(self.time_left())} left"
            self._live.update(self._bars["all"], completed=self._total - len(self._todo), note=note)

    def _plain(self) -> None:
        with self._lock:
            states = [
                f"{self._todo[key].name} {self._tasks[key].done}/{self._tasks[key].expected}"
                for key in self._running
                if key in self._todo
            ]
        if states:
            self.say(f"  running   {'; '.join(states)}; about {rough_duration(self.time_left())} left")

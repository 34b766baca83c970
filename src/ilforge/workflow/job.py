"""A job: a running stage, with everything that its function may see and do."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from ilforge.workflow.executors import Executors, Place, WorkerDied
from ilforge.workflow.stage import Stage
from ilforge.workflow.store import ResultStore

PARTS = "parts"
"""Folder in a job's directory that is deleted when the stage is published."""


class Job:
    """The argument of :attr:`Stage.work`.

    Attributes
    ----------
    settings
        The stage's settings.
    directory
        Scratch directory to fill. It may contain files of a stopped run: overwrite them, or continue from them.
    facts
        Further entries of the manifest, such as counts; not part of any key.
    started
        When the first task left the queue, s since the epoch; None before.
    places
        Other machines on which its tasks were computed, by name.
    """

    def __init__(self, stage: Stage, store: ResultStore, executors: Executors, urgency: float, watch: Any):
        self.stage, self.store = stage, store
        self.settings = stage.settings
        self.directory = store.open_scratch(stage)
        self.facts: dict[str, Any] = {}
        self.started: float | None = None
        self.places: dict[str, Place] = {}
        self._executor, self._stopped = executors.of(stage.runs_as), executors.closed
        gpus = executors.gpus_of(stage.computes_with)
        self._resources = replace(stage.resources, cores=self._executor.threads, gpus=gpus)
        self._urgency, self._watch = urgency, watch

    @property
    def threads(self) -> int:
        return self._executor.threads

    def input(self, name: str) -> Path:
        """Directory of an input's result."""
        return self.store.path(self.stage.inputs[name])

    def trusted_input(self, name: str) -> Path:
        """Directory of an input whose files are loaded as models, after a check that this is allowed.

        Raises
        ------
        SettingsError
            See :meth:`~ilforge.workflow.store.ResultStore.require_trusted`.
        """
        return self.store.require_trusted(self.stage.inputs[name])

    def expect(self, tasks: int) -> None:
        """Set the number of tasks, if it differs from the planned one."""
        self._watch.expect(self.stage, tasks)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run is stopped.

        Raises
        ------
        CancelledError
            When it is.
        """
        if self._stopped.wait(seconds):
            raise CancelledError

    def say(self, text: str) -> None:
        """One line for the user to read."""
        self._watch.say(text)

    def begin(self) -> None:
        """Note the start, once; called by the first task to leave the queue."""
        if self.started is None:
            self.started = time.time()
            self._watch.began(self.stage)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run one task in a worker and wait for it."""
        future = self._submit(function, *arguments)
        return future.result()

    def each(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        lost: Callable[..., Any] | None = None,
    ) -> Iterator[Any]:
        """Run ``function(*arguments[i])`` for every i in workers; yield the results as they come.

        After the first failure the other tasks are cancelled and the failure is raised; results that finished tasks
        have stored are kept. If the worker of a task dies and ``lost`` is given, the task yields
        ``lost(error, *arguments[i])`` instead.
        """
        submitted = {self._submit(function, *args): args for args in arguments}
        waiting = set(submitted)
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if lost is not None and isinstance(error, WorkerDied):
                        yield lost(error, *submitted[future])
                    else:
                        yield future.result()
        finally:
            for future in waiting:
                future.cancel()

    def parts(self, function: Callable[..., None], arguments: Mapping[str, tuple[Any, ...]]) -> dict[str, Path]:
        """Run ``function(directory, *arguments[name])`` for every name, each filling a directory of its own.

        A complete part is published by one rename, so that a stopped stage continues with the missing parts.
        Parts are deleted when the stage is published.
        """
        root = self.directory / PARTS
        paths = {name: root / name for name in arguments}
        missing = [name for name in arguments if not paths[name].is_dir()]
        self.expect(len(arguments))
        self._watch.advance(self.stage, len(arguments) - len(missing))
        for name in missing:
            (root / f"{name}.partial").mkdir(parents=True, exist_ok=True)
        work = [(function, paths[name], *arguments[name]) for name in missing]
        for _ in self.each(_fill_part, work):
            pass
        return paths

    def _submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future = self._executor.submit(
            function, *arguments, resources=self._resources, urgency=self._urgency, on_start=self.begin
        )
        future.add_done_callback(self._advance)
        return future

    def _advance(self, done: Future[Any]) -> None:
        place = getattr(done, "place", None)
        if place is not None:
            self.places[place.host] = place
        if not done.cancelled() and done.exception() is None:
            self._watch.advance(self.stage, 1)


def _fill_part(function: Callable[..., None], path: Path, *arguments: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    function(partial, *arguments)
    if path.exists():
        shutil.rmtree(path)
    os.replace(partial, path)

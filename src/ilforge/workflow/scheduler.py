"""Run stages: each as soon as its inputs are finished, the longest chain first, and none twice."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from ilforge import environments
from ilforge.devices import PROGRAMS
from ilforge.errors import IlforgeError, MissingProgram, SettingsError
from ilforge.programs import find
from ilforge.workflow.executors import Executors, Place, no_worker
from ilforge.workflow.job import Job
from ilforge.workflow.progress import Watch
from ilforge.workflow.stage import Stage, in_order, seconds_to_the_end
from ilforge.workflow.store import ResultStore

_MOST_STAGES = 256
"""Largest number of stages that run at the same time; each has a thread that waits for its tasks."""
_ASK_AGAIN_S = 1.0
"""Time after which stages that take what is there are asked again whether they may begin, s."""


@dataclass
class Outcome:
    """What a run did, by stage key.

    Attributes
    ----------
    reused, computed
        Stages found finished, and stages computed now.
    failed
        Stages that ended with an error, and the error.
    blocked
        Stages that wait for a failed one.
    """

    reused: list[Stage] = field(default_factory=list)
    computed: list[Stage] = field(default_factory=list)
    failed: list[tuple[Stage, BaseException]] = field(default_factory=list)
    blocked: list[Stage] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.failed and not self.blocked


@dataclass(frozen=True)
class Growth:
    """The continuation of a plan that is not complete yet.

    Attributes
    ----------
    waits_for
        Keys of unfinished stages whose results decide it. It is planned again after each of them, because one may
        decide it without the others.
    more
        Function that plans again from the finished results. It returns all stages that are then known, and their
        continuation or None.
    """

    waits_for: frozenset[str]
    more: Callable[[], tuple[Sequence[Stage], Growth | None]]


def run_stages(
    targets: Sequence[Stage], store: ResultStore, executors: Executors, watch: Watch, growth: Growth | None = None
) -> Outcome:
    """Make every target, and reuse the results in the store.

    A plan that grows is planned again as soon as a result that it waits for is finished; running stages continue
    meanwhile.

    The failure of one stage does not stop stages that do not need it. A fault in the settings or a missing program
    stops everything at once.

    Raises
    ------
    SettingsError, MissingProgram
        From any stage, or before the start when a program that will be needed is missing.
    """
    stages = in_order(targets)
    outcome = Outcome()
    finished = _look_up(stages, store, watch)
    outcome.reused = [stage for stage in stages if stage.key in finished]
    todo = in_order(targets, finished)
    _require_programs(todo, executors)
    watch.start(stages, todo)
    _Run(todo, finished, store, executors, watch, outcome, growth).go()
    return outcome


class _Run:
    """The loop over ready stages; one coordinating thread a stage, the work itself in executors."""

    def __init__(
        self,
        todo: list[Stage],
        finished: set[str],
        store: ResultStore,
        executors: Executors,
        watch: Watch,
        outcome: Outcome,
        growth: Growth | None = None,
    ):
        self.todo, self.finished, self.store = list(todo), finished, store
        self.known = {stage.key for stage in todo} | finished
        self.growth = growth
        self.executors, self.watch, self.outcome = executors, watch, outcome
        self.urgency = seconds_to_the_end(todo, executors.slots)

    def go(self) -> None:
        running: dict[Future[Any], Stage] = {}
        threads = ThreadPoolExecutor(max_workers=_MOST_STAGES, thread_name_prefix="stage")
        try:
            while self.todo or running:
                for stage in self._take_ready():
                    try:
                        running[threads.submit(self._make, stage)] = stage
                    except RuntimeError as error:  # the system refuses another thread
                        raise no_worker(error) from error
                if not running:
                    break
                asked = any(stage.may_begin is not None for stage in self.todo if self._has_inputs(stage))
                done, _ = wait(running, _ASK_AGAIN_S if asked else None, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(running.pop(future), future)
            self.outcome.blocked = self.todo
        finally:
            if running:
                self.executors.close()  # interrupted or fatal: nothing may continue in the background
            threads.shutdown(wait=True, cancel_futures=True)

    def _take_ready(self) -> list[Stage]:
        ready = [
            stage
            for stage in self.todo
            if self._has_inputs(stage) and (stage.may_begin is None or stage.may_begin(self.store))
        ]
        self.todo = [stage for stage in self.todo if stage not in ready]
        return ready

    def _has_inputs(self, stage: Stage) -> bool:
        return all(parent.key in self.finished for parent in stage.inputs.values())

    def _grow(self) -> None:
        """Plan again if a result that the plan waits for is finished."""
        while self.growth is not None and not self.growth.waits_for.isdisjoint(self.finished):
            targets, self.growth = self.growth.more()
            stages = in_order(targets)
            fresh = [stage for stage in stages if stage.key not in self.known]
            self.known |= {stage.key for stage in fresh}
            there = _look_up(fresh, self.store, self.watch)
            self.finished |= there
            self.outcome.reused += [stage for stage in fresh if stage.key in there]
            new = [stage for stage in fresh if stage.key not in there]
            _require_programs(new, self.executors)
            self.todo += new
            self.watch.grown(new)
            self.urgency = seconds_to_the_end(in_order(targets, self.finished), self.executors.slots)

    def _settle(self, stage: Stage, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self.finished.add(stage.key)
            self.outcome.computed.append(stage)
            self._grow()
            return
        self.watch.failed(stage, error)
        if isinstance(error, (SettingsError, MissingProgram)) or not isinstance(error, Exception):
            raise error
        self.outcome.failed.append((stage, error))

    def _make(self, stage: Stage) -> None:
        with self.store.stage_lock(stage):
            if self.store.holds(stage):  # another study computed it while this one waited
                self.watch.finished(stage)
                return
            if self.store.finish_publishing(stage):
                self.watch.finished(stage)
                return
            job = Job(stage, self.store, self.executors, self.urgency[stage.key], self.watch)
            asked = time.time()
            try:
                stage.work(job)
                self.store.publish(stage, _manifest(stage, job, job.started or asked))
            except OSError as error:
                raise _in_words(error, self.store) from error
            self.watch.finished(stage)


def _require_programs(stages: Sequence[Stage], executors: Executors) -> None:
    """Raise MissingProgram if one of these stages needs a program or an environment that is missing on this machine."""
    here = [stage for stage in stages if not executors.is_elsewhere(stage.runs_as)]
    for program in sorted({program for stage in here for program in stage.programs}):
        find(program)
    for name in sorted({name for stage in here for name in stage.computes_with} - set(PROGRAMS)):
        environments.interpreter(name)


def _look_up(stages: Sequence[Stage], store: ResultStore, watch: Watch) -> set[str]:
    """Keys of the undamaged stages in the store; damaged ones are moved away, with a message."""
    finished = set()
    for stage in stages:
        if not store.holds(stage):
            continue
        fault = store.fault(stage)
        if fault is None:
            finished.add(stage.key)
        else:
            aside = store.set_aside(stage)
            watch.say(
                f"The stored result of '{stage.name}' is damaged: {fault}. It is made again; the old one is in {aside}"
            )
    return finished


def _manifest(stage: Stage, job: Job, started: float) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "version": stage.version,
        "key": stage.key,
        "settings": dict(stage.settings),
        "inputs": {name: parent.key for name, parent in stage.inputs.items()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "wall_s": round(max(0.0, time.time() - started), 3),
        **_where(job),
        "facts": job.facts,
    }


def _where(job: Job) -> dict[str, Any]:
    """The machine that computed, and its versions; where they differ from one machine to the other, those of each."""
    used, here = job.stage.computes_with, Place.here()
    if not job.places:
        return {"host": here.host, "programs": here.versions(used)}
    by_host = {host: place.versions(used) for host, place in sorted(job.places.items())}
    first, *others = by_host.values()
    found = {"host": ", ".join(by_host), "programs": first}
    return found if all(one == first for one in others) else {**found, "programs_by_host": by_host}


def _in_words(error: OSError, store: ResultStore) -> IlforgeError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return IlforgeError(
            f"The disk that holds {store.root} is full. Nothing finished is lost: free some space and run again, "
            "or move the store with --store."
        )
    return IlforgeError(f"{error.strerror or error}: {error.filename or store.root}")

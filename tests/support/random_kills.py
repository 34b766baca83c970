"""Small studies whose driver or workers are killed at random moments, until they end all the same.

What must hold for each: no label that was finished is computed again, no decision changes, and the dataset is that of a
run that nobody disturbed. A violation is an AssertionError.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from ilforge import frames
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.workflow.steps import labels as steps
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.steps.taken import TAKEN
from ilforge.workflow.store import ResultStore
from support import cluster_study, studies, tasks
from support.worlds import World, write_study

SHORTEST_S, LONGEST_S = 0.1, 1.5
"""A kill comes after a time between these, s. The longest grows while nothing is finished in between, as on a machine
with other work, and falls again afterwards."""
LABEL_S = 0.3
"""Time of a label in worker processes, s."""
ITERATIONS, STARTS, CANDIDATES, AFTER = 3, 4, 12, 6
BUDGET = "stop = { labels = 24 }\n"
"""A rule that ends concurrent learning after its second iteration."""
_FORK = multiprocessing.get_context("fork")


@dataclass
class Kills:
    """What was done to a study until it ended.

    Attributes
    ----------
    drivers, workers
        Processes that were killed.
    errors
        Runs that ended with an error, because several of their workers were killed in a row.
    repaid
        Labels that were killed while they were computed, and computed again.
    """

    drivers: int = 0
    workers: int = 0
    errors: int = 0
    repaid: int = 0

    @property
    def all(self) -> int:
        return self.drivers + self.workers


def labels_of_workers(folder: Path, seed: int) -> Kills:
    """Twelve labels by CL&P in two worker processes; a worker or the driver is killed."""
    expected = _undisturbed_labels(folder.parent / "undisturbed")
    shutil.copytree(folder.parent / "undisturbed" / "frames", folder / "store")
    log = folder / "log"
    log.touch()
    os.environ.update({tasks.SLOW: str(log), tasks.SECONDS: str(LABEL_S)})
    kills = _kill(partial(_label, folder), random.Random(seed), log, "end-", of_workers=True)
    stage = cluster_study.stage(folder)
    assert (ResultStore(folder / "store").path(stage) / ACCEPTED).read_text() == expected, "another dataset"
    kills.repaid = _require_once(log, "begin-", "end-")
    return kills


def learning(folder: Path, seed: int, retrain_after: int | None, keys: str = "") -> Kills:
    """Three iterations whose calculations only take their time; the driver is killed.

    ``keys`` are further lines of ``[learning]``.
    """
    path = write_study(folder, ITERATIONS, STARTS, CANDIDATES, retrain_after)
    path.write_text(path.read_text() + keys)
    calm = World(path, folder / "calm", lambda what: None)
    assert calm.go().complete
    log = folder / "log"
    log.touch()
    it, kept = World(path, folder / "store", _forbidden), {}
    it.results.prepare()

    def check() -> None:
        now = decisions(it)
        assert {one: now.get(one) for one in kept} == kept, "a decision changed"
        kept.update(now)

    kills = _kill(partial(_learn, path, it.store, log, seed), random.Random(seed), log, "ended", check)
    plan, reference = it.plan(), calm.plan()
    assert not plan.waits_for and len(kept) == len(plan.gatherings)
    if retrain_after is None:
        assert plan.datasets[-1].key == reference.datasets[-1].key
        for stage in plan.datasets:
            assert _files(it.results.path(stage)) == _files(calm.results.path(stage)), "another dataset"
    else:
        assert _frames(it, -1) == _frames(calm, -1), "another dataset"
    kills.repaid = _require_once(log, "began ", "ended ")
    return kills


def decisions(of: World) -> dict[int, list[str]]:
    """The labels that each training took, by iteration, as far as this is decided."""
    plan = of.plan()
    return {
        iteration: json.loads((of.results.path(stage) / TAKEN).read_text())["taken"]
        for iteration, stage in plan.gatherings.items()
        if of.results.holds(stage)
    }


STUDIES: dict[str, Callable[[Path, int], Kills]] = {
    "labels in workers": labels_of_workers,
    "learning, all labels": partial(learning, retrain_after=None),
    "learning, retrain_after": partial(learning, retrain_after=AFTER),
    "learning, retrain_after, ended by a rule": partial(learning, retrain_after=AFTER, keys=BUDGET),
}
"""Studies by name: functions of an empty folder and a seed. Those in one folder share an undisturbed run beside it."""


def _kill(
    go: Callable[[int], None],
    rng: random.Random,
    log: Path,
    word: str,
    check: Callable[[], None] = lambda: None,
    of_workers: bool = False,
) -> Kills:
    """Start ``go`` again and again, and kill it or one of its workers, until it ends well."""
    kills, longest, turn = Kills(), LONGEST_S, 0
    while True:
        driver = _FORK.Process(target=go, args=(turn,))
        driver.start()
        turn += 1
        alive = True
        while alive:
            before = log.read_text().count(word)
            driver.join(rng.uniform(SHORTEST_S, longest))
            if driver.exitcode is not None:
                break
            nothing = log.read_text().count(word) == before
            longest = 1.2 * longest if nothing else max(LONGEST_S, longest / 1.2)
            workers = _workers_of(driver) if of_workers and rng.random() < 0.6 else []
            if workers:
                _end(rng.choice(workers))
                kills.workers += 1
            else:
                _end(driver.pid)
                driver.join()
                kills.drivers += 1
                alive = False
        check()
        if driver.exitcode == 0:
            return kills
        kills.errors += alive


def _end(pid: int | None) -> None:
    if pid is not None and tasks.is_alive(pid):
        os.kill(pid, signal.SIGKILL)


def _workers_of(driver: BaseProcess) -> list[int]:
    """Worker processes of a driver."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == driver.pid and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (OSError, ValueError):
            continue
    return sorted(found)


def _label(folder: Path, turn: int) -> None:
    os.setsid()
    steps.evaluate, steps.POLL_S = tasks.evaluate_slowly, 0.2
    _, outcome = studies.run([cluster_study.stage(folder)], folder / "store", workers=2)
    os._exit(0 if outcome.complete else 1)


def _learn(path: Path, store: Path, log: Path, seed: int, turn: int) -> None:
    os.setsid()
    rng, lock = random.Random(f"{seed} {turn}"), threading.Lock()

    def wait(what: Any) -> None:
        with lock:
            seconds = rng.uniform(0.0, 0.08) * (8 if rng.random() < 0.1 else 1)
        time.sleep(seconds)

    os._exit(0 if World(path, store, wait, log=log).go().complete else 1)


def _undisturbed_labels(folder: Path) -> str:
    """The labels of a run that nobody disturbs; ``folder/frames`` is a store that has the frames only."""
    done = folder / "done"
    if not done.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stage = cluster_study.stage(folder)
        studies.run([stage.inputs["frames"]], folder / "frames", workers=2)
        shutil.copytree(folder / "frames", folder / "store")
        store, outcome = studies.run([stage], folder / "store", workers=2)
        assert outcome.complete
        done.write_text((store.path(stage) / ACCEPTED).read_text())
    return done.read_text()


def _require_once(log: Path, begin: str, end: str) -> int:
    """Check that no label began after it had ended; returns how many began again because they had not."""
    ended, began = set(), Counter()
    for line in log.read_text().splitlines():
        if line.startswith(end):
            assert line.removeprefix(end) not in ended, f"computed twice: {line}"
            ended.add(line.removeprefix(end))
        else:
            assert line.removeprefix(begin) not in ended, f"finished, and computed again: {line}"
            began[line.removeprefix(begin)] += 1
    return sum(began.values()) - len(began)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.xyz"))}


def _frames(of: World, number: int) -> list[str]:
    dataset = Dataset.read(of.results.path(of.plan().datasets[number]))
    return sorted(frames.digest(frame) for frame in dataset.frames)


def _forbidden(what: Any) -> None:
    raise AssertionError(f"{what} is computed again")

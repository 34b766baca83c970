"""Training again after N labels where jobs of Parsl and of a real Slurm explore, label and train.

The calculations only take their time (:mod:`support.worlds`), but they run in the workers of jobs. What must hold: a
training does not wait for a slow label and a slow run, each label is computed to its end once, although a worker or a
job is lost meanwhile, and a rule ends it with all labels in the last dataset.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ilforge import frames, programs
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.storing.store import LabelStore
from ilforge.workflow.executors import Surroundings
from ilforge.workflow.executors.parsl import ParslExecutor, ParslSettings
from ilforge.workflow.steps.labels import ACCEPTED
from support import slurm
from support.pace import Pace
from support.patience import until
from support.worlds import What, World, write_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not programs.is_installed("parsl"), reason=f"needs {programs.extra('cluster')}"),
]
TESTS = Path(__file__).parents[1]
SLOW: tuple[What, ...] = (("label", 1, 0, 0), ("explore", 1, 3))
LEFT = 1 + 3  # the slow label, and those of the slow run


@pytest.fixture(autouse=True)
def path_of_tests(monkeypatch):
    """Workers find the tasks of these tests."""
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{TESTS}")


def go_with_a_loss(folder: Path, settings: ParslSettings, lose: Callable[[Path], None]) -> World:
    """Run a study that a budget of labels ends; ``lose`` is called while a slow label and a slow run are at work."""
    path = write_study(folder, iterations=3, starts=4, candidates=12, retrain_after=6)
    path.write_text(path.read_text() + "stop = { labels = 24 }\n")
    pace = Pace(folder, SLOW)

    executor = partial(ParslExecutor, settings, Surroundings(), folder / "executors" / "it", "it")
    it = World(path, folder / "store", pace, elsewhere=executor, log=folder / "log")
    lost, over = threading.Event(), threading.Event()

    def disturb() -> None:
        until(lambda: pace.slow_began(len(SLOW)) or over.is_set(), "slow task")
        if not over.is_set():
            lose(folder)
            lost.set()

    other = threading.Thread(target=disturb, daemon=True)
    other.start()
    outcome = it.go()
    over.set()
    other.join()
    assert outcome.complete and lost.is_set(), outcome.failed
    return it


def check(it: World) -> None:
    """The first training did not wait; all 24 labels were computed to their end once, and are in the last dataset."""
    plan = it.plan()
    first = {it.task_of(frame) for frame in frames.read(it.results.path(plan.gatherings[1]) / ACCEPTED)}
    assert (
        6 <= len(first) <= 12 - LEFT and SLOW[0] not in first and not any(task[:3] == ("label", 1, 3) for task in first)
    )
    assert "24 explored frames were labelled" in plan.notes[0] and not plan.waits_for
    ended = Counter(line for line in it.log.read_text().splitlines() if line.startswith("ended"))
    assert len(ended) == 24 and set(ended.values()) == {1}
    with LabelStore(it.results.labels, read_only=True) as labels:
        assert labels.census()["labels"] == 24
    assert len(Dataset.read(it.results.path(plan.datasets[-1])).frames) == 24 + 2


def test_on_nodes_of_parsl_it_does_not_wait_and_a_lost_worker_costs_no_label(tmp_path):
    """The worker of Parsl that runs the slow label is killed."""

    def lose(folder: Path) -> None:
        process = next(line for line in (folder / "slow").read_text().split() if line.startswith("label="))
        os.kill(int(process.removeprefix("label=")), signal.SIGKILL)
        until(lambda: (folder / "slow").read_text().count("label=") == 2, "second try of the slow label")

    settings = ParslSettings(provider="local", workers=3, lost_after_s=30, status_s=1.0, submissions_per_hour=99)
    it = go_with_a_loss(tmp_path, settings, lose)
    check(it)
    began = it.log.read_text().splitlines().count(f"began {SLOW[0]}")
    assert began == 2, "what was killed began again"


@pytest.fixture
def cluster():
    with slurm.cluster() as found:
        yield found


@pytest.mark.outside
@pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing()))
@pytest.mark.xdist_group("slurm")
def test_in_jobs_of_slurm_it_does_not_wait_and_a_cancelled_job_costs_no_label(tmp_path, cluster):
    """The job is cancelled while the slow label and the slow run are at work."""
    settings = ParslSettings(
        provider="slurm", partition="main", address="127.0.0.1", cores=3, memory_GB=7, lost_after_s=20, status_s=2.0,
        idle_min=0.3, submissions_per_hour=60,
    )  # fmt: skip
    it = go_with_a_loss(tmp_path, settings, lambda folder: cluster.cancel_running())
    check(it)
    assert not cluster.run("squeue", "-h").strip(), "no job is left"

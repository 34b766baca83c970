"""A real Slurm of one node, brought up here: labels that jobs compute, while everything that can be lost is lost.

What must hold: the run ends, each label is computed once, and the dataset is that of a run on this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

from ilforge import programs
from ilforge.workflow.executors import NoWorker, OutOfMemory, Surroundings
from ilforge.workflow.executors.parsl import ParslExecutor, ParslSettings
from ilforge.workflow.store import ResultStore, read_manifest
from support import cluster_study, slurm, studies, tasks
from support.patience import PATIENCE_S, until

pytestmark = [
    pytest.mark.outside,
    pytest.mark.slow,
    pytest.mark.skipif(not programs.is_installed("parsl"), reason=f"needs {programs.extra('cluster')}"),
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
    pytest.mark.xdist_group("slurm"),
]
TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{TESTS}")
        with slurm.cluster() as found:
            yield found


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The labels of a run on this machine, and a store that has the frames only."""
    folder = tmp_path_factory.mktemp("here")
    labels = cluster_study.stage(folder)
    studies.run([labels.inputs["frames"]], folder / "store", workers=2)
    shutil.copytree(folder / "store", folder / "frames")
    store, outcome = studies.run([labels], folder / "store", workers=2)
    assert outcome.complete
    return folder / "frames", (store.path(labels) / "accepted.xyz").read_text()


class Run:
    """The study in a process of its own."""

    started: ClassVar[list[subprocess.Popen]] = []

    def __init__(self, folder: Path, seconds: float):
        self.folder, self.log = folder, folder / "log"
        self.log.touch()
        environment = {**os.environ, tasks.SLOW: str(self.log), tasks.SECONDS: str(seconds)}
        command = [sys.executable, "-m", "support.cluster_study", str(folder)]
        with open(folder / "said", "a") as said:
            self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=said, stderr=said)
        self.started.append(self.process)

    def count(self, word: str) -> int:
        return self.log.read_text().count(word)

    def until(self, word: str, count: int) -> None:
        """Wait until so many labels have begun, or ended."""

        def there() -> bool:
            assert self.process.poll() is None, (self.folder / "said").read_text()
            return self.count(word) >= count

        until(there, f"{count} x {word}")

    def end(self) -> str:
        assert self.process.wait(PATIENCE_S) == 0, (self.folder / "said").read_text()
        return (self.folder / "said").read_text()


@pytest.fixture
def folder(tmp_path, expected):
    shutil.copytree(expected[0], tmp_path / "store")
    yield tmp_path
    while Run.started:  # none is left behind by a test that failed
        process = Run.started.pop()
        process.kill()
        process.wait()


def check(folder: Path, expected: str) -> None:
    """All labels are there, each was computed once, and they are those of this machine."""
    labels = cluster_study.stage(folder)
    store = ResultStore(folder / "store")
    assert (store.path(labels) / "accepted.xyz").read_text() == expected
    ended = Counter(line for line in (folder / "log").read_text().split() if line.startswith("end-"))
    assert len(ended) == labels.tasks and set(ended.values()) == {1}
    assert read_manifest(store.path(labels))["host"]


def test_whatever_is_lost_each_label_is_computed_once(cluster, folder, expected):
    """A worker is killed, a job is cancelled, the controller restarts, the node is drained, all in one run."""
    run = Run(folder, 4.0)
    run.until("end-", 1)
    workers = _workers(run.folder)
    os.kill(workers[0], signal.SIGKILL)
    run.until("end-", 3)
    cluster.cancel_running()
    run.until("end-", 5)
    cluster.stop_controller()
    time.sleep(4.0)  # two questions to squeue fail
    cluster.start_controller()
    run.until("end-", 7)
    cluster.cancel_running(drain=True)
    time.sleep(3.0)
    cluster.run("scontrol", "update", f"NodeName={slurm.NODE}", "State=RESUME")
    said = run.end()
    check(folder, expected[1])
    # at least the two that are cancelled: a controller that was killed may lose its job, too
    assert said.count(" is gone; tasks that it had run again") >= 2 and "CANCELLED AT" in said, "Slurm's own words"
    assert not cluster.run("squeue", "-h").strip(), "no job is left"


def test_a_driver_that_is_killed_is_taken_up_by_the_same_command(cluster, folder, expected, tmp_path, monkeypatch):
    """It cancels the job that is left, and survives that the first two calls of sbatch and squeue fail."""
    run = Run(folder, 2.0)
    run.until("end-", 3)
    run.process.kill()
    run.process.wait()
    left = cluster.jobs()
    assert left, "its job runs on, for a while"
    monkeypatch.setenv("PATH", f"{fail_twice(tmp_path / 'bin', 'sbatch', 'squeue')}:{os.environ['PATH']}")
    said = Run(folder, 0.2).end()
    assert "[executors.tiny] a job was not taken" in said and "sbatch: error: Socket timed out" in said
    check(folder, expected[1])
    assert not cluster.run("squeue", "-h").strip()


def fail_twice(folder: Path, *names: str) -> Path:
    """Commands of Slurm whose first two calls fail, as where the controller is busy."""
    folder.mkdir()
    for name in names:
        path = folder / name
        path.write_text(
            f"#!/bin/bash\nn=$(cat {path}.n 2>/dev/null || echo 0); echo $((n+1)) > {path}.n\n"
            f'if [ $n -lt 2 ]; then echo "{name}: error: Socket timed out on send/recv operation" >&2; exit 1; fi\n'
            f'exec {shutil.which(name)} "$@"\n'
        )
        path.chmod(0o755)
    return folder


def executor(folder: Path, **keys) -> ParslExecutor:
    own = {"partition": "main", "address": "127.0.0.1", "cores": 1, "memory_GB": 1, "status_s": 1.0, **keys}
    return ParslExecutor(ParslSettings(**own), Surroundings(), folder / "executors" / "it", "it")


def test_what_slurm_says_is_in_the_error(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("ilforge.workflow.executors.parsl.jobs.PAUSE_S", 0.2)
    with (
        executor(tmp_path, partition="gpu") as workers,
        pytest.raises(NoWorker, match="(?s)took no job.*invalid partition specified: gpu"),
    ):
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)
    with (
        executor(tmp_path, environment=["module load cp2k", "exit 1"]) as workers,
        pytest.raises(NoWorker, match="(?s)3 jobs in a row.*module: command not found"),
    ):
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)


def test_a_task_that_ran_out_of_memory_asks_slurm_for_more_once(cluster, tmp_path):
    with executor(tmp_path) as workers:
        before = cluster.memory_of_jobs()
        assert workers.submit(tasks.die_once, tmp_path / "flag").result(PATIENCE_S) == "survived"
        own = {number: memory for number, memory in cluster.memory_of_jobs().items() if number not in before}
        assert sorted(own.values()) == ["1G", "2G"]
    with (
        executor(tmp_path, more_memory_GB=64) as workers,
        pytest.raises(OutOfMemory, match=r"(?s)ran out of memory, and no job with more is there.*sbatch"),
    ):
        workers.submit(tasks.die).result(PATIENCE_S)


def _workers(folder: Path) -> list[int]:
    """Processes below Parsl's pools of workers that belong to the run in a folder, the last one first."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            above = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace")
            own = (path / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue
        of_run = "process_worker_pool" in above and str(folder) in above
        if of_run and "spawn_main" in own and "semaphore" not in own:
            found.append(int(path.name))
    return sorted(found, reverse=True)

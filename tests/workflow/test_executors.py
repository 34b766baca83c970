"""Workers: the urgent first, no orphans, and the death of one is not the death of all."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from ilforge.errors import DidNotFinish
from ilforge.workflow.executors import Workers
from support import tasks


def test_tasks_run_in_other_processes_with_the_threads_asked_for():
    with Workers(1, threads=1) as workers:
        assert workers.submit(tasks.process_id).result(60) != os.getpid()
        assert workers.submit(tasks.threads_variable).result(60) == "1"


def test_the_urgent_task_goes_first(tmp_path):
    log = tmp_path / "log"
    with Workers(1) as workers:
        futures = [workers.submit(tasks.sleep, 0.3)]
        futures += [workers.submit(tasks.count_call, log, name, urgency=u) for name, u in (("low", 1.0), ("high", 9.0))]
        for future in futures:
            future.result(60)
    assert log.read_text().split() == ["high", "low"]


def test_an_exception_reaches_the_caller():
    with Workers(1) as workers, pytest.raises(ValueError, match="what went wrong"):
        workers.submit(tasks.fail, "what went wrong").result(60)


def test_a_task_whose_worker_dies_is_tried_once_more(tmp_path):
    with Workers(2) as workers:
        bystander = workers.submit(tasks.sleep, 0.5)
        assert workers.submit(tasks.die_once, tmp_path / "flag").result(60) == "survived"
        assert bystander.result(60) == 0.5


def test_a_task_that_always_kills_its_worker_fails_and_others_go_on():
    with Workers(1) as workers:
        with pytest.raises(DidNotFinish, match="died twice"):
            workers.submit(tasks.die).result(60)
        assert workers.submit(tasks.sleep, 0.0).result(60) == 0.0


def test_workers_die_with_a_killed_parent(tmp_path):
    """A study killed with -9 leaves no process behind."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from ilforge.workflow.executors import Workers\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(1)\n"
        "    print(workers.submit(tasks.process_id).result(), flush=True)\n"
        "    workers.submit(tasks.sleep, 100.0)\n"
        "    time.sleep(100)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(tasks.__file__))}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

"""Workers: the urgent first, no orphans, and the death of one is not the death of all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import pytest

from ilforge.errors import DidNotFinish
from ilforge.workflow.executors import LocalExecutor, NoWorker, WorkerDied, local
from support import tasks


def environment() -> dict[str, str]:
    """Variables with which a script finds the tasks of these tests."""
    own = os.path.dirname(os.path.dirname(tasks.__file__))
    return {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{own}"}


def test_tasks_run_in_other_processes_with_the_threads_asked_for():
    with LocalExecutor(1) as workers:
        assert workers.submit(tasks.process_id).result(60) != os.getpid()
        assert workers.submit(tasks.threads_variable).result(60) == "1"


def test_the_urgent_task_goes_first(tmp_path):
    log = tmp_path / "log"
    with LocalExecutor(1) as workers:
        futures = [workers.submit(tasks.sleep, 0.3)]
        futures += [workers.submit(tasks.count_call, log, name, urgency=u) for name, u in (("low", 1.0), ("high", 9.0))]
        for future in futures:
            future.result(60)
    assert log.read_text().split() == ["high", "low"]


def test_an_exception_reaches_the_caller():
    with LocalExecutor(1) as workers, pytest.raises(ValueError, match="what went wrong"):
        workers.submit(tasks.fail, "what went wrong").result(60)


def test_a_task_whose_worker_dies_is_tried_once_more(tmp_path):
    with LocalExecutor(2) as workers:
        bystander = workers.submit(tasks.sleep, 0.5)
        assert workers.submit(tasks.die_once, tmp_path / "flag").result(60) == "survived"
        assert bystander.result(60) == 0.5


def test_a_task_that_always_kills_its_worker_fails_and_others_go_on():
    with LocalExecutor(1) as workers:
        with pytest.raises(DidNotFinish, match="died twice"):
            workers.submit(tasks.die).result(60)
        assert workers.submit(tasks.sleep, 0.0).result(60) == 0.0


def test_workers_die_with_a_killed_parent(tmp_path):
    """A study killed with -9 leaves no process behind."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from ilforge.workflow.executors import LocalExecutor\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    workers = LocalExecutor(1)\n"
        "    print(workers.submit(tasks.process_id).result(), flush=True)\n"
        "    workers.submit(tasks.sleep, 100.0)\n"
        "    time.sleep(100)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment())
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


def test_a_task_that_kills_its_worker_does_not_touch_the_tasks_of_others(tmp_path):
    """Each of the innocent starts once and none is given up, however often the guilty dies beside them."""
    log = tmp_path / "log"
    log.touch()
    with LocalExecutor(3) as workers:
        innocent = [workers.submit(tasks.logged_sleep, log, str(i), 3.0) for i in range(2)]
        guilty = [workers.submit(tasks.die) for _ in range(3)]
        for future in guilty:
            with pytest.raises(WorkerDied):
                future.result(60)
        for future in innocent:
            future.result(60)
    said = log.read_text().split()
    assert sorted(said) == ["end-0", "end-1", "start-0", "start-1"]


def test_tasks_that_run_when_another_fails_end_without_a_traceback(tmp_path, capfd):
    with LocalExecutor(2) as workers:
        running = workers.submit(tasks.sleep, 1.0)
        workers.submit(tasks.sleep, 0.0).result(60)
        assert not running.cancel(), "its process runs"
        assert running.result(60) == 1.0
    with LocalExecutor(1) as workers:
        long, waiting = workers.submit(tasks.sleep, 100.0), workers.submit(tasks.sleep, 100.0)
        time.sleep(2.0)
    for future in (long, waiting):
        with pytest.raises(CancelledError):
            future.result(10)
    assert "Traceback" not in capfd.readouterr().err


def test_a_process_that_cannot_be_started_is_an_error_not_a_hang(monkeypatch):
    monkeypatch.setattr(local, "PAUSE_S", 0.01)
    with LocalExecutor(1) as workers:

        def refused():
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(workers, "_new_worker", refused)
        with pytest.raises(NoWorker, match="Too many open files.*fewer workers"):
            workers.submit(tasks.sleep, 0.0).result(20)
        monkeypatch.undo()
        assert workers.submit(tasks.sleep, 0.0).result(60) == 0.0


def test_without_descriptors_a_study_ends(tmp_path):
    """With real limits of the system."""
    script = tmp_path / "limited.py"
    script.write_text(
        "import resource\n"
        "from ilforge.workflow.executors import local\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    local.PAUSE_S = 0.1\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))\n"
        "    with local.LocalExecutor(2) as workers:\n"
        "        print(type(workers.submit(tasks.sleep, 0.0).exception(60)).__name__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment(), timeout=90)
    assert done.stdout.strip() == "NoWorker", done.stderr

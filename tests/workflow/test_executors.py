"""Workers: the urgent first, no orphans, and the death of one is not the death of all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import CancelledError

import pytest

from ilforge.errors import DidNotFinish, SettingsError
from ilforge.workflow.executors import LocalExecutor, NoWorker, OutOfMemory, Resources, WorkerDied, local
from support import studies, tasks
from support.patience import PATIENCE_S, until


def environment() -> dict[str, str]:
    """Variables with which a script finds the tasks of these tests."""
    own = os.path.dirname(os.path.dirname(tasks.__file__))
    return {**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{own}"}


def test_tasks_run_in_other_processes_with_the_threads_asked_for():
    with LocalExecutor(1) as workers:
        assert workers.submit(tasks.process_id).result(PATIENCE_S) != os.getpid()
        assert workers.submit(tasks.threads_variable).result(PATIENCE_S) == "1"


def test_the_urgent_task_goes_first(tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    with LocalExecutor(1) as workers:
        futures = [workers.submit(tasks.wait_for, gate)]
        futures += [workers.submit(tasks.count_call, log, name, urgency=u) for name, u in (("low", 1.0), ("high", 9.0))]
        gate.touch()  # both wait by now
        for future in futures:
            future.result(PATIENCE_S)
    assert log.read_text().split() == ["high", "low"]


def test_an_exception_reaches_the_caller():
    with LocalExecutor(1) as workers, pytest.raises(ValueError, match="what went wrong"):
        workers.submit(tasks.fail, "what went wrong").result(PATIENCE_S)


def test_a_task_whose_worker_dies_is_tried_once_more(tmp_path):
    with LocalExecutor(2) as workers:
        bystander = workers.submit(tasks.sleep, 0.5)
        assert workers.submit(tasks.die_once, tmp_path / "flag").result(PATIENCE_S) == "survived"
        assert bystander.result(PATIENCE_S) == 0.5


def test_a_task_that_always_kills_its_worker_fails_and_others_go_on():
    with LocalExecutor(1) as workers:
        with pytest.raises(DidNotFinish, match="died twice"):
            workers.submit(tasks.die).result(PATIENCE_S)
        assert workers.submit(tasks.sleep, 0.0).result(PATIENCE_S) == 0.0


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
        "    workers.submit(tasks.sleep, 10_000.0)\n"
        "    time.sleep(10_000)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment())
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    until(lambda: not tasks.is_alive(worker), "the end of the worker")


def test_a_task_that_kills_its_worker_does_not_touch_the_tasks_of_others(tmp_path):
    """Each of the innocent starts once and none is given up, however often the guilty dies beside them."""
    log = tmp_path / "log"
    log.touch()
    with LocalExecutor(3) as workers:
        innocent = [workers.submit(tasks.logged_sleep, log, str(i), 3.0) for i in range(2)]
        guilty = [workers.submit(tasks.die) for _ in range(3)]
        for future in guilty:
            with pytest.raises(WorkerDied):
                future.result(PATIENCE_S)
        for future in innocent:
            future.result(PATIENCE_S)
    said = log.read_text().split()
    assert sorted(said) == ["end-0", "end-1", "start-0", "start-1"]


def test_tasks_that_run_when_another_fails_end_without_a_traceback(tmp_path, capfd):
    gate, started = tmp_path / "gate", tmp_path / "started"
    with LocalExecutor(2) as workers:
        running = workers.submit(tasks.wait_for, gate)
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)
        assert not running.cancel(), "its process runs"
        gate.touch()
        assert running.result(PATIENCE_S) == "done"
    with LocalExecutor(1) as workers:
        long = workers.submit(tasks.write_process_id, started, 10_000.0)
        waiting = workers.submit(tasks.sleep, 10_000.0)
        until(started.exists, "the start of the task")
    for future in (long, waiting):
        with pytest.raises(CancelledError):
            future.result(PATIENCE_S)
    assert "Traceback" not in capfd.readouterr().err


def test_a_process_that_cannot_be_started_is_an_error_not_a_hang(monkeypatch):
    monkeypatch.setattr(local, "PAUSE_S", 0.01)
    with LocalExecutor(1) as workers:

        def refused(surroundings):
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(local, "_Worker", refused)
        with pytest.raises(NoWorker, match="Too many open files.*fewer workers"):
            workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)
        monkeypatch.undo()
        assert workers.submit(tasks.sleep, 0.0).result(PATIENCE_S) == 0.0


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
        "        print(type(workers.submit(tasks.sleep, 0.0).exception(600)).__name__)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "NoWorker", done.stderr


def test_a_worker_that_crashes_is_told_from_one_that_was_killed():
    with LocalExecutor(1) as workers:
        with pytest.raises(
            WorkerDied, match="died twice while it ran support.tasks.leave, with exit code 3"
        ) as crashed:
            workers.submit(tasks.leave, 3).result(PATIENCE_S)
        with pytest.raises(OutOfMemory, match=r"killed \(probably out of memory\)"):
            workers.submit(tasks.die).result(PATIENCE_S)
    assert not isinstance(crashed.value, OutOfMemory)


def test_what_runs_out_of_memory_is_tried_once_more_with_nothing_beside_it(tmp_path):
    log = tmp_path / "log"
    log.touch()
    with LocalExecutor(2) as workers:
        neighbour = workers.submit(tasks.logged_wait, log, "neighbour", "short")
        short = workers.submit(tasks.short_of_memory_once, log)
        later = [workers.submit(tasks.logged_sleep, log, f"later{i}", 0.1) for i in range(2)]
        assert short.result(PATIENCE_S) == "done"
        for future in (neighbour, *later):
            future.result(PATIENCE_S)
    said = log.read_text().split()
    assert said.index("short") < said.index("end-neighbour"), "the first time it had a neighbour"
    assert said[-1] == "alone"


def test_a_task_without_enough_memory_even_alone_fails_with_what_it_said():
    with LocalExecutor(1) as workers:
        with pytest.raises(OutOfMemory, match=r"tasks\.huge_array ran out of memory twice.*\(MemoryError\)"):
            workers.submit(tasks.huge_array).result(PATIENCE_S)
        assert workers.submit(tasks.sleep, 0.0).result(PATIENCE_S) == 0.0


def test_tasks_do_not_take_more_memory_than_there_is(tmp_path):
    log = tmp_path / "log"
    needs = Resources(memory_GB=0.8)
    with LocalExecutor(2, memory_GB=1.0) as workers:
        futures = [workers.submit(tasks.logged_sleep, log, str(i), 0.3, resources=needs) for i in range(2)]
        for future in futures:
            future.result(PATIENCE_S)
    assert log.read_text().split() == ["start-0", "end-0", "start-1", "end-1"]


def test_what_cannot_be_sent_is_an_error_of_its_task_alone():
    with LocalExecutor(1) as workers:
        with pytest.raises(AttributeError, match="lambda|local object"):
            workers.submit(lambda: None).result(PATIENCE_S)
        with pytest.raises(AttributeError, match="lambda|local object"):
            workers.submit(tasks.unsendable_result).result(PATIENCE_S)
        with pytest.raises(DidNotFinish, match="Unsendable: a b"):
            workers.submit(tasks.raise_unsendable).result(PATIENCE_S)
        assert workers.submit(tasks.sleep, 0.0).result(PATIENCE_S) == 0.0


def test_an_error_when_a_task_begins_is_the_task_s():
    def refuse():
        raise KeyError("no such stage")

    with LocalExecutor(1) as workers, pytest.raises(KeyError, match="no such stage"):
        workers.submit(tasks.sleep, 0.0, on_start=refuse).result(PATIENCE_S)


def test_whatever_ends_the_dispatcher_ends_what_waits_for_it(monkeypatch):
    workers = LocalExecutor(1)
    both = threading.Event()
    monkeypatch.setattr(workers, "_hear", lambda worker: both.wait(PATIENCE_S) and 1 / 0)
    first, second = workers.submit(tasks.sleep, 10_000.0), workers.submit(tasks.sleep, 0.0)
    both.set()
    for future in (first, second):
        with pytest.raises(NoWorker, match="division by zero"):
            future.result(PATIENCE_S)
    with pytest.raises(CancelledError):
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)
    workers.close()


def test_a_task_that_ends_the_dispatcher_itself_ends_too():
    def leave():
        raise SystemExit

    workers = LocalExecutor(1)
    with pytest.raises(NoWorker, match="SystemExit"):
        workers.submit(tasks.sleep, 0.0, on_start=leave).result(PATIENCE_S)
    workers.close()


def test_a_thread_that_cannot_be_started_is_an_error_in_words(monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(local.threading.Thread, "start", refused)
    with pytest.raises(NoWorker, match="can't start new thread.*fewer workers"):
        LocalExecutor(1)


def run_script(tmp_path, text, **how):
    script = tmp_path / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment(), timeout=PATIENCE_S, **how
    )


def test_a_script_that_starts_workers_when_it_is_imported_ends_in_words(tmp_path):
    done = run_script(
        tmp_path,
        "from ilforge.workflow.executors import LocalExecutor\n"
        "from support import tasks\n"
        "print('imported', flush=True)\n"
        "with LocalExecutor(2) as workers:\n"
        "    workers.submit(tasks.sleep, 0.0).result()\n",
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ilforge.errors.SettingsError: A script that starts workers")
    assert 'if __name__ == "__main__"' in done.stderr and done.stderr.count("Traceback") == 1
    assert done.stdout.split() == ["imported"] * 2, "one worker is enough to know"


def test_a_study_that_a_script_runs_when_it_is_imported_ends_in_words(tmp_path):
    studies.smallest(tmp_path)
    done = run_script(
        tmp_path,
        "from rich.console import Console\n"
        "from ilforge.study.load import load_study\n"
        "from ilforge.study.machine import Machine\n"
        "from ilforge.workflow.study_run import run_study\n"
        "run_study(load_study('smallest.toml'), Machine(workers=2), Console())\n",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ilforge.errors.SettingsError: A script that starts workers")


def test_a_process_of_another_library_that_imports_such_a_script_is_told(monkeypatch):
    monkeypatch.setattr(local.multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(SettingsError, match="__main__"):
        LocalExecutor(1)


def test_a_script_that_is_gone_is_an_error_and_not_a_hang(tmp_path):
    """A worker imports the main script: without it, it ends before its task."""
    done = run_script(
        tmp_path,
        "import os\n"
        "from ilforge.workflow.executors import local\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    local.PAUSE_S = 0.05\n"
        "    os.remove(__file__)\n"
        "    with local.LocalExecutor(1) as workers:\n"
        "        print(workers.submit(tasks.sleep, 0.0).exception(600))\n",
    )
    assert "No worker process could be started (a new process ended at once, with exit code 1" in done.stdout, (
        done.stderr
    )


def test_descriptors_that_run_out_under_way_end_the_next_task_only(tmp_path):
    done = run_script(
        tmp_path,
        "import resource\n"
        "from pathlib import Path\n"
        "from ilforge.workflow.executors import local\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    local.PAUSE_S = 0.05\n"
        "    with local.LocalExecutor(2) as workers:\n"
        f"        gate = Path({str(tmp_path / 'gate')!r})\n"
        "        first = workers.submit(tasks.wait_for, gate)\n"
        "        workers.submit(tasks.sleep, 0.0).result(600)\n"
        "        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n"
        "        files = []\n"
        "        try:\n"
        "            while True:\n"
        "                files.append(open('/dev/null'))\n"
        "        except OSError:\n"
        "            pass\n"
        "        print(type(workers.submit(tasks.leave, 1).exception(600)).__name__)\n"
        "        files.clear()\n"
        "        gate.touch()\n"
        "        print(first.result(600))\n"
        "        print(workers.submit(tasks.sleep, 0.5).result(600))\n",
    )
    assert done.stdout.split() == ["NoWorker", "done", "0.5"], done.stderr


def test_an_executor_that_nobody_closes_does_not_hold_up_the_end(tmp_path):
    done = run_script(
        tmp_path,
        "from ilforge.workflow.executors import LocalExecutor\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    workers = LocalExecutor(2)\n"
        "    workers.submit(tasks.sleep, 1000.0)\n"
        "    print(workers.submit(tasks.sleep, 0.0).result(600))\n",
    )
    assert done.stdout.split() == ["0.0"] and done.returncode == 0, done.stderr

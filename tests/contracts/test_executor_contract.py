"""What every executor must do, whatever it runs tasks on."""

from __future__ import annotations

import os
import threading
from concurrent.futures import CancelledError, Future
from pathlib import Path

import pytest

from ilforge import programs
from ilforge.errors import DidNotFinish
from ilforge.study.machine import Machine
from ilforge.workflow.executors import Executors, OutOfMemory, Resources, WorkerDied
from support import tasks
from support.patience import PATIENCE_S, until

TABLES = {
    "local": {"kind": "local", "workers": 2},
    "parsl": {
        "kind": "parsl", "provider": "local", "workers": 2, "threads": 1, "lost_after_s": 30, "status_s": 1.0,
        "jobs": 2, "walltime_h": 0.2, "submissions_per_hour": 100, "idle_min": 0.2,
    },
}  # fmt: skip
"""A table of machine.toml for two workers, by kind."""


@pytest.fixture(scope="module", params=list(TABLES))
def executor(request, tmp_path_factory):
    """An executor with two workers, for all tests of a kind."""
    if request.param == "parsl" and not programs.is_installed("parsl"):
        pytest.skip(f"parsl is missing: {programs.extra('cluster')}")
    folder = tmp_path_factory.mktemp(request.param)
    work = dict.fromkeys(("label", "train", "md", "explore", "analyse"), "it")
    machine = Machine(store=str(folder), executors={"it": TABLES[request.param]}, run=work)
    with pytest.MonkeyPatch.context() as patch:
        own = Path(tasks.__file__).parents[1]  # where workers find these tasks
        patch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{own}")
        with Executors.of_machine(machine) as executors:
            yield executors.of("label")


def test_a_task_runs_in_another_process_with_the_threads_asked_for(executor):
    assert executor.submit(tasks.process_id).result(PATIENCE_S) != os.getpid()
    assert executor.submit(tasks.threads_variable).result(PATIENCE_S) == "1"
    assert executor.threads == 1 and executor.slots >= 2


def test_results_come_back_each_to_its_task(executor):
    futures = [executor.submit(tasks.die_for, number) for number in range(20, 60)]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(20, 60))


def test_an_exception_reaches_the_caller(executor):
    with pytest.raises(ValueError, match="what went wrong"):
        executor.submit(tasks.fail, "what went wrong").result(PATIENCE_S)


def test_urgent_tasks_go_first_and_what_waits_can_be_cancelled(executor, tmp_path):
    """By the order in which tasks leave the queue: processes that start together may begin in any order."""
    ran, gate, order = tmp_path / "ran", tmp_path / "gate", []
    begun = threading.Semaphore(0)
    busy = [executor.submit(tasks.wait_for, gate, urgency=99.0, on_start=begun.release) for _ in range(executor.slots)]
    for _ in busy:
        assert begun.acquire(timeout=PATIENCE_S)

    def queue(name: str, urgency: float) -> list[Future[float]]:
        return [
            executor.submit(tasks.sleep, 0.1, urgency=urgency, on_start=lambda: order.append(name))
            for _ in range(executor.slots)
        ]

    low = queue("low", 1.0)
    never = executor.submit(tasks.count_call, ran, "never", urgency=2.0)
    high = queue("high", 9.0)
    assert never.cancel()
    gate.touch()  # all are in the queue
    for future in (*busy, *low, *high):
        future.result(PATIENCE_S)
    assert order == ["high"] * executor.slots + ["low"] * executor.slots and not ran.exists()


def test_a_task_that_crashes_its_process_is_tried_once_more_and_touches_no_other(executor, tmp_path):
    log = tmp_path / "log"
    log.touch()
    innocent = executor.submit(tasks.logged_wait, log, "innocent", "guilty-is-dead")
    with pytest.raises(WorkerDied, match=r"died twice while it ran support\.tasks\.leave.*exit code 3") as died:
        executor.submit(tasks.leave, 3).result(PATIENCE_S)
    tasks.count_call(log, "guilty-is-dead")
    assert not isinstance(died.value, OutOfMemory)
    innocent.result(PATIENCE_S)
    assert log.read_text().split() == ["start-innocent", "guilty-is-dead", "end-innocent"]


def test_what_runs_out_of_memory_is_tried_once_more_alone(executor, tmp_path):
    log = tmp_path / "log"
    log.touch()
    assert executor.submit(tasks.short_of_memory_once, log).result(PATIENCE_S) == "done"
    assert executor.submit(tasks.die_once, tmp_path / "flag").result(PATIENCE_S) == "survived"
    with pytest.raises(OutOfMemory, match="out of memory"):
        executor.submit(tasks.huge_array).result(PATIENCE_S)
    assert executor.submit(tasks.sleep, 0.0).result(PATIENCE_S) == 0.0


def test_what_cannot_be_sent_is_an_error_of_its_task_alone(executor):
    with pytest.raises(AttributeError, match="lambda|local object"):
        executor.submit(lambda: None).result(PATIENCE_S)
    with pytest.raises(AttributeError, match="lambda|local object"):
        executor.submit(tasks.unsendable_result).result(PATIENCE_S)
    with pytest.raises(DidNotFinish, match="Unsendable: a b"):
        executor.submit(tasks.raise_unsendable).result(PATIENCE_S)


def test_a_closed_executor_cancels_and_leaves_no_process(executor, tmp_path):
    """The last test of a kind: it closes the executor."""
    started = tmp_path / "started"
    running = executor.submit(tasks.write_process_id, started, 10_000.0, resources=Resources())
    waiting = [executor.submit(tasks.sleep, 10_000.0) for _ in range(8)]
    until(lambda: started.exists() and started.read_text(), "the start of the task")
    executor.close()
    for future in (running, *waiting):
        with pytest.raises(CancelledError):
            future.result(PATIENCE_S)
    until(lambda: not tasks.is_alive(int(started.read_text())), "the end of the process")
    late = executor.submit(tasks.sleep, 0.0)
    with pytest.raises(CancelledError):
        late.result(PATIENCE_S)

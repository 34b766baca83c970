"""How jobs are asked for and given up, with a queueing system and nodes that do what the test says."""

from __future__ import annotations

import time
import types

import pytest

from ilforge.errors import SettingsError
from ilforge.settings_file import check_settings
from ilforge.workflow.executors import NoWorker, Resources
from ilforge.workflow.executors.parsl import ParslSettings, jobs, ledger
from ilforge.workflow.executors.parsl.jobs import Jobs
from ilforge.workflow.executors.parsl.ledger import Ledger
from ilforge.workflow.executors.parsl.providers import Shape, first_lines
from ilforge.workflow.executors.parsl.tasks import ClusterTask, Durations
from support import tasks


class State:
    def __init__(self, terminal=False, stderr_path=None):
        self.terminal, self.stderr_path, self.message, self.status_name = terminal, stderr_path, None, "FAILED"


class Refusal(Exception):
    def __init__(self, stderr):
        super().__init__("Could not read job ID")
        self.stderr = stderr


class System:
    """Parsl's executor and provider in one: what the system takes and says, and which nodes are there."""

    launch_cmd = "work --block {block_id}"

    def __init__(self):
        self.provider = self.command_client = self
        self.resources = {}
        self.refusals, self.submitted, self.cancelled, self.states, self.nodes = [], [], [], {}, []
        self.status_fails = self.cancel_fails = False

    def submit(self, command, tasks_per_node, name):
        if self.refusals:
            raise self.refusals.pop(0)
        self.submitted.append(command)
        return str(100 + len(self.submitted))

    def status(self, numbers):
        if self.status_fails:
            raise Refusal("slurm_load_jobs error: Unable to contact slurm controller")
        return [self.states.get(number, State()) for number in numbers]

    def cancel(self, numbers):
        self.cancelled.append(list(numbers))
        return [not self.cancel_fails for _ in numbers]

    def run(self, command, timeout_s=None):
        if isinstance(command, list):
            self.node(command[1])["active"] = False
            return None
        return self.nodes

    def node(self, block):
        return next(node for node in self.nodes if node["block_id"] == block)

    def add_node(self, block, **more):
        own = {"manager": block, "block_id": block, "worker_count": 4, "tasks": 0, "idle_duration": 0.0, "active": True}
        self.nodes.append({**own, **more})


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when the test says so."""

    class Clock(types.ModuleType):
        now = 1000.0

        def __getattr__(self, name):
            return getattr(time, name)

        def monotonic(self):
            return self.now

    own = Clock("clock")
    monkeypatch.setattr(jobs, "time", own)
    return own


def made(tmp_path, **keys):
    system, said = System(), []
    settings = ParslSettings(**{"workers": 4, "jobs": 3, **keys})
    return system, Jobs(system, settings, 4, Ledger(tmp_path / "book"), said.append), said


def test_as_many_jobs_as_the_tasks_need_and_no_more_than_allowed(tmp_path, clock):
    system, found, _ = made(tmp_path)
    found.ask_for(1, 3)
    assert system.submitted == ["work --block 0"]
    found.ask_for(4, 2)
    assert len(system.submitted) == 1, "one job has four places"
    found.ask_for(100, 2)
    assert len(system.submitted) == 3
    system.add_node("1")
    found.look()
    assert found.room == 4


def test_a_refused_job_is_asked_for_again_and_a_system_that_never_takes_one_is_quoted(tmp_path, clock):
    system, found, said = made(tmp_path)
    system.refusals = [Refusal("sbatch: error: Unable to contact slurm controller")]
    found.ask_for(1, 1)
    assert not system.submitted and "Unable to contact slurm controller" in said[0]
    found.ask_for(1, 1)
    assert not system.submitted, "not before the pause"
    clock.now += 6
    found.ask_for(1, 1)
    assert len(system.submitted) == 1
    system, found, _ = made(tmp_path)
    system.refusals = [Refusal("sbatch: error: invalid partition specified: gpu")] * 3
    with pytest.raises(NoWorker, match="took no job, 3 times in a row.*\n.*invalid partition specified: gpu"):
        for _ in range(3):
            clock.now += 100
            found.ask_for(1, 1)


def test_a_system_that_took_jobs_before_is_waited_for_longer(tmp_path, clock):
    system, found, _ = made(tmp_path)
    found.ask_for(1, 1)
    system.states["101"] = State(terminal=True)
    found.look()
    system.refusals = [Refusal("down")] * 100
    for _ in range(8):
        clock.now += 200
        found.ask_for(1, 1)
    with pytest.raises(NoWorker, match="down"):
        for _ in range(4):
            clock.now += 310
            found.ask_for(1, 1)


def test_no_more_jobs_an_hour_than_allowed_over_several_runs(tmp_path, clock):
    system, found, said = made(tmp_path, submissions_per_hour=2, jobs=9)
    found.ask_for(100, 9)
    assert len(system.submitted) == 2 and "submissions_per_hour" in said[0] and len(said) == 1
    system, found, _ = made(tmp_path, submissions_per_hour=2)
    found.ask_for(100, 9)
    assert not system.submitted
    book = tmp_path / "book" / "submissions"
    book.write_text("\n".join(str(float(line) - 3600) for line in book.read_text().split()))
    found.ask_for(100, 9)
    assert len(system.submitted) == 2


def test_a_system_that_does_not_answer_changes_nothing(tmp_path, clock):
    system, found, _ = made(tmp_path, status_s=1.0)
    found.ask_for(4, 3)
    system.add_node("0")
    system.status_fails = True
    for _ in range(5):
        clock.now += 10
        found.look()
        found.ask_for(4, 2)
    system.status_fails, system.states["101"] = False, State(terminal=True)  # wrong: its node is there
    clock.now += 10
    found.look()
    found.ask_for(4, 2)
    assert len(system.submitted) == 1 and found.room == 4


def test_a_job_whose_nodes_are_gone_is_over_and_another_is_asked_for(tmp_path, clock):
    system, found, said = made(tmp_path)
    found.ask_for(4, 1)
    system.add_node("0")
    found.look()
    system.nodes.clear()
    wrote = tmp_path / "job.stderr"
    wrote.write_text("slurmstepd: error: *** JOB 101 CANCELLED DUE TO TIME LIMIT ***\n")
    system.resources["101"] = {"job_stderr_path": str(wrote)}
    found.look()
    assert system.cancelled == [["101"]] and "job 101 is gone" in said[0] and "DUE TO TIME LIMIT" in said[0]
    found.ask_for(4, 1)
    assert len(system.submitted) == 2


def test_jobs_that_end_before_they_work_are_given_up_with_what_they_wrote(tmp_path, clock):
    system, found, said = made(tmp_path, status_s=1.0)
    wrote = tmp_path / "job.stderr"
    wrote.write_text("line 4: module: command not found\n")
    with pytest.raises(NoWorker, match=r"3 jobs in a row.*environment.*\n.*module: command not found"):
        for number in range(101, 104):
            found.ask_for(1, 1)
            system.states[str(number)] = State(terminal=True, stderr_path=str(wrote))
            clock.now += 10
            found.look()
    assert len(said) == 3 and "job 101 ended" in said[0] and "module: command not found" in said[0]


def test_a_job_that_was_taken_although_its_command_failed_is_used_when_its_nodes_call_in(tmp_path, clock):
    system, found, _ = made(tmp_path)
    system.refusals = [TimeoutError("timed out")]
    found.ask_for(1, 1)
    system.add_node("0")
    found.look()
    assert found.room == 4
    clock.now += 100
    found.ask_for(4, 1)
    assert not system.submitted


def test_a_job_that_is_held_gets_nothing_more_and_ends_when_it_is_done(tmp_path, clock):
    system, found, _ = made(tmp_path)
    found.ask_for(4, 1)
    system.add_node("0", tasks=2)
    found.look()
    found.hold("0")
    found.look()
    assert found.room == 0 and not system.node("0")["active"]
    found.end_idle(9, 100.0)
    assert not system.cancelled
    system.node("0")["tasks"] = 0
    found.look()
    found.end_idle(9, 100.0)
    assert system.cancelled == [["101"]]


def test_idle_jobs_end_and_a_cancel_that_failed_is_tried_again(tmp_path, clock):
    system, found, _ = made(tmp_path, status_s=1.0)
    found.ask_for(8, 2)
    system.add_node("0", idle_duration=300.0)
    found.look()
    found.end_idle(1, 100.0)
    assert not system.cancelled, "a task waits"
    system.cancel_fails = True
    found.end_idle(0, 100.0)
    assert system.cancelled == [["101"]] and len(found.alive) == 1
    assert not system.node("0")["active"], "Parsl sends it nothing while it ends"
    system.cancel_fails = False
    clock.now += 10
    found.look()
    assert system.cancelled[1:] == [["101"]]
    clock.now += 1000
    found.end_idle(0, 100.0)
    assert system.cancelled[2:] == [["102"]], "one that still waits in the queue"


def test_runs_that_were_killed_are_found_with_their_jobs(tmp_path):
    killed, ended = Ledger(tmp_path), Ledger(tmp_path)
    for run in (killed, ended):
        run.submitted("17")
    living = Ledger(tmp_path)
    assert living.left_by_others() == {}
    killed._alive.close()  # as the system does when a process ends
    ended.close(ended=True)
    assert living.left_by_others() == {killed.own: ["17"], ended.own: []}


def test_a_run_that_is_just_starting_is_not_taken_for_ended(tmp_path, monkeypatch):
    living, flock, seen = Ledger(tmp_path), ledger.fcntl.flock, []

    def look_first(file, how):
        monkeypatch.undo()
        seen.append(living.left_by_others())
        flock(file, how)
        seen.append(living.left_by_others())

    monkeypatch.setattr(ledger.fcntl, "flock", look_first)
    Ledger(tmp_path)
    assert seen == [{}, {}]


def test_a_task_takes_what_it_is_expected_to_until_it_is_measured():
    durations = Durations(ParslSettings(workers=1, walltime_h=1.0, margin=2.0))
    needs = Resources(expected_s=100.0)
    task = ClusterTask(tasks.sleep, (), needs)
    assert durations.needs_s(task) == 200.0
    for seconds in (3.0, 5.0, 4.0):
        durations.took(ClusterTask(tasks.sleep, (), needs), seconds)
    assert durations.needs_s(task) == 10.0
    assert durations.needs_s(ClusterTask(tasks.die, (), needs)) == 200.0
    durations.overran(task, 600.0)
    assert durations.needs_s(task) == 1200.0
    durations.overran(task, 2000.0)
    with pytest.raises(SettingsError, match="walltime_h"):
        durations.overran(task, 3000.0)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "workers is missing"),
        ({"cores": 4, "threads": 8}, "threads = 8 is more than cores = 4"),
        ({"gpus": 2, "workers": 4}, "workers = 4, but each task has a GPU"),
        ({"workers": 1, "device": "cuda"}, "a job asks for none: set gpus"),
        ({"workers": 1, "device": "gpu"}, "device is 'gpu'"),
        ({"workers": 1, "memory_GB": 8, "more_memory_GB": 4}, "more_memory_GB = 4 is less than memory_GB = 8"),
        ({"workers": 1, "provider": "sge"}, "slurm"),
    ],
)
def test_keys_that_do_not_fit_are_refused_in_words(keys, said):
    with pytest.raises(SettingsError, match=said):
        check_settings(ParslSettings, {"kind": "parsl", **keys}, "machine.toml, [executors.x]")


def test_workers_of_a_node_follow_from_its_cores_threads_and_gpus():
    def workers(**keys):
        return ParslSettings(**keys).workers_per_node

    assert workers(cores=32, threads=8) == 4 and workers(cores=32, gpus=2) == 2 and workers(workers=7) == 7
    settings = ParslSettings(cores=32, threads=8, jobs=3, nodes=2, memory_GB=100)
    assert (settings.slots, settings.share_GB, settings.alone_GB) == (24, 25.0, 200.0)
    lines = first_lines(ParslSettings(workers=2, threads=3, environment=["module load cp2k"]), Shape(2, None))
    assert "module load cp2k" in lines.splitlines() and "PARSL_CORES=6" in lines

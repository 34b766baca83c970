"""Executors by name: which work goes where, and one that another package brings."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from ilforge import workflow
from ilforge.devices import Devices
from ilforge.errors import SettingsError
from ilforge.study.machine import Machine, load_machine
from ilforge.workflow.executors import EXECUTORS, Executors, LocalExecutor, NoWorker, require_executors
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.store import ResultStore
from support import tasks

PLUGIN = '''
from concurrent.futures import Future
from typing import Literal
from ilforge.settings import Settings
from ilforge.workflow.executors import ExecutorKind

class InlineSettings(Settings):
    kind: Literal["inline"]
    greeting: str = "hello"

class Inline:
    """Runs every task at once, in the thread that submits it."""
    slots = 1
    seen = []

    def __init__(self, threads):
        self.threads = threads

    def submit(self, function, *arguments, resources=None, urgency=0.0, on_start=None):
        self.seen.append(resources)
        on_start()
        future = Future()
        future.set_result(function(*arguments))
        return future

    def close(self):
        self.seen.append("closed")

def start(machine, settings, name):
    Inline.greeting = f"{settings.greeting}, {name}"
    return Inline(machine.threads)

KIND = ExecutorKind("inline", InlineSettings, start)
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package with an executor, as it lies beside others when it is installed."""
    folder = tmp_path / "site"
    information = folder / "inline_executor-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "inline_executor.py").write_text(PLUGIN)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: inline-executor\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[ilforge.executors]\ninline = inline_executor:KIND\n")
    monkeypatch.syspath_prepend(str(folder))
    EXECUTORS.__dict__.pop("_plugins", None)  # it looks for packages once
    yield importlib.import_module("inline_executor").Inline
    sys.modules.pop("inline_executor")
    EXECUTORS.__dict__.pop("_plugins", None)


def machine_of(text: str, folder: Path) -> Machine:
    (folder / "machine.toml").write_text(text)
    return load_machine(folder / "machine.toml")


def process_stage(name, runs_as, **more):
    def work(job):
        (job.directory / "process").write_text(f"{job.run(tasks.process_id)} {job.threads}")

    return Stage(name, name, 1, {}, {}, work, runs_as=runs_as, **more)


def test_an_executor_of_another_package_runs_the_work_that_machine_toml_gives_it(tmp_path, plugin):
    text = 'workers = 1\nthreads = 2\nrun = { label = "here" }\n[executors.here]\nkind = "inline"\ngreeting = "moin"\n'
    machine = machine_of(text, tmp_path)
    store = ResultStore(tmp_path / "store")
    store.prepare()
    stages = [process_stage("one", "label", memory_GB=3.0, task_seconds=1000.0), process_stage("two", "train")]
    watch = Watch(Console(file=io.StringIO()), store)
    with Executors.of_machine(machine) as executors:
        assert executors.slots == 2
        assert run_stages(stages, store, executors, watch).complete
    watch.stop()
    inline, local = ((store.path(stage) / "process").read_text().split() for stage in stages)
    assert inline == [str(os.getpid()), "2"] and local[0] != inline[0]
    resources, closed = plugin.seen
    assert (resources.cores, resources.gpus, resources.memory_GB, resources.walltime_s) == (2, 0, 3.0, 10_000.0)
    assert plugin.greeting == "moin, here" and closed == "closed"


def test_a_key_that_a_kind_of_executor_does_not_know_is_refused_with_those_it_knows(tmp_path, plugin):
    machine = machine_of('run = { md = "a" }\n[executors.a]\nkind = "inline"\nworkers = 2\n', tmp_path)
    with pytest.raises(SettingsError, match=r"(?s)\[executors\.a\].*workers is not a known key.*kind, greeting"):
        require_executors(machine)
    machine = machine_of('run = { md = "a" }\n[executors.a]\nkind = "slurm"\n', tmp_path)
    with pytest.raises(
        SettingsError, match=r"\[executors\.a\]: 'slurm' is not a kind of executor.*local, parsl, inline"
    ):
        require_executors(machine)


def test_only_executors_that_have_work_are_started(tmp_path):
    machine = machine_of('[executors.unused]\nkind = "local"\nworkers = 3\n', tmp_path)
    assert list(require_executors(machine)) == ["local"]


def test_a_local_executor_takes_what_it_does_not_say_from_the_machine(tmp_path):
    text = (
        'workers = 2\nthreads = 3\nmemory_GB = 5\ndevice = { torch = "cuda" }\nrun = { md = "wide" }\n'
        '[executors.wide]\nkind = "local"\nworkers = 1\nthreads = 6\n'
    )
    with Executors.of_machine(machine_of(text, tmp_path)) as executors:
        local, wide = executors.of("label"), executors.of("md")
        assert (local.slots, local.threads, wide.slots, wide.threads) == (2, 3, 1, 6)
        assert local is executors.of("analyse")
        assert (executors.gpus_of(["torch"]), executors.gpus_of(["openmm"]), executors.gpus_of([])) == (1, 0, 0)
        assert wide.submit(tasks.threads_variable).result(600) == "6"
        assert wide.submit(tasks.chosen_devices).result(600) == Devices.parse({"torch": "cuda"})
        assert local.submit(tasks.threads_variable).result(600) == "3"


def test_what_a_task_needs_is_in_no_key():
    plain = process_stage("one", "analyse")
    assert plain.key == process_stage("one", "train", memory_GB=9.0, task_seconds=1e6, computes_with=("torch",)).key


def test_a_machine_that_refuses_another_thread_ends_the_run_in_words(tmp_path, monkeypatch):
    store = ResultStore(tmp_path / "store")
    store.prepare()
    watch = Watch(Console(file=io.StringIO()), store)

    def refused(pool, *arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("ilforge.workflow.scheduler.ThreadPoolExecutor.submit", refused)
    with (
        Executors({"local": LocalExecutor(1)}) as executors,
        pytest.raises(NoWorker, match="can't start new thread"),
    ):
        run_stages([process_stage("one", "label")], store, executors, watch)
    watch.stop()


def test_only_the_local_executor_knows_how_processes_are_run():
    known = ("multiprocessing", "subprocess", "ctypes", "signal", "/proc", "killpg", "prctl")
    for file in Path(workflow.__file__).parent.rglob("*.py"):
        found = [word for word in known if re.search(rf"(import {word}|{word}\()|{word}/", file.read_text())]
        assert not found or file.name == "local.py", (file, found)

"""Parsl on this machine: time left of a job, workers that are lost, a run that is killed, and what a manifest says."""

from __future__ import annotations

import io
import os
import re
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
from rich.console import Console

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.programs import installed_versions
from ilforge.study.machine import Machine
from ilforge.workflow.executors import Executors, NoWorker, Place, Resources, Surroundings
from ilforge.workflow.executors.calls import pack
from ilforge.workflow.executors.parsl import ParslExecutor, ParslSettings, jobs, remote
from ilforge.workflow.executors.parsl.providers import ENDS
from ilforge.workflow.executors.parsl.remote import perform
from ilforge.workflow.executors.trial import Seen, in_words
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.store import ResultStore, read_manifest
from support import studies, tasks
from support.patience import PATIENCE_S, until

needs_parsl = pytest.mark.skipif(not programs.is_installed("parsl"), reason=f"needs {programs.extra('cluster')}")
TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def path_of_tests(monkeypatch):
    """Workers find the tasks of these tests."""
    monkeypatch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{TESTS}")


def executor(folder: Path, **keys) -> ParslExecutor:
    own = {"provider": "local", "workers": 1, "lost_after_s": 30, "status_s": 1.0, "submissions_per_hour": 99, **keys}
    return ParslExecutor(ParslSettings(**own), Surroundings(), folder / "executors" / "it", "it")


def test_without_parsl_the_error_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "is_installed", lambda package: False)
    with pytest.raises(Exception, match=r"parsl was not found.*ilforge\[cluster\]"):
        executor(tmp_path)


@needs_parsl
def test_no_task_starts_that_its_job_has_no_time_for(tmp_path):
    """The first job is nearly over when its node calls in: it gets no task, it ends, and a second one is started."""
    nearly_over = f"if mkdir {tmp_path}/first; then export {ENDS}=$(( $(date +%s) + 100 )); fi"
    with executor(tmp_path, environment=[nearly_over]) as workers:
        needs = Resources(expected_s=400.0)
        began = time.time()
        futures = [workers.submit(tasks.end_of_job, resources=needs) for _ in range(3)]
        ends = {future.result(PATIENCE_S) for future in futures}
        assert min(ends) > began + 600.0 + 10.0 and len(ends) == 1
        with pytest.raises(SettingsError, match="walltime_h = 1, but a task of support.tasks.sleep needs 1.5 h"):
            workers.submit(tasks.sleep, 0.0, resources=Resources(expected_s=3600.0)).result(PATIENCE_S)
    assert len((tmp_path / "executors" / "it" / "submissions").read_text().split()) == 2


def test_a_node_refuses_what_its_job_has_no_time_for(monkeypatch):
    call, now = pack(tasks.die, ()), time.time()
    monkeypatch.setattr(remote.time, "time", lambda: now)
    monkeypatch.setenv(ENDS, str(now + 100.0))
    reply = perform(call, Surroundings(), needs_s=95.0)
    assert reply.outcome == "too late" and reply.said == "90 s are left"


@needs_parsl
def test_workers_of_parsl_that_are_killed_cost_no_try_of_the_task(tmp_path):
    log = tmp_path / "log"
    with executor(tmp_path) as workers:
        future = workers.submit(tasks.parents_then_sleep, log, 4.0)
        for tried in range(3):  # more often than a task that crashes is tried
            until(lambda count=tried: log.exists() and len(log.read_text().splitlines()) > count, "a try")
            os.kill(int(log.read_text().split()[-1]), signal.SIGKILL)
        assert future.result(PATIENCE_S) == "done"
    assert len(log.read_text().splitlines()) == 4


@needs_parsl
def test_a_run_that_is_killed_leaves_no_process(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from ilforge.workflow.executors import Surroundings\n"
        "from ilforge.workflow.executors.parsl import ParslExecutor, ParslSettings\n"
        "from support import tasks\n"
        "if __name__ == '__main__':\n"
        "    settings = ParslSettings(provider='local', workers=1, lost_after_s=6)\n"
        f"    workers = ParslExecutor(settings, Surroundings(), Path({str(tmp_path)!r}) / 'book', 'it')\n"
        "    print(workers.submit(tasks.process_id).result(600), flush=True)\n"
        "    workers.submit(tasks.sleep, 10_000.0)\n"
        "    time.sleep(10_000)\n"
    )
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    until(lambda: not tasks.is_alive(worker), "the end of the worker")
    until(lambda: not _named("process_worker_pool", str(tmp_path)), "the end of the pool")
    until(lambda: not _named("interchange", f" {run.pid}"), "the end of the interchange")


@needs_parsl
def test_a_job_that_cannot_work_is_quoted_as_is_a_system_that_takes_none(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PAUSE_S", 0.1)
    with (
        executor(tmp_path, environment=["echo no such module >&2", "exit 7"]) as workers,
        pytest.raises(NoWorker, match=r"\[executors\.it\] in machine\.toml: 3 jobs in a row.*\n.*no such module"),
    ):
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)
    _script(
        tmp_path / "bin" / "sbatch",
        "echo 'sbatch: error: Invalid account or account/partition combination' >&2; exit 1",
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with (
        executor(tmp_path, provider="slurm", cores=1, address="127.0.0.1") as workers,
        pytest.raises(NoWorker, match=r"(?s)took no job.*sbatch: error: Invalid account"),
    ):
        workers.submit(tasks.sleep, 0.0).result(PATIENCE_S)


@needs_parsl
def test_two_tables_with_the_same_keys_keep_their_own_books_and_speak_with_their_own_names(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "PAUSE_S", 0.1)
    _script(tmp_path / "bin" / "sbatch", "echo 'sbatch: error: Invalid account' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    table = {"kind": "parsl", "cores": 1, "address": "127.0.0.1", "submissions_per_hour": 99}
    tables = {name: dict(table) for name in ("one", "two")}
    machine = Machine(store=str(tmp_path / "store"), executors=tables, run={"label": "one", "md": "two"})
    said: list[str] = []
    with Executors.of_machine(machine) as executors:
        executors.listen(said.append)
        for work, name in (("label", "one"), ("md", "two")):
            with pytest.raises(NoWorker, match=rf"\[executors\.{name}\]"):
                executors.of(work).submit(tasks.sleep, 0.0).result(PATIENCE_S)
    for name in tables:
        books = tmp_path / "store" / "executors" / name
        assert len(list(books.glob("run-*"))) == 1, "one run, one book in the folder of each table"
        assert (books / "submissions").read_text().split(), "and the submissions of each count for itself"
        assert any(line.startswith(f"[executors.{name}] ") for line in said), said


@needs_parsl
def test_the_script_that_slurm_gets_asks_for_what_machine_toml_says(tmp_path, monkeypatch):
    """A stand-in for sbatch keeps the script, and says that the job is taken."""
    kept = tmp_path / "script"
    _script(tmp_path / "bin" / "sbatch", f"cp $1 {kept}; echo Submitted batch job 7")
    _script(tmp_path / "bin" / "squeue", "echo '7 PD'")
    _script(tmp_path / "bin" / "scancel", f"echo $@ >> {tmp_path}/cancelled")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    keys = {"partition": "milan", "account": "salt", "cores": 32, "memory_GB": 99.5, "walltime_h": 6, "threads": 8}
    own = {"workers": 4, "environment": ["module load cp2k"], "options": ["#SBATCH --constraint=a"], "nodes": 2}
    with executor(tmp_path, provider="slurm", provider_options={"qos": "long"}, **keys, **own) as workers:
        future = workers.submit(tasks.sleep, 0.0)
        until(kept.exists, "the script of the job")
        assert not future.done()
    assert (tmp_path / "cancelled").read_text().split() == ["7"]
    script = kept.read_text()
    for line in (
        "--partition=milan", "--account=salt", "--cpus-per-task=32", "--mem=100g", "--time=360", "--nodes=2",
        "--qos=long", "--constraint=a",
    ):  # fmt: skip
        assert re.search(rf"^#SBATCH {re.escape(line)}$", script, re.M), (line, script)
    assert "module load cp2k" in script and f"{sys.executable} -m parsl" in script and "exclusive" not in script


@needs_parsl
@pytest.mark.slow
def test_a_study_on_parsl_gives_the_numbers_of_one_without(tmp_path):
    """Every stage of labels and datasets, on two executors: files are the same to the last digit."""
    from ilforge.study.load import load_study
    from ilforge.workflow.plan import make_plan

    stages = [make_plan(load_study(studies.quick(tmp_path))).labels["training"]]
    here, _ = studies.run(stages, tmp_path / "here")
    store = ResultStore(tmp_path / "there")
    store.prepare()
    watch = Watch(Console(file=io.StringIO()), store)
    with Executors({"it": executor(tmp_path)}) as executors:
        assert run_stages(stages, store, executors, watch).complete
    watch.stop()
    mine, other = (one.path(stages[0]) / "accepted.xyz" for one in (here, store))
    assert mine.read_text() == other.read_text()
    assert read_manifest(store.path(stages[0]))["programs"] == installed_versions()


class Elsewhere:
    """An executor that says of its tasks that other machines ran them."""

    slots = threads = 1

    def __init__(self, *places):
        self.places = list(places)

    def submit(self, function, *arguments, resources=None, urgency=0.0, on_start=None):
        future = Future()
        future.place = self.places.pop(0)
        future.set_result(function(*arguments))
        return future

    def close(self):
        pass


def test_a_manifest_names_the_machines_that_computed_and_their_versions(tmp_path):
    def work(job):
        for number in range(2):
            job.run(tasks.write_number, job.directory, number)

    store = ResultStore(tmp_path / "store")
    store.prepare()
    watch = Watch(Console(file=io.StringIO()), store)
    stages = [Stage(name, name, 1, {}, {}, work) for name in ("same", "mixed")]
    old, new = {"numpy": "1"}, {"numpy": "2"}
    places = [Place("n2", old), Place("n1", old), Place("n1", old), Place("n2", new)]
    with Executors({"it": Elsewhere(*places)}) as executors:
        for stage in stages:
            assert run_stages([stage], store, executors, watch).complete
    watch.stop()
    same, mixed = (read_manifest(store.path(stage)) for stage in stages)
    assert (same["host"], same["programs"]) == ("n1, n2", old) and "programs_by_host" not in same
    assert mixed["programs_by_host"] == {"n1": old, "n2": new}


def test_a_place_names_versions_of_the_environments_that_were_used_alone():
    place = Place("n1", {"numpy": "2"}, {"peg": {"pegs": "1.5"}, "other": {"numpy": "1"}})
    assert place.versions(("torch", "peg")) == {"numpy": "2", "pegs (environment peg)": "1.5"}
    assert place.versions(()) == {"numpy": "2"}


def test_programs_and_devices_of_this_machine_do_not_count_for_work_that_runs_elsewhere(tmp_path, monkeypatch):
    from ilforge.study.load import load_study
    from ilforge.workflow import study_run

    study = load_study(studies.quick(tmp_path))
    table = {"kind": "parsl", "cores": 8, "jobs": 2, "gpus": 2, "device": "cuda"}
    keys = {"store": str(tmp_path / "store"), "executors": {"far": table}, "workers": 1}
    here = study_run.check_study(study, Machine(device="cuda", **keys))
    assert here.unusable or here.missing, "no test machine has CUDA"
    run = {"train": "far", "md": "far", "label": "far", "explore": "far"}
    far = study_run.check_study(study, Machine(device={"torch": "cpu"}, run=run, **keys))
    assert not far.unusable
    shares = {share.executor: share for share in far.shares}
    assert shares["far"].slots == 4 and shares["local"].slots == 1
    total = sum(stage.seconds for stage, _, _ in far.rows)
    assert sum(share.core_s for share in shares.values()) == pytest.approx(total)


def test_doctor_says_what_differs_on_a_node():
    here = Seen("login", 2, 8.0, (), {"ilforge": "1", "ase": "3.29"}, ("gmx", "packmol"))
    node = Seen("n7", 32, 250.0, ("H200", "H200"), {"ilforge": "1", "ase": "3.28"}, ("packmol",))
    assert in_words(node, here, 12.0) == (
        "works: n7, after 12 s; 32 cores, 250 GB, 2 x H200. Other versions than here: ase 3.28 (here 3.29). Found "
        "here, but missing there: gmx"
    )


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _named(*words: str) -> list[str]:
    """Command lines of processes with all of these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in text for word in words):
            found.append(text)
    return found

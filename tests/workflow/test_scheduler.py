"""Stages: computed once, resumed after a failure, found when damaged, locked against each other."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import threading

import pytest
from rich.console import Console

from ilforge import machine_programs, potentials
from ilforge.environments import Environment
from ilforge.errors import DidNotFinish, IlforgeError, MissingProgram, SettingsError
from ilforge.machine_programs import MachinePrograms
from ilforge.workflow.executors import Executors, LocalExecutor
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import Growth, run_stages
from ilforge.workflow.stage import Stage, in_order, seconds_to_the_end
from ilforge.workflow.store import ResultStore, read_manifest, study_at_work, study_lock
from support import tasks
from support.patience import PATIENCE_S, until


def number_stage(name, number, log, inputs=None, pause_s=0.0, **more):
    """A stage that writes its number and logs that it was computed."""

    def work(job):
        job.run(tasks.logged_number, job.directory, number, log, pause_s)

    return Stage(name, "number", 1, {"number": number}, inputs or {}, work, **more)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def store(tmp_path):
    store = ResultStore(tmp_path / "store")
    store.prepare()
    return store


def run(targets, store, said=None, growth=None):
    watch = Watch(Console(file=said or io.StringIO(), width=200), store)
    try:
        with Executors({"local": LocalExecutor(2)}) as executors:
            return run_stages(targets, store, executors, watch, growth)
    finally:
        watch.stop()


def test_key_depends_on_settings_version_and_inputs_but_not_on_the_name(log):
    one = number_stage("one", 1, log)
    assert one.key == number_stage("other name", 1, log).key
    assert one.key != number_stage("one", 2, log).key
    child, other = (number_stage("c", 3, log, {"a": parent}) for parent in (one, number_stage("x", 2, log)))
    assert child.key != other.key


def test_a_second_run_computes_nothing(store, log):
    stages = [first := number_stage("first", 1, log), number_stage("second", 2, log, {"first": first})]
    outcome = run(stages, store)
    assert not outcome.failed
    assert [s.name for s in outcome.computed] == ["first", "second"]
    again = run(stages, store)
    assert not again.computed and len(again.reused) == 2
    assert log.read_text().split() == ["1", "2"]


def test_only_what_depends_on_a_changed_setting_is_recomputed(store, log):
    first = number_stage("first", 1, log)
    run([first, number_stage("second", 2, log, {"first": first})], store)
    changed = number_stage("second", 20, log, {"first": first})
    assert [s.name for s in run([first, changed], store).computed] == ["second"]


def test_manifest_has_keys_of_inputs_digests_of_files_and_versions(store, log):
    first = number_stage("first", 1, log)
    second = number_stage("second", 2, log, {"first": first})
    run([second], store)
    manifest = read_manifest(store.path(second))
    assert manifest["inputs"] == {"first": first.key}
    assert list(manifest["files"]) == ["number.txt"]
    assert manifest["programs"]["ilforge"] and manifest["wall_s"] >= 0


def test_manifest_has_versions_of_the_environment_that_a_stage_computes_in(store, log, tmp_path, monkeypatch):
    """The environment is one that machine.toml names; a stage that does not use it does not name it."""
    for file, text in (
        ("bin/python", "#!/bin/sh\n"),
        (
            "lib/python3.11/site-packages/pegs-1.5.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: pegs\nVersion: 1.5\n",
        ),
    ):
        path = tmp_path / "elsewhere" / file
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    python = tmp_path / "elsewhere/bin/python"
    (tmp_path / "constraints.txt").write_text("")
    peg = Environment("peg", "pegs", ("pegs",), tmp_path / "constraints.txt", ("pegs", "not-there"), ("-c", ""))
    monkeypatch.setattr(potentials, "environments", lambda: {"peg": peg})
    machine_programs.use(MachinePrograms(environments={"peg": str(python)}))
    try:
        with_it = number_stage("with", 1, log, computes_with=("peg",))
        without = number_stage("without", 2, log)
        run([with_it, without], store)
    finally:
        machine_programs.use(MachinePrograms())
    used, other = (read_manifest(store.path(stage))["programs"] for stage in (with_it, without))
    assert used == {**other, "pegs (environment peg)": "1.5"} and "numpy" in other


def test_a_damaged_result_is_found_said_and_made_again(store, log):
    stage = number_stage("first", 1, log)
    run([stage], store)
    (store.path(stage) / "number.txt").write_text("7")
    said = io.StringIO()
    outcome = run([stage], store, said)
    assert outcome.computed == [stage]
    assert "damaged" in said.getvalue() and "number.txt" in said.getvalue()
    assert (store.path(stage) / "number.txt").read_text() == "1"


@pytest.mark.parametrize("harm", ["truncate", "delete"])
def test_a_damaged_manifest_or_missing_file_is_found(store, log, harm):
    stage = number_stage("first", 1, log)
    run([stage], store)
    if harm == "truncate":
        (store.path(stage) / "manifest.json").write_text('{"files": {')
    else:
        (store.path(stage) / "number.txt").unlink()
    assert run([stage], store).computed == [stage]
    assert store.fault(stage) is None


def test_a_failure_blocks_what_needs_it_and_nothing_else(store, log):
    def work(job):
        job.run(tasks.fail, "no luck")

    bad = Stage("bad", "bad", 1, {}, {}, work)
    child, other = number_stage("child", 1, log, {"bad": bad}), number_stage("other", 2, log)
    outcome = run([child, other], store)
    assert [(stage.name, str(error)) for stage, error in outcome.failed] == [("bad", "no luck")]
    assert outcome.blocked == [child] and outcome.computed == [other]
    assert not outcome.complete


def test_a_missing_program_stops_before_anything_is_computed(store, log):
    stages = [number_stage("first", 1, log), number_stage("second", 2, log, programs=("no-such-program",))]
    with pytest.raises(MissingProgram, match="no-such-program"):
        run(stages, store)
    assert not log.exists()


def test_a_missing_program_does_not_matter_when_its_stage_is_done(store, log):
    run([number_stage("first", 1, log)], store)
    assert run([number_stage("first", 1, log, programs=("no-such-program",))], store).complete


def test_a_fault_of_the_settings_stops_everything_at_once(store, log):
    """Also what is running in other stages, and without waiting for it."""

    def wrong(job):
        job.run(tasks.wrong_settings)

    def slow(job):
        job.parts(tasks.logged_number, {"p": (1, log, 10_000.0)})

    with pytest.raises(SettingsError, match="not like this"):
        run([Stage("slow", "slow", 1, {}, {}, slow), Stage("wrong", "wrong", 1, {}, {}, wrong)], store)
    assert not log.exists(), "the slow one was not waited for"


def test_finished_parts_are_kept_when_another_part_fails(store, log):
    """A fan-out that fails in the middle goes on with the missing parts."""
    fails = {"now": True}

    def work(job):
        job.parts(tasks.logged_number, {f"p{i}": (i, log) for i in range(3)})
        if fails["now"]:
            job.run(tasks.fail, "after the parts")
        total = sum(int((job.directory / "parts" / f"p{i}" / "number.txt").read_text()) for i in range(3))
        (job.directory / "total.txt").write_text(str(total))

    stage = Stage("fan", "fan", 1, {}, {}, work)
    assert not run([stage], store).complete
    fails["now"] = False
    assert run([stage], store).complete
    assert sorted(log.read_text().split()) == ["0", "1", "2"]
    assert (store.path(stage) / "total.txt").read_text() == "3"
    assert not (store.path(stage) / "parts").exists()


def test_two_runs_at_once_compute_a_shared_stage_once(store, log):
    runs = [threading.Thread(target=run, args=([number_stage("slow", 5, log, pause_s=1.0)], store)) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert log.read_text().split() == ["5"]


def test_a_second_run_of_one_study_is_refused_with_who_holds_it(store):
    with (
        study_lock(store.locks, "mine"),
        pytest.raises(IlforgeError, match="running already .process"),
        study_lock(store.locks, "mine"),
    ):
        pass
    with study_lock(store.locks, "mine"):
        pass


def test_who_only_looks_whether_a_study_runs_does_not_stop_one_that_begins(store):
    """However long the look takes: a shared lock is waited for."""
    with study_lock(store.locks, "mine"):
        assert study_at_work(store.locks, "mine")
    began, tried = threading.Event(), []

    def begin():
        with study_lock(store.locks, "mine"):
            began.set()

    with open(store.locks / "study-mine.lock") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        thread = threading.Thread(target=begin)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ilforge.workflow.store.time.sleep", lambda seconds: tried.append(seconds) or look.close())
            thread.start()
            assert began.wait(PATIENCE_S) and tried
            thread.join()
    assert not study_at_work(store.locks, "mine")


def test_a_full_disk_is_said_in_words(store):
    def work(job):
        job.run(tasks.full_disk)

    outcome = run([Stage("big", "big", 1, {}, {}, work)], store)
    assert "is full" in str(outcome.failed[0][1])


def test_an_unwritable_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(IlforgeError, match="cannot be written to") as error:
        ResultStore(tmp_path / "file" / "store").prepare()
    assert error.value.exit_code == 2


def test_order_and_longest_chain(log):
    a = number_stage("a", 1, log, task_seconds=5.0)
    b = number_stage("b", 2, log, {"a": a}, task_seconds=7.0)
    c = number_stage("c", 3, log, {"a": a, "b": b}, task_seconds=1.0)
    assert [stage.name for stage in in_order([c, b])] == ["a", "b", "c"]
    assert seconds_to_the_end([a, b, c]) == {a.key: 13.0, b.key: 8.0, c.key: 1.0}


def test_a_plan_grows_while_it_runs(store, log):
    """Each stage decides on the next until the fourth: numbers 1, 2, 4, 8."""

    def planned(stages):
        last = stages[-1]
        if not store.holds(last) or last.settings["number"] >= 8:
            return stages
        return planned([*stages, number_stage("next", 2 * last.settings["number"], log, {"before": last})])

    def growth_of(stages):
        last = stages[-1]
        if store.holds(last):
            return None
        return Growth(frozenset([last.key]), more)

    def more():
        stages = planned([first])
        return stages, growth_of(stages)

    first = number_stage("first", 1, log)
    outcome = run([first], store, growth=growth_of([first]))
    assert outcome.complete and [stage.settings["number"] for stage in outcome.computed] == [1, 2, 4, 8]
    assert log.read_text().split() == ["1", "2", "4", "8"]
    stages = planned([first])
    again = run(stages, store, growth=growth_of(stages))
    assert len(again.reused) == 4 and not again.computed


def test_a_plan_whose_deciding_stage_failed_does_not_grow(store, log):
    broken = Stage("broken", "number", 1, {"number": 1}, {}, _fails)
    outcome = run([broken], store, growth=Growth(frozenset([broken.key]), lambda: pytest.fail("it was planned again")))
    assert len(outcome.failed) == 1 and not outcome.complete


def _fails(job):
    raise IlforgeError("as it must")


def test_open_files_that_run_out_fail_the_stage_with_what_to_do(store, log, monkeypatch):
    """A lock that cannot be opened for want of descriptors is no fault of the lock, nor of the settings."""
    opened = os.open

    def refused(path, *arguments, **more):
        if str(path).endswith(".lock"):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments, **more)

    monkeypatch.setattr("ilforge.workflow.store.os.open", refused)
    ((_, error),) = run([number_stage("first", 1, log)], store).failed
    assert isinstance(error, DidNotFinish) and "Too many open files" in str(error) and "ulimit -n" in str(error)


def test_a_file_of_progress_that_is_removed_does_not_end_the_watching(store, log, monkeypatch):
    monkeypatch.setattr("ilforge.workflow.progress.POLL_S", 0.01)
    monkeypatch.setattr("ilforge.workflow.progress.PLAIN_INTERVAL_S", 0.0)
    answers = iter([FileNotFoundError("mace.log"), ValueError("half a line"), (3, 10)])

    def progress(directory):
        answer = next(answers, (3, 10))
        if isinstance(answer, Exception):
            raise answer
        return answer

    stage, said = number_stage("train", 1, log, progress=progress), io.StringIO()
    watch = Watch(Console(file=said, width=200), store)
    watch.start([stage], [stage])
    watch.began(stage)
    until(lambda: "running   train 3/10; about" in said.getvalue(), "the progress of the training", every_s=0.01)
    watch.stop()

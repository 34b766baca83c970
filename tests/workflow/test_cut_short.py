"""Calculations that are no frame's fault: tried again, or the run stops; never a rejected frame for good."""

from __future__ import annotations

import pytest

from ilforge import frames, potentials
from ilforge.labelling import labels as labels_of
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label, killed_again, was_killed
from ilforge.labelling.storing.claims import State, holding
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.study.load import load_study
from ilforge.workflow.executors import OutOfMemory, WorkerDied
from ilforge.workflow.plan import make_plan
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps import labels as steps
from ilforge.workflow.steps.labels import Question, _lost
from ilforge.workflow.steps.structures import FRAMES
from support import studies, tasks

XTB = {"kind": "xtb", "method": "GFN1-xTB"}


def test_what_was_cut_short_is_told_from_what_has_no_answer(one_pair):
    method = potentials.create(XTB).describe()
    for error, expected in (
        ("DidNotFinish: gpaw was killed by signal 9", True),
        ("OSError: [Errno 28] No space left on device", True),
        ("BrokenPipeError: [Errno 32]", True),
        ("MemoryError: ", True),
        ("_ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,)", True),
        ("OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", True),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("RuntimeError: std::bad_alloc", True),
        ("DidNotConverge: GPAW: MemoryError: Unable to allocate", True),
        ("DidNotConverge: CP2K: self-consistency was not reached", False),
        ("not finite: the method gave NaN or infinity in energy", False),
    ):
        assert Label(frame=one_pair, method=method, error=error).cut_short is expected, error
    assert not evaluate(one_pair, XTB).cut_short


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_a_frame_that_was_cut_short_is_labelled_by_the_next_run_and_one_without_an_answer_is_not(tmp_path):
    plan = make_plan(load_study(studies.cold(tmp_path)))
    stage = plan.labels["validation"]
    source = stage.inputs["frames"]
    store, outcome = studies.run([source], tmp_path / "store")
    found = frames.read(store.path(source) / FRAMES)
    method = potentials.create(XTB).describe()
    with LabelStore(store.labels) as labels:
        labels.add(Label(frame=found[0], method=method, error="DidNotFinish: killed by signal 9"))
        labels.add(Label(frame=found[1], method=method, error="DidNotConverge: never"))
    store, outcome = studies.run([stage], tmp_path / "store")
    assert outcome.complete, outcome.failed
    assert len(frames.read(store.path(stage) / "accepted.xyz")) == len(found) - 1
    (rejected,) = frames.read(store.path(stage) / "rejected.xyz")
    assert frames.digest(rejected) == frames.digest(found[1])


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_a_program_that_always_dies_stops_the_run_and_a_mended_one_goes_on(tmp_path):
    """``command`` is the machine's: it is in no digest, so that the mended study is the same one."""
    text = studies.cold(tmp_path).read_text()
    for name in ("H", "B", "C", "N", "F"):
        (tmp_path / "paw" / name).mkdir(parents=True)
        (tmp_path / "paw" / name / "POTCAR").write_text(f"  PAW_PBE {name} 01Jan2000\nof {name}\n End of Dataset\n")
    vasp = f'\n[potentials.vasp]\ncommand = "false"\npotentials_dir = "{tmp_path / "paw"}"\n'
    broken = tmp_path / "broken.toml"
    broken.write_text(text.replace('potential = "gfn1"', 'potential = "vasp"') + vasp)
    plan = make_plan(load_study(broken))
    store, outcome = studies.run([plan.labels["training"]], tmp_path / "store")
    ((stage, error),) = outcome.failed
    assert "calculations in a row were cut short" in str(error) and "the same command tries these again" in str(error)
    with LabelStore(store.labels) as labels:
        (digest,) = labels.methods()
        assert labels.census(digest)["failures"] >= 5 and not store.holds(stage)


def test_a_frame_that_no_worker_survives_is_a_failed_label_and_the_others_go_on(tmp_path, one_pair):
    found = []

    def work(job):
        found.extend(job.each(tasks.die_for, [(1,), (13,), (2,)], lost=lambda error, number: (number, type(error))))

    outcome = studies.run([Stage("all", "all", 1, {}, {}, work)], tmp_path / "store")[1]
    assert outcome.complete and sorted(map(str, found)) == sorted(map(str, [1, 2, (13, OutOfMemory)]))
    liquid = Liquid.from_label("1 PYR14, 1 BF4")
    with LabelStore(tmp_path / "labels") as store, holding(tmp_path / "labels") as holder:
        arguments = (evaluate, holder, "m", "f", Question(one_pair, XTB, 1, store.inbox, liquid))
        assert holder.take("f", "m") is State.MINE
        _, label = _lost(WorkerDied("a worker process died twice"), *arguments)
        assert holder.state("f", "m") is State.FREE
        assert label.cut_short and store.absorb_inbox() == 1


def test_what_may_pass_is_told_from_a_program_that_ends_by_itself(one_pair):
    method = potentials.create(XTB).describe()
    for error, expected in (
        ("DidNotFinish: A worker process died twice while it ran evaluate", True),
        ("DidNotFinish: cp2k was killed by signal 9", True),
        ("DidNotFinish: mpirun ended with exit code 137\nIt last said:\nrank 3 exited on signal 9 (Killed)", True),
        ("DidNotFinish: cp2k ended with exit code 1\nIt last said:\nCholesky decomposition failed", False),
        ("DidNotFinish: vasp_std ended with exit code 1\nIt last said:\nforrtl: No space left on device", True),
        ("MemoryError: ", True),
        ("DidNotConverge: never", False),
    ):
        assert Label(frame=one_pair, method=method, error=error).may_pass is expected, error


def test_an_exception_is_kept_under_the_name_of_what_it_is(one_pair):
    class OfALibrary(MemoryError):
        pass

    assert labels_of.in_words(OfALibrary("too much")) == "MemoryError: too much"
    assert labels_of.in_words(FileNotFoundError("gone")) == "FileNotFoundError: gone"
    assert labels_of.in_words(KeyError("x")) == "KeyError: 'x'"


def test_another_attempt_replaces_what_was_cut_short_and_nothing_else(tmp_path, one_pair):
    method = potentials.create(XTB).describe()
    errors = ["MemoryError: ", "DidNotConverge: never", "MemoryError: ", "DidNotConverge: again"]
    with LabelStore(tmp_path) as store:
        for error in errors:
            store.add(Label(frame=one_pair, method=method, error=error))
        label = Label(frame=one_pair, method=method)
        assert store.get(label.frame_digest, label.method_digest).error == "DidNotConverge: never"


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_nothing_is_published_while_a_frame_was_killed_and_the_next_run_has_it(tmp_path, monkeypatch):
    """Memory is short for a while: the stage fails, says why, and the same run later is complete."""
    flag = tmp_path / "short"
    flag.touch()
    monkeypatch.setenv(tasks.SHORT, str(flag))
    monkeypatch.setattr(steps, "evaluate", tasks.evaluate_with_little_memory)
    monkeypatch.setattr(steps, "IN_A_ROW", 99)
    stage = make_plan(load_study(studies.cold(tmp_path))).labels["validation"]
    store, outcome = studies.run([stage], tmp_path / "store")
    ((_, error),) = outcome.failed
    assert "2 of 4 frames have no label yet" in str(error) and "Run the same command to try these again" in str(error)
    assert not store.holds(stage)
    with LabelStore(store.labels) as labels:
        (digest,) = labels.methods()
        assert labels.census(digest)["results"] == 2, "what was finished is kept"
    flag.unlink()
    store, outcome = studies.run([stage], tmp_path / "store")
    assert outcome.complete and store.holds(stage)
    assert len(frames.read(store.path(stage) / "accepted.xyz")) == 4


@pytest.mark.slow
@pytest.mark.program("packmol")
def test_a_frame_that_is_killed_in_every_run_is_rejected_and_asked_for_again_only_on_request(tmp_path, monkeypatch):
    """It holds up its study for two runs, is rejected with the reason in the third, and costs nothing after that."""
    flag = tmp_path / "short"
    flag.touch()
    monkeypatch.setenv(tasks.SHORT, str(flag))
    monkeypatch.setattr(steps, "evaluate", tasks.evaluate_with_little_memory)
    monkeypatch.setattr(steps, "IN_A_ROW", 99)
    stage = make_plan(load_study(studies.cold(tmp_path))).labels["validation"]
    for _ in range(2):
        store, outcome = studies.run([stage], tmp_path / "store")
        assert not outcome.complete and not store.holds(stage)
    with LabelStore(store.labels) as labels:
        (digest,) = labels.methods()
        assert sum("killed 8 times, in 2 runs" in (label.error or "") for label in labels) == 2
    store, outcome = studies.run([stage], tmp_path / "store")
    assert outcome.complete, outcome.failed
    assert len(frames.read(store.path(stage) / "accepted.xyz")) == 2
    rejected = frames.read(store.path(stage) / "rejected.xyz")
    assert len(rejected) == 2
    assert all("killed 12 times, in 3 runs" in frame.info["rejected"] for frame in rejected)
    flag.unlink()
    with LabelStore(store.labels) as labels:
        wanted = [frames.digest(frame) for frame in rejected]
        assert labels.missing(wanted, digest) == [], "nobody asks again"
        assert labels.forget_failures(digest, wanted[:1]) == 1
        assert labels.missing(wanted, digest) == wanted[:1]


def test_kills_are_counted_by_runs():
    died = "DidNotFinish: A worker process died twice while it ran evaluate: it was killed, ran out of memory"
    assert was_killed(died) and was_killed("DidNotFinish: cp2k was killed by signal 9")
    assert not was_killed("OSError: [Errno 28] No space left on device") and not was_killed("MemoryError: ")
    assert not was_killed("DidNotConverge: never") and not was_killed(None)
    first = killed_again(died, None, 4)
    assert first.startswith("DidNotFinish: killed 4 times, in 1 run; the last time: A worker process died")
    second = killed_again(died, first, 4)
    assert "killed 8 times, in 2 runs" in second and labels_of.may_pass(second)
    last = killed_again(died, second, 4)
    assert "killed 12 times, in 3 runs" in last
    assert not labels_of.is_cut_short(last) and not labels_of.may_pass(last) and not was_killed(last)

"""Training again after N labels: it does not wait, each label is paid once, and decisions are kept for ever."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.steps.learning import SELECTION
from ilforge.workflow.steps.taken import TAKEN
from ilforge.workflow.store import ResultStore
from support import studies
from support.random_kills import decisions
from support.worlds import World, write_study

KNOWN = json.loads((Path(__file__).parents[1] / "data" / "learning_keys.json").read_text())
"""Keys of all stages of concurrent learning, by study and stage, from before there was another mode than iterations
that wait for all labels."""
PATIENCE_S = 600.0
ITERATIONS, STARTS, CANDIDATES, AFTER = 3, 4, 12, 6
EVERY_KEY = """starts = 9
ensembles = ["NPT", "NVT"]
temperatures_K = [300.0, 450.0]
pressures_bar = [1.0, 9.0]
restarts = 1
density_margin = 0.3
pressure_deviation_GPa = 0.1
force_error_eV_A = 0.2
"""


def world(folder, wait, retrain_after=AFTER, store="store", **more):
    path = write_study(folder, ITERATIONS, STARTS, CANDIDATES, retrain_after)
    return World(path, folder / store, wait, **more)


def calculations(of, iteration):
    """The labels that the training of an iteration took, as ``("label", iteration, run, number)``."""
    taken = frames.read(of.results.path(of.plan().gatherings[iteration]) / ACCEPTED)
    return [of.task_of(frame) for frame in taken]


def require_all_labels_once(of):
    """Every selected frame has a label in the store, nothing else has, and the last dataset has all of them."""
    plan, chosen = of.plan(), 0
    assert len(plan.datasets) == ITERATIONS + 1 and not plan.waits_for
    for stage in plan.explorations.values():
        chosen += json.loads((of.results.path(stage) / SELECTION).read_text())["chosen"]
    with LabelStore(of.results.labels, read_only=True) as store:
        assert store.census()["labels"] == chosen
    taken = [digest for one in decisions(of).values() for digest in one]
    assert len(set(taken)) == len(taken) == chosen - len(of.spoiled), "each label is in one training first"
    last = Dataset.read(of.results.path(plan.datasets[-1]))
    assert {frames.digest(frame) for frame in last.frames} >= set(taken)
    assert len(last.frames) == len(taken) + 2, "and the two of the first dataset"
    return chosen


def test_training_and_the_next_exploration_do_not_wait_for_a_slow_label_and_a_slow_run(tmp_path):
    """The slow ones end only when the next committee explores: if it waited for them, all would wait for ever."""
    slow = (("label", 1, 0, 0), ("explore", 1, 3))
    it = world(tmp_path, until_the_next_exploration(lambda what: what in slow))
    assert it.go().complete
    assert require_all_labels_once(it) == ITERATIONS * CANDIDATES
    first = calculations(it, 1)
    assert len(first) >= AFTER and ("label", 1, 0, 0) not in first and not any(run == 3 for _, _, run, _ in first)
    later = [task for iteration in (2, 3) for task in calculations(it, iteration)]
    assert ("label", 1, 0, 0) in later and {number for _, i, run, number in later if (i, run) == (1, 3)} == {0, 1, 2}


def until_the_next_exploration(slow):
    """Tasks for which ``slow`` is true end only when iteration 2 explores, however fast or loaded the machine is."""
    explores = threading.Event()

    def wait(what):
        if what[:2] == ("explore", 2):
            explores.set()
        if slow(what):
            assert explores.wait(PATIENCE_S), "iteration 2 never began"

    return wait


@pytest.mark.parametrize("seed", range(4))
def test_whatever_ends_first_each_label_is_paid_once_and_a_second_run_computes_nothing(tmp_path, seed):
    rng, lock = random.Random(seed), threading.Lock()

    def wait(what):
        with lock:
            seconds = rng.lognormvariate(-4.0, 1.0) * (10 if rng.random() < 0.1 else 1)
        time.sleep(min(seconds, 0.5))

    it = world(tmp_path, wait)
    assert it.go().complete
    require_all_labels_once(it)
    begun = Counter(task for _, event, task in it.seen if event == "began")
    assert set(begun.values()) == {1} and sum(task[0] == "label" for task in begun) == ITERATIONS * CANDIDATES
    took = [len(one) for one in decisions(it).values()]
    assert (
        len(took) == ITERATIONS
        and all(count >= AFTER for count in took[:-1])
        and sum(took) == sum(task[0] == "label" for task in begun)
    )
    again = World(it.path, it.store, forbidden)
    outcome = again.go()
    assert outcome.complete and not outcome.computed and not again.seen and decisions(again) == decisions(it)


def forbidden(what):
    raise AssertionError(f"{what} is computed again")


def test_another_order_is_another_history_with_keys_of_its_own(tmp_path):
    """What the first training took is part of all keys that follow, so two histories never share a model."""

    def history(name, slow_runs):
        slow = [("explore", 1, run) for run in slow_runs]
        return world(tmp_path, until_the_next_exploration(lambda what: what in slow), store=name)

    one, other = history("one", (0, 1)), history("other", (2, 3))
    assert one.go().complete and other.go().complete
    assert {run for _, _, run, _ in calculations(one, 1)} == {2, 3}
    assert {run for _, _, run, _ in calculations(other, 1)} == {0, 1}
    plans = one.plan(), other.plan()
    assert plans[0].gatherings[1].key == plans[1].gatherings[1].key, "the same question"
    assert plans[0].datasets[0].key == plans[1].datasets[0].key
    for of in (lambda p: p.datasets[1].key, lambda p: p.trained[1, "mace"][0].key, lambda p: p.gatherings[2].key):
        assert of(plans[0]) != of(plans[1])
    for world_of in (one, other):
        assert require_all_labels_once(world_of) == ITERATIONS * CANDIDATES


def test_refused_labels_do_not_count(tmp_path):
    """Of the first labels, so many are refused that N labels are there long before N are accepted."""
    spoiled = frozenset(("label", 1, run, number) for run in (0, 1) for number in (0, 1, 2))
    it = world(tmp_path, lambda what: time.sleep(0.3 if what[:3] in (("label", 1, 2), ("label", 1, 3)) else 0.0),
               spoiled=spoiled)  # fmt: skip
    assert it.go().complete
    first = calculations(it, 1)
    assert len(first) == AFTER and {run for _, _, run, _ in first} == {2, 3}
    assert require_all_labels_once(it) == ITERATIONS * CANDIDATES


def test_an_iteration_that_finds_too_few_candidates_does_not_wait_for_ever(tmp_path):
    few = {(1, run): -3 for run in range(1, STARTS)}  # 3 in all: run 0 has its share, the others none
    it = world(tmp_path, lambda what: None, candidates=few)
    assert it.go().complete
    assert len(calculations(it, 1)) == 3
    assert require_all_labels_once(it) == 3 + 2 * CANDIDATES


def test_what_a_run_leaves_over_is_labelled_and_counts(tmp_path):
    """Run 1 finds nothing and run 0 three more than its share: they are labelled when all runs have ended."""
    it = world(tmp_path, lambda what: None, candidates={(1, 1): -3, (1, 0): 3})
    assert it.go().complete and require_all_labels_once(it) == ITERATIONS * CANDIDATES
    everywhere = [task for iteration in (1, 2, 3) for task in calculations(it, iteration)]
    assert {number for _, i, run, number in everywhere if (i, run) == (1, 0)} == set(range(6))


def test_a_failed_run_ends_it_with_its_error_and_not_in_silence(tmp_path):
    """Labels are left over, but not enough: the decision cannot be taken any more, and is said to wait."""

    def wait(what):
        if what in [("explore", 1, run) for run in (0, 1, 2)]:
            raise ValueError("no luck")

    it = world(tmp_path, wait)
    outcome = it.go()
    assert {str(error) for _, error in outcome.failed} == {"no luck"}
    assert it.plan().gatherings[1].key in {stage.key for stage in outcome.blocked}
    it.wait = lambda what: None
    assert it.go().complete and require_all_labels_once(it) == ITERATIONS * CANDIDATES


def _go(path, store, log, seed):
    os.setsid()
    rng, lock = random.Random(seed), threading.Lock()

    def wait(what):
        with lock:
            seconds = rng.uniform(0.0, 0.08) * (8 if rng.random() < 0.1 else 1)
        time.sleep(seconds)

    os._exit(0 if World(path, store, wait, log=log).go().complete else 1)


def test_killed_at_random_moments_it_keeps_its_decisions_and_pays_no_label_twice(tmp_path):
    path, log = write_study(tmp_path, ITERATIONS, STARTS, CANDIDATES, AFTER), tmp_path / "log"
    it, rng = World(path, tmp_path / "store", forbidden), random.Random(5)
    it.results.prepare()
    kept, kills, seen_with = {}, 0, set()
    for turn in range(60):
        driver = multiprocessing.get_context("fork").Process(target=_go, args=(path, it.store, log, turn))
        driver.start()
        driver.join(None if turn == 59 else rng.uniform(0.2, 0.8))
        if driver.exitcode is None:
            os.kill(driver.pid, signal.SIGKILL)
            driver.join()
            kills += 1
        now = decisions(it)
        assert {iteration: now.get(iteration) for iteration in kept} == kept, "a decision changed"
        kept = now
        seen_with.add(len(kept))
        if driver.exitcode == 0:
            break
    assert driver.exitcode == 0 and kills and len(seen_with) >= 2, (kills, seen_with)
    assert require_all_labels_once(it) == ITERATIONS * CANDIDATES
    lines = log.read_text().splitlines()
    ended = [line for line in lines if line.startswith("ended")]
    assert len(set(ended)) == len(ended), "a label was computed twice"
    for line in ended:
        assert line.replace("ended", "began") not in lines[lines.index(line) :], "a finished label began again"


@pytest.mark.parametrize("left", ["{}", '{"taken": [], "known": ["another"]}'])
def test_a_lost_decision_is_not_mixed_with_what_followed_from_it(tmp_path, left):
    """The decision is taken again from more labels: models of the old history are not taken for those of the new."""
    it = world(tmp_path, until_the_next_exploration(lambda what: what == ("label", 1, 0, 0)))
    assert it.go().complete
    before, plan = decisions(it), it.plan()
    assert len(before[1]) < CANDIDATES
    (it.results.path(plan.gatherings[1]) / TAKEN).write_text(left)
    it.wait = lambda what: None
    outcome = it.go()
    if "another" in left:  # it is valid to read, so that it was planned with
        ((stage, error),) = outcome.failed
        assert stage.name == "freeze dataset 1" and "has been decided again" in str(error)
        outcome = it.go()
    assert outcome.complete
    assert len(decisions(it)[1]) == CANDIDATES and it.plan().datasets[1].key != plan.datasets[1].key
    begun = Counter(task for _, event, task in it.seen if event == "began")
    assert begun["explore", 1, 0] == 1 and begun["explore", 2, 0] == 2, "the models after the decision are others"
    assert all(begun[task] == 1 for task in begun if task[0] == "label"), "no label is paid again"


def with_keys(folder, keys):
    folder.mkdir(exist_ok=True)
    path = studies.smallest(folder, "clp")
    path.write_text(path.read_text().replace("[learning]\n", f"[learning]\n{keys}"))
    return path


@pytest.mark.parametrize("name", KNOWN)
def test_without_the_key_everything_keeps_its_name(name, tmp_path):
    path = with_keys(tmp_path, "iterations = 3\n")
    if name == "every key":
        text = path.read_text().replace("starts = 2\n", EVERY_KEY)
        path.write_text(text.replace("deviation_low_eV_A = 0.0", 'deviation_low_eV_A = "calibrated"'))
    plan = make_plan(load_study(path))
    found = {stage.name: stage.key for stage in plan.stages}
    assert {title: found.get(title) for title in KNOWN[name]} == KNOWN[name]
    assert not plan.gatherings


def test_exploration_and_labels_before_the_first_decision_are_those_of_the_other_mode(tmp_path):
    """Who sets the key in a study that runs already loses nothing of its first iteration."""
    plain, growing = (
        make_plan(load_study(with_keys(tmp_path / name, f"iterations = 3\n{key}")))
        for name, key in (("one", ""), ("other", "retrain_after = 2\n"))
    )
    for plan in (plain, growing):
        assert plan.explorations[1, ""].key == plain.explorations[1, ""].key
        assert plan.labels["learning 1"].key == plain.labels["learning 1"].key
    assert growing.datasets[1].key != plain.datasets[1].key


def test_the_plan_ends_at_a_decision_and_foresees_the_cost_of_all_iterations(tmp_path):
    study = load_study(with_keys(tmp_path, "iterations = 3\nretrain_after = 2\n"))
    store = ResultStore(tmp_path / "store")
    plan = make_plan(study, store)
    assert [stage.name for stage in plan.waits_for] == ["take the first 2 new labels, iteration 1"]
    assert set(plan.waits_for) <= set(plan.stages) and plan.last_iteration == 0 and not plan.trajectories
    for whole in (make_plan(study), make_plan(study, store, foresee=True)):
        assert whole.last_iteration == 3 and not whole.waits_for and whole.trajectories
    plain = make_plan(load_study(with_keys(tmp_path, "iterations = 3\n")))
    labels = [sum(s.tasks for s in p.stages if s.runs_as == "label") for p in (whole, plain)]
    assert labels[0] == labels[1], "it labels no more frames"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("retrain_after = 2\n", r"retrain_after needs iterations of 2 or more, found 1"),
        ("iterations = 3\nretrain_after = 4\n", r"retrain_after is 4, but an iteration labels at most 3 frames"),
        ("iterations = 3\nretrain_after = 0\n", r"learning\.retrain_after is 0"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, keys, words):
    with pytest.raises(SettingsError, match=words):
        load_study(with_keys(tmp_path, keys))

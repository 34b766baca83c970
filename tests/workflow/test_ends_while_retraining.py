"""Rules that end concurrent learning beside ``retrain_after``: what is still at work changes no decision.

What must hold: a rule is met or not whatever is slow, nothing is explored after it, and every label that was paid for
is in the last dataset.
"""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest

from ilforge import frames
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.store import ResultStore
from support import random_kills, studies
from support.random_kills import decisions
from support.worlds import World, write_study

PATIENCE_S = 300.0
ITERATIONS, STARTS, CANDIDATES, AFTER = 4, 4, 12, 6
GAIN, HOLDS = "stop = { force_rmse_gain = 0.05 }\n", "stop = { holds_liquid_ps = 20.0 }\n"
RMSE, DENSITIES = {0: 0.2, 1: 0.1, 2: 0.099, 3: 0.01, 4: 0.001}, {0: None, 1: 1.0, 2: 1.01, 3: 1.01, 4: 1.01}


def world(folder, keys, wait=lambda what: None, retrain_after=AFTER, **more):
    path = write_study(folder, ITERATIONS, STARTS, CANDIDATES, retrain_after)
    path.write_text(path.read_text() + keys)
    return World(path, folder / "store", wait, **more)


def until(event, slow):
    """Slow tasks end only when ``event(what)`` was true of a task that began, however loaded the machine is."""
    happened = threading.Event()

    def wait(what):
        if event(what):
            happened.set()
        if what in slow:
            assert happened.wait(PATIENCE_S), "what the slow tasks wait for never began"

    return wait


def explored(of):
    """The iterations that were explored."""
    return {task[1] for _, _, task in of.seen if task[0] == "explore"}


def require_all_labels(of, count):
    """So many labels were paid, each once, and the last dataset has all of them and the two of the first."""
    begun = Counter(task for _, event, task in of.seen if event == "began" and task[0] == "label")
    assert set(begun.values()) == {1} and len(begun) == count
    with LabelStore(of.results.labels, read_only=True) as store:
        assert store.census()["labels"] == count
    plan, taken = of.plan(), [digest for one in decisions(of).values() for digest in one]
    assert not plan.waits_for and len(set(taken)) == len(taken) == count
    last = Dataset.read(of.results.path(plan.datasets[-1]))
    assert len(last.frames) == count + 2 and {frames.digest(frame) for frame in last.frames} >= set(taken)


SLOW = {
    "nothing": (),
    "a label of the first iteration": (("label", 1, 0, 0),),
    "a label of the last iteration": (("label", 2, 0, 0),),
    "a run of the first iteration": (("explore", 1, 3),),
    "runs of both": (("explore", 1, 3), ("explore", 2, 0)),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
@pytest.mark.parametrize(("run_3_finds", "iterations"), [(3, 2), (0, 3)])
def test_a_budget_is_exact_whatever_is_still_running(tmp_path, slow, run_3_finds, iterations):
    """Two iterations reach 24 labels, but only if run 3 of the first finds its share; this is open until it ends."""
    wait = until(lambda what: what[:2] == ("train", 2), slow)
    it = world(tmp_path, "stop = { labels = 24 }\n", wait, candidates={(1, 3): run_3_finds - 3})
    assert it.go().complete
    assert explored(it) == set(range(1, iterations + 1))
    count = 12 * iterations - 3 + run_3_finds
    require_all_labels(it, count)
    assert f"{count} explored frames were labelled, and learning.stop.labels is 24" in it.plan().notes[0]


def test_a_budget_that_cannot_be_reached_yet_makes_nothing_wait(tmp_path):
    """The slow run ends only when the third iteration explores: 24 labels at most are below 30, whatever it finds."""
    wait = until(lambda what: what[:2] == ("explore", 3), (("explore", 1, 3), ("label", 2, 1, 1)))
    it = world(tmp_path, "stop = { labels = 30 }\n", wait)
    assert it.go().complete and explored(it) == {1, 2, 3}
    require_all_labels(it, 36)


def test_one_run_may_settle_a_budget_without_the_others(tmp_path):
    """Iteration 2 finds 3 frames, and at most 15 are below 20 whatever a slow run of the first finds: it ends last."""
    ends_when = {("explore", 2, 1): ("train", 2), ("explore", 1, 3): ("explore", 3)}
    began = {kind: threading.Event() for kind in ends_when.values()}

    def wait(what):
        if what[:2] in began:
            began[what[:2]].set()
        if what in ends_when:
            assert began[ends_when[what]].wait(PATIENCE_S), f"{ends_when[what]} never began"

    few = {(2, run): -3 for run in range(1, STARTS)}
    it = world(tmp_path, "stop = { labels = 20 }\n", wait, retrain_after=3, candidates=few)
    assert it.go().complete and explored(it) == {1, 2, 3}
    require_all_labels(it, 12 + 3 + 12)


@pytest.mark.parametrize("slow", [(), (("label", 1, 0, 0), ("label", 2, 2, 1))], ids=["nothing", "labels"])
def test_agreement_ends_it_before_anything_is_labelled_and_earlier_labels_are_learned(tmp_path, slow):
    """In iteration 3 the committee agrees on all frames; labels of earlier ones end only when it explores."""
    wait = until(lambda what: what[:2] == ("explore", 3), slow)
    agreed = {(3, run): -3 for run in range(STARTS)}
    it = world(tmp_path, "stop = { candidates = 0.1 }\n", wait, candidates=agreed)
    assert it.go().complete and explored(it) == {1, 2, 3}
    require_all_labels(it, 24)
    (note, *more) = it.plan().notes
    assert "ended after iteration 2: of 8 explored frames the committee disagreed on 0 %" in note
    assert bool(more) == (it.plan().last_iteration == 3)


@pytest.mark.parametrize(
    ("keys", "words", "asks"), [(GAIN, "a gain of 1 %", "validate"), (HOLDS, "1.010 g/cm3", "hold")]
)
def test_models_are_judged_while_labels_are_still_computed(tmp_path, keys, words, asks):
    """A label and a run of each iteration end only when the models of the second one are judged."""
    slow = (("label", 1, 0, 0), ("explore", 1, 3), ("label", 2, 1, 0), ("explore", 2, 2))
    wait = until(lambda what: what == (asks, 2), slow)
    it = world(tmp_path, keys, wait, rmse=RMSE, densities=DENSITIES)
    assert it.go().complete and explored(it) == {1, 2}
    require_all_labels(it, 24)
    plan = it.plan()
    assert "ended after iteration 2" in plan.notes[0] and words in plan.notes[0]
    assert "Iteration 3 only trains" in plan.notes[1] and plan.last_iteration == 3
    taken = [len(one) for one in decisions(it).values()]
    assert len(taken) == 3 and taken[2] >= 4, "the slow ones are learned last"


def test_without_labels_left_no_further_model_is_trained(tmp_path):
    """Each training needs as many labels as its iteration has, so that the second one has all 24."""
    it = world(tmp_path, "stop = { labels = 24 }\n", retrain_after=CANDIDATES)
    assert it.go().complete and explored(it) == {1, 2}
    require_all_labels(it, 24)
    assert [len(one) for one in decisions(it).values()] == [12, 12, 0]
    assert it.plan().last_iteration == 2 and not any(task[:2] == ("train", 3) for _, _, task in it.seen)


def test_a_second_run_and_a_look_decide_the_same_and_compute_nothing(tmp_path):
    it = world(tmp_path, GAIN, until(lambda what: what == ("validate", 2), (("label", 1, 0, 0),)), rmse=RMSE)
    assert it.go().complete

    def forbidden(what):
        raise AssertionError(f"{what} is computed again")

    again = World(it.path, it.store, forbidden, rmse=RMSE)
    outcome = again.go()
    assert outcome.complete and not outcome.computed and not again.seen
    for of in (lambda plan: plan.notes, lambda plan: [stage.key for stage in plan.stages]):
        assert of(again.plan()) == of(it.plan())


def test_who_raises_the_budget_goes_on_from_what_is_there(tmp_path):
    it = world(
        tmp_path, "stop = { labels = 24 }\n", until(lambda what: what[:2] == ("train", 2), (("label", 1, 0, 0),))
    )
    assert it.go().complete
    first = decisions(it)
    it.path.write_text(it.path.read_text().replace("labels = 24", "labels = 36"))
    more = World(it.path, it.store, lambda what: None)
    assert more.go().complete and explored(more) == {3}
    assert {number: decisions(more)[number] for number in (1, 2)} == {number: first[number] for number in (1, 2)}
    paid = Counter(task for one in (it, more) for _, event, task in one.seen if event == "began" and task[0] == "label")
    assert set(paid.values()) == {1} and len(paid) == 36


def test_killed_at_random_moments_a_rule_ends_it_where_it_would_end_undisturbed(tmp_path):
    """Checks of decisions, datasets and labels paid twice: :mod:`support.random_kills`."""
    kills = random_kills.learning(tmp_path, 0, AFTER, random_kills.BUDGET)
    assert kills.drivers


def test_a_rule_changes_no_key_of_what_is_computed_anyway(tmp_path):
    """Who adds a rule to a study that retrains early keeps its results."""
    plans = []
    for name, keys in (("without", ""), ("with", "stop = { labels = 9, candidates = 0.1 }\n")):
        (tmp_path / name).mkdir()
        path = studies.smallest(tmp_path / name, "clp")
        path.write_text(
            path.read_text().replace("[learning]\n", f"[learning]\niterations = 3\nretrain_after = 2\n{keys}")
        )
        plans.append(make_plan(load_study(path)))
    assert [stage.key for stage in plans[0].stages] == [stage.key for stage in plans[1].stages]
    foreseen = make_plan(load_study(path), ResultStore(tmp_path / "store"), foresee=True)
    assert [stage.key for stage in foreseen.stages] == [stage.key for stage in plans[1].stages], "the upper limit"


def test_the_record_of_the_last_decision_names_all_labels(tmp_path):
    """Whoever looks at the store sees which labels the last training had."""
    it = world(
        tmp_path, "stop = { labels = 24 }\n", until(lambda what: what[:2] == ("train", 2), (("label", 1, 0, 0),))
    )
    assert it.go().complete
    last = it.plan().gatherings[3]
    record = json.loads((it.results.path(last) / "taken.json").read_text())
    with LabelStore(it.results.labels, read_only=True) as labels:
        assert len(record["known"]) == 24 == labels.census()["labels"]
    assert set(record["taken"]) <= set(record["known"]) and last.name == "take all other labels, last iteration"

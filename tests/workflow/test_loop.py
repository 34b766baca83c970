"""Concurrent learning that ends by rule: decisions from stored results, and a plan that grows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ilforge.errors import SettingsError
from ilforge.properties import Measurement
from ilforge.results import Holding, LiquidVerdict
from ilforge.study.load import load_study
from ilforge.study.settings import StopSettings
from ilforge.workflow.loop import Round, budget_is_open, force_rmse, reason_to_stop, round_of
from ilforge.workflow.plan import make_plan
from support import studies

HOLDS = {"holds_liquid_ps": 20.0}


def test_without_rules_nothing_ends_it():
    rounds = [Round(100, 100, 0, (0.1, 0.2))]
    assert (
        reason_to_stop(rounds, StopSettings(), True) is None and reason_to_stop(rounds, StopSettings(), False) is None
    )


@pytest.mark.parametrize(
    ("stop", "rounds", "exploring", "words"),
    [
        ({"candidates": 0.02}, [Round(98, 100, 2)], True, "disagreed on 2 %"),
        ({"candidates": 0.02}, [Round(97, 100, 3)], True, None),
        ({"candidates": 0.02}, [Round(98, 100, 2)], False, None),
        ({"labels": 50}, [Round(0, 100, 30), Round(0, 100, 20)], False, "50 explored frames were labelled"),
        ({"labels": 50}, [Round(0, 100, 30), Round(0, 100, 19)], False, None),
        ({"labels": 50}, [Round(0, 100, 30), Round(0, 100, 20)], True, None),
        ({"force_rmse_gain": 0.05}, [Round(0, 100, 9, (0.100, 0.096))], False, "0.1000 to 0.0960 eV/Å, a gain of 4 %"),
        ({"force_rmse_gain": 0.05}, [Round(0, 100, 9, (0.100, 0.094))], False, None),
        ({"force_rmse_gain": 0.0}, [Round(0, 100, 9, (0.100, 0.101))], False, "a gain of -1 %"),
        ({"candidates": 0.5, "labels": 1}, [], False, None),
        (
            HOLDS,
            [Round(0, 100, 9, None, ((1.02,), (1.03,)))],
            False,
            "hold the liquid for 20 ps .* 1.020 and 1.030 g/cm3",
        ),
        (HOLDS, [Round(0, 100, 9, None, ((1.00,), (1.03,)))], False, None),
        (HOLDS, [Round(0, 100, 9, None, ((1.02,), (None,)))], False, None),
        (HOLDS, [Round(0, 100, 9, None, ((None,), (1.02,)))], False, None),
        (HOLDS, [Round(0, 100, 9, None, ((1.02, 1.3), (1.02, 1.2)))], False, None),
        (HOLDS, [Round(0, 100, 9, None, ((1.02,), (1.02,)))], True, None),
        (HOLDS, [Round(0, 100, 9)], False, None),
    ],
)
def test_each_rule_ends_it_where_it_says(stop, rounds, exploring, words):
    reason = reason_to_stop(rounds, StopSettings(**stop), exploring)
    assert reason is None if words is None else re.search(words.replace("(", "."), reason)


def write_selection(folder: Path, accurate: int, candidate: int, failed: int = 0, chosen: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "selection.json"
    found = {"accurate": accurate, "candidate": candidate, "failed": failed, "chosen": chosen}
    path.write_text(json.dumps(found))
    return path


def test_a_round_is_that_of_all_compositions(tmp_path):
    paths = [write_selection(tmp_path / "a", 90, 8, 2, 5), write_selection(tmp_path / "b", 40, 10, 0, 6)]
    assert round_of(paths) == Round(accurate=130, explored=150, labelled=11)
    rows = [
        {"quantity": "force_rmse", "species": species, "dataset": dataset, "value": value}
        for species, dataset, value in ((None, "all", 0.2), (None, "EQ", 9.0), ("H", "all", 9.0))
    ]
    for name, scale in (("a.json", 1.0), ("b.json", 2.0)):
        (tmp_path / name).write_text(json.dumps([{**row, "value": scale * row["value"]} for row in rows]))
    assert force_rmse([tmp_path / "a.json", tmp_path / "b.json"]) == pytest.approx(0.3)


class Stored:
    """Results of stages by key, as a store has them."""

    def __init__(self, root: Path):
        self.root, self.held = root, set()

    def hold(self, stage, **selection):
        self.held.add(stage.key)
        if selection:
            write_selection(self.path(stage), **selection)

    def hold_errors(self, stage, rmse):
        self.held.add(stage.key)
        self.path(stage).mkdir(parents=True, exist_ok=True)
        row = {"quantity": "force_rmse", "species": None, "dataset": "all", "value": rmse}
        (self.path(stage) / "errors.json").write_text(json.dumps([row]))

    def holds(self, stage):
        return stage.key in self.held

    def path(self, stage):
        return self.root / stage.key


def study_with(folder, stop):
    path = studies.smallest(folder)
    text = path.read_text().replace("[learning]\n", f"[learning]\niterations = 3\nstop = {stop}\n")
    path.write_text(text)
    return load_study(path)


def test_the_plan_waits_where_a_decision_needs_a_result_and_grows_when_it_is_there(tmp_path):
    study, stored = study_with(tmp_path, "{ candidates = 0.1 }"), Stored(tmp_path / "store")
    plan = make_plan(study, stored)
    assert [stage.name for stage in plan.waits_for] == ["select explored frames, iteration 1"]
    assert plan.last_iteration == 0 and not plan.trajectories, "whose models MD runs is not known yet"
    assert set(plan.waits_for) <= set(plan.stages)
    stored.hold(plan.explorations[1, ""], accurate=50, candidate=50, chosen=3)
    plan = make_plan(study, stored)
    # it waits for nothing that this rule does not ask about, such as errors on validation frames
    assert [stage.name for stage in plan.waits_for] == ["select explored frames, iteration 2"]
    assert (1, "mace") in plan.trained
    stored.hold(plan.explorations[2, ""], accurate=95, candidate=5, chosen=3)
    plan = make_plan(study, stored)
    assert not plan.waits_for and plan.last_iteration == 1
    assert plan.trajectories["nvt", "mace"].inputs["model"] is plan.trained[1, "mace"][0]
    assert "learning 2" not in plan.labels, "what the models know is not paid for"
    (note,) = plan.notes
    assert "ended after iteration 1" in note and "disagreed on 5 %" in note


def test_a_gain_too_small_ends_it_before_another_exploration(tmp_path):
    study, stored = study_with(tmp_path, "{ force_rmse_gain = 0.1 }"), Stored(tmp_path / "store")
    stored.hold(make_plan(study, stored).explorations[1, ""], accurate=0, candidate=9, chosen=3)
    plan = make_plan(study, stored)
    assert {stage.kind for stage in plan.waits_for} == {"validation"}, "models are judged before iteration 2 explores"
    for iteration, rmse in ((0, 0.10), (1, 0.095)):
        stored.hold_errors(plan.validations[iteration, "deepmd", ""], rmse)
    plan = make_plan(study, stored)
    assert not plan.waits_for and plan.last_iteration == 1 and (2, "") not in plan.explorations


def hold_verdict(stored, stage, holding, density):
    stored.hold(stage)
    stored.path(stage).mkdir(parents=True, exist_ok=True)
    found = Measurement(liquid=LiquidVerdict(holding, "", density, 1.0, 20.0))
    (stored.path(stage) / "measurement.json").write_text(json.dumps(found.to_json()))


@pytest.mark.parametrize(
    ("labels", "found", "open_"),
    [
        (50, [Round(0, 100, 30), Round(0, 100, 10, to_come=9)], False),  # 49 at most
        (50, [Round(0, 100, 30), Round(0, 100, 10, to_come=10)], True),
        (50, [Round(0, 100, 30, to_come=10), Round(0, 100, 10)], True),
        (50, [Round(0, 100, 30), Round(0, 100, 20, to_come=10)], False),  # 50 already
        (None, [Round(0, 100, 30, to_come=99)], False),
    ],
)
def test_a_budget_is_open_only_while_frames_to_come_decide_it(labels, found, open_):
    stop = StopSettings(labels=labels)
    assert budget_is_open(found, stop) == open_
    least = [replace(one, to_come=0) for one in found]
    most = [replace(one, labelled=one.labelled + one.to_come, to_come=0) for one in found]
    ends = {reason_to_stop(rounds, stop, exploring=False) is not None for rounds in (least, most)}
    assert len(ends) == 1 + open_, "otherwise, whatever they find, the answer is the same"


def test_a_budget_makes_the_plan_wait_only_where_it_may_be_reached(tmp_path):
    study, stored = study_with(tmp_path, "{ labels = 6 }"), Stored(tmp_path / "store")  # three an iteration, at most
    plan = make_plan(study, stored)
    assert {stage.kind for stage in plan.waits_for} == {"selection"} and plan.last_iteration == 2, "three are below six"
    stored.hold(plan.explorations[1, ""], accurate=0, candidate=9, chosen=3)
    stored.hold(plan.explorations[2, ""], accurate=9, candidate=2, chosen=2)
    plan = make_plan(study, stored)
    assert plan.last_iteration == 3 and not plan.waits_for and not plan.notes
    stored.hold(plan.explorations[2, ""], accurate=8, candidate=3, chosen=3)
    plan = make_plan(study, stored)
    assert plan.last_iteration == 2 and "6 explored frames were labelled" in plan.notes[0]


@pytest.mark.parametrize(("holding", "ends"), [(Holding.HOLDS, True), (Holding.DOES_NOT_HOLD, False)])
def test_models_that_hold_the_liquid_end_it(tmp_path, holding, ends):
    study, stored = study_with(tmp_path, "{ holds_liquid_ps = 20.0 }"), Stored(tmp_path / "store")
    stored.hold(make_plan(study, stored).explorations[1, ""], accurate=0, candidate=9, chosen=3)
    plan = make_plan(study, stored)
    assert {stage.kind for stage in make_plan(study, stored).waits_for} == {"health"}
    run = plan.holding[1, ""].inputs["trajectory"]
    assert run.inputs["model"] is plan.trained[1, "deepmd"][0] and run.settings["protocol"]["length_ps"] == 20.0
    hold_verdict(stored, plan.holding[0, ""], Holding.HOLDS, 1.02)
    hold_verdict(stored, plan.holding[1, ""], holding, 1.03)
    plan = make_plan(study, stored)
    assert ((2, "") not in plan.explorations) == ends
    assert ends == any("hold the liquid for 20 ps" in note for note in plan.notes)


def test_iterations_without_a_rule_keep_their_names(tmp_path):
    """Neither a rule nor looking at results changes what is computed already."""
    path = studies.smallest(tmp_path)
    plain = {stage.key for stage in make_plan(load_study(path)).stages}
    assert {stage.key for stage in make_plan(load_study(path), Stored(tmp_path)).stages} == plain
    path.write_text(path.read_text().replace("[learning]\n", "[learning]\nstop = { candidates = 0.1 }\n"))
    assert {stage.key for stage in make_plan(load_study(path)).stages} == plain


def test_a_rule_that_cannot_be_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"learning\.stop\.candidates is 2\.0"):
        study_with(tmp_path, "{ candidates = 2.0 }")

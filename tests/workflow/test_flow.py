"""Exploration and labelling flow: a run is labelled while others still explore, whatever the order of their ends."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from rich.console import Console

from ilforge import frames
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.label import evaluate
from ilforge.labelling.methods import description
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.exploration import Exploration
from ilforge.sampling.selection import Window, select, shares_of_runs
from ilforge.study.load import load_study
from ilforge.workflow.executors import Executors
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps import exploring, labels, learning
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.store import ResultStore, read_manifest, write_json
from support import studies

PATIENCE_S = 600.0
CANDIDATES = {"run-000": 1, "run-001": 6}
"""Run 0 has fewer candidates than its share of five, three; run 1 has more than its share, two."""


class Here:
    """An executor whose tasks are threads of this process, so that a test may look into them."""

    slots, threads = 4, 1

    def __init__(self):
        self.pool = ThreadPoolExecutor(self.slots)

    def submit(self, function, *arguments, resources=None, urgency=0.0, on_start=None) -> Future:
        def task():
            on_start()
            return function(*arguments)

        return self.pool.submit(task)

    def close(self):
        self.pool.shutdown(wait=False, cancel_futures=True)


class Events:
    """What has happened: ``"run-000 ended"``, ``"a label"``."""

    def __init__(self):
        self.seen: list[str] = []
        self.changed = threading.Condition()

    def note(self, what: str) -> None:
        with self.changed:
            self.seen.append(what)
            self.changed.notify_all()

    def wait(self, what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: what in self.seen, PATIENCE_S), f"{what}: never, after {self.seen}"


def explored(run: str, box: Atoms) -> Exploration:
    """Ten frames of a run near the box: first those that the committee disagrees on."""
    rng, found, deviations = np.random.default_rng(int(run[-1]) + 1), [], [0.2] * CANDIDATES[run]
    deviations += [0.01] * (10 - len(deviations))
    for deviation in deviations:
        frame = box.copy()
        frame.positions += rng.normal(scale=0.01, size=frame.positions.shape)
        frame.info.update(kind="EQ", recipe="explored", parent=run, seed=1, deviation=deviation)
        found.append(frames.quantize(frame))
    return Exploration(tuple(found), np.array(deviations), (None,) * len(found))


def study_of(folder, learning_keys=""):
    path = studies.smallest(folder, "clp")
    text = path.read_text().replace("{ PYR14 = 1, BF4 = 1 }", "{ PYR14 = 2, BF4 = 2 }")
    text = text.replace("max_candidates = 3", "max_candidates = 5").replace("_low_eV_A = 0.0", "_low_eV_A = 0.05")
    path.write_text(text.replace("[learning]\n", f"[learning]\n{learning_keys}"))
    return load_study(path)


class Iteration:
    """An iteration of two runs in a store of its own; ``waits`` says what each run waits for before it ends."""

    def __init__(self, folder, name, box, waits):
        self.events, self.store, self.waits = Events(), ResultStore(folder / name), waits
        self._one_at_a_time = threading.Lock()
        study, method = study_of(folder), description(Clp(cutoff_A=4.0))
        box.info.update(kind="EQ", recipe="nvt", parent="box-1", seed=1)
        starts = Stage("starts", "starts", 1, {}, {}, lambda job: frames.write(job.directory / FRAMES, [box]))
        member = Stage("member", "member", 1, {}, {}, lambda job: None)
        learned = Stage("dataset", "dataset", 1, {}, {}, lambda job: Dataset((box,), (box,)).write(job.directory))
        self.search = learning.plan_search(study, 1, [member, member], starts, learned)
        self.ahead = learning.ahead_stages(study, 1, self.search, method)
        self.last = labels.label_stage(study, "label all", self.search.selected, 0, method, ahead=self.ahead)

    def explore(self, directory, *arguments):
        run = directory.name.removesuffix(".partial")
        if run in self.waits:
            self.events.wait(self.waits[run])
        found = explored(run, next(one for one in arguments if isinstance(one, list) and isinstance(one[0], Atoms))[0])
        frames.write(directory / exploring.EXPLORED, found.frames)
        write_json(directory / exploring.JUDGED, found.judged())
        self.events.note(f"{run} ended")

    def evaluate(self, frame, *arguments):
        with self._one_at_a_time:
            label = evaluate(frame, *arguments)
        self.events.note(f"label of {frame.info['parent']}")
        return label

    def go(self, monkeypatch):
        monkeypatch.setattr(learning, "model_spec", lambda folder: {})
        monkeypatch.setattr(learning, "run_exploration", self.explore)
        monkeypatch.setattr(labels, "evaluate", self.evaluate)
        self.store.prepare()
        watch = Watch(Console(file=io.StringIO()), self.store)
        with Executors({"here": Here()}) as executors:
            outcome = run_stages([self.last], self.store, executors, watch)
        watch.stop()
        assert outcome.complete, outcome.failed
        return self

    def files(self):
        """What the iteration gives, by file; what labels cost is no part of it."""
        selected, last = (self.store.path(stage) for stage in (self.search.selected, self.last))
        return {
            path.name: path.read_text() for path in (selected / FRAMES, selected / "selection.json", last / ACCEPTED)
        }


def test_a_run_is_labelled_while_another_one_still_explores(tmp_path, two_pairs, monkeypatch):
    """Run 1 does not end before a frame of run 0 is labelled: it would wait for ever if labelling waited for it."""
    seen = Iteration(tmp_path, "store", two_pairs, {"run-001": "label of run-000"}).go(monkeypatch).events.seen
    assert seen.index("label of run-000") < seen.index("run-001 ended")


def test_the_order_in_which_runs_end_changes_nothing(tmp_path, two_pairs, monkeypatch):
    orders = ({"run-001": "label of run-000"}, {"run-000": "label of run-001"})
    one, other = (Iteration(tmp_path, str(i), two_pairs, waits).go(monkeypatch) for i, waits in enumerate(orders))
    ends = [[what for what in iteration.events.seen if "ended" in what] for iteration in (one, other)]
    assert ends[0] == ends[1][::-1], "they did end in another order"
    assert one.files() == other.files()
    for iteration in (one, other):
        # 1 of its 3 by run 0, 2 of 2 by run 1; the 2 that run 0 leaves go to run 1 when both have ended
        asked = [json.loads((iteration.store.path(stage) / learning.ASKED).read_text()) for stage in iteration.ahead]
        assert asked == [{"frames": 1}, {"frames": 2}]
        facts = read_manifest(iteration.store.path(iteration.last))["facts"]
        assert (facts["labelled_now"], facts["reused"], facts["rejected"]) == (2, 3, 0)
        parents = [frame.info["parent"] for frame in frames.read(iteration.store.path(iteration.last) / ACCEPTED)]
        assert parents == ["run-000"] + 4 * ["run-001"]
        selection = json.loads((iteration.store.path(iteration.search.selected) / "selection.json").read_text())
        assert [selection[key] for key in ("accurate", "candidate", "failed", "chosen")] == [13, 7, 0, 5]
        with LabelStore(iteration.store.labels) as store:
            assert store.census()["labels"] == 5, "max_candidates, and nothing beside them"


def judged(run, count):
    """A run of so many candidates among twenty frames."""
    found = []
    for number in range(20):
        frame = Atoms("Li", positions=[[run, number, 0.0]], cell=[50.0] * 3, pbc=True)
        frame.info.update(run=run, number=number)
        found.append(frame)
    deviations = np.where(np.arange(20) < count, 0.2, 0.01)
    return Exploration(tuple(found), deviations, (None,) * 20)


@pytest.mark.parametrize("counts", [(20, 20, 20), (20, 1, 5), (0, 0, 9), (2, 1, 0), (0, 0, 0), (3, 3, 20)])
@pytest.mark.parametrize("most", [0, 2, 9, 10, 100])
def test_every_run_has_its_share_and_the_rest_is_dealt_out_within_the_limit(counts, most):
    topology, window = Liquid.of({"Li": 1}, vacuum=True).topology, Window(0.05, 1.5)
    runs = [judged(run, count) for run, count in enumerate(counts)]
    chosen = select(runs, window, most, topology)
    names = [(frame.info["run"], frame.info["number"]) for frame in chosen.frames]
    assert len(set(names)) == len(names) == min(most, sum(counts))
    for run, share in zip(runs, shares_of_runs(most, 3), strict=True):
        own = select([run], window, share, topology).frames
        assert {(frame.info["run"], frame.info["number"]) for frame in own} <= set(names), "it was labelled ahead"
    assert (chosen.accurate, chosen.candidate, chosen.failed) == (60 - sum(counts), sum(counts), 0)
    assert len(chosen.deviations) == 60


@pytest.mark.parametrize(("starts", "most"), [(1, 40), (2, 5), (8, 3), (9, 40), (250, 2830)])
def test_check_counts_every_label_once_in_few_stages(tmp_path, starts, most):
    text = studies.smallest(tmp_path, "clp").read_text()
    text = text.replace("starts = 2", f"starts = {starts}").replace("max_candidates = 3", f"max_candidates = {most}")
    (tmp_path / "study.toml").write_text(text)
    plan = make_plan(load_study(tmp_path / "study.toml"))
    explored, ahead = ([one for one in plan.stages if one.kind == kind] for kind in ("explore", "ahead"))
    assert sum(stage.tasks for stage in explored) == starts and len(explored) == min(starts, learning.MOST_STAGES)
    last = plan.labels["learning 1"]
    assert sum(stage.tasks for stage in [*ahead, last]) == most
    assert sum(stage.seconds for stage in [*ahead, last]) == pytest.approx(most * last.task_seconds)
    assert set(ahead) | {plan.explorations[1, ""]} == set(last.inputs.values())


def test_what_selects_is_no_part_of_an_exploration(tmp_path):
    """Another window, limit or number of runs does not run any MD again."""
    first = [stage.key for stage in explorations_of(tmp_path, "")]
    changed = "deviation_low_eV_A = 0.1\n", "max_candidates = 99\n", "starts = 3\n"
    for keys in changed:
        assert [stage.key for stage in explorations_of(tmp_path, keys)][: len(first)] == first
    # a run ends where the deviation is too high
    assert explorations_of(tmp_path, "deviation_high_eV_A = 9.0\n")[0].key != first[0]
    assert explorations_of(tmp_path, "temperatures_K = [300.0]\n")[0].key != first[0]


def explorations_of(folder, keys):
    name = keys.split(" =")[0]
    lines = studies.smallest(folder, "clp").read_text().splitlines()
    kept = [line for line in lines if not name or not line.startswith(f"{name} =")]
    (folder / "study.toml").write_text("\n".join(kept).replace("[learning]", f"[learning]\n{keys}"))
    return [stage for stage in make_plan(load_study(folder / "study.toml")).stages if stage.kind == "explore"]


class Empty:
    """A store without a result."""

    def holds(self, stage):
        return False


@pytest.mark.parametrize(
    ("rule", "waits", "decided_by"),
    [
        ("candidates = 0.1", True, {"selection"}),
        ("labels = 3", False, {"selection"}),
        ("labels = 9", False, set()),  # an iteration has three at most
        ("force_rmse_gain = 0.1", False, {"validation"}),
    ],
)
def test_labelling_waits_for_all_explorations_only_where_a_rule_judges_them_first(tmp_path, rule, waits, decided_by):
    plan = make_plan(study_of(tmp_path, f"iterations = 2\nstop = {{ {rule} }}\n"), Empty())
    kinds = {stage.kind for stage in plan.stages}
    assert "explore" in kinds and ("ahead" in kinds) is not waits
    assert ("learning 1" in plan.labels) is not waits
    assert {stage.kind for stage in plan.waits_for} == decided_by, "what follows is decided by these"

"""The loop of epochs that trains models in other environments, on a straight line: no such environment is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ilforge.training import outside, outside_session

torch = pytest.importorskip("torch")
SETTINGS = {
    "epochs": 6, "learning_rate": 0.05, "learning_rate_decay": 0.9, "batch_size": 2, "seed": 3, "ema_decay": 0.8,
}  # fmt: skip
LINE = 3.0, -1.0


class Line:
    """Learns y = 3 x - 1 from 5 points; batches of "stop" are all points at once."""

    def __init__(self, spoilt_at=None):
        torch.manual_seed(1)
        self.model, self.points = torch.nn.Linear(1, 1).double(), torch.arange(5.0).double().reshape(-1, 1)
        self.spoilt_at, self.losses, self.orders = spoilt_at, 0, []

    def count(self, part):
        return len(self.points)

    def batches(self, part, seed=None):
        order = list(range(5)) if seed is None else np.random.default_rng(seed).permutation(5).tolist()
        self.orders += [order] if part == "train" else []
        size = 2 if part == "train" else 5
        yield from (self.points[order[first : first + size]] for first in range(0, 5, size))

    def loss(self, batch):
        self.losses += 1
        spoilt = float("nan") if self.losses == self.spoilt_at else 1.0
        return spoilt * (self.model(batch) - LINE[0] * batch - LINE[1]).square().mean()

    def errors(self, batch):
        wrong = (self.model(batch) - LINE[0] * batch - LINE[1]).detach()
        return float(wrong.square().mean()), float(wrong.square().sum()), float(wrong.square().sum()), 5, 5


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(**changes):
    work = Line(changes.pop("spoilt_at", None))
    training = outside_session.Training(work, {**SETTINGS, **changes})
    best = training.run()
    return best, training, work


def test_it_learns_and_keeps_the_best_epoch():
    best, training, _ = trained(epochs=200, ema_decay=0.0, learning_rate=0.3, learning_rate_decay=0.97)
    assert float(best["weight"]) == pytest.approx(LINE[0], abs=0.02)
    assert float(best["bias"]) == pytest.approx(LINE[1], abs=0.05)
    losses = [point[2] for point in training.curve]
    assert training.best_loss == min(losses) and json.loads(Path(outside_session.CURVE).read_text()) == training.curve
    # what a curve says of the best epoch is what its weights give
    line = Line()
    line.model.load_state_dict(best)
    assert line.errors(line.points)[0] == pytest.approx(min(losses), rel=1e-12)


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been():
    whole, one, work = trained()
    Path(outside_session.STATE).unlink()
    trained(epochs=4)
    best, other, rest = trained()
    assert other.curve == one.curve and rest.orders == work.orders[4:], "four epochs were not made again"
    for name in whole:
        assert torch.equal(whole[name], best[name])


def test_each_epoch_has_an_order_of_its_own_and_another_seed_other_orders():
    _, _, work = trained()
    Path(outside_session.STATE).unlink()
    _, _, other = trained(seed=4)
    assert len({tuple(order) for order in work.orders}) > 1 and work.orders != other.orders


def test_averages_follow_the_weights_as_they_should():
    """The averages after each step, computed from the weights alone."""
    work = Line()
    training = outside_session.Training(work, SETTINGS)
    weights, expected = [work.model.weight.item()], work.model.weight.item()
    for step in range(1, 21):
        with torch.no_grad():
            work.model.weight += 0.1 * step
        weights.append(work.model.weight.item())
        training.average()
        kept = min(0.8, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * weights[-1]
        assert float(training.averages["weight"]) == pytest.approx(expected, rel=1e-12)
    # judging with averages leaves the weights that learn as they are
    training.judge(0.0)
    assert float(work.model.weight) == weights[-1]
    assert float(training.best["weight"]) == pytest.approx(expected, rel=1e-12)


def test_weights_that_do_not_learn_stay():
    work = Line()
    work.model.bias.requires_grad_(False)
    before = float(work.model.bias)
    best = outside_session.Training(work, SETTINGS).run()
    assert float(best["bias"]) == before and float(best["weight"]) != before


def test_a_training_that_ends_in_nan_stops_there():
    _, training, _ = trained(spoilt_at=5)  # in the second epoch of three steps
    assert [point[0] for point in training.curve] == [1, 2] and np.isnan(training.curve[-1][1])


class Touch:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("what", ["code", "other keys", "no archive"])
def test_a_state_that_another_wrote_is_not_used_and_runs_no_code(what, tmp_path, capsys):
    whole, _, _ = trained()
    state, mark = Path(outside_session.STATE), tmp_path / "ran"
    if what == "code":
        torch.save({"epoch": Touch(mark)}, state)
    elif what == "other keys":
        torch.save({"epoch": 5}, state)
    else:
        state.write_bytes(b"nothing")
    best, _, work = trained()
    assert not mark.exists() and len(work.orders) == 6
    assert "cannot be used, the training begins at its start" in capsys.readouterr().out
    assert all(torch.equal(whole[name], best[name]) for name in whole)


def test_progress_is_read_where_it_is_written():
    trained()
    assert outside.progress(Path()) == (18, 18)  # three steps in each of six epochs
    names = ("ORDERS", "FRAMES", "STATE", "CURVE", "PROGRESS")
    assert all(getattr(outside, name) == getattr(outside_session, name) for name in names)

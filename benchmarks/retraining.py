"""Concurrent learning with a long tail of task times: a loop that waits and polls, and the loop of ilforge.

``python benchmarks/retraining.py [--case N] [--seconds-per-hour S] [--seed N]`` draws the times of all explorations,
labels and trainings of a study once (lognormal; a few labels take twenty times as long), and prints how long it takes

- by a loop like that of DP-GEN, as an event simulation that costs no time itself: each step (train, explore, label)
  waits for all tasks of the step before, and looks every 30 s whether they have ended;
- by ilforge with the same tasks on the same number of workers, waiting for all labels of an iteration;
- by ilforge with ``learning.retrain_after``.

For ilforge everything is real (plan, scheduler, stores, datasets) except the tasks, which sleep for a scaled time
(``tests/support/worlds.py``). The own time of ilforge is not scaled. It is measured and set apart; the column "at most"
gives the wall time as if it were scaled as well.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ilforge import frames
from ilforge.workflow.steps.labels import ACCEPTED
from support.worlds import What, World, write_study

POLL_S = 30.0
"""Time between two looks of a loop like that of DP-GEN, s."""
ASK_S = 1.0
"""Time between two looks of ilforge whether enough labels are there, s."""
MEMBERS, RUNS, LABELS = 4, 8, 40
SLOTS = {"explore": 8, "label": 8, "train": 4, "analyse": 2}


@dataclass(frozen=True)
class Case:
    """A distribution of task times: medians in s, and how many labels of an iteration are stragglers."""

    name: str
    explore_s: float = 1200.0
    label_s: float = 600.0
    train_s: float = 3600.0
    stragglers: int = 3
    slower: float = 20.0
    iterations: int = 3


CASES = (
    Case("no stragglers", stragglers=0),
    Case("3 of 40 labels 20 times slower"),
    Case("the same, training of 20 min", train_s=1200.0),
    Case("3 of 40 labels 20 times slower", iterations=6),
)


def drawn(case: Case, seed: int) -> dict[What, float]:
    """The time of every task, s."""
    rng, times = random.Random(seed), {}
    for member in range(MEMBERS):
        times["train", 0, member] = case.train_s * rng.lognormvariate(0.0, 0.1)
    for iteration in range(1, case.iterations + 1):
        for run in range(RUNS):
            times["explore", iteration, run] = case.explore_s * rng.lognormvariate(0.0, 0.4)
        each = LABELS // RUNS
        slow = set(rng.sample(range(LABELS), case.stragglers))
        for number in range(LABELS):
            factor = case.slower if number in slow else 1.0
            times["label", iteration, number // each, number % each] = (
                case.label_s * factor * rng.lognormvariate(0.0, 0.3)
            )
        for member in range(MEMBERS):
            times["train", iteration, member] = case.train_s * rng.lognormvariate(0.0, 0.1)
    return times


def with_barriers(times: dict[What, float], poll_s: float) -> float:
    """How long the study takes if each step waits for all tasks of the one before, and looks every ``poll_s``, s."""
    now, last = 0.0, max(what[1] for what in times)
    steps = [("train", 0)] + [(kind, i) for i in range(1, last + 1) for kind in ("explore", "label", "train")]
    for step in steps:
        free = [now] * SLOTS[step[0]]
        for what, seconds in times.items():
            if what[:2] == step:
                heapq.heapreplace(free, free[0] + seconds)
        took = max(free) - now
        now += math.ceil(took / poll_s) * poll_s if poll_s else took
    return now


@dataclass(frozen=True)
class Measured:
    """A study that ilforge ran, s.

    Attributes
    ----------
    most_s
        Wall time in the scale of the trace, as if ilforge were slower by this scale too.
    wall_s
        The same with its own time as it is.
    own_s
        Its own time: no task ran that the next step of the study waited for.
    processor_s
        Processor time of the run, with that of the tasks that only sleep.
    """

    most_s: float
    wall_s: float
    own_s: float
    processor_s: float


def by_ilforge(case: Case, times: dict[What, float], retrain_after: int | None, scale: float) -> Measured:
    """Run the study with tasks that sleep ``scale`` times as long."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = write_study(Path(folder), case.iterations, RUNS, LABELS, retrain_after, MEMBERS)
        world = World(
            path,
            Path(folder) / "store",
            lambda what: time.sleep(scale * times[what]),
            slots=SLOTS,
            ask_again_s=scale * ASK_S,
        )
        began, used = time.monotonic(), time.process_time()
        outcome = world.go()
        wall, used = time.monotonic() - began, time.process_time() - used
        assert outcome.complete, outcome.failed
        own = own_time(world, began, wall, retrain_after)
    polls = 0.0 if retrain_after is None else ASK_S * (case.iterations - 1)
    return Measured(wall / scale, (wall - own) / scale + own, own + polls, used)


def own_time(world: World, began: float, wall: float, retrain_after: int | None) -> float:
    """Time in which no task ran that the next step of the study waited for, s: not scaled."""
    trained, explored, labelled = (world.times(kind) for kind in ("train", "explore", "label"))
    starts = {kind: world.times(kind, "began") for kind in ("train", "explore", "label")}
    last = world.study.settings.learning.iterations

    def of(found: dict[What, float], iteration: int) -> list[float]:
        return sorted(when for what, when in found.items() if what[1] == iteration)

    own = min(of(starts["train"], 0)) - began + (began + wall - max(of(trained, last)))
    decisions, taken = world.plan().gatherings, set[What]()
    for iteration in range(1, last + 1):
        own += min(of(starts["explore"], iteration)) - max(of(trained, iteration - 1))
        own += min(of(starts["label"], iteration)) - min(of(explored, iteration))
        begins = min(of(starts["train"], iteration))
        if retrain_after is None or iteration == last:
            enough = max(when for what, when in labelled.items() if what[1] <= iteration)
        else:
            enough = sorted(when for what, when in labelled.items() if what not in taken)[retrain_after - 1]
            decided = frames.read(world.results.path(decisions[iteration]) / ACCEPTED)
            taken |= {world.task_of(frame) for frame in decided}
        own += begins - enough
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds-per-hour", type=float, default=12.0, help="time that an hour of the trace takes, s")
    parser.add_argument("--case", type=int, choices=range(len(CASES)), help="only this distribution of times")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    scale = chosen.seconds_per_hour / 3600.0
    print(f"{LABELS} labels in each iteration on {SLOTS['label']} workers, {RUNS} runs, {MEMBERS} trainings; hours")
    print(
        f"{'':48}{'wall / h':>10}{'at most':>9}{'shorter by':>12}{'own / s':>9}{'share / %':>11}{'processor / s':>15}"
    )
    for case in CASES if chosen.case is None else [CASES[chosen.case]]:
        times = drawn(case, chosen.seed)
        print(f"{case.name}, {case.iterations} iterations", flush=True)
        barrier = with_barriers(times, POLL_S)
        print(f"{'  barrier, looks every 30 s (simulated)':48}{barrier / 3600:10.2f}")
        for after in (30, 20, None):
            name = "waits for all labels" if after is None else f"retrain_after = {after}"
            found = by_ilforge(case, times, after, scale)
            share = 100 * found.own_s / found.wall_s
            print(
                f"{'  ilforge, ' + name:48}{found.wall_s / 3600:10.2f}{found.most_s / 3600:9.2f}"
                f"{barrier / found.wall_s:12.2f}{found.own_s:9.1f}{share:11.3f}{found.processor_s:15.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

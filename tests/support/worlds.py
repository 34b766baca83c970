"""Concurrent learning with the real plan, scheduler and stores, whose calculations only take their time.

Explorations, labels and trainings are replaced by waits of given lengths, in threads of this process. Everything that
decides stays as it is: plan, stages, selection, label store with its claims and inbox, datasets.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
from ase import Atoms
from rich.console import Console

from ilforge import frames
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling import label as labelling
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.inbox import deliver
from ilforge.potentials.classical.clp import Clp
from ilforge.properties import Measurement
from ilforge.results import Holding, LiquidVerdict
from ilforge.sampling.exploration import Exploration
from ilforge.sampling.selection import shares_of_runs
from ilforge.study.load import Study, load_study
from ilforge.training.mace import MODEL
from ilforge.workflow import plan as planning
from ilforge.workflow import rounds, scheduler
from ilforge.workflow.executors import Executor, Executors, Resources, Work
from ilforge.workflow.executors.queue import Queue, Task
from ilforge.workflow.plan import Plan, make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.scheduler import Growth, Outcome, run_stages
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps import exploring, labels, learning, models
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import ACCEPTED
from ilforge.workflow.steps.md import MEASUREMENT
from ilforge.workflow.store import ResultStore, write_json

STUDY = """
name = "world"
seed = 3
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 3.5
[sampling]
potential = "clp"
[reference]
potential = "clp"
[models.mace]
committee = MEMBERS
[learning]
iterations = ITERATIONS
starts = STARTS
max_candidates = CANDIDATES
"""

What = tuple[Any, ...]
"""``("explore", iteration, run)``, ``("label", iteration, run, number)``, ``("train", iteration, member)``,
``("validate", iteration)`` or ``("hold", iteration)``."""


def write_study(
    folder: Path, iterations: int, starts: int, candidates: int, retrain_after: int | None, members: int = 2
) -> Path:
    """A study of one ion pair with these keys."""
    text = STUDY
    values = {"MEMBERS": members, "ITERATIONS": iterations, "STARTS": starts, "CANDIDATES": candidates}
    for word, value in values.items():
        text = text.replace(word, str(value))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "study.toml"
    path.write_text(text + ("" if retrain_after is None else f"retrain_after = {retrain_after}\n"))
    return path


class Threads:
    """An executor whose tasks are threads of this process, taken from the real queue."""

    threads = 1

    def __init__(self, slots: int):
        self.slots = slots
        self._queue, self._lock = Queue(slots, Resources(slots, 0, 1e9)), threading.Lock()
        self._running: list[Task] = []
        self._closed = False

    def submit(self, function, *arguments, resources=None, urgency=0.0, on_start=None) -> Future:
        task = Task(function, arguments, resources or Resources(), urgency, on_start)
        with self._lock:
            closed = self._closed
            if not closed:
                self._queue.add(task)
        task.cancel() if closed else self._start()
        return task.future

    def _start(self) -> None:
        with self._lock:
            while not self._closed and (task := self._queue.take(self._running)) is not None:
                self._running.append(task)
                threading.Thread(target=self._run, args=(task,), daemon=True).start()

    def _run(self, task: Task) -> None:
        try:
            if task.on_start is not None:
                task.on_start()
            result = task.function(*task.arguments)
        except BaseException as error:
            self._end(task)
            task.future.set_exception(error)
        else:
            self._end(task)
            task.future.set_result(result)

    def _end(self, task: Task) -> None:
        with self._lock:
            self._running.remove(task)
        self._start()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for task in self._queue.clear():
                task.cancel()


@dataclass
class World:
    """A study whose calculations take ``wait(what)``.

    Attributes
    ----------
    path
        The study file.
    store
        Where results go.
    wait
        Called in the place of each calculation; returns when it has ended, or raises its error.
    slots
        Tasks at the same time, for each kind of work; other work goes to ``analyse``.
    candidates
        Candidates of a run beyond its share of ``max_candidates``, which may be negative, by ``(iteration, run)``.
    spoiled
        Calculations whose labels the gate refuses.
    rmse
        Force RMSE of the explorer on validation frames, eV/Å, by iteration; without it, nothing is validated.
    densities
        Density of the liquid that the explorer's model holds, g/cm^3, by iteration; None where it does not hold it.
    ask_again_s
        Time between two looks whether enough labels are there, s.
    elsewhere
        Makes the executor that explores, labels and trains in place of threads; ``wait`` must then be picklable.
    log
        File with a line for each label that has begun or ended, for worlds that are killed.
    """

    path: Path
    store: Path
    wait: Callable[[What], None]
    slots: dict[str, int] = field(default_factory=lambda: {"explore": 4, "label": 4, "train": 4, "analyse": 2})
    candidates: dict[tuple[int, int], int] = field(default_factory=dict)
    spoiled: frozenset[What] = frozenset()
    rmse: dict[int, float] = field(default_factory=dict)
    densities: dict[int, float | None] = field(default_factory=dict)
    ask_again_s: float = 0.02
    elsewhere: Callable[[], Executor] | None = None
    log: Path | None = None
    seen: list[tuple[float, str, What]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.study: Study = load_study(self.path)
        self.results = ResultStore(self.store)
        settings = self.study.settings
        iterations = range(settings.learning.iterations + 1)
        self._runs = {
            self.study.seed("explore", iteration, run): (iteration, run)
            for iteration in iterations
            for run in range(settings.learning.starts)
        }
        self._trainings = {
            self.study.seed("mace", iteration, member): (iteration, member)
            for iteration in iterations
            for member in range(settings.models["mace"].committee)
        }
        self._box = frames.read(Path(__file__).parents[1] / "data" / "one_pair.xyz")[0]
        self._method = Clp(cutoff_A=3.5).describe()

    def plan(self) -> Plan:
        """The plan as far as it is known."""
        with self._as_here():
            return make_plan(self.study, self.results)

    def go(self) -> Outcome:
        """Run it to the end."""
        self.results.prepare()
        watch = Watch(Console(file=io.StringIO()), self.results)
        executors: dict[str, Executor] = {name: Threads(count) for name, count in self.slots.items()}
        run: dict[Work, str] = {
            "explore": "explore",
            "label": "label",
            "train": "train",
            "md": "analyse",
            "analyse": "analyse",
        }
        if self.elsewhere is not None:
            executors["elsewhere"] = self.elsewhere()
            run.update(explore="elsewhere", label="elsewhere", train="elsewhere")
        with self._as_here(), Executors(executors, run) as there:
            stages, growth = self._planned()
            outcome = run_stages(stages, self.results, there, watch, growth)
        watch.stop()
        return outcome

    def times(self, kind: str, what: str = "ended") -> dict[What, float]:
        """When tasks of this kind began or ended, s."""
        return {task: when for when, event, task in self.seen if task[0] == kind and event == what}

    def _planned(self) -> tuple[list[Stage], Growth | None]:
        plan = make_plan(self.study, self.results)
        if not plan.waits_for:
            return plan.stages, None
        return plan.stages, Growth(frozenset(stage.key for stage in plan.waits_for), self._planned)

    @contextlib.contextmanager
    def _as_here(self) -> Iterator[None]:
        with (
            patch.object(planning, "_plan_labels", self._plan_labels),
            patch.object(planning, "_plan_validation", self._plan_validation),
            patch.object(rounds, "_plan_holding", self._plan_holding),
            patch.object(planning, "_plan_given_validations", lambda *args, **more: None),
            patch.object(scheduler, "_ASK_AGAIN_S", self.ask_again_s),
            patch.object(scheduler, "_require_programs", lambda *args: None),
            patch.object(learning, "model_spec", lambda folder: {}),
            patch.object(learning, "run_exploration", self._explore),
            patch.object(labels, "evaluate", self._evaluate),
            patch.object(models, "_train", self._train),
        ):
            yield

    def _spend(self, what: What) -> None:
        self.seen.append((time.monotonic(), "began", what))
        self.wait(what)
        self.seen.append((time.monotonic(), "ended", what))

    def _plan_labels(self, plan: Plan, part: Study) -> None:
        """Two training frames and no sampling."""
        boxes = []
        for parent in ("box-1", "box-2"):
            box = self._box.copy()
            box.info.update(kind="EQ", recipe="nvt", parent=parent, seed=1)
            box.positions[0] += 0.01 * len(boxes)
            box.info[ENERGY], box.arrays[FORCES] = -1.0, np.full((len(box), 3), 0.1)
            boxes.append(frames.quantize(box))

        def work(job):
            frames.write(job.directory / FRAMES, boxes)
            frames.write(job.directory / ACCEPTED, boxes)

        purposes: tuple[Literal["training", "validation"], ...] = ("training", "validation")
        for purpose in purposes:
            stage = Stage(f"label {purpose} frames", "given", 1, {"purpose": purpose}, {}, work)
            name = plan.add_set(purpose, purpose, part)
            plan.frames[name] = plan.labels[name] = stage

    def _plan_validation(self, plan: Plan, part: Study, name: str, iteration: int, model: Stage) -> None:
        if not self.rmse:
            return
        row = {"quantity": "force_rmse", "species": None, "dataset": "all", "value": self.rmse[iteration]}

        def work(job):
            self._spend(("validate", iteration))
            write_json(job.directory / models.ERRORS, [row])

        stage = Stage(f"validate {iteration}", "validation", 1, {}, {"model": model}, work)
        plan.validations[iteration, name, part.composition] = stage

    def _plan_holding(self, plan: Plan, iteration: int, length_ps: float) -> None:
        density = self.densities[iteration]
        holding = Holding.DOES_NOT_HOLD if density is None else Holding.HOLDS
        found = Measurement(liquid=LiquidVerdict(holding, "", density or 0.5, 1.0, length_ps))

        def work(job):
            self._spend(("hold", iteration))
            write_json(job.directory / MEASUREMENT, found.to_json())

        model = plan.trained[iteration, plan.study.settings.explorer][0]
        plan.holding[iteration, ""] = Stage(f"hold {iteration}", "health", 1, {}, {"model": model}, work)

    def _explore(self, directory: Path, *arguments: Any) -> None:
        walk = next(one for one in arguments if hasattr(one, "seed"))
        iteration, run = self._runs[walk.seed]
        self._spend(("explore", iteration, run))
        found = self._found(iteration, run, walk.seed)
        frames.write(directory / exploring.EXPLORED, found.frames)
        write_json(directory / exploring.JUDGED, found.judged())

    def _found(self, iteration: int, run: int, seed: int) -> Exploration:
        """As many candidates as the run's share says, and two frames on which the committee agrees."""
        settings = self.study.settings.learning
        count = shares_of_runs(settings.max_candidates, settings.starts)[run] + self.candidates.get((iteration, run), 0)
        rng, found = np.random.default_rng(seed), []
        for number in range(count + 2):
            frame = self._box.copy()
            frame.positions += rng.normal(scale=0.01, size=frame.positions.shape)
            deviation = 0.2 if number < count else 0.01
            parent = f"{iteration}-{run}"
            frame.info.update(kind="EQ", recipe="explored", parent=parent, seed=number, deviation=deviation)
            found.append(frames.quantize(frame))
        deviations = np.array([frame.info["deviation"] for frame in found])
        return Exploration(tuple(found), deviations, (None,) * len(found))

    def _evaluate(self, frame: Atoms, spec: Any, threads: int, inbox: Path, liquid: Any) -> Label:
        what = self.task_of(frame)
        self._note("began", what)
        self._spend(what)
        forces = np.full((len(frame), 3), 0.0)
        forces[0], forces[1] = 0.1, (9.0 if what in self.spoiled else -0.1)
        bare = labelling._bare(frame)
        label = Label(bare, self._method, energy=-1.0, forces=forces, converged=True, cost_s=1.0)
        deliver(label, inbox)
        self._note("ended", what)
        return label

    @staticmethod
    def task_of(frame: Atoms) -> What:
        """The calculation that labels a frame of an exploration."""
        iteration, run = map(int, frame.info["parent"].split("-"))
        return "label", iteration, run, int(frame.info["seed"])

    def _note(self, event: str, what: What) -> None:
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write(f"{event} {what}\n")
                file.flush()
                os.fsync(file.fileno())

    def _train(self, dataset: Path, settings: Any, seed: int, directory: Path, *more: Any) -> None:
        self._spend(("train", *self._trainings[seed]))
        (directory / MODEL).write_text(f"{seed}\n")

"""Run, plan and inspect a study: the functions behind the commands ``run``, ``check``, ``status`` and ``results``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ilforge import environments, files, folders, machine_programs, trust
from ilforge.devices import PROGRAMS
from ilforge.errors import MissingProgram, SettingsError
from ilforge.files import PARTIAL
from ilforge.programs import EXTRAS, find, require
from ilforge.report import write_report
from ilforge.report.page import DATA
from ilforge.results import Record
from ilforge.study.load import Study
from ilforge.study.machine import Machine
from ilforge.workflow import shared_progress
from ilforge.workflow.executors import Executors, require_executors, require_main_guard
from ilforge.workflow.explored import explored
from ilforge.workflow.handover import hand_over
from ilforge.workflow.loop import Results
from ilforge.workflow.plan import make_plan
from ilforge.workflow.progress import Watch
from ilforge.workflow.records import collect_records
from ilforge.workflow.scheduler import Growth, Outcome, run_stages
from ilforge.workflow.stage import Stage, seconds_to_the_end
from ilforge.workflow.steps.reporting import report_content, report_stage
from ilforge.workflow.store import ResultStore, read_manifest, study_at_work, study_lock

PUBLISHED = ("report.html", "results.json", "results.csv")  # beside the folder of tables, report.page.DATA
_LARGEST = 16 * 2**20  # bytes; to show the state of a study, digests of larger files (trajectories) are not computed
_OUTPUT = "--output, or with `output` in machine.toml"


@dataclass(frozen=True)
class Share:
    """The share of a study that one executor computes.

    Attributes
    ----------
    executor
        Its name in ``machine.toml``.
    tasks
        Tasks that are missing.
    core_s
        Their expected time on one core, s.
    slots
        Tasks that it runs at the same time.
    """

    executor: str
    tasks: int
    core_s: float
    slots: int

    @property
    def wall_s(self) -> float:
        """Expected time if all its slots are busy, s."""
        return self.core_s / self.slots


@dataclass(frozen=True)
class Check:
    """The expected cost of a study, before it starts.

    Attributes
    ----------
    rows
        ``(stage, whether it is done, number of its tasks with results)`` in order.
    seconds
        Expected time of the missing stages on the workers of this machine, s.
    memory_GB
        Expected memory if all workers run the largest tasks at the same time, GB.
    missing
        Programs and Python packages that are needed but not installed.
    unusable
        Devices in ``machine.toml`` that a program does not find.
    at_most
        Whether concurrent learning may end before its last iteration, so that the study may cost less.
    shares
        The share of each executor.
    """

    rows: list[tuple[Stage, bool, int]]
    seconds: float
    memory_GB: float
    missing: list[MissingProgram]
    unusable: list[SettingsError]
    at_most: bool = False
    shares: tuple[Share, ...] = ()


def all_stages(
    study: Study, results: Results | None = None, labels_of: Path | None = None, foresee: bool = False
) -> list[Stage]:
    """Every stage of a study in order; the report is the last.

    If decisions of concurrent learning are still to be taken: the stages that are known so far, without the report, or
    those of all iterations without results or with ``foresee`` (see :func:`~ilforge.workflow.plan.make_plan`).
    """
    return _planned(study, results, labels_of, foresee)[0]


def _planned(
    study: Study, results: Results | None, labels_of: Path | None = None, foresee: bool = False
) -> tuple[list[Stage], Growth | None]:
    """All stages that are known and, if these are not all, the continuation of the plan."""
    plan = make_plan(study, results, labels_of, foresee)
    if not plan.waits_for:
        return [*plan.stages, report_stage(plan)], None
    waits_for = frozenset(stage.key for stage in plan.waits_for)
    return plan.stages, Growth(waits_for, lambda: _planned(study, results))


@trust.looking()
def check_study(study: Study, machine: Machine) -> Check:
    """Plan a study and find its finished stages. Nothing is computed or written."""
    require_executors(machine)
    machine_programs.use(machine.programs)
    store = ResultStore(Path(machine.store), verify=True, largest=_LARGEST)
    stages, growth = _planned(study, store)
    if growth is not None:  # at most
        stages = all_stages(study, store, foresee=True)
    rows = [(stage, store.holds(stage), _tasks_at_hand(stage, store)) for stage in stages]
    todo = [replace(stage, tasks=stage.tasks - at_hand) for stage, done, at_hand in rows if not done]
    here = _here(todo, machine)
    missing = _missing(here)
    unusable = [] if missing else _unusable_devices(here, machine)
    shares = _shares(todo, machine)
    slots = sum(share.slots for share in shares) or machine.worker_count
    longest = max(seconds_to_the_end(todo, slots).values(), default=0.0)
    spread = max((share.wall_s for share in shares), default=0.0)
    largest = sorted((stage.memory_GB for stage in here), reverse=True)[: machine.worker_count]
    memory = max([min(sum(largest), machine.usable_memory_GB), *largest[:1]]) + 0.5 if todo else 0.0  # more waits
    at_most = growth is not None and bool(study.settings.learning.stop.rules)
    return Check(rows, max(longest, spread), memory, missing, unusable, at_most, shares)


def _here(stages: Iterable[Stage], machine: Machine) -> list[Stage]:
    """The stages whose tasks run on this machine, so that its programs and devices count."""
    named, run = require_executors(machine), machine.run.model_dump()
    return [stage for stage in stages if not named[run[stage.runs_as]][0].elsewhere]


def _shares(todo: Sequence[Stage], machine: Machine) -> tuple[Share, ...]:
    """The share of each executor, in the order in which ``run`` names them."""
    run, shares = machine.run.model_dump(), []
    for name, (kind, settings) in require_executors(machine).items():
        own = [stage for stage in todo if run[stage.runs_as] == name]
        slots = machine.worker_count if kind.slots is None else kind.slots(machine, settings)
        if own:
            shares.append(Share(name, sum(stage.tasks for stage in own), sum(stage.seconds for stage in own), slots))
    return tuple(shares)


def _missing(todo: Iterable[Stage]) -> list[MissingProgram]:
    """Missing programs, Python packages and environments that these stages need; each remedy is listed once."""
    wanted: set[tuple[Callable[[str], object], str]] = {(find, program) for stage in todo for program in stage.programs}
    wanted |= {(require, name) for stage in todo for name in stage.computes_with if name in EXTRAS}
    computing = {name for stage in todo for name in stage.computes_with}
    wanted |= {(environments.interpreter, name) for name in computing if name not in PROGRAMS}
    missing: dict[str, MissingProgram] = {}
    for look_for, name in sorted(wanted, key=lambda pair: (pair[0] is require, pair[1])):
        try:
            look_for(name)
        except MissingProgram as error:
            missing.setdefault(error.package, error)
    return list(missing.values())


def _unusable_devices(todo: Iterable[Stage], machine: Machine) -> list[SettingsError]:
    """What is wrong with the devices of the programs that these stages compute with."""
    faults = []
    for program in sorted({program for stage in todo for program in stage.computes_with}):
        try:
            machine.devices.resolved(program)
        except SettingsError as error:
            faults.append(error)
    return faults


def _tasks_at_hand(stage: Stage, store: ResultStore) -> int:
    """At least one is left, be it to judge the results; none of a stage from which no task of its own is expected."""
    if stage.at_hand is None or store.holds(stage):
        return 0
    return max(0, min(stage.at_hand(store).done, stage.tasks - 1))


def run_study(
    study: Study, machine: Machine, console: Console, quiet: bool = False, trusted: bool = False
) -> tuple[Outcome, Path]:
    """Compute the missing stages of a study, and write its report into the output folder.

    Parameters
    ----------
    trusted
        Load models in the store that were not made by this user.

    Returns
    -------
    Outcome, Path
        The outcome, and the folder with ``report.html``, ``results.json``, ``results.csv`` and ``models``.

    Raises
    ------
    IlforgeError
        When the study is already running, cannot start, or a device in ``machine.toml`` is missing.
    """
    require_main_guard()
    require_executors(machine)
    machine_programs.use(machine.programs)
    folder = output_folder(study, machine)
    store = ResultStore(Path(machine.store), trust=trusted)
    stages, growth = _planned(study, store)
    for fault in _unusable_devices(_here([stage for stage in stages if not store.holds(stage)], machine), machine):
        raise fault
    store.prepare()
    trust.user_key()  # a missing key is reported now, and not after the first stage
    folders.claim(folder, _OUTPUT, of=study.path.absolute())
    with study_lock(store.locks, study.settings.name):
        with Executors.of_machine(machine) as executors:
            shared = shared_progress.file_of(store.locks, study.settings.name)
            watch = Watch(console, store, executors.slots, quiet, shared)
            executors.listen(watch.say)
            try:
                outcome = run_stages(stages, store, executors, watch, growth)
            finally:
                watch.stop()
        if outcome.complete:
            report = stages[-1] if growth is None else all_stages(study, store)[-1]
            publish(store.path(report), folder)
            hand_over(make_plan(study, store), store, folder)
    return outcome, folder


def output_folder(study: Study, machine: Machine) -> Path:
    """The folder for the report of a study, which ilforge makes and marks."""
    return Path(machine.output).absolute() / study.settings.name


def publish(report: Path, folder: Path) -> None:
    """Copy the report from the store, each file completely or not at all; new tables replace earlier ones."""
    for name in PUBLISHED:
        with files.replacing(folder / name) as partial:
            shutil.copyfile(report / name, partial)
    with folders.replacing_folder(folder / DATA) as partial:
        shutil.copytree(report / DATA, partial, dirs_exist_ok=True)


@dataclass(frozen=True)
class StageState:
    """One stage as ``ilforge status`` shows it; ``wall_s`` is None until it is done."""

    stage: Stage
    state: str
    wall_s: float | None = None


@dataclass(frozen=True)
class Status:
    """A study as ``ilforge status`` shows it.

    Attributes
    ----------
    store
        Folder of the store.
    rows
        Every stage that is known, in order.
    running
        Whether some process runs the study now.
    said
        The last message of the running or the last run.
    """

    store: Path
    rows: list[StageState]
    running: bool
    said: shared_progress.SharedProgress | None

    @property
    def empty(self) -> bool:
        """Whether the store holds nothing of the study."""
        return not self.running and all(row.state == TO_DO for row in self.rows)


TO_DO = "to do"


@trust.looking()
def study_status(study: Study, machine: Machine) -> Status:
    """The state of every stage with counts: done, running, begun (a run was stopped in it), failed or to do."""
    machine_programs.use(machine.programs)
    store = ResultStore(Path(machine.store), verify=True, largest=_LARGEST)
    name = study.settings.name
    running, said = study_at_work(store.locks, name), shared_progress.read(shared_progress.file_of(store.locks, name))
    failed = {} if said is None else said.failed
    rows = [_state(stage, store, failed) for stage in all_stages(study, store, store.labels)]
    return Status(store.root, rows, running, said)


def _state(stage: Stage, store: ResultStore, failed: Mapping[str, str]) -> StageState:
    if store.holds(stage):
        manifest = read_manifest(store.path(stage))
        facts = manifest.get("facts") or {}
        if explored := facts.get("explored"):
            return StageState(stage, "\n".join(["done", *explored]), manifest["wall_s"])
        counts = [f", {facts[key]} {word}" for key, word in (("taken", "labels"), ("rejected",) * 2) if facts.get(key)]
        return StageState(stage, "".join(["done", *counts]), manifest["wall_s"])
    if stage.key in store.faults:
        return StageState(stage, f"damaged: {store.faults[stage.key]}")
    count = _counted(stage, store)
    if store.at_work(stage):
        state = "at work"
    elif stage.key in failed:
        return StageState(stage, ", ".join(["failed", *count]) + f": {failed[stage.key]}")
    else:
        state = "begun, then stopped" if (store.scratch / stage.key).is_dir() else TO_DO
    return StageState(stage, ", ".join([state, *count]))


def _counted(stage: Stage, store: ResultStore) -> list[str]:
    """A description of the finished part of an unfinished stage; empty if nothing is known."""
    scratch, failed = store.scratch / stage.key, 0
    if stage.at_hand is not None:
        done, failed, total = stage.at_hand(store)
    elif stage.progress is not None:
        done, total = stage.progress(scratch)
    else:
        parts = scratch / "parts"
        done = sum(path.suffix != PARTIAL for path in parts.iterdir()) if parts.is_dir() else 0
        total = max(stage.tasks, done)
    if not done:
        return []
    return [f"{done:,} of {total:,}", *([f"{failed:,} of them failed"] if failed else [])]


@trust.looking()
def write_partial_report(study: Study, machine: Machine) -> Path:
    """Write the report of all finished stages into the output folder.

    Raises
    ------
    SettingsError
        When the store holds no finished stage of the study.
    """
    machine_programs.use(machine.programs)
    store = ResultStore(Path(machine.store), verify=True)
    folder = output_folder(study, machine)
    folders.refuse_foreign(folder, _OUTPUT)
    plan = make_plan(study, store, store.labels)
    if not any(store.holds(stage) for stage in plan.stages):
        raise nothing_there(study, store.root)
    folders.claim(folder, _OUTPUT, of=study.path.absolute())
    if not plan.waits_for:
        hand_over(plan, store, folder)
    return write_report(folder, report_content(plan, store))


def nothing_there(study: Study, store: Path) -> SettingsError:
    """The error that a store holds nothing of a study."""
    return SettingsError(
        f"The store {store} contains no results of this study, {study.settings.name}. Run the study first: ilforge run "
        f"{study.path}. If it was run with another store, name that store with --store."
    )


class FinishedStudy:
    """What is finished of a study, from one plan and one store that compares each result with its digests once.

    Parameters
    ----------
    study, machine
        The study, and the machine with its store.
    """

    @trust.looking()
    def __init__(self, study: Study, machine: Machine):
        machine_programs.use(machine.programs)
        self._store = ResultStore(Path(machine.store), verify=True)
        self._plan = make_plan(study, self._store, self._store.labels)

    @trust.looking()
    def records(self) -> list[Record]:
        """Records of all finished stages; damaged results are left out."""
        return collect_records(self._plan, self._store)

    @trust.looking()
    def exploration(self) -> list[str]:
        """What finished explorations found, a line for each iteration, composition and state."""
        return [line for one in explored(self._plan, self._store) for line in one.lines]

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with the damaged results that were looked at so far, by their key."""
        return {key: fault for key, fault in self._store.faults.items() if fault is not None}

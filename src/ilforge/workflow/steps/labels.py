"""Labels: every frame evaluated once by the reference, then judged by the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import frames, potentials
from ilforge.errors import DidNotFinish
from ilforge.labelling.gate import judge_batch, net_force_limit, tally
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.label import evaluate, failed
from ilforge.labelling.labels import KILLED_RUNS, Label, is_cut_short, killed_again, was_killed
from ilforge.labelling.labels import method_digest as digest_of
from ilforge.labelling.storing.claims import Holder, State, holding
from ilforge.labelling.storing.inbox import name_of
from ilforge.labelling.storing.store import FILE, LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.quantum import costs
from ilforge.sampling.coverage import coverage
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import Study
from ilforge.workflow.executors import ATTEMPTS as DEATHS
from ilforge.workflow.executors import WorkerDied
from ilforge.workflow.job import Job
from ilforge.workflow.stage import AtHand, Stage
from ilforge.workflow.steps.aimd import aimd_plan, single_points
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.structures import computes_with, liquid_of, of_composition, reference_spec
from ilforge.workflow.store import ResultStore, write_json

ATTEMPTS = 2
"""Number of tries of a calculation that is interrupted."""

POLL_S = 2.0
"""Time between checks of frames that another run has claimed, s."""

IN_A_ROW = 5
"""If this many calculations in a row are interrupted, the cause is not a frame."""

ACCEPTED, REJECTED, CENSUS = "accepted.xyz", "rejected.xyz", "census.json"


def label_stage(
    study: Study,
    name: str,
    source: Stage,
    expected: int,
    method: Mapping[str, Any],
    counts: FrameCounts | None = None,
    computed: bool = False,
    ahead: Sequence[Stage] = (),
) -> Stage:
    """``accepted.xyz`` with labels, ``rejected.xyz`` with reasons, ``census.json`` with counts and cost.

    Parameters
    ----------
    expected
        Number of frames, for planning.
    method
        Description of the reference by itself.
    counts
        The frames from which AIMD begins, if any; they are not labelled here.
    computed
        Whether AIMD has already computed the labels, for planning.
    ahead
        Stages that label some of the frames before all of them are known (:func:`.learning.ahead_stages`).
    """
    spec, gate, liquid = reference_spec(study), study.settings.gate, liquid_of(study)
    method_digest = digest_of(method)
    seconds = potentials.create(spec).seconds_per_frame(liquid.topology.n_atoms)
    without = {"without_starts_of": aimd_plan(counts)} if counts is not None and counts.aimd else {}

    frames_in = partial(_frames_to_label, counts=counts if without else None)

    def at_hand(store: ResultStore) -> AtHand:
        asked = f"frames to label {sorted(without.items())}"
        return labels_at_hand(store, source, asked, frames_in, method_digest, expected)

    def work(job: Job) -> None:
        wanted = frames_in(job.input("frames"))
        labels = labels_of(job, wanted, spec, method, liquid)
        job.facts["rejected"] = write_judged(job.directory, wanted, labels, liquid, gate)

    return Stage(
        name=of_composition(study, name),
        kind="labels",
        runs_as="label",
        version=2,
        settings={
            "reference": dict(method),
            "gate": gate.model_dump(),
            **net_force_setting(gate, method, liquid),
            **without,
        },
        inputs={"frames": source, **{f"ahead{i}": stage for i, stage in enumerate(ahead)}},
        work=work,
        tasks=1 if computed else expected,
        task_seconds=1.0 + 0.002 * expected if computed else seconds,
        memory_GB=0.5 if computed else costs.memory_GB(spec["kind"], liquid.topology.n_atoms),
        at_hand=None if computed else at_hand,
        computes_with=() if computed else computes_with(spec["kind"]),
    )


def _frames_to_label(sampled: Path, counts: FrameCounts | None) -> dict[str, Atoms]:
    """Sampled frames by digest, without those from which AIMD begins."""
    found = frames.read(sampled / FRAMES)
    chosen = found if counts is None else single_points(found, counts)
    return {frames.digest(frame): frame for frame in chosen}


def labels_at_hand(
    store: ResultStore,
    source: Stage,
    asked: str,
    frames_in: Callable[[Path], dict[str, Atoms]],
    method_digest: str,
    expected: int,
) -> AtHand:
    """Counts the labels of a stage that a store already has.

    Parameters
    ----------
    source, frames_in
        The stage that made the frames, and a function that returns the frames to label, by digest, from the folder of
        its result.
    asked
        Which frames these are, in words, for :meth:`~ilforge.workflow.store.ResultStore.noted`.
    expected
        Their number as long as they are not made.
    """
    if not store.holds(source) or not (store.labels / FILE).is_file():
        return AtHand(0, 0, expected)
    wanted = store.noted(source, asked, lambda found: list(frames_in(found)))
    with LabelStore(store.labels, read_only=True) as labels:
        errors = labels.errors_of(wanted, method_digest).values()
    done = [error for error in errors if not is_cut_short(error)]
    return AtHand(len(done), sum(error is not None for error in done), len(wanted))


def labels_of(
    job: Job, wanted: Mapping[str, Atoms], spec: Mapping[str, Any], method: Mapping[str, Any], liquid: Liquid
) -> dict[str, Label]:
    """Labels of frames, by digest: those that the store has, and the others computed in workers.

    Parameters
    ----------
    spec, method
        The potential, and its description by itself.

    Raises
    ------
    DidNotFinish
        When calculations were interrupted; finished labels are kept.
    """
    method_digest = digest_of(method)
    with LabelStore(job.store.labels) as store, holding(job.store.labels) as holder:
        _verify(job, store)
        store.remember(method)
        store.absorb_inbox()
        missing = store.missing(wanted, method_digest)
        before = store.get_many(missing, method_digest)
        job.expect(len(missing))
        asked = {digest: Question(wanted[digest], spec, job.threads, store.inbox, liquid) for digest in missing}
        left = _Labelling(job, store, holder, method_digest).go(asked)
        left = _give_up(job, store, method_digest, left, before)
        labels = store.get_many(list(wanted), method_digest)
        if missing:
            store.backup()
    if missing and len(left) == len(missing):
        raise _stopped(len(left), labels[left[-1]])
    passing = [digest for digest in wanted if labels[digest].may_pass]
    if passing:
        raise _outstanding(len(passing), len(wanted), labels[passing[-1]])
    job.facts.update(labelled_now=len(missing), reused=len(wanted) - len(missing))
    return labels


def net_force_setting(gate: GateSettings, method: Mapping[str, Any], liquid: Liquid) -> dict[str, float]:
    """The limit for boxes of this size, if it differs from that of the gate."""
    limit = net_force_limit(gate, method, liquid.topology.n_atoms)
    return {} if limit == gate.max_net_force_eV_A else {"net_force_limit_eV_A": round(limit, 9)}


def _verify(job: Job, store: LabelStore) -> None:
    """Check the whole store first, because labels that a damaged index hides would be computed again.

    Several stages of an iteration label; it is read again only if more than their labels has changed in it.
    """
    if store.verify(again=False):
        job.say("The index of the label store did not fit its labels and was made anew; no label is lost.")


def _give_up(
    job: Job, store: LabelStore, method_digest: str, left: Sequence[str], before: Mapping[str, Label]
) -> list[str]:
    """Count one more run for frames whose calculation was always killed; returns the frames that are still labelled.

    A frame whose calculation is always killed would block its study for ever. After :data:`KILLED_RUNS` runs it is
    rejected.
    """
    killed = {digest: label for digest, label in store.get_many(left, method_digest).items() if was_killed(label.error)}
    for digest, label in killed.items():
        earlier = before[digest].error if digest in before else None
        store.add(replace(label, error=killed_again(label.error or "", earlier, ATTEMPTS * DEATHS)))
    asked = store.missing(left, method_digest)
    if given_up := len(left) - len(asked):
        job.say(
            f"{given_up} frames are rejected: their calculations were killed in {KILLED_RUNS} runs, every time "
            "that they were tried. Only `ilforge label FILE --retry` tries them again."
        )
    return asked


@dataclass(frozen=True)
class Question:
    """A frame to label: the arguments of :func:`evaluate`."""

    frame: Atoms
    spec: Mapping[str, Any]
    threads: int
    inbox: Path
    liquid: Liquid


class _Labelling:
    """Label frames in workers. If several runs need a frame, only one computes it, and the others wait for its
    label."""

    def __init__(self, job: Job, store: LabelStore, holder: Holder, method_digest: str):
        self.job, self.store, self.holder, self.method_digest = job, store, holder, method_digest
        self.attempts: Counter[str] = Counter()

    def go(self, asked: Mapping[str, Question]) -> list[str]:
        """Label frames, given by digest; returns those without an answer.

        Raises
        ------
        DidNotFinish
            When several in a row were interrupted, because the cause is then the program or the machine, not a frame.
        """
        left, waited = list(asked), False
        while tried_less := [digest for digest in left if self.attempts[digest] < ATTEMPTS]:
            ready = [digest for digest in tried_less if self._state(digest) is not State.BUSY]
            if ready:
                self._label({digest: asked[digest] for digest in ready})
            else:
                waited = waited or self._say_who(tried_less)
                self.job.sleep(POLL_S)
            self.store.absorb_inbox()
            left = self.store.missing(left, self.method_digest)
            for digest in left:
                if self._state(digest) is State.DONE:  # but it has no label, so its label was lost
                    self.holder.release(digest, self.method_digest)
        return left

    def _state(self, digest: str) -> State:
        return self.holder.state(digest, self.method_digest)

    def _say_who(self, waiting: Sequence[str]) -> bool:
        names = sorted({self.holder.holder_of(digest, self.method_digest) for digest in waiting} - {""})
        self.job.say(f"{len(waiting)} frames are being labelled by {', '.join(names)}: waiting for them.")
        return True

    def _label(self, asked: Mapping[str, Question]) -> None:
        in_a_row = 0
        tasks = [(evaluate, self.holder, self.method_digest, *one) for one in asked.items()]
        for digest, label in self.job.each(_evaluate_claimed, tasks, lost=_lost):
            self.store.absorb_inbox()
            if label is None:  # another run was faster
                continue
            self.attempts[digest] += 1
            in_a_row = in_a_row + 1 if label.cut_short else 0
            if in_a_row >= IN_A_ROW:
                raise _stopped(in_a_row, label)


def _evaluate_claimed(
    evaluate_one: Callable[..., Label],
    holder: Holder,
    method_digest: str,
    digest: str,
    question: Question,
) -> tuple[str, Label | None]:
    """A task for a worker: the label of a frame, or None if another run has claimed the frame."""
    if holder.take(digest, method_digest) is not State.MINE:
        return digest, None
    answer = question.inbox / name_of(digest, method_digest)
    if answer.exists():  # from a run that was killed before it could report the label
        holder.finish(digest, method_digest)
        return digest, None
    try:
        label = evaluate_one(question.frame, question.spec, question.threads, question.inbox, question.liquid)
    except BaseException:
        holder.release(digest, method_digest)
        raise
    holder.settle(digest, method_digest, label.cut_short)
    return digest, label


def _lost(
    error: WorkerDied,
    evaluate_one: Callable[..., Label],
    holder: Holder,
    method_digest: str,
    digest: str,
    question: Question,
) -> tuple[str, Label]:
    """The label of a frame whose worker was killed each time."""
    holder.release(digest, method_digest)
    return digest, failed(question.frame, question.spec, f"DidNotFinish: {error}", question.inbox)


def _stopped(count: int, label: Label) -> DidNotFinish:
    return DidNotFinish(
        f"{count} calculations in a row were cut short, so labelling stopped. What was labelled is kept, and the same "
        f"command tries these again. The last one: {label.error}"
    )


def _outstanding(count: int, total: int, label: Label) -> DidNotFinish:
    return DidNotFinish(
        f"{count} of {total} frames have no label yet: their calculations were killed, or ran out of memory or disk. "
        "All other labels are kept. Run the same command to try these again; nothing is published without them. Fewer "
        f"workers (machine.toml) leave more memory to each. A frame that is killed in {KILLED_RUNS} runs is rejected. "
        f"The last one: {label.error}"
    )


def write_judged(
    directory: Path, wanted: Mapping[str, Atoms], labels: Mapping[str, Label], liquid: Liquid, gate: GateSettings
) -> int:
    """Judge the labels of frames and write the files of a stage of labels; frames and labels are given by digest.

    Returns
    -------
    int
        Number of rejected frames.
    """
    # with the kind and recipe of these frames, because the label may have been made for another study
    mine = {digest: labels[digest].of(frame) for digest, frame in wanted.items()}
    reasons = judge_batch(mine, lambda frame: liquid.topology, gate)
    accepted = [labels[digest].on(frame) for digest, frame in wanted.items() if reasons[digest] is None]
    rejected = [frame for digest, frame in wanted.items() if reasons[digest] is not None]
    for digest, frame in wanted.items():
        if reasons[digest] is not None:
            frame.info["rejected"] = reasons[digest]
    frames.write(directory / ACCEPTED, accepted)
    frames.write(directory / REJECTED, rejected)
    census = _census(wanted.values(), reasons, sum(label.cost_s for label in labels.values()))
    census["coverage"] = coverage(_by_recipe(accepted), liquid.topology)
    write_json(directory / CENSUS, census)
    return len(rejected)


def _census(wanted: Iterable[Atoms], reasons: Mapping[str, str | None], cost_s: float) -> dict[str, Any]:
    """Frames made and rejected by kind and recipe, reasons of rejection, cost on one core in s."""
    rows: dict[str, dict[str, Any]] = {}
    for frame, reason in zip(wanted, reasons.values(), strict=True):
        row = rows.setdefault(f"{frame.info['kind']}/{frame.info['recipe']}", {"made": 0, "accepted": 0, "reasons": []})
        row["made"] += 1
        row["accepted"] += reason is None
        if reason is not None:
            row["reasons"].append(reason)
    for row in rows.values():
        row["rejected"] = tally(row.pop("reasons"))
    return {"rows": rows, "cost_s": round(cost_s, 2)}


def _by_recipe(labelled: Iterable[Atoms]) -> dict[str, list[Atoms]]:
    groups: dict[str, list[Atoms]] = {}
    for frame in labelled:
        groups.setdefault(f"{frame.info['kind']}/{frame.info['recipe']}", []).append(frame)
    return groups

"""Training again before an iteration is over: which labels are there, as a recorded decision.

With ``learning.retrain_after = N``, a stage waits until N new labels of explored frames are accepted, and takes those
that are there. Which ones these are depends on the order in which calculations end, so its result is no function of its
key. It is the record of the decision: it names the labels, and their digest is a setting of the dataset that follows.
Therefore all later keys say which labels were taken, and whoever plans the study again reads the decision here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms

from ilforge import frames
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import method_digest as digest_of
from ilforge.labelling.storing.store import FILE, LabelStore
from ilforge.liquid.topology import Topology
from ilforge.study.load import Study
from ilforge.workflow.job import Job
from ilforge.workflow.stage import AtHand, Stage
from ilforge.workflow.steps.boxes import FRAMES
from ilforge.workflow.steps.labels import ACCEPTED, net_force_setting
from ilforge.workflow.steps.learning import Search, first_frames, shares_of
from ilforge.workflow.steps.structures import liquid_of
from ilforge.workflow.steps.taken import TAKEN, known_in
from ilforge.workflow.store import ResultStore, write_json


@dataclass(frozen=True)
class Source:
    """Frames of one composition that one iteration labels.

    Attributes
    ----------
    study
        The study, with this composition.
    search
        The exploration that finds them.
    labelled
        The stage that ends when all have labels.
    """

    study: Study
    search: Search
    labelled: Stage

    def known(self, store: ResultStore) -> Iterator[tuple[str, dict[str, Atoms]]]:
        """The frames that are chosen by now, by digest, with the key of the result that they come from.

        Before all runs have ended, these are the first frames of those that have. They are part of all that is chosen.
        """
        if store.holds(self.search.selected):
            chosen = frames.read(store.path(self.search.selected) / FRAMES)
            yield self.search.selected.key, {frames.digest(frame): frame for frame in chosen}
            return
        if not store.holds(self.search.window):
            return
        limits = store.path(self.search.window)
        for runs, explored in self.search.explored:
            own = shares_of(self.study, runs)
            if own and store.holds(explored):
                yield explored.key, first_frames(store.path(explored), limits, own, liquid_of(self.study))


def gather_stage(
    study: Study, iteration: int, sources: Sequence[Source], method: Mapping[str, Any], before: Stage | None
) -> Stage:
    """New labels for the training of an iteration: ``accepted.xyz``, and ``taken.json`` with the decision.

    Parameters
    ----------
    sources
        Frames of this iteration and of those before.
    method
        Description of the reference by itself.
    before
        The decision before, whose labels are not taken again.
    """
    settings = study.settings
    wanted = settings.learning.retrain_after
    assert wanted is not None
    arrivals = _Arrivals(sources, method, settings.gate, before)

    def work(job: Job) -> None:
        _write(job, arrivals)

    return Stage(
        name=f"take the first {wanted} new labels, iteration {iteration}",
        kind="gathering",
        version=1,
        settings={
            "retrain_after": wanted,
            "explored": sorted(source.search.selected.key for source in sources),
            **_of_the_gate(sources, method, settings.gate),
        },
        inputs={"before": before} if before else {},
        work=work,
        at_hand=lambda store: AtHand(min(wanted, arrivals.count(store)), 0, wanted),
        may_begin=lambda store: arrivals.suffice(store, wanted),
    )


def last_gather_stage(
    study: Study, sources: Sequence[Source], method: Mapping[str, Any], before: Stage | None
) -> Stage:
    """All labels that no decision has taken, for the last training; the same files as :func:`gather_stage` writes."""
    arrivals = _Arrivals(sources, method, study.settings.gate, before)

    def work(job: Job) -> None:
        _write(job, arrivals)

    return Stage(
        name="take all other labels, last iteration",
        kind="gathering",
        version=1,
        settings=_of_the_gate(sources, method, study.settings.gate),
        inputs={
            **{f"labels{i}": source.labelled for i, source in enumerate(sources)},
            **({"before": before} if before else {}),
        },
        work=work,
    )


@dataclass
class _Arrivals:
    """Labels of explored frames that no decision has taken yet."""

    sources: Sequence[Source]
    method: Mapping[str, Any]
    gate: GateSettings
    before: Stage | None
    _read: dict[str, dict[str, Atoms]] = field(default_factory=dict)
    _judged: tuple[int, int] = (0, 0)  # labels at the last look, and how many of them were accepted

    def suffice(self, store: ResultStore, wanted: int) -> bool:
        """Whether so many are accepted, or all that there will be are there."""
        if all(store.holds(source.labelled) for source in self.sources):
            return True
        there = self.count(store)
        if there < wanted:
            return False
        if there != self._judged[0]:
            self._judged = there, len(self.accepted(store))
        return self._judged[1] >= wanted

    def count(self, store: ResultStore) -> int:
        """Number of frames with a label, good or not; a quick look."""
        if not (store.labels / FILE).is_file() or (self.before is not None and not store.holds(self.before)):
            return 0
        earlier = self._earlier(store)
        fresh = [digest for group in self._frames(store) for digest in group if digest not in earlier]
        with LabelStore(store.labels, read_only=True) as labels:
            errors = labels.errors_of(fresh, digest_of(self.method))
        return sum(error is None for error in errors.values())

    def accepted(self, store: ResultStore) -> dict[str, Atoms]:
        """New frames with labels that the gate accepts, by digest, in the order of iterations, compositions and runs.

        They are judged together with those taken before, because the gate compares energies.
        """
        wanted = {digest: frame for group in self._frames(store) for digest, frame in group.items()}
        with LabelStore(store.labels, read_only=True) as found:
            labels = found.get_many(list(wanted), digest_of(self.method))
        mine = {digest: labels[digest].of(frame) for digest, frame in wanted.items() if digest in labels}
        reasons = judge_batch(mine, self._topology_of, self.gate)
        earlier = self._earlier(store)
        return {
            digest: labels[digest].on(wanted[digest])
            for digest, reason in reasons.items()
            if reason is None and digest not in earlier
        }

    def _frames(self, store: ResultStore) -> list[dict[str, Atoms]]:
        """The frames that are chosen by now; each file is read once."""
        found = []
        for source in self.sources:
            if source.search.selected.key in self._read:
                found.append(self._read[source.search.selected.key])
                continue
            for key, chosen in source.known(store):
                found.append(self._read.setdefault(key, chosen))
        return found

    def _earlier(self, store: ResultStore) -> set[str]:
        return set(known_in(store.path(self.before))) if self.before else set()

    def _topology_of(self, frame: Atoms) -> Topology | None:
        for source in self.sources:
            liquid = liquid_of(source.study)
            if liquid.label == frame.info["ions"]:
                return liquid.topology
        return None


def _write(job: Job, arrivals: _Arrivals) -> None:
    """The labels that are there now, and which these are."""
    found = arrivals.accepted(job.store)
    earlier = known_in(job.input("before")) if "before" in job.stage.inputs else []
    frames.write(job.directory / ACCEPTED, list(found.values()))
    write_json(job.directory / TAKEN, {"taken": list(found), "known": sorted([*earlier, *found])})
    job.facts["taken"] = len(found)


def _of_the_gate(sources: Sequence[Source], method: Mapping[str, Any], gate: GateSettings) -> dict[str, Any]:
    limits = [net_force_setting(gate, method, liquid_of(source.study)) for source in sources]
    return {"reference": dict(method), "gate": gate.model_dump(), "limits": [limit for limit in limits if limit]}

"""Merge two label stores: results and failures, by digests of frame and method."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from ilforge.labelling.labels import SAME_ENERGY_EV, Label
from ilforge.labelling.storing.store import BATCH, LabelStore


@dataclass(frozen=True)
class Merged:
    """The result of a merge.

    Attributes
    ----------
    added, known
        Number of added labels, and of labels that the target already had.
    failures
        Number of failures among the added labels, kept with their reasons.
    conflicts
        Labels of the same frame and method whose energies differ by more than 0.1 meV, in words; the label of the
        target is kept.
    """

    added: int
    known: int
    failures: int
    conflicts: tuple[str, ...]


def merge(target: LabelStore, source: LabelStore) -> Merged:
    """Copy all labels of ``source`` that ``target`` lacks, except damaged ones; one transaction for each batch."""
    added = known = failures = 0
    conflicts: list[str] = []
    labels = iter(source)
    while batch := list(islice(labels, BATCH)):
        new = []
        for label in batch:
            held = target.get(label.frame_digest, label.method_digest)
            if held is None or _is_better(label, held):
                new.append(label)
                continue
            known += 1
            if (conflict := _conflict(held, label)) is not None:
                conflicts.append(conflict)
        target.add_many(new)
        added += len(new)
        failures += sum(label.failed for label in new)
    return Merged(added, known, failures, tuple(conflicts))


def _is_better(label: Label, held: Label) -> bool:
    """Whether a label replaces another: a result replaces a failure, a failure replaces one that was cut short."""
    return held.failed and (not label.failed or (held.cut_short and not label.cut_short))


def _conflict(held: Label, label: Label) -> str | None:
    if held.failed or label.failed or abs(held.result[0] - label.result[0]) <= SAME_ENERGY_EV:
        return None
    energies = f"{held.energy:.6f} and {label.energy:.6f} eV"
    return f"frame {label.frame_digest[:12]}, method {label.method_digest[:12]}: {energies}"

"""Two label stores made one: results and failures, each under the digest of its frame and its method."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from ilforge.labelling.labels import SAME_ENERGY_EV, Label
from ilforge.labelling.storing.store import BATCH, LabelStore


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes
    ----------
    added, known
        Labels taken over, and those that were there already.
    failures
        How many of those taken over are failures, kept with their reasons.
    conflicts
        Labels of the same frame and method whose energies differ by more than 0.1 meV, in words; the one
        that was there first is kept.
    """

    added: int
    known: int
    failures: int
    conflicts: tuple[str, ...]


def merge(target: LabelStore, source: LabelStore) -> Merged:
    """Copy every label of ``source`` that ``target`` does not have, damaged ones left out; one transaction a batch."""
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
    """Whether a label replaces another: a result a failure, and a failure what was only cut short."""
    return held.failed and (not label.failed or (held.cut_short and not label.cut_short))


def _conflict(held: Label, label: Label) -> str | None:
    if held.failed or label.failed or abs(held.result[0] - label.result[0]) <= SAME_ENERGY_EV:
        return None
    energies = f"{held.energy:.6f} and {label.energy:.6f} eV"
    return f"frame {label.frame_digest[:12]}, method {label.method_digest[:12]}: {energies}"

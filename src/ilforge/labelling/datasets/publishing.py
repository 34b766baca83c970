"""Write a dataset to share, and check one: its labels, its sets and its counts."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import files, frames
from ilforge.errors import SettingsError
from ilforge.folders import claim
from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.datasets.dataset import parent_of
from ilforge.labelling.datasets.published import (
    FORMAT,
    FRAMES,
    MANIFEST,
    PURPOSES,
    REJECTED,
    STUDY,
    Entry,
    Published,
    is_published,
)
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.gate_settings import GateSettings
from ilforge.liquid.topology import Topology

UNITS = {
    "positions": "Å",
    ENERGY: "eV, of the whole frame; with smeared electrons the free energy",
    FORCES: "eV/Å",
    STRESS: "eV/Å^3, Voigt xx yy zz yz xz xy, tension positive",
}


def publish(
    directory: Path,
    name: str,
    entries: Sequence[Entry],
    *,
    title: str,
    settings: Mapping[str, Any],
    study: str,
    gate: GateSettings,
    isolated_atoms: Mapping[str, float],
    programs: Mapping[str, str],
) -> Published:
    """Write a dataset; the manifest is written last.

    Parameters
    ----------
    entries
        Labels by one method. Labels for training and for validation have no parent in common.
    title
        Short name of the method: ``"PBE-D3(BJ) with GPAW"``.
    settings
        The part of the method that the study file determines.
    study
        Text of the study file that made the labels.
    gate
        Limits of the gate that judged the labels.
    isolated_atoms
        Energies of isolated atoms by the same method, eV.
    programs
        Versions of programs.

    Raises
    ------
    SettingsError
        Without accepted labels in both sets, with several methods, or with a parent in both sets.
    """
    directory, method = Path(directory), _one_method(entries)
    faults = [*_duplicates(entries), *_shared_parents(entries)]
    if faults:
        raise SettingsError(f"{name} cannot be published as a dataset: {faults[0]}")
    claim(directory, "--out", known=is_published(directory))
    (directory / MANIFEST).unlink(missing_ok=True)
    written = {STUDY: study.encode(), **_frame_files(entries)}
    for file, content in written.items():
        files.write_bytes(directory / file, content)
    manifest = {
        "format": FORMAT,
        "name": name,
        "title": title,
        "method": dict(method),
        "versions": {key: value for key, value in method.items() if key not in settings},
        "units": UNITS,
        "gate": gate.model_dump(),
        "isolated_atoms_eV": {element: float(energy) for element, energy in sorted(isolated_atoms.items())},
        "programs": dict(programs),
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in written.items()},
        **_summary(entries),
    }
    files.write_text(directory / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return Published(directory, manifest)


def _accepted(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Accepted labels by purpose."""
    good = [entry for entry in entries if entry.rejected is None]
    return {purpose: [entry for entry in good if entry.purpose == purpose] for purpose in PURPOSES}


def _frame_files(entries: Sequence[Entry]) -> dict[str, bytes]:
    """Contents of the files of frames by name."""
    rejected = [entry for entry in entries if entry.rejected is not None]
    sets = {**_accepted(entries), **({REJECTED: rejected} if rejected else {})}
    return {f"{stem}{FRAMES}": _packed([_frame(entry) for entry in members]) for stem, members in sets.items()}


def _summary(entries: Sequence[Entry]) -> dict[str, Any]:
    """Summary of the labels for the manifest: numbers by kind, number of boxes, cost and dates."""
    accepted = _accepted(entries)
    rejected = [entry for entry in entries if entry.rejected is not None]
    finished = max(entry.label.time for entry in entries)
    return {
        "sets": {purpose: _counts(members) for purpose, members in accepted.items()},
        "parents": {purpose: len({_parent(e) for e in members}) for purpose, members in accepted.items()},
        "smallest_side_A": _smallest_sides(accepted[purpose] for purpose in PURPOSES),
        "rejected": {purpose: _reasons(rejected, purpose) for purpose in PURPOSES},
        "wall_h": round(sum(entry.label.cost_s for entry in entries) / 3600, 3),
        "finished": finished,
        "finished_date": time.strftime("%Y-%m-%d", time.gmtime(finished)),
    }


def faults(dataset: Published, gate: GateSettings, topology_of: Callable[[Atoms], Topology | None]) -> tuple[str, ...]:
    """The faults of a dataset, in sentences; none if every label passes the checks again.

    The checks are: every accepted label by the gate, repeated frames, parents in both sets, labels that are missing or
    only zeros, and the counts of the manifest.
    """
    entries = dataset.entries()
    found = [*_duplicates(entries), *_shared_parents(entries)]
    for purpose, members in _accepted(entries).items():
        labels = {entry.label.frame_digest: entry.label for entry in members}
        reasons = judge_batch(labels, topology_of, gate)
        found += [f"{purpose} frame {digest[:12]} is refused, {why}" for digest, why in reasons.items() if why]
        zeros = [digest for digest, label in labels.items() if label.forces is not None and not np.any(label.forces)]
        found += [f"{purpose} frame {digest[:12]} has only zeros as forces" for digest in zeros]
        if _counts(members) != dataset.manifest["sets"][purpose]:
            found.append(f"the numbers of {purpose} frames in {MANIFEST} are wrong")
    return tuple(found)


def _one_method(entries: Sequence[Entry]) -> Mapping[str, Any]:
    for purpose in PURPOSES:
        if not any(entry.purpose == purpose and entry.rejected is None for entry in entries):
            raise SettingsError(
                f"There is no accepted label for {purpose} yet: a dataset needs labels for both purposes."
            )
    methods = {entry.label.method_digest: entry.label.method for entry in entries}
    if len(methods) > 1:
        raise SettingsError(f"The labels are by {len(methods)} methods: a dataset must have a single method.")
    return next(iter(methods.values()))


def _duplicates(entries: Iterable[Entry]) -> list[str]:
    seen = Counter(entry.label.frame_digest for entry in entries)
    return [f"frame {digest[:12]} occurs {count} times" for digest, count in seen.items() if count > 1]


def _shared_parents(entries: Iterable[Entry]) -> list[str]:
    homes: dict[str, set[str]] = {}
    for entry in entries:
        homes.setdefault(_parent(entry), set()).add(entry.purpose)
    return [f"box {box} is in training and in validation" for box, purposes in homes.items() if len(purposes) > 1]


def _parent(entry: Entry) -> str:
    return parent_of(entry.label.frame)


def _counts(entries: Iterable[Entry]) -> dict[str, dict[str, int]]:
    """Numbers of frames by composition and kind/recipe."""
    rows: dict[str, Counter[str]] = {}
    for entry in entries:
        info = entry.label.frame.info
        key = f"{info.get('kind', 'unknown')}/{info.get('recipe', 'unknown')}"
        rows.setdefault(str(info.get("ions", "unknown")), Counter())[key] += 1
    return {ions: dict(sorted(counts.items())) for ions, counts in sorted(rows.items())}


def _smallest_sides(sets: Iterable[Iterable[Entry]]) -> dict[str, float]:
    """Shortest side of all boxes, Å, by composition."""
    sides: dict[str, float] = {}
    for entry in (entry for members in sets for entry in members):
        ions, side = str(entry.label.frame.info.get("ions", "unknown")), entry.label.frame.cell.lengths().min()
        sides[ions] = min(sides.get(ions, np.inf), round(float(side), 6))
    return dict(sorted(sides.items()))


def _reasons(rejected: Iterable[Entry], purpose: str) -> dict[str, int]:
    kinds = (str(entry.rejected).split(":", 1)[0] for entry in rejected if entry.purpose == purpose)
    return dict(sorted(Counter(kinds).items()))


def _frame(entry: Entry) -> Atoms:
    """The frame to write: its own info, its labels, and the other data of the label."""
    label = entry.label
    frame = label.frame.copy() if label.failed else label.on(label.frame)
    frame.info.update(cost_s=round(label.cost_s, 2), converged=label.converged)
    if entry.rejected is not None:
        frame.info.update(rejected=entry.rejected, purpose=entry.purpose)
    if label.error is not None:
        frame.info["error"] = label.error
    return frame


def _packed(members: Sequence[Atoms]) -> bytes:
    """Frames as compressed extended XYZ; equal frames give equal bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.xyz"
        frames.write(path, members)
        return gzip.compress(path.read_bytes(), compresslevel=9, mtime=0)

"""A dataset as a folder to share: labels, and the complete description of how they were made.

::

    pyr14bf4-pbe-d3/
      manifest.json        method, versions, units, counts, and the SHA-256 of every other file; written last
      study.toml           the study that made it
      training.xyz.gz      accepted labels to train on: extended XYZ under the keys of :mod:`ilforge.frames`
      validation.xyz.gz    accepted labels to validate on
      rejected.xyz.gz      frames whose labels were refused, with the reason; only if there are any

A study that names such a folder trains on it and needs no reference program. :mod:`ase` and MACE can read the files
directly.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import canonical, files, frames
from ilforge.errors import SettingsError
from ilforge.folders import claim
from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.datasets.dataset import parent_of
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.labels import Label
from ilforge.liquid.topology import Topology
from ilforge.settings import require_choice

PURPOSES = ("training", "validation")
MANIFEST, STUDY = "manifest.json", "study.toml"
_REJECTED, _FRAMES = "rejected", ".xyz.gz"
_FORMAT, _VERSION = "ilforge dataset", 1
# keys of info that belong to the label, not to the frame
_OF_LABELS = (
    "cost_s",
    "converged",
    "error",
    "rejected",
    "purpose",
)
UNITS = {
    "positions": "Å",
    ENERGY: "eV, of the whole frame; with smeared electrons the free energy",
    FORCES: "eV/Å",
    STRESS: "eV/Å^3, Voigt xx yy zz yz xz xy, tension positive",
}


@dataclass(frozen=True, eq=False)
class Entry:
    """One label of a dataset.

    Attributes
    ----------
    label
        The frame and the results of the method.
    purpose
        ``"training"`` or ``"validation"``.
    rejected
        Why the label was refused; None if it was accepted.
    """

    label: Label
    purpose: str
    rejected: str | None = None


@dataclass(frozen=True, eq=False)
class Published:
    """A dataset on disk; :func:`open_published` opens it."""

    directory: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        found: str = self.manifest["name"]
        return found

    @property
    def method(self) -> dict[str, Any]:
        """Description of the reference potential, versions included."""
        found: dict[str, Any] = self.manifest["method"]
        return found

    @property
    def versions(self) -> dict[str, Any]:
        """The parts of the method that are not settings: versions of programs and of their data."""
        found: dict[str, Any] = self.manifest["versions"]
        return found

    @property
    def isolated_atoms(self) -> dict[str, float]:
        """Energies of isolated atoms by the same method, by element, eV; empty if they were not computed."""
        found: dict[str, float] = self.manifest["isolated_atoms_eV"]
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest. It covers the frames, but not the study file, whose text may change."""
        held = {name: digest for name, digest in self.manifest["files"].items() if name != STUDY}
        return canonical.digest({**self.manifest, "files": held})

    def counts(self, purpose: str, ions: str | None = None) -> dict[str, int]:
        """Numbers of accepted labels by ``"kind/recipe"``, of one composition or of all."""
        total: Counter[str] = Counter()
        for label, rows in self.manifest["sets"][purpose].items():
            total.update(rows if ions in (None, label) else {})
        return dict(sorted(total.items()))

    def smallest_side_A(self, ions: str) -> float:
        """Shortest side of all boxes of a composition, Å; it limits the cutoff of force fields."""
        found: float = self.manifest["smallest_side_A"][ions]
        return found

    @property
    def compositions(self) -> tuple[str, ...]:
        """Compositions of the frames, such as ``"2 PYR14, 2 BF4"``."""
        return tuple(sorted({label for rows in self.manifest["sets"].values() for label in rows}))

    def entries(self, purposes: Sequence[str] = PURPOSES) -> list[Entry]:
        """All labels with these purposes, including rejected ones.

        Raises
        ------
        SettingsError
            When a file does not agree with the manifest.
        """
        self.require_whole()
        found = []
        for stem in (*purposes, _REJECTED):
            if f"{stem}{_FRAMES}" not in self.manifest["files"]:
                continue
            for frame in frames.read(self.directory / f"{stem}{_FRAMES}"):
                purpose = frame.info.get("purpose", stem)
                if purpose in purposes:
                    found.append(Entry(self._label(frame), purpose, frame.info.get("rejected")))
        return found

    def frames(self, purpose: str) -> list[Atoms]:
        """Accepted frames for ``"training"`` or ``"validation"`` with their labels, under the keys of `ilforge.frames`.

        Raises
        ------
        SettingsError
            When a file does not agree with the manifest, or the purpose is unknown.
        """
        require_choice("purpose", purpose, PURPOSES)
        chosen = (entry.label for entry in self.entries([purpose]) if entry.rejected is None)
        return [label.on(label.frame) for label in chosen]

    def require_whole(self) -> None:
        """Compare every file with its digest.

        Raises
        ------
        SettingsError
            When a file is missing, or was changed.
        """
        for name, expected in self.manifest["files"].items():
            try:
                found = files.file_digest(self.directory / name)
            except OSError as error:
                raise SettingsError(f"{self.directory / name} cannot be read: {error.strerror}.") from error
            if found != expected:
                raise SettingsError(
                    f"{self.directory / name} does not agree with {MANIFEST} (SHA-256 differs): it was edited or "
                    "damaged. Get the folder again, or export it again from its study."
                )

    def _label(self, frame: Atoms) -> Label:
        bare = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
        bare.info = {k: v for k, v in frame.info.items() if k not in _OF_LABELS and not k.startswith("REF_")}
        return Label(
            frame=bare,
            method=self.method,
            energy=frame.info.get(ENERGY),
            forces=frame.arrays.get(FORCES),
            stress=frame.info.get(STRESS),
            converged=bool(frame.info["converged"]),
            error=frame.info.get("error"),
            cost_s=float(frame.info["cost_s"]),
            host=f"dataset {self.name}",
            time=float(self.manifest["finished"]),
        )


def is_published(directory: Path) -> bool:
    """Whether a folder is such a dataset."""
    return _manifest_in(Path(directory)) is not None


def _manifest_in(directory: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        return manifest if manifest["format"].startswith(_FORMAT) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def open_published(directory: Path) -> Published:
    """Open the dataset in a folder; its files are compared with their digests when they are read.

    Raises
    ------
    SettingsError
        When there is no dataset, or this version cannot read it.
    """
    directory = Path(directory)
    manifest = _manifest_in(directory)
    if manifest is None:
        raise SettingsError(
            f"There is no dataset in {directory}: expected {MANIFEST} and the files that "
            "`ilforge export-labels STUDY --format dataset` writes."
        )
    if manifest["format"] != f"{_FORMAT} {_VERSION}":
        raise SettingsError(f"{directory} has an unknown format, {manifest['format']}: upgrade ilforge.")
    return Published(directory, manifest)


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
        "format": f"{_FORMAT} {_VERSION}",
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
    sets = {**_accepted(entries), **({_REJECTED: rejected} if rejected else {})}
    return {f"{stem}{_FRAMES}": _packed([_frame(entry) for entry in members]) for stem, members in sets.items()}


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

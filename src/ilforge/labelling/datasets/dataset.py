"""A dataset: labelled frames in a frozen split, the same for every model trained on it.

Every model sees the same training frames and the same frames for early stopping. The split is made by *parent*: all
frames from one packed box go to one side, because neighbouring frames of a trajectory on both sides would make the
early-stopping error meaningless. The side of a frame never changes: a growing dataset keeps every old frame where it
was.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge import frames as _frames
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES, STRESS

if TYPE_CHECKING:
    from ilforge.labelling.datasets.published import Published

_DECIMALS = {ENERGY: 8, FORCES: 8, STRESS: 12}  # of extended XYZ, in eV, eV/Å, eV/Å^3
_FILES = {"train": "train.xyz", "stop": "stop.xyz"}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled frames in two parts that share no parent.

    Attributes
    ----------
    train
        Frames that models learn from.
    stop
        Frames for early stopping; never the validation set.
    duplicates
        Number of frames that were dropped because the dataset already had the same structure.
    """

    train: tuple[Atoms, ...]
    stop: tuple[Atoms, ...]
    duplicates: int = 0

    @staticmethod
    def open(name: str | Path) -> Published:
        """Open a dataset that comes with ilforge, or one in a folder: frames, method and versions.

        >>> labels = Dataset.open("pyr14bf4-pbe-d3")
        >>> frames = labels.frames("training")

        Raises
        ------
        SettingsError
            When there is no such dataset.
        """
        from ilforge.labelling.datasets.shipped import open_dataset

        return open_dataset(name)

    @property
    def frames(self) -> tuple[Atoms, ...]:
        """All frames, training frames first."""
        return self.train + self.stop

    @cached_property
    def elements(self) -> tuple[str, ...]:
        """Elements of the frames, by atomic number."""
        from ase.data import chemical_symbols

        numbers = sorted({int(z) for frame in self.frames for z in np.unique(frame.numbers)})
        return tuple(chemical_symbols[z] for z in numbers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of structures, labels, parents, and the part of each frame."""
        hasher = hashlib.sha256()
        for part in _FILES:
            hasher.update(part.encode())
            for frame in getattr(self, part):
                hasher.update(_frame_bytes(frame))
        return hasher.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Contents of ``dataset.json``."""
        parts = {part: getattr(self, part) for part in _FILES}
        return {
            "digest": self.digest,
            "frames": {part: len(members) for part, members in parts.items()},
            "parents": {part: len({parent_of(f) for f in members}) for part, members in parts.items()},
            "duplicates_dropped": self.duplicates,
            "kinds": {part: _counts(members, "kind") for part, members in parts.items()},
            "recipes": {part: _counts(members, "recipe") for part, members in parts.items()},
            "ions": _counts(self.frames, "ions"),
            "elements": list(self.elements),
            "labels": census(self.frames),
            "rms_force_eV_A": _frames.rms_force([f for f in self.frames if FORCES in f.arrays]),
        }

    def extend(self, new: Iterable[Atoms], fraction: float, seed: int) -> Dataset:
        """This dataset and more frames; every old frame stays where it is.

        A new frame whose parent is known joins that parent's part; the other parents are split as in
        :func:`split`.
        """
        known = {parent_of(frame): part for part in _FILES for frame in getattr(self, part)}
        unique, dropped = _without_duplicates(new, {_frames.digest(frame) for frame in self.frames})
        strangers = [frame for frame in unique if parent_of(frame) not in known]
        for parent in _chosen_parents(strangers, fraction, seed, at_least_one=False):
            known[parent] = "stop"
        added: dict[str, list[Atoms]] = {"train": [], "stop": []}
        for frame in unique:
            added[known.get(parent_of(frame), "train")].append(frame)
        return Dataset(
            train=self.train + tuple(added["train"]),
            stop=self.stop + tuple(added["stop"]),
            duplicates=self.duplicates + dropped,
        )

    def write(self, directory: Path) -> Path:
        """Write ``train.xyz``, ``stop.xyz`` and, last, ``dataset.json``; returns the directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for part, name in _FILES.items():
            _frames.write(directory / name, getattr(self, part))
        files.write_text(directory / "dataset.json", json.dumps(self.summary(), indent=1, sort_keys=True))
        return directory

    @classmethod
    def read(cls, directory: Path) -> Dataset:
        """Read a dataset back and compare it with its digest.

        Raises
        ------
        SettingsError
            When the dataset does not exist, or was changed since it was written.
        """
        directory = Path(directory)
        try:
            summary = json.loads((directory / "dataset.json").read_text())
            digest, duplicates = summary["digest"], summary["duplicates_dropped"]
        except FileNotFoundError as error:
            raise SettingsError(f"There is no dataset in {directory}: dataset.json is missing.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"{directory / 'dataset.json'} is damaged: delete {directory}, and it will be made again."
            ) from error
        parts = {part: tuple(_frames.read(directory / name)) for part, name in _FILES.items()}
        dataset = cls(**parts, duplicates=duplicates)
        if dataset.digest != digest:
            raise SettingsError(
                f"The frames in {directory} are not those that dataset.json describes (digest differs): "
                f"a file was edited or damaged. Delete {directory}, and it will be made again."
            )
        return dataset


def split(labelled: Iterable[Atoms], fraction: float, seed: int) -> Dataset:
    """Split labelled frames by parent into training and early-stopping frames.

    About ``fraction`` of the frames of each kind goes to early stopping, by drawing whole parents with ``seed``; each
    part has at least one parent. Frames are sorted first, so the result does not depend on the order in which labels
    were finished.

    Raises
    ------
    SettingsError
        With fewer than two parents, which cannot be split.
    """
    unique, dropped = _without_duplicates(labelled, set())
    parents = {parent_of(frame) for frame in unique}
    if len(parents) < 2:
        raise SettingsError(
            f"{len(unique)} labelled frames from {len(parents)} packed box(es) cannot be split for training and "
            "early stopping, which must not share a box: sample from at least two boxes."
        )
    chosen = _chosen_parents(unique, fraction, seed, at_least_one=True)
    return Dataset(
        train=tuple(frame for frame in unique if parent_of(frame) not in chosen),
        stop=tuple(frame for frame in unique if parent_of(frame) in chosen),
        duplicates=dropped,
    )


def census(labelled: Sequence[Atoms]) -> dict[str, dict[str, int]]:
    """Number of frames that have each label, lack it, or have only zeros.

    A training program that is given a wrong name of a label may take missing labels for zeros, and train on them.
    """
    values = {
        "energy": [frame.info.get(ENERGY) for frame in labelled],
        "forces": [frame.arrays.get(FORCES) for frame in labelled],
        "stress": [frame.info.get(STRESS) for frame in labelled],
    }
    return {
        name: {
            "present": sum(value is not None for value in found),
            "missing": sum(value is None for value in found),
            "zero": sum(value is not None and not np.any(value) for value in found),
        }
        for name, found in values.items()
    }


def require_labels(dataset: Dataset, *names: str) -> None:
    """Refuse frames for training that lack a label or have only zeros in it.

    Parameters
    ----------
    names
        Labels to check: ``energy``, ``forces``, ``stress``.

    Raises
    ------
    SettingsError
        With the part, the label and the number of frames without it.
    """
    if not dataset.train or not dataset.stop:
        raise SettingsError("A dataset for training needs frames to train on and frames for early stopping.")
    for part in _FILES:
        found = census(getattr(dataset, part))
        for name in names:
            for fault in ("missing", "zero"):
                if found[name][fault]:
                    raise SettingsError(
                        f"{found[name][fault]} of {len(getattr(dataset, part))} {part} frames have "
                        f"{'no' if fault == 'missing' else 'an all-zero'} {name} label (REF_{name}). "
                        "Training would take it for a true zero: label these frames or leave them out."
                    )


def parent_of(frame: Atoms) -> str:
    """The packed box from which a frame was made; a frame that does not name one counts as its own."""
    parent = frame.info.get("parent")
    return _frames.digest(frame) if parent is None else str(parent)


def _without_duplicates(labelled: Iterable[Atoms], seen: set[str]) -> tuple[list[Atoms], int]:
    """Unique frames in canonical order with labels rounded as in files, and the number of dropped frames."""
    unique: dict[str, Atoms] = {}
    total = 0
    for frame in labelled:
        total += 1
        digest = _frames.digest(frame)
        if digest not in seen:
            unique.setdefault(digest, frame)
    order = sorted(unique, key=lambda digest: (parent_of(unique[digest]), digest))
    return [_rounded(unique[digest]) for digest in order], total - len(unique)


def _rounded(frame: Atoms) -> Atoms:
    """A copy with numbers rounded so that they do not change when they are written and read."""
    kept = Atoms(numbers=frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
    kept.info = dict(frame.info)
    if ENERGY in kept.info:
        kept.info[ENERGY] = float(np.round(kept.info[ENERGY], _DECIMALS[ENERGY]))
    if STRESS in kept.info:
        kept.info[STRESS] = np.round(np.asarray(kept.info[STRESS], dtype=float), _DECIMALS[STRESS])
    if FORCES in frame.arrays:
        kept.arrays[FORCES] = np.round(np.asarray(frame.arrays[FORCES], dtype=float), _DECIMALS[FORCES])
    return _frames.quantize(kept)


def _chosen_parents(labelled: Sequence[Atoms], fraction: float, seed: int, at_least_one: bool) -> set[str]:
    """Parents for early stopping: for each kind, as many as come closest to ``fraction`` of its frames."""
    rng = np.random.default_rng(seed)
    sizes: dict[str, Counter[str]] = {}
    home: dict[str, str] = {}
    for frame in labelled:  # a parent with frames of several kinds has the kind of its first frame
        kind = home.setdefault(parent_of(frame), str(frame.info.get("kind", "")))
        sizes.setdefault(kind, Counter())[parent_of(frame)] += 1
    chosen: set[str] = set()
    for kind in sorted(sizes):
        wanted = fraction * sum(sizes[kind].values())
        taken = 0
        for parent in rng.permutation(sorted(sizes[kind])):
            size = sizes[kind][str(parent)]
            if abs(taken + size - wanted) < abs(taken - wanted) and len(chosen) + 1 < len(home):
                chosen.add(str(parent))
                taken += size
    if at_least_one and not chosen:
        chosen.add(str(rng.choice(sorted(home))))
    return chosen


def _counts(members: Iterable[Atoms], key: str) -> dict[str, int]:
    return dict(sorted(Counter(str(frame.info.get(key, "unknown")) for frame in members).items()))


def _frame_bytes(frame: Atoms) -> bytes:
    """All data of a frame on which training depends, as bytes."""
    labels: Mapping[str, Any] = {key: frame.info.get(key) for key in (ENERGY, STRESS)}
    labels = {**labels, FORCES: frame.arrays.get(FORCES)}
    hasher = hashlib.sha256(_frames.digest(frame).encode())
    hasher.update(parent_of(frame).encode())
    for key, value in sorted(labels.items()):
        hasher.update(key.encode())
        if value is not None:
            ticks = np.rint(np.asarray(value, dtype=float) * 10.0 ** _DECIMALS[key])
            hasher.update(ticks.astype("<i8").tobytes())
    return hasher.digest()

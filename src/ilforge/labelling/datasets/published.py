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

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ase import Atoms

from ilforge import canonical, files, frames
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES, STRESS
from ilforge.labelling.labels import Label
from ilforge.settings import require_choice

PURPOSES = ("training", "validation")
MANIFEST, STUDY = "manifest.json", "study.toml"
REJECTED, FRAMES = "rejected", ".xyz.gz"
_FORMAT, _VERSION = "ilforge dataset", 1
FORMAT = f"{_FORMAT} {_VERSION}"
# keys of info that belong to the label, not to the frame
_OF_LABELS = (
    "cost_s",
    "converged",
    "error",
    "rejected",
    "purpose",
)


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
        for stem in (*purposes, REJECTED):
            if f"{stem}{FRAMES}" not in self.manifest["files"]:
                continue
            for frame in frames.read(self.directory / f"{stem}{FRAMES}"):
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
                    f"{self.directory / name} does not agree with {MANIFEST} (its SHA-256 differs): it was edited or "
                    "damaged. Download the folder again, or export it again from its study."
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
    if manifest["format"] != FORMAT:
        raise SettingsError(
            f"{directory} has the format {manifest['format']}, which this version of ilforge does not know: upgrade "
            "ilforge."
        )
    return Published(directory, manifest)

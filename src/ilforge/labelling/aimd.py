"""AIMD with the reference method: short NVT runs in which every step is a labelled frame.

The forces that move the atoms are those of the labels: at every step the frame is rounded to the resolution of stored
frames, labelled like any other frame, and handed over at once. Therefore no frame of a run is computed twice, and a
killed run needs no checkpoint: it repeats its steps exactly with the labels that it has kept, and continues after the
last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ilforge import dynamics, files, frames, potentials
from ilforge.dynamics.motion import Exploded
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.inbox import SUFFIX, decode, deliver, encode, name_of
from ilforge.labelling.storing.state import with_state
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.sampling.frame import make_frame

_SAME_A = 2e-6  # tolerance for two positions rounded to 1e-6 Å whose last digit differs between machines


@dataclass(frozen=True)
class AimdRun:
    """The result of a run.

    Attributes
    ----------
    labels
        Labels in order of time, the start first; the last may be a failure.
    computed
        Number of labels that this call computed; the others existed already.
    fault
        Why the run ended early, or None.
    """

    labels: tuple[Label, ...]
    computed: int
    fault: str | None = None


def run_aimd(
    start: Atoms,
    spec: Mapping[str, Any],
    liquid: Liquid,
    *,
    n_frames: int,
    temperature_K: float,
    timestep_fs: float,
    seed: int,
    directory: Path,
    threads: int = 1,
    inbox: Path | None = None,
    known: Path | None = None,
) -> AimdRun:
    """Run NVT dynamics with the reference method, and keep every step as a label.

    The ASE engine moves the atoms (Langevin BAOAB, 1/ps); the initial velocities are drawn from the seed at the set
    temperature. The run ends if the method fails at a step or the motion explodes; the labels before are kept.

    Parameters
    ----------
    start
        The first frame of the run.
    spec
        The reference potential, for :func:`ilforge.potentials.create`.
    n_frames
        Number of labels, including the start: ``n_frames - 1`` steps.
    timestep_fs
        Time between two labels, fs.
    directory
        Folder for the labels of the run while it runs; a killed run continues when called again with the same
        arguments.
    inbox
        Folder to which every label is delivered as soon as it is computed; None delivers none.
    known
        Folder filled by :func:`hand_out`; its labels of this run, or of a shorter one, are not computed again.
    """
    if n_frames < 2:
        raise SettingsError(f"An AIMD run needs at least 2 frames, including the start, but {n_frames} were requested.")
    source = _Labelled(start, spec, liquid, timestep_fs, seed, Path(directory), threads, inbox, known)
    protocol = MdProtocol(
        ensemble="NVT",
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        length_ps=(n_frames - 1) * timestep_fs / 1000,
        interval_ps=timestep_fs / 1000,
        seed=seed,
        constrain_hydrogens=False,
        checkpoint_steps=n_frames,  # only at the end, because the labels serve as checkpoints
    )
    fault = None
    moving = cast(potentials.Potential, source)  # only its calculator is used
    try:
        for _ in dynamics.samples(Job(moving, start, liquid.topology, protocol, threads)):
            pass
    except Exploded as error:
        fault = f"after {len(source.labels) - 1} steps of {timestep_fs:g} fs: {error.what}"
    return AimdRun(tuple(source.labels), source.computed, fault)


def hand_out(store: LabelStore, starts: Iterable[Atoms], method_digest: str, folder: Path) -> None:
    """Write labels that may be of runs from these frames into a folder, as files.

    Workers read files, and never the store: SQLite is not safe on disks that several machines share.
    """
    for parent in dict.fromkeys(start.info["parent"] for start in starts):
        for label in store.of_parent(parent, method_digest):
            _keep(folder / name_of(label.frame_digest, method_digest), label)


@dataclass
class _Labelled:
    """The reference method as a potential that stores a label for every frame that it computes."""

    start: Atoms
    spec: Mapping[str, Any]
    liquid: Liquid
    timestep_fs: float
    seed: int
    directory: Path
    threads: int
    inbox: Path | None
    known: Path | None
    labels: list[Label] = field(default_factory=list)
    computed: int = 0

    kind: ClassVar[str] = "reference"
    has_stress: ClassVar[bool] = False

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        return _LabelCalculator(self)

    def label(self, positions: np.ndarray, cell: np.ndarray) -> Label:
        """The next label of the run: an existing one of the same frame, or a new one."""
        frame = make_frame(
            positions, cell, self.start, self.liquid, self.start.info.get("kind", "EQ"), "aimd", self.seed,
            time_fs=round(len(self.labels) * self.timestep_fs, 6),
        )  # fmt: skip
        frame = with_state(frame, self.liquid)
        path = self.directory / f"{len(self.labels):06d}{SUFFIX}"
        label = _kept(path, frame, self.method_digest)
        if label is None:
            label = self._known(frame)
            if label is None:
                label = evaluate(frame, self.spec, self.threads, liquid=self.liquid)
                self.computed += 1
            _keep(path, label)
        if self.inbox is not None:  # also a kept label: the process may have died before it delivered it
            deliver(label, self.inbox)
        self.labels.append(label)
        return label

    @cached_property
    def method_digest(self) -> str:
        return potentials.digest(potentials.create(self.spec))

    def _known(self, frame: Atoms) -> Label | None:
        """The label of this frame that was handed out."""
        if self.known is None:
            return None
        label = _kept(self.known / name_of(frames.digest(frame), self.method_digest), frame, self.method_digest)
        return None if label is None else label.of(frame)


class _LabelCalculator(TypedCalculator):
    """The calculator that the engine asks for forces."""

    implemented_properties = ["energy", "forces"]  # an attribute that ASE requires

    def __init__(self, source: _Labelled):
        super().__init__()
        self._source = source

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        assert self.atoms is not None
        label = self._source.label(self.atoms.positions, self.atoms.cell.array)
        if label.cut_short:  # the run has not ended: the next attempt continues from the kept labels
            raise DidNotFinish(f"AIMD stopped at step {len(self._source.labels) - 1}: {label.error}")
        if label.error is not None or not label.converged:
            raise DidNotConverge(label.error or "the calculation ended before the energy had converged")
        energy, forces = label.result
        self.results = {"energy": energy, "forces": forces.copy()}


def _kept(path: Path, frame: Atoms, method_digest: str) -> Label | None:
    """The label in a file, if it is complete, was not cut short, and belongs to this frame and method."""
    try:
        label = decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if label.method_digest != method_digest or label.cut_short:
        return None
    return label if np.abs(label.frame.positions - frame.positions).max() <= _SAME_A else None


def _keep(path: Path, label: Label) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, encode(label))

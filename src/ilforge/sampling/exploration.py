"""Exploration: run MD with a committee of models, and select the frames on which its members disagree.

The deviation of a committee for one atom is the root mean square deviation of the members' forces from their mean; the
deviation of a frame is the largest one of its atoms (Zhang et al., Phys. Rev. Mater. 2019, 3, 023804). If it is small,
there is nothing to learn; if it is very large, the frame is unphysical. Frames in between are worth a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge.dynamics import Trajectory, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.errors import SettingsError
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.frame import make_frame


@dataclass(frozen=True)
class Exploration:
    """One exploration run.

    Attributes
    ----------
    frames
        Frames in order of time, kind ``EQ``, recipe ``explored``, with ``info["deviation"]``.
    deviations
        ``(n_frames,)`` largest deviation of forces, eV/Å.
    fragments
        For each frame its broken and new bonds in words, or None.
    fault
        How the run exploded, or None. The frames before the explosion are used.
    """

    frames: tuple[Atoms, ...]
    deviations: np.ndarray
    fragments: tuple[str | None, ...]
    fault: str | None = None


@dataclass(frozen=True)
class Selection:
    """Frames selected from exploration runs, and the verdicts on all frames.

    Attributes
    ----------
    frames
        Candidates to be labelled.
    accurate, candidate, failed
        Number of frames below the window, inside it, and above it or with broken molecules.
    deviations
        Deviations of all frames of all runs, eV/Å.
    """

    frames: list[Atoms]
    accurate: int
    candidate: int
    failed: int
    deviations: np.ndarray


def explore(
    committee: Potential,
    start: Atoms,
    liquid: Liquid,
    *,
    temperature_K: float,
    pressure_bar: float,
    timestep_fs: float,
    length_ps: float,
    interval_ps: float,
    seed: int,
    directory: Path,
    bond_factor: float = 1.25,
    threads: int = 1,
) -> Exploration:
    """Run NPT with the first model of the committee, and determine the deviation of every recorded frame.

    A run that explodes ends without an error. A killed run continues when called again.

    Parameters
    ----------
    committee
        A potential with ``force_deviation(atoms)``; in LAMMPS the pair style gives the deviation during the run.
    directory
        Directory of the run.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.
    """
    if not hasattr(committee, "force_deviation"):
        raise SettingsError(
            f"Exploration needs a committee of models, got a single potential of kind {committee.kind}."
        )
    protocol = MdProtocol(
        ensemble="NPT",
        temperature_K=temperature_K,
        timestep_fs=timestep_fs,
        length_ps=length_ps,
        interval_ps=interval_ps,
        seed=seed,
        pressure_bar=pressure_bar,
    )
    trajectory = run_md(committee, start, liquid, protocol, directory, threads)
    frames = _frames(trajectory, start, liquid, seed)
    deviations = trajectory.thermo()["force_deviation_eV_A"]
    deviations = np.array(
        [
            value if np.isfinite(value) else committee.force_deviation(frame)
            for value, frame in zip(deviations, frames, strict=True)
        ]
    )
    for frame, value in zip(frames, deviations, strict=True):
        frame.info["deviation"] = float(value)
    fragments = tuple(fragmentation(frame, liquid.topology, bond_factor) for frame in frames)
    fault = trajectory.fault
    return Exploration(tuple(frames), deviations, fragments, fault["message"] if fault else None)


def select(explorations: Sequence[Exploration], low: float, high: float, max_candidates: int) -> Selection:
    """Judge all frames and select at most ``max_candidates`` candidates, spread evenly over runs and time.

    Parameters
    ----------
    low, high
        Window of the deviation, eV/Å: a frame below it is accurate, inside it a candidate, above it failed. A frame
        with broken molecules is failed at any deviation.
    """
    deviations = np.concatenate([np.empty(0), *(run.deviations for run in explorations)])
    whole = np.array([fragment is None for run in explorations for fragment in run.fragments], dtype=bool)
    accurate = whole & (deviations < low)
    candidate = whole & (deviations >= low) & (deviations <= high)
    ends = np.cumsum([len(run.frames) for run in explorations])
    per_run = [np.flatnonzero(part) for part in np.split(candidate, ends[:-1])] if explorations else []
    quotas = _share([len(indices) for indices in per_run], max_candidates)
    chosen = [
        run.frames[indices[position]]
        for run, indices, quota in zip(explorations, per_run, quotas, strict=True)
        for position in _evenly(len(indices), quota)
    ]
    n_accurate, n_candidate = int(accurate.sum()), int(candidate.sum())
    return Selection(chosen, n_accurate, n_candidate, len(deviations) - n_accurate - n_candidate, deviations)


def _frames(trajectory: Trajectory, start: Atoms, liquid: Liquid, seed: int) -> list[Atoms]:
    if trajectory.info()["n_frames"] == 0:
        return []
    universe = trajectory.universe()
    return [
        make_frame(
            universe.atoms.positions.astype(float),
            np.diag(step.dimensions[:3].astype(float)),
            start,
            liquid,
            "EQ",
            "explored",
            seed,
        )
        for step in universe.trajectory
    ]


def _share(available: Sequence[int], total: int) -> list[int]:
    """Distribute ``total`` one by one, in order, among runs that still have candidates left."""
    quotas = [0] * len(available)
    while sum(quotas) < min(total, sum(available)):
        for index, limit in enumerate(available):
            if quotas[index] < limit and sum(quotas) < total:
                quotas[index] += 1
    return quotas


def _evenly(length: int, count: int) -> list[int]:
    """``count`` different indices, spread evenly over a list of this length."""
    return [int((index + 0.5) * length / count) for index in range(count)]

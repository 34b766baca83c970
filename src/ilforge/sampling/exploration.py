"""Exploration: let a committee of models move the atoms, and pick the frames it disagrees on.

The committee's deviation at a frame is the largest over atoms of the root mean square deviation of the members' forces
from their mean (Zhang et al., Phys. Rev. Mater. 2019, 3, 023804). Small means nothing to learn; very large means that
the frame is nonsense. What lies between is worth a label.
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
        In order of time, kind ``EQ``, recipe ``explored``, with ``info["deviation"]``.
    deviations
        ``(n_frames,)`` largest deviation of forces, eV/Å.
    fragments
        For each frame None, or what has become of its molecules.
    fault
        How the run exploded, or None. The frames before that count all the same.
    """

    frames: tuple[Atoms, ...]
    deviations: np.ndarray
    fragments: tuple[str | None, ...]
    fault: str | None = None


@dataclass(frozen=True)
class Selection:
    """What was picked from exploration runs, and how their frames were judged.

    Attributes
    ----------
    frames
        Candidates to be labelled.
    accurate, candidate, failed
        Number of frames below the window, inside it, and above it or with broken molecules.
    deviations
        Of all frames of all runs, eV/Å.
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
    """Move the atoms by the committee's first model at constant pressure, and judge every recorded frame.

    A run that explodes ends there, without error. A killed one goes on when called again.

    Parameters
    ----------
    committee
        A potential with ``force_deviation(atoms)``; in LAMMPS its pair style says the deviation on the way.
    directory
        Where the run is kept.
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
    """Judge all frames and pick at most ``max_candidates`` candidates, spread evenly over runs and time.

    Parameters
    ----------
    low, high
        Window of the deviation, eV/Å: below it a frame is accurate, inside a candidate, above it failed. A frame
        with broken molecules has failed whatever its deviation.
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
    """Deal ``total`` out one by one to those who still have something, in order."""
    quotas = [0] * len(available)
    while sum(quotas) < min(total, sum(available)):
        for index, limit in enumerate(available):
            if quotas[index] < limit and sum(quotas) < total:
                quotas[index] += 1
    return quotas


def _evenly(length: int, count: int) -> list[int]:
    """``count`` different positions in a list, spread over its whole length."""
    return [int((index + 0.5) * length / count) for index in range(count)]

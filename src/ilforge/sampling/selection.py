"""Selection: which explored frames are worth a label, and why the others are not.

A frame is *accurate* if the members of the committee agree on it: there is nothing to learn. It is *failed* if its
molecules are not whole, or if the members disagree so much that it is unphysical. In between it is a *candidate*. A
whole frame whose density is outside the range of the training frames is a candidate even if the members agree: they
have learned from the same frames, and can be wrong together (a model that lets a liquid boil often agrees with its
sisters on the way). Of all candidates, those that differ most from each other are labelled (:mod:`.diversity`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from ilforge.liquid.topology import Topology
from ilforge.sampling.diversity import descriptors, furthest_points, normalised
from ilforge.sampling.exploration import Exploration

ACCURATE, DEVIATION, PRESSURE, UNKNOWN_DENSITY = "accurate", "deviation", "pressure", "unknown density"
BONDS, TOO_HIGH, NOT_FINITE = "broken or new bonds", "deviation too high", "not finite"
CANDIDATES = (DEVIATION, PRESSURE, UNKNOWN_DENSITY)
"""Classes of candidates: by the deviation of forces, of pressures, and by a density that no training frame has."""
FAILURES = (BONDS, TOO_HIGH, NOT_FINITE)

_TOLERANCE = 0.02  # of a density: frames of an NPT run fluctuate by more, and nearer ones teach little
_POOL = 20  # candidates that are compared for each one that is chosen


@dataclass(frozen=True)
class Window:
    """What makes a frame a candidate.

    Attributes
    ----------
    low, high
        Deviation of forces, eV/Å: below it a frame is accurate, inside it a candidate, above it failed.
    pressure_GPa
        A frame on whose pressure the members differ by more than this is a candidate too; None for no such limit.
    densities_g_cm3
        Lowest and highest density of the training frames; None if densities are not asked about.
    note
        Where ``low`` comes from, in a sentence; empty if it was given.
    """

    low: float
    high: float
    pressure_GPa: float | None = None
    densities_g_cm3: tuple[float, float] | None = None
    note: str = ""


@dataclass(frozen=True)
class Selection:
    """Frames selected from explorations, and the verdicts on all frames.

    Attributes
    ----------
    frames
        Candidates to be labelled, in order of run and time.
    classes
        Class of every frame of every run, in order: :data:`ACCURATE`, one of :data:`CANDIDATES` or :data:`FAILURES`.
    chosen
        Indices of ``frames`` among all frames.
    deviations
        Deviations of all frames of all runs, eV/Å.
    """

    frames: list[Atoms]
    classes: list[str]
    chosen: list[int]
    deviations: np.ndarray
    explorations: Sequence[Exploration] = field(default=(), repr=False)

    @property
    def counts(self) -> Counter[str]:
        """Number of frames of each class."""
        return Counter(self.classes)

    @property
    def accurate(self) -> int:
        """Number of frames with nothing to learn."""
        return self.counts[ACCURATE]

    @property
    def candidate(self) -> int:
        """Number of candidates of all classes."""
        return sum(self.counts[name] for name in CANDIDATES)

    @property
    def failed(self) -> int:
        """Number of frames that are unphysical."""
        return sum(self.counts[name] for name in FAILURES)


def select(explorations: Sequence[Exploration], window: Window, max_candidates: int, topology: Topology) -> Selection:
    """Judge all frames and select at most ``max_candidates`` candidates.

    Each run first has an equal share, which depends on no other run, so that its labels can begin before the others
    end. What runs with fewer candidates leave over goes to all others together.
    """
    classes = [name for run in explorations for name in classify(run, window)]
    runs = np.repeat(np.arange(len(explorations)), [len(run.frames) for run in explorations])
    frames = [frame for run in explorations for frame in run.frames]
    candidates = np.flatnonzero(np.isin(np.array(classes, dtype=str), CANDIDATES))
    chosen: list[int] = []
    for run, quota in enumerate(shares_of_runs(max_candidates, len(explorations))):
        chosen += _choose(candidates[runs[candidates] == run], frames, classes, runs, topology, quota)
    left = np.setdiff1d(candidates, chosen)
    chosen += _choose(left, frames, classes, runs, topology, max_candidates - len(chosen))
    chosen.sort()
    deviations = np.concatenate([np.empty(0), *(run.deviations for run in explorations)])
    return Selection([frames[i] for i in chosen], classes, chosen, deviations, tuple(explorations))


def shares_of_runs(total: int, runs: int) -> list[int]:
    """How many of ``total`` frames each run may have whatever the others find: as equal as possible."""
    return [total // runs + (run < total % runs) for run in range(runs)]


def _choose(
    indices: np.ndarray,
    frames: Sequence[Atoms],
    classes: Sequence[str],
    runs: np.ndarray,
    topology: Topology,
    count: int,
) -> list[int]:
    """At most ``count`` of these candidates. Each class gets an equal share, as far as it suffices.

    Within a class the frames that differ most are chosen; if there are very many, from a part of them that is spread
    evenly over runs and time.
    """
    groups = [np.array([i for i in indices if classes[i] == name], dtype=int) for name in CANDIDATES]
    chosen: list[int] = []
    for group, quota in zip(groups, share([len(group) for group in groups], count), strict=True):
        pool = _spread(group, runs[group], _POOL * quota)
        chosen += _most_different(pool, frames, topology, quota)
    return chosen


def classify(run: Exploration, window: Window) -> list[str]:
    """The class of every frame of a run."""
    columns = (run.frames, run.fragments, run.deviations, run.densities, run.pressure_deviations)
    return [_class_of(*values, window) for values in zip(*columns, strict=True)]


def _class_of(
    frame: Atoms, fragments: str | None, deviation: float, density: float, pressure: float, window: Window
) -> str:
    if not np.isfinite(frame.positions).all() or not np.isfinite(deviation):
        return NOT_FINITE
    if fragments is not None:
        return BONDS
    if deviation > window.high:
        return TOO_HIGH
    if window.densities_g_cm3 is not None:
        lowest, highest = window.densities_g_cm3
        if density < lowest * (1 - _TOLERANCE) or density > highest * (1 + _TOLERANCE):
            return UNKNOWN_DENSITY
    if deviation >= window.low:
        return DEVIATION
    return PRESSURE if window.pressure_GPa is not None and pressure > window.pressure_GPa else ACCURATE


def share(available: Sequence[int], total: int) -> list[int]:
    """Distribute ``total`` among groups as evenly as their sizes allow; the first groups get what is left over."""
    quotas, left = [0] * len(available), min(total, sum(available))
    while left:
        open_groups = [index for index, limit in enumerate(available) if quotas[index] < limit]
        each = max(1, left // len(open_groups))
        for index in open_groups:
            more = min(each, available[index] - quotas[index], left)
            quotas[index] += more
            left -= more
    return quotas


def _spread(indices: np.ndarray, runs: np.ndarray, count: int) -> list[int]:
    """At most ``count`` of the indices, shared between runs and evenly spread over each."""
    per_run = [indices[runs == run] for run in np.unique(runs)]
    quotas = share([len(part) for part in per_run], count)
    return [
        int(part[int((k + 0.5) * len(part) / quota)])
        for part, quota in zip(per_run, quotas, strict=True)
        for k in range(quota)
    ]


def _most_different(pool: list[int], frames: Sequence[Atoms], topology: Topology, count: int) -> list[int]:
    if count >= len(pool):
        return pool
    if count == 0:
        return []
    points = normalised([descriptors(frames[index], topology) for index in pool])
    return [pool[position] for position in furthest_points(points, count)]

"""The dataset a study plans: starts, AIMD frames and single points of every composition, and what labels cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ilforge import potentials
from ilforge.study.load import Study
from ilforge.workflow.steps.structures import liquid_of, spec_of

MEASURED: dict[str, dict[int, float]] = {
    "GFN1-xTB (tblite)": {35: 0.34, 70: 0.9, 350: 25.0},
    "GFN2-xTB (tblite)": {35: 2.5, 70: 5.0, 350: 44.0},
    "GPAW, plane waves to 600 eV, PBE": {35: 14.4, 70: 62.6, 350: 1200.0},
    "CP2K, 400 Ry, DZVP, PBE-D3": {35: 29.0, 350: 248.0},
}
"""Core seconds of one label by number of atoms, on two cores of AMD Zen 5; CP2K starts from the last wavefunction."""


@dataclass(frozen=True)
class PlannedSet:
    """Frames that a study plans for one purpose and composition.

    Attributes
    ----------
    name
        Name of the composition, or of the liquid.
    purpose
        ``"training"`` or ``"validation"``.
    n_atoms
        Of each frame.
    eq_starts, eq_aimd, eq_single_points
        EQ frames that are sampled, that AIMD makes of some of them, and that are labelled as they are.
    neq_starts, neq_aimd, neq_single_points
        The same of nEQ frames.
    """

    name: str
    purpose: str
    n_atoms: int
    eq_starts: int
    eq_aimd: int
    eq_single_points: int
    neq_starts: int
    neq_aimd: int
    neq_single_points: int

    @property
    def eq(self) -> int:
        """EQ labels."""
        return self.eq_aimd + self.eq_single_points

    @property
    def neq(self) -> int:
        """nEQ labels."""
        return self.neq_aimd + self.neq_single_points

    @property
    def labels(self) -> int:
        """All labels."""
        return self.eq + self.neq


def planned_sets(study: Study) -> list[PlannedSet]:
    """What a study plans: for every composition the frames to train on, then for every one those to validate on.

    Frames of concurrent learning are not among them: how many there will be is found out on the way.
    """
    sampling, sets = study.settings.sampling, []
    for purpose in ("training", "validation"):
        counts = getattr(sampling, purpose)
        for part in study.parts:
            liquid = liquid_of(part)
            sets.append(
                PlannedSet(
                    name=part.composition or liquid.name,
                    purpose=purpose,
                    n_atoms=liquid.topology.n_atoms,
                    eq_starts=counts.eq_starts,
                    eq_aimd=counts.eq_aimd,
                    eq_single_points=counts.eq_single_points,
                    neq_starts=counts.neq_starts,
                    neq_aimd=counts.neq_aimd,
                    neq_single_points=counts.neq_single_points,
                )
            )
    return sets


def core_hours(study: Study, sets: Sequence[PlannedSet]) -> float:
    """Expected time of all labels by the study's own reference method, on one core, h."""
    method = potentials.create(spec_of(study, study.settings.reference))
    return sum(planned.labels * method.seconds_per_frame(planned.n_atoms) for planned in sets) / 3600


def core_hours_elsewhere(sets: Sequence[PlannedSet]) -> dict[str, float]:
    """The same by the methods that were measured, for comparison, h."""
    return {
        method: sum(planned.labels * core_seconds(method, planned.n_atoms) for planned in sets) / 3600
        for method in MEASURED
    }


def core_seconds(method: str, n_atoms: int) -> float:
    """Core seconds of one label by a method of :data:`MEASURED`: a power law between two sizes, and beyond the last."""
    sizes = sorted(MEASURED[method])
    k = min(max(1, next((i for i, size in enumerate(sizes) if size >= n_atoms), len(sizes) - 1)), len(sizes) - 1)
    small, large = sizes[k - 1], sizes[k]
    cost = MEASURED[method]
    power = math.log(cost[large] / cost[small]) / math.log(large / small)
    return cost[small] * (n_atoms / small) ** power

"""The dataset a study plans: starts, AIMD frames and single points of every composition, and what labels cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ilforge import potentials
from ilforge.potentials.quantum.costs import MEASURED, core_seconds
from ilforge.study.load import Study
from ilforge.workflow.steps.structures import liquid_of, reference_spec


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
    method = potentials.create(reference_spec(study))
    return sum(planned.labels * method.seconds_per_frame(planned.n_atoms) for planned in sets) / 3600


def core_hours_elsewhere(sets: Sequence[PlannedSet]) -> dict[str, float]:
    """The same by the methods that were measured, for comparison, h."""
    return {
        method: sum(planned.labels * core_seconds(method, planned.n_atoms) for planned in sets) / 3600
        for method in MEASURED
    }

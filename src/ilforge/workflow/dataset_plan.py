"""The dataset that a study plans: starts, AIMD frames and single points of every composition, and the cost of
labels."""

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
        Numbers of EQ frames: sampled frames, frames of AIMD runs that begin from some of them, and sampled frames that
        are labelled directly.
    neq_starts, neq_aimd, neq_single_points
        The same for nEQ frames.
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
    """The frames that a study plans: those for training of every composition, then those for validation.

    Frames of concurrent learning are not included, because their number is not known in advance.
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
    """The same time by other methods whose cost was measured, for comparison, h."""
    return {
        method: sum(planned.labels * core_seconds(method, planned.n_atoms) for planned in sets) / 3600
        for method in MEASURED
    }

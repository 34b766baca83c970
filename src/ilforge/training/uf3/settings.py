"""Hyperparameters of UF3: ``quick`` has pairs and triangles, ``pairs`` has pairs only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.settings import Positive
from ilforge.training.kind import ModelSettings

_QUICK: dict[str, Any] = {
    "bodies": 3, "cutoff_A": 6.0, "intervals": 24, "cutoff_3body_A": 3.5, "shortest_3body_A": 0.5,
    "intervals_3body": 5, "intervals_between": 8, "energy_weight": 100.0, "forces_weight": 1.0,
    "regularization": [1e-8, 1e-7, 1e-6, 1e-5],
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "quick": _QUICK,
    "pairs": {**_QUICK, "bodies": 2},
}

Intervals = Annotated[int, Field(ge=4, le=40)]  # LAMMPS cannot read the longer lines of more knots


class Uf3ModelSettings(ModelSettings):
    """Hyperparameters of UF3: splines of the distances of pairs and triangles, fitted by least squares. `preset` sets
    every key that is not given. Needs `ilforge env create uf3`."""

    presets = PRESETS
    of_the_network = frozenset(
        {"bodies", "cutoff_A", "intervals", "cutoff_3body_A", "shortest_3body_A", "intervals_3body",
         "intervals_between"}
    )  # fmt: skip

    kind: Literal["uf3"] = "uf3"
    """UF3."""
    preset: Literal["quick", "pairs"] = "quick"
    """`quick` has pairs and triangles, `pairs` has pairs only."""
    bodies: Literal[2, 3]
    """2: pairs of atoms only. 3: triangles of an atom and two neighbours, too."""
    cutoff_A: Positive
    """Cutoff of pairs, Å."""
    intervals: Intervals
    """Number of equal intervals of the splines of pairs, from 0 to the cutoff."""
    cutoff_3body_A: Positive
    """Triangles: longest distance of a neighbour from the atom in the centre, Å. The neighbours may be twice as far
    from each other."""
    shortest_3body_A: Positive
    """Triangles: shortest distance, Å. Triangles with a shorter edge add nothing."""
    intervals_3body: Intervals
    """Triangles: number of equal intervals from the centre to a neighbour."""
    intervals_between: Intervals
    """Triangles: number of equal intervals between the neighbours."""
    energy_weight: Annotated[float, Field(ge=0)]
    """Weight of the mean square error of energies per atom (eV) in the loss."""
    forces_weight: Positive
    """Weight of the mean square error of forces (eV/Å) in the loss."""
    regularization: Annotated[list[Positive], Field(min_length=1, max_length=20)]
    """Weights of the squares of the coefficients (eV) and of their second differences in the loss. Each is tried, and
    the one with the smallest loss on the early-stopping frames is kept."""
    bootstrap: bool = False
    """Fit to frames that are drawn with replacement from the training frames, as many as there are. Members of a
    committee differ only by this draw."""
    atom_energies: Literal["fit", "isolated atoms"] = "fit"
    """Zero of the energies of the model, element by element: a least-squares `fit` to the labels, or the energies of
    `isolated atoms` by the reference method (`gpaw`, or a dataset that has them)."""

    @model_validator(mode="after")
    def _members_differ(self) -> Uf3ModelSettings:
        if self.committee > 1 and not self.bootstrap:
            raise ValueError(
                f"committee is {self.committee}, but a least-squares fit does not depend on the seed, so that all "
                "members would be the same: write bootstrap = true, or leave committee out"
            )
        return self

    @model_validator(mode="after")
    def _distances_go_together(self) -> Uf3ModelSettings:
        if not self.shortest_3body_A < self.cutoff_3body_A <= self.cutoff_A:
            raise ValueError(
                f"shortest_3body_A is {self.shortest_3body_A:g}, cutoff_3body_A is {self.cutoff_3body_A:g} and "
                f"cutoff_A is {self.cutoff_A:g}: each must be smaller than the next, or the last two equal"
            )
        return self

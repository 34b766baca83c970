"""Settings of what surrounds an ion and what shape it has: clusters, shapes, transitions."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ilforge.settings import Positive, Settings


class SolvationSettings(Settings):
    """Which ligands belong to which cation."""

    cation: str = "Li"
    """Name of the ion at the centre."""
    cation_atom: str | None = None
    """Its atom that counts, by name or element; without it the only atom, or the centre of mass."""
    ligand: str = "TFSI"
    """Name of the ion around it."""
    ligand_atoms: str = "O"
    """Atoms of the ligand that coordinate, by element or name."""
    cutoff_A: Positive | None = None
    """A ligand coordinates when one of these atoms is closer than this, Å; without it the first minimum of g(r)."""
    search_A: Annotated[float, Field(ge=1.0, le=12.0)] = 4.5
    """How far g(r) is followed to find that minimum, Å."""


class ClustersSettings(SolvationSettings):
    """Solvation clusters: the ligands around each cation."""

    count_atom: str = "N"
    """Atom of the ligand for the plain count by distance, by element or name."""
    count_within_A: Positive = 6.0
    """The plain count takes every ligand with that atom closer than this, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """Fewer independent samples than this, and a population is not reported as converged."""
    pictures: Annotated[int, Field(ge=0, le=50)] = 8
    """Number of kinds of cluster, most common first, of which one example is kept."""


class CoordinateSettings(Settings):
    """A dihedral or a distance within an ion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    """Name of the coordinate."""
    smarts: str
    """SMARTS of atoms with explicit hydrogen; bonds as `-` or `~`, for trajectories know no bond orders."""
    atoms: Annotated[list[int], Field(min_length=2, max_length=4)]
    """Which atoms of the match: four for a dihedral, two for a distance, counted from 0."""

    @model_validator(mode="after")
    def _two_or_four(self) -> CoordinateSettings:
        if len(self.atoms) == 3 or len(set(self.atoms)) < len(self.atoms):
            raise ValueError("atoms: give two different ones for a distance or four for a dihedral")
        return self


class StateSettings(Settings):
    """A named shape: a range of each of some coordinates."""

    name: str
    """Name of the shape."""
    ranges: dict[str, tuple[float, float]]
    """From and to of each coordinate, in degrees from -180 to 180, or in Å. A range of angles with from above to goes
    through 180: `[120, -120]`."""


class ShapeSettings(Settings):
    """The shapes of one ion."""

    ion: str
    """Name of the ion."""
    coordinates: Annotated[list[CoordinateSettings], Field(min_length=1, max_length=6)]
    """What is measured. A SMARTS that matches several times gives the smallest distance; a dihedral must match once,
    or forwards and backwards."""
    states: Annotated[list[StateSettings], Field(min_length=1, max_length=20)]
    """Named shapes; the first that fits counts, and what fits none is `other`."""

    @model_validator(mode="after")
    def _known(self) -> ShapeSettings:
        names = [coordinate.name for coordinate in self.coordinates]
        if len(set(names)) != len(names):
            raise ValueError(f"coordinates: every one needs a name of its own, found {names}")
        for state in self.states:
            unknown = sorted(set(state.ranges) - set(names))
            if unknown or not state.ranges:
                raise ValueError(f"states: {state.name!r} needs ranges of {names}, found {sorted(state.ranges)}")
        for state, coordinate in product(self.states, self.coordinates):
            if coordinate.name in state.ranges:
                _refuse_empty(state.name, coordinate, *state.ranges[coordinate.name])
        return self


def _refuse_empty(state: str, coordinate: CoordinateSettings, low: float, high: float) -> None:
    """Refuse a range that no value can lie in."""
    found = f"states: {state!r} has {coordinate.name} from {low:g} to {high:g}"
    if len(coordinate.atoms) == 2:
        if not low < high:
            raise ValueError(f"{found}: a distance needs from below to, in Å")
        return
    if not (-180.0 <= low <= 180.0 and -180.0 <= high <= 180.0):
        raise ValueError(
            f"{found}: angles go from -180 to 180 degrees, and a range through 180 has from above to, as [120, -120]"
        )
    if low == high or (low, high) == (180.0, -180.0):
        raise ValueError(f"{found}, which holds no angle; [-180, 180] holds all, and [120, -120] goes through 180")


class ShapesSettings(Settings):
    """Shapes (conformations) of ions. TFSI and PYR14 are built in."""

    define: list[ShapeSettings] = []
    """Shapes of other ions, or other shapes of these, as `[[analysis.shapes.define]]` tables."""
    bin_degrees: Annotated[float, Field(ge=1.0, le=60.0)] = 10.0
    """Width of a bin of a dihedral, degrees."""
    bin_A: Positive = 0.1
    """Width of a bin of a distance, Å."""
    margin_degrees: Annotated[float, Field(ge=0.0, le=60.0)] = 10.0
    """A new shape counts only once every dihedral is this far within it, degrees."""
    margin_A: Annotated[float, Field(ge=0.0)] = 0.15
    """A new shape counts only once every distance is this far within it, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """Fewer independent samples than this, and a population is not reported as converged."""
    scans: list[str] = []
    """Extended XYZ files of single ions with reference energies (`REF_energy`, eV), such as a torsion scan by DFT: the
    report puts them on the maps of these ions."""


class TransitionsSettings(SolvationSettings):
    """Markov state model of how solvation clusters turn into each other."""

    states: Literal["ligands", "atoms", "shapes"] = "ligands"
    """What tells states apart: the number of `ligands`, also the number of coordinating `atoms`, or also the `shapes`
    of the ligands."""
    release_A: Annotated[float, Field(ge=0.0)] = 0.5
    """A contact, once made within the cutoff, ends only this much beyond it, Å."""
    lag_ps: Positive | None = None
    """Lag time of the model, ps; without it the shortest from which on the implied time scales are level."""
    min_population: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.01
    """Rarer states are no states of their own: a cation keeps the last one it was in."""
    min_transitions: Annotated[int, Field(ge=1)] = 10
    """Fewer transitions out of any state than this, and there is no model."""

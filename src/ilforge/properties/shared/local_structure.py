"""Settings of the structure around an ion and of its shape: clusters, shapes, transitions."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ilforge.settings import Positive, Settings


class SolvationSettings(Settings):
    """Assignment of ligands to cations."""

    cation: str = "Li"
    """Name of the ion at the centre."""
    cation_atom: str | None = None
    """Atom of the cation, by name or element, whose position is used. Default: the only atom, or the centre of mass."""
    ligand: str = "TFSI"
    """Name of the ion around it."""
    ligand_atoms: str = "O"
    """Atoms of the ligand that coordinate, by element or name."""
    cutoff_A: Positive | None = None
    """A ligand coordinates if one of these atoms is closer than this, Å. Default: the first minimum of g(r)."""
    search_A: Annotated[float, Field(ge=1.0, le=12.0)] = 4.5
    """Largest distance at which this minimum of g(r) is searched, Å."""


class ClustersSettings(SolvationSettings):
    """Solvation clusters: the ligands around each cation."""

    count_atom: str = "N"
    """Atom of the ligand for the plain count by distance, by element or name."""
    count_within_A: Positive = 6.0
    """The plain count includes every ligand whose `count_atom` is closer than this, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """With fewer independent samples, a population has not converged."""
    pictures: Annotated[int, Field(ge=0, le=50)] = 8
    """Number of kinds of cluster, most common first, for which an example is kept."""


class CoordinateSettings(Settings):
    """A dihedral or a distance within an ion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    """Name of the coordinate."""
    smarts: str
    """SMARTS with explicit hydrogen; write bonds as `-` or `~`, because trajectories have no bond orders."""
    atoms: Annotated[list[int], Field(min_length=2, max_length=4)]
    """Atoms of the match, counted from 0: four for a dihedral, two for a distance."""

    @model_validator(mode="after")
    def _two_or_four(self) -> CoordinateSettings:
        if len(self.atoms) == 3 or len(set(self.atoms)) < len(self.atoms):
            raise ValueError("atoms: give two different ones for a distance or four for a dihedral")
        return self


class StateSettings(Settings):
    """A named shape: a range for each of some coordinates."""

    name: str
    """Name of the shape."""
    ranges: dict[str, tuple[float, float]]
    """Lower and upper limit of each coordinate, in degrees from -180 to 180, or in Å. A range of angles whose lower
    limit is the larger number goes through 180: `[120, -120]`."""


class ShapeSettings(Settings):
    """The shapes of one ion."""

    ion: str
    """Name of the ion."""
    coordinates: Annotated[list[CoordinateSettings], Field(min_length=1, max_length=6)]
    """Coordinates that are measured. A SMARTS that matches several times gives the smallest distance; for a dihedral it
    must match once, or forwards and backwards."""
    states: Annotated[list[StateSettings], Field(min_length=1, max_length=20)]
    """Named shapes. The first that fits is used; a conformation outside all of them is `other`."""

    @model_validator(mode="after")
    def _known(self) -> ShapeSettings:
        names = [coordinate.name for coordinate in self.coordinates]
        if len(set(names)) != len(names):
            raise ValueError(f"coordinates: every one needs its own name, found {names}")
        for state in self.states:
            unknown = sorted(set(state.ranges) - set(names))
            if unknown or not state.ranges:
                raise ValueError(f"states: {state.name!r} needs ranges of {names}, found {sorted(state.ranges)}")
        for state, coordinate in product(self.states, self.coordinates):
            if coordinate.name in state.ranges:
                _refuse_empty(state.name, coordinate, *state.ranges[coordinate.name])
        return self


def _refuse_empty(state: str, coordinate: CoordinateSettings, low: float, high: float) -> None:
    """Refuse a range that contains no value."""
    found = f"states: {state!r} has {coordinate.name} from {low:g} to {high:g}"
    if len(coordinate.atoms) == 2:
        if not low < high:
            raise ValueError(f"{found}: the lower limit of a distance must be below the upper one, in Å")
        return
    if not (-180.0 <= low <= 180.0 and -180.0 <= high <= 180.0):
        raise ValueError(
            f"{found}: angles are -180 to 180 degrees; in a range through 180 the lower limit is larger: [120, -120]"
        )
    if low == high or (low, high) == (180.0, -180.0):
        raise ValueError(
            f"{found}, which contains no angle; [-180, 180] contains all, and [120, -120] goes through 180"
        )


class ShapesSettings(Settings):
    """Shapes (conformations) of ions. TFSI and PYR14 are built in."""

    define: list[ShapeSettings] = []
    """Shapes of other ions, or other shapes of these, as `[[analysis.shapes.define]]` tables."""
    bin_degrees: Annotated[float, Field(ge=1.0, le=60.0)] = 10.0
    """Width of a bin of a dihedral, degrees."""
    bin_A: Positive = 0.1
    """Width of a bin of a distance, Å."""
    margin_degrees: Annotated[float, Field(ge=0.0, le=60.0)] = 10.0
    """A change to a new shape counts only if every dihedral is at least this far inside its range, degrees."""
    margin_A: Annotated[float, Field(ge=0.0)] = 0.15
    """A change to a new shape counts only if every distance is at least this far inside its range, Å."""
    min_independent_samples: Annotated[float, Field(ge=2)] = 20.0
    """With fewer independent samples, a population has not converged."""
    scans: list[str] = []
    """Extended XYZ files of single ions with reference energies (`REF_energy`, eV), such as a torsion scan by DFT. The
    report shows them on the maps of these ions."""


class TransitionsSettings(SolvationSettings):
    """Markov state model of the transitions between solvation clusters."""

    states: Literal["ligands", "atoms", "shapes"] = "ligands"
    """Definition of a state: the number of `ligands`, or also the number of coordinating `atoms`, or also the `shapes`
    of the ligands."""
    release_A: Annotated[float, Field(ge=0.0)] = 0.5
    """A contact forms within the cutoff and ends only when the distance is larger than the cutoff by this much, Å."""
    lag_ps: Positive | None = None
    """Lag time of the model, ps. Default: the shortest lag above which the implied time scales are constant."""
    min_population: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.01
    """A state with a smaller population is not used: a cation in it keeps its last state."""
    min_transitions: Annotated[int, Field(ge=1)] = 10
    """If any state has fewer transitions out of it, there is no model."""

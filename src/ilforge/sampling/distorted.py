"""nEQ frames by random noise on bonds, angles and torsions, each within its bound.

No force field is needed: the molecules of a frame are distorted and stay whole. Overlapping molecules are then moved
apart as rigid bodies, which does not change their internal coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from ase import Atoms
from pydantic import Field

from ilforge.errors import DidNotConverge
from ilforge.liquid.connectivity import fragmentation, whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap, separate
from ilforge.liquid.packing import atomic_radii
from ilforge.liquid.topology import Topology
from ilforge.sampling.frame import make_frame
from ilforge.sampling.internal import InternalCoordinates, bond_angles, bond_lengths
from ilforge.sampling.kind import Drawing, SamplerKind
from ilforge.sampling.packed import relax_packed
from ilforge.settings import Count, Settings

_DRAWS = 12  # largest number of draws for a molecule that touches itself; each has smaller torsions
_CLOSEST_A = (2.4, 2.3, 2.2, 2.1, 2.0, 2.0, 2.0)  # smallest distance between molecules in each attempt, Å
_CALMER = 0.8  # factor on the noise of rings, or on torsions, after a draw that exceeded the limits
_HYDROGENS = 0.8  # factor on the radius of a hydrogen, which is half this distance
_SLACK = 0.05  # Å, allowed remaining overlap
_INSIDE_A = 2.0  # Å, smallest distance within a molecule between atoms that are three or more bonds apart


def sample_distorted(
    box: Atoms,
    liquid: Liquid,
    *,
    bond_strain: float,
    angle_deg: float,
    torsion_deg: float,
    seed: int,
    bond_factor: float,
) -> Atoms:
    """The box with all molecules distorted and without overlaps.

    Bond lengths change by at most the fraction ``bond_strain`` and bond angles by at most ``angle_deg``, both with a
    uniform distribution. The part of a molecule beyond a bond outside rings turns about it by at most ``torsion_deg``.

    Parameters
    ----------
    box
        The undistorted box.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.

    Returns
    -------
    frame
        Frame of kind ``nEQ``, recipe ``distorted``.

    Raises
    ------
    DidNotConverge
        When molecules overlap in every attempt because the box is too dense.
    """
    topology, rng = liquid.topology, np.random.default_rng(seed)
    start = whole_molecules(box.positions, box.cell.array, topology)
    turn = torsion_deg
    for closest in _CLOSEST_A:
        radii = atomic_radii(topology.symbols, closest, _HYDROGENS)
        bounds = Bounds(bond_strain, angle_deg, turn)
        distorted = Atoms(topology.symbols, distort(start, topology, bounds, rng), cell=box.cell, pbc=True)
        apart = separate(distorted, topology, radii)
        if overlap(apart, topology, radii) <= _SLACK:
            frame = make_frame(apart.positions, apart.cell.array, box, liquid, "nEQ", "distorted", seed)
            if fragmentation(frame, topology, bond_factor) is None:
                return frame
        turn *= _CALMER
    raise DidNotConverge(
        f"The distorted molecules of {liquid.label} always overlap or touch in a box with a side of "
        f"{box.cell.lengths()[0]:.2f} Å. Lower the density ratios or distorted_torsion_deg."
    )


@dataclass(frozen=True)
class Bounds:
    """Largest changes: of a bond as a fraction of its length, of angles and torsions in degrees."""

    bond: float
    angle: float
    torsion: float


def distort(positions: np.ndarray, topology: Topology, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """Positions of a box after noise on every molecule; ``(n_atoms, 3)`` Å, molecules whole."""
    moved = positions.copy()
    parts: dict[str, _Molecule] = {}
    for molecule, name in enumerate(topology.species):
        atoms = topology.atoms_of(molecule)
        if len(atoms) == 1:
            continue
        if name not in parts:
            parts[name] = _Molecule(_alone(topology, atoms))
        moved[atoms] = parts[name].distorted(positions[atoms], bounds, rng)
    return moved


@dataclass(frozen=True, eq=False)
class _Molecule:
    """One molecule, and the atoms that move when one of its bonds is stretched or turned."""

    topology: Topology

    @cached_property
    def internal(self) -> InternalCoordinates:
        return InternalCoordinates.of(self.topology)

    @cached_property
    def arms(self) -> list[tuple[int, int, np.ndarray]]:
        """For each bond outside rings: the fixed atom, the atom that moves, and all atoms that move with it."""
        found = []
        for i, j in self.topology.bonds.tolist():
            side = self._beyond(i, j)
            if i in side:
                continue  # the bond is part of a ring
            if 2 * len(side) <= self.topology.n_atoms:
                found.append((i, j, np.array(sorted(side))))
            else:
                found.append((j, i, np.array(sorted(self._beyond(j, i)))))
        return found

    @cached_property
    def rings(self) -> list[np.ndarray]:
        """For each ring atom: the atom itself and its substituents outside rings."""
        in_arms = {frozenset((stays, first)) for stays, first, _ in self.arms}
        ring_atoms = {atom for bond in self.topology.bonds.tolist() if frozenset(bond) not in in_arms for atom in bond}
        found = []
        for atom in sorted(ring_atoms):
            hanging = [side for stays, _, side in self.arms if stays == atom]
            found.append(np.concatenate([[atom], *hanging]).astype(int))
        return found

    def distorted(self, start: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
        """One molecule with noise; if it touches itself, draw again with smaller torsions."""
        for draw in range(_DRAWS):
            turns = bounds.torsion * _CALMER**draw
            found = self._with_noise(start, bounds, turns, rng)
            if self._clear(found):
                return found
        return self._with_noise(start, bounds, 0.0, rng)

    def _with_noise(self, start: np.ndarray, bounds: Bounds, torsion: float, rng: np.random.Generator) -> np.ndarray:
        """Distort rings first, then the arms; the move of an arm changes one bond and the angles at one atom."""
        from scipy.spatial.transform import Rotation

        push = rng.normal(size=(len(self.rings), 3))
        size = 0.5 * bounds.bond
        now = start.copy()
        while size > 1e-3 * bounds.bond:
            now = start.copy()
            for atoms, way in zip(self.rings, push, strict=True):
                now[atoms] += size * way
            if self._strained(start, now, bounds, 0.5):
                size *= _CALMER
            else:
                break
        room = bounds.angle - np.abs(self._angles(now) - self._angles(start)).max(initial=0.0)
        for stays, first, side in self.arms:
            axis = now[first] - now[stays]
            length = np.linalg.norm(axis)
            tilt = np.cross(axis, rng.normal(size=3))
            tilt *= np.radians(0.5 * room * np.sqrt(rng.uniform())) / np.linalg.norm(tilt)
            twist = np.radians(rng.uniform(-torsion, torsion)) * axis / length
            stretch = (self._length(start, stays, first) * (1 + bounds.bond * rng.uniform(-1, 1)) - length) / length
            bent = Rotation.from_rotvec(tilt) * Rotation.from_rotvec(twist)
            now[side] = now[stays] + bent.apply(now[side] - now[stays] + stretch * axis)
        return now

    def _strained(self, start: np.ndarray, now: np.ndarray, bounds: Bounds, share: float) -> bool:
        bonds = self.internal.bonds
        before, after = bond_lengths(start, bonds), bond_lengths(now, bonds)
        angles = np.abs(self._angles(now) - self._angles(start))
        return bool(np.any(np.abs(after / before - 1) > bounds.bond) or np.any(angles > share * bounds.angle))

    def _angles(self, positions: np.ndarray) -> np.ndarray:
        return bond_angles(positions, self.internal.angles)

    def _length(self, positions: np.ndarray, i: int, j: int) -> float:
        return float(np.linalg.norm(positions[j] - positions[i]))

    @cached_property
    def _far(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of atoms three or more bonds apart, and the distance (Å) below which they touch."""
        radii = atomic_radii(self.topology.symbols, _INSIDE_A, _HYDROGENS)
        near = np.zeros((len(radii), len(radii)), dtype=bool)
        for pairs in (self.topology.bonds, self.topology.second_neighbours):
            near[pairs[:, 0], pairs[:, 1]] = near[pairs[:, 1], pairs[:, 0]] = True
        i, j = np.nonzero(np.triu(~near, 1))
        return i, j, radii[i] + radii[j]

    def _clear(self, positions: np.ndarray) -> bool:
        """Whether no atoms three or more bonds apart touch."""
        i, j, least = self._far
        return not np.any(np.linalg.norm(positions[j] - positions[i], axis=1) < least)

    def _beyond(self, stays: int, first: int) -> set[int]:
        """Atoms connected to ``first`` after the bond to ``stays`` is cut."""
        reached, front = {first}, [first]
        while front:
            atom = front.pop()
            for i, j in self.topology.bonds.tolist():
                if atom not in (i, j) or {i, j} == {stays, first}:
                    continue
                other = j if atom == i else i
                if other not in reached:
                    reached.add(other)
                    front.append(other)
        return reached


def _alone(topology: Topology, atoms: np.ndarray) -> Topology:
    """The topology of one molecule alone."""
    first, last = int(atoms[0]), int(atoms[-1])
    inside = (topology.bonds[:, 0] >= first) & (topology.bonds[:, 0] <= last)
    molecule = int(topology.molecules[first])
    return Topology(
        topology.symbols[first : last + 1],
        topology.names[first : last + 1],
        topology.bonds[inside] - first,
        np.zeros(len(atoms), dtype=int),
        (topology.species[molecule],),
        (topology.charges[molecule],),
    )


class DistortedCounts(Settings):
    """Number of distorted frames."""

    distorted: Count = 0
    """nEQ-molecule frames with noise on bonds, angles and torsions, each from another packed box."""


class DistortedSettings(Settings):
    """How far molecules are distorted."""

    distorted_bond_strain: Annotated[float, Field(gt=0, le=0.3)] = 0.08
    """Largest relative change of a bond length in distorted frames."""
    distorted_angle_deg: Annotated[float, Field(gt=0, le=40)] = 25.0
    """Largest change of a bond angle in distorted frames, degrees."""
    distorted_torsion_deg: Annotated[float, Field(ge=0, le=180)] = 60.0
    """Largest rotation about a bond outside rings in distorted frames, degrees."""


def _draw(drawing: Drawing) -> list[Atoms]:
    keys = drawing.keys
    distorted = sample_distorted(
        relax_packed(drawing.packed, drawing.liquid, drawing.potential, keys["packed_steps"]),
        drawing.liquid,
        bond_strain=keys["distorted_bond_strain"],
        angle_deg=keys["distorted_angle_deg"],
        torsion_deg=keys["distorted_torsion_deg"],
        seed=drawing.seed,
        bond_factor=drawing.bond_factor,
    )
    return [distorted]


KIND = SamplerKind(
    "distorted", "distorted", "nEQ", DistortedCounts, _draw, DistortedSettings, uses=frozenset({"packed_steps"})
)

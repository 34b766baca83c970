"""Whole molecules in a periodic cell, moved as rigid bodies: scaled, parted, or moved out of a sphere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import centres_of_mass, nearest_images
from ilforge.liquid.overlaps import overlap, separate
from ilforge.liquid.packing import atomic_radii
from ilforge.liquid.topology import Topology

CLOSEST_A = 2.3
"""Smallest distance between atoms of different molecules, Å; more for S and P, less for hydrogens and lone cations.

MD of ionic liquids at 423 K hardly comes closer. Moving molecules apart from an overlap leaves them at this distance;
at 1.8 Å, frames with a cavity had forces of 30 eV/Å, and models that learned from them had a worse pressure."""
_HYDROGENS = 0.8  # factor on the radius of a hydrogen, which is half this distance
_CATION_A = 0.6  # radius of a monatomic cation; Li and O of MD are 1.8 Å apart
_SLACK = 0.02  # Å, the precision of separate()


@dataclass(frozen=True)
class Arrangement:
    """Positions of whole molecules in an orthorhombic periodic cell.

    Attributes
    ----------
    positions
        ``(n_atoms, 3)`` Å.
    cell
        ``(3, 3)`` Å; rows are the cell vectors.
    """

    positions: np.ndarray
    cell: np.ndarray

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return float(abs(np.linalg.det(self.cell)))


def scaled(start: Arrangement, topology: Topology, volume_A3: float) -> Arrangement:
    """Scale the centres of mass and the cell to another volume; molecules keep orientation and shape.

    Parameters
    ----------
    volume_A3
        Volume of the new cell, Å^3.
    """
    factor = (volume_A3 / start.volume) ** (1 / 3)
    centres = centres_of_mass(start.positions, topology)
    return Arrangement(start.positions + ((factor - 1) * centres)[topology.molecules], factor * start.cell)


def parted(start: Arrangement, topology: Topology, upper: np.ndarray, axis: int, gap_A: float) -> Arrangement:
    """Move some molecules up along an axis, away from all others, in a longer cell.

    The molecules move by ``gap_A``, and the cell grows by twice this length. Along the axis, the distance between the
    two groups increases by ``gap_A`` within the cell and also across its boundary.

    Parameters
    ----------
    upper
        ``(n_molecules,)`` booleans: the molecules that move. Their positions are above those of all others.
    axis
        0, 1 or 2.
    gap_A
        Width of the gap, Å.
    """
    positions, cell = start.positions.copy(), start.cell.copy()
    positions[upper[topology.molecules], axis] += gap_A
    cell[axis, axis] += 2 * gap_A
    return Arrangement(positions, cell)


def pulled_out(start: Arrangement, topology: Topology, chosen: np.ndarray) -> tuple[Arrangement, np.ndarray, int]:
    """Prepare the separation of some molecules from all others: arrangement, ``upper`` and ``axis`` for :func:`parted`.

    All molecules are moved to their images nearest to the first chosen one. The centres of the two groups are furthest
    apart along the axis.

    Parameters
    ----------
    chosen
        ``(n_molecules,)`` booleans: the molecules to separate; not all.
    """
    first, centres = int(np.flatnonzero(chosen)[0]), centres_of_mass(start.positions, topology)
    around = centres[first] + nearest_images(centres - centres[first], start.cell)
    masses = topology.molecule_masses
    away = np.average(around[chosen], axis=0, weights=masses[chosen])
    away -= np.average(around[~chosen], axis=0, weights=masses[~chosen])
    axis = int(np.argmax(np.abs(away)))
    there = Arrangement(start.positions + (around - centres)[topology.molecules], start.cell)
    return there, chosen if away[axis] > 0 else ~chosen, axis


def cut_in_two(start: Arrangement, topology: Topology, axis: int, low_A: float) -> tuple[Arrangement, np.ndarray, int]:
    """Prepare the separation of two layers of half the molecules each; returns the same as :func:`pulled_out`.

    Parameters
    ----------
    axis
        0, 1 or 2: the axis perpendicular to the layers.
    low_A
        Lower boundary of the lower layer along the axis, Å.
    """
    centres, side = centres_of_mass(start.positions, topology), start.cell[axis, axis]
    shift = np.zeros_like(centres)
    shift[:, axis] = -np.floor((centres[:, axis] - low_A) / side) * side
    heights = (centres + shift)[:, axis]
    upper = np.zeros(topology.n_molecules, dtype=bool)
    upper[np.argsort(heights)[topology.n_molecules // 2 :]] = True
    return Arrangement(start.positions + shift[topology.molecules], start.cell), upper, axis


def with_cavity(
    start: Arrangement, topology: Topology, radius_A: float, radii: np.ndarray, rng: np.random.Generator
) -> tuple[Arrangement, np.ndarray] | None:
    """Move and turn rigid molecules out of a sphere with a random initial position.

    Parameters
    ----------
    radius_A
        Smallest distance of any nucleus from the centre of the sphere, Å; accurate to 0.02 Å.
    radii
        ``(n_atoms,)`` Å; atoms of two molecules may not be closer than the sum of their radii.

    Returns
    -------
    arrangement, centre
        The arrangement and the final centre of the sphere, ``(3,)`` Å; None if there is no room for the sphere.
    """
    # the sphere is added as a molecule with one atom, whose radius is reduced by that of the other atoms
    with_sphere = replace(
        topology,
        symbols=(*topology.symbols, "X"),
        names=(*topology.names, "cavity"),
        molecules=np.append(topology.molecules, topology.n_molecules),
        species=(*topology.species, "cavity"),
        charges=(*topology.charges, 0),
    )
    sizes = np.append(radii, radius_A - radii.min())
    place = rng.uniform(size=3) @ start.cell
    box = Atoms([*topology.symbols, "X"], np.vstack([start.positions, place]), cell=start.cell, pbc=True)
    found = _apart(box, with_sphere, sizes)
    if found is None or _nearest(found.positions[:-1], found.positions[-1], start.cell) < radius_A - _SLACK:
        return None
    return Arrangement(found.positions[:-1], start.cell), found.positions[-1]


def contact_radii(topology: Topology) -> np.ndarray:
    """Radii of atoms, ``(n_atoms,)`` Å: atoms of different molecules may not be closer than the sum of their radii."""
    cations = np.array(topology.charges)[topology.molecules] > 0
    sizes = atomic_radii(topology.symbols, CLOSEST_A, _HYDROGENS)
    return np.where(topology.monatomic & cations, _CATION_A, sizes)


def cleared(arrangement: Arrangement, topology: Topology, radii: np.ndarray) -> Arrangement | None:
    """The arrangement after overlaps were removed by moving and turning molecules; None if there is no room."""
    found = _apart(_box(arrangement, topology), topology, radii)
    return None if found is None else Arrangement(found.positions, arrangement.cell)


def is_clear(arrangement: Arrangement, topology: Topology, radii: np.ndarray) -> bool:
    """Whether no two atoms of different molecules are closer than the sum of their radii."""
    return overlap(_box(arrangement, topology), topology, radii) <= _SLACK


def _apart(box: Atoms, topology: Topology, radii: np.ndarray) -> Atoms | None:
    """The box without overlaps (unchanged if it has none); None if they cannot be removed."""
    if overlap(box, topology, radii) > _SLACK:
        box = separate(box, topology, radii)
    return box if overlap(box, topology, radii) <= _SLACK else None


def _box(arrangement: Arrangement, topology: Topology) -> Atoms:
    return Atoms(topology.symbols, arrangement.positions, cell=arrangement.cell, pbc=True)


def _nearest(positions: np.ndarray, point: np.ndarray, cell: np.ndarray) -> float:
    """Distance from a point to the nearest atom, images included, Å."""
    return float(np.linalg.norm(nearest_images(positions - point, cell), axis=1).min())

"""Find bonds that go through rings of other molecules: MD cannot undo this, and packing programs do not check it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ilforge.liquid.connectivity import neighbours, whole_molecules
from ilforge.liquid.recognition import BondGraph, as_molecule, bond_graphs
from ilforge.liquid.topology import Topology

LARGEST = 12
"""Larger rings (more atoms than this) are not checked: a chain may have room in them."""
_EDGE = 1e-9  # of an edge: overlap of neighbouring triangles, so that rounding leaves no gap between them


class Piercing(NamedTuple):
    """Atoms of a ring, and the two atoms of the bond that goes through it."""

    ring: tuple[int, ...]
    bond: tuple[int, int]

    def describe(self, topology: Topology) -> str:
        """Describe it in words: ``"the bond C7-C8 of BMIM #3 goes through the ring N1-C2-... of BMIM #1"``."""
        names = "-".join(topology.names[atom] for atom in self.ring[:-1])
        i, j = self.bond
        last = topology.describe(self.ring[-1])
        return f"the bond {topology.names[i]}-{topology.describe(j)} goes through the ring {names}-{last}"


def pierced_rings(atoms: Atoms, topology: Topology) -> list[Piercing]:
    """Find every ring with a bond through it, of another molecule or of an image of the same molecule.

    The surface of a ring consists of the triangles between its centre and each of its bonds. A bond is the straight
    line between its atoms, in the image nearest to the ring.

    Parameters
    ----------
    atoms
        Frame, periodic in all directions or in none; atoms may be in any image.
    """
    rings = rings_of(topology)
    if not rings or len(topology.bonds) == 0:
        return []
    positions = whole_molecules(atoms.positions, atoms.cell.array, topology)
    centres = np.array([positions[list(ring)].mean(axis=0) for ring in rings])
    begin, end = positions[topology.bonds[:, 0]], positions[topology.bonds[:, 1]]
    middles = 0.5 * (begin + end)
    pairs = zip(rings, centres, strict=True)
    radius = max(np.linalg.norm(positions[list(ring)] - centre, axis=1).max() for ring, centre in pairs)
    reach = radius + 0.5 * np.linalg.norm(end - begin, axis=1).max()
    found = []
    for ring, bond, shift in _close(atoms, centres, middles, reach):
        same = topology.molecules[rings[ring][0]] == topology.molecules[topology.bonds[bond, 0]]
        if same and not np.any(shift):
            continue
        offset = shift @ atoms.cell.array
        if crosses(positions[list(rings[ring])], begin[bond] + offset, end[bond] + offset):
            found.append(Piercing(rings[ring], tuple(topology.bonds[bond].tolist())))
    return found


def crosses(polygon: np.ndarray, begin: np.ndarray, end: np.ndarray) -> bool:
    """Whether the line between two points goes through a polygon ``(n, 3)``, divided into triangles at its centre.

    T. Möller and B. Trumbore, J. Graphics Tools 2, 21 (1997).
    """
    centre = polygon.mean(axis=0)
    first, second = polygon - centre, np.roll(polygon, -1, axis=0) - centre
    direction = end - begin
    normal = np.cross(direction, second)
    size = np.einsum("ij,ij->i", first, normal)
    flat = np.abs(size) < 1e-12  # the line is parallel to the triangle
    size = np.where(flat, 1.0, size)
    from_centre = begin - centre
    u = normal @ from_centre / size
    across = np.cross(from_centre, first)
    v = across @ direction / size
    along = np.einsum("ij,ij->i", across, second) / size
    inside = (u >= -_EDGE) & (v >= -_EDGE) & (u + v <= 1 + _EDGE)
    return bool(np.any(~flat & inside & (along >= 0) & (along <= 1)))


def rings_of(topology: Topology) -> list[tuple[int, ...]]:
    """Atoms of the smallest rings of all molecules, each in the order of its bonds."""
    graphs = bond_graphs(topology)
    return [
        tuple(int(start) + atom for atom in ring)
        for start, graph in zip(topology.first_atoms, graphs, strict=True)
        for ring in _rings_of_molecule(graph)
    ]


@lru_cache(maxsize=512)
def _rings_of_molecule(graph: BondGraph) -> tuple[tuple[int, ...], ...]:
    from rdkit import Chem

    rings = Chem.GetSymmSSSR(as_molecule(graph))
    return tuple(tuple(ring) for ring in rings if len(ring) <= LARGEST)


def _close(atoms: Atoms, centres: np.ndarray, middles: np.ndarray, reach: float) -> list[tuple[int, int, np.ndarray]]:
    """Pairs of a ring and a bond that may meet, and the image of the bond as multiples of the cell vectors."""
    points = np.concatenate([centres, middles])
    cells_away = np.zeros_like(points)
    if atoms.pbc.any():  # the search for neighbours needs points within the cell
        cells_away = np.floor(points @ np.linalg.inv(atoms.cell.array))
        points = points - cells_away @ atoms.cell.array
    inside = Atoms(np.ones(len(points), dtype=int), points, cell=atoms.cell, pbc=atoms.pbc)
    i, j, shifts = neighbours(inside, "ijS", reach)
    keep = (i < len(centres)) & (j >= len(centres))
    shifts = shifts + cells_away[i] - cells_away[j]
    return list(zip(i[keep].tolist(), (j[keep] - len(centres)).tolist(), shifts[keep], strict=True))

"""Ions in a vacuum for GROMACS, which knows only periodic boxes: one so large, and cutoffs so long, that it is none.

All pairs of atoms have to be within the cutoff, and no atom may come that near to an image of another. A molecule can
never be longer than its longest chain of bonds. Nothing holds several ions together, so each frame is looked at.
"""

from __future__ import annotations

import numpy as np

from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology

_STRETCH = 1.3
"""Longest bond over the sum of covalent radii; 1.1 is usual for a bond at rest."""

_APART = 10.0
"""How much farther than at the start several ions may go, Å."""

_MARGIN = 1.0
"""Å left between the cutoff and half of the box, and what a molecule moves between two looks."""


def box(job: Job) -> np.ndarray:
    """The box that a job is run in, ``(3, 3)`` Å: its own or, in a vacuum, one that holds it without its images."""
    return job.cell if job.periodic else 2 * (reach(job) + _MARGIN) * np.eye(3)


def shift(job: Job) -> np.ndarray:
    """What is added to positions for GROMACS, ``(3,)`` Å: nothing in a box.

    In a vacuum it brings the ions near the origin but clear of the faces of the box: there single precision resolves
    positions best, and atoms put back through a face would be known less well than those beside them.
    """
    return np.zeros(3) if job.periodic else reach(job) / 2 - job.start_positions.mean(axis=0)


def reach(job: Job) -> float:
    """Distance that no two atoms of ions in a vacuum may exceed, Å: the cutoff."""
    from scipy.spatial.distance import pdist

    longest = longest_chain(job.topology)
    if job.topology.n_molecules == 1:
        return longest + _MARGIN
    return max(float(pdist(job.start_positions).max()), longest) + _APART


def longest_chain(topology: Topology) -> float:
    """Length of the longest of the shortest ways along stretched bonds between two atoms of a molecule, Å."""
    from ase.data import atomic_numbers, covalent_radii
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    radii = covalent_radii[[atomic_numbers[symbol] for symbol in topology.symbols]]
    i, j = topology.bonds.T
    graph = coo_array((_STRETCH * (radii[i] + radii[j]), (i, j)), shape=(topology.n_atoms, topology.n_atoms))
    ways = shortest_path(graph, directed=False)
    return float(ways[np.isfinite(ways)].max())


def check(job: Job, positions: np.ndarray) -> None:
    """Refuse to go on when ions in a vacuum are too far apart for the cutoff; ``(n_atoms, 3)`` Å."""
    from scipy.spatial.distance import pdist

    if job.periodic or job.topology.n_molecules == 1 or not np.isfinite(positions).all():
        return
    found, limit = float(pdist(positions).max()), reach(job) - _MARGIN
    if found > limit:
        raise SettingsError(
            f"The ions have gone apart in the vacuum, to {found:.1f} Å: GROMACS, which has no simulation without "
            f"cutoffs, was given {limit:.1f} Å, {_APART - _MARGIN:g} Å more than they had at the start. OpenMM has no "
            "such limit: leave engine = gromacs out."
        )

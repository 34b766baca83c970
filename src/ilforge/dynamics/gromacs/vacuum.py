"""Ions in a vacuum for GROMACS, which has only periodic boxes: a box so large that images do not interact.

All pairs of atoms must be within the cutoff, and no atom may be within the cutoff of an image of another. A molecule
cannot be longer than its longest chain of bonds. Several ions may drift apart, so their distance is checked in each
frame.
"""

from __future__ import annotations

import numpy as np

from ilforge.dynamics.simulation import Job
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology

_STRETCH = 1.3
"""Longest allowed bond over the sum of covalent radii; 1.1 is usual at the equilibrium length."""

_APART = 10.0
"""Allowed increase of the largest distance within several ions since the start, Å."""

_MARGIN = 1.0
"""Margin between the cutoff and half of the box, Å; more than a molecule moves between two checks."""


def box(job: Job) -> np.ndarray:
    """The box of a job, ``(3, 3)`` Å: its own or, in a vacuum, one so large that images do not interact."""
    return job.cell if job.periodic else 2 * (reach(job) + _MARGIN) * np.eye(3)


def shift(job: Job) -> np.ndarray:
    """Shift of positions for GROMACS, ``(3,)`` Å; zero in a box.

    In a vacuum the ions are moved near the origin, where single precision resolves positions best, but not across a
    face of the box: atoms wrapped to the opposite face would have a lower precision than their neighbours.
    """
    return np.zeros(3) if job.periodic else reach(job) / 2 - job.start_positions.mean(axis=0)


def reach(job: Job) -> float:
    """Cutoff for ions in a vacuum, Å: the largest allowed distance of two atoms."""
    from scipy.spatial.distance import pdist

    longest = longest_chain(job.topology)
    if job.topology.n_molecules == 1:
        return longest + _MARGIN
    return max(float(pdist(job.start_positions).max()), longest) + _APART


def longest_chain(topology: Topology) -> float:
    """Largest possible distance of two atoms of a molecule, Å: the longest shortest path along stretched bonds."""
    from ase.data import atomic_numbers, covalent_radii
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import shortest_path

    radii = covalent_radii[[atomic_numbers[symbol] for symbol in topology.symbols]]
    i, j = topology.bonds.T
    graph = coo_array((_STRETCH * (radii[i] + radii[j]), (i, j)), shape=(topology.n_atoms, topology.n_atoms))
    ways = shortest_path(graph, directed=False)
    return float(ways[np.isfinite(ways)].max())


def check(job: Job, positions: np.ndarray) -> None:
    """Stop the run if ions in a vacuum are too far apart for the cutoff; positions ``(n_atoms, 3)`` Å."""
    from scipy.spatial.distance import pdist

    if job.periodic or job.topology.n_molecules == 1 or not np.isfinite(positions).all():
        return
    found, limit = float(pdist(positions).max()), reach(job) - _MARGIN
    if found > limit:
        raise SettingsError(
            f"The ions drifted apart in the vacuum, to a distance of {found:.1f} Å. GROMACS needs a cutoff, here "
            f"{limit:.1f} Å, which is {_APART - _MARGIN:g} Å more than their distance at the start. OpenMM has no "
            "such limit: leave engine = gromacs out."
        )

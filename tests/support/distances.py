"""Distances within molecules, which rigid movements keep."""

from __future__ import annotations

import numpy as np


def inner_distances(positions, topology):
    """Distances of all pairs of atoms of the same molecule, Å."""
    i, j = np.triu_indices(len(positions), k=1)
    same = topology.molecules[i] == topology.molecules[j]
    return np.linalg.norm(positions[i[same]] - positions[j[same]], axis=1)

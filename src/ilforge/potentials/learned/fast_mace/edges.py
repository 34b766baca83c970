"""Select the neighbours within the cutoff, with their directions and distances.

Vectors are computed from positions in double precision. Directions and inverse distances are stored in single
precision.
"""

from __future__ import annotations

import math

import numpy as np

from ilforge.compiled import compiled
from ilforge.potentials.learned.fast_mace.arrays import Edges, Pairs
from ilforge.potentials.learned.fast_mace.vectors import (
    fma,
    load,
    mul,
    reciprocal,
    root,
    spread,
    store,
    store_split,
)

TOO_CLOSE = -1
TOO_MANY = -2


@compiled
def find_edges(
    begin: int, end: int, pairs: Pairs, edges: Edges, r_max: float, r_min: float, per_step: float, most: int,
    closest: np.ndarray,
) -> int:  # fmt: skip
    """Edges of a range of atoms.

    Parameters
    ----------
    begin, end
        Atoms from ``begin`` on, without ``end``.
    r_max, r_min
        Cutoff and shortest allowed distance, Å.
    per_step
        Intervals of the splines in one Å.
    most
        Largest allowed number of neighbours of an atom.
    closest
        Gets the two atoms and their distance if one is too close, ``(3,)``.

    Returns
    -------
    int
        0, ``TOO_CLOSE`` or ``TOO_MANY``.
    """
    for i in range(begin, end):
        count, partner, square = _select(i, pairs, edges, r_max)
        if square < r_min * r_min:
            closest[0], closest[1], closest[2] = i, partner, math.sqrt(square)
            return TOO_CLOSE
        if count > most:
            return TOO_MANY
        edges.count[i] = count  # type: ignore[index]  # nobody counts in the tuple
        _measure(i * edges.room, count, edges, r_min, per_step)
    return 0


@compiled
def _select(i: int, pairs: Pairs, edges: Edges, r_max: float) -> tuple[int, int, float]:
    """Store vectors to the neighbours within the cutoff; how many there are, the nearest, and the square of its
    distance."""
    first = i * edges.room
    count = 0
    least, partner = r_max * r_max, -1
    x, y, z = pairs.positions[i, 0], pairs.positions[i, 1], pairs.positions[i, 2]
    for k in range(pairs.starts[i], pairs.starts[i + 1]):
        j = pairs.listed[k]
        s = pairs.image[k]
        dx = x - pairs.positions[j, 0] - pairs.shifts[s, 0]
        dy = y - pairs.positions[j, 1] - pairs.shifts[s, 1]
        dz = z - pairs.positions[j, 2] - pairs.shifts[s, 2]
        place = first + count
        square = dx * dx + dy * dy + dz * dz
        edges.neighbour[place] = j
        edges.neighbour_species[place] = edges.species[j]
        edges.entry[place] = k
        edges.x[place] = dx
        edges.y[place] = dy
        edges.z[place] = dz
        count += np.int64(square < r_max * r_max)  # type: ignore[assignment]  # without a branch: the next pair overwrites one beyond the cutoff
        if square < least:
            least, partner = square, j
    return count, partner, least


@compiled
def _measure(first: int, count: int, edges: Edges, r_min: float, per_step: float) -> None:
    """Turn the vectors of an atom's edges into unit vectors, inverse distances, and places in the splines."""
    per_angstrom = spread(per_step)
    origin = spread(-r_min * per_step)
    for e in range(first, first + count, 16):
        a = load(edges.x, e)
        b = load(edges.y, e)
        c = load(edges.z, e)
        r = root(fma(a, a, fma(b, b, mul(c, c))))
        q = reciprocal(r)
        store(edges.x, e, mul(a, q))
        store(edges.y, e, mul(b, q))
        store(edges.z, e, mul(c, q))
        store(edges.inverse, e, q)
        store_split(edges.bins, edges.t, e, fma(r, per_angstrom, origin))

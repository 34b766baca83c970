"""The pair repulsion of Ziegler, Biersack and Littmark, in double precision from the positions to the sums.

Atoms 0.8 Å apart push each other with hundreds of eV/Å, and in a compressed box the pushes from opposite sides nearly
cancel. In single precision each push would be rounded by up to 3e-5 eV/Å, which is more than the forces of a network
differ from those in double precision.
"""

from __future__ import annotations

import math

import numpy as np

from ilforge.compiled import compiled
from ilforge.potentials.learned.fast_mace.arrays import Edges, Pairs, State

ZBL_SHARES = (0.1818, 0.5099, 0.2802, 0.02817)
ZBL_RATES = (3.2, 0.9423, 0.4028, 0.2016)
"""Screening function of the universal repulsion: Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids
(1985)."""

_ROUNDED = 0.999999  # inverse distances are in single precision


@compiled
def pair_energy(r: float, strength: float, length: float, cutoff: float, power: float) -> tuple[float, float]:
    """Energy of a pair, and its derivative by the distance.

    The energy is ``strength / r`` times the screening function of ``r / length`` times a polynomial of ``r / cutoff``,
    which is zero at the cutoff with its first two derivatives.

    Parameters
    ----------
    r
        Distance, Å, below the cutoff.
    strength
        eV Å.
    length, cutoff
        Å.
    power
        Power of the first term of the polynomial.

    Returns
    -------
    tuple
        eV and eV/Å.
    """
    screening = 0.0
    slope = 0.0
    for k in range(len(ZBL_SHARES)):
        part = ZBL_SHARES[k] * math.exp(-ZBL_RATES[k] * r / length)
        screening += part
        slope -= ZBL_RATES[k] / length * part
    x = r / cutoff
    a = (power + 1) * (power + 2) / 2
    b = power * (power + 2)
    c = power * (power + 1) / 2
    envelope = 1 - a * x**power + b * x ** (power + 1) - c * x ** (power + 2)
    steepness = (-a * power + b * (power + 1) * x - c * (power + 2) * x * x) * x ** (power - 1) / cutoff
    pair = strength / r * screening
    return pair * envelope, strength / r * slope * envelope - pair / r * envelope + pair * steepness


@compiled
def add_repulsion(
    begin: int, end: int, member: int, slot: int, table: np.ndarray, pairs: Pairs, edges: Edges, state: State
) -> None:
    """Add the repulsion of a range of atoms to energies, forces and strain derivative.

    Parameters
    ----------
    begin, end
        Atoms from ``begin`` on, without ``end``; their energies are there already.
    member, slot
        Member of a committee, and where its forces and strain derivative are summed.
    table
        See :class:`~.network.Network`, for each member.
    """
    forces, strain = state.forces[slot], state.strain[slot]
    for i in range(begin, end):
        for e in range(i * edges.room, i * edges.room + edges.count[i]):
            cell = table[member, edges.neighbour_species[e], edges.species[i]]
            if edges.inverse[e] * cell[2] > _ROUNDED:
                state.energies[member, i] += _add_pair(i, edges.entry[e], cell, pairs, forces, strain)


@compiled
def _add_pair(i: int, k: int, cell: np.ndarray, pairs: Pairs, forces: np.ndarray, strain: np.ndarray) -> float:
    """Add forces and strain derivative of an entry of the list; its energy, eV."""
    j, shift = pairs.listed[k], pairs.shifts[pairs.image[k]]
    dx = pairs.positions[i, 0] - pairs.positions[j, 0] - shift[0]
    dy = pairs.positions[i, 1] - pairs.positions[j, 1] - shift[1]
    dz = pairs.positions[i, 2] - pairs.positions[j, 2] - shift[2]
    r = math.sqrt(dx * dx + dy * dy + dz * dz)
    if r >= cell[2]:
        return 0.0
    energy, derivative = pair_energy(r, cell[0], cell[1], cell[2], cell[3])
    x, y, z = derivative * dx / r, derivative * dy / r, derivative * dz / r
    forces[i, 0] -= x
    forces[i, 1] -= y
    forces[i, 2] -= z
    forces[j, 0] += x
    forces[j, 1] += y
    forces[j, 2] += z
    strain[0] += x * dx
    strain[1] += y * dy
    strain[2] += z * dz
    strain[3] += z * dy
    strain[4] += z * dx
    strain[5] += y * dx
    return energy

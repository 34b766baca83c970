"""Connectivity: which atoms are bonded in a frame, and whether the molecules are still intact."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ilforge.arrays import Floats, Integers
from ilforge.liquid.topology import Topology

NEVER_BONDED = ("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba")
"""Elements that occur only as monatomic cations here: close to their anions, but not bonded to them."""
_NONMETALS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
# lengths and distances in units of the covalent bond length, which is the sum of the covalent radii
_STRETCHED = 2.0  # longer: these atoms are not bonded
_SQUEEZED = 0.5  # shorter: these atoms are not bonded either
_SOUND = (0.8, 1.3)  # median bond length of positions in Å; real liquids lie far inside this range
_ALIKE = (0.8, 1.25)  # bond length over its median: vibrating bonds, all scaled by one wrong unit
_UNITS = {"nm": 0.1, "Bohr": 1 / 0.529177, "pm": 100.0}  # 1 Å in this unit
_SAME_UNIT = 1.15  # largest factor between the median and the value expected for a unit
_UNSEEN_BOND = (0.8, 1.2)  # distance of two bonded atoms, vibrations included
_FEW = 0.1  # share of all bonds
_MOST = 0.5  # share of all bonds
_AS_MANY = 0.75  # share of all bonds: S-C bonds are longer than the next constant
_BOND_A = 1.7  # Å, longest usual bond
_NAMED = 2  # broken and new bonds that a message names; all bonds of a box that fell apart would fill pages


def bond_graph(atoms: Atoms, factor: float, unbonded: np.ndarray | None = None) -> np.ndarray:
    """Bonds by distance: pairs closer than ``factor`` times the sum of their covalent radii.

    Parameters
    ----------
    atoms
        Frame, periodic or not; periodic images count, so molecules may cross the boundary.
    factor
        1.15 to 1.4 is usual. Radii of Cordero et al., Dalton Trans. 2008, 2832.
    unbonded
        ``(n_atoms,)`` booleans: further atoms without bonds, in addition to :data:`NEVER_BONDED`.

    Returns
    -------
    bonds
        ``(n_bonds, 2)`` with i <= j, sorted, each pair once; i = j is an atom bonded to its own image.
    """
    from ase.data import atomic_numbers, covalent_radii

    reach = factor * covalent_radii[atoms.numbers]
    barred = np.isin(atoms.numbers, [atomic_numbers[symbol] for symbol in NEVER_BONDED])
    reach[barred if unbonded is None else barred | unbonded] = -np.inf
    if len(atoms) == 0 or reach.max() <= 0:
        return np.empty((0, 2), dtype=np.int64)
    i, j, distance = neighbours(atoms, "ijd", 2 * float(reach.max()))
    keep = (i <= j) & (distance < reach[i] + reach[j])
    return _pairs(np.unique(i[keep].astype(np.int64) * len(atoms) + j[keep]), len(atoms))


def contacts(atoms: Atoms, topology: Topology, cutoff: float) -> tuple[np.ndarray, ...]:
    """Pairs of atoms of different molecules within ``cutoff`` (Å).

    A molecule and its own periodic image count as different. Molecules must be whole.

    Returns
    -------
    i, j, distance, vector
        ``(n_pairs,)`` indices and Å, and ``(n_pairs, 3)`` from i to j in Å; every pair occurs both ways.
    """
    i, j, distance, vector, shift = neighbours(atoms, "ijdDS", cutoff)
    apart = (topology.molecules[i] != topology.molecules[j]) | shift.any(axis=1)
    return i[apart], j[apart], distance[apart], vector[apart]


def fragmentation(atoms: Atoms, topology: Topology, factor: float) -> str | None:
    """Broken and new bonds, in words; None if each molecule has exactly the bonds of the topology.

    A bond of the topology is broken if it is longer than ``factor`` times the sum of covalent radii. Two other atoms
    closer than that have formed a bond, unless they share a neighbour: a small bond angle also brings the outer
    atoms this close. Monatomic ions form no bonds.
    """
    n = len(atoms)
    if n != topology.n_atoms:
        return f"the frame has {n} atoms, the liquid {topology.n_atoms}"
    if not np.isfinite(atoms.positions).all():
        return "positions are not finite numbers"
    broken, new = changed_bonds(atoms, topology, factor)
    if not len(broken) and not len(new):
        return None
    return _in_words(atoms, topology, broken, new)


def changed_bonds(atoms: Atoms, topology: Topology, factor: float) -> tuple[Integers, Integers]:
    """Broken and new bonds of a frame with finite positions, ``(n, 2)`` atoms each; see :func:`fragmentation`."""
    n = len(atoms)
    found = _codes(bond_graph(atoms, factor, topology.monatomic), n)
    expected = _codes(topology.bonds, n)
    new = np.setdiff1d(found, expected)
    if len(new):  # only then, because the search for 1-3 pairs takes longer than the comparison of bonds
        new = np.setdiff1d(new, _codes(topology.second_neighbours, n))
    return _pairs(np.setdiff1d(expected, found), n), _pairs(new, n)


def _in_words(atoms: Atoms, topology: Topology, broken: np.ndarray, new: np.ndarray) -> str:
    """One sentence on broken and new bonds; a new bond of a hydrogen is called a proton transfer."""
    hydrogens = {int(atom) for atom in broken.ravel() if topology.symbols[atom] == "H"}
    parted, joined = [], []
    for i, j in broken[:_NAMED]:
        length = atoms.get_distance(i, j, mic=bool(atoms.pbc.any()))
        parted.append(f"broken bond {topology.names[i]}-{topology.describe(j)} ({length:.2f} Å)")
    for i, j in new[:_NAMED]:
        partner = "its own image" if i == j else topology.describe(j)
        moved = " (proton transfer)" if hydrogens & {int(i), int(j)} else ""
        joined.append(f"new bond {topology.describe(i)} to {partner}{moved}")
    more = len(broken) + len(new) - len(parted) - len(joined)
    return "; ".join([*parted, *joined, *([f"and {more} more"] if more else [])])


def whole_molecules(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> np.ndarray:
    """Positions with whole molecules; the first atom of each molecule stays at its place.

    The bonds are followed from the first atom of each molecule, in all molecules at once. Each atom moves to its
    image nearest to the atom that it is bonded to.

    Parameters
    ----------
    positions
        ``(..., n_atoms, 3)`` Å: one frame or many.
    cell
        ``(3, 3)``, or ``(..., 3, 3)`` with one cell per frame; rows are cell vectors, Å. Bonds must be
        shorter than half the smallest height of the cell. Zeros for ions in a vacuum, whose positions do not change.

    Returns
    -------
    positions
        A copy of the same shape.
    """
    whole = np.array(positions, dtype=float)
    cell = np.asarray(cell, dtype=float)
    if not cell.any():
        return whole
    inverse = np.linalg.inv(cell)
    for parents, children in topology.bond_tree:
        step = whole[..., children, :] - whole[..., parents, :]
        images = np.rint(step @ inverse)
        whole[..., children, :] = whole[..., parents, :] + step - images @ cell
    return whole


def nearest_images(vectors: Floats, cell: Floats) -> Floats:
    """Vectors ``(n, 3)`` between atoms, Å, shortened to the image that is nearest along the axes of the cell.

    ``cell`` is ``(3, 3)``; zeros in a vacuum, where there are no images.
    """
    if not np.any(cell):
        return vectors
    return vectors - np.rint(vectors @ np.linalg.inv(cell)) @ cell


def topology_mismatch(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """How the positions contradict the bonds of the topology, in words; None if they fit.

    Positions contradict the bonds if more than a tenth of the bonds are longer than twice the sum of covalent radii
    or shorter than half of it. Then the atoms are listed in another order, or belong to other molecules. Positions
    in a wrong unit contradict them too: see :func:`other_unit`. Molecules may cross the boundary of the box.
    """
    if len(topology.bonds) == 0:
        return None
    if unit := other_unit(positions, cell, topology):
        return unit
    i, j = topology.bonds.T
    length, ratio = _bond_lengths(positions, cell, topology)
    wrong = np.flatnonzero((ratio > _STRETCHED) | (ratio < _SQUEEZED))
    if len(wrong) <= _FEW * len(length):
        return None
    worst = wrong[np.argmax(np.abs(np.log(np.maximum(ratio[wrong], 1e-9))))]  # two atoms may be at the same place
    return (
        f"{len(wrong)} of {len(length)} bonds have impossible lengths, such as {topology.describe(int(i[worst]))} to "
        f"{topology.describe(int(j[worst]))} with {length[worst]:.2g} Å"
    )


def other_unit(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """The unit of the positions, in words, if it is not Å; None if bonds have usual or very different lengths."""
    if len(topology.bonds) == 0:
        return None
    ratio = _bond_lengths(positions, cell, topology)[1]
    median = float(np.median(ratio))
    alike = (ratio > _ALIKE[0] * median) & (ratio < _ALIKE[1] * median)
    if _SOUND[0] <= median <= _SOUND[1] or np.mean(~alike) > _FEW:
        return None
    near = [unit for unit, size in _UNITS.items() if 1 / _SAME_UNIT < median / size < _SAME_UNIT]
    guess = f" but probably in {near[0]}" if near else ""
    return f"positions are not in Å{guess}: bonds are {median:.2g} times as long as usual bonds of these elements in Å"


def missing_bonds(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """The bonds that the topology lacks, in words; None if it contains nearly all bonds that the positions show.

    Bonds are missing if pairs of atoms at bonding distance that are not bonded number more than a tenth of the bonds.
    The outer atoms of an angle and a metal ion with its ligands may be this close and do not count. Overlapping
    molecules have such pairs too, but also pairs that are closer than any bond: then nothing is reported. A topology
    without any bonds is not checked.
    """
    if len(topology.bonds) == 0:
        return None
    n = topology.n_atoms
    atoms = Atoms(topology.symbols, positions, cell=cell, pbc=bool(np.any(cell)))
    metals = topology.monatomic & ~np.isin(topology.symbols, _NONMETALS)
    shorter, longer = (_codes(bond_graph(atoms, factor, metals), n) for factor in _UNSEEN_BOND)
    known = np.concatenate([_codes(topology.bonds, n), _codes(topology.second_neighbours, n)])
    unseen = _pairs(np.setdiff1d(np.setdiff1d(longer, shorter), known), n)
    overlaps = np.setdiff1d(shorter, known)
    if len(unseen) <= _FEW * len(topology.bonds) or len(overlaps) > _FEW * len(unseen):
        return None
    i, j = unseen[0]
    distance = np.linalg.norm(nearest_images(positions[[j]] - positions[[i]], cell))
    return (
        f"{len(unseen)} pairs of atoms are at bonding distance but not bonded, such as {topology.describe(int(i))} and "
        f"{topology.describe(int(j))} ({distance:.2f} Å); the topology has {len(topology.bonds)} bonds"
    )


def reordered(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> bool:
    """Whether the positions are those of the topology's atoms in another order.

    Then most bonds are far too long, although as many pairs of atoms as before are at bonding distance. Molecules that
    flew apart have no such pairs.
    """
    if len(topology.bonds) == 0 or np.mean(_bond_lengths(positions, cell, topology)[1] > _STRETCHED) < _MOST:
        return False
    atoms = Atoms(np.ones(len(positions), dtype=int), positions, cell=cell, pbc=bool(np.any(cell)))
    close = len(neighbours(atoms, "ij", _BOND_A)[0]) / 2
    return bool(close > _AS_MANY * len(topology.bonds))


def _bond_lengths(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Length of every bond, in Å and in units of the sum of covalent radii."""
    from ase.data import atomic_numbers, covalent_radii

    i, j = topology.bonds.T
    length = np.linalg.norm(nearest_images(positions[j] - positions[i], cell), axis=1)
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in topology.symbols]]
    return length, length / (radii[i] + radii[j])


def centres_of_mass(whole: Floats, topology: Topology) -> Floats:
    """Centre of mass of each molecule, ``(..., n_molecules, 3)`` Å, from whole molecules' positions.

    ``whole`` is ``(..., n_atoms, 3)`` as :func:`whole_molecules` gives it.
    """
    weighted = np.asarray(whole, dtype=float) * topology.masses[:, None]
    sums: Floats = np.add.reduceat(weighted, topology.first_atoms, axis=-2)
    found: Floats = sums / topology.molecule_masses[:, None]
    return found


def neighbours(atoms: Atoms, quantities: str, cutoff: float) -> tuple[np.ndarray, ...]:
    """Pairs of atoms within ``cutoff`` (Å), each in both directions, images included; see matscipy's
    ``neighbour_list`` for ``quantities``."""
    from matscipy.neighbours import neighbour_list

    cell = atoms.cell.complete().array  # ions in a vacuum have no cell
    found: tuple[np.ndarray, ...] = neighbour_list(
        quantities, positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=cutoff
    )
    return found


def _codes(pairs: Integers, n: int) -> Integers:
    """One integer for each pair; it does not depend on the order within the pair."""
    found: Integers = pairs.min(axis=1) * n + pairs.max(axis=1)
    return found


def _pairs(codes: Integers, n: int) -> Integers:
    return np.stack([codes // n, codes % n], axis=1)

"""Connectivity: which atoms are bonded in a frame, and whether the molecules are still what they were."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ilforge.arrays import Floats, Integers
from ilforge.liquid.topology import Topology

NEVER_BONDED = ("Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba")
"""Elements that occur only as monatomic cations here: close to their anions, but not bonded to them."""
_NONMETALS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
_STRETCHED = 2.0  # times the covalent bond length: not these bonds
_SQUEEZED = 0.5  # times the covalent bond length: none either
_SOUND = (0.8, 1.3)  # median length in covalent bond lengths: whatever has bonds and is given in Å lies far inside
_ALIKE = (0.8, 1.25)  # of the median: bonds that are all longer or shorter by one factor, and vibrate
_UNITS = {"nm": 0.1, "Bohr": 1 / 0.529177, "pm": 100.0}  # what 1 Å is in them
_SAME_UNIT = 1.15  # factor up to which a median says which unit it is
_UNSEEN_BOND = (0.8, 1.2)  # distance in covalent bond lengths: of a bond that vibrates
_FEW = 0.1  # of all bonds
_MOST = 0.5  # of all bonds
_AS_MANY = 0.75  # of all bonds; those of S to C are longer than the next
_BOND_A = 1.7
_NAMED = 2  # bonds of each sort named in a message; a box that fell apart would fill pages


def bond_graph(atoms: Atoms, factor: float, unbonded: np.ndarray | None = None) -> np.ndarray:
    """Bonds by distance: pairs closer than ``factor`` times the sum of their covalent radii.

    Parameters
    ----------
    atoms
        Frame, periodic or not; periodic images count, so molecules may cross the boundary.
    factor
        1.15 to 1.4 is usual. Radii of Cordero et al., Dalton Trans. 2008, 2832.
    unbonded
        ``(n_atoms,)`` booleans: atoms that form no bond besides those of :data:`NEVER_BONDED`.

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
    """Pairs of atoms within ``cutoff`` (Å) that are not of one and the same molecule.

    A molecule and its own periodic image count as two. Molecules must be whole.

    Returns
    -------
    i, j, distance, vector
        ``(n_pairs,)`` indices and Å, and ``(n_pairs, 3)`` from i to j in Å; every pair occurs both ways.
    """
    i, j, distance, vector, shift = neighbours(atoms, "ijdDS", cutoff)
    apart = (topology.molecules[i] != topology.molecules[j]) | shift.any(axis=1)
    return i[apart], j[apart], distance[apart], vector[apart]


def fragmentation(atoms: Atoms, topology: Topology, factor: float) -> str | None:
    """What has become of the molecules, in words; None while each has exactly the bonds of the topology.

    A bond of the topology is broken beyond ``factor`` times the sum of covalent radii. Two other atoms closer
    than that have made a new one, unless they share a neighbour: where a bond angle closes, 1-3 distances
    come that near without any chemistry. Monatomic ions make no bonds.
    """
    n = len(atoms)
    if n != topology.n_atoms:
        return f"the frame has {n} atoms, the liquid {topology.n_atoms}"
    if not np.isfinite(atoms.positions).all():
        return "positions are not finite numbers"
    found = _codes(bond_graph(atoms, factor, topology.monatomic), n)
    expected = _codes(topology.bonds, n)
    broken = _pairs(np.setdiff1d(expected, found), n)
    new = np.setdiff1d(found, expected)
    if len(new):  # rarely: finding the 1-3 pairs costs more than comparing the bonds
        new = np.setdiff1d(new, _codes(topology.second_neighbours, n))
    if not len(broken) and not len(new):
        return None
    return _in_words(atoms, topology, broken, _pairs(new, n))


def _in_words(atoms: Atoms, topology: Topology, broken: np.ndarray, new: np.ndarray) -> str:
    """One sentence on broken and new bonds; a hydrogen that changed sides is a proton transfer."""
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
    """Positions with every molecule in one piece, around the image of its first atom that is given.

    Walks the bonds from the first atom of each molecule, all molecules at once, and puts every atom at the
    image nearest to the atom it is bonded to.

    Parameters
    ----------
    positions
        ``(..., n_atoms, 3)`` Å: one frame or many.
    cell
        ``(3, 3)``, or ``(..., 3, 3)`` with one cell per frame; rows are cell vectors, Å. Bonds must be
        shorter than half the smallest height. Zeros in a vacuum, where molecules are whole as they are.

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
    """Vectors ``(n, 3)`` between atoms, each to the image that is nearest along the cell's axes, Å.

    ``cell`` is ``(3, 3)``; zeros in a vacuum, where there is only one.
    """
    if not np.any(cell):
        return vectors
    return vectors - np.rint(vectors @ np.linalg.inv(cell)) @ cell


def topology_mismatch(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """How positions contradict the bonds of the topology, in words; None when they may well belong together.

    Bonds may be stretched or cut by the boundary; it takes a tenth of them longer than twice the sum of covalent
    radii or shorter than half of it: then atoms are listed in another order, or these are other molecules. Or bonds
    are all too long by the same factor: see :func:`other_unit`.
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
    worst = wrong[np.argmax(np.abs(np.log(np.maximum(ratio[wrong], 1e-9))))]  # atoms may lie upon each other
    return (
        f"{len(wrong)} of {len(length)} bonds are no bonds, such as {topology.describe(int(i[worst]))} to "
        f"{topology.describe(int(j[worst]))} with {length[worst]:.2g} Å"
    )


def other_unit(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """That positions are in another unit than Å, in words; None when bonds are as long as bonds, or of any length."""
    if len(topology.bonds) == 0:
        return None
    ratio = _bond_lengths(positions, cell, topology)[1]
    median = float(np.median(ratio))
    alike = (ratio > _ALIKE[0] * median) & (ratio < _ALIKE[1] * median)
    if _SOUND[0] <= median <= _SOUND[1] or np.mean(~alike) > _FEW:
        return None
    near = [unit for unit, size in _UNITS.items() if 1 / _SAME_UNIT < median / size < _SAME_UNIT]
    guess = f" but, it seems, in {near[0]}" if near else ""
    return f"positions are not in Å{guess}: bonds are {median:.2g} times as long as bonds of these elements are in Å"


def missing_bonds(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> str | None:
    """That the topology lacks bonds, in words; None while it holds nearly all that positions show.

    It takes atoms at the distance of a bond that are not bonded, more than a tenth as many as there are bonds. Ends
    of an angle may come that near, and so may a metal ion and its ligands: neither counts. Molecules that overlap have
    such pairs as well, but then others that are closer still. A topology without any bond may be of anything.
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
        f"{len(unseen)} pairs of atoms are as close as bonded, and no bonds, such as {topology.describe(int(i))} to "
        f"{topology.describe(int(j))} ({distance:.2f} Å), beside {len(topology.bonds)} bonds"
    )


def reordered(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> bool:
    """Whether these are the atoms of the topology, but listed in another order.

    Most bonds are then no bonds, and still there are as many pairs of atoms at the distance of a bond; molecules that
    flew apart have none.
    """
    if len(topology.bonds) == 0 or np.mean(_bond_lengths(positions, cell, topology)[1] > _STRETCHED) < _MOST:
        return False
    atoms = Atoms(np.ones(len(positions), dtype=int), positions, cell=cell, pbc=bool(np.any(cell)))
    close = len(neighbours(atoms, "ij", _BOND_A)[0]) / 2
    return bool(close > _AS_MANY * len(topology.bonds))


def _bond_lengths(positions: np.ndarray, cell: np.ndarray, topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Length of every bond, in Å and in sums of covalent radii."""
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
    """Pairs of points within ``cutoff`` (Å), both ways, with images; quantities as matscipy's ``neighbour_list``."""
    from matscipy.neighbours import neighbour_list

    cell = atoms.cell.complete().array  # a molecule in vacuum has none
    found: tuple[np.ndarray, ...] = neighbour_list(
        quantities, positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=cutoff
    )
    return found


def _codes(pairs: Integers, n: int) -> Integers:
    """One integer for each pair, whichever of the two comes first."""
    found: Integers = pairs.min(axis=1) * n + pairs.max(axis=1)
    return found


def _pairs(codes: Integers, n: int) -> Integers:
    return np.stack([codes // n, codes % n], axis=1)

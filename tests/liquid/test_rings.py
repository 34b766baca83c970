"""Bonds that go through rings: found wherever the boundary lies, and packed anew."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from ilforge.errors import DidNotConverge
from ilforge.liquid import packing
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.liquid.rings import Piercing, crosses, pierced_rings, rings_of
from ilforge.liquid.settings import IonSettings

DEFINE = {"BENZENE": IonSettings(smiles="c1ccccc1"), "PY": IonSettings(smiles="CCCC[n+]1ccccc1")}
HEXAGON = np.array([[np.cos(t), np.sin(t), 0.0] for t in np.arange(6) * np.pi / 3]) * 1.39


@pytest.mark.parametrize(
    ("begin", "end", "through"),
    [
        ([0, 0, -0.7], [0, 0, 0.7], True),
        ([0.1, 0.2, -0.7], [0.3, -0.1, 0.7], True),
        ([0, 0, 0.1], [0, 0, 1.5], False),  # ends before it
        ([1.3, 0.2, -0.7], [1.3, -0.2, 0.7], True),  # just inside a corner
        ([1.45, 0, -0.7], [1.45, 0, 0.7], False),  # just outside
        ([1.25, 0.72, -0.7], [1.25, 0.72, 0.7], False),  # outside an edge, inside the circle of the corners
        ([-2, 0, 0.3], [2, 0, 0.3], False),  # over it
        ([-2, 0.1, 0.0], [2, 0.1, 0.0], False),  # in its plane
    ],
)
def test_a_line_and_a_hexagon(begin, end, through):
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7])
    polygon, begin, end = (turn.apply(np.array(points, dtype=float)) + 5 for points in (HEXAGON, begin, end))
    assert crosses(polygon, begin, end) is through and crosses(polygon[::-1], end, begin) is through


@pytest.mark.parametrize(
    ("ion", "sizes"),
    [("EMIM", [5]), ("PYR14", [5]), ("PY", [6]), ("BENZENE", [6]), ("TFSI", []), ("Li", [])],
)
def test_rings_of_ions(ion, sizes):
    topology = Liquid.of({ion: 2}, DEFINE, vacuum=True).topology
    rings = rings_of(topology)
    assert [len(ring) for ring in rings] == sizes * 2
    bonds = {frozenset(bond) for bond in topology.bonds.tolist()}
    for ring in rings:
        assert all(frozenset(pair) in bonds for pair in zip(ring, ring[1:] + ring[:1], strict=True))


def threaded(ion, away=0.0, shift=(0.0, 0.0, 0.0), side=14.0):
    """One ion with a ring and one BF4, a bond B-F of which goes through the ring, ``away`` Å from its centre."""
    liquid = Liquid.of({ion: 1, "BF4": 1}, DEFINE, vacuum=True)
    topology, (cation, anion) = liquid.topology, (ion.positions for ion, _ in liquid.ions)
    ring = cation[list(rings_of(topology)[0])]
    centre = ring.mean(axis=0)
    _, _, axes = np.linalg.svd(ring - centre)
    bond = anion[1] - anion[0]
    turn = Rotation.align_vectors([axes[2]], [bond])[0]
    middle = 0.5 * (anion[0] + anion[1])
    outward = (ring[0] - centre) / np.linalg.norm(ring[0] - centre)
    placed = turn.apply(anion - middle) + centre + away * outward
    positions = np.concatenate([cation, placed]) - centre + np.array(shift)
    atoms = Atoms(topology.symbols, positions, cell=[side] * 3, pbc=True)
    return atoms, topology


@pytest.mark.parametrize("ion", ["EMIM", "PYR14", "PY", "BENZENE"])
@pytest.mark.parametrize("shift", [(7, 7, 7), (0, 0, 0), (13.9, 0.2, 7), (-30, 50, 3)])
def test_a_bond_through_a_ring_is_found_across_any_boundary(ion, shift):
    atoms, topology = threaded(ion, shift=shift)
    for wrapped in (False, True):
        if wrapped:
            atoms.wrap()
        (found,) = pierced_rings(atoms, topology)
        assert set(found.bond) == set(np.flatnonzero(topology.molecules == 1)[:2].tolist())
        assert set(found.ring) == set(rings_of(topology)[0])
    assert "goes through the ring" in found.describe(topology) and "BF4 #1" in found.describe(topology)


@pytest.mark.parametrize("ion", ["EMIM", "PYR14", "PY", "BENZENE"])
def test_a_bond_beside_a_ring_goes_through_nothing(ion):
    for away in (2.0, 3.5, 7.0):
        atoms, topology = threaded(ion, away, shift=(0, 0, 0))
        assert pierced_rings(atoms, topology) == []


def test_in_a_skewed_cell_and_in_a_vacuum():
    atoms, topology = threaded("EMIM")
    atoms.set_cell([[14, 0, 0], [5, 13, 0], [-4, 6, 12]])
    atoms.wrap()
    assert len(pierced_rings(atoms, topology)) == 1
    alone, topology = threaded("EMIM")
    alone.pbc, alone.cell = False, None
    assert len(pierced_rings(alone, topology)) == 1


def test_a_chain_that_goes_through_the_ring_of_its_own_image():
    """OMIM in a cell as long as from its ring to the middle of a bond of its chain."""
    topology = Liquid.of({"OMIM": 1}, vacuum=True).topology
    (ion, _), *_ = Liquid.of({"OMIM": 1}, vacuum=True).ions
    ring = list(rings_of(topology)[0])
    centre = ion.positions[ring].mean(axis=0)
    chain = [bond for bond in topology.bonds.tolist() if not set(bond) & set(ring)]
    far = max(chain, key=lambda bond: np.linalg.norm(ion.positions[bond].mean(axis=0) - centre))
    normal = np.linalg.svd(ion.positions[ring] - centre)[2][2]
    a = ion.positions[far].mean(axis=0) - centre
    assert abs(normal @ (ion.positions[far[1]] - ion.positions[far[0]])) > 0.1, "else the bond runs along the ring"
    others = np.linalg.svd(a[None])[2][1:] * 30.0
    atoms = Atoms(topology.symbols, ion.positions, cell=np.array([a, *others]), pbc=True)
    assert any(set(found.bond) == set(far) for found in pierced_rings(atoms, topology))
    atoms.set_cell(np.array([a + 6.0 * a / np.linalg.norm(a), *others]))
    assert pierced_rings(atoms, topology) == []


@pytest.mark.program("packmol")
def test_a_packed_box_is_packed_once_more_until_no_ring_is_pierced(monkeypatch):
    liquid = Liquid.of({"EMIM": 2, "BF4": 2})
    plain = pack(liquid, 0.9, seed=1)
    assert pierced_rings(plain, liquid.topology) == []
    seen, piercing = [], Piercing((0, 1, 2, 3, 4), (40, 41))

    def twice(box, topology):
        seen.append(box.positions.copy())
        return [piercing] if len(seen) <= 2 else []

    monkeypatch.setattr(packing, "pierced_rings", twice)
    box = pack(liquid, 0.9, seed=1)
    assert len(seen) == 3 and np.array_equal(seen[2], box.positions)
    assert np.array_equal(seen[0], plain.positions) and not np.array_equal(seen[0], seen[1])
    monkeypatch.setattr(packing, "pierced_rings", lambda box, topology: [piercing])
    with pytest.raises(
        DidNotConverge, match="in which no bond goes through a ring: in the last attempt, the bond .* BF4"
    ):
        pack(liquid, 0.9, seed=1)


@pytest.mark.program("packmol")
@pytest.mark.parametrize(("ions", "density"), [({"BMIM": 6, "PF6": 6}, 1.3), ({"OMIM": 3, "Cl": 3}, 1.0)])
def test_real_boxes_have_no_pierced_ring(ions, density):
    liquid = Liquid.of(ions)
    for seed in (1, 2):
        assert pierced_rings(pack(liquid, density, seed), liquid.topology) == []

"""Noise on internal coordinates: within its bounds, whole, apart; and coordinates against independent programs."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import DidNotConverge
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap
from ilforge.liquid.packing import atomic_radii, pack
from ilforge.sampling.distorted import Bounds, distort, sample_distorted
from ilforge.sampling.internal import InternalCoordinates, bond_angles, bond_lengths, torsion_angles
from support import md

HOW = {"bond_strain": 0.08, "angle_deg": 12.0, "torsion_deg": 60.0, "bond_factor": 1.25}
PAIRS = {
    "PYR14BF4": {"PYR14": 2, "BF4": 2},
    "LiTFSI": {"LI": 1, "PYR14": 1, "TFSI": 2},
    "imidazolium": {"C4MIM": 2, "PF6": 2},
}


@pytest.fixture(scope="module", params=PAIRS)
def box(request):
    """A packed box of ions with rings, chains, a tetrahedron or octahedron, or of one atom."""
    liquid = Liquid.of(PAIRS[request.param])
    packed = pack(liquid, 0.9, seed=3)
    packed.info["parent"] = "box"
    return liquid, packed


def changes(liquid, before, after):
    """Largest relative change of a bond, change of an angle and turn of a torsion (degrees)."""
    inside = InternalCoordinates.of(liquid.topology)
    bonds = bond_lengths(after, inside.bonds) / bond_lengths(before, inside.bonds) - 1
    angles = bond_angles(after, inside.angles) - bond_angles(before, inside.angles)
    turns = torsion_angles(after, inside.torsions) - torsion_angles(before, inside.torsions)
    return bonds, angles, (turns + 180) % 360 - 180


def test_strains_stay_within_their_bounds_and_use_them(box):
    liquid, packed = box
    start = packed.positions
    for seed in range(10):
        moved = distort(start, liquid.topology, Bounds(0.08, 12.0, 60.0), np.random.default_rng(seed))
        bonds, angles, _ = changes(liquid, start, moved)
        assert np.abs(bonds).max() <= 0.08 + 1e-9 and np.abs(angles).max() <= 12.0 + 1e-6
        assert np.abs(bonds).max() > 0.06 and np.abs(angles).max() > 3.0
        assert np.std(bonds) > 0.02


def test_molecules_stay_what_they_are_and_keep_apart(box):
    liquid, packed = box
    frame = sample_distorted(packed, liquid, **HOW, seed=5)
    assert frame.info == {
        "ions": liquid.label, "kind": "nEQ", "recipe": "distorted", "seed": 5, "parent": "box",
    }  # fmt: skip
    assert fragmentation(frame, liquid.topology, 1.25) is None
    assert overlap(frame, liquid.topology, atomic_radii(liquid.topology.symbols, 2.0, 0.8)) <= 0.05
    bonds, angles, _ = changes(liquid, packed.positions, frame.positions)
    assert np.abs(bonds).max() <= 0.08 + 1e-5 and np.abs(angles).max() <= 12.0 + 1e-3
    again = sample_distorted(packed, liquid, **HOW, seed=5)
    assert frames.digest(again) == frames.digest(frame)
    assert frames.digest(sample_distorted(packed, liquid, **HOW, seed=6)) != frames.digest(frame)


def test_torsions_turn_and_leave_handedness_alone():
    liquid = Liquid.of({"PYR14": 1, "BF4": 1})
    start = np.concatenate([ion.positions for ion, _ in liquid.ions])
    moved = distort(start, liquid.topology, Bounds(1e-6, 1e-6, 40.0), np.random.default_rng(1))
    bonds, angles, turns = changes(liquid, start, moved)
    assert np.abs(bonds).max() < 1e-5 and np.abs(angles).max() < 1e-4
    assert 10.0 < np.abs(turns).max() <= 40.0 + 1e-3


def test_a_box_without_room_is_refused_in_words():
    liquid = Liquid.of({"PYR14": 2, "BF4": 2})
    packed = md.packed_box(1.3)
    packed.set_cell(0.8 * packed.cell.array, scale_atoms=False)
    with pytest.raises(DidNotConverge, match=r"overlap or touch .*distorted_torsion_deg"):
        sample_distorted(packed, liquid, **HOW, seed=1)


def test_internal_coordinates_are_those_of_ase(one_pair, topology_of):
    topology = topology_of(one_pair)
    inside, positions = InternalCoordinates.of(topology), one_pair.positions
    one_pair.pbc = False
    for i in (0, 7, 20):
        assert bond_lengths(positions, inside.bonds)[i] == pytest.approx(one_pair.get_distance(*inside.bonds[i]))
        assert bond_angles(positions, inside.angles)[i] == pytest.approx(one_pair.get_angle(*inside.angles[i]))
        turned = one_pair.get_dihedral(*inside.torsions[i]) - torsion_angles(positions, inside.torsions)[i]
        assert turned % 360 == pytest.approx(0, abs=1e-6) or turned % 360 == pytest.approx(360, abs=1e-6)


def test_numbers_of_angles_and_torsions_are_those_of_the_graph():
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    inside = InternalCoordinates.of(topology)
    degree = np.bincount(topology.bonds.ravel(), minlength=topology.n_atoms)
    assert len(inside.angles) == np.sum(degree * (degree - 1) // 2)
    i, j = topology.bonds.T
    assert len(inside.torsions) == np.sum((degree[i] - 1) * (degree[j] - 1))  # no three-membered rings

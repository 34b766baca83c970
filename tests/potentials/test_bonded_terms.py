"""Angles, torsions and distances in bonds."""

from __future__ import annotations

import numpy as np

from ilforge.potentials.classical import bonded_terms

BUTANE = np.array([[0, 1], [1, 2], [2, 3]])
RING_OF_FIVE = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])
RING_OF_THREE = np.array([[0, 1], [1, 2], [2, 0]])


def test_chain():
    assert bonded_terms.angles(BUTANE, 4) == [(0, 1, 2), (1, 2, 3)]
    assert bonded_terms.torsions(BUTANE, 4) == [(0, 1, 2, 3)]
    assert bonded_terms.pairs_by_separation(BUTANE, 4) == {
        1: [(0, 1), (1, 2), (2, 3)],
        2: [(0, 2), (1, 3)],
        3: [(0, 3)],
    }


def test_ring_has_a_torsion_about_each_bond_but_no_pair_three_bonds_apart():
    assert len(bonded_terms.angles(RING_OF_FIVE, 5)) == len(bonded_terms.torsions(RING_OF_FIVE, 5)) == 5
    separated = bonded_terms.pairs_by_separation(RING_OF_FIVE, 5)
    assert [len(separated[k]) for k in (1, 2, 3)] == [5, 5, 0]


def test_ring_of_three_has_no_torsions():
    assert bonded_terms.torsions(RING_OF_THREE, 3) == []


def test_lone_atom():
    none = np.zeros((0, 2), dtype=int)
    assert bonded_terms.angles(none, 1) == bonded_terms.torsions(none, 1) == []
    assert bonded_terms.pairs_by_separation(none, 1) == {1: [], 2: [], 3: []}

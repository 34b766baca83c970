"""What a topology knows of its molecules."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology


@pytest.fixture(scope="module")
def topology():
    return Liquid.of({"Li": 1, "PYR14": 1, "TFSI": 2}).topology


def test_tree_reaches_every_atom_once_over_real_bonds(topology):
    bonds = {tuple(bond) for bond in topology.bonds.tolist()}
    reached = set(topology.first_atoms.tolist())
    for parents, children in topology.bond_tree:
        assert set(parents.tolist()) <= reached
        assert not reached & set(children.tolist()) and len(set(children.tolist())) == len(children)
        assert all(tuple(sorted(pair)) in bonds for pair in zip(parents.tolist(), children.tolist(), strict=True))
        reached |= set(children.tolist())
    assert reached == set(range(topology.n_atoms))


def test_molecule_in_two_pieces_is_named():
    loose = Topology(("C", "O", "H"), ("C1", "O1", "H1"), np.array([[0, 1]]), np.zeros(3, int), ("CO",), (0,))
    with pytest.raises(ValueError, match="H1 of CO #1"):
        _ = loose.bond_tree


def test_second_neighbours_are_the_ends_of_angles(topology):
    bonded = np.zeros((topology.n_atoms, topology.n_atoms), dtype=int)
    i, j = topology.bonds.T
    bonded[i, j] = bonded[j, i] = 1
    expected = np.argwhere(np.triu(bonded @ bonded, 1))
    assert sorted(topology.second_neighbours.tolist()) == expected.tolist()


def test_atoms_in_words_count_molecules_of_their_kind(topology):
    assert topology.describe(0) == "Li1 of Li #1"
    assert topology.describe(31) == "C1 of TFSI #1"
    assert topology.describe(topology.n_atoms - 1) == "F6 of TFSI #2"


def test_masses_and_counts(topology):
    assert topology.atom_counts.tolist() == [1, 30, 15, 15]
    assert topology.first_atoms.tolist() == [0, 1, 31, 46]
    assert topology.molecule_masses == pytest.approx([6.94, 142.266, 280.135, 280.135], abs=2e-3)
    assert topology.masses.sum() == pytest.approx(topology.molecule_masses.sum())
    assert np.flatnonzero(topology.monatomic).tolist() == [0]
    assert topology.atom_species[[0, 1, 60]].tolist() == ["Li", "PYR14", "TFSI"]

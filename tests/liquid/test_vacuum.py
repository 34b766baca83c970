"""Ions in a vacuum: one in its own shape, a few in touch, charged or not."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.connectivity import contacts, fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum


@pytest.mark.parametrize("counts", [{"PYR14": 1}, {"Li": 1, "TFSI": 2}, {"PYR14": 2, "BF4": 2}])
def test_ions_keep_their_bonds_and_touch_without_overlap(counts):
    ions = Liquid.of(counts, vacuum=True)
    for seed in range(4):
        atoms = in_vacuum(ions, seed)
        assert not atoms.pbc.any() and not atoms.cell.array.any()
        assert fragmentation(atoms, ions.topology, 1.25) is None
        assert Liquid.of_frame(atoms) == ions
        if ions.topology.n_molecules > 1:
            nearest = contacts(atoms, ions.topology, 6.0)[2].min()
            assert 1.9 < nearest < 3.0  # Å; 2 Å for most pairs, more with S


def test_the_same_seed_gives_the_same_structure_and_another_gives_another():
    ions = Liquid.of({"PYR14": 1, "TFSI": 1}, vacuum=True)
    first, again, other = in_vacuum(ions, 1), in_vacuum(ions, 1), in_vacuum(ions, 2)
    assert np.array_equal(first.positions, again.positions)
    assert np.abs(first.positions - other.positions).max() > 0.5


def test_a_net_charge_is_for_a_vacuum_only():
    atoms = in_vacuum(Liquid.of({"TFSI": 1}, vacuum=True), 1)
    with pytest.raises(SettingsError, match=r"TFSI \(-1 each\): net charge -1, but a liquid is neutral"):
        Liquid.of({"TFSI": 1})
    atoms.cell, atoms.pbc = np.eye(3) * 30, True
    with pytest.raises(SettingsError, match="net charge -1"):
        Liquid.of_frame(atoms)

"""Rigid molecules moved apart."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap, separate


def internal_distances(atoms, topology):
    return [
        np.linalg.norm(piece[:, None] - piece[None], axis=-1)
        for piece in (atoms.positions[topology.atoms_of(m)] for m in range(topology.n_molecules))
    ]


def test_overlap_is_what_is_missing_to_the_sum_of_radii():
    liquid = Liquid.of({"Li": 1, "Cl": 1})
    atoms = Atoms("LiCl", [[0, 0, 0], [1.7, 0, 0]], cell=[20.0] * 3, pbc=True)
    assert overlap(atoms, liquid.topology, np.array([0.8, 1.2])) == pytest.approx(0.3)
    assert overlap(atoms, liquid.topology, np.array([0.8, 0.8])) == 0.0


def test_crossing_molecules_part_and_stay_rigid():
    liquid = Liquid.of({"PYR14": 1, "TFSI": 1})
    (cation, _), (anion, _) = liquid.ions
    atoms = Atoms(
        liquid.topology.symbols, np.concatenate([cation.positions, anion.positions]), cell=[11.0] * 3, pbc=True
    )
    radii = np.ones(len(atoms))
    assert overlap(atoms, liquid.topology, radii) > 1.0
    parted = separate(atoms, liquid.topology, radii)
    assert overlap(parted, liquid.topology, radii) <= 0.02
    assert overlap(atoms, liquid.topology, radii) > 1.0  # the input is not changed
    before, after = (internal_distances(frame, liquid.topology) for frame in (atoms, parted))
    for one, other in zip(before, after, strict=True):
        assert other == pytest.approx(one, abs=1e-8)


def test_atoms_in_the_very_same_place_part():
    liquid = Liquid.of({"Na": 1, "Br": 1})
    atoms = Atoms("NaBr", np.zeros((2, 3)), cell=[12.0] * 3, pbc=True)
    parted = separate(atoms, liquid.topology, np.ones(2))
    assert parted.get_distance(0, 1, mic=True) >= 2.0


def test_long_molecule_turns_away_from_its_own_image():
    liquid = Liquid.of({"OMIM": 1, "Cl": 1})
    (cation, _), _ = liquid.ions
    axis = np.linalg.svd(cation.positions - cation.positions.mean(axis=0))[2]
    along_x = cation.positions @ axis.T  # longest extent along x
    side = np.ptp(along_x[:, 0]) + 0.5
    atoms = Atoms(liquid.topology.symbols, np.concatenate([along_x, [[0.0, 6.0, 0.0]]]), cell=[side] * 3, pbc=True)
    radii = np.ones(len(atoms))
    assert overlap(atoms, liquid.topology, radii) > 1.0
    assert overlap(separate(atoms, liquid.topology, radii), liquid.topology, radii) <= 0.02


def test_nothing_moves_where_nothing_overlaps():
    liquid = Liquid.of({"Li": 1, "Cl": 1})
    atoms = Atoms("LiCl", [[0, 0, 0], [5.0, 0, 0]], cell=[20.0] * 3, pbc=True)
    assert np.array_equal(separate(atoms, liquid.topology, np.ones(2)).positions, atoms.positions)

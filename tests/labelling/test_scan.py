"""Scans of dihedrals: angles are what was asked for, relaxed lies below rigid, faults stay in their place."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from ase.build import molecule

from ilforge.errors import SettingsError
from ilforge.labelling.scan import scan_dihedrals, write_scan
from ilforge.potentials import create

ANGLES = (60.0, 120.0, 180.0)


@pytest.fixture(scope="module")
def peroxide():
    atoms = molecule("H2O2")
    oxygens, hydrogens = np.flatnonzero(atoms.numbers == 8), np.flatnonzero(atoms.numbers == 1)
    pairs = [(o, h) for o in oxygens for h in hydrogens if atoms.get_distance(o, h) < 1.2]
    bonds = np.array([tuple(oxygens), *pairs])
    (first, near), (second, far) = pairs
    return atoms, bonds, (int(near), int(first), int(second), int(far))


@pytest.fixture(scope="module")
def scans(peroxide):
    atoms, bonds, dihedral = peroxide
    calculator = create({"kind": "xtb", "method": "GFN2-xTB"}).calculator()
    return [
        scan_dihedrals(calculator, atoms, bonds, [dihedral], [ANGLES], relaxed=relaxed) for relaxed in (False, True)
    ]


def test_angles_are_those_asked_for_and_relaxing_lowers_the_energy(peroxide, scans):
    rigid, relaxed = scans
    for points in scans:
        assert [point.fault for point in points] == [None] * 3
        for point, angle in zip(points, ANGLES, strict=True):
            assert point.frame.get_dihedral(*peroxide[2]) == pytest.approx(angle, abs=0.1)
    assert all(b.energy < a.energy - 0.01 for a, b in zip(rigid, relaxed, strict=True))
    for point in relaxed:  # nothing but the dihedral is held
        along = [point.frame.get_distance(i, j) for i, j in peroxide[1]]
        assert 1.3 < max(along) < 1.6 and 0.9 < min(along) < 1.1


def test_bond_lengths_do_not_change_in_a_rigid_scan(peroxide, scans):
    atoms, bonds, _ = peroxide
    for point in scans[0]:
        for i, j in bonds:
            assert point.frame.get_distance(i, j) == pytest.approx(atoms.get_distance(i, j), abs=1e-9)


def test_the_table_has_energies_above_the_lowest_in_kj_mol(scans, tmp_path):
    write_scan(tmp_path / "scan.csv", scans[1])
    with open(tmp_path / "scan.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["dihedral_1_deg"]) for row in rows] == list(ANGLES)
    assert min(float(row["energy_kJ_mol"]) for row in rows) == 0.0
    barrier = scans[1][0].energy - min(point.energy for point in scans[1])
    assert float(rows[0]["energy_kJ_mol"]) == pytest.approx(96.4853 * barrier, abs=1e-3)


def test_points_that_do_not_converge_say_so_and_the_scan_goes_on(peroxide):
    atoms, bonds, dihedral = peroxide
    calculator = create({"kind": "xtb", "method": "GFN2-xTB", "max_iterations": 2}).calculator()
    points = scan_dihedrals(calculator, atoms, bonds, [dihedral], [ANGLES])
    assert [point.energy for point in points] == [None] * 3
    assert all(point.fault for point in points)


def test_bonds_in_rings_and_bonds_that_are_not_there_are_refused(peroxide):
    atoms, bonds, (a, b, c, d) = peroxide
    with pytest.raises(SettingsError, match="not bonded"):
        scan_dihedrals(None, atoms, bonds, [(b, a, d, c)], [ANGLES])
    ring = np.vstack([bonds, [[a, d]]])
    with pytest.raises(SettingsError, match="in a ring"):
        scan_dihedrals(None, atoms, ring, [(a, b, c, d)], [ANGLES])

"""Scans of dihedrals: angles are what was asked for, relaxed lies below rigid, faults stay in their place."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from ase.build import molecule

from ilforge.errors import SettingsError
from ilforge.labelling.reading.scan import scan_dihedrals, write_scan
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


class Counted:
    """A calculator that counts what it computes, and is killed at one of the calls."""

    def __init__(self, calculator, killed_at=None):
        self._calculator, self.calls, self._killed_at = calculator, 0, killed_at

    def get_property(self, *arguments, **keywords):
        return self._counting(self._calculator.get_property, *arguments, **keywords)

    def get_potential_energy(self, *arguments, **keywords):
        return self._counting(self._calculator.get_potential_energy, *arguments, **keywords)

    def _counting(self, what, *arguments, **keywords):
        self.calls += 1
        if self.calls == self._killed_at:
            raise KeyboardInterrupt
        return what(*arguments, **keywords)

    def __getattr__(self, name):
        return getattr(self._calculator, name)


@pytest.mark.parametrize("relaxed", [False, True])
def test_a_scan_that_was_stopped_goes_on(peroxide, scans, tmp_path, relaxed):
    atoms, bonds, dihedral = peroxide
    method = create({"kind": "xtb", "method": "GFN2-xTB"}).calculator()
    arguments = (atoms, bonds, [dihedral], [ANGLES])
    whole = scans[relaxed]
    total = Counted(method)
    scan_dihedrals(total, *arguments, relaxed=relaxed)
    with pytest.raises(KeyboardInterrupt):
        scan_dihedrals(Counted(method, total.calls), *arguments, relaxed=relaxed, directory=tmp_path / "scan")
    assert sorted(path.name for path in (tmp_path / "scan").iterdir()) == ["000000.json", "000001.json", "scan.json"]
    rest = Counted(method)
    points = scan_dihedrals(rest, *arguments, relaxed=relaxed, directory=tmp_path / "scan")
    assert 0 < rest.calls < total.calls
    for point, wanted in zip(points, whole, strict=True):
        assert point.angles == wanted.angles and point.fault is None
        assert point.energy == pytest.approx(wanted.energy, abs=1e-6)
        np.testing.assert_allclose(point.frame.positions, wanted.frame.positions, atol=1e-4)
    none = Counted(method)
    scan_dihedrals(none, *arguments, relaxed=relaxed, directory=tmp_path / "scan")
    assert none.calls == 0, "all points are there"


def test_a_folder_of_another_scan_is_refused(peroxide, tmp_path):
    atoms, bonds, dihedral = peroxide
    gfn2, gfn1 = (create({"kind": "xtb", "method": f"GFN{n}-xTB"}).calculator() for n in (2, 1))
    scan_dihedrals(gfn2, atoms, bonds, [dihedral], [ANGLES], directory=tmp_path / "scan")
    with pytest.raises(SettingsError, match="other angles_deg"):
        scan_dihedrals(gfn2, atoms, bonds, [dihedral], [ANGLES[:2]], directory=tmp_path / "scan")
    moved = atoms.copy()
    moved.positions[0, 0] += 0.01
    with pytest.raises(SettingsError, match="other positions_A"):
        scan_dihedrals(gfn2, moved, bonds, [dihedral], [ANGLES], directory=tmp_path / "scan")
    (tmp_path / "scan" / "000002.json").unlink()
    with pytest.raises(SettingsError, match="with another method"):
        scan_dihedrals(gfn1, atoms, bonds, [dihedral], [ANGLES], directory=tmp_path / "scan")


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

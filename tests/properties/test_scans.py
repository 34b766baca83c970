"""Scans of single ions on the coordinates of the maps: places by hand, and what is no scan."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.reading.scan import scan_dihedrals, write_scan_frames
from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum
from ilforge.potentials.classical.clp import Clp
from ilforge.properties.combining.scans import scan_tables
from ilforge.properties.shared.conformations import matches
from ilforge.units import KJ_PER_MOL


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A torsion of TFSI turned about S-N by CL&P, written and read again; angles and energies beside it."""
    liquid, ion = Liquid.of({"TFSI": 1}, vacuum=True), get_ion("TFSI")
    start = in_vacuum(liquid, 1)
    ((carbon, sulfur, nitrogen, other, _),) = matches(liquid.topology, "TFSI", "CSNSC", [0, 1, 2, 3, 4])
    turned = [(int(carbon), int(sulfur), int(nitrogen), int(other))]
    calculator = Clp().calculator(liquid.topology)
    points = scan_dihedrals(calculator, start, ion.bonds, turned, [[60.0, 120.0, 180.0]])
    path = tmp_path_factory.mktemp("scan") / "scan.xyz"
    write_scan_frames(path, points, "TFSI")
    return points, frames.read(path)


def test_places_are_those_of_the_dihedrals_and_energies_count_from_the_lowest(scan):
    points, read = scan
    table = scan_tables(read, "scan.xyz")["scan TFSI"]
    assert table.columns == ("phi_degrees", "psi_degrees", "energy_kJ_mol")
    energies = np.array([point.energy for point in points])
    assert table.column("energy_kJ_mol") == pytest.approx((energies - energies.min()) / KJ_PER_MOL, abs=1e-4)
    symbols = points[0].frame.get_chemical_symbols()
    c1, c2 = (k for k, symbol in enumerate(symbols) if symbol == "C")
    s1, s2 = (k for k, symbol in enumerate(symbols) if symbol == "S")
    if points[0].frame.get_distance(c1, s1) > 2.2:
        c1, c2 = c2, c1
    for point, phi in zip(points, table.column("phi_degrees"), strict=True):
        expected = point.frame.get_dihedral(c1, s1, s2, c2)
        assert np.cos(np.radians(phi)) == pytest.approx(np.cos(np.radians(expected)), abs=1e-5)


def test_what_is_no_scan_is_said(scan):
    _, read = scan
    with pytest.raises(SettingsError, match="found no frames"):
        scan_tables([], "none.xyz")
    bare = [frame.copy() for frame in read]
    del bare[1].info["REF_energy"]
    with pytest.raises(SettingsError, match="1 of 3 frames have no REF_energy"):
        scan_tables(bare, "bare.xyz")
    pair = in_vacuum(Liquid.of({"PYR14": 1, "TFSI": 1}), 1)
    pair.info["REF_energy"] = -1.0
    with pytest.raises(SettingsError, match="single ion"):
        scan_tables([pair], "pair.xyz")
    ball = in_vacuum(Liquid.of({"BF4": 1}, vacuum=True), 1)
    ball.info["REF_energy"] = -1.0
    with pytest.raises(SettingsError, match="BF4, whose shapes have no map"):
        scan_tables([ball], "ball.xyz")

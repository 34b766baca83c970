"""Structures and force fields in the public format of CL&P: what is read, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.liquid.force_field_file import read_force_field
from ilforge.liquid.ions import get_ion
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.structures import conformers
from ilforge.liquid.typed_structures import read_typed

DATA = Path(__file__).parents[1] / "data/clandp"

TORSION = """four atoms

1 CT
2 CT 1 rCC
3 CT 2 rCC 1 110.0
4 CT 3 1.5 2 100.0 1 ALPHA

variables
rCC = 1.529
ALPHA = -65.0
my.ff
"""
FORCE_FIELD = """ATOMS
CT  CT  12.011  -0.25  lj  3.5  0.276   # a comment
BONDS
CT  CT  harm  1.529  2242.0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my.ff").write_text(FORCE_FIELD)
    (tmp_path / "own.zmat").write_text(TORSION)
    return tmp_path


def test_internal_coordinates_are_those_of_the_file(folder):
    typed = read_typed(folder / "own.zmat")
    atoms = Atoms("C4", typed.positions)
    assert atoms.get_distance(0, 1) == pytest.approx(1.529) and atoms.get_distance(2, 3) == pytest.approx(1.5)
    assert atoms.get_angle(0, 1, 2) == pytest.approx(110.0) and atoms.get_angle(1, 2, 3) == pytest.approx(100.0)
    assert atoms.get_dihedral(0, 1, 2, 3) == pytest.approx(295.0)
    assert typed.bonds == [(0, 1), (1, 2), (2, 3)] and typed.impropers is None
    assert (typed.symbols, typed.charge) == (("C",) * 4, -1)


def test_references_on_one_line_still_place_the_atom(tmp_path):
    (tmp_path / "my.ff").write_text(FORCE_FIELD)
    (tmp_path / "rod.zmat").write_text("rod\n\nCT\nCT 1 1.5\nCT 2 1.5 1 180.0\nCT 3 1.5 2 120.0 1 0.0\n\nmy.ff\n")
    atoms = Atoms("C4", read_typed(tmp_path / "rod.zmat").positions)
    assert atoms.get_distance(2, 3) == pytest.approx(1.5) and atoms.get_angle(1, 2, 3) == pytest.approx(120.0)


def test_xyz_of_types_is_bonded_by_the_lengths_of_the_force_field(folder):
    typed = read_typed(folder / "own.zmat")
    rows = [f"CT {x:.6f} {y:.6f} {z:.6f}" for x, y, z in typed.positions]
    (folder / "own.xyz").write_text("\n".join(["4", "own my.ff", *rows]) + "\n")
    again = read_typed(folder / "own.xyz")
    assert again.bonds == typed.bonds and again.types == typed.types
    np.testing.assert_allclose(again.positions, typed.positions, atol=1e-6)
    (folder / "again.zmat").write_text(TORSION + "reconnect\n")
    assert read_typed(folder / "again.zmat").bonds == typed.bonds


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("2 CT 1 rCC", "2 CT 1 rXX", ["own.zmat, line 4", "'rXX' is neither a number"]),
        ("3 CT 2 rCC 1 110.0", "3 CT 2 rCC 2 110.0", ["line 5", "must be different"]),
        ("3 CT 2 rCC 1 110.0", "3 CT 2 rCC 7 110.0", ["line 5", "2 atoms from 1 to 2"]),
        ("3 CT 2 rCC 1 110.0", "3 CT 2 rCC", ["atom 3", "needs 2 references"]),
        ("1 CT", "1 CX", ["my.ff has no atom type CX", "atom 1 of own.zmat"]),
        ("my.ff\n", "", ["names no force field"]),
        ("my.ff", "other.ff", ["other.ff could not be read"]),
        ("my.ff", "connect 4 9\nmy.ff", ["'4 9' should be 2 atoms from 1 to 4"]),
        (TORSION, "name\n", ["no z-matrix"]),
    ],
)
def test_faults_of_a_zmat_are_named(folder, old, new, words):
    (folder / "own.zmat").write_text(TORSION.replace(old, new))
    with pytest.raises(SettingsError) as error:
        read_typed(folder / "own.zmat")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("ATOMS\n", "", ["my.ff, line 1", "before the first section (ATOMS"]),
        ("12.011", "heavy", ["line 2", "section atoms"]),
        ("12.011", "15.035", ["CT has mass 15.035", "united atoms"]),
        ("-0.25", "-0.24", ["add up to -0.9600 e", "not a whole number"]),
        ("lj", "buck", ["line 2", "buck", "lj with 4"]),
        ("BONDS", "BONDS\nCT CT harm 1.5 10.0", ["line 5: CT CT contradicts line 4"]),
        (FORCE_FIELD, "BONDS\n", ["has no section ATOMS"]),
    ],
)
def test_faults_of_a_force_field_are_named(folder, old, new, words):
    (folder / "my.ff").write_text(FORCE_FIELD.replace(old, new))
    with pytest.raises(SettingsError) as error:
        read_typed(folder / "own.zmat").charge  # noqa: B018
    for word in words:
        assert word in str(error.value)


def test_terms_are_found_either_way_round_and_impropers_by_their_centre():
    known = read_force_field(DATA / "il.ff")
    assert known.term("bonds", ("HC", "CT")) == ((0, 1), (1.09, 2845.0))
    assert known.term("bonds", ("CT", "HC")) == ((1, 0), (1.09, 2845.0))
    assert known.term("impropers", ("CT", "CR", "NA", "CW")) == ((1, 3, 2, 0), (0.0, 8.368, 0.0, 0.0))
    assert known.term("impropers", ("CR", "NA", "CW", "CT")) is None
    assert known.term("torsions", ("CT", "CT", "CT", "XX")) is None


def test_own_ion_from_a_zmat_has_bonds_charge_and_conformers(tmp_path):
    for name in ("c4c1im.zmat", "il.ff"):
        shutil.copy(DATA / name, tmp_path)
    ion = get_ion("MYCAT", {"MYCAT": IonSettings(structure="c4c1im.zmat")}, tmp_path)
    known = get_ion("BMIM")
    assert (ion.name, ion.charge, ion.symbols) == ("MYCAT", 1, known.symbols)
    assert ion.smiles == "CCCC[n+]1ccn(C)c1"  # the catalogue writes its other resonance form
    assert ion.bonds.tolist() == known.bonds.tolist()
    assert len(conformers(ion, 3, seed=1)) > 1


def test_own_ion_from_an_xyz_needs_the_force_field_to_read_types(folder):
    shutil.copy(DATA / "il.ff", folder)
    shutil.copy(DATA / "otf.zmat", folder)
    typed = read_typed(folder / "otf.zmat")
    rows = [f"{name} {x:.5f} {y:.5f} {z:.5f}" for name, (x, y, z) in zip(typed.types, typed.positions, strict=True)]
    (folder / "own.xyz").write_text("\n".join(["8", "own", *rows]) + "\n")
    ion = get_ion("OWN", {"OWN": IonSettings(structure="own.xyz", force_field="il.ff")}, folder)
    assert (ion.charge, ion.symbols) == (-1, get_ion("OTf").symbols)
    with pytest.raises(SettingsError, match="charge is \\+1, but own.xyz with il.ff has charge -1"):
        get_ion("OWN", {"OWN": IonSettings(structure="own.xyz", force_field="il.ff", charge=1)}, folder)


def test_force_field_wants_a_structure_of_types():
    with pytest.raises(ValueError, match="force_field needs a structure whose atoms are its types"):
        IonSettings(smiles="C[NH3+]", force_field="il.ff")

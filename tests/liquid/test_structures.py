"""Structure files and conformers, through RDKit."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.geometry import get_distances
from rdkit import Chem
from rdkit.Chem import rdDepictor

from ilforge.errors import SettingsError
from ilforge.liquid.ions import get_ion
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.structures import conformers, from_ordered_smiles, geometry_problem


@pytest.fixture
def defined(tmp_path):
    """The ion defined by a structure file in a directory of its own."""

    def define(file, charge=None):
        settings = IonSettings(structure=file, charge=charge)
        return get_ion("own", {"own": settings}, tmp_path)

    return define


def write(ion, path):
    ase.io.write(path, Atoms(ion.symbols, ion.positions))


@pytest.mark.parametrize("name", ["PYR14", "TFSI", "BF4", "PF6", "EMIM", "DCA", "Li"])
@pytest.mark.parametrize("suffix", ["xyz", "pdb"])
def test_bonds_come_back_from_coordinates_alone(name, suffix, defined, tmp_path):
    ion = get_ion(name)
    write(ion, tmp_path / f"ion.{suffix}")
    own = defined(f"ion.{suffix}", ion.charge)
    assert own.symbols == ion.symbols and own.charge == ion.charge
    assert own.bonds.tolist() == ion.bonds.tolist()
    assert own.positions == pytest.approx(ion.positions, abs=2e-3)


def test_mol_file_carries_its_charge_and_order(defined, tmp_path):
    ion = get_ion("TFSI")
    molecule = from_ordered_smiles(ion.ordered_smiles)
    conformer = Chem.Conformer(ion.n_atoms)
    conformer.SetPositions(np.array(ion.positions))
    molecule.AddConformer(conformer)
    Chem.MolToMolFile(molecule, str(tmp_path / "ion.mol"))
    (tmp_path / "ion.sdf").write_text((tmp_path / "ion.mol").read_text() + "$$$$\n")
    for file in ("ion.mol", "ion.sdf"):
        own = defined(file)
        assert (own.charge, own.symbols, own.smiles) == (-1, ion.symbols, ion.smiles)
        assert own.bonds.tolist() == ion.bonds.tolist()
    with pytest.raises(SettingsError, match=r"charge is \+1"):
        defined("ion.mol", charge=1)
    two = (tmp_path / "ion.sdf").read_text() * 2
    (tmp_path / "two.sdf").write_text(two)
    with pytest.raises(SettingsError, match="2 molecules"):
        defined("two.sdf")


def test_drawing_without_hydrogens_is_refused(defined, tmp_path):
    drawing = Chem.MolFromSmiles("CC[NH3+]")
    rdDepictor.Compute2DCoords(drawing)
    Chem.MolToMolFile(drawing, str(tmp_path / "flat.mol"))
    with pytest.raises(SettingsError, match="leaves hydrogens out"):
        defined("flat.mol")


def test_coordinates_need_a_charge(defined, tmp_path):
    write(get_ion("BF4"), tmp_path / "ion.xyz")
    with pytest.raises(SettingsError, match=r"liquid.define.own.charge is missing"):
        defined("ion.xyz")


def test_two_molecules_or_two_frames_in_a_file_are_refused(defined, tmp_path):
    ion = get_ion("BF4")
    pair = Atoms(2 * ion.symbols, np.concatenate([ion.positions, ion.positions + 8.0]))
    ase.io.write(tmp_path / "pair.xyz", pair)
    with pytest.raises(SettingsError, match="2 separate molecules"):
        defined("pair.xyz", -2)
    ase.io.write(tmp_path / "film.xyz", [Atoms(ion.symbols, ion.positions)] * 2)
    with pytest.raises(SettingsError, match="2 structures"):
        defined("film.xyz", -1)


def test_garbage_and_empty_files_are_refused(defined, tmp_path):
    for file, content in {"a.xyz": "what\n", "b.xyz": "", "c.mol": "no mol", "d.pdb": "", "e.sdf": ""}.items():
        (tmp_path / file).write_text(content)
        with pytest.raises(SettingsError, match=file):
            defined(file, 1)


def test_clashing_coordinates_are_refused(defined, tmp_path):
    ion = get_ion("BF4")
    ase.io.write(tmp_path / "ion.xyz", Atoms(ion.symbols, 0.6 * ion.positions))
    with pytest.raises(SettingsError, match="does not look like a molecule"):
        defined("ion.xyz", -1)


def test_ion_without_known_bond_orders_is_packed_as_it_is(defined, tmp_path):
    ion = get_ion("PF6")
    write(ion, tmp_path / "ion.xyz")
    own = defined("ion.xyz", -3)  # a charge no Lewis structure of PF6 has
    assert own.smiles is None and own.charge == -3
    shapes = conformers(own, 4, seed=1)
    assert shapes.shape == (1, 7, 3)
    assert get_distances(shapes[0])[1] == pytest.approx(get_distances(ion.positions)[1], abs=1e-6)


def test_conformers_differ_are_sensible_and_come_from_the_seed():
    ion = get_ion("PYR14")
    shapes = conformers(ion, 6, seed=3)
    assert shapes.shape == (6, 30, 3)
    assert np.array_equal(shapes, conformers(ion, 6, seed=3))
    assert not np.array_equal(shapes, conformers(ion, 6, seed=4))
    molecule = from_ordered_smiles(ion.ordered_smiles)
    assert all(geometry_problem(molecule, shape) is None for shape in shapes)
    ends = np.linalg.norm(shapes[:, 26] - shapes[:, 5], axis=1)  # terminal carbon to N-methyl carbon
    assert np.ptp(ends) > 0.5
    assert shapes.mean(axis=1) == pytest.approx(0.0, abs=1e-9)


def test_rigid_ions_keep_their_geometry():
    for name in ("BF4", "PF6", "NO3", "DCA", "Li"):
        assert len(conformers(get_ion(name), 5, seed=1)) == 1

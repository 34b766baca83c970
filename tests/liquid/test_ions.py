"""The catalogue, and ions of the user's own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from ilforge.errors import SettingsError
from ilforge.liquid.ions import CATALOGUE, get_ion
from ilforge.liquid.settings import IonSettings

ATOM_ORDERS = json.loads((Path(__file__).parents[1] / "data/clandp/atom_orders.json").read_text())
CHARGES = {
    "PYR14": 1, "PYR13": 1, "EMIM": 1, "PMIM": 1, "BMIM": 1, "C5MIM": 1,
    "HMIM": 1, "C7MIM": 1, "OMIM": 1, "Li": 1, "Na": 1,
    "BF4": -1, "PF6": -1, "TFSI": -1, "FSI": -1, "OTf": -1, "DCA": -1, "NO3": -1, "Cl": -1, "Br": -1,
    "Choline": 1, "EtNH3": 1, "K": 1, "OAc": -1, "I": -1, "H2O": 0, "Urea": 0, "MeCN": 0,
}  # fmt: skip
# g/mol, from the formulas C9H20N, C8H18N, ...
MASSES = {"PYR14": 142.266, "EMIM": 111.168, "BF4": 86.804, "TFSI": 280.135, "PF6": 144.964, "Li": 6.94}
# Å, within 0.05: neutron and X-ray structures of their salts
BOND_LENGTHS = {("BF4", "B", "F"): 1.39, ("PF6", "P", "F"): 1.60, ("TFSI", "S", "N"): 1.58, ("TFSI", "S", "O"): 1.43,
                ("TFSI", "C", "F"): 1.33, ("NO3", "N", "O"): 1.25, ("DCA", "C", "N"): 1.22, ("PYR14", "C", "C"): 1.52,
                ("PYR14", "N", "C"): 1.50}  # fmt: skip


def test_catalogue_has_these_ions_with_these_charges():
    assert {name: get_ion(name).charge for name in CATALOGUE} == CHARGES


@pytest.mark.parametrize("name", [name for name in ATOM_ORDERS if name != "source"])
def test_atoms_and_bonds_are_in_the_order_of_the_force_field(name):
    ion = get_ion(name)
    assert list(ion.symbols) == ATOM_ORDERS[name]["symbols"].split()
    assert ion.bonds.tolist() == ATOM_ORDERS[name]["bonds"]


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_geometry_agrees_with_its_own_smiles(name):
    ion = get_ion(name)
    elements = [line.split()[0] for line in CATALOGUE[name].geometry.strip().splitlines()]
    assert list(ion.symbols) == elements
    numbers = Atoms(ion.symbols).numbers
    distances = np.linalg.norm(ion.positions[:, None] - ion.positions[None], axis=-1)
    ratios = distances / (covalent_radii[numbers][:, None] + covalent_radii[numbers][None])
    close = np.argwhere(np.triu(ratios < 1.2, 1))
    assert close.tolist() == ion.bonds.tolist()


@pytest.mark.parametrize("name, first, second", BOND_LENGTHS)
def test_mean_bond_lengths_are_those_of_crystal_structures(name, first, second):
    ion = get_ion(name)
    lengths = [
        np.linalg.norm(ion.positions[i] - ion.positions[j])
        for i, j in ion.bonds
        if {ion.symbols[i], ion.symbols[j]} == {first, second}
    ]
    assert np.mean(lengths) == pytest.approx(BOND_LENGTHS[name, first, second], abs=0.05)


def test_masses():
    for name, mass in MASSES.items():
        assert get_ion(name).mass == pytest.approx(mass, abs=2e-3)


def test_hexafluorophosphate_is_an_octahedron_and_tetrafluoroborate_a_tetrahedron():
    for name, angles in (("PF6", [90.0] * 12 + [180.0] * 3), ("BF4", [109.47] * 6)):
        arms = get_ion(name).positions[1:] - get_ion(name).positions[0]
        arms /= np.linalg.norm(arms, axis=1, keepdims=True)
        cosines = (arms @ arms.T)[np.triu_indices(len(arms), 1)]
        assert np.sort(np.degrees(np.arccos(np.clip(cosines, -1, 1)))) == pytest.approx(angles, abs=1.0)


def test_names_of_atoms_are_unique_and_numbered_by_element():
    ion = get_ion("PYR14")
    assert len(set(ion.names)) == 30
    assert (ion.names[0], ion.names[1], ion.names[20], ion.names[26]) == ("N1", "C1", "C7", "C9")


def test_aliases_and_letter_case_do_not_matter():
    for alias, name in {
        "c4c1pyrr": "PYR14",
        "NTf2": "TFSI",
        "bmi": "BMIM",
        "pyr14": "PYR14",
        "triflate": "OTf",
    }.items():
        assert get_ion(alias) is get_ion(name)


def test_no_alias_means_two_ions():
    spellings = [known.lower() for entry in CATALOGUE.values() for known in (entry.name, *entry.aliases)]
    assert len(spellings) == len(set(spellings))


def test_unknown_name_lists_near_names_and_says_how_to_define_one():
    with pytest.raises(SettingsError) as error:
        get_ion("PYR41")
    text = str(error.value)
    assert "'PYR41'" in text and "Did you mean PYR14" in text and "[liquid.define.PYR41]" in text and "OMIM" in text


def test_ions_survive_pickling_and_stay_equal():
    ion = get_ion("TFSI")
    copy = pickle.loads(pickle.dumps(ion))
    assert copy == ion and hash(copy) == hash(ion) and np.array_equal(copy.positions, ion.positions)
    assert get_ion("FSI") != ion


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError):
        get_ion("BF4").positions[0, 0] = 1.0


def test_own_ion_from_smiles():
    ion = get_ion("ean", {"EAN": IonSettings(smiles="CC[NH3+]")})
    assert (ion.name, ion.charge, ion.smiles, ion.n_atoms, len(ion.bonds)) == ("EAN", 1, "CC[NH3+]", 11, 10)
    assert ion.symbols == ("C", "C", "N") + 8 * ("H",)
    again = get_ion("EAN", {"EAN": IonSettings(smiles="CC[NH3+]")})
    assert np.array_equal(again.positions, ion.positions)


def test_neutral_molecules_are_allowed():
    assert get_ion("water", {"water": IonSettings(smiles="O")}).charge == 0


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"smiles": "CC[NH3+].[Cl-]"}, "2 separate molecules"),
        ({"smiles": "C(("}, "not a SMILES"),
        ({"smiles": ""}, "not a SMILES"),
        ({"smiles": "*C"}, "not an element"),
        ({"smiles": "CC[NH3+]", "charge": -1}, "charge is -1, but the SMILES 'CC[NH3+]' has charge +1"),
        ({"smiles": "F[P-](F)(F)(F)(F)F"}, "Give a structure file"),
        ({"structure": "nowhere.xyz", "charge": 1}, "does not exist"),
        ({"structure": "ion.cif", "charge": 1}, ".xyz, .mol, .sdf, .pdb"),
    ],
)
def test_nonsense_definitions_are_refused_in_words(settings, words, tmp_path):
    with pytest.raises(SettingsError) as error:
        get_ion("X1", {"X1": IonSettings(**settings)}, tmp_path)
    assert words in str(error.value) and "liquid.define.X1" in str(error.value)


def test_names_of_the_catalogue_cannot_be_redefined():
    for name in ("PYR14", "ntf2"):
        with pytest.raises(SettingsError, match="catalogue already has"):
            get_ion(name, {name: IonSettings(smiles="C[NH3+]")})


def test_names_that_would_break_a_frame_label_are_refused():
    for name in ("2X", "A B", "A,B"):
        with pytest.raises(SettingsError, match="starts with a letter"):
            get_ion(name, {name: IonSettings(smiles="C[NH3+]")})

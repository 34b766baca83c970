"""Liquids: neutral compositions, their names, masses and topology."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings


def test_label_brings_the_liquid_back():
    liquid = Liquid.of({"C4C1pyrr": 2, "bf4": 2})
    assert liquid.label == "2 PYR14, 2 BF4"
    assert Liquid.from_label(liquid.label) == liquid
    assert pickle.loads(pickle.dumps(liquid)) == liquid


def test_label_brings_own_ions_back():
    define = {"EAN": IonSettings(smiles="CC[NH3+]")}
    liquid = Liquid.of({"ean": 3, "NO3": 3}, define)
    assert liquid.label == "3 EAN, 3 NO3"
    assert Liquid.from_label(liquid.label, define) == liquid


@pytest.mark.parametrize("label", ["", "PYR14", "2 PYR14; 2 BF4", "2 PYR14, 2 PYR14", "two PYR14"])
def test_labels_that_are_none_are_refused(label):
    with pytest.raises(SettingsError, match="cannot be read"):
        Liquid.from_label(label)


@pytest.mark.parametrize(
    "counts, name",
    [
        ({"PYR14": 2, "BF4": 2}, "PYR14BF4"),
        ({"BF4": 7, "PYR14": 7}, "PYR14BF4"),
        ({"TFSI": 20, "Li": 2, "PYR14": 18}, "Li2 PYR14_18 TFSI20"),
        ({"Li": 1, "PYR14": 9, "TFSI": 10}, "Li PYR14_9 TFSI10"),
    ],
)
def test_names(counts, name):
    assert Liquid.of(counts).name == name


def test_mass_and_volume():
    liquid = Liquid.of({"PYR14": 10, "BF4": 10})
    assert liquid.mass == pytest.approx(10 * (142.266 + 86.804), abs=0.01)
    # 10 pairs at 1.0345 g/cm^3: (2290.70 amu * 1.66053907) / 1.0345 = 3676.9 Å^3, a side of 15.4 Å
    assert liquid.volume(1.0345) == pytest.approx(3676.9, abs=0.2)


def test_charged_box_is_refused_with_charges_and_a_way_out():
    with pytest.raises(SettingsError) as error:
        Liquid.of({"PYR14": 2, "BF4": 3})
    text = str(error.value)
    assert "2 PYR14 (+1 each), 3 BF4 (-1 each)" in text and "net charge -1" in text
    assert "{ PYR14 = 1, BF4 = 1 }" in text and "{ PYR14 = 3, BF4 = 3 }" in text


def test_way_out_for_mixtures_and_for_higher_charges():
    with pytest.raises(SettingsError, match="Li = 2, PYR14 = 18, TFSI = 20"):
        Liquid.of({"Li": 2, "PYR14": 18, "TFSI": 17})
    define = {"Mg": IonSettings(smiles="[Mg+2]"), "PO4": IonSettings(smiles="[O-]P(=O)([O-])[O-]")}
    with pytest.raises(SettingsError, match="{ Mg = 3, PO4 = 2 }"):
        Liquid.of({"Mg": 1, "PO4": 1}, define)
    assert Liquid.of({"Mg": 3, "PO4": 2}, define).topology.charges == (2, 2, 2, -3, -3)


def test_only_cations_need_an_anion():
    with pytest.raises(SettingsError, match="Add an anion"):
        Liquid.of({"Li": 1, "PYR14": 1})
    with pytest.raises(SettingsError, match="Add a cation"):
        Liquid.of({"BF4": 1})


def test_solvent_alone_or_beside_a_salt_is_neutral():
    define = {"AN": IonSettings(smiles="CC#N")}
    assert Liquid.of({"AN": 4}, define).name == "AN"
    assert Liquid.of({"Li": 1, "AN": 4, "BF4": 1}, define).name == "Li AN4 BF4"


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_counts_are_whole_numbers_from_one(count):
    with pytest.raises(SettingsError, match=r"liquid.ions.PYR14"):
        Liquid.of({"PYR14": count, "BF4": 1})


def test_no_ions_and_one_ion_by_two_names_are_refused():
    with pytest.raises(SettingsError, match="at least one"):
        Liquid.of({})
    with pytest.raises(SettingsError, match="listed already"):
        Liquid.of({"TFSI": 1, "NTf2": 1, "Li": 2})


def test_topology_lists_all_copies_of_one_ion_before_the_next():
    topology = Liquid.of({"Li": 1, "PYR14": 1, "BF4": 2}).topology
    assert topology.n_atoms == 1 + 30 + 10 and topology.n_molecules == 4
    assert topology.species == ("Li", "PYR14", "BF4", "BF4") and topology.charges == (1, 1, -1, -1)
    assert topology.symbols[:3] == ("Li", "N", "C") and topology.symbols[31] == topology.symbols[36] == "B"
    assert np.array_equal(topology.atoms_of(3), np.arange(36, 41))
    assert topology.bonds[-4:].tolist() == [[36, 37], [36, 38], [36, 39], [36, 40]]
    assert len(topology.bonds) == 30 + 8

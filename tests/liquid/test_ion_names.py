"""Names as people write them."""

from __future__ import annotations

import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.ions import CATALOGUE, get_ion, named_ions
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("[bmim]", "BMIM"), ("BMIM+", "BMIM"), ("[BMIM]+", "BMIM"), ("[C4mim]+", "BMIM"), ("NTf2", "TFSI"),
        ("[NTf2]-", "TFSI"), ("[Tf2N]", "TFSI"), ("Py14", "PYR14"), ("PYR14+", "PYR14"), ("Pyr1,4", "PYR14"),
        ("PF6-", "PF6"), ("BF4^-", "BF4"), ("Li(+)", "Li"), ("choline", "Choline"), ("cholinium+", "Choline"),
        ("water", "H2O"), ("ethylammonium", "EtNH3"), ("acetate", "OAc"), ("Cl\u207b", "Cl"),
        ("[PF\u2086]\u207b", "PF6"),
    ],
)  # fmt: skip
def test_brackets_charges_and_spellings(written, name):
    assert get_ion(written).name == name


@pytest.mark.parametrize(
    ("written", "pair"),
    [
        ("[bmim][PF6]", ("BMIM", "PF6")), ("[BMIM]+[PF6]-", ("BMIM", "PF6")), ("LiTFSI", ("Li", "TFSI")),
        ("EMIM-BF4", ("EMIM", "BF4")), ("emim bf4", ("EMIM", "BF4")), ("PYR14TFSI", ("PYR14", "TFSI")),
        ("LiCl", ("Li", "Cl")), ("NaBF4", ("Na", "BF4")), ("BMIMCl", ("BMIM", "Cl")), ("C4mimNTf2", ("BMIM", "TFSI")),
        ("LiNO3", ("Li", "NO3")), ("KI", ("K", "I")), ("[Ch][Cl]", ("Choline", "Cl")),
    ],
)  # fmt: skip
def test_a_salt_is_both_its_ions(written, pair):
    assert tuple(get_ion(part).name for part in named_ions(written)) == pair
    assert Liquid.from_label(f"3 {written}").counts == dict.fromkeys(pair, 3)


def test_every_name_and_alias_is_one_ion_and_no_pair():
    for entry in CATALOGUE.values():
        for written in (entry.name, *entry.aliases):
            assert named_ions(written) == (written,)
            assert get_ion(written).name == entry.name
            sign = "+" if get_ion(entry.name).charge > 0 else "-"
            if get_ion(entry.name).charge:
                assert get_ion(f"[{written}]{sign}").name == entry.name


def test_salts_with_a_common_ion_add_up():
    mixed = Liquid.of({"LiTFSI": 2, "PYR14TFSI": 8})
    assert mixed.counts == {"Li": 2, "TFSI": 10, "PYR14": 8}
    with pytest.raises(SettingsError, match="listed already"):
        Liquid.of({"TFSI": 1, "NTf2": 1, "Li": 2})


def test_neutral_molecules_are_part_of_a_liquid():
    wet = Liquid.of({"EMIM": 2, "BF4": 2, "water": 3})
    assert wet.counts == {"EMIM": 2, "BF4": 2, "H2O": 3}
    assert Liquid.of({"urea": 2}).topology.n_atoms == 16


def test_own_ions_and_pairs_with_them():
    define = {"ETA": IonSettings(smiles="CC[NH3+]")}
    assert get_ion("[ETA]+", define).name == "ETA"
    assert Liquid.of({"ETANO3": 2}, define).counts == {"ETA": 2, "NO3": 2}


def test_unknown_names_are_still_unknown():
    for written in ("[bmim][XYZ]", "XY", "[]", "BMIM2+3", "BF5"):
        with pytest.raises(SettingsError, match="no ion is called"):
            Liquid.of({written: 1}, vacuum=True)

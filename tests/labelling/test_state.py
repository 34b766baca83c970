"""Charge, multiplicity and periodicity: the same atoms may be a radical or an ion, a slab or a crystal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from ilforge import frames
from ilforge.errors import SettingsError
from ilforge.labelling.label import evaluate
from ilforge.labelling.storing.state import with_state
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.vacuum import in_vacuum

DATA = Path(__file__).parents[1] / "data"
XTB = {"kind": "xtb", "method": "GFN1-xTB"}

# written down before the charge became part of the name: labels in stores are kept under these
OLD_NAMES = {
    "two_pairs": "8301f692945d59a6bc7eea1274eacedd1682cd691f2ba8b1e4cb259f1c11c310",
    "one_pair": "ffb626b9ec0651ab20e2b8dfb26ee17ac0810405c72f6d1fae57542d50730140",
    "lithium_chloride": "8e6b68a21335e9b40c8d8669f4b15182a150690955306639d94bb9ac44c9004a",
}
OLD_NAME_OF_AN_ATOM = "54b743586608f26265cefcf7ac622a2684ef0a23bf5aea80ce9d3a229e4a7d47"


@pytest.fixture(scope="module")
def cation():
    """EMIM+ without a word on what it is."""
    frame = in_vacuum(Liquid.of({"EMIM": 1}, vacuum=True), seed=2)
    del frame.info["ions"]
    return frame


def of_ions(frame, ions):
    copy = frame.copy()
    copy.info["ions"] = ions
    return copy


@pytest.mark.parametrize("name", OLD_NAMES)
def test_names_of_neutral_boxes_are_what_they_were(name):
    frame = frames.read(DATA / f"{name}.xyz")[0]
    assert frames.digest(frame) == OLD_NAMES[name]
    for stated in (with_state(frame), with_state(frame, Liquid.of_frame(frame)), with_state(frame, charge=0)):
        assert frames.digest(stated) == OLD_NAMES[name]
    frame.info.update(charge=0, multiplicity=1)
    assert frames.digest(frame) == OLD_NAMES[name]


def test_isolated_atoms_keep_their_labels():
    assert frames.digest(Atoms("N", positions=[[0.0, 0.0, 0.0]], info={"recipe": "isolated atom"})) == (
        OLD_NAME_OF_AN_ATOM
    )


def test_each_charge_and_multiplicity_is_a_name_of_its_own(cation):
    names = set()
    for charge, multiplicity in ((0, 2), (1, 1), (-1, 1), (1, 3), (0, 4)):
        frame = cation.copy()
        frame.info.update(charge=charge, multiplicity=multiplicity)
        names.add(frames.digest(frame))
    assert len({*names, frames.digest(cation)}) == 6
    said = cation.copy()
    said.info["charge"] = np.int64(1)
    assert frames.digest(said) == frames.digest(with_state(cation, charge=1)), "the lowest multiplicity goes unsaid"


def test_a_cation_is_labelled_as_one_whoever_says_its_charge(cation, tmp_path):
    by_ions = evaluate(of_ions(cation, "1 EMIM"), XTB)
    said = cation.copy()
    said.info["charge"] = 1
    by_charge = evaluate(said, XTB)
    said.info["charge"] = 0
    radical = evaluate(said, XTB)
    assert by_charge.energy == pytest.approx(by_ions.energy, abs=1e-7)
    assert by_charge.frame_digest == by_ions.frame_digest
    assert abs(radical.energy - by_ions.energy) > 3.0, "eV: the ionisation energy is that much at least"
    assert radical.frame_digest != by_ions.frame_digest
    with LabelStore(tmp_path) as store:
        store.add_many([radical, by_ions])
        for label in (radical, by_ions):
            assert store.get(label.frame_digest, label.method_digest).energy == label.energy
        assert {label.frame_digest for label in store} == {radical.frame_digest, by_ions.frame_digest}


def test_an_isolated_frame_without_charge_is_refused(cation):
    with pytest.raises(SettingsError, match="does not give its charge.*--ions.*--charge"):
        evaluate(cation, XTB)


def test_what_contradicts_itself_is_refused(cation):
    wrong = of_ions(cation, "1 EMIM")
    wrong.info["charge"] = 0
    with pytest.raises(SettingsError, match=r"\+0 in the frame itself .* and \+1 from its ions"):
        evaluate(wrong, XTB)
    for key, value, words in (
        ("charge", 0.5, "whole number"),
        ("charge", "plus", "whole number"),
        ("multiplicity", 0, "from 1"),
        ("multiplicity", 3, "the lowest is 1"),
    ):
        wrong = cation.copy()
        wrong.info.update({"charge": 1, key: value})
        with pytest.raises(SettingsError, match=words):
            evaluate(wrong, XTB)


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)])
def test_a_slab_is_not_labelled_as_a_crystal(pbc):
    frame = frames.read(DATA / "one_pair.xyz")[0]
    frame.pbc = pbc
    with pytest.raises(SettingsError, match="periodic along (x, y|z) only"):
        evaluate(frame, XTB)


@pytest.mark.parametrize("shape", [(9,), (3, 3)])
def test_a_stress_of_nine_numbers_is_read(tmp_path, shape):
    frame = frames.read(DATA / "one_pair.xyz")[0]
    full = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])
    frame.info["REF_stress"] = full.reshape(shape)
    frames.write(tmp_path / "nine.xyz", [frame])
    (back,) = frames.read(tmp_path / "nine.xyz")
    np.testing.assert_allclose(back.info["REF_stress"], [1, 2, 3, 4, 5, 6])


def test_a_stress_of_seven_numbers_is_refused(tmp_path):
    frame = frames.read(DATA / "one_pair.xyz")[0]
    frame.info["REF_stress"] = np.arange(7.0)
    frames.write(tmp_path / "seven.xyz", [frame])
    with pytest.raises(SettingsError, match="frame 0: REF_stress has 7 numbers"):
        frames.read(tmp_path / "seven.xyz")

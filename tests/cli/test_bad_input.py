"""Files that other commands made, damaged or nonsensical, given to label, import and analyse: each error says why."""

import numpy as np
import pytest
from ase import Atoms

from ilforge import frames

HEADER = 'Properties=species:S:1:pos:R:3 ions="1 Na, 1 Cl" pbc="T T T"'
CELL = 'Lattice="10 0 0 0 10 0 0 0 10"'


def salt(path, first="Na 0 0 0", cell=CELL, header=HEADER):
    path.write_text(f"2\n{cell} {header}\n{first}\nCl 3 0 0\n")
    return path


@pytest.mark.parametrize(
    ("first", "cell", "words"),
    [
        ("Na nan 0 0", CELL, r"salt\.xyz#0: positions or cell are not finite numbers\. Leave this frame out"),
        ("Na inf 0 0", CELL, r"salt\.xyz#0: positions or cell are not finite"),
        ("Na 0 0 0", 'Lattice="10 0 0 0 10 0 0 0 0"', r"its cell has a volume of 0 Å\^3.*Lattice="),
        ("Na 0 0 0", 'Lattice="10 0 0 20 0 0 0 0 10"', r"its cell has a volume of 0 Å\^3"),
        ("Xx 0 0 0", CELL, r"salt\.xyz could not be read as extended XYZ: 'Xx' is no element"),
    ],
)
def test_frames_that_no_method_can_label_are_refused_before_any_is(ilforge, tmp_path, first, cell, words):
    import re

    code, _, err = ilforge("label", str(salt(tmp_path / "salt.xyz", first, cell)), "--store", str(tmp_path / "store"))
    assert code == 2 and re.search(words, err), err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("command", ["validate", "md"])
def test_other_commands_refuse_such_frames_too(ilforge, tmp_path, command):
    options = {"validate": ["--potential", "clp:4.0"], "md": ["--potential", "clp:4.0", "--length", "1"]}
    file = salt(tmp_path / "salt.xyz", cell='Lattice="10 0 0 20 0 0 0 0 10"')
    code, _, err = ilforge(command, file, *options[command])
    assert code == 2 and "#0 is periodic, but its cell has a volume of 0" in err


def test_a_charge_that_no_frame_needs_is_refused(ilforge, tmp_path):
    file = salt(tmp_path / "salt.xyz")
    code, _, err = ilforge("label", str(file), "--charge", "5", "--store", str(tmp_path / "store"))
    assert code == 2 and "--charge 5: every frame of" in err and "Leave it out" in err


@pytest.mark.parametrize("command", ["analyse", "label", "validate"])
def test_text_that_is_not_utf8_is_said(ilforge, tmp_path, command):
    path = tmp_path / "a.xyz"
    path.write_bytes(salt(path).read_text().encode("utf-16"))
    options = {"analyse": ["--frame-interval", "1"], "validate": ["--potential", "clp:4.0"], "label": []}[command]
    code, _, err = ilforge(command, str(path), *options)
    assert code == 2 and "it is no text in UTF-8" in err


def test_import_of_files_that_only_have_the_name(ilforge, tmp_path):
    path = tmp_path / "vasprun.xml"
    path.write_text('<?xml version="1.0"?><modeling><atominfo/></modeling>')
    code, _, err = ilforge("import", str(path))
    assert code == 2 and "is not a vasprun.xml of VASP" in err
    path = tmp_path / "a.xyz"
    path.write_bytes(bytes(range(256)) * 4)
    code, _, err = ilforge("import", str(path))
    assert code == 2 and "in its first line a number of atoms was expected" in err


def test_analyse_of_a_first_frame_that_holds_no_numbers(ilforge, tmp_path):
    code, _, err = ilforge("analyse", str(salt(tmp_path / "a.xyz", "Na nan 0 0")), "--property", "rdf")
    assert code == 4 and "positions are not finite numbers. Give a trajectory of a run that held together" in err


def test_frames_that_can_be_labelled_still_are(ilforge, tmp_path):
    good = Atoms("NaCl", [[0.1, 0, 0], [2.6, 0, 0]], cell=8 * np.eye(3), pbc=True, info={"ions": "1 Na, 1 Cl"})
    frames.write(tmp_path / "good.xyz", [good])
    store, out = str(tmp_path / "store"), str(tmp_path / "out.xyz")
    code, said, err = ilforge(
        "label", str(tmp_path / "good.xyz"), "--potential", "clp:3.9", "--store", store, "--out", out
    )
    assert code == 0 and "1 accepted" in said, err

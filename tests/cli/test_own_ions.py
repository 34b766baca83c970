"""Ions outside the catalogue and names as people write them, on every command that meets frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.cli.own_ions import parse_define
from ilforge.errors import SettingsError
from ilforge.labelling.label import evaluate
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.liquid.settings import IonSettings
from ilforge.potentials.classical.clp_parameters import known_ions
from ilforge.study.load import load_study

CATION = ("--define", "ETA=CC[NH3+]")
OWN = {"ETA": IonSettings(smiles="CC[NH3+]")}
LIST = "2 ETA, 2 NO3"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def boxes():
    """Two boxes of ethylammonium nitrate with labels of GFN1-xTB, atoms sorted by element, without a word on ions."""
    liquid, members = Liquid.of({"ETA": 2, "NO3": 2}, OWN), []
    for seed in (1, 2):
        frame = pack(liquid, 1.0, seed)
        labelled = evaluate(frame, {"kind": "xtb"}, liquid=liquid).on(frame)
        order = np.argsort(labelled.get_chemical_symbols(), kind="stable")
        labelled = labelled[order]
        labelled.info = {key: value for key, value in labelled.info.items() if key.startswith("REF_")}
        members.append(labelled)
    return members


def test_smiles_and_files_define_ions():
    Path("eta.xyz").write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    found = parse_define(("ETA=CC[NH3+]", "OH=eta.xyz:-1", "DME=COCCOC"))
    assert found["ETA"].smiles == "CC[NH3+]" and found["DME"].smiles == "COCCOC"
    assert found["OH"].structure == "eta.xyz" and found["OH"].charge == -1
    assert parse_define(("MG=C=C",))["MG"].smiles == "C=C", "a SMILES may hold the sign that parts it from the name"
    for wrong, words in (
        ("ETA", "expected a name"), ("ETA=", "expected a name"), ("ETA=nothing.mol", "there is no file nothing.mol"),
        ("ETA=xyz(", "neither a file nor a SMILES"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=words):
            parse_define((wrong,))


def test_a_smiles_may_be_longer_than_a_file_name():
    smiles = "C" * 300 + "[NH3+]"
    assert parse_define((f"LONG={smiles}",))["LONG"].smiles == smiles


def test_a_charge_of_thousands_of_digits_is_refused_in_words(tmp_path):
    file = tmp_path / "EA.xyz"
    file.touch()
    with pytest.raises(SettingsError, match="neither a file nor a SMILES"):
        parse_define((f"EA={file}:{'9' * 5000}",))


def test_the_whole_path_of_ions_of_the_users_own(ilforge, boxes):
    """Import, label, validate and MD know what the frames are, and put their atoms in order."""
    frames.write(Path("theirs.xyz"), boxes)
    code, out, err = ilforge("import", "theirs.xyz", *CATION, "--ions", LIST, "--out", "mine.xyz", "--max-force", "500")
    assert code == 0 and "2 accepted" in out and "bonds were not checked" not in out, out + err
    assert "the atoms of 2 frames were put in the order of their ions" in out
    mine = frames.read(Path("mine.xyz"))
    assert all(frame.info["ions"] == LIST for frame in mine)
    assert tuple(mine[0].get_chemical_symbols()) == Liquid.from_label(LIST, OWN).topology.symbols
    bare = frames.read(Path("theirs.xyz"))
    for frame in bare:
        frame.info = {}
        del frame.arrays[frames.FORCES]
    frames.write(Path("bare.xyz"), bare)
    code, out, _ = ilforge("label", "bare.xyz", *CATION, "--ions", LIST, "--max-force", "500")
    assert code == 0 and "2 accepted" in out
    for again, frame in zip(frames.read(Path("labelled.xyz")), mine, strict=True):
        np.testing.assert_allclose(again.arrays[frames.FORCES], frame.arrays[frames.FORCES], atol=1e-5)
    code, out, err = ilforge("validate", "theirs.xyz", *CATION, "--ions", LIST, "--potential", "GFN1-xTB")
    assert code == 0 and "force_rmse" in out, err
    how = ("--potential", "GFN1-xTB", "--length", "0.002", "--interval", "0.001", "--minimise", "3")
    code, _, err = ilforge("md", "theirs.xyz", *CATION, "--ions", LIST, *how)
    assert code == 0, err
    code, _, err = ilforge("md", "theirs.xyz", *how)
    assert code == 2 and "name them with --ions" in err
    code, out, err = ilforge("analyse", "md", "--property", "health")
    assert code == 0 and "2 ETA, 2 NO3" in out and "every ion kept its bonds" in out, out + err
    measured = ("analyse", "theirs.xyz", "--property", "health", "--frame-interval", "1")
    code, out, err = ilforge(*measured, *CATION, "--ions", LIST)
    assert code == 0 and "2 ETA, 2 NO3" in out and "every ion kept its bonds" in out, out + err
    code, _, err = ilforge(*measured)
    assert code == 2 and "name them with --ions" in err


def test_init_writes_ions_of_the_users_own(ilforge):
    code, _, err = ilforge("init", "ean.toml", *CATION, "--ion", "ETA=4", "--ion", "nitrate=4", "--density", "1.2")
    assert code == 0, err
    liquid = load_study("ean.toml").settings.liquid
    assert liquid.ions == {"ETA": 4, "NO3": 4} and liquid.define["ETA"].smiles == "CC[NH3+]"


def test_init_writes_files_of_ions_relative_to_the_study(ilforge):
    Path("oh.xyz").write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    Path("studies").mkdir()
    ions = ("--define", "OH=oh.xyz:-1", "--ion", "Na=2", "--ion", "OH=2")
    code, _, err = ilforge("init", "studies/oh.toml", *ions, "--density", "1.2")
    assert code == 0, err
    study = load_study("studies/oh.toml")
    define = study.settings.liquid.define
    assert define["OH"].structure == "../oh.xyz" and define["OH"].charge == -1
    assert Liquid.of(study.settings.liquid.ions, define, study.folder).topology.n_atoms == 6


def test_salts_are_written_as_one_word(ilforge):
    code, out, err = ilforge("pack", "--ion", "[emim][BF4]=2", "--ion", "water=1", "--density", "1.0")
    assert code == 0, err
    assert "2 EMIM, 2 BF4, 1 H2O" in out
    assert frames.read(Path("boxes.xyz"))[0].info["ions"] == "2 EMIM, 2 BF4, 1 H2O"
    code, _, err = ilforge("init", "il.toml", "--ion", "LiTFSI=1", "--ion", "Py14TFSI=2", "--density", "1.4")
    assert code == 0, err
    assert load_study("il.toml").settings.liquid.ions == {"Li": 1, "TFSI": 3, "PYR14": 2}


def test_ions_lists_the_catalogue_with_other_names(ilforge):
    code, out, _ = ilforge("ions")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "+1" in lines["BMIM"] and "C8H15N2" in lines["BMIM"] and "C4mim" in lines["BMIM"]
    assert "-1" in lines["TFSI"] and "NTf2" in lines["TFSI"]
    without = {name for name, line in lines.items() if "no CL&P parameters" in line}
    assert without == set(lines) - set(known_ions()) and {"NO3", "Choline", "Urea"} < without
    code, out, _ = ilforge("ions", "[bmim][PF6]", "choline")
    assert [line.split()[0] for line in out.splitlines()] == ["BMIM", "PF6", "Choline"]
    code, out, _ = ilforge("ions", *CATION, "ETA")
    assert code == 0 and "of your own" in out and "C2H8N" in out
    code, _, err = ilforge("ions", "unobtainium")
    assert code == 2 and "no ion is called 'unobtainium'" in err

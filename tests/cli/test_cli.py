"""The command line: exit codes, and errors in the words a chemist needs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from ilforge import frames
from support.studies import smallest

CLANDP = Path(__file__).parents[1] / "data" / "clandp"


def test_init_writes_a_study_that_check_accepts(ilforge, tmp_path):
    code, out, _ = ilforge("init", "study.toml", "--ion", "PYR14=2", "--ion", "BF4=2", "--density", "1.04")
    assert code == 0 and "ilforge check study.toml" in out
    code, out, _ = ilforge("check", "study.toml")
    assert code == 0
    for words in ("label training frames", "train MACE", "stages to do", "GB of memory"):
        assert words in out
    assert not (tmp_path / "ilforge-store").exists(), "check must write nothing"


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        (
            "pyr14bf4",
            [["training, PYR14BF4", "1,040", "4,000", "5,000", "6,000", "11,000"], ["validation, PYR14BF4", "400"]],
        ),
        ("litfsi-pyr14tfsi", [["training, x0.4", "3,000", "1,800", "4,800"], ["training, all", "15,000", "24,000"]]),
    ],
)
def test_check_prints_the_published_datasets(ilforge, name, rows):
    code, out, _ = ilforge("check", str(Path(__file__).parents[2] / "examples" / "paper" / f"{name}.toml"))
    assert code == 0
    for first, *numbers in rows:
        (line,) = [line for line in out.splitlines() if line.startswith(first)]
        assert all(f" {number} " in line for number in numbers), line
    assert "GPAW" in out and "core hours" in out


def test_check_says_what_labels_cost_where_their_program_is_missing(ilforge, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "examples" / "pyr14bf4-quick.toml").read_text()
    (tmp_path / "study.toml").write_text(text.replace('potential = "gfn1"', 'potential = "gpaw"'))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = ilforge("check", str(tmp_path / "study.toml"))
    assert code == 3 and "gpaw was not found" in err
    (line,) = [line for line in out.splitlines() if line.startswith("method for all these labels")]
    assert "training, PYR14BF4" in out and "the reference of the study (PBE-D3(BJ) with GPAW)" in out and line


def test_check_says_before_anything_is_paid_that_labels_have_no_stress_to_learn(ilforge):
    code, out, _ = ilforge("check", str(Path(__file__).parents[2] / "examples" / "pyr14bf4-dft.toml"))
    assert code == 0 and "with GPAW have no stress: DeePMD learns energies and forces alone" in out


def test_npt_with_a_reference_without_stress_is_refused_before_anything_runs(ilforge, tmp_path):
    examples = Path(__file__).parents[2] / "examples"
    text = (examples / "pyr14bf4-dft.toml").read_text().replace('"../', f'"{examples.parent}/')
    (tmp_path / "study.toml").write_text(text.replace('potentials = ["mace"]', 'potentials = ["gpaw"]'))
    code, _, err = ilforge("check", str(tmp_path / "study.toml"))
    assert code == 2 and "[[md]] npt-mace: NPT needs a stress, which gpaw does not give" in err


def test_init_does_not_overwrite(ilforge, tmp_path):
    (tmp_path / "study.toml").write_text("mine")
    code, _, err = ilforge("init", "study.toml", "--ion", "PYR14=1", "--ion", "BF4=1", "--density", "1.0")
    assert code == 2 and "exists already" in err
    assert (tmp_path / "study.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("ions", "words"),
    [
        (("PYR14=2", "BF4=1"), ["net charge +1", "PYR14 = 1, BF4 = 1"]),
        (("PYR15=1", "BF4=1"), ["PYR15", "Did you mean PYR14"]),
        (("PYR14", "BF4=1"), ["--ion PYR14: expected a name and a number"]),
        (("PYR14=0", "BF4=1"), ["--ion PYR14=0"]),
    ],
)
def test_bad_compositions(ilforge, tmp_path, ions, words):
    arguments = [part for ion in ions for part in ("--ion", ion)]
    code, _, err = ilforge("init", "study.toml", *arguments, "--density", "1.0")
    assert code == 2
    assert all(word in err for word in words)
    assert not (tmp_path / "study.toml").exists()


def test_a_misspelt_key_is_named(ilforge, tmp_path):
    path = smallest(tmp_path)
    path.write_text(path.read_text().replace("density_g_cm3", "densty_g_cm3", 1))
    code, _, err = ilforge("run", path)
    assert code == 2 and "liquid.densty_g_cm3" in err and "Did you mean density_g_cm3" in err


def test_a_force_field_that_does_not_know_the_ions_is_refused_before_the_start(ilforge, tmp_path):
    path = smallest(tmp_path)
    text = path.read_text().replace("ions = { PYR14 = 1, BF4 = 1 }", "ions = { AMM = 1, BF4 = 1 }")
    path.write_text(text + '[liquid.define.AMM]\nsmiles = "CC[NH3+]"\n')
    code, _, err = ilforge("run", path)
    assert code == 2 and "AMM" in err
    assert not (tmp_path / "ilforge-store" / "results").exists() or not list((tmp_path / "ilforge-store").rglob("man*"))


def test_an_unwritable_store(ilforge, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    code, _, err = ilforge("run", smallest(tmp_path), "--store", tmp_path / "taken" / "store")
    assert code == 2 and "cannot be written to" in err


def test_a_missing_program_is_exit_code_3(ilforge, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    code, _, err = ilforge("check", smallest(tmp_path))
    assert code == 3 and "packmol was not found. Install it with: pip install packmol" in err


def test_unknown_commands_and_options_are_exit_code_2(ilforge):
    assert ilforge("analyze")[0] == 2
    assert ilforge("pack", "--ion", "PYR14=1")[0] == 2


def test_doctor_lists_programs_and_versions(ilforge):
    code, out, _ = ilforge("doctor")
    assert code == 0 and "openmm" in out and "packmol" in out


@pytest.mark.program("packmol")
def test_pack_and_label_one_frame(ilforge, tmp_path):
    code, out, _ = ilforge("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "box.xyz")
    assert code == 0 and "with sides of" in out
    code, out, _ = ilforge("label", "box.xyz", "--out", "labelled.xyz")
    assert code == 0
    code_again, out_again, _ = ilforge("label", "box.xyz", "--out", "labelled.xyz")
    assert (code_again, out_again) == (code, out)
    accepted = frames.read(tmp_path / "labelled.xyz")
    assert len(accepted) == 1 and frames.FORCES in accepted[0].arrays


@pytest.mark.program("packmol")
def test_classical_md_of_an_ion_of_ones_own(ilforge, tmp_path):
    for name in ("c3c1pyrr.zmat", "il.ff"):
        shutil.copy(CLANDP / name, tmp_path)
    own = ("--define", "MYCAT=c3c1pyrr.zmat")
    composition = ("--ion", "MYCAT=2", "--ion", "BF4=2", "--density", "1.0")
    assert ilforge("pack", *own, *composition, "--out", "box.xyz")[0] == 0
    protocol = ("--minimise", "50", "--constant-volume", "0.02", "--length", "0.02", "--interval", "0.01")
    code, out, _ = ilforge("md", "box.xyz", *own, "--potential", "clp:4", *protocol)
    assert code == 0 and "ilforge analyse md" in out
    code, out, _ = ilforge("analyse", "md", "--property", "density")
    assert code == 0 and "was set, not measured" in out
    code, _, _ = ilforge(
        "export", *own, "--box", "box.xyz", "--potential", "clp:4", "--format", "gromacs", "--out", "g"
    )
    assert code == 0 and "MYCAT" in (tmp_path / "g" / "topol.top").read_text()


@pytest.mark.program("packmol")
def test_ions_of_ones_own_are_refused_in_words(ilforge, tmp_path):
    shutil.copy(CLANDP / "c3c1pyrr.zmat", tmp_path)
    lines = (CLANDP / "il.ff").read_text().splitlines()
    (tmp_path / "il.ff").write_text("\n".join(line for line in lines if line.split()[:3] != ["CT", "CT", "harm"]))
    composition = ("--ion", "MYCAT=2", "--ion", "BF4=2", "--density", "1.0", "--out", "box.xyz")
    assert "--define MYCAT=SMILES or FILE" in ilforge("pack", *composition)[2]
    assert "there is no file no.zmat" in ilforge("pack", "--define", "MYCAT=no.zmat", *composition)[2]
    assert "expected a name and a SMILES or a file" in ilforge("pack", "--define", "MYCAT", *composition)[2]
    assert ilforge("pack", "--define", "MYCAT=c3c1pyrr.zmat", *composition)[0] == 0
    code, _, err = ilforge("md", "box.xyz", "--define", "MYCAT=c3c1pyrr.zmat", "--potential", "clp:4", "--length", "1")
    assert code == 2 and "There is no bond CT-CT" in err and "MYCAT" in err


def test_an_untrusted_model_is_not_loaded(ilforge, tmp_path):
    (tmp_path / "model.model").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    ilforge("pack", "--ion", "Li=1", "--ion", "BF4=1", "--density", "0.5", "--out", "box.xyz")
    code, _, err = ilforge("label", "box.xyz", "--potential", "model.model")
    assert code == 2 and "sha256" in err.lower()
    assert not (tmp_path / "owned").exists()


def test_schema_is_json(ilforge):
    code, out, _ = ilforge("schema")
    assert code == 0 and "liquid" in json.loads(out)["properties"]


def test_one_ion_in_a_vacuum_from_structure_to_analysis(ilforge, tmp_path):
    code, out, _ = ilforge("pack", "--ion", "BF4=1", "--vacuum", "--out", "ion.xyz")
    assert code == 0 and "1 structure of 1 BF4, in a vacuum" in out
    (start,) = frames.read(tmp_path / "ion.xyz")
    assert not start.pbc.any()
    run = ("md", "ion.xyz", "--potential", "clp", "--length", "0.05", "--interval", "0.01", "--out", "md-ion")
    assert ilforge(*run)[0] == 0
    assert not frames.read(tmp_path / "md-ion" / "last.xyz")[0].pbc.any()
    code, out, _ = ilforge("analyse", "md-ion")
    assert code == 0 and "ok   every ion kept its bonds" in out
    assert "note density is not measured for ions in a vacuum: without a box there is no volume" in out
    code, _, err = ilforge(*run[:-1], "md-npt", "--ensemble", "NPT")
    assert code == 2 and "ions in a vacuum have neither volume nor pressure" in err
    code, out, _ = ilforge("label", "ion.xyz", "--out", "labelled.xyz")
    assert code == 0 and len(frames.read(tmp_path / "labelled.xyz")) == 1


@pytest.mark.parametrize("arguments", [(), ("--density", "1.0", "--vacuum")])
def test_a_box_has_a_density_and_a_vacuum_has_none(ilforge, arguments):
    code, _, err = ilforge("pack", "--ion", "BF4=1", *arguments)
    assert code == 2 and "either --density" in err and "or --vacuum" in err


def test_md_that_cannot_run_is_told_in_words(ilforge, tmp_path, two_pairs):
    def md(file, potential):
        code, _, err = ilforge("md", file, "--potential", potential, "--length", "0.01", "--out", "md")
        assert code == 2
        return " ".join(err.split())

    frames.write(tmp_path / "box.xyz", [two_pairs])
    said = md("box.xyz", "clp")
    assert "cutoff of 10 Å needs a box of at least 20 Å, but its smallest side is 9.50 Å" in said
    assert "or a cutoff of 4.5 Å" in said  # it is for the user to shorten it
    ilforge("pack", "--ion", "NO3=1", "--vacuum", "--out", "nitrate.xyz")
    assert "has no parameters for the ion NO3 here: it has PYR14" in md("nitrate.xyz", "clp")
    two_pairs.positions[two_pairs.symbols == "B"] += 2.0  # out of its four F
    frames.write(tmp_path / "torn.xyz", [two_pairs])
    assert "8 of 68 bonds have impossible lengths, such as B1 of BF4 #1 to F" in md("torn.xyz", "clp:4.0")
    (tmp_path / "empty.xyz").write_text("")
    assert "empty.xyz holds no frames" in md("empty.xyz", "clp:4.0")


def test_md_puts_atoms_in_the_order_of_the_ions(ilforge, tmp_path, two_pairs):
    frames.write(tmp_path / "swapped.xyz", [two_pairs[::-1]])
    code, _, _ = ilforge("md", "swapped.xyz", "--potential", "clp:4.0", "--length", "0.01", "--out", "md")
    last = frames.read(tmp_path / "md" / "last.xyz")[0]
    assert code == 0
    assert last.get_chemical_symbols() == two_pairs.get_chemical_symbols()


def test_a_parameter_file_is_named_with_its_potential():
    from ilforge.cli.potential_option import parse_potential
    from ilforge.errors import SettingsError
    from support.exp6 import DEMONSTRATION

    file = str(DEMONSTRATION)
    whole = parse_potential(f"exp6:{file}", None)
    assert whole["kind"] == "exp6" and set(whole["parameters"]["ions"]) == {"PYR14", "BF4"} and "cutoff_A" not in whole
    assert parse_potential(f"exp6:{file}:7.5", None) == {**whole, "cutoff_A": 7.5}
    assert parse_potential("clp:4.0", None) == {"kind": "clp", "cutoff_A": 4.0, "ewald_tolerance": 1e-5}
    assert parse_potential("GFN2-xTB", None) == parse_potential("gfn2", None) == {"kind": "xtb", "method": "GFN2-xTB"}
    for wrong, said in (
        ("exp6", "parameters is missing: Parameter file"),
        ("exp6:my.toml:x", "There is no file my.toml:x"),
        ("clp:x", "cutoff_A is 'x', but should be a valid number"),
        ("clp:-4", "cutoff_A is -4.0, but should be greater than 0"),
        ("gfn2:4.0", "expected gfn2, with nothing after it"),
        ("committee", "it may be clp"),
        ("nothing", "it may be clp"),
    ):
        with pytest.raises(SettingsError, match=said):
            parse_potential(wrong, None)

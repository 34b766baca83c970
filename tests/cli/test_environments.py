"""``ilforge env``, and what ``check``, ``run`` and ``doctor`` say where an environment is missing or broken."""

from __future__ import annotations

import re
import sys

import pytest

from ilforge import environments

STUDY = """
name = "s"
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 1.0
[sampling]
potential = "sevennet"
[reference]
potential = "gfn1"
[models.mace]
preset = "quick"
[learning]
iterations = 0
"""


@pytest.fixture(autouse=True)
def none_made(monkeypatch, tmp_path):
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "environments"))
    monkeypatch.setattr("ilforge.cli.doctor.inventory", dict)


def test_list_says_state_and_licence_functional_elements_and_dispersion_of_models(ilforge, tmp_path):
    code, out, _ = ilforge("env", "list")
    assert code == 0 and f"Folder: {tmp_path / 'environments'}" in out
    assert re.search(
        r"^sevennet +SevenNet 0\.13\.0 .* has not been made yet\. Make it with: ilforge env create sevennet", out, re.M
    )
    assert re.search(r"^sevennet +7net-0 +PBE of .*, D3\(BJ\) is added; 89 elements; licence MIT", out, re.M)
    assert re.search(r"^mace +off23-small +wB97M, has dispersion; licence ASL", out, re.M)
    (tmp_path / "here.toml").write_text(f'[environments]\nsevennet = "{sys.executable}"\n')
    out = ilforge("env", "list", "--machine", "here.toml")[1]
    assert re.search(rf"^sevennet .*{re.escape(sys.executable)}", out, re.M)


def test_names_that_are_none_are_refused_with_those_that_are(ilforge):
    for command in ("create", "remove"):
        code, _, err = ilforge("env", command, "sevnet")
        assert code == 2 and "There is no environment 'sevnet'. NAME may be sevennet" in err
    assert "There is no environment sevennet." in ilforge("env", "remove", "sevennet")[1]


def test_check_and_run_name_the_command_that_makes_it(ilforge, tmp_path):
    (tmp_path / "s.toml").write_text(STUDY)
    code, out, err = ilforge("check", "s.toml")
    assert code == 3 and "validate SevenNet" in out, "models that are used as they are are held against labels"
    assert "Missing: The environment sevennet has not been made yet. Make it with: ilforge env create sevennet" in err
    code, _, err = ilforge("run", "s.toml", "--quiet")
    assert code == 3 and "ilforge env create sevennet" in err
    (tmp_path / "environments" / "sevennet").mkdir(parents=True)
    code, _, err = ilforge("check", "s.toml")
    assert code == 3 and "The environment sevennet was not finished" in err


def test_check_refuses_elements_that_the_model_does_not_know(ilforge, tmp_path):
    define = '[liquid.define.RA]\nsmiles = "[Ra+2]"\n'
    (tmp_path / "s.toml").write_text(STUDY.replace("PYR14 = 1, BF4 = 1", "RA = 1, BF4 = 2") + define)
    code, _, err = ilforge("check", "s.toml")
    assert code == 2 and "sampling.potential is 'sevennet': SevenNet-0 does not know Ra: it knows H, He" in err


def test_doctor_names_the_command_too(ilforge, tmp_path):
    assert re.search(r"^environment sevennet +missing: ilforge env create sevennet", ilforge("doctor")[1], re.M)


def test_single_commands_know_the_environments_of_the_users_own_machine_toml(ilforge, tmp_path, monkeypatch):
    assert ilforge("pack", "--ion", "LI=1", "--ion", "CL=1", "--density", "0.8", "--out", "box.xyz")[0] == 0
    label = ("label", "box.xyz", "--potential", "sevennet:7net-0", "--out", "labels.xyz")
    code, _, err = ilforge(*label)
    assert code == 3 and "Make it with: ilforge env create sevennet" in err
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "ilforge").mkdir(parents=True)
    (tmp_path / ".config" / "ilforge" / "machine.toml").write_text('[environments]\nsevennet = "/nowhere/python"\n')
    code, _, err = ilforge(*label)
    assert code == 2 and "environments.sevennet in machine.toml is '/nowhere/python'" in err
    code, _, err = ilforge("label", "box.xyz", "--potential", "sevennet:7net-1")
    assert code == 2 and "'7net-0', '7net-l3i5' or '7net-mf-0'" in err

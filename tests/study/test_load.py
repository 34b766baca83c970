"""The study file: what is wrong with it is said in the words of its author."""

from __future__ import annotations

import pytest
from ilforge.study.presets import DEEPMD_PRESETS, MACE_PRESETS

from ilforge.errors import SettingsError
from ilforge.settings_file import check_settings
from ilforge.study.document import json_schema, reference, template
from ilforge.study.load import load_study
from ilforge.study.machine import load_machine
from ilforge.study.settings import DeepmdSettings, MaceSettings, StudySettings

MINIMAL = """
name = "mine"
[liquid]
ions = { PYR14 = 2, BF4 = 2 }
density_g_cm3 = 1.04
"""


def load(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return load_study(path)


def test_a_minimal_study_is_filled_with_defaults(tmp_path):
    study = load(tmp_path, MINIMAL)
    assert study.settings.liquid.temperature_K == 423.0
    assert study.settings.reference.spec() == {"kind": "xtb", "method": "GFN1-xTB"}
    assert study.settings.sampling.potential.spec() == {
        "kind": "clp",
        "cutoff_A": 4.0,
        "ewald_tolerance": 1e-5,
    }


MD_OF = "[[md]]\nname = 'a'\nensemble = 'NVT'\nlength_ps = 1.0\npotentials = [{}]\n{}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("temprature_K = 400.0", ["liquid.temprature_K", "Did you mean temperature_K", "density_g_cm3"]),
        ("temperature_K = -3.0", ["liquid.temperature_K is -3.0", "at least 160", "K."]),
        ("pressure_bar = 'high'", ["liquid.pressure_bar is 'high'", "valid number"]),
        ("[training.mace]\nr_maks_A = 5.0", ["training.mace.r_maks_A", "Did you mean r_max_A"]),
        ("[training.mace]\npreset = 'fast'", ["training.mace.preset is 'fast'", "'quick', 'liquid' or 'park2025'"]),
        ("[learning]\ndeviation_low_eV_A = 2.0", ["deviation_low_eV_A must be below deviation_high_eV_A"]),
        ("[training]\nmodels = ['mace']", ["learning.iterations > 0 needs deepmd"]),
        ("[training.deepmd]\ncommittee = 1", ["committee of at least 2"]),
        ("[[md]]\nname = 'a b'\nensemble = 'NVT'\npotentials = ['clp']\nlength_ps = 1.0", ["md.0.name is 'a b'"]),
        (
            "[[md]]\nname = 'a'\nensemble = 'NVT'\npotentials = ['clp', 'mace']\nlength_ps = 1.0\nengine = 'gromacs'",
            ["engine gromacs cannot run mace"],
        ),
        (MD_OF.format("'mace', 'clp'", "thermostat = 'nose-hoover'"), ["thermostat is a choice of the builtin engine"]),
        (MD_OF.format("'mace'", "barostat = 'cell-rescaling'"), ["needs ensemble = 'NPT'"]),
        (MD_OF.format("'mace'", "inner_potential = 'clp'"), ["inner_steps of 2 or more go together"]),
        (MD_OF.format("'mace'", "engine = 'openmm'\nthermostat = 'langevin'"), ["runs mace alone"]),
        (MD_OF.format("'mace', 'deepmd'", "hydrogen_mass_amu = 3.0"), ["not by lammps and gromacs"]),
        ("[liquid.define.ION]\ncharge = 1", ["either smiles or structure"]),
        ("[reference]\nkind = 'gpaw'\nmethod = 'GFN2-xTB'", ['method is a key of kind = "xtb"', "[reference.gpaw]"]),
        ("[reference]\nkind = 'xtb'\ncutoff_A = 4.0", ['a key of kind = "clp" or "clpol" or "exp6"', 'kind is "xtb"']),
        ("[reference]\nkind = 'xtb'\npath = 'm.model'", ['path is a key of kind = "mace" or "deepmd"']),
        ("[sampling]\npotential = { kind = 'clpol', ewald_tolerance = 1e-4 }", ["ewald_tolerance is a key of kind"]),
        ("[reference]\nkind = 'gaussian'", ["reference.kind is 'gaussian'", "'xtb'"]),
    ],
)
def test_bad_keys_are_named_with_what_they_may_be(tmp_path, change, words):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, MINIMAL + change + "\n")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("density", ["-1.0", "0.0", "104.0"])
def test_a_negative_or_absurd_density_is_refused(tmp_path, density):
    with pytest.raises(SettingsError, match="liquid.density_g_cm3 is"):
        load(tmp_path, MINIMAL.replace("1.04", density))


def test_every_fault_is_named_at_once(tmp_path):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, "name = 3\nseeed = 1\n[liquid]\nions = {}\n")
    assert all(word in str(error.value) for word in ("name is 3", "seeed", "liquid.density_g_cm3 is missing"))


def test_bad_toml_and_missing_files_are_said(tmp_path):
    with pytest.raises(SettingsError, match=r"not valid TOML: .*line 1"):
        load(tmp_path, "name = \n")
    with pytest.raises(SettingsError, match="There is no file"):
        load_study(tmp_path / "nothing.toml")


def test_liquid_is_quick_with_a_longer_radius():
    differ = {key for key, value in MACE_PRESETS["quick"].items() if MACE_PRESETS["liquid"][key] != value}
    assert differ == {"r_max_A", "epochs"} and MaceSettings(preset="liquid").r_max_A == 6.0
    with pytest.raises(SettingsError, match="--preset:\n.*preset is 'liquid', but should be 'quick' or 'park2025'"):
        check_settings(DeepmdSettings, {"preset": "liquid"}, "--preset")


def test_presets_fill_what_is_not_given_and_only_that():
    settings = DeepmdSettings(preset="park2025", steps=10)
    assert settings.r_cut_A == 10.0 and settings.fitting == [240, 240, 240] and settings.steps == 10
    assert DeepmdSettings().steps == DEEPMD_PRESETS["quick"]["steps"]


def test_park2025_is_the_published_choice():
    mace, deepmd = MaceSettings(preset="park2025"), DeepmdSettings(preset="park2025")
    assert (mace.r_max_A, mace.batch_size, mace.epochs, mace.second_stage_epoch) == (6.0, 4, 100, 75)
    assert (deepmd.embedding, deepmd.steps, deepmd.learning_rate_stop) == ([25, 50, 100], 1_000_000, 3.5e-8)


def test_seeds_differ_by_purpose_and_follow_the_study(tmp_path):
    one, other = load(tmp_path, MINIMAL), load(tmp_path, "seed = 2\n" + MINIMAL)
    assert one.seed("a") != one.seed("b") and one.seed("a") == load(tmp_path, MINIMAL).seed("a")
    assert one.seed("a") != other.seed("a") and 0 < one.seed("a") < 2**31


def test_the_template_is_valid_and_says_every_default(tmp_path):
    text = template("mine", {"PYR14": 2, "BF4": 2}, 1.04)
    study = load(tmp_path, text)
    uncommented = load(tmp_path, _without_comment_signs(text))
    assert uncommented.settings == study.settings
    given = study.settings.model_dump(exclude={"md"})
    assert given == load(tmp_path, MINIMAL).settings.model_dump(exclude={"md"})


def _without_comment_signs(text: str) -> str:
    """Every default as a key: a line of prose ends with a full stop, a key does not."""
    keys = [" = " in line and not line.endswith(".") for line in text.splitlines()]
    lines = [line.removeprefix("# ") if key else line for line, key in zip(text.splitlines(), keys, strict=True)]
    return "\n".join(lines)


def test_reference_and_schema_name_every_key():
    page, schema = reference(), json_schema()
    for model in (StudySettings, MaceSettings, DeepmdSettings):
        for key in model.model_fields:
            assert f"`{key}`" in page or f"[{key}" in page or f".{key}]" in page
            assert f'"{key}"' in schema


def test_machine_file_is_found_beside_the_study_and_checked(tmp_path):
    (tmp_path / "machine.toml").write_text("workers = 3\n")
    assert load_machine(None, tmp_path).worker_count == 3
    (tmp_path / "machine.toml").write_text("wokers = 3\n")
    with pytest.raises(SettingsError, match="Did you mean workers"):
        load_machine(None, tmp_path)
    assert load_machine(None, tmp_path / "elsewhere").worker_count >= 1


def test_check_settings_names_the_source():
    with pytest.raises(SettingsError, match="here.toml"):
        check_settings(StudySettings, {}, "here.toml")

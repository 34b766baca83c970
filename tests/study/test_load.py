"""The study file: what is wrong with it is said in the words of its author."""

from __future__ import annotations

import pytest

from ilforge.errors import SettingsError
from ilforge.potentials import POTENTIALS
from ilforge.settings_file import check_settings
from ilforge.study.document import full_template, json_schema, reference, template
from ilforge.study.load import load_study
from ilforge.study.machine import load_machine
from ilforge.study.settings import StudySettings
from ilforge.training.deepmd.settings import DEEPMD_PRESETS, DeepmdSettings
from ilforge.training.mace.settings import MACE_PRESETS, MaceSettings

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
    settings = study.settings
    assert settings.potential(settings.reference.potential).title == "GFN1-xTB"
    assert settings.potential(settings.sampling.potential).model_dump() == {
        "kind": "clp",
        "cutoff_A": None,
        "ewald_tolerance": 1e-5,
    }
    assert {name: model.committee for name, model in settings.models.items()} == {"mace": 1, "deepmd": 4}
    assert settings.explorer == "deepmd"


MD_OF = "[[md]]\nname = 'a'\nensemble = 'NVT'\nlength_ps = 1.0\npotentials = [{}]\n{}\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("temprature_K = 400.0", ["liquid.temprature_K", "Did you mean temperature_K", "density_g_cm3"]),
        ("temperature_K = -3.0", ["liquid.temperature_K is -3.0", "at least 160", "K."]),
        ("pressure_bar = 'high'", ["liquid.pressure_bar is 'high'", "valid number"]),
        ("[models.mace]\nr_maks_A = 5.0", ["models.mace.r_maks_A", "Did you mean r_max_A"]),
        ("[models.mace]\npreset = 'fast'", ["models.mace.preset is 'fast'", "'quick', 'liquid', 'good'"]),
        ("[learning]\ndeviation_low_eV_A = 2.0", ["deviation_low_eV_A must be below deviation_high_eV_A"]),
        ("[models.mace]", ["learning.iterations > 0 needs a committee"]),
        ("[models.deepmd]\ncommittee = 1\n[learning]\nexplorer = 'deepmd'", ["deepmd.committee of 2 or more"]),
        ("[[md]]\nname = 'a b'\nensemble = 'NVT'\npotentials = ['clp']\nlength_ps = 1.0", ["md.0.name is 'a b'"]),
        (
            "[[md]]\nname = 'a'\nensemble = 'NVT'\npotentials = ['clp', 'mace']\nlength_ps = 1.0\nengine = 'gromacs'",
            ["engine gromacs cannot run mace"],
        ),
        (
            MD_OF.format("'mace', 'clp'", "thermostat = 'nose-hoover'"),
            ["thermostat can be chosen only with the builtin engine"],
        ),
        (MD_OF.format("'mace'", "barostat = 'cell-rescaling'"), ["needs ensemble = 'NPT'"]),
        (MD_OF.format("'mace'", "inner_potential = 'clp'"), ["inner_potential needs inner_steps of 2 or more"]),
        (MD_OF.format("'mace'", "engine = 'openmm'\nthermostat = 'langevin'"), ["builtin engine, which runs MACE"]),
        (
            MD_OF.format("'mace', 'deepmd'", "hydrogen_mass_amu = 3.0"),
            ["needs builtin, openmm, ase, but lammps runs deepmd"],
        ),
        ("[liquid.define.ION]\ncharge = 1", ["either smiles or structure"]),
        ("[reference]\nkind = 'gpaw'", ["reference.kind is not a key any more", "[potentials.NAME]"]),
        ("[reference.gpaw]\ncutoff_eV = 800", ["reference.gpaw is not a key any more", "[potentials.gpaw]"]),
        ("[training]\nmodels = ['mace']", ["training.models is not a key any more", "[models.mace]"]),
        ("[training.mace]\npreset = 'quick'", ["[training.mace] is [models.mace] now"]),
        ("[sampling]\npotential = { kind = 'clp' }", ["sampling.potential", "write its keys into [potentials.NAME]"]),
        (MD_OF.format("'clp'", "cutoff_A = 10.0"), ["md.0.cutoff_A is not a key any more", "[potentials.clp10]"]),
        (
            MD_OF.format("'clp'", "composition = 'a'"),
            ["md.0.composition is not a key any more", 'compositions = ["NAME"]'],
        ),
        (
            MD_OF.format("'reference'", ""),
            ["md 'a': potentials names 'reference'", "The reference is 'gfn1'", "clp, clpol"],
        ),
        (MD_OF.format("'clp'", "engine = 'namd'"), ["engine is 'namd'", "builtin, openmm"]),
        (MD_OF.format("'clp'", "temperatures_K = [300.0, 300.0]"), ["temperatures_K contains a value twice"]),
        ("[potentials.mine]\nkind = 'gaussian'", ["potentials.mine.kind is 'gaussian'", "clp, clpol"]),
        ("[potentials.mine]\ncutoff_A = 4.0", ["potentials.mine.kind is missing", "clp, clpol"]),
        (
            "[potentials.clpol]\newald_tolerance = 1e-4",
            ["potentials.clpol.ewald_tolerance", "Known in [potentials.clpol]"],
        ),
        ("[potentials.clp]\ncutof_A = 4.0", ["potentials.clp.cutof_A", "Did you mean cutoff_A"]),
        ("[potentials.mace]\npath = 'a'", ["potentials.mace.sha256 is missing", "Digest"]),
        ("[potentials.deepmd]\npath = 'a'\nsha256 = 'b'", ["deepmd is a name in [potentials] and in [models]"]),
        ("[reference]\npotential = 'mace'", ["reference.potential is 'mace', a model that is trained only later"]),
        ("[reference]\npotential = 'pbe'", ["reference.potential is 'pbe'", "Known: clp"]),
        ("[models.a]\nkind = 'gap'", ["models.a.kind is 'gap'", "mace, deepmd"]),
        (
            "[models.a]\nkind = 'mace'\n[learning]\nexplorer = 'b'",
            ["learning.explorer is 'b'", "is not one of [models]: a"],
        ),
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


def test_the_short_template_is_valid_and_short(tmp_path):
    text = template("mine", {"PYR14": 2, "BF4": 2}, 1.04)
    assert len(text.splitlines()) <= 80
    study = load(tmp_path, text).settings
    assert study.potential("clp-md").cutoff_A == 6.5 and study.explorer == "deepmd"


def test_the_full_template_is_valid_and_says_every_default(tmp_path):
    text = full_template("mine", {"PYR14": 2, "BF4": 2}, 1.04)
    study = load(tmp_path, text)
    uncommented = load(tmp_path, _without_comment_signs(text))
    assert uncommented.settings == study.settings
    given = study.settings.model_dump(exclude={"md", "potentials"})
    assert given == load(tmp_path, MINIMAL).settings.model_dump(exclude={"md", "potentials"})
    assert study.settings.potentials["gpaw"] == POTENTIALS["gpaw"].settings()
    assert all(f"# {key} = " in text for key in ("r_max_A", "forces_weight", "r_cut_A", "force_prefactor"))


def test_a_table_of_md_is_a_grid_of_runs_with_names(tmp_path):
    compositions = "".join(
        f"[[liquid.compositions]]\nname = '{name}'\nions = {{ PYR14 = {n}, BF4 = {n} }}\ndensity_g_cm3 = 1.0\n"
        for name, n in (("two", 2), ("three", 3))
    )
    grid = "compositions = ['two', 'three']\ntemperatures_K = [423.0, 353.5]"
    study = load(tmp_path, 'name = "grid"\n' + compositions + MD_OF.format("'clp', 'mace'", grid)).settings
    runs = [(run.name, run.composition, run.temperature_K) for run in study.protocols]
    assert runs == [
        ("a-two-423K", "two", 423.0), ("a-two-353.5K", "two", 353.5),
        ("a-three-423K", "three", 423.0), ("a-three-353.5K", "three", 353.5),
    ]  # fmt: skip
    (alone,) = load(tmp_path, MINIMAL + MD_OF.format("'clp'", "temperatures_K = [300.0]")).settings.protocols
    assert (alone.name, alone.temperature_K, alone.composition) == ("a", 300.0, None)
    twice = MD_OF.format("'clp'", "temperatures_K = [300.0, 400.0]") + MD_OF.format("'clp'", "").replace(
        "'a'", "'a-300K'"
    )
    with pytest.raises(SettingsError, match="a-300K occurs twice"):
        load(tmp_path, MINIMAL + twice)


def test_a_study_holds_several_models_and_potentials_of_a_kind(tmp_path):
    text = """
[potentials.clp10]
kind = "clp"
cutoff_A = 10.0
[models.small]
kind = "mace"
preset = "quick"
[models.large]
kind = "mace"
preset = "park2025"
committee = 3
"""
    study = load(tmp_path, MINIMAL + text + MD_OF.format("'clp', 'clp10', 'small', 'large'", "")).settings
    assert (study.models["small"].r_max_A, study.models["large"].r_max_A) == (4.5, 6.0)
    assert study.explorer == "large" and set(study.models) == {"small", "large"}


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

"""Files of DP-GEN that cannot be read, and values that it does not take: said in the user's words."""

from __future__ import annotations

import json

import pytest

from ilforge.dpgen.move import Wishes, import_dpgen
from ilforge.dpgen.reading import read_settings
from ilforge.errors import SettingsError
from support import dpgen_runs


def refused(run, out, wishes=None):
    with pytest.raises(SettingsError) as error:
        import_dpgen(run, out, wishes)
    assert not out.exists()
    return str(error.value)


def test_folders_without_dpgen(tmp_path):
    assert "is not a folder" in refused(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{}")
    said = refused(tmp_path / "run", tmp_path / "out")
    assert "no param.json. It holds settings.json" in said and "--param" in said
    assert "--param" in refused(tmp_path / "run", tmp_path / "out", Wishes(param=tmp_path / "gone.json"))
    for name in ("param.json", "param.yaml"):
        (tmp_path / "run" / name).write_text("{}")
    assert "param.json and param.yaml" in refused(tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n  "a": 1, // note\n  "b": 2\n}', ["line 2", "comment", "_comment"]),
        ('{\n  # note\n  "b": 2\n}', ["line 2", "JSON has no comments"]),
        ('{\n  "a": [1, 2,],\n}', ["line 2", "comma before ']'"]),
        ('{\n  "a": 1,\n}', ["line 3", "comma before '}'"]),
        ('{\n  "a": {"b": 1\n', ["cut short"]),
        ("{'a': 1}", ["double quotes"]),
        ("", ["empty"]),
        ("[1, 2]", ["list", "keys and values"]),
        ('{"a": 1, "a": 2}', ["'a' occurs twice", "delete one"]),
        ('{"a": nothing}', ["not valid JSON"]),
    ],
)
def test_broken_json(tmp_path, text, words):
    path = tmp_path / "param.json"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_settings(path)
    for word in ("param.json", *words):
        assert word in str(error.value)


def test_broken_yaml(tmp_path):
    pytest.importorskip("yaml")
    (tmp_path / "param.yaml").write_text("a: [1, 2\nb: 3")
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_settings(tmp_path / "param.yaml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fp_style": "vaps"}, ["fp_style is 'vaps'", "Is it 'vasp'?"]),
        ({"fp_style": None}, ["fp_style is missing"]),
        ({"numb_models": "four"}, ['numb_models is "four"', "a number"]),
        ({"numb_models": None}, ["numb_models is missing"]),
        ({"default_training_param": None}, ["default_training_param is missing"]),
        ({"default_training_param": {"training": {}}}, ["numb_steps is missing"]),
        ({"model_devi_dt": 2}, ["model_devi_dt is 2 ps", "8 fs"]),
        ({"model_devi_jobs": {"a": 1}}, ["model_devi_jobs", "one for each iteration"]),
        ({"model_devi_jobs": [{}, {}, {"temps": "hot"}]}, ['model_devi_jobs[2].temps is "hot"', "list of numbers"]),
        ({"model_devi_jobs": [{}, {}, {"ensemble": "npH"}]}, ["ensemble", "npt, nvt or nve"]),
        ({"model_devi_f_trust_lo": 0.6}, ["(0.6) is not below", "(0.45)"]),
        ({"init_data_sys": [1]}, ["init_data_sys", "list of texts"]),
    ],
)
def test_values_that_dpgen_does_not_take(tmp_path, salts, changes, words):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:3])
    param = {**dpgen_runs.vasp_param(), **changes}
    (run / "param.json").write_text(json.dumps({key: value for key, value in param.items() if value is not None}))
    said = refused(run, tmp_path / "out")
    for word in ("param.json", *words):
        assert word in said


def test_a_broken_record(tmp_path, salts):
    run = dpgen_runs.write_run(tmp_path / "run", dpgen_runs.vasp_param(), dpgen_runs.slurm_machine(), salts[:3])
    (run / "record.dpgen").write_text("0 0\n0 one\n")
    said = refused(run, tmp_path / "out")
    assert "record.dpgen ends with '0 one'" in said and "Delete that line" in said


def test_a_run_without_labels_needs_ions_and_density(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    param = {**dpgen_runs.vasp_param(), "init_data_sys": []}
    (run / "param.json").write_text(json.dumps(param))
    said = refused(run, tmp_path / "out")
    assert "--ions" in said and "--density" in said
    moved = import_dpgen(run, tmp_path / "out", Wishes(ions="2 PYR14, 2 BF4", density_g_cm3=1.04))
    assert (moved.out / "study.toml").is_file() and not (moved.out / "machine.toml").exists()
    assert any("machine.json" in note for note in moved.notes)

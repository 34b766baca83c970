"""check, status, results and report on a study and a store of somebody else's."""

from __future__ import annotations

import hashlib
import json

import pytest

from ilforge import trust
from ilforge.labelling.storing.store import FILE
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.models import ERRORS
from ilforge.workflow.store import ResultStore, write_json
from support import studies
from support.hostile import evil_model, trained
from support.labels import damage, filled
from support.studies import SMALLEST

LOOKS = ("check", "status", "results", "report")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("command", ["{}", "mpirun -np 2 {}"])
def test_no_program_that_a_study_names_is_started(ilforge, tmp_path, look, command):
    program = tmp_path / "cp2k.psmp"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho CP2K version 2023.1\n")
    program.chmod(0o755)
    table = f'\n[potentials.cp2k]\ncommand = "{command.format(program)}"\n'
    (tmp_path / "s.toml").write_text(SMALLEST.replace("REFERENCE", "cp2k") + table)
    code, _, err = ilforge(look, "s.toml")
    assert code == 2 and str(program) in err and "start no program that" in err
    assert not (tmp_path / "started").exists()
    trust.keep_version(program, "2023.1")  # as `ilforge run` does
    code, _, err = ilforge(look, "s.toml")
    assert code == 0 if look == "check" else "contains no results of this study" in err, err
    assert not (tmp_path / "started").exists()
    program.write_text(program.read_text() + "# another program\n")
    code, _, err = ilforge(look, "s.toml")
    assert code == 2 and "start no program that" in err, "it is not the one that was run"


@pytest.mark.parametrize("look", LOOKS)
def test_no_model_that_a_study_names_is_loaded(ilforge, tmp_path, look):
    model = tmp_path / "model.model"
    evil_model(model, tmp_path / "trace")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    table = f'\n[potentials.given]\nkind = "mace"\npath = "{model}"\nsha256 = "{digest}"\n'
    text = SMALLEST.replace("REFERENCE", "gfn1").replace('potential = "clp"', 'potential = "given"')
    (tmp_path / "s.toml").write_text(
        text.replace('"clp", "deepmd"', '"deepmd"').replace('potentials = ["clp"]', 'potentials = ["mace"]') + table
    )
    code, _, err = ilforge(look, "s.toml")
    assert code == 0 if look == "check" else "contains no results of this study" in err, err
    assert not (tmp_path / "trace").exists()


def test_results_that_are_damaged_are_named_and_left_out(ilforge, tmp_path):
    """A number is changed in the store of a small study that has one result."""
    (tmp_path / "s.toml").write_text(SMALLEST.replace("REFERENCE", "gfn1"))
    plan, store = make_plan(load_study("s.toml")), ResultStore(tmp_path / "ilforge-store")
    store.prepare()
    stage = plan.validations[None, "clp", ""]
    row = {"quantity": "force_rmse", "species": None, "dataset": "EQ", "value": 0.5, "error": 0.1, "unit": "eV/Å",
           "n_eff": 9.0, "converged": True, "note": ""}  # fmt: skip
    write_json(store.open_scratch(stage) / ERRORS, [row])
    manifest = {"key": stage.key, "name": "x", "host": "h", "finished": "now", "wall_s": 1.0, "programs": {}}
    directory = store.publish(stage, manifest)
    assert json.loads(ilforge("results", "s.toml", "--json")[1])[0]["value"] == 0.5
    (directory / ERRORS).write_text((directory / ERRORS).read_text().replace("0.5", "0.1"))
    code, out, err = ilforge("results", "s.toml", "--json")
    assert code == 0 and json.loads(out) == [] and f"Warning: the result {stage.key} is damaged" in err
    assert "damaged: errors.json is not what was stored" in ilforge("status", "s.toml")[1]


def test_store_trust_signs_what_is_whole(ilforge, tmp_path):
    stage = trained()
    store, _ = studies.run([stage], tmp_path / "store")
    manifest = store.path(stage) / "manifest.json"
    bare = {key: value for key, value in json.loads(manifest.read_text()).items() if key != "signature"}
    manifest.write_text(json.dumps(bare))
    assert not trust.is_signed(bare)
    code, out, _ = ilforge("store", "trust", "store")
    assert code == 0 and "Signed 1 results" in out and trust.is_signed(json.loads(manifest.read_text()))
    code, _, err = ilforge("store", "trust", "nothing")
    assert code == 2 and "holds no results" in err


def test_a_whole_store_is_checked_backed_up_and_rescued(ilforge, tmp_path):
    filled(tmp_path / "store" / "labels", 40)
    assert "40 labels are intact: 40 results" in ilforge("store", "check", "store")[1]
    assert "Copied 40 labels" in ilforge("store", "backup", "store")[1]
    damage(tmp_path / "store" / "labels" / FILE, 0, 20 * 4096)
    code, _, err = ilforge("store", "check", "store")
    assert code == 2 and "ilforge store salvage" in err
    code, out, _ = ilforge("store", "salvage", "store")
    assert code == 0 and "Rescued 40 labels" in out
    assert ilforge("store", "check", "store")[0] == 0
    assert ilforge("store", "check", "nothing")[0] == 2

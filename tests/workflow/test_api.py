"""A whole study, a training and a validation, each in one call from Python."""

from __future__ import annotations

from collections import Counter

import pytest
from click.testing import CliRunner

import ilforge
from ilforge.cli import ilforge as command
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY
from ilforge.workflow import store, study_run
from support import models
from support.studies import quick


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return ilforge.Study.load(quick(folder), store=folder / "store", output=folder / "reports")


@pytest.mark.program("packmol")
@pytest.mark.program("mace_run_train")
def test_a_study_runs_from_end_to_end_and_its_numbers_are_there(study):
    assert study.records() == []
    folder = study.run()
    assert (folder / "report.html").is_file() and folder.parent.name == "reports"
    records = study.records()
    assert {record.potential for record in records} == {"clp", "mace"}
    assert {"force_rmse", "density", "holds_liquid"} <= {record.quantity for record in records}
    of_truth = {r.quantity: r.value for r in records if r.potential == "clp" and r.dataset == "all"}
    assert of_truth["force_rmse"] < 1e-6, "CL&P held against its own labels"
    of_model = {r.quantity: r.value for r in records if r.potential == "mace" and r.dataset == "all"}
    assert of_model["force_rmse"] > 0.01, "two epochs on a dozen frames"
    assert ilforge.run(study) == folder and study.records() == records, "computed once"


@pytest.mark.program("packmol")
@pytest.mark.program("mace_run_train")
def test_to_print_results_a_study_is_planned_once_and_each_file_is_digested_once(study, monkeypatch):
    study.run()
    plans, digested = [], Counter()
    plan, digest = study_run.make_plan, store.file_digest
    monkeypatch.setattr(study_run, "make_plan", lambda *given: plans.append(given) or plan(*given))
    monkeypatch.setattr(store, "file_digest", lambda path: digested.update([path]) or digest(path))
    done = CliRunner().invoke(command, ["results", str(study.checked.path), "--store", study.machine.store])
    assert done.exit_code == 0 and "force_rmse" in done.output
    assert len(plans) == 1
    assert digested and set(digested.values()) == {1}


def test_a_study_with_a_fault_is_not_loaded(tmp_path):
    path = quick(tmp_path)
    path.write_text(path.read_text().replace("density_g_cm3 = 0.6", "density_g_cm3 = 60"))
    with pytest.raises(SettingsError, match="density_g_cm3 is 60"):
        ilforge.Study.load(path)


def test_training_refuses_a_kind_that_is_not_there(one_pair, tmp_path):
    with pytest.raises(SettingsError, match="'gap' is not a kind of model"):
        ilforge.train(models.labelled(one_pair, 4), "gap", directory=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_validation_gives_the_error_that_was_put_in(one_pair):
    labelled = models.labelled(one_pair, 3)
    for number, frame in enumerate(labelled):
        frame.info["parent"] = f"box-{number}"
        frame.info[ENERGY] += 0.35
    found = ilforge.validate({"kind": "clp", "cutoff_A": 4.0}, labelled)
    errors = {quantity: estimate for quantity, species, dataset, estimate in found if dataset == "all" and not species}
    assert errors["energy_rmse_per_atom"].value == pytest.approx(0.35 / 35, rel=1e-6)
    assert errors["energy_rmse_per_atom_offset_removed"].value == pytest.approx(0.0, abs=1e-6)

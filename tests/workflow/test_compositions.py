"""A whole study of two compositions with AIMD: one model, held against each, every frame labelled once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ilforge import frames
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from support.studies import compositions

pytestmark = [pytest.mark.slow, pytest.mark.program("packmol"), pytest.mark.program("lmp")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder, plan, and path of every result of the study."""
    folder = tmp_path_factory.mktemp("compositions")
    path = compositions(folder)
    done = subprocess.run(
        [sys.executable, "-m", "ilforge", "run", path.name], cwd=folder, capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    plan = make_plan(load_study(path))
    return folder, plan, {stage.key: folder / "ilforge-store" / "results" / stage.key for stage in plan.stages}


def test_one_dataset_holds_all_compositions_and_all_recipes(finished):
    _, plan, at = finished
    dataset = Dataset.read(at[plan.datasets[-1].key])
    assert {frame.info["ions"] for frame in dataset.frames} == {"1 PYR14, 1 BF4", "1 PYR14, 1 Li, 2 BF4"}
    recipes = {frame.info["recipe"] for frame in dataset.frames}
    assert recipes >= {"nvt", "aimd", "packed", "distorted", "hot"}
    assert not {frame.info["parent"] for frame in dataset.train} & {frame.info["parent"] for frame in dataset.stop}


def test_aimd_gives_the_frames_that_were_planned_and_none_is_labelled_twice(finished):
    folder, plan, at = finished
    for part in plan.study.parts:
        made = frames.read(at[plan.frames[f"training AIMD, {part.composition}"].key] / "frames.xyz")
        assert len(made) == part.settings.sampling.training.aimd == 8
        manifest = json.loads((at[plan.labels[f"training AIMD, {part.composition}"].key] / "manifest.json").read_text())
        facts = manifest["facts"]
        assert (facts["labelled_now"], facts["reused"]) == (0, 8) and 0 <= facts["rejected"] < 8
        census = json.loads((at[plan.labels[f"training, {part.composition}"].key] / "census.json").read_text())
        single = part.settings.sampling.training.single_points
        assert sum(row["made"] for row in census["rows"].values()) == single
        assert set(census["coverage"]) <= set(census["rows"])
    with LabelStore(folder / "ilforge-store" / "labels") as store:
        planned = sum(
            part.settings.sampling.training.labels + part.settings.sampling.validation.labels
            for part in plan.study.parts
        )
        explored = sum(len(frames.read(at[stage.key] / "frames.xyz")) for stage in plan.explorations.values())
        assert store.census()["labels"] == planned + explored


def test_every_composition_has_its_own_errors_and_md_runs_the_one_it_names(finished):
    folder, plan, _ = finished
    records = json.loads((folder / "ilforge-results" / "compositions" / "results.json").read_text())
    errors = {record["liquid"] for record in records if record["quantity"] == "force_rmse"}
    assert len(errors) == 2
    assert len({record["liquid"] for record in records if record["quantity"] == "rdf_first_peak"}) <= 1
    page = (folder / "ilforge-results" / "compositions" / "report.html").read_text()
    assert all(liquid in page for liquid in errors) and "Coverage" in page

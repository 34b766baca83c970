"""Labels as a dataset to share: out of one study, into another, and nothing that does not fit together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ase.io
import pytest

from ilforge import potentials
from ilforge.errors import MissingProgram, SettingsError
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.datasets.published import open_published
from ilforge.labelling.datasets.publishing import faults
from ilforge.labelling.gate_settings import GateSettings
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.plan import make_plan
from ilforge.workflow.publish import publish_study
from ilforge.workflow.store import ResultStore
from ilforge.workflow.study_run import check_study
from support import studies
from support.studies import smallest

GPAW = Path(__file__).parents[1] / "data" / "datasets" / "gpaw-pair"
USER = """
name = "user"
seed = 3
dataset = "DATASET"
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 4.0
[sampling]
potential = "clp"
[reference]
potential = "REFERENCE"
[models.mace]
[learning]
iterations = 0
"""


def make(stages, root: Path) -> ResultStore:
    """Make some stages in a store."""
    store, outcome = studies.run(stages, root)
    assert outcome.complete, outcome.failed
    return store


def user(folder: Path, dataset: Path, reference: str, **changes: str) -> Path:
    """Write a study that takes its labels from a dataset."""
    text = USER.replace("DATASET", str(dataset)).replace("REFERENCE", reference)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "user.toml"
    path.write_text(text)
    return path


CLP = "clp"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study whose truth is CL&P, sampled and labelled, and its labels as a dataset."""
    folder = tmp_path_factory.mktemp("made")
    path = smallest(folder, "clp")
    text = path.read_text().replace("[learning]\n", "[learning]\niterations = 0\n")
    path.write_text(text.replace("hot_boxes = 1", "hot_boxes = 0").replace("eq_boxes = 3", "eq_boxes = 2"))
    study = load_study(path)
    plan = make_plan(study)
    store = make([plan.datasets[0], *plan.labels.values()], folder / "store")
    dataset, missing = publish_study(study, Machine(store=str(folder / "store")), folder / "clp-pair")
    return folder, plan, store, dataset, missing


pytestmark = [pytest.mark.slow, pytest.mark.program("packmol")]


def test_what_a_study_labelled_is_in_the_dataset_and_bears_a_second_look(made):
    folder, plan, store, dataset, missing = made
    assert missing == 0
    assert dataset.counts("training") == {"EQ/nvt": 6, "nEQ/packed": 3}
    assert dataset.counts("validation") == {"EQ/nvt": 2, "nEQ/packed": 2}
    assert sorted(path.name for path in dataset.directory.iterdir()) == [
        ".ilforge", "README.md", "manifest.json", "study.toml", "training.xyz.gz", "validation.xyz.gz"
    ]  # fmt: skip
    assert dataset.method["kind"] == "clp" and dataset.manifest["title"] == "CL&P"
    again = open_published(dataset.directory)
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    assert faults(again, GateSettings(), lambda frame: topology) == ()
    assert len(ase.io.read(dataset.directory / "training.xyz.gz", index=":")) == 9, "ASE reads it as it is"


def test_check_counts_the_labels_that_a_store_has(made, tmp_path):
    """Another gate judges all labels anew, and none is paid for."""
    folder, *_ = made
    path = tmp_path / "stricter.toml"
    path.write_text((folder / "smallest.toml").read_text() + "\n[gate]\nmax_force_eV_A = 25.0\n")
    for store, at_hand in ((folder / "store", [8, 3]), (tmp_path / "empty", [0, 0])):
        found = check_study(load_study(path), Machine(store=str(store)))
        assert [n for stage, done, n in found.rows if stage.kind == "labels" and not done] == at_hand
    assert not (tmp_path / "empty").exists()


def test_a_second_look_at_the_labels_reads_no_frames(made, tmp_path):
    """What was found once is noted, because reading the frames of a large study takes a minute."""
    folder, plan, *_ = made
    shutil.copytree(folder / "store", tmp_path / "store")
    stage, store = plan.labels["training"], ResultStore(tmp_path / "store")
    first = stage.at_hand(store)
    assert first == (first.total, 0, 9)
    (store.path(stage.inputs["frames"]) / "frames.xyz").unlink()
    assert stage.at_hand(store) == first
    for note in store.notes.iterdir():
        note.write_text("{not a note")
    with pytest.raises(SettingsError, match="There is no file"):
        stage.at_hand(store)


def test_a_study_that_takes_the_dataset_trains_on_the_very_same_split(made, tmp_path):
    folder, plan, store, dataset, _ = made
    mine = make_plan(load_study(user(tmp_path, dataset.directory, CLP)))
    own = make([mine.datasets[0], mine.labels["validation"]], tmp_path / "store")
    first, second = Dataset.read(store.path(plan.datasets[0])), Dataset.read(own.path(mine.datasets[0]))
    assert first.digest == second.digest
    assert [f.info["parent"] for f in first.frames] == [f.info["parent"] for f in second.frames]
    census = json.loads((own.path(mine.labels["validation"]) / "census.json").read_text())
    assert sum(row["accepted"] for row in census["rows"].values()) == 4 and census["coverage"]
    with LabelStore(own.labels) as labels:
        assert labels.census()["results"] == 13, "and its labels are in the store of the study"


def test_the_same_labels_make_the_same_files(made, tmp_path):
    folder, *_, dataset, _ = made
    again, _ = publish_study(load_study(folder / "smallest.toml"), Machine(store=str(folder / "store")), tmp_path / "x")
    assert again.manifest["files"] == dataset.manifest["files"]


def test_unfinished_work_is_counted(made, tmp_path):
    folder, plan, store, dataset, _ = made
    shutil.copytree(store.root, tmp_path / "store")
    with LabelStore(tmp_path / "store" / "labels") as labels:
        labels._connection.execute("DELETE FROM labels WHERE rowid < 4")
    _, missing = publish_study(
        load_study(folder / "smallest.toml"), Machine(store=str(tmp_path / "store")), tmp_path / "partial"
    )
    assert missing == 3


def test_nothing_to_export_is_said(made, tmp_path):
    folder, *_ = made
    study = load_study(folder / "smallest.toml")
    with pytest.raises(SettingsError, match="run it first"):
        publish_study(study, Machine(store=str(tmp_path)), tmp_path / "x")


@pytest.mark.parametrize(
    ("reference", "changes", "words"),
    [
        (CLP, {"cutoff": ("cutoff_A = 4.0", "cutoff_A = 3.9")}, "cutoff_A is 3.9, there 4.0"),
        ("gfn1", {}, "of kind 'xtb', but the labels of dataset = .* are of kind 'clp'"),
        (CLP, {"ions": ("PYR14 = 1, BF4 = 1", "PYR14 = 2, BF4 = 2")}, "but the study is of 2 PYR14, 2 BF4"),
        (CLP, {"sampling": ("[sampling]", "[sampling]\ntraining = { eq_boxes = 1, eq_frames_per_box = 1, packed = 0, "
         "hot_boxes = 0, hot_frames_per_box = 0 }")}, "sampling.training and dataset"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_dataset_is_refused_in_words(made, tmp_path, reference, changes, words):
    *_, dataset, _ = made
    with pytest.raises(SettingsError, match=words):
        make_plan(load_study(user(tmp_path, dataset.directory, reference, **changes)))


def test_a_cutoff_that_does_not_fit_the_boxes_of_the_dataset_is_said_before_the_start(tmp_path):
    short = {"cutoff": ("cutoff_A = 4.0", "cutoff_A = 3.9")}
    assert make_plan(load_study(user(tmp_path, GPAW, "gpaw", **short))).stages
    with pytest.raises(SettingsError, match="needs a box of at least 8 Å, but its smallest side is 7.97 Å"):
        make_plan(load_study(user(tmp_path, GPAW, "gpaw")))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="There is no dataset in .*export-labels STUDY --format dataset"):
        make_plan(load_study(user(tmp_path, tmp_path, CLP)))


def test_an_edited_file_is_found_before_anything_is_trained(made, tmp_path):
    *_, dataset, _ = made
    copy = tmp_path / "edited"
    shutil.copytree(dataset.directory, copy)
    with open(copy / "training.xyz.gz", "ab") as file:
        file.write(b"\0")
    plan = make_plan(load_study(user(tmp_path, copy, CLP)))
    with pytest.raises(SettingsError, match=r"training\.xyz\.gz does not agree with manifest\.json"):
        make([plan.labels["training"]], tmp_path / "store")


@pytest.fixture
def no_gpaw(monkeypatch):
    """A machine without GPAW."""
    from ilforge import programs

    there = programs.find

    def find(program):
        if program == "gpaw":
            raise MissingProgram("gpaw", programs.PACKAGES["gpaw"])
        return there(program)

    monkeypatch.setattr(programs, "find", find)


def test_labels_of_gpaw_are_used_without_gpaw(no_gpaw, tmp_path):
    plan = make_plan(load_study(user(tmp_path, GPAW, "gpaw", cutoff=("cutoff_A = 4.0", "cutoff_A = 3.9"))))
    store = make([plan.datasets[0], plan.labels["validation"]], tmp_path / "store")
    dataset = Dataset.read(store.path(plan.datasets[0]))
    assert len(dataset.frames) == 3
    with LabelStore(store.labels) as labels:
        ((_, method),) = labels.methods().items()
    assert method["kind"] == "gpaw" and method["gpaw"], "the version is that of the labels"


@pytest.mark.parametrize("kind", ["gpaw", "cp2k", "vasp"])
def test_no_density_functional_program_is_asked_for(kind, tmp_path, monkeypatch):
    """A dataset of each of them, made out of that of GPAW, on a machine with an empty PATH."""
    shutil.copytree(GPAW, tmp_path / kind)
    manifest = json.loads((GPAW / "manifest.json").read_text())
    manifest["versions"] = {kind: "1.0"}
    manifest["method"] = {**potentials.settings(potentials.create({"kind": kind})), kind: "1.0"}
    (tmp_path / kind / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("PATH", str(tmp_path))
    short = ("cutoff_A = 4.0", "cutoff_A = 3.9")
    plan = make_plan(load_study(user(tmp_path, tmp_path / kind, kind, cutoff=short)))
    assert len(plan.labels) == 2 and plan.labels["training"].settings["reference"][kind] == "1.0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "learning": ("iterations = 0", "iterations = 2"),
                "models": ("[models.mace]", "[models.mace]\n[models.deepmd]"),
            },
            "gpaw was not found. It is needed for up to 80 labels in 2 rounds of concurrent learning.*"
            "or set learning.iterations = 0",
        ),
        ({"without": (f'dataset = "{GPAW}"\n', "")}, "It is needed for 190 labels.*name a folder of labels in"),
    ],
)
def test_labels_that_are_not_there_need_the_program_and_are_counted(no_gpaw, tmp_path, changes, words):
    with pytest.raises(MissingProgram, match=words):
        make_plan(load_study(user(tmp_path, GPAW, "gpaw", **changes)))

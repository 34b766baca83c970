"""Labels that are begun and not finished: the store they are kept in is read back, and its study finds its frames."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from ilforge import frames
from ilforge.labelling.gate import judge_batch
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid
from ilforge.study.load import load_study
from ilforge.workflow.steps.structures import frames_stage, preparation_stage
from ilforge.workflow.store import ResultStore

FOLDER = Path(__file__).parents[2] / "examples" / "litfsi-pyr14tfsi-labels"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unfinished")
    with tarfile.open(FOLDER / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return ResultStore(folder / "ilforge-store")


@pytest.fixture(scope="module")
def sampled(store):
    """Frames of all sets, out of the stages that the study asks for."""
    study, found = load_study(FOLDER / "study.toml"), []
    for part in study.parts:
        for stage in (
            preparation_stage(part, "hot"),
            *(frames_stage(part, purpose) for purpose in ("training", "validation")),
        ):
            assert store.holds(stage) and store.fault(stage) is None, f"{stage.name}: sampled anew, and labels are lost"
            found += frames.read(store.path(stage) / "frames.xyz") if stage.kind == "frames" else []
    return {frames.digest(frame): frame for frame in found}


def test_every_label_is_of_a_frame_of_the_study_and_passes_the_gate(store, sampled):
    gate = load_study(FOLDER / "study.toml").settings.gate
    with LabelStore(store.labels) as labels:
        held = {label.frame_digest: label for label in labels if "isolated_atom" not in label.method}
    assert len(sampled) == 375 and held.keys() <= sampled.keys()
    reasons = judge_batch(held, lambda frame: Liquid.of_frame(frame).topology, gate)
    assert {reason for reason in reasons.values() if reason} == set() and held


def test_the_readme_says_how_many_there_are(store):
    with LabelStore(store.labels) as labels:
        count = sum("isolated_atom" not in label.method for label in labels)
    said = re.search(r"Labelled so far: (\d+) of 375", (FOLDER / "README.md").read_text())
    assert int(said[1]) == count


def test_the_method_is_that_of_the_finished_dataset(store):
    from ilforge import Dataset

    with LabelStore(store.labels) as labels:
        methods = [method for method in labels.methods().values() if "isolated_atom" not in method]
    assert methods == [Dataset.open("pyr14bf4-pbe-d3").method]

"""Intermolecular frames as a part of a study: asked for by a number, chosen from all runs, and nothing else changes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.liquid import Liquid
from ilforge.sampling.diversity import descriptors, normalised
from ilforge.study.frame_counts import FrameCounts
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.boxes import chosen_frames
from support.studies import SMALLEST, run

COUNTS = "training = { eq_boxes = 1, eq_frames_per_box = 2, packed = 1, hot_boxes = 0, hot_frames_per_box = 0"


def study(folder, more=""):
    """The frames of a small study, with more keys of training frames."""
    text = re.sub(r"training = \{ eq_boxes[^}]*", COUNTS + more, SMALLEST).replace("REFERENCE", "gfn1")
    text = text.replace("[sampling]", "[sampling]\nintermolecular_density_ratios = [0.5, 1.2]")
    (folder / "study.toml").write_text(text)
    return make_plan(load_study(folder / "study.toml")).frames["training"]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Frames without intermolecular ones, and with six of them from two runs."""
    folder = tmp_path_factory.mktemp("intermolecular")
    stages = {
        "without": study(folder),
        "with": study(folder, ", intermolecular = 6, intermolecular_boxes = 2"),
    }
    assert run(list(stages.values()), folder / "store")[1].complete
    return {
        name: frames.read(folder / "store" / "results" / stage.key / "frames.xyz") for name, stage in stages.items()
    }


def test_frames_that_were_there_stay_the_same(sampled):
    before = [frames.digest(frame) for frame in sampled["without"]]
    assert [frames.digest(frame) for frame in sampled["with"]][: len(before)] == before
    assert len(sampled["with"]) == len(before) + 6


def test_they_come_from_all_runs_and_recipes_differ(sampled):
    new = sampled["with"][len(sampled["without"]) :]
    assert {frame.info["parent"] for frame in new} == {f"training-intermolecular-{i:03d}" for i in range(2)}
    assert len({frame.info["recipe"] for frame in new}) >= 2
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    points = normalised([descriptors(frame, topology) for frame in new])
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert apart[np.triu_indices(6, k=1)].min() > 1.0, "in standard deviations of one histogram"


def test_a_study_without_them_has_the_key_it_had(tmp_path):
    """Its settings say nothing of them: what was sampled and labelled before there were any is found again."""
    assert "intermolecular" not in str(study(tmp_path).settings), "neither counts nor ratios"
    keys = {
        study(tmp_path, more).key
        for more in ("", ", intermolecular_boxes = 3", ", intermolecular = 6", ", intermolecular = 7")
    }
    assert len(keys) == 3, "the number of boxes says nothing where there are no such frames"


def test_too_few_are_said_in_words():
    liquid = Liquid.of({"PYR14": 1, "BF4": 1})
    none = {"eq_boxes": 0, "eq_frames_per_box": 0, "packed": 0, "hot_boxes": 0, "hot_frames_per_box": 0}
    counts = FrameCounts(**none, intermolecular=2)
    with pytest.raises(DidNotConverge, match=r"Only 0 intermolecular frames .*sampling.intermolecular_candidates"):
        chosen_frames({"a": []}, {"a": {"recipe": "intermolecular"}}, liquid, counts)


def test_ratios_in_the_wrong_order_are_refused(tmp_path):
    text = SMALLEST.replace("REFERENCE", "gfn1").replace(
        "[sampling]", "[sampling]\nintermolecular_density_ratios = [1.3, 0.5]"
    )
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(SettingsError, match="give the lowest ratio, then the highest"):
        load_study(tmp_path / "study.toml")


def test_a_cutoff_too_long_for_the_densest_of_them_is_refused_before_the_start(tmp_path):
    """The densest box of other frames has a side of 8.6 Å, twice the cutoff; 1.3 times as dense it has 7.9 Å."""
    text = SMALLEST.replace("REFERENCE", "gfn1")
    (tmp_path / "study.toml").write_text(text)
    make_plan(load_study(tmp_path / "study.toml"))
    text = text.replace("packed = 3", "packed = 3, intermolecular = 1")
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(SettingsError, match="smallest side is 7.87 Å"):
        make_plan(load_study(tmp_path / "study.toml"))

"""Datasets by name: found where they may lie, refused in words, and taken by a study."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ilforge
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets import shipped
from ilforge.labelling.datasets.published import open_published
from ilforge.study.load import load_study
from ilforge.workflow.steps.published import dataset_of

SMALL = Path(__file__).parents[1] / "data" / "datasets" / "gpaw-pair"


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No dataset anywhere but where a test puts one."""
    monkeypatch.delenv(shipped.VARIABLE, raising=False)
    monkeypatch.setattr(shipped, "_CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(shipped, "_INSTALLED", tmp_path / "installed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_those_of_a_checkout_are_opened_by_name():
    labels = ilforge.Dataset.open("pyr14bf4-pbe-d3")
    assert labels.digest == open_published(Path(__file__).parents[2] / "data" / "pyr14bf4-pbe-d3").digest
    frames = labels.frames("validation")
    assert len(frames) == sum(labels.counts("validation").values())
    assert all(ENERGY in frame.info and FORCES in frame.arrays for frame in frames)


@pytest.mark.parametrize("where", ["checkout", "installed", "own"])
def test_each_place_is_looked_through(nowhere, monkeypatch, where):
    folder = nowhere / where / ("" if where == "own" else "data")
    shutil.copytree(SMALL, folder / "mine")
    (folder / "no-dataset").mkdir()
    if where == "own":
        monkeypatch.setenv(shipped.VARIABLE, str(folder))
    assert shipped.shipped() == {"mine": folder / "mine"}
    assert shipped.open_dataset("mine").directory == folder / "mine"


def test_a_folder_comes_before_a_name(nowhere):
    shutil.copytree(SMALL, nowhere / "checkout" / "data" / "mine")
    shutil.copytree(SMALL, nowhere / "mine")
    assert shipped.open_dataset("mine").directory == Path("mine")
    assert shipped.open_dataset("mine", nowhere / "elsewhere").directory == nowhere / "checkout" / "data" / "mine"


def test_what_is_not_there_is_refused_with_the_names_that_are(nowhere):
    shutil.copytree(SMALL, nowhere / "checkout" / "data" / "mine")
    with pytest.raises(SettingsError, match=r"There is no dataset in other, .*it brings mine\. To make one"):
        shipped.open_dataset("other")


def test_another_purpose_than_there_is_is_refused():
    with pytest.raises(SettingsError, match="purpose is 'test'; it may be 'training' or 'validation'"):
        open_published(SMALL).frames("test")


def test_a_study_takes_one_by_name(nowhere):
    shutil.copytree(SMALL, nowhere / "checkout" / "data" / "mine")
    text = (SMALL / "study.toml").read_text()
    head, _, rest = text.partition("[liquid]")
    lines = [line for line in ("[liquid]" + rest).splitlines() if not line.startswith(("training =", "validation ="))]
    (nowhere / "study.toml").write_text(head + 'dataset = "mine"\n' + "\n".join(lines))
    assert dataset_of(load_study(nowhere / "study.toml")).directory == nowhere / "checkout" / "data" / "mine"

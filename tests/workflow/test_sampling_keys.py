"""Samplers are kinds: frames that a store has keep their names, whoever describes how they are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ilforge.errors import MissingProgram
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from support import studies

EXAMPLES = Path(__file__).parents[2] / "examples"
KNOWN = json.loads((Path(__file__).parents[1] / "data" / "sampling_keys.json").read_text())
"""Keys of all stages that sample, by study and stage, from before samplers were described by kinds."""
SAMPLED = {"frames", "hot", "start", "taught-frames"}
_NONE = {"eq_boxes": 0, "eq_frames_per_box": 3, "packed": 0, "hot_boxes": 0, "hot_frames_per_box": 3}
CORNERS = {
    "hot boxes without frames": {**_NONE, "packed": 3, "hot_boxes": 1, "hot_frames_per_box": 0},
    "intermolecular": {**_NONE, "eq_boxes": 2, "eq_frames_per_box": 0, "intermolecular": 7, "intermolecular_boxes": 3},
    "distorted": {**_NONE, "eq_boxes": 2, "distorted": 3, "density_ratios": [0.8], "eq_aimd_runs": 2},
    "all": {**_NONE, "eq_boxes": 2, "packed": 1, "hot_boxes": 2, "distorted": 3, "intermolecular": 4},
}


def keys_of(path: Path) -> dict[str, str]:
    return {stage.name: stage.key for stage in make_plan(load_study(path)).stages if stage.kind in SAMPLED}


@pytest.mark.parametrize("name", [name for name in KNOWN if name.endswith(".toml")])
def test_frames_of_the_examples_keep_their_names(name):
    try:
        found = keys_of(EXAMPLES / name)
    except MissingProgram as error:  # the reference; its version is part of a plan, but not of these keys
        pytest.skip(str(error))
    assert found == KNOWN[name]


@pytest.mark.parametrize("name", CORNERS)
def test_frames_of_every_sampler_keep_their_names(name, tmp_path):
    assert keys_of(corner(name, tmp_path)) == KNOWN[name]


def corner(name: str, folder: Path) -> Path:
    """A study with these training frames and a student, whose frames are scaled from them."""
    text = studies.SMALLEST.replace("REFERENCE", "gfn1").replace("[learning]\n", "[learning]\niterations = 0\n")
    before = text[text.index("training = {") : text.index("validation = {")]
    counts = ", ".join(f"{key} = {value}" for key, value in CORNERS[name].items())
    text = text.replace(before, f"training = {{ {counts} }}\n")
    text = text.replace("ratios = [0.9, 1.0]", "ratios = [0.6, 0.7]\nintermolecular_density_ratios = [0.4, 0.7]")
    student = '[models.student]\nkind = "mace"\nteacher = "clp"\nframes = 77\nframes_boxes = [1, 2]\n'
    path = folder / "corner.toml"
    path.write_text(text.replace("[learning]\n", f"{student}\n[learning]\n"))
    return path

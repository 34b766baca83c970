"""The tutorial on DFT labels, every command of it, with fewer frames and with GFN1-xTB in the seat of GPAW.

GPAW would take hours; that its labels go the same way is tested in tests/potentials and tests/datasets.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ilforge import frames
from support.pages import blocks

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-dft.md"
FEWER = {
    "ions = { PYR14 = 2, BF4 = 2 }": "ions = { PYR14 = 1, BF4 = 1 }",
    "density_g_cm3 = 1.04": "density_g_cm3 = 0.6",
    "density_ratios = [0.77, 0.88, 1.0, 1.13, 1.26]": (
        "density_ratios = [1.0]\nequilibration_ps = 0.2\ninterval_ps = 0.1"
    ),
    "eq_boxes = 10": "eq_boxes = 3",
    "eq_boxes = 5": "eq_boxes = 2",
    "eq_frames_per_box = 8": "eq_frames_per_box = 1",
    "eq_frames_per_box = 4": "eq_frames_per_box = 1",
    "packed = 30": "packed = 2",
    "packed = 15": "packed = 1",
    "hot_boxes = 5": "hot_boxes = 1",
    "hot_frames_per_box = 6": "hot_frames_per_box = 1",
    "hot_frames_per_box = 3": "hot_frames_per_box = 1",
    "distorted = 10": "distorted = 1",
    'potential = "gpaw"': 'potential = "gfn1"',
    '[models.mace]\natom_energies = "isolated atoms"': (
        '[models.mace]\nhidden_irreps = "4x0e + 4x1o"\nr_max_A = 3.5\nepochs = 2\nsecond_stage_epoch = 2'
    ),
}


@pytest.mark.slow
@pytest.mark.program("packmol")
@pytest.mark.program("mace_run_train")
def test_every_command_of_the_tutorial_runs_in_its_order(tmp_path):
    used = set()
    for name, text in zip(("dft.toml", "train.toml"), blocks(PAGE, "toml"), strict=True):
        for old, new in FEWER.items():
            used |= {old} if old in text else set()
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
    assert used == set(FEWER), "a key of the tutorial has changed"
    (tmp_path / "machine.toml").write_text("workers = 2\nthreads = 1\n")
    for line in "".join(blocks(PAGE, "")).splitlines():
        if not line.startswith("ilforge "):
            continue
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)], cwd=tmp_path, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    made = tmp_path / "data" / "my-pyr14bf4"
    assert len(frames.read(made / "training.xyz.gz")) + len(frames.read(made / "validation.xyz.gz")) == 11
    assert "labels of dataset my-pyr14bf4 (tblite" in (
        tmp_path / "ilforge-results" / "pyr14bf4-user" / "results.json"
    ).read_text(encoding="utf-8")

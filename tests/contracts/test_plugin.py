"""A package from outside brings one of each kind, and a study uses them all, without a line changed in ilforge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.patience import PATIENCE_S

PLUGIN = Path(__file__).parents[1] / "data" / "plugin" / "ilforge_springs.py"
ENTRY_POINTS = """
[ilforge.potentials]
springs = ilforge_springs:POTENTIAL
[ilforge.trainers]
fitted-springs = ilforge_springs:TRAINER
[ilforge.engines]
backwards = ilforge_springs:ENGINE
[ilforge.properties]
gyration = ilforge_springs:PROPERTY
[ilforge.samplers]
rattled = ilforge_springs:SAMPLER
[ilforge.executors]
here = ilforge_springs:EXECUTOR
"""
STUDY = """
name = "springs"
[liquid]
ions = { PYR14 = 1, BF4 = 1 }
density_g_cm3 = 0.6
[potentials.clp]
cutoff_A = 4.0
[potentials.stiff]
kind = "springs"
stiffness_eV_A2 = 12.5
[reference]
potential = "stiff"
[sampling]
density_ratios = [0.9, 1.0]
equilibration_ps = 0.2
interval_ps = 0.1
rattled_A = 0.03
training = { eq_boxes = 3, eq_frames_per_box = 3, packed = 3, rattled = 4, hot_boxes = 0, hot_frames_per_box = 0 }
validation = { eq_boxes = 2, eq_frames_per_box = 1, packed = 2, hot_boxes = 0, hot_frames_per_box = 0 }
[models.fitted]
kind = "fitted-springs"
[learning]
iterations = 0
[analysis]
properties = ["gyration"]
[analysis.gyration]
of = "PYR14"
[[md]]
name = "swing"
ensemble = "NVE"
potentials = ["stiff", "fitted"]
engine = "backwards"
length_ps = 0.02
equilibration_ps = 0.0
interval_ps = 0.002
"""


@pytest.fixture
def ilforge(tmp_path):
    """The command line with the plug-in installed: what pip leaves of a package, on the path."""
    info = tmp_path / "site" / "ilforge_springs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ilforge-springs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "site" / PLUGIN.name).write_text(PLUGIN.read_text())
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "machine.toml").write_text('workers = 1\nrun = { analyse = "mine" }\n[executors.mine]\nkind = "here"\n')
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "ilforge", *arguments],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.program("packmol")
def test_a_study_of_plugged_in_kinds_is_checked_run_and_reported(ilforge, tmp_path):
    assert sum(bool(line.strip()) for line in PLUGIN.read_text().splitlines()) <= 150
    code, out, err = ilforge("check", "study.toml")
    assert code == 0, err
    for words in ("train fitted, iteration 0", "MD swing with stiff", "gyration of MD swing with fitted"):
        assert words in out
    code, out, err = ilforge("run", "study.toml")
    assert code == 0, out + err
    records = json.loads((tmp_path / "ilforge-results" / "springs" / "results.json").read_text())
    rmse = [one for one in records if (one["quantity"], one["potential"]) == ("force_rmse", "fitted")]
    assert rmse and all(one["value"] < 1e-6 for one in rmse), "the stiffness is found"
    sizes = {one["potential"]: one["value"] for one in records if one["quantity"] == "gyration"}
    assert set(sizes) == {"stiff", "fitted"} and all(0.5 < value < 3 for value in sizes.values())
    page = (tmp_path / "ilforge-results" / "springs" / "report.html").read_text()
    assert "Hooke" in page and "Gyration" in page and "#123456" in page
    runs = [json.loads(path.read_text()) for path in (tmp_path / "ilforge-store" / "results").glob("*/run.json")]
    assert {run["run_by"] for run in runs} == {"backwards"}
    counts = [
        json.loads(path.read_text())["rows"] for path in (tmp_path / "ilforge-store").glob("results/*/census.json")
    ]
    assert [rows["nEQ/rattled"]["made"] for rows in counts if "nEQ/rattled" in rows] == [4]
    assert set((tmp_path / "ran-mine.txt").read_text().split()) == {"_measure", "_validate"}
    code, out, _ = ilforge("results", "study.toml")
    assert code == 0 and "gyration" in out


def test_a_plugin_that_cannot_be_loaded_is_named(ilforge, tmp_path):
    (tmp_path / "site" / PLUGIN.name).write_text("raise RuntimeError('broken')")
    code, _, err = ilforge("check", "study.toml")
    assert code == 2 and "ilforge_springs:POTENTIAL" in err and "could not be loaded" in err and "broken" in err


def test_a_sampler_whose_key_is_taken_is_named(ilforge, tmp_path):
    file = tmp_path / "site" / PLUGIN.name
    file.write_text(file.read_text().replace("rattled_A", "packed_steps"))
    code, _, err = ilforge("check", "study.toml")
    assert code == 2 and "sampler 'rattled' of an installed package has the key packed_steps" in err


def test_a_plugin_whose_name_is_taken_is_named(ilforge, tmp_path):
    points = tmp_path / "site" / "ilforge_springs-1.0.dist-info" / "entry_points.txt"
    points.write_text(ENTRY_POINTS.replace("springs = ilforge", "clp = ilforge", 1))
    code, _, err = ilforge("check", "study.toml")
    assert code == 2 and "calls a kind of potential 'clp'" in err

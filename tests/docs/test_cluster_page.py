"""The job of "Run a whole study on one GPU node", in a real Slurm of one node that has no GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import slurm, studies
from support.pages import blocks

pytestmark = [
    pytest.mark.outside,
    pytest.mark.slow,
    pytest.mark.program("packmol"),
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
    pytest.mark.xdist_group("slurm"),
]
ROOT = Path(__file__).parents[2]
LONGEST_S = 900.0


@pytest.fixture
def cluster():
    with slurm.cluster() as found:
        yield found


def test_jobs_of_one_name_continue_the_study_one_after_the_other(cluster, tmp_path, monkeypatch):
    """The first job is cancelled in its work, the second ends the study, and the third finds it finished."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (script,) = (block for block in blocks(ROOT / "docs" / "cluster.md", "bash") if "#SBATCH" in block)
    program = tmp_path / "bin" / "ilforge"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ilforge "$@"\n')
    program.chmod(0o755)
    for line, here in (
        ("#SBATCH --gpus=1\n", ""),
        ("--partition=gpu", "--partition=main"),
        ("--cpus-per-task=16", "--cpus-per-task=2"),
        ("--mem=64G", "--mem=4G"),
        ("source /work/me/ilforge-env/bin/activate", f"export PATH={program.parent}:$PATH"),
    ):
        assert line in script
        script = script.replace(line, here)
    (tmp_path / "study.sh").write_text(script)
    studies.quick(tmp_path).rename(tmp_path / "study.toml")
    (tmp_path / "machine.toml").write_text('store = "store"\ncores = 2\n')
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        subprocess.run(["sbatch", "--dependency=singleton", "study.sh"], check=True, env=os.environ)
    _until(lambda: list(tmp_path.glob("store/results/labels-*")), cluster)
    assert len(cluster.jobs()) == 1, "one at a time"
    cluster.run("scancel", *cluster.jobs())
    _until(lambda: not cluster.run("squeue", "-h").strip(), cluster)
    said = (tmp_path / "study.out").read_text()
    assert "CANCELLED" in said and (tmp_path / "ilforge-results" / "quick" / "report.html").is_file(), said
    status = subprocess.run([program, "status", "study.toml"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^(\d+) of \1 stages are done", status, re.MULTILINE), status


def _until(there, cluster: slurm.Slurm) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not there():
        assert time.monotonic() < deadline, cluster.run("squeue")
        time.sleep(0.2)

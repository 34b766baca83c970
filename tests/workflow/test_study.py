"""One whole study at its smallest: run, run again, changed, in another folder, and killed."""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ilforge import frames
from ilforge.labelling.storing.store import LabelStore
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from support import studies
from support.patience import PATIENCE_S
from support.studies import smallest

KILLS = int(os.environ.get("ILFORGE_KILLS", "4"))
"""Random moments to kill at. Few in `make test`; ILFORGE_KILLS=20 for the full test."""

pytestmark = [pytest.mark.slow, pytest.mark.program("packmol"), pytest.mark.program("lmp")]


def start(folder: Path, *arguments: str, log: str = "log") -> subprocess.Popen:
    with open(folder / log, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ilforge", "run", *arguments], cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )


def run(folder: Path, *arguments: str) -> str:
    process = start(folder, *arguments)
    code = process.wait(PATIENCE_S)
    text = (folder / "log").read_text()
    assert code == 0, text
    return text


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "ilforge-results" / "smallest" / "results.json").read_text())


def of_kind(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "ilforge-store" / "results").glob(f"{kind}-*"))


def same_results(one: list[dict], other: list[dict], tolerance: float = 0.01) -> None:
    """The same records, with values within 1 %."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert {k: a[k] for k in ("quantity", "potential", "species", "dataset", "iteration", "converged")} == {
            k: b[k] for k in ("quantity", "potential", "species", "dataset", "iteration", "converged")
        }
        assert (a["value"] is None) == (b["value"] is None)
        if a["value"] is not None:
            assert a["value"] == pytest.approx(b["value"], rel=tolerance, abs=1e-9), a


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The smallest study, run once; CL&P is its reference, so that the truth is known."""
    folder = tmp_path_factory.mktemp("study")
    path = smallest(folder, "clp")
    return folder, path, run(folder, "smallest.toml")


def test_it_ends_with_report_results_and_numbers(finished):
    folder, _, said = finished
    assert "report.html" in said and "Force RMSE, EQ" in said
    order = [said.index(words) for words in ("CL&P (n", "Density (g/cm³)", "Force RMSE", "report.html")]
    assert order == sorted(order)  # verdicts, then properties, then errors
    page = (folder / "ilforge-results" / "smallest" / "report.html").read_text()
    assert "not DFT" in page
    records = results(folder)
    quantities = {record["quantity"] for record in records}
    assert {"force_rmse", "force_mae", "energy_rmse_per_atom", "self_diffusion", "density"} <= quantities
    assert {record["potential"] for record in records} == {"clp", "deepmd", "mace"}
    assert {record["iteration"] for record in records if record["potential"] == "mace"} == {0, 1}
    verdicts = {(r["potential"], r["provenance"]["protocol"]): r for r in records if r["quantity"] == "holds_liquid"}
    assert set(verdicts) == {("clp", "nvt"), ("deepmd", "nvt"), ("mace", "nvt"), ("clp", "npt")}
    assert {record["verdict"] for record in verdicts.values()} <= {"not judged", "does not hold"}  # too short to hold
    for record in records:
        assert record["unit"] is not None and set(record) >= {"value", "error", "n_eff", "converged", "provenance"}


def test_tables_of_all_runs_lie_beside_the_report(finished):
    folder, _, _ = finished
    data = folder / "ilforge-results" / "smallest" / "data"
    with (data / "numbers" / "self_diffusion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["potential"], row["protocol"]) for row in rows} >= {("clp", "nvt"), ("mace", "nvt"), ("deepmd", "nvt")}
    assert {row["converged"] for row in rows} == {"False"} and {row["temperature_K"] for row in rows} == {"423.0"}


def test_what_cannot_be_converged_is_not_called_converged(finished):
    folder, _, _ = finished
    for record in results(folder):
        if record["quantity"] in ("self_diffusion", "density"):
            assert record["converged"] is False and record["note"]


def processor_s(work) -> float:
    """Processor time of the processes that some work starts, s: what other processes do does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_second_run_computes_nothing_and_is_quick(finished):
    """It takes no more than a few times what `check` takes, which reads and plans the same study."""
    folder, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "ilforge-store" / "results").rglob("*")}
    check = [sys.executable, "-m", "ilforge", "check", "smallest.toml"]
    checked_s = processor_s(lambda: subprocess.run(check, cwd=folder, check=True, capture_output=True))
    run_s = processor_s(lambda: run(folder, "smallest.toml"))
    assert "nothing to compute" in (folder / "log").read_text()
    assert run_s < 6 * checked_s, (run_s, checked_s)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "ilforge-store" / "results").rglob("*")}


def test_changing_one_analysis_key_recomputes_only_that_analysis(finished):
    folder, path, _ = finished
    before = set((folder / "ilforge-store" / "results").iterdir())
    text = path.read_text()
    path.write_text(text + "[analysis.rdf]\nbin_A = 0.2\n")
    try:
        run(folder, "smallest.toml")
    finally:
        path.write_text(text)
    made = {new.name.split("-")[0] for new in set((folder / "ilforge-store" / "results").iterdir()) - before}
    assert made == {"rdf", "report"}


def test_another_study_does_not_pay_for_the_same_labels_again(finished):
    """A study with another gate asks for the same labels: none is computed."""
    folder, path, _ = finished
    text = path.read_text()
    other = folder / "other.toml"
    other.write_text(
        text.replace('name = "smallest"', 'name = "other"')
        .replace("iterations = 1", "iterations = 0")
        .replace("[learning]\n", "[learning]\niterations = 0\n")
        + "[gate]\nmax_force_eV_A = 40.0\n"
    )
    with LabelStore(folder / "ilforge-store" / "labels") as store:
        held = store.census()
    run(folder, "other.toml")
    with LabelStore(folder / "ilforge-store" / "labels") as store:
        assert store.census() == held


def test_same_seed_in_a_fresh_folder_gives_the_same_frames_and_labels(finished, tmp_path):
    """That all results are the same is asked of a run that is killed, below."""
    folder, _, _ = finished
    plan = make_plan(load_study(smallest(tmp_path, "clp")))
    compared = [stage for stage in plan.stages if stage.kind in ("frames", "explore", "labels")]
    _, outcome = studies.run(compared, tmp_path / "ilforge-store", workers=2)
    assert outcome.complete, outcome.failed
    sampled = [path / "frames.xyz" for path in of_kind(tmp_path, "frames")]
    explored = [path for folder in of_kind(tmp_path, "explore") for path in sorted(folder.glob("*/explored.xyz"))]
    assert sampled and explored
    for again in sampled + explored:
        first = folder / again.relative_to(tmp_path)
        digests = [[frames.digest(frame) for frame in frames.read(path)] for path in (first, again)]
        assert digests[0] and digests[0] == digests[1], again
    for again in of_kind(tmp_path, "labels"):
        first = folder / "ilforge-store" / "results" / again.name
        both = (frames.read(path / "accepted.xyz") for path in (first, again))
        for one, other in zip(*both, strict=True):
            np.testing.assert_allclose(one.arrays[frames.FORCES], other.arrays[frames.FORCES], rtol=0, atol=1e-6)


def test_killed_at_random_moments_it_ends_with_the_same_results(finished, tmp_path):
    """kill -9 loses at most the running tasks; what was finished is never made again."""
    folder, _, _ = finished
    smallest(tmp_path, "clp")
    moments = random.Random(7)
    results_folder, made = tmp_path / "ilforge-store" / "results", {}
    for _ in range(KILLS):
        process = start(tmp_path, "smallest.toml")
        time.sleep(moments.uniform(2.0, 25.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in results_folder.glob("*/manifest.json"):
            stamp = path.stat().st_mtime_ns
            assert made.setdefault(path, stamp) == stamp, f"{path} was made again"
    run(tmp_path, "smallest.toml")
    for path, stamp in made.items():
        assert path.stat().st_mtime_ns == stamp, f"{path} was made again"
    same_results(results(folder), results(tmp_path))
    with (
        LabelStore(tmp_path / "ilforge-store" / "labels") as ours,
        LabelStore(folder / "ilforge-store" / "labels") as theirs,
    ):
        assert ours.census() == theirs.census()


def test_the_reference_is_validated_without_error(finished):
    folder, _, _ = finished
    errors = {
        record["dataset"]: record["value"]
        for record in results(folder)
        if record["quantity"] == "force_rmse" and record["potential"] == "clp" and record["species"] is None
    }
    assert errors and all(value < 1e-3 for value in errors.values()), errors

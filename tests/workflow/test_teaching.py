"""Fine-tuning, a teacher and a student in one small study: every number is computed again by hand."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from ilforge import frames, trust
from ilforge.dynamics.motion import Exploded
from ilforge.errors import DidNotConverge
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.label import evaluate
from ilforge.report.lineage import origins_table, teacher_table
from ilforge.report.sections import palette_of_records
from ilforge.study.load import load_study
from ilforge.study.machine import Machine
from ilforge.workflow.handover import hand_over
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps import teaching
from ilforge.workflow.store import ResultStore, read_manifest
from ilforge.workflow.study_run import FinishedStudy, check_study, run_study, study_status
from support import studies
from support.patience import PATIENCE_S

MODELS = """
[models.scratch]
kind = "mace"
hidden_irreps = "2x0e + 2x1o"
r_max_A = 3.5
max_ell = 1
correlation = 1
epochs = 2
second_stage_epoch = 2
[models.tuned]
kind = "mace"
start = "scratch"
epochs = 1
[models.student]
kind = "deepmd"
committee = 1
embedding = [4, 8]
fitting = [10, 10]
r_cut_A = 4.0
steps = 40
teacher = "tuned"
frames = 40
frames_boxes = [1, 2]
frames_by = ["sampling"]
"""


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """The study after its run: itself, its machine, its plan, its store and its output folder."""
    folder = tmp_path_factory.mktemp("school")
    study = load_study(studies.of_models(folder, "school", MODELS))
    machine = Machine(workers=2, store=str(folder / "store"), output=str(folder / "out"))
    outcome, output = run_study(study, machine, Console(file=io.StringIO()), quiet=True)
    assert outcome.complete, outcome.failed
    return study, machine, make_plan(study), ResultStore(folder / "store"), output


def spec_of(store, stage, file, kind):
    path = store.path(stage) / file
    return {"kind": kind, "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def rmse(found, wanted):
    return float(np.sqrt(np.mean((np.concatenate(found) - np.concatenate(wanted)) ** 2)))


def of(records, **labels):
    (found,) = [r for r in records if all(getattr(r, key) == value for key, value in labels.items())]
    return found


pytestmark = [
    pytest.mark.slow,
    pytest.mark.program("mace_run_train"),
    pytest.mark.program("dp"),
    pytest.mark.program("packmol"),
]


def test_the_error_against_the_teacher_is_that_of_the_frames_in_the_store(school):
    """On held-out boxes of both sizes, and on validation frames: by the models' own calculators, frame by frame."""
    study, machine, plan, store, _ = school
    finished = FinishedStudy(study, machine)
    records = finished.records()
    assert not finished.faults
    lesson = plan.students["student"]
    student = spec_of(store, plan.trained[0, "student"][0], "model.pb", "deepmd")
    tuned = spec_of(store, plan.trained[0, "tuned"][0], "model.model", "mace")
    seen = {frame.info["parent"] for frame in Dataset.read(store.path(lesson.dataset)).frames}
    for multiple, ions in ((1, "1 PYR14, 1 BF4"), (2, "2 PYR14, 2 BF4")):
        held = frames.read(store.path(lesson.dataset) / f"held-x{multiple}.xyz")
        assert held and {frame.info["ions"] for frame in held} == {ions}
        assert not seen & {frame.info["parent"] for frame in held}, "held-out boxes are never trained on"
        wanted = [frame.arrays[frames.FORCES] for frame in held]
        for frame, forces in zip(held, wanted, strict=True):
            np.testing.assert_allclose(evaluate(frame, tuned).forces, forces, rtol=0, atol=1e-5)
        by_hand = rmse([evaluate(frame, student).forces for frame in held], wanted)
        quoted = of(records, quantity="force_rmse_to_teacher", species=None, dataset=f"all, held out, {ions}")
        assert quoted.value == pytest.approx(by_hand, rel=1e-6)
        assert quoted.provenance["teacher"] == "tuned" and quoted.potential == "student"
    validation = frames.read(store.path(plan.labels["validation"]) / "accepted.xyz")
    theirs, mine = ([evaluate(frame, spec).forces for frame in validation] for spec in (tuned, student))
    reference = [frame.arrays[frames.FORCES] for frame in validation]
    for potential, quantity, found, wanted in (
        ("student", "force_rmse_to_teacher", mine, theirs),
        ("student", "force_rmse", mine, reference),
        ("tuned", "force_rmse", theirs, reference),
    ):
        quoted = of(records, quantity=quantity, potential=potential, species=None, dataset="all")
        assert quoted.value == pytest.approx(rmse(found, wanted), rel=1e-5), (potential, quantity)


def test_models_stand_side_by_side_with_where_they_come_from(school):
    study, machine, *_, output = school
    records = FinishedStudy(study, machine).records()
    palette = palette_of_records(records)
    rows = {row[0].text: row[1].text for row in origins_table(records, palette).rows}
    assert {
        "scratch": "from scratch",
        "tuned": "fine-tuned (start: scratch)",
        "student": "student (teacher: tuned)",
    }.items() <= rows.items()
    table = teacher_table(records, palette)
    assert [row[2].text for row in table.rows][:2] == ["EQ", "nEQ"] and len(table.rows) > 4
    tuned = of(records, quantity="force_rmse", potential="tuned", species=None, dataset="all")
    assert "least-squares fit to the labels" in tuned.provenance["fine_tuning"]
    assert tuned.provenance["atom_energies"] == "those of scratch, aligned by fit to the labels"
    page = (output / "report.html").read_text()
    for words in ("fine-tuned (start: scratch)", "student (teacher: tuned)", "student to teacher", "taught to student"):
        assert words in page, words


def test_a_finished_study_is_not_made_again_and_check_knows_what_it_costs(school, tmp_path):
    study, machine, plan, store, _ = school
    before = {stage.key: read_manifest(store.path(stage))["finished"] for stage in plan.stages}
    outcome, _ = run_study(study, machine, Console(file=io.StringIO()), quiet=True)
    assert outcome.complete
    assert {key: read_manifest(store.results / key)["finished"] for key in before} == before
    fresh = check_study(study, Machine(workers=2, store=str(tmp_path / "store"), output=str(tmp_path / "out")))
    costs = {stage.name: (stage.tasks, stage.seconds) for stage, done, _ in fresh.rows if not done}
    labels = [name for name in costs if name.startswith("label frames for student with tuned")]
    assert len(labels) == 2 and all(costs[name][0] >= 20 and costs[name][1] > 0 for name in labels)
    assert not (tmp_path / "store").exists()


def test_labels_of_the_teacher_are_kept_in_the_label_store(school):
    """So a second student, or a run that was stopped, does not pay for them."""
    _, _, plan, store, _ = school
    for stage in plan.students["student"].labels.values():
        facts = read_manifest(store.path(stage))["facts"]
        assert facts["labelled_now"] + facts["reused"] == len(
            frames.read(store.path(stage.inputs["frames"]) / "frames.xyz")
        )
        stress = [frame.info[frames.STRESS] for frame in frames.read(store.path(stage) / "accepted.xyz")]
        assert np.isfinite(stress).all() and len(stress) >= 15


def test_models_are_handed_over_with_digest_and_card(school):
    *_, output = school
    for name, file in (("scratch", "model.model"), ("tuned", "model.model"), ("student", "model.pb")):
        folder = output / "models" / name
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert (folder / "SHA256").read_text() == f"{digest}  {file}\n"
        card = (folder / "README.md").read_text()
        assert digest in card and "Not known: no MD at constant pressure" in card
        assert re.search(r"\| Force RMSE \| all \| \d+\.\d+ ± \d", card), card
    assert "fine-tuned (start: scratch)" in (output / "models" / "tuned" / "README.md").read_text()
    card = (output / "models" / "student" / "README.md").read_text()
    for words in ("its teacher tuned", "Against its teacher:", "it repeats the teacher's errors", "CL&P: Canongia"):
        assert words in card, words


@pytest.mark.parametrize(
    ("model", "file", "says"),
    [("tuned", "run_ase.py", " eV"), ("tuned", "run_openmm.py", "kJ/mol"), ("student", "run_ase.py", " eV"),
     ("student", "in.lammps", "Total # of neighbors")],
)  # fmt: skip
def test_snippets_run_as_they_are_and_give_the_models_energy(school, model, file, says, tmp_path):
    *_, output = school
    folder = output / "models" / model
    if file.endswith(".py"):
        command = [sys.executable, file]
    else:
        lmp = Path(sys.executable).parent / "lmp"
        command = [str(lmp), "-in", file, "-log", str(tmp_path / "log")]
    paths = os.environ.get("PYTHONPATH", "")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S,
                          env={**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout
    kind, weights = ("mace", "model.model") if model == "tuned" else ("deepmd", "model.pb")
    spec = {"kind": kind, "path": str(folder / weights), "sha256": (folder / "SHA256").read_text().split()[0]}
    expected = evaluate(frames.read(folder / "frame.xyz")[0], spec).energy
    if file == "in.lammps":
        (found,) = re.findall(r"^ +0 +\S+ +(-?[\d.]+) ", done.stdout, re.MULTILINE)
    else:
        found = re.findall(r"(-?[\d.]+(?:e-?\d+)?) (?:eV|kJ/mol)", done.stdout)[-1]
    in_eV = float(found) * (0.010364269656 if "kJ/mol" in done.stdout else 1.0)
    assert in_eV == pytest.approx(expected, abs=2e-3)


def test_a_model_that_nobody_trusts_is_not_handed_over(school, tmp_path):
    _, _, plan, store, _ = school
    manifest_file = store.path(plan.trained[0, "tuned"][0]) / "manifest.json"
    kept = manifest_file.read_text()
    try:
        manifest_file.write_text(json.dumps({**json.loads(kept), trust.SIGNATURE: "0" * 64}))
        assert hand_over(plan, store, tmp_path) == ["scratch", "student"]
        assert not (tmp_path / "models" / "tuned").exists()
    finally:
        manifest_file.write_text(kept)


RUNS_OF_A_TEACHER = """
[potentials.other]
kind = "clp"
cutoff_A = 3.9
[models.student]
kind = "mace"
teacher = "other"
frames = 10
frames_boxes = [1]
frames_by = ["teacher"]
"""


def test_a_teacher_moves_the_atoms_of_eq_frames(tmp_path):
    study = load_study(studies.of_models(tmp_path, "school", RUNS_OF_A_TEACHER))
    sampled = make_plan(study).students["student"].frames["", 1]
    assert sampled.settings["teacher"]["cutoff_A"] == 3.9 and sampled.settings["potential"]["cutoff_A"] == 4.0
    store, outcome = studies.run([sampled], tmp_path / "store")
    assert outcome.complete, outcome.failed
    found = frames.read(store.path(sampled) / "frames.xyz")
    assert len(found) == sum(box["frames"] for box in sampled.settings["boxes"].values())
    assert {frame.info["recipe"] for frame in found} == {"nvt", "packed"}


def test_status_counts_the_labels_of_a_teacher_that_are_rejected(tmp_path):
    strict = "[gate]\nmax_force_eV_A = 2.0\n"
    study = load_study(studies.of_models(tmp_path, "school", strict + RUNS_OF_A_TEACHER))
    labelled = make_plan(study).students["student"].labels["", 1]
    store, outcome = studies.run([labelled], tmp_path / "store")
    assert outcome.complete, outcome.failed
    refused = frames.read(store.path(labelled) / "rejected.xyz")
    assert 0 < len(refused) < len(frames.read(store.path(labelled.inputs["frames"]) / "frames.xyz"))
    status = study_status(study, Machine(store=str(tmp_path / "store"), output=str(tmp_path / "out")))
    (row,) = [row for row in status.rows if row.stage.key == labelled.key]
    assert row.state == f"done, {len(refused)} rejected"


def test_runs_of_a_teacher_that_break_are_counted_and_when_all_do_the_study_says_what_to_do(tmp_path, monkeypatch):
    def breaks(*arguments):
        raise Exploded("the molecules came apart", 0.1)

    monkeypatch.setattr(teaching, "sample_box", breaks)
    paths = {f"run-{i}": tmp_path / f"run-{i}" for i in range(3)}
    for path in paths.values():
        path.mkdir()
    arguments = (None, None, {"mover": "teacher"}, {}, "run", 1)
    teaching._sample_box(paths["run-0"], *arguments)
    assert frames.read(paths["run-0"] / "frames.xyz") == []
    with pytest.raises(Exploded):
        teaching._sample_box(paths["run-1"], None, None, {"mover": "sampling"}, {}, "run", 1)
    job, teacher = SimpleNamespace(facts={}, say=lambda text: said.append(text)), teaching.Teacher("tuned")
    said: list[str] = []
    teaching._count_broken(job, "student", teacher, paths, list(paths))
    assert job.facts == {"broken_runs_of_the_teacher": 1} and said[0].startswith("1 of 3 runs by tuned")
    for name in ("run-1", "run-2"):
        teaching._sample_box(paths[name], *arguments)
    with pytest.raises(DidNotConverge, match=r'All 3 runs by tuned, .* came apart.* frames_by = \["sampling"\] in'):
        teaching._count_broken(job, "student", teacher, paths, list(paths))

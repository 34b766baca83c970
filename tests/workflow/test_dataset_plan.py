"""The published datasets (Tables S2 and S3) as studies, and how several compositions become one training."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.workflow import dataset_plan
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.aimd import aimd_starts, single_points

PAPER = Path(__file__).parents[2] / "examples" / "paper"

TWO = """
name = "two"
[liquid]
temperature_K = 400.0
[[liquid.compositions]]
name = "pure"
ions = { PYR14 = 2, BF4 = 2 }
density_g_cm3 = 1.0
[[liquid.compositions]]
name = "salt"
ions = { PYR14 = 1, LI = 1, BF4 = 2 }
density_g_cm3 = 1.1
[potentials.clp]
cutoff_A = 3.5

[sampling]
potential = "clp"
[sampling.training]
eq_boxes = 2
eq_frames_per_box = 5
packed = 4
hot_boxes = 0
hot_frames_per_box = 0
eq_aimd_runs = 2
eq_aimd_frames = 7
[learning]
iterations = 1
[[md]]
name = "a"
ensemble = "NVT"
potentials = ["clp"]
length_ps = 1.0
[[md]]
name = "b"
compositions = ["salt"]
ensemble = "NVT"
potentials = ["clp"]
length_ps = 1.0
"""


@pytest.fixture
def two(tmp_path):
    def load(change=lambda text: text):
        (tmp_path / "two.toml").write_text(change(TWO))
        return load_study(tmp_path / "two.toml")

    return load


def of_purpose(study, purpose):
    return [planned for planned in dataset_plan.planned_sets(study) if planned.purpose == purpose]


def test_table_s2_pyr14bf4():
    study = load_study(PAPER / "pyr14bf4.toml")
    (training,), (validation,) = of_purpose(study, "training"), of_purpose(study, "validation")
    assert training.n_atoms == 350
    assert (training.eq_starts, training.eq_aimd, training.eq_single_points, training.eq) == (1040, 4000, 1000, 5000)
    assert (training.neq_starts, training.neq_aimd, training.neq) == (6000, 0, 6000)
    assert training.labels == 11_000
    assert (validation.eq, validation.neq, validation.eq_aimd, validation.neq_aimd) == (200, 200, 0, 0)
    counts = study.settings.sampling
    assert (counts.training.eq_aimd_runs, counts.training.eq_aimd_frames) == (40, 100)
    assert (min(counts.validation.density_ratios), max(counts.validation.density_ratios)) == (0.8, 1.2)
    # 30,812 frames in the end: seven rounds of at most 2,830 candidates hold the 19,812 of the study
    assert study.settings.learning.iterations * study.settings.learning.max_candidates == pytest.approx(19_812, abs=10)


def test_table_s3_litfsi_in_pyr14tfsi():
    study = load_study(PAPER / "litfsi-pyr14tfsi.toml")
    training, validation = of_purpose(study, "training"), of_purpose(study, "validation")
    assert len(training) == len(validation) == 5
    for planned in training:
        assert (planned.eq_starts, planned.eq_aimd, planned.eq_single_points, planned.eq) == (1020, 2000, 1000, 3000)
        assert (planned.neq_starts, planned.neq_aimd, planned.neq_single_points, planned.neq) == (1400, 800, 1000, 1800)
        assert planned.labels == 4800
    assert sum(planned.labels for planned in training) == 24_000
    assert all((planned.eq, planned.neq) == (200, 200) for planned in validation)
    counts = study.settings.sampling.training
    assert (counts.eq_aimd_runs, counts.eq_aimd_frames, counts.neq_aimd_runs, counts.neq_aimd_frames) == (
        20, 100, 400, 2,
    )  # fmt: skip
    shares = [part.settings.liquid.ions.get("LI", 0) / 10 for part in study.parts]
    assert shares == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert all(part.settings.liquid.ions["TFSI"] == 10 for part in study.parts)


@pytest.mark.parametrize("name", ["pyr14bf4", "litfsi-pyr14tfsi"])
def test_the_stages_of_the_published_studies_add_up_to_their_tables(name):
    study = load_study(PAPER / f"{name}.toml")
    plan = make_plan(study)
    sets = of_purpose(study, "training")
    aimd = [stage for stage in plan.stages if stage.kind == "aimd"]
    assert len(aimd) == len(sets)
    single = [stage for stage in plan.stages if stage.name.startswith("label training frames")]
    assert sum(stage.tasks for stage in single) == sum(
        planned.labels - planned.eq_aimd - planned.neq_aimd for planned in sets
    )
    made = sum(stage.seconds for stage in [*aimd, *single]) / 3600
    assert made == pytest.approx(dataset_plan.core_hours(study, sets), rel=1e-6)
    assert made > 60


def test_training_and_validation_share_no_box_and_neither_do_compositions():
    for name in ("pyr14bf4", "litfsi-pyr14tfsi"):
        plan = make_plan(load_study(PAPER / f"{name}.toml"))
        boxes = [box for stage in plan.frames.values() for box in stage.settings.get("boxes", {}).items()]
        assert len({parent for parent, _ in boxes}) == len(boxes)
        assert len({about["seed"] for _, about in boxes}) == len(boxes)


def test_every_composition_is_sampled_and_all_train_one_model(two):
    plan = make_plan(two())
    assert set(plan.frames) == {
        "training, pure", "training AIMD, pure", "validation, pure",
        "training, salt", "training AIMD, salt", "validation, salt",
    }  # fmt: skip
    assert set(plan.labels_for("training")) == {f"training{of}, {c}" for of in ("", " AIMD") for c in ("pure", "salt")}
    assert sorted(plan.sets[name] for name in plan.labels_for("validation")) == [
        ("validation", "pure"),
        ("validation", "salt"),
    ]
    assert set(plan.labels_for("learning")) == {"learning 1, pure", "learning 1, salt"}
    assert len(plan.trained[0, "mace"]) == 1 and len(plan.trained[0, "deepmd"]) == 4
    assert len(plan.datasets[0].inputs) == 4 and len(plan.datasets[1].inputs) == 3
    assert set(plan.explorations) == {(1, "pure"), (1, "salt")}
    assert {(i, kind, c) for i, kind, c in plan.validations if kind == "mace"} == {
        (i, "mace", c) for i in (0, 1) for c in ("pure", "salt")
    }
    starts = {name: plan.trajectories[name, "clp"].inputs["start"].settings["liquid"]["label"] for name in ("a", "b")}
    assert starts == {"a": "2 PYR14, 2 BF4", "b": "1 PYR14, 1 Li, 2 BF4"}


def test_another_aimd_plan_samples_nothing_again(two):
    before = make_plan(two())
    after = make_plan(two(lambda text: text.replace("eq_aimd_runs = 2", "eq_aimd_runs = 3")))
    assert before.frames["training, salt"].key == after.frames["training, salt"].key
    assert before.frames["training AIMD, salt"].key != after.frames["training AIMD, salt"].key
    assert before.labels["training, salt"].key != after.labels["training, salt"].key


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "temperature_K = 400.0",
            "ions = { PYR14 = 1, BF4 = 1 }",
            ["ions is given in \\[liquid\\]", "leave it out of one"],
        ),
        ('name = "salt"', 'name = "pure"', ["its own name", "pure"]),
        ('compositions = ["salt"]', 'compositions = ["sold"]', ["compositions contains 'sold'", "pure, salt"]),
        ("eq_aimd_runs = 2", "eq_aimd_runs = 11", ["eq_aimd_runs is 11", "only 10 starts"]),
        ("LI = 1, BF4 = 2", "LI = 1, BF4 = 3", ["net charge -1"]),
    ],
)
def test_what_does_not_fit_together_is_said(two, old, new, words):
    for word in words:
        with pytest.raises(SettingsError, match=word):
            make_plan(two(lambda text: text.replace(old, new)))


def test_validation_frames_are_single_points(two):
    more = "\n[sampling.validation]\neq_boxes = 2\neq_frames_per_box = 1\npacked = 1\nhot_boxes = 0\n"
    with pytest.raises(SettingsError, match="validation frames are single points"):
        two(lambda text: text + more + "hot_frames_per_box = 0\neq_aimd_runs = 1\n")


def test_aimd_starts_are_spread_over_the_boxes_and_are_no_single_points(two):
    counts = two().settings.sampling.training
    sampled = [Atoms("H", info={"kind": "EQ" if i < 10 else "nEQ", "i": i}) for i in range(14)]
    starts = aimd_starts(sampled, counts)
    assert [(frame.info["i"], length) for frame, length in starts] == [(2, 7), (7, 7)]
    assert [frame.info["i"] for frame in single_points(sampled, counts)] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13]

"""Starts and teachers of models: what a study file may say, and what it is told where it may not."""

from __future__ import annotations

import hashlib

import pytest

from ilforge import trust
from ilforge.errors import SettingsError
from ilforge.potentials import POTENTIALS
from ilforge.study.lineage import given_names, made_from, movers_of, needs_last_iteration, origin
from ilforge.study.load import load_study
from ilforge.workflow.lessons import given_potentials
from ilforge.workflow.plan import make_plan
from ilforge.workflow.steps.teaching import HELD_OUT, enlarged, scaled, size_of_lesson, taught_boxes

STUDY = """
name = "lineage"
dataset = "pyr14bf4-pbe-d3"
[liquid]
ions = { PYR14 = 2, BF4 = 2 }
density_g_cm3 = 1.04
[potentials.clp]
cutoff_A = 4.0
[potentials.given]
kind = "mace"
path = "FILE"
sha256 = "DIGEST"
[sampling]
potential = "clp"
[reference]
potential = "gpaw"
[models.scratch]
kind = "mace"
[models.base]
kind = "mace"
teacher = "gfn1"
frames = 60
frames_boxes = [1]
[models.tuned]
kind = "mace"
start = "base"
[models.student]
kind = "mace"
teacher = "tuned"
frames = 200
[learning]
iterations = 0
"""


def study_of(folder, *changes, model=None):
    path = model or folder / "given.model"
    if model is None:
        path.write_bytes(b"a model")
    text = STUDY.replace("FILE", str(path)).replace("DIGEST", hashlib.sha256(path.read_bytes()).hexdigest())
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "lineage.toml").write_text(text)
    return load_study(folder / "lineage.toml")


def plan_of(folder, *changes):
    with trust.looking():
        return make_plan(study_of(folder, *changes))


def test_what_a_model_is_made_from_goes_back_to_the_beginning(tmp_path):
    settings = study_of(tmp_path).settings
    found = [(link.what, link.name) for link in made_from(settings, "student")]
    assert found == [("model", "tuned"), ("model", "base"), ("potential", "gfn1")]
    assert not list(made_from(settings, "scratch"))


def test_where_models_come_from(tmp_path):
    settings = study_of(tmp_path).settings
    told = {name: origin(settings, name) for name in (*settings.models, "given", "gfn1")}
    assert told == {
        "scratch": "from scratch",
        "base": "student (teacher: gfn1)",
        "tuned": "fine-tuned (start: base)",
        "student": "student (teacher: tuned)",
        "given": "as it is",
        "gfn1": "as it is",
    }
    assert set(given_names(settings)) == {"gfn1"} and needs_last_iteration(settings, "student")
    assert not needs_last_iteration(settings, "base")
    assert movers_of(settings, "student") == ["sampling", "teacher"], "a model is cheap"
    assert movers_of(settings, "base") == ["sampling"], "GFN1-xTB is not"


def test_the_plan_of_a_student_has_every_step(tmp_path):
    plan = plan_of(tmp_path)
    (tuned,), (student,), (base,) = (plan.trained[0, name] for name in ("tuned", "student", "base"))
    assert tuned.inputs["start"] is base and base.inputs["dataset"] is plan.students["base"].dataset
    labels = plan.students["student"].labels
    assert set(labels) == {("", 1), ("", 5)}
    assert all(stage.inputs["teacher"] is tuned for stage in labels.values())
    assert student.inputs["dataset"].inputs["labels"] is labels["", 1]
    assert {name for _, name, _ in plan.validations} == {"scratch", "base", "tuned", "student", "clp", "gfn1"}
    assert {size for name, _, size in plan.comparisons if name == "student"} == {0, 1, 5}
    names = [stage.name for stage in plan.stages]
    assert len({stage.key for stage in plan.stages}) == len(plan.stages)
    assert "fine-tune tuned, iteration 0" in names and "train student, taught by tuned" in names
    assert "hidden_irreps" not in tuned.settings["training"], "the network is that of base"


def test_names_of_models_are_no_part_of_what_is_trained_on(tmp_path):
    """Two students of one teacher share their frames and labels; another teacher or number of frames does not."""
    twin = '[models.twin]\nkind = "mace"\nteacher = "tuned"\nframes = 200\n[learning]'
    plan = plan_of(tmp_path, ("[learning]", twin))
    mine, other = plan.students["student"], plan.students["twin"]
    assert {stage.key for stage in mine.labels.values()} == {stage.key for stage in other.labels.values()}
    assert mine.trained[0].key != other.trained[0].key, "seeds differ"
    fewer = plan_of(tmp_path, ("frames = 200", "frames = 100"))
    assert fewer.students["student"].dataset.key != mine.dataset.key
    slower = plan_of(tmp_path, ('start = "base"', 'start = "base"\nlearning_rate = 1e-4'))
    assert slower.students["student"].dataset.key != mine.dataset.key, "another teacher labels otherwise"


def test_frames_of_a_student_follow_the_recipe_at_all_densities(tmp_path):
    study = study_of(tmp_path)
    for multiple in (1, 5):
        boxes = taught_boxes(study, "student", multiple)
        count = dict.fromkeys(("nvt", "packed", "hot"), 0)
        for box in boxes.values():
            count[box["recipe"]] += box["frames"]
        # the default recipe: 90 EQ, 30 packed, 30 hot
        assert count["nvt"] == 60 and count["packed"] == 20 and 20 <= count["hot"] <= 24
        movers = [box["mover"] for box in boxes.values() if box["recipe"] == "nvt"]
        assert movers == ["sampling", "teacher"] * 3
        assert all(box["mover"] == "sampling" for box in boxes.values() if box["recipe"] != "nvt")
    ratios = [box["density_ratio"] for m in (1, 5) for box in taught_boxes(study, "student", m).values()]
    assert set(ratios) == set(study.settings.sampling.density_ratios)
    size = size_of_lesson(study, "student")
    assert size.largest == 350 and size.atoms == round((1 - HELD_OUT) * 104 * (70 + 350))
    assert enlarged(study, 5).settings.liquid.ions == {"PYR14": 10, "BF4": 10}
    assert scaled(study.settings.sampling.training, 1500).labels == pytest.approx(1500, abs=10)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('start = "base"', 'start = "bse"', r"models.tuned.start is 'bse', but there is no model or potential"),
        ('start = "base"', 'start = "clp"', r"start is 'clp', a potential of kind 'clp'; it must be of kind 'mace'"),
        ('start = "base"', 'start = "old.model"', r"write its digest beside it: start_sha256"),
        ('start = "base"', 'start = "tuned"', r"'tuned' is itself made from 'tuned': name a model"),
        ('start = "base"', 'start = "student"', r"is itself made from"),
        ('start = "base"', f'start = "base"\nstart_sha256 = "{"0" * 64}"', r"start_sha256 is the digest of a"),
        ('kind = "mace"\nstart', 'kind = "deepmd"\nstart', r"DeePMD can only be trained from scratch; .*: mace"),
        ('teacher = "tuned"', 'teacher = "tund"', r"models.student.teacher is 'tund', but there is no model"),
        ('teacher = "tuned"', 'teacher = "gpaw"', r"models.student.teacher is 'gpaw', the reference itself"),
        ("[models.scratch]\nkind", "[models.scratch]\nframes = 100\nkind", r"frames is about frames that a teacher"),
        ("frames_boxes = [1]", "frames_boxes = []", r"frames_boxes"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_refused_in_words(tmp_path, old, new, says):
    with pytest.raises(SettingsError, match=says):
        study_of(tmp_path, (old, new))


def test_a_file_starts_a_model_only_by_its_digest_and_is_validated_as_it_is(tmp_path):
    path = tmp_path / "mpa-0.model"
    path.write_bytes(b"another model")
    digest = hashlib.sha256(b"another model").hexdigest()
    change = ('start = "base"', f'start = "mpa-0.model"\nstart_sha256 = "{digest}"')
    plan = plan_of(tmp_path, change)
    (tuned,) = plan.trained[0, "tuned"]
    assert "start" not in tuned.inputs and tuned.settings["start"]["sha256"] == digest
    assert (None, "mpa-0", "") in plan.validations and "mpa-0" in given_potentials(plan.study)
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "mpa-0.model").write_bytes(b"another model")
    assert plan_of(moved, change).trained[0, "tuned"][0].key == tuned.key, "where the file lies does not matter"
    given = plan_of(tmp_path, ('start = "base"', 'start = "given"'))
    assert (None, "given", "") in given.validations and POTENTIALS["mace"].title == "MACE"


def test_a_student_of_a_model_that_is_trained_again_waits_for_the_last_iteration(tmp_path):
    iterations = ("iterations = 0", "iterations = 1")
    committee = ("[models.scratch]\n", "[models.scratch]\ncommittee = 2\n")
    gfn1 = [('dataset = "pyr14bf4-pbe-d3"\n', ""), ('potential = "gpaw"', 'potential = "gfn2"'), committee, iterations]
    plan = plan_of(tmp_path, *gfn1)
    assert (1, "student") in plan.trained and (0, "student") not in plan.trained
    assert plan.students["student"].teacher.stage is plan.trained[1, "tuned"][0]
    assert plan.trained[1, "tuned"][0].inputs["before"] is plan.trained[0, "tuned"][0]
    assert plan.trained[0, "tuned"][0].inputs["start"] is plan.trained[1, "base"][0], "taught by GFN1-xTB, once"
    with pytest.raises(SettingsError, match="whose teacher is trained again in every iteration"):
        plan_of(tmp_path, *gfn1, ('start = "base"', 'start = "late"'),
                ("[learning]", '[models.late]\nkind = "mace"\nteacher = "scratch"\n[learning]'))  # fmt: skip
    with pytest.raises(SettingsError, match="learning.explorer is 'student', which learns from a teacher"):
        plan_of(tmp_path, *gfn1, ("frames = 200", "frames = 200\ncommittee = 2"),
                ("[learning]", '[learning]\nexplorer = "student"'))  # fmt: skip


def test_isolated_atoms_of_the_reference_are_none_of_another_teachers(tmp_path):
    with pytest.raises(SettingsError, match=r"models.base.atom_energies is .* its teacher gfn1 does not count"):
        plan_of(tmp_path, ('teacher = "gfn1"', 'teacher = "gfn1"\natom_energies = "isolated atoms"'))
    both = [('start = "base"', 'start = "base"\natom_energies = "isolated atoms"'),
            ('teacher = "tuned"', 'teacher = "tuned"\natom_energies = "isolated atoms"')]  # fmt: skip
    plan = plan_of(tmp_path, *both)
    assert plan.trained[0, "student"][0].inputs["atoms"] is plan.atoms


def test_replay_is_refused_where_it_could_not_be_done(tmp_path):
    for value, says in (("pyr14bf4-pbe-d3", "is the dataset that tuned learns from"), ("none", "none with this name")):
        with pytest.raises(SettingsError, match=says):
            plan_of(tmp_path, ('start = "base"', f'start = "base"\nreplay = "{value}"'))

"""MD in a larger box than labels are made of, and with a cutoff that such a box allows."""

from __future__ import annotations

import pytest

from ilforge import frames
from ilforge.dynamics.trajectory import Trajectory
from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
from ilforge.workflow.records import run_labels
from ilforge.workflow.stage import in_order
from ilforge.workflow.steps.structures import FRAMES, liquid_of
from support import studies

LARGE = "box_multiple = 3\ncutoff_A = 5.5"


def plan_with(folder, keys="", protocol="npt", **change):
    path = studies.smallest(folder)
    text = path.read_text().replace(f'name = "{protocol}"\n', f'name = "{protocol}"\n{keys}\n')
    for old, new in change.items():
        text = text.replace(old, new)
    path.write_text(text)
    return make_plan(load_study(path))


def test_a_run_in_a_box_of_its_own_size(tmp_path):
    """Three times one ion pair, with a cutoff that the box of one pair refuses."""
    plan = plan_with(tmp_path, LARGE)
    stage = plan.trajectories["npt", "clp"]
    store, _ = studies.run(in_order([stage]), tmp_path / "store")
    run = Trajectory(store.path(stage))
    info = run.info()
    assert info["ions"] == "3 PYR14, 3 BF4" and info["potential"]["cutoff_A"] == 5.5
    (start,) = frames.read(store.path(stage.inputs["start"]) / FRAMES)
    assert len(start) == run.universe().atoms.n_atoms == 105
    assert start.get_volume() == pytest.approx(3 * liquid_of(plan.study).volume(0.6), rel=1e-6)


def test_without_these_keys_results_keep_their_names(tmp_path):
    plain, large = plan_with(tmp_path), plan_with(tmp_path, LARGE)
    for key in (("nvt", "clp"), ("nvt", "mace")):
        assert large.trajectories[key].key == plain.trajectories[key].key
    assert large.trajectories["npt", "clp"].key != plain.trajectories["npt", "clp"].key
    assert large.trajectories["npt", "clp"].inputs["start"].key != plain.trajectories["npt", "clp"].inputs["start"].key


@pytest.mark.parametrize(
    ("keys", "protocol", "said"),
    [
        (
            "cutoff_A = 5.5",
            "npt",
            "npt, whose own keys are cutoff_A and box_multiple: .*cutoff of 5.5 Å",
        ),
        ("box_multiple = 0", "npt", "box_multiple"),
        (
            "vacuum = { BF4 = 1 }\nbox_multiple = 2",
            "nvt",
            "are of a box, and vacuum has none",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(keys, protocol, said, tmp_path):
    with pytest.raises(SettingsError, match=said):
        plan_with(tmp_path, keys, protocol)


def test_a_cutoff_for_models_without_one_is_refused(tmp_path):
    change = {'["clp", "deepmd", "mace"]': '["deepmd", "mace"]'}
    with pytest.raises(SettingsError, match="cutoff_A is that of clp, clpol and exp6, which potentials does not name"):
        plan_with(tmp_path, "cutoff_A = 6.0", "nvt", **change)


def test_the_reference_keeps_its_own_cutoff(tmp_path):
    """It is the method that made the labels, whatever else runs beside it."""
    path = studies.smallest(tmp_path, "clp")
    keys = f'name = "nvt"\n{LARGE}\n'
    text = path.read_text().replace('["clp", "deepmd", "mace"]', '["clp", "reference"]')
    path.write_text(text.replace('name = "nvt"\n', keys))
    plan = make_plan(load_study(path))
    cutoffs = {name: plan.trajectories["nvt", name].settings["spec"]["cutoff_A"] for name in ("clp", "reference")}
    assert cutoffs == {"clp": 5.5, "reference": 4.0}


def test_a_force_field_is_held_against_labels_in_their_small_boxes(tmp_path):
    """Where sampling has no cutoff to lend, that of the force field does not fit: said before labels are paid."""
    path = studies.smallest(tmp_path)
    text = path.read_text().replace('potential = { kind = "clp", cutoff_A = 4.0 }', 'potential = { kind = "xtb" }')
    path.write_text(
        text.replace('name = "npt"\n', 'name = "npt"\nbox_multiple = 40\n').replace('"clp", "deepmd"', '"deepmd"')
    )
    with pytest.raises(SettingsError, match="cutoff of 10 Å needs a box of at least 20 Å"):
        make_plan(load_study(path))


def test_a_protocol_is_asked_only_about_the_composition_that_it_runs(tmp_path):
    path = studies.compositions(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('composition = "salt"\n', 'composition = "salt"\nbox_multiple = 3\ncutoff_A = 5.5\n'))
    plan = make_plan(load_study(path))
    assert run_labels(plan)["salt"]["liquid"] == liquid_of(plan.study.part("salt")).name
    assert run_labels(plan)["salt"]["ions"] == "3 PYR14, 3 Li, 6 BF4"

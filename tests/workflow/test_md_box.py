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

LONG = '\n[potentials.long]\nkind = "clp"\ncutoff_A = 5.5\n'
LARGE = "box_multiple = 3"
NPT = 'ensemble = "NPT"\npotentials = ["clp"]'


def plan_with(folder, keys="", protocol="npt", **change):
    path = studies.smallest(folder)
    text = path.read_text().replace(f'name = "{protocol}"\n', f'name = "{protocol}"\n{keys}\n')
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text + LONG)
    return make_plan(load_study(path))


def test_a_run_in_a_box_of_its_own_size(tmp_path):
    """Three times one ion pair, with a cutoff that the box of one pair refuses."""
    plan = plan_with(tmp_path, LARGE, **{NPT: NPT.replace("clp", "long")})
    stage = plan.trajectories["npt", "long"]
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
        ("box_multiple = 0", "npt", "box_multiple"),
        (
            "vacuum = { BF4 = 1 }\nbox_multiple = 2",
            "nvt",
            "needs a box, and vacuum has none",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(keys, protocol, said, tmp_path):
    with pytest.raises(SettingsError, match=said):
        plan_with(tmp_path, keys, protocol)


def test_a_cutoff_that_does_not_fit_the_box_of_md_is_refused_in_words(tmp_path):
    said = r"npt with long: give it a table \[potentials.long\] or a larger box_multiple: .*cutoff of 5.5 Å"
    with pytest.raises(SettingsError, match=said):
        plan_with(tmp_path, **{NPT: NPT.replace("clp", "long")})


def test_a_cutoff_that_does_not_fit_the_boxes_of_sampling_is_refused_in_words(tmp_path):
    with pytest.raises(SettingsError, match="sampling.potential is 'long': .*cutoff of 5.5 Å"):
        plan_with(tmp_path, **{'potential = "clp"': 'potential = "long"'})


def test_one_protocol_runs_a_force_field_at_two_cutoffs(tmp_path):
    plan = plan_with(tmp_path, LARGE, **{NPT: NPT.replace('"clp"', '"clp", "long"')})
    cutoffs = {name: plan.trajectories["npt", name].settings["spec"]["cutoff_A"] for name in ("clp", "long")}
    assert cutoffs == {"clp": 4.0, "long": 5.5}


def test_a_protocol_is_asked_only_about_the_composition_that_it_runs(tmp_path):
    path = studies.compositions(tmp_path)
    text = path.read_text()
    path.write_text(text.replace('compositions = ["salt"]\n', 'compositions = ["salt"]\nbox_multiple = 3\n'))
    plan = make_plan(load_study(path))
    assert run_labels(plan)["salt"]["liquid"] == liquid_of(plan.study.part("salt")).name
    assert run_labels(plan)["salt"]["ions"] == "3 PYR14, 3 Li, 6 BF4"

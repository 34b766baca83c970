"""MD in a larger box than labels are made of, and with a cutoff that such a box allows."""

from __future__ import annotations

import pytest

from ilforge import frames
from ilforge.dynamics.trajectory import Trajectory
from ilforge.errors import SettingsError
from ilforge.study.load import load_study
from ilforge.workflow.plan import make_plan
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
        ("cutoff_A = 5.5", "npt", "cutoff of 5.5 Å needs a box of at least 11 Å"),
        ("box_multiple = 0", "npt", "box_multiple"),
        ("vacuum = { BF4 = 1 }\nbox_multiple = 2", "nvt", "box_multiple is of a box, and vacuum has none"),
    ],
)
def test_what_cannot_be_is_refused_in_words(keys, protocol, said, tmp_path):
    with pytest.raises(SettingsError, match=said):
        plan_with(tmp_path, keys, protocol)


def test_a_cutoff_for_models_without_one_is_refused(tmp_path):
    change = {'["clp", "deepmd", "mace"]': '["deepmd", "mace"]'}
    with pytest.raises(SettingsError, match="cutoff_A is that of clp, clpol and exp6, which potentials does not name"):
        plan_with(tmp_path, "cutoff_A = 6.0", "nvt", **change)

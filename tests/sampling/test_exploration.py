"""Exploration: frames with the committee's deviation, and the choice of which to label."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import potentials
from ilforge.errors import SettingsError
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.exploration import Exploration, explore, select
from support import md

SETTINGS = {"temperature_K": 450.0, "pressure_bar": 1.0, "timestep_fs": 0.5, "length_ps": 0.05, "interval_ps": 0.005}


def _judged(*deviations: float, broken: tuple[int, ...] = ()) -> Exploration:
    """A run whose frames are all the same, but not its deviations."""
    fragments = tuple("broken bond" if index in broken else None for index in range(len(deviations)))
    run = []
    for index, value in enumerate(deviations):
        frame = md.packed_box()
        frame.info.update(deviation=value, index=index)
        run.append(frame)
    return Exploration(tuple(run), np.array(deviations), fragments)


@pytest.fixture(scope="module")
def committee(tiny_deepmd_models):
    return potentials.create({"kind": "committee", "members": [md.deepmd(path) for path in tiny_deepmd_models]})


@pytest.mark.slow
@pytest.mark.program("lmp")
def test_lammps_and_python_agree_on_the_deviation_of_each_frame(committee, tmp_path):
    found = explore(committee, md.warm_box(), md.liquid(), **SETTINGS, seed=1, directory=tmp_path / "run")
    assert len(found.frames) == 10 and found.fault is None
    assert len(np.unique(found.deviations)) == 10 and found.deviations.min() > 0
    for frame, deviation in list(zip(found.frames, found.deviations, strict=True))[::4]:
        # LAMMPS prints six digits, and the recorded positions are of single precision
        assert committee.force_deviation(frame) == pytest.approx(deviation, rel=2e-3)
        assert frame.info == {
            "ions": "2 PYR14, 2 BF4", "kind": "EQ", "recipe": "explored", "seed": 1, "parent": "box-1",
            "deviation": deviation,
        }  # fmt: skip


@pytest.mark.program("lmp")
def test_an_exploration_that_explodes_is_used_up_to_there(committee, tmp_path):
    # atoms that should hardly move, in a structure far from rest
    cold = {**SETTINGS, "temperature_K": 1.0, "interval_ps": 0.001}
    found = explore(committee, md.packed_box(), md.liquid(), **cold, seed=1, directory=tmp_path / "run")
    assert "1 K was set" in found.fault
    assert len(found.frames) == len(found.deviations) == len(found.fragments) < 50


def test_a_single_potential_cannot_explore(tmp_path):
    with pytest.raises(SettingsError, match="needs a committee"):
        explore(Clp(4.0), md.warm_box(), md.liquid(), **SETTINGS, seed=1, directory=tmp_path / "run")


def test_frames_are_judged_by_the_window_and_by_their_molecules():
    runs = [_judged(0.01, 0.05, 0.2, 1.5, 1.51), _judged(0.3, 0.3, np.nan, 0.01, broken=(1, 3))]
    chosen = select(runs, low=0.05, high=1.5, max_candidates=10)
    assert (chosen.accurate, chosen.candidate, chosen.failed) == (1, 4, 4)
    assert [frame.info["deviation"] for frame in chosen.frames] == [0.05, 0.2, 1.5, 0.3]
    assert len(chosen.deviations) == 9


def test_candidates_are_spread_evenly_over_runs_and_time():
    runs = [_judged(*[0.2] * 12), _judged(*[0.01] * 12), _judged(0.2, 0.2)]
    chosen = select(runs, low=0.05, high=1.5, max_candidates=6)
    assert [frame.info["index"] for frame in chosen.frames] == [1, 4, 7, 10, 0, 1]
    assert chosen.candidate == 14
    again = select(runs, low=0.05, high=1.5, max_candidates=6)
    assert [frame.info for frame in again.frames] == [frame.info for frame in chosen.frames]


def test_nothing_explored_and_nothing_asked_for_give_nothing():
    assert select([], 0.05, 1.5, 10).frames == []
    chosen = select([_judged(0.2), Exploration((), np.empty(0), ())], 0.05, 1.5, 0)
    assert chosen.frames == [] and chosen.candidate == 1

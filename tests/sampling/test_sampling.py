"""EQ and nEQ frames: their provenance, that their molecules are whole, and that a seed means something."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ilforge import frames
from ilforge.errors import Unphysical
from ilforge.liquid.connectivity import fragmentation
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.equilibrated import sample_equilibrated
from ilforge.sampling.hot import HotRun, highest_stable_temperature, sample_hot
from ilforge.sampling.packed import relax_packed
from support import md

_PRINT_DIGESTS = """
from ilforge import frames
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.equilibrated import sample_equilibrated
from support import md
found = sample_equilibrated(md.packed_box(), md.liquid(), Clp(4.0), temperature_K=423.0, timestep_fs=1.0,
                            equilibration_ps=0.3, interval_ps=0.05, n_frames=3, seed=5)
print(*[frames.digest(frame) for frame in found])
"""


def _equilibrated(seed: int):
    return sample_equilibrated(
        md.packed_box(), md.liquid(), Clp(4.0), temperature_K=423.0, timestep_fs=1.0,
        equilibration_ps=0.3, interval_ps=0.05, n_frames=3, seed=seed,
    )  # fmt: skip


HOT = HotRun(temperature_K=1500.0, timestep_fs=1.5, interval_ps=0.05, n_frames=4, seed=2, bond_factor=1.4)


def _hot(**changes):
    return sample_hot(md.packed_box(), md.liquid(), Clp(4.0), replace(HOT, **changes))


def _hottest(bond_factor):
    start = replace(HOT, interval_ps=0.02, n_frames=2, bond_factor=bond_factor)
    return highest_stable_temperature(md.packed_box(), md.liquid(), Clp(4.0), start)


def test_equilibrated_frames_say_where_they_come_from_and_survive_a_file(tmp_path):
    found = _equilibrated(seed=5)
    assert len({frames.digest(frame) for frame in found}) == 3
    for frame in found:
        assert frame.info == {
            "ions": "2 PYR14, 2 BF4", "kind": "EQ", "recipe": "nvt", "seed": 5, "parent": "box-1",
        }  # fmt: skip
        assert fragmentation(frame, md.liquid().topology, 1.4) is None
        np.testing.assert_allclose(frame.cell.array, md.packed_box().cell.array)
    frames.write(tmp_path / "a.xyz", found)
    read = frames.read(tmp_path / "a.xyz")
    assert [frames.digest(frame) for frame in read] == [frames.digest(frame) for frame in found]


def test_the_same_seed_gives_the_same_frames_in_every_process(pytestconfig):
    here = [frames.digest(frame) for frame in _equilibrated(seed=5)]
    there = subprocess.run(
        [sys.executable, "-c", _PRINT_DIGESTS],
        cwd=pytestconfig.rootpath / "tests",
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == here
    assert frames.digest(_equilibrated(seed=6)[0]) not in here


def test_a_few_steps_take_absurd_forces_out_of_a_packed_box():
    packed, calculator = md.packed_box(1.3), Clp(4.0).calculator(md.liquid().topology)
    relaxed = relax_packed(packed, md.liquid(), Clp(4.0), steps=20)
    before, after = (np.linalg.norm(calculator.get_forces(box), axis=1).max() for box in (packed, relaxed))
    assert after < min(30, before / 2)
    assert relaxed.info["kind"] == "nEQ" and relaxed.info["recipe"] == "packed" and relaxed.info["seed"] == 1
    untouched = relax_packed(packed, md.liquid(), Clp(4.0), steps=0)
    assert frames.digest(untouched) == frames.digest(packed)


def test_hot_frames_are_distorted_but_whole():
    found, cold = _hot(), _equilibrated(seed=5)
    assert len(found) == 4
    for frame in found:
        assert fragmentation(frame, md.liquid().topology, 1.4) is None
        assert frame.info["kind"] == "nEQ" and frame.info["recipe"] == "hot"
        assert frame.info["temperature_K"] == 1500.0
    assert _bond_spread(found) > 1.3 * _bond_spread(cold)


@pytest.mark.slow
def test_the_heat_is_turned_down_until_no_molecule_comes_apart():
    found = _hot(n_frames=2, bond_factor=1.12)
    assert found[0].info["temperature_K"] < 1500.0
    assert all(fragmentation(frame, md.liquid().topology, 1.12) is None for frame in found)


@pytest.mark.slow
def test_without_any_temperature_that_bonds_survive_it_says_what_to_change():
    with pytest.raises(Unphysical, match=r"even at 309 K .*broken bond.*hot_timestep_fs"):
        _hot(n_frames=1, bond_factor=1.04)
    with pytest.raises(Unphysical, match=r"already in the minimised box: .*broken bond.*Raise gate.bond_factor"):
        _hot(n_frames=1, bond_factor=1.0)


@pytest.fixture(scope="module")
def hottest():
    """The hottest bearable run from a start that is far too cold."""
    return _hottest(bond_factor=1.25)


def test_the_hottest_bearable_run_is_just_below_one_that_was_not(hottest):
    borne = [(kelvin, step) for kelvin, step, reason in hottest.tried if reason is None]
    broken = [(kelvin, step) for kelvin, step, reason in hottest.tried if reason is not None]
    assert borne[0] == (1500.0, 1.5) and (hottest.temperature_K, hottest.timestep_fs) == borne[-1] or broken
    assert (hottest.temperature_K, hottest.timestep_fs) in borne
    hotter = [kelvin for kelvin, step in broken if step == 1.5]
    assert hottest.temperature_K > 1500.0
    assert min(hotter, default=5000.0) <= 1.12 * hottest.temperature_K
    longer = [step for kelvin, step in broken if kelvin == hottest.temperature_K and step > 1.5]
    assert min(longer, default=3.0) <= 1.08 * hottest.timestep_fs
    assert len(hottest.tried) <= 18


def test_frames_at_the_heat_that_was_found_are_whole(hottest):
    found = _hot(
        temperature_K=hottest.temperature_K, timestep_fs=hottest.timestep_fs, interval_ps=0.02, n_frames=2,
        bond_factor=1.25,
    )  # fmt: skip
    assert all(frame.info["temperature_K"] == hottest.temperature_K for frame in found), "the very same run"
    assert all(fragmentation(frame, md.liquid().topology, 1.25) is None for frame in found)


def test_the_search_goes_down_where_the_start_is_too_hot():
    found = _hottest(bond_factor=1.12)
    assert found.temperature_K < 1500.0 and found.tried[0][2] is not None


def _bond_spread(found) -> float:
    i, j = md.liquid().topology.bonds.T
    lengths = np.array([np.linalg.norm(frame.positions[i] - frame.positions[j], axis=1) for frame in found])
    return float(np.sqrt(lengths.var(axis=0).mean()))

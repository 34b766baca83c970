"""Exploration: frames with the committee's deviation, the limits that end a run, and what begins again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest

from ilforge import potentials
from ilforge.dynamics.recording import Recorder
from ilforge.errors import SettingsError
from ilforge.potentials.learned.committee import Committee
from ilforge.sampling.exploration import Conditions, Exploration, Trusted, Walk, density_of, explore, kinds_of_bonds
from support import md, soft

WARM = Conditions("NPT", 450.0, 1.0)
WALK = Walk(WARM, timestep_fs=0.5, length_ps=0.05, interval_ps=0.005, seed=1)
SQUEEZED = Conditions("NPT", 423.0, 3000.0)  # the soft ions keep their volume there
ANYWHERE = Trusted()
SOFT_WALK = Walk(SQUEEZED, timestep_fs=1.0, length_ps=0.2, interval_ps=0.02, seed=1)


@pytest.fixture(scope="module")
def committee(tiny_deepmd_models):
    return potentials.create({"kind": "committee", "members": [md.deepmd(path) for path in tiny_deepmd_models]})


def soft_committee(*heights_eV):
    """Members whose forces are those of one repulsion, times the height; ions of one atom cannot break."""
    return Committee(tuple(soft.Soft(height_eV=height) for height in heights_eV))


def explore_soft(tmp_path, walk=SOFT_WALK, trusted=ANYWHERE, heights=(0.2, 0.25), starts=None):
    liquid, box = soft.ions("Cl")
    return explore(soft_committee(*heights), starts or [box], liquid, walk, trusted, tmp_path)


@pytest.mark.slow
@pytest.mark.program("lmp")
def test_lammps_and_python_agree_on_the_deviation_of_each_frame(committee, tmp_path):
    # 2 fs: models that have hardly learned anything break bonds within 5 fs
    brief = replace(WALK, timestep_fs=0.05, length_ps=0.002, interval_ps=0.0002)
    found = explore(committee, [md.warm_box()], md.liquid(), brief, Trusted(), tmp_path)
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
    cold = replace(WALK, conditions=Conditions("NPT", 1.0, 1.0), interval_ps=0.001)
    found = explore(committee, [md.packed_box()], md.liquid(), cold, Trusted(), tmp_path)
    assert "1 K was set" in found.fault and found.parts[0].cause == "exploded"
    assert len(found.frames) == len(found.deviations) == len(found.fragments) < 50


def test_a_single_potential_cannot_explore(tmp_path):
    liquid, box = soft.ions("Cl")
    with pytest.raises(SettingsError, match="needs a committee"):
        explore(soft.Soft(), [box], liquid, WALK, Trusted(), tmp_path)


def test_deviations_are_those_of_forces_that_are_linear_in_a_parameter(tmp_path):
    heights = (0.2, 0.23, 0.29)
    found = explore_soft(tmp_path, replace(SOFT_WALK, pressures=True), heights=heights)
    liquid, _ = soft.ions("Cl")
    assert len(found.frames) == 10 and [part.cause for part in found.parts] == ["length"]
    springs, one = (soft.Soft(height_eV=height).calculator(liquid.topology) for height in (0.0, 1.0))
    for frame, deviation, pressure in zip(found.frames, found.deviations, found.pressure_deviations, strict=True):
        repulsion = one.get_forces(frame) - springs.get_forces(frame)
        wanted = np.std(heights) * np.linalg.norm(repulsion, axis=1).max()
        assert deviation == pytest.approx(wanted, rel=1e-3)  # recorded positions are of single precision
        push = (one.get_stress(frame) - springs.get_stress(frame))[:3].mean() * 160.21766
        assert pressure == pytest.approx(np.std(heights) * abs(push), rel=1e-6)


def test_the_first_member_moves_the_atoms(tmp_path):
    one, other = (explore_soft(tmp_path / str(k), heights=(0.2, last)) for k, last in enumerate((0.25, 0.4)))
    for a, b in zip(one.frames, other.frames, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    # the deviation is proportional to the difference of the two heights
    np.testing.assert_allclose(other.deviations, 4 * one.deviations, rtol=1e-6)


def test_a_liquid_that_boils_ends_there_and_keeps_the_way(tmp_path):
    """Without attraction, and at 1 bar, the ions fly apart."""
    liquid, box = soft.ions("Cl")
    start = density_of(box, liquid.topology)
    walk = replace(SOFT_WALK, conditions=Conditions("NPT", 423.0, 1.0), length_ps=4.0)
    found = explore_soft(tmp_path, walk, Trusted(densities_g_cm3=(0.85 * start, 2 * start)))
    assert [part.cause for part in found.parts] == ["boiled"]
    assert f"fell below {0.85 * start:.3f} g/cm3" in found.fault
    assert found.densities[-1] < 0.85 * start and (found.densities[:-1] >= 0.85 * start).all()
    assert len(found.frames) == found.parts[0].n_frames > 2
    masses = liquid.topology.masses.sum() * 1.66053907
    np.testing.assert_allclose(found.densities, [masses / frame.get_volume() for frame in found.frames], rtol=1e-6)


def test_a_liquid_that_collapses_ends_there(tmp_path):
    liquid, box = soft.ions("Cl")
    start = density_of(box, liquid.topology)
    walk = replace(SOFT_WALK, conditions=Conditions("NPT", 423.0, 50000.0), length_ps=4.0)
    found = explore_soft(tmp_path, walk, Trusted(densities_g_cm3=(0.5 * start, 1.1 * start)))
    assert found.parts[0].cause == "collapsed" and found.densities[-1] > 1.1 * start


def test_a_boiling_that_the_engine_ends_is_called_so(tmp_path):
    walk = replace(SOFT_WALK, conditions=Conditions("NPT", 1500.0, 0.0), length_ps=20.0, interval_ps=0.2)
    found = explore_soft(tmp_path, walk)
    assert found.parts[0].cause == "boiled" and "beyond 0.5 to 2 times" in found.fault


def test_a_run_begins_again_elsewhere_until_its_length_is_spent(tmp_path):
    liquid, box = soft.ions("Cl")
    other = explore_soft(tmp_path / "other", replace(SOFT_WALK, length_ps=0.1)).frames[-1]
    free = explore_soft(tmp_path / "free", replace(SOFT_WALK, length_ps=0.4))
    limit = float(np.sort(free.deviations)[-3])  # some frames are above it
    walk = replace(SOFT_WALK, length_ps=0.4, restarts=5)
    found = explore_soft(tmp_path / "a", walk, Trusted(deviation_eV_A=limit * 0.999), starts=[box, other])
    assert len(found.parts) > 1 and {part.cause for part in found.parts[:-1]} == {"deviation"}
    assert sum(part.n_frames for part in found.parts) == len(found.frames) <= 20
    first = found.parts[0].n_frames
    np.testing.assert_array_equal(found.deviations[:first], free.deviations[:first])
    assert (found.deviations[: first - 1] <= limit).all() and found.deviations[first - 1] >= limit
    # the next part starts from the other box, which is nearer to its first frame
    shift = [np.abs(found.frames[first].positions - start.positions).mean() for start in (box, other)]
    assert shift[1] < shift[0]
    again = explore_soft(tmp_path / "b", walk, Trusted(deviation_eV_A=limit * 0.999), starts=[box, other])
    np.testing.assert_array_equal(again.deviations, found.deviations)
    assert again.parts == found.parts


def test_restarts_are_limited(tmp_path):
    found = explore_soft(tmp_path, replace(SOFT_WALK, restarts=2), Trusted(deviation_eV_A=0.0))
    assert [(part.n_frames, part.cause) for part in found.parts] == [(1, "deviation")] * 3
    assert len(np.unique(found.deviations)) == 3  # each part has velocities of its own


def test_an_exploration_at_constant_volume_keeps_it(tmp_path):
    walk = replace(SOFT_WALK, conditions=Conditions("NVT", 423.0))
    found = explore_soft(tmp_path, walk)
    assert np.ptp(found.densities) < 1e-6 * found.densities[0]


def test_an_exploration_is_read_as_it_was_written(tmp_path):
    found = explore_soft(tmp_path, replace(SOFT_WALK, restarts=1), Trusted(deviation_eV_A=0.0))
    again = Exploration.of_judged(found.frames, json.loads(json.dumps(found.judged())))
    for column in dataclasses.fields(Exploration):
        one, other = getattr(found, column.name), getattr(again, column.name)
        np.testing.assert_equal(other, one) if isinstance(one, np.ndarray) else None
        assert isinstance(one, np.ndarray) or one == other


def test_kinds_of_bonds_name_the_ions():
    frame, topology = md.warm_box(), md.liquid().topology
    assert kinds_of_bonds(frame, topology, 1.25) == ()
    i = next(k for k, pair in enumerate(topology.bonds) if {topology.symbols[a] for a in pair} == {"C", "H"})
    carbon, hydrogen = sorted(topology.bonds[i], key=lambda atom: topology.symbols[atom])
    fluorine = topology.symbols.index("F")
    frame.positions[hydrogen] = frame.positions[fluorine] + [0.9, 0, 0]
    found = kinds_of_bonds(frame, topology, 1.25)
    assert "broken C-H in PYR14" in found and "new F-H of BF4 and PYR14" in found
    frame.positions[carbon] = np.nan
    assert kinds_of_bonds(frame, topology, 1.25) == ()


def test_an_exploration_that_was_killed_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    walk = replace(SOFT_WALK, length_ps=0.4, restarts=2)
    whole = explore_soft(tmp_path / "whole", walk)
    limit = Trusted(deviation_eV_A=float(np.sort(whole.deviations)[-2]) * 0.999)
    undisturbed = explore_soft(tmp_path / "undisturbed", walk, limit)
    assert len(undisturbed.parts) > 1
    append, left = Recorder.append, [undisturbed.parts[0].n_frames + 2]

    def dying(self, sample):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        append(self, sample)

    monkeypatch.setattr(Recorder, "append", dying)
    with pytest.raises(KeyboardInterrupt):  # in the second part
        explore_soft(tmp_path / "killed", walk, limit)
    again = explore_soft(tmp_path / "killed", walk, limit)
    assert again.parts == undisturbed.parts
    np.testing.assert_array_equal(again.deviations, undisturbed.deviations)

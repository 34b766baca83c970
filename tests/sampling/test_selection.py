"""Which explored frames are labelled: classes against hand-made frames, the choice against brute force, the advice."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest

from ilforge.sampling.diversity import descriptors, normalised
from ilforge.sampling.explanation import as_json, in_words
from ilforge.sampling.exploration import Conditions, Exploration, Part, density_of
from ilforge.sampling.selection import Window, classify, select, share
from support import md

WINDOW = Window(0.05, 1.5)
HOT = Conditions("NPT", 600.0, 1.0)


def judged(*deviations, broken=(), densities=None, pressures=None, scale=None, conditions=HOT, parts=()):
    """A run of warm boxes, all the same unless scaled, with these verdicts."""
    frames = []
    for index, value in enumerate(deviations):
        frame = md.warm_box()
        if scale is not None:
            frame.set_cell(frame.cell * scale[index], scale_atoms=True)
        frame.info.update(deviation=value, index=index)
        frames.append(frame)
    many = len(deviations)
    fragments = tuple("broken bond C1-H2 of PYR14 #1" if index in broken else None for index in range(many))
    bonds = tuple(("broken C-H in PYR14",) if index in broken else () for index in range(many))
    nan = np.full(many, np.nan)
    return Exploration(
        tuple(frames), np.array(deviations, dtype=float), fragments, conditions, bonds,
        nan if densities is None else np.array(densities), nan if pressures is None else np.array(pressures), parts,
    )  # fmt: skip


def selected(runs, window=WINDOW, most=10):
    return select(runs, window, most, md.liquid().topology)


def test_frames_are_judged_by_the_window_and_by_their_molecules():
    runs = [judged(0.01, 0.05, 0.2, 1.5, 1.51), judged(0.3, 0.3, np.nan, 0.01, broken=(1, 3))]
    found = selected(runs)
    assert (found.accurate, found.candidate, found.failed) == (1, 4, 4)
    assert found.counts == {
        "accurate": 1, "deviation": 4, "deviation too high": 1, "broken or new bonds": 2, "not finite": 1,
    }  # fmt: skip
    assert [frame.info["deviation"] for frame in found.frames] == [0.05, 0.2, 1.5, 0.3]
    assert len(found.deviations) == 9 and found.chosen == [1, 2, 3, 5]


def test_a_density_that_the_models_do_not_know_makes_a_candidate_although_they_agree():
    window = Window(0.05, 1.5, densities_g_cm3=(0.8, 1.2))
    run = judged(*[0.01] * 6, 2.0, 0.01, densities=[1.0, 0.79, 0.78, 0.5, 1.22, 1.23, 0.5, 0.5], broken=(7,))
    assert classify(run, window) == [
        "accurate", "accurate", "unknown density", "unknown density", "accurate", "unknown density",
        "deviation too high", "broken or new bonds",
    ]  # fmt: skip


def test_members_that_differ_in_pressure_make_a_candidate():
    run = judged(0.01, 0.01, 0.01, 0.1, pressures=[0.1, 0.3, np.nan, 0.3])
    assert classify(run, WINDOW) == ["accurate", "accurate", "accurate", "deviation"]
    assert classify(run, Window(0.05, 1.5, pressure_GPa=0.2)) == ["accurate", "pressure", "accurate", "deviation"]


def test_the_most_different_candidates_are_chosen():
    """Against all pairs: the first is the nearest to the mean, the second the furthest from it."""
    scales = [1.0, 1.001, 1.002, 1.1, 1.003]
    run = judged(*[0.2] * 5, scale=scales)
    topology = md.liquid().topology
    points = normalised([descriptors(frame, topology) for frame in run.frames])
    first = int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))
    second = max(range(5), key=lambda k: np.linalg.norm(points[k] - points[first]))
    assert selected([run], most=2).chosen == sorted([first, second]) and 3 in (first, second)


def test_each_class_of_candidates_has_its_share():
    window = Window(0.05, 1.5, densities_g_cm3=(0.8, 1.2))
    scale = np.linspace(1.0, 1.05, 8)
    runs = [judged(*[0.2] * 8, *[0.01] * 8, densities=[1.0] * 8 + [0.5] * 8, scale=np.tile(scale, 2))]
    found = selected(runs, window, 6)
    assert [found.classes[index] for index in found.chosen] == ["deviation"] * 3 + ["unknown density"] * 3
    again = selected(runs, window, 6)
    assert again.chosen == found.chosen


def test_shares_are_as_even_as_sizes_allow():
    for *sizes, total in itertools.product([0, 1, 5, 12], [0, 1, 5, 12], [0, 1, 5, 12], [0, 1, 7, 100]):
        found = share(sizes, total)
        assert sum(found) == min(total, sum(sizes)) and all(0 <= a <= b for a, b in zip(found, sizes, strict=True))
        # whoever is not exhausted has at most one less than anyone else
        assert all(a >= max(found) - 1 for a, b in zip(found, sizes, strict=True) if a < b)


def test_nothing_explored_and_nothing_asked_for_give_nothing():
    assert selected([]).frames == []
    found = selected([judged(0.2), judged()], most=0)
    assert found.frames == [] and found.candidate == 1


def test_the_file_says_by_state_what_was_found_and_why_runs_ended():
    cold = Conditions("NVT", 400.0)
    boiled = Part(3, 1.5, "boiled", "At 1.5 ps: the density fell below 0.700 g/cm3, to 0.690.", 0.69)
    runs = [
        judged(0.01, 0.3, 2.0, broken=(1,), parts=(boiled,)),
        judged(0.2, parts=(Part(1, 0.5, "length"),), conditions=cold),
        judged(0.2, 0.3, parts=(Part(2, 1.0, "length"),)),
    ]
    found = json.loads(json.dumps(as_json(selected(runs), WINDOW)))
    assert [found[name] for name in ("accurate", "candidate", "failed", "chosen")] == [1, 3, 2, 3]
    hot, other = found["states"]
    assert (hot["temperature_K"], hot["runs"], hot["chosen"], other["ensemble"]) == (600.0, 2, 2, "NVT")
    assert hot["classes"] == {"accurate": 1, "broken or new bonds": 1, "deviation too high": 1, "deviation": 2}
    assert hot["bonds"] == {"broken C-H in PYR14": 1} and [part["cause"] for part in hot["left"]] == ["boiled"]
    assert hot["deviations"] == [0.01, 0.3, 2.0, 0.2, 0.3]
    assert found["runs"][0]["parts"][0]["density_g_cm3"] == 0.69
    assert [(one["run"], one["frame"]) for one in found["labelled"]] == [(1, 0), (2, 0), (2, 1)]
    assert found["advice"] is None
    assert in_words(hot) == (
        "1 accurate, 2 candidates, 2 to be labelled, failed: 1 broken or new bonds (broken C-H in PYR14), 1 deviation "
        "too high, runs that ended early: 1 boiled (at 1.5 ps and 0.69 g/cm3)"
    )
    assert in_words(other) == "0 accurate, 1 candidates, 1 to be labelled"


def test_each_run_has_a_share_that_depends_on_no_other_run():
    scale = np.linspace(1.0, 1.05, 6)
    runs = [judged(*[0.2] * 6, scale=scale), judged(0.2, 0.01), judged(*[0.2] * 6, scale=scale[::-1])]
    together = selected(runs, most=7).chosen
    alone = [selected([run], most=quota).chosen for run, quota in zip(runs, (3, 2, 2), strict=True)]
    expected = {*alone[0], *(6 + index for index in alone[1]), *(8 + index for index in alone[2])}
    assert expected < set(together) and len(expected) == 6 and len(together) == 7


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (judged(2.0, 3.0, 0.1, broken=(2,)), "3 of 3 frames failed, .* more than 1.5 eV/Å .median 2.*temperatures_K"),
        (judged(0.1, 0.2, 3.0, broken=(0, 1)), "because bonds broke or formed .broken C-H in PYR14.: add hot"),
        (judged(np.nan), "not finite: use a shorter learning.timestep_fs"),
        (judged(parts=(Part(0, 0.0, "exploded", "At 0.1 ps: the temperature is 9e9 K."),)), "before its first frame "),
        (judged(0.01, 0.02), None),
        (judged(0.01, 0.2), None),
    ],
)  # fmt: skip
def test_if_nothing_is_left_to_label_the_cause_and_the_remedy_are_said(run, words):
    found = as_json(selected([run]), WINDOW)["advice"]
    assert found is None if words is None else re.search(words, found), found


def test_density_of_a_box():
    frame = md.warm_box(1.03)
    assert density_of(frame, md.liquid().topology) == pytest.approx(1.03, rel=1e-3)

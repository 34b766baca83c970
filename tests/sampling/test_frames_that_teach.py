"""Training sets of the benchmark that compares kinds of frames: equally many labels, and no parent of validation."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ilforge import Dataset, frames
from ilforge.labelling.datasets.dataset import parent_of

LABELS, REPLACED = 13, 5


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "frames_that_teach.py"
    spec = importlib.util.spec_from_file_location("frames_that_teach", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shipped():
    return Dataset.open("pyr14bf4-pbe-d3")


@pytest.fixture(scope="module")
def sets(benchmark, shipped):
    return benchmark.training_sets(shipped.frames("training"), LABELS, REPLACED, seed=2)


def test_all_sets_have_the_same_number_of_different_labels(benchmark, sets):
    shared = {frames.digest(frame) for frame in sets["shared"]}
    assert len(shared) == LABELS - REPLACED
    for kind in benchmark.KINDS:
        digests = {frames.digest(frame) for frame in sets[kind]}
        assert len(digests) == len(sets[kind]) == LABELS, kind
        assert shared <= digests, kind


def test_replaced_frames_are_of_the_kind_that_the_set_is_named_after(benchmark, sets):
    recipes = {kind: Counter(frame.info["recipe"] for frame in sets[kind][LABELS - REPLACED :]) for kind in sets}
    for recipe in benchmark.RECIPES:
        assert recipes[recipe] == {recipe: REPLACED}
        assert recipes["mix"][recipe] in (1, 2)
    assert recipes["diverse"] == {"nvt": REPLACED}


def test_no_frame_for_early_stopping_shares_a_parent_with_training(benchmark, shipped, sets):
    stop = benchmark.drawn(shipped.frames("validation"), benchmark.STOP, np.random.default_rng(2))
    assert len(stop) == benchmark.STOP
    trained = {parent_of(frame) for kind in sets for frame in sets[kind]}
    assert trained <= {parent_of(frame) for frame in shipped.frames("training")}, "made frames keep the parent"
    assert not trained & {parent_of(frame) for frame in stop}


def test_shares_are_rounded_so_that_they_add_up(benchmark):
    recipes = ["nvt"] * 116 + ["distorted"] * 35 + ["hot"] * 33 + ["packed"] * 37
    assert benchmark.proportions(recipes, 100) == {"nvt": 52, "distorted": 16, "hot": 15, "packed": 17}
    for number in range(1, 60):
        found = benchmark.proportions(recipes, number)
        assert sum(found.values()) == number
        assert all(abs(found[name] - number * recipes.count(name) / len(recipes)) < 1 for name in found)

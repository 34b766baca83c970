"""Two stores made one: results, failures with their reasons, and methods that changed under their name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilforge.labelling.labels import Label
from ilforge.labelling.storing.merge import merge
from ilforge.labelling.storing.store import LabelStore

METHOD = {"kind": "xtb", "method": "GFN1-xTB"}


@pytest.fixture
def stores(tmp_path):
    with LabelStore(tmp_path / "a") as a, LabelStore(tmp_path / "b") as b:
        yield a, b


@pytest.fixture
def result(one_pair):
    return Label(one_pair, METHOD, -10.0, np.ones((35, 3)), np.arange(6.0), converged=True)


@pytest.fixture
def failure(two_pairs):
    return Label(two_pairs, METHOD, error="DidNotConverge: 250 iterations")


def test_everything_is_taken_over_and_failures_keep_their_reasons(stores, result, failure):
    target, source = stores
    source.add_many([result, failure])
    done = merge(target, source)
    assert (done.added, done.known, done.failures, done.conflicts) == (2, 0, 1, ())
    held = target.get(result.frame_digest, result.method_digest)
    assert held.energy == result.energy and held.converged
    np.testing.assert_array_equal(held.forces, result.forces)
    np.testing.assert_array_equal(held.stress, result.stress)
    assert (held.host, held.time) == (result.host, result.time)
    assert target.get(failure.frame_digest, failure.method_digest).error == "DidNotConverge: 250 iterations"
    assert merge(target, source).added == 0, "a second time there is nothing to do"


def test_a_result_replaces_a_failure_and_never_the_other_way(stores, result):
    target, source = stores
    failed = Label(result.frame, METHOD, error="DidNotFinish: killed")
    target.add(failed)
    source.add(result)
    assert merge(target, source).added == 1
    assert not target.get(result.frame_digest, result.method_digest).failed
    assert merge(source, target).added == 0


def test_labels_that_contradict_each_other_are_named_and_the_first_kept(stores, result):
    target, source = stores
    target.add(result)
    source.add(replace(result, energy=-10.5))
    (conflict,) = merge(target, source).conflicts
    assert "-10.000000 and -10.500000 eV" in conflict
    assert target.get(result.frame_digest, result.method_digest).energy == -10.0


def test_methods_stay_apart(stores, result):
    target, source = stores
    target.add(result)
    source.add(replace(result, method={"kind": "gpaw"}, energy=-300.0))
    assert merge(target, source).conflicts == ()
    assert len(target.methods()) == 2

"""Labelling one frame in a worker: real calculators, real failures."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.errors import SettingsError
from ilforge.labelling import label as label_module
from ilforge.labelling.label import evaluate, forget
from ilforge.labelling.labels import method_digest
from ilforge.labelling.storing.store import LabelStore
from ilforge.liquid.liquid import Liquid

XTB = {"kind": "xtb", "method": "GFN1-xTB"}
CLP = {"kind": "clp", "cutoff_A": 4.0}


@pytest.fixture(autouse=True)
def cold():
    forget()


def test_label_is_what_the_potential_says(one_pair, topology_of, tmp_path):
    label = evaluate(one_pair, XTB, 1, tmp_path)
    atoms = one_pair.copy()
    atoms.calc = potentials.create(XTB).calculator(topology_of(one_pair))
    assert label.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(label.forces, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(label.stress, atoms.get_stress(), atol=1e-10)
    assert label.converged
    assert label.cost_s > 0
    assert label.frame.info["ions"] == "1 PYR14, 1 BF4"
    assert len(list(tmp_path.iterdir())) == 1


def test_methods_are_named_as_potentials_name_themselves(one_pair):
    assert evaluate(one_pair, CLP).method_digest == potentials.digest(potentials.create(CLP))
    assert method_digest({"a": 1.0, "b": [1, 2]}) == method_digest({"b": [1, 2], "a": 1.0})


def test_frame_is_not_changed(one_pair):
    before = one_pair.copy()
    evaluate(one_pair, CLP)
    assert one_pair == before
    assert one_pair.calc is None
    assert one_pair.info == before.info


def test_old_labels_on_a_frame_are_not_taken_over(one_pair):
    one_pair.info[frames.ENERGY] = -1.0
    one_pair.arrays[frames.FORCES] = np.ones((35, 3))
    label = evaluate(one_pair, CLP)
    assert frames.ENERGY not in label.frame.info
    assert frames.FORCES not in label.frame.arrays


def test_a_frame_that_does_not_converge_is_a_label_that_says_so(one_pair, tmp_path):
    """Two iterations of self-consistency are not enough for any frame."""
    impatient = {**XTB, "max_iterations": 2}
    with LabelStore(tmp_path) as store:
        label = evaluate(one_pair, impatient, 1, store.inbox)
        assert label.failed
        assert label.energy is None
        assert "DidNotConverge" in label.error
        store.absorb_inbox()
        stored = store.get(label.frame_digest, label.method_digest)
        assert stored.error == label.error
    assert not evaluate(one_pair, XTB).failed


def test_coinciding_atoms_are_one_frames_failure_and_the_next_frame_is_fine(one_pair):
    broken = one_pair.copy()
    broken.positions[1] = broken.positions[0]
    assert evaluate(broken, XTB).failed
    assert not evaluate(one_pair, XTB).failed


def test_warm_calculator_is_kept_and_has_no_memory(one_pair):
    first = evaluate(one_pair, XTB)
    moved = one_pair.copy()
    moved.rattle(0.05, seed=1)
    evaluate(moved, XTB)
    assert len(label_module._warm) == 1
    again = evaluate(one_pair, XTB)
    forget()
    cold = evaluate(one_pair, XTB)
    assert first.energy == again.energy == cold.energy
    np.testing.assert_array_equal(first.forces, again.forces)


def test_few_calculators_are_kept(one_pair):
    for cutoff in (3.0, 3.2, 3.4, 3.6, 3.8, 4.0):
        evaluate(one_pair, {"kind": "clp", "cutoff_A": cutoff})
    assert len(label_module._warm) == 4


def test_liquid_may_be_given(one_pair):
    liquid = Liquid.from_label(one_pair.info.pop("ions"))
    assert evaluate(one_pair, CLP, liquid=liquid).energy is not None


@pytest.mark.parametrize("spec", [{"kind": "dft"}, {"kind": "clp", "cutoff": 4.0}, {"kind": "clp", "cutoff_A": 10.0}])
def test_wrong_settings_are_no_frames_failure(one_pair, spec):
    with pytest.raises(SettingsError):
        evaluate(one_pair, spec)

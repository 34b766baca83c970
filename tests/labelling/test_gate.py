"""The gate: every fault it exists for, and none where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilforge.labelling.gate import judge, tally
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.study.settings import GateSettings
from support.labels import random_label

GATE = GateSettings()


@pytest.fixture(scope="module")
def good(request):
    """A real label: CL&P on two ion pairs."""
    from ilforge import frames

    frame = frames.read(request.config.rootpath / "tests" / "data" / "two_pairs.xyz")[0]
    return evaluate(frame, {"kind": "clp", "cutoff_A": 4.0})


def test_a_good_label_passes(good, topology_of):
    assert judge(good, topology_of(good.frame), GATE) is None
    assert judge(good, None, GATE) is None


def test_failed(good):
    failed = Label(good.frame, good.method, error="GFN1-xTB: SCF not converged")
    assert judge(failed, None, GATE) == "failed: GFN1-xTB: SCF not converged"


def test_not_converged(good):
    assert judge(replace(good, converged=False), None, GATE).startswith("not converged:")


def test_not_finite(good):
    forces = good.forces.copy()
    forces[3, 1] = np.nan
    assert judge(replace(good, forces=forces), None, GATE).startswith("not finite:")
    assert judge(replace(good, energy=np.inf), None, GATE).startswith("not finite:")


def test_net_force(good):
    """CP2K's egg-box effect looks like this: every force off by a little, the sum by much."""
    drifting = replace(good, forces=good.forces + [0.001, 0.0, 0.0])
    reason = judge(drifting, None, GATE)
    assert reason.startswith("net force: 0.070 eV/Å")
    assert judge(drifting, None, GateSettings(max_net_force_eV_A=0.1)) is None


def test_large_force(good):
    forces = good.forces.copy()
    forces[4, 2] += 40.0
    forces[5, 2] -= 40.0
    reason = judge(replace(good, forces=forces), None, GATE)
    assert reason.startswith("large force:")
    assert judge(replace(good, forces=forces), None, GateSettings(max_force_eV_A=200.0)) is None


def test_fragmented(good, topology_of):
    frame = good.frame.copy()
    hydrogen = frame.get_chemical_symbols().index("H")
    frame.positions[hydrogen] += [0.0, 0.0, 1.5]
    reason = judge(replace(good, frame=frame), topology_of(frame), GATE)
    assert reason.startswith("fragmented:")


def test_tally():
    gate = GateSettings(max_net_force_eV_A=1e-3)
    labels = [random_label(seed) for seed in range(3)]
    pushed = replace(random_label(4), forces=np.ones((20, 3)))
    failed = replace(random_label(5), error="no")
    assert tally(judge(label, None, gate) for label in [*labels, pushed, failed]) == {
        "accepted": 3, "failed": 1, "net force": 1
    }  # fmt: skip

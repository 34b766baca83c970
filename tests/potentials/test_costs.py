"""What labels cost: one source of numbers, followed by the potentials that they were measured with."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.potentials import create
from ilforge.potentials.quantum import costs

SPECS = {
    costs.GFN1: {"kind": "xtb", "method": "GFN1-xTB"},
    costs.GFN2: {"kind": "xtb", "method": "GFN2-xTB"},
    costs.GPAW: {"kind": "gpaw"},
    costs.CP2K: {"kind": "cp2k"},
}


@pytest.mark.parametrize("method", list(costs.MEASURED))
def test_costs_follow_their_measurements_and_grow(method):
    potential = create(SPECS[method])
    for n_atoms, seconds in costs.MEASURED[method].items():
        assert costs.core_seconds(method, n_atoms) == pytest.approx(seconds)
        assert potential.seconds_per_frame(n_atoms) == pytest.approx(seconds)
    assert np.all(np.diff([costs.core_seconds(method, n) for n in (5, 20, 50, 100, 200, 400)]) > 0)


def test_memory_follows_its_measurements_and_grows():
    assert costs.memory_GB("gpaw", 350) == pytest.approx(12.5) and costs.memory_GB("cp2k", 350) == pytest.approx(3.5)
    assert costs.memory_GB("xtb", 350) == pytest.approx(0.5)
    assert 0.5 < costs.memory_GB("gpaw", 70) < costs.memory_GB("gpaw", 200)

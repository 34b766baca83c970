"""The engine of the package by compiled kernels of MACE and by mace-torch: one trajectory."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from ilforge.dynamics import MdProtocol
from ilforge.dynamics.builtin import Simulation
from ilforge.dynamics.motion import State
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.learned.mace import Mace
from support import md, models

STEPS = 100


@pytest.mark.slow
def test_npt_by_compiled_kernels_is_npt_by_mace_torch(tmp_path):
    path = models.write_mace_model(tmp_path / "some.model", scale=20.0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    box = md.warm_box()
    topology = Liquid.of_frame(box).topology
    protocol = MdProtocol("NPT", 423.0, 0.5, 0.5e-3 * STEPS, 0.5e-3 * STEPS, seed=4)
    ends = []
    for dtype in ("float32", "float64"):  # the second is mace-torch's
        potential = Mace(path, digest, dtype)
        job = Job(potential, box, topology, protocol)
        simulation = Simulation(job, "NPT")
        simulation.restore(State(box.positions, job.start_velocities, box.cell.array, 0))
        simulation.step(STEPS)
        assert ("compiled" in potential.evaluated_by) == (dtype == "float32")
        ends.append(simulation.state())
    mine, true = ends
    assert np.linalg.norm(true.positions - box.positions, axis=1).mean() > 0.1
    assert abs(np.linalg.det(true.cell) - box.get_volume()) > 0.1  # a move of the volume was accepted
    np.testing.assert_allclose(mine.positions, true.positions, atol=1e-4)
    np.testing.assert_allclose(mine.cell, true.cell, atol=1e-5)

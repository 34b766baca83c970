"""Multiple time steps of the exp-6 force field in the OpenMM engine: energy, convergence, lone pairs, checkpoints."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import potentials
from ilforge.dynamics.motion import State
from ilforge.dynamics.openmm import Simulation, details
from ilforge.dynamics.simulation import Job
from support import exp6, md


def simulation_of(protocol, spec=None):
    job = Job(potentials.create(spec or exp6.SPEC), md.warm_box(), md.liquid().topology, protocol)
    simulation = Simulation(job, protocol.ensemble)
    simulation.restore(State(job.start_positions, job.start_velocities, job.atoms.cell.array))
    return simulation


def total_energy(simulation):
    sample = simulation.sample()
    return sample.potential_energy + sample.kinetic_energy


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    path = exp6.changed(tmp_path_factory.mktemp("tight"), {"tolerance = 1e-3": "tolerance = 1e-6"})
    return {**exp6.SPEC, "parameters": str(path)}


def test_energy_is_conserved(tight):
    """0.15 ps of 207 degrees of freedom; a wrong share of any part, or a lone pair left behind, heats at once."""
    simulation = simulation_of(md.short(ensemble="NVE", timestep_fs=3.0, constrain_hydrogens=False), tight)
    energies = []
    for _ in range(25):
        simulation.step(2)
        energies.append(total_energy(simulation))
    changes = np.array(energies) - energies[0]
    assert np.abs(changes).max() < 0.05  # eV of 7.5 eV of kinetic energy
    assert simulation.sample().temperature == pytest.approx(423, rel=0.3)


def test_long_steps_go_where_short_ones_go(tight):
    """After 12 fs, with bonds at 0.5 fs in all of them: what the other two steps do to the motion."""
    ends = {}
    for step in (3.0, 1.5, 0.5):
        simulation = simulation_of(md.short(ensemble="NVE", timestep_fs=step, constrain_hydrogens=False), tight)
        simulation.step(round(12 / step))
        ends[step] = simulation.state().positions
    long, middle = (np.sqrt(np.mean((ends[step] - ends[0.5]) ** 2)) for step in (3.0, 1.5))
    moved = np.sqrt(np.mean((ends[0.5] - simulation._job.start_positions) ** 2))
    assert 3 * middle < long < 0.02 * moved, (middle, long, moved)


def test_the_barostat_runs_and_bonds_to_hydrogen_stay_free():
    protocol = md.short(ensemble="NPT", timestep_fs=3.0)
    simulation = simulation_of(protocol)
    assert len(simulation._context.getMolecules()) == 4
    assert len(simulation.extra_particles) == 0 and simulation._system.getNumConstraints() == 0
    before = simulation.sample().volume
    simulation.step(50)  # two moves of the volume
    sample = simulation.sample()
    assert np.isfinite(sample.potential_energy) and sample.volume != before
    assert sample.temperature == pytest.approx(423, rel=0.4)
    said = details(simulation._job)
    assert said["bonds_to_H"] == "free" and said["thermostat"] == "Langevin (BAOAB-RESPA), 1/ps"


def test_dipoles_without_end_end_the_run(tmp_path):
    changes = {"thole_a = 0.2": "thole_a = 1e6", "polarizability_A3 = 0.323": "polarizability_A3 = 20.0"}
    spec = {**exp6.SPEC, "parameters": str(exp6.changed(tmp_path, changes))}
    trajectory = md.run(spec, "openmm", md.warm_box(), md.short(equilibration_ps=0.0), tmp_path / "run")
    assert trajectory.info()["finished"] is False
    assert "polarization catastrophe" in trajectory.info()["fault"]["message"]

"""Drude particles in the OpenMM engine: cold, close to their atoms, and nowhere to be seen in frames."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge import frames, potentials
from ilforge.dynamics.motion import State
from ilforge.dynamics.openmm import Simulation
from ilforge.dynamics.simulation import Job, minimised
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from support import md

N_DRUDE = 2 * (10 + 5)


def simulation_of(protocol, box=None, liquid=None, cutoff_A=4.0):
    """A simulation of the warm two pairs, or of another box, after a short minimisation."""
    liquid = liquid or md.liquid()
    potential = potentials.create({"kind": "clpol", "cutoff_A": cutoff_A})
    job = Job(potential, md.warm_box() if box is None else box, liquid.topology, protocol)
    simulation = Simulation(job, protocol.ensemble)
    state = minimised(simulation, job, protocol.minimise_steps)
    simulation.restore(State(state.positions, job.start_velocities, state.cell))
    return simulation


def watched(simulation, steps, every=20):
    """Temperatures of molecules and of Drude particles, and the longest displacement, every so many steps."""
    rows = []
    for _ in range(steps // every):
        simulation.step(every)
        state, extra_particles = simulation.state(), simulation.extra_particles
        velocities = np.concatenate([state.velocities, state.rider_velocities])
        displacements = np.linalg.norm(state.rider_positions - state.positions[extra_particles.hosts], axis=1)
        rows.append([simulation.sample().temperature, extra_particles.temperature(velocities), displacements.max()])
    return np.array(rows)


@pytest.mark.parametrize("timestep_fs", [1.0, 1.5], ids=["bonds to H free", "bonds to H held"])
def test_drude_particles_stay_cold_and_close(timestep_fs):
    rows = watched(simulation_of(md.short(timestep_fs=timestep_fs)), 600)[10:]
    temperature, drude, longest = rows.T
    assert temperature.mean() == pytest.approx(423, rel=0.25)
    assert drude.mean() < 3.0
    assert longest.max() < 0.15  # Å; the wall is at 0.2


@pytest.mark.slow
def test_lithium_is_coordinated_by_four_oxygens_without_a_polarization_catastrophe_at_423_k():
    liquid = Liquid.of({"Li": 2, "PYR14": 2, "TFSI": 4})
    protocol = md.short(timestep_fs=1.0, minimise_steps=300)
    simulation = simulation_of(protocol, pack(liquid, 1.3, seed=1), liquid, cutoff_A=5.0)
    symbols, rows, distances = np.array(liquid.topology.symbols), [], []
    for _ in range(120):
        rows.append(watched(simulation, 50, every=50)[0])
        state = simulation.state()
        apart = state.positions[symbols == "O"] - state.positions[symbols == "Li"][:, None]
        apart -= np.rint(apart / np.diag(state.cell)) * np.diag(state.cell)
        distances.append(np.linalg.norm(apart, axis=2))
    temperature, drude, longest = np.array(rows[40:]).T
    assert temperature.mean() == pytest.approx(423, rel=0.1)
    assert drude.mean() < 3.0 and longest.max() < 0.19
    found = np.array(distances[40:])
    assert np.mean((found < 2.8).sum(axis=2)) == pytest.approx(4.0, abs=0.5)
    assert found.min() > 1.7 and np.median(found.min(axis=2)) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("held", "timestep_fs", "divided_fs"), [(False, 1.5, 0.75), (True, 1.5, 1.5), (True, 2.0, 1.0)]
)
def test_long_steps_are_divided_and_count_as_one(held, timestep_fs, divided_fs):
    simulation = simulation_of(md.short(timestep_fs=timestep_fs, constrain_hydrogens=held))
    simulation.step(10)
    assert simulation._context.getIntegrator().getStepSize()._value == pytest.approx(divided_fs / 1000)
    assert simulation._context.getTime()._value == pytest.approx(10 * timestep_fs / 1000)
    assert simulation.state().step == 10


def test_states_hold_them_and_frames_do_not(tmp_path):
    simulation = simulation_of(md.short())
    state = simulation.state()
    assert state.rider_positions.shape == (N_DRUDE, 3)
    again = State.from_bytes(state.to_bytes())
    np.testing.assert_array_equal(again.rider_positions, state.rider_positions)
    assert simulation.sample().positions.shape == (70, 3)
    trajectory = md.run(md.CLPOL, "openmm", md.warm_box(), md.short(length_ps=0.01), tmp_path / "run")
    assert len(frames.read(trajectory.last_file)[0]) == trajectory.universe().atoms.n_atoms == 70
    assert 0 < trajectory.thermo()["drude_temperature_K"].mean() < 10, "after 10 fs"
    assert "Drude particles at 1 K" in trajectory.info()["engine"]["thermostat"]


def test_they_begin_where_no_force_acts_on_them():
    simulation = simulation_of(md.short())
    forces = simulation._context.getState(forces=True).getForces(asNumpy=True)._value[70:]
    assert np.abs(forces).max() < 2.0  # kJ/mol/nm


def test_bonds_to_hydrogen_can_be_held():
    simulation = simulation_of(md.short(timestep_fs=1.0, constrain_hydrogens=True))
    rows = watched(simulation, 200)
    assert rows[5:, 1].mean() < 3.0
    topology, x = md.liquid().topology, simulation.sample().positions
    i, j = np.array([bond for bond in topology.bonds.tolist() if "H" in (topology.symbols[k] for k in bond)]).T
    np.testing.assert_allclose(np.linalg.norm(x[i] - x[j], axis=1), 1.09, atol=2e-4)


def test_volume_moves_keep_them_with_their_molecules():
    simulation = simulation_of(md.short(ensemble="NPT"))
    assert len(simulation._context.getMolecules()) == 4
    rows = watched(simulation, 100)
    assert rows[:, 2].max() < 0.15

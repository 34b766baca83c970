"""The engine of the package against what is known exactly, and against OpenMM.

Kinetic energies follow a Gamma distribution, harmonic springs a normal one, the volume of molecules without
interactions a Gamma distribution, and ratios of two ensembles are exponential whatever the system.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ilforge.dynamics import barostats, builtin, integrators, openmm
from ilforge.dynamics.motion import State, volume_of
from ilforge.potentials.force_evaluator import Evaluation
from ilforge.units import ASE_TIME_IN_FS, BAR, KB
from support import soft

THERMAL = KB * 423.0  # eV


class Springs:
    """Neighbours in the list of atoms joined in pairs by springs k r^2/2 of length zero: all is normal and exact."""

    kind, has_stress = "springs", True
    stiffness = 30.0  # eV/Å^2: with Li and B a period of 22 fs

    def force_evaluator(self, topology, threads=1):
        return self

    def evaluate(self, positions, cell):
        apart = positions[::2] - positions[1::2]
        forces = np.empty_like(positions)
        forces[::2], forces[1::2] = -self.stiffness * apart, self.stiffness * apart
        energy = 0.5 * self.stiffness * float((apart**2).sum())
        return Evaluation(energy, forces, self.stiffness * np.einsum("ia,ib->ab", apart, apart))


class Nothing:
    """No forces at all."""

    kind, has_stress = "nothing", True

    def force_evaluator(self, topology, threads=1):
        return self

    def evaluate(self, positions, cell):
        return Evaluation(0.0, np.zeros_like(positions), np.zeros((3, 3)))


def total_energies(timestep_fs: float, **choices) -> np.ndarray:
    """Total energies over 100 fs at constant energy, from one warm start."""
    warm = soft.simulation(soft.Soft(), timestep_fs=0.5)
    warm.step(1000)
    moving = soft.simulation(soft.Soft(), ensemble="NVE", timestep_fs=timestep_fs, **choices)
    moving.restore(State(*(getattr(warm.state(), key) for key in ("positions", "velocities", "cell"))))
    seen = []
    for _ in range(50):
        moving.step(round(2 / timestep_fs))
        sample = moving.sample()
        seen.append(sample.potential_energy + sample.kinetic_energy)
    return np.array(seen)


def test_at_constant_energy_the_error_falls_with_the_square_of_the_step():
    spread = {step: total_energies(step).std() for step in (2.0, 1.0, 0.5)}
    assert spread[0.5] < 1e-3  # eV, of a kinetic energy of 2.6
    assert 3.5 < spread[2.0] / spread[1.0] < 4.6 and 3.7 < spread[1.0] / spread[0.5] < 4.3


def test_langevin_samples_springs_exactly_however_long_the_step():
    """In the middle scheme positions and velocities of a harmonic spring have no error of the step at all."""
    moving = soft.simulation(Springs(), timestep_fs=4.0)  # 1.1 times the inverse frequency
    at_rest = moving.state().positions
    at_rest[1::2] = at_rest[::2]
    moving.restore(replace(moving.state(), positions=at_rest))
    masses = moving._job.topology.masses
    reduced = masses[::2] * masses[1::2] / (masses[::2] + masses[1::2])
    stretched, moved = [], []
    for _ in range(3000):
        moving.step(10)
        state = moving.state()
        stretched.append(((state.positions[::2] - state.positions[1::2]) ** 2).mean())
        apart = state.velocities[::2] - state.velocities[1::2]
        moved.append((reduced[:, None] * apart**2).mean() * ASE_TIME_IN_FS**2)
    # 72 springs, 120 ps at a friction of 1/ps: 1 %
    assert np.mean(stretched[100:]) == pytest.approx(THERMAL / Springs.stiffness, rel=0.04)
    assert np.mean(moved[100:]) == pytest.approx(THERMAL, rel=0.04)


@pytest.mark.parametrize("thermostat", ["langevin", "nose-hoover"])
def test_the_kinetic_energy_is_distributed_as_it_must_be(thermostat):
    """Mean f/2 kT and variance f/2 (kT)^2: a thermostat that only keeps the mean fails the second."""
    moving = soft.simulation(soft.Soft(), thermostat=thermostat, timestep_fs=1.0)
    kinetic = soft.watched(moving, 80000, 20, 2000)["kinetic"]
    half = moving.degrees_of_freedom / 2
    assert moving.degrees_of_freedom == 3 * 48 - 3
    average, error = soft.mean(kinetic)
    assert error < 0.025 * half * THERMAL  # 0.011 with Langevin's
    assert average == pytest.approx(half * THERMAL, abs=4.5 * error)
    assert kinetic.var() == pytest.approx(half * THERMAL**2, rel=0.4)  # over seeds it differs by 0.1


def test_a_chain_makes_one_oscillator_canonical_and_conserves_its_energy():
    """One thermostat alone leaves a single oscillator on a curve; a chain fills phase space (Martyna et al. 1992)."""
    mass, stiffness, step, period = 10.0, 5.0, 1.0, 30.0
    per_mass = 1 / (mass * ASE_TIME_IN_FS**2)
    x, v, chain = 0.05, 0.0, integrators.chain_at_rest()
    seen, conserved = [], []
    masses = THERMAL * period**2

    def kinetic(v):
        return 0.5 * mass * v**2 * ASE_TIME_IN_FS**2

    for n in range(150000):
        chain, scale = integrators.move_chain(chain, kinetic(v), 1, 423.0, period, step / 2)
        v = v * scale - 0.5 * step * stiffness * x * per_mass
        x += step * v
        v -= 0.5 * step * stiffness * x * per_mass
        chain, scale = integrators.move_chain(chain, kinetic(v), 1, 423.0, period, step / 2)
        v *= scale
        if n % 5 == 0:
            seen.append((x, v))
            links = 0.5 * masses * (chain[1] ** 2).sum() + THERMAL * chain[0].sum()
            conserved.append(kinetic(v) + 0.5 * stiffness * x**2 + links)
    x, v = np.array(seen).T
    assert np.ptp(conserved) < 0.05 * THERMAL
    assert (x**2).mean() == pytest.approx(THERMAL / stiffness, rel=0.06)
    assert (v**2).mean() == pytest.approx(THERMAL * per_mass, rel=0.06)
    assert (x**4).mean() / (x**2).mean() ** 2 == pytest.approx(3, rel=0.12)  # of a normal distribution
    assert (v**4).mean() / (v**2).mean() ** 2 == pytest.approx(3, rel=0.12)


def test_stretching_the_box_and_not_the_molecules_costs_what_the_virial_says():
    moving = soft.simulation(soft.Soft())
    moving.step(100)
    positions, cell, now = moving._positions, moving._cell, moving._forces.now
    there, back = (moving._evaluator.evaluate(*moving._scaled(1 + step)).energy for step in (1e-5, -1e-5))
    found = moving._molecules.stretching_energy(positions, now.forces, now.strain_derivative)
    assert found == pytest.approx((there - back) / 2e-5, rel=1e-5)
    assert abs(np.trace(now.strain_derivative) - found) > 0.1 * abs(found)  # the molecules' share is not small
    scaled, _ = moving._scaled(1.1)
    inner = positions - moving._molecules.centres(positions)[moving._molecules.molecules]
    again = scaled - moving._molecules.centres(scaled)[moving._molecules.molecules]
    np.testing.assert_allclose(again, inner, atol=1e-12)
    assert volume_of(cell) == pytest.approx(moving._cell[0, 0] ** 3)


def test_rescaling_gives_the_volume_of_an_ideal_gas():
    """V^N exp(-PV/kT): mean (N+1) kT/P, variance (N+1) (kT/P)^2, here with few molecules so that N counts."""
    rng, n_molecules, pressure = np.random.default_rng(1), 3, 2e4 * BAR
    volume, seen = 4 * THERMAL / pressure, []
    for _ in range(300000):
        excess = barostats.pressure_excess(volume, pressure, n_molecules, THERMAL, 0.0)
        volume = barostats.rescaled_volume(volume, excess, THERMAL, 0.02, rng.standard_normal())
        seen.append(volume)
    unit = THERMAL / pressure
    assert np.mean(seen) == pytest.approx(4 * unit, rel=0.04)
    assert np.var(seen) == pytest.approx(4 * unit**2, rel=0.08)


@pytest.mark.parametrize("potential", [Nothing(), soft.Soft(height_eV=0.0)], ids=["no forces", "within molecules"])
def test_monte_carlo_gives_the_volume_of_as_many_molecules(potential, monkeypatch):
    """8 Li and 8 BF4 of 48 atoms: by molecules 17 kT/P, by atoms it would be 49."""
    monkeypatch.setattr(builtin, "MONTE_CARLO_STEPS", 1)
    pressure_bar = 5000.0
    moving = soft.simulation(potential, ensemble="NPT", pressure_bar=pressure_bar)
    volumes = soft.watched(moving, 20000, 5, 1000)["volume"]
    unit = THERMAL / (pressure_bar * BAR)
    average, error = soft.mean(volumes)
    assert error < 0.02 * average
    assert average == pytest.approx(17 * unit, abs=4.5 * error)
    assert volumes.var() == pytest.approx(17 * unit**2, rel=0.2)


NPT = {"ensemble": "NPT", "pressure_bar": 3000.0}
BAROSTATS = {"monte-carlo": {}, "cell-rescaling": {"barostat": "cell-rescaling"}}


def volumes_of(engine=builtin, steps=80000, **choices):
    moving = soft.simulation(soft.Soft(), engine=engine, **{**NPT, **choices})
    return soft.watched(moving, steps, 50, 4000)["volume"]


@pytest.fixture
def quick_rescaling(monkeypatch):
    """Volumes that are independent sooner: ten times as many in a short run."""
    monkeypatch.setattr(builtin, "RESCALING_PERIOD_FS", 50.0)


@pytest.mark.slow
def test_both_barostats_give_the_volume_that_openmm_gives(quick_rescaling):
    truth, error = soft.mean(volumes_of(openmm))
    for name, choices in BAROSTATS.items():
        average, own = soft.mean(volumes_of(**choices))
        both = np.hypot(error, own)
        assert both < 0.025 * truth, name
        assert average == pytest.approx(truth, abs=4.5 * both), name


@pytest.mark.slow
@pytest.mark.parametrize("barostat", BAROSTATS)
def test_two_pressures_differ_as_they_must(barostat, quick_rescaling):
    low, high = (volumes_of(pressure_bar=bar, **BAROSTATS[barostat]) for bar in (2600.0, 3400.0))
    slope, error = soft.slope_of_log_ratio(low, high)
    expected = -800.0 * BAR / THERMAL
    assert error < 0.12 * abs(expected)
    assert slope == pytest.approx(expected, abs=4.5 * error)


def test_two_temperatures_differ_as_they_must():
    cold, hot = (
        soft.watched(soft.simulation(soft.Soft(), temperature_K=kelvin), 60000, 50, 4000)["potential"]
        for kelvin in (380.0, 470.0)
    )
    slope, error = soft.slope_of_log_ratio(cold, hot)
    expected = 1 / (KB * 380) - 1 / (KB * 470)
    assert error < 0.25 * expected  # else the runs are too short to say so
    assert slope == pytest.approx(expected, abs=4.5 * error)

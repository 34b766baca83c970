"""Velocities, temperature, and the check that motion still means something."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ilforge.dynamics.motion import (
    Exploded,
    State,
    check_motion,
    fastest_atoms,
    kinetic_energy,
    maxwell_boltzmann,
    temperature,
)
from support import md


def test_one_amu_at_one_angstrom_per_femtosecond():
    # m v^2 / 2 = 1.66053907e-27 kg (1e5 m/s)^2 / 2 over 1.602176634e-19 J/eV
    assert kinetic_energy(np.array([1.0]), np.array([[1.0, 0, 0]])) == pytest.approx(51.82134, rel=1e-5)


def test_velocities_have_the_temperature_no_drift_and_the_right_spread():
    masses = np.repeat([1.0, 16.0], 4000)
    velocities = maxwell_boltzmann(masses, 300.0, np.random.default_rng(0))
    energy = kinetic_energy(masses, velocities)
    assert temperature(energy, 3 * len(masses) - 3) == pytest.approx(300.0, rel=1e-12)
    assert np.abs(masses @ velocities).max() < 1e-9
    light, heavy = velocities[:4000].std(), velocities[4000:].std()
    assert light / heavy == pytest.approx(4.0, rel=0.03)
    # sqrt(kT/m) of hydrogen-like mass at 300 K: 1579.4 m/s
    assert light == pytest.approx(0.015794, rel=0.02)


def test_the_fastest_atoms_are_named_and_those_without_velocity_come_first():
    topology = md.liquid().topology
    velocities = np.zeros((70, 3))
    velocities[66] = 0.1
    assert fastest_atoms(velocities, topology)[0] == topology.describe(66)
    velocities[3] = np.nan
    assert fastest_atoms(velocities, topology)[:2] == (topology.describe(3), topology.describe(66))


@pytest.mark.parametrize("bad", [np.nan, 5.0])
def test_motion_that_means_nothing_is_an_explosion(bad):
    topology = md.liquid().topology
    velocities = maxwell_boltzmann(topology.masses, 423.0, np.random.default_rng(1))
    check_motion(velocities, 207, topology, 423.0, 0.0)
    velocities[2] = bad
    with pytest.raises(Exploded, match=r"At 1.5 ps: .*423 K was set\. Fastest atoms: .* of PYR14 #1") as caught:
        check_motion(velocities, 207, topology, 423.0, 1.5)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.time_ps == 1.5


def test_a_state_survives_its_bytes():
    rng = np.random.default_rng(2)
    state = State(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.eye(3) * 9.1, -7, 0.25)
    again = State.from_bytes(state.to_bytes())
    assert again.step == -7 and again.barostat_momentum == 0.25
    for name in ("positions", "velocities", "cell"):
        assert np.array_equal(getattr(again, name), getattr(state, name))

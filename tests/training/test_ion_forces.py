"""Forces taken apart, against the motion of a rigid body and against sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ilforge.training.ion_forces import arms, ion_forces

RNG = np.random.default_rng(5)
IONS = np.array([0, 0, 0, 0, 1, 2, 2, 2])
MASSES = RNG.uniform(1, 20, size=8)
POSITIONS = RNG.normal(size=(8, 3))


def test_arms_are_relative_to_the_centre_of_mass():
    found = arms(POSITIONS, MASSES, IONS)
    for ion in range(3):
        members = ion == IONS
        assert np.allclose(MASSES[members] @ found[members], 0)
        assert np.allclose(np.diff(found[members], axis=0), np.diff(POSITIONS[members], axis=0))


def test_a_rigid_motion_leaves_no_internal_force():
    """Forces that make every atom follow a translation and a turn of its ion are all net force and torque."""
    from_centre = arms(POSITIONS, MASSES, IONS)
    push, turn = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))
    forces = MASSES[:, None] * (push[IONS] + np.cross(turn[IONS], from_centre))
    found = ion_forces(forces, from_centre, MASSES, IONS)
    assert np.allclose(found.internal, 0, atol=1e-10)
    assert np.allclose(found.net, push * [[MASSES[ion == IONS].sum()] for ion in range(3)])
    assert np.allclose(found.torque[1], 0)  # of a single atom


def test_internal_forces_have_no_sum_and_no_torque():
    from_centre = arms(POSITIONS, MASSES, IONS)
    found = ion_forces(RNG.normal(size=(8, 3)), from_centre, MASSES, IONS)
    for ion in range(3):
        members = ion == IONS
        assert np.allclose(found.internal[members].sum(axis=0), 0)
        assert np.allclose(np.cross(from_centre[members], found.internal[members]).sum(axis=0), 0)


def test_an_ion_of_two_atoms_turns_about_no_axis_of_its_own():
    from_centre = arms(np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.array([1.0, 3.0]), np.zeros(2, dtype=int))
    found = ion_forces(np.array([[0, 0, -2.0], [0, 0, 2.0]]), from_centre, np.array([1.0, 3.0]), np.zeros(2, dtype=int))
    assert found.internal == pytest.approx(np.array([[0, 0, -2.0], [0, 0, 2.0]]))

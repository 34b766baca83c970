"""Pressure of rigid molecules: slopes of energies against stress and forces, and against ions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label
from ilforge.labelling.volume_scan import pressure_by_stress, pressures_by_energy, scan
from ilforge.liquid.liquid import Liquid
from support import md

RATIOS = (1.005, 1.0, 0.995)  # from small to large volume


@pytest.mark.parametrize("spec", [{"kind": "clp", "cutoff_A": 4.0}, {"kind": "xtb"}], ids=["clp", "xtb"])
def test_slope_of_energies_is_what_stress_and_forces_say(spec):
    """Two roads to one number. CL&P's and xTB's stresses are derivatives of their energies, in no basis that grows."""
    frame, topology = md.warm_box(), md.liquid().topology
    labels = [evaluate(member, spec) for member in scan(frame, topology, RATIOS)]
    (slope,), stress = pressures_by_energy(labels), pressure_by_stress(labels[1], topology)
    assert slope == pytest.approx(stress, abs=0.01), "GPa"
    whole = -np.mean(labels[1].stress[:3]) * 160.21766
    assert abs(whole - stress) > 0.05, "the strain of bonds is no small part"


def test_ions_of_one_atom_follow_coulombs_law():
    """Rock salt, neighbours at r: E = -1.747565 k e^2 / r a pair (Madelung), as V^(-1/3), so that P = E / (3 V)."""
    side, coulomb, madelung = 5.64, 14.399645, 1.747565
    topology = Liquid.of({"NA": 4, "CL": 4}).topology
    sodium = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) * side / 2
    box = Atoms("Na4Cl4", np.vstack([sodium, sodium + [side / 2, 0, 0]]), cell=[side] * 3, pbc=True)
    labels = []
    for member in scan(box, topology, (1.001, 1.0, 0.999)):
        energy = -4 * madelung * coulomb / (member.cell.lengths()[0] / 2)
        labels.append(Label(member, {"kind": "point charges"}, energy, np.zeros((8, 3)), converged=True))
    expected = labels[1].energy / (3 * side**3) * 160.21766
    assert pressures_by_energy(labels)[0] == pytest.approx(expected, rel=1e-5)


def test_wide_steps_in_volume_do_as_well():
    """E = 30000 / V + 0.01 V eV in steps of 5 %: -dE/dV = 30000 / V^2 - 0.01 eV/Å^3."""
    members = [Atoms("Ar", cell=[volume ** (1 / 3)] * 3, pbc=True) for volume in (900.0, 950.0, 1000.0, 1050.0, 1100.0)]
    volumes = np.array([member.get_volume() for member in members])
    labels = [Label(m, {}, 3e4 / v + 0.01 * v, np.zeros((1, 3))) for m, v in zip(members, volumes, strict=True)]
    expected = (3e4 / volumes**2 - 0.01)[1:-1] * 160.21766
    np.testing.assert_allclose(pressures_by_energy(labels), expected, atol=2e-3)


def test_a_scan_has_the_densities_that_are_asked_for():
    frame, topology = md.warm_box(), md.liquid().topology
    made = scan(frame, topology, (0.8, 1.0, 1.2))
    assert [frame.get_volume() / member.get_volume() for member in made] == pytest.approx([0.8, 1.0, 1.2], rel=1e-6)
    assert all(member.info["recipe"] == "scaled" and member.info["parent"] == "box-1" for member in made)
    np.testing.assert_allclose(made[1].cell.array, frame.cell.array, atol=1e-6)

"""CL&Pol: every term against a sum by hand, its response to a field, lithium, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.clpol import Clpol
from ilforge.potentials.classical.clpol.forces import add_forces, particles
from ilforge.potentials.classical.clpol.parameters import COULOMB, assign, known_ions, parameters
from ilforge.potentials.classical.force_field import bonded_system
from ilforge.units import KJ_PER_MOL
from support import clp_by_hand, clpol_by_hand

IONS = ["PYR14", "BF4", "TFSI", "Li"]


def topology_of_ions(*names):
    return Topology.of([(get_ion(name), 1) for name in names])


def shaken(names, distance=7.0):
    """Ions side by side, away from any symmetry."""
    rng, rows = np.random.default_rng(1), []
    for k, name in enumerate(names):
        x = get_ion(name).positions
        rows.append(x - x.mean(axis=0) + [0.0, 0.0, k * distance] + rng.normal(scale=0.05, size=x.shape))
    return np.concatenate(rows)


def context_of(topology, cell=None, cutoff_A=4.0):
    import openmm

    system = Clpol(cutoff_A).openmm_system(topology, cell)
    platform = openmm.Platform.getPlatformByName("Reference")
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform)


def not_bonded(terms, cell, x, d):
    """Energy in kJ/mol of all forces that are not bonded, atoms at ``x`` and Drude particles at ``d``."""
    import openmm

    system = openmm.System()
    for _ in x:
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*(cell / 10))
    add_forces(system, terms, 0.4, periodic=True)
    platform = openmm.Platform.getPlatformByName("Reference")
    return sum(energies(openmm.Context(system, openmm.VerletIntegrator(0.001), platform), x, d).values())


def energies(context, x, d):
    """Energy in kJ/mol of each kind of force, atoms at ``x`` and Drude particles at ``d`` from theirs."""
    from openmm import unit

    forces = context.getSystem().getForces()
    context.setPositions(np.concatenate([x, d]) / 10)
    found = {}
    for group, force in enumerate(forces):
        force.setForceGroup(group)
    context.reinitialize(preserveState=True)
    for group, force in enumerate(forces):
        state = context.getState(energy=True, groups={group})
        found[f"{group} {force.getName()}"] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return found


def moved(s, x, seed=3):
    """Random displacements of about 0.05 Å, and where the Drude particles then are."""
    d = np.zeros_like(x)
    d[s.polar] = np.random.default_rng(seed).normal(scale=0.05, size=(len(s.polar), 3))
    return d, (x + d)[s.polar]


def test_polarizabilities_and_charges_add_up_and_blocks_name_their_papers():
    data = parameters()
    blocks = [data["drude"], data["polarizability_A3"], data["damping"], *data["scale"]]
    assert all(block["paper"] in data["papers"] for block in blocks)
    # sums of the database's fragments: c1c1pyrr + C4H10 without the H of one bond each; bf4, ntf2, li
    expected = {"PYR14": 1.208 + 9 * 1.016 + 20 * 0.323, "BF4": 3.078, "TFSI": 15.162, "Li": 0.032}
    for name in IONS:
        terms = assign(topology_of_ions(name))
        assert terms.alphas.sum() == pytest.approx(expected[name])
        assert particles(terms)[0].sum() == pytest.approx(get_ion(name).charge)
        assert terms.alphas == pytest.approx(COULOMB * terms.drude_charges**2 / 4184.0)


def test_fragments_by_atom():
    terms = assign(topology_of_ions("PYR14", "TFSI"))
    assert len(set(terms.fragments[:20])) == len(set(terms.fragments[20:30])) == len(set(terms.fragments[30:])) == 1
    head, tail, anion = terms.fragments[[0, 29, 30]]
    assert terms.scale[head, anion] == terms.scale[anion, head] == 0.54
    assert [terms.scale[head, tail], terms.scale[tail, tail], terms.scale[head, head]] == [0.67, 0.94, 1.0]


@pytest.mark.parametrize("names", [("PYR14", "BF4"), ("PYR14", "TFSI"), ("Li", "TFSI")])
def test_every_force_in_a_vacuum_is_the_sum_by_hand(names):
    distance = 3.0 if "Li" in names else 7.0
    s, x = clpol_by_hand.sites(names), shaken(names, distance)
    pairs, (d, at) = clpol_by_hand.pair_table(s), moved(s, x)
    found = energies(context_of(topology_of_ions(*names)), x, at)
    start = np.cumsum([0, *(get_ion(name).n_atoms for name in names)])
    bonded = sum(clp_by_hand.bonded_energy(name, x[a:b]) for name, a, b in zip(names, start, start[1:], strict=False))
    bonded_forces = {"HarmonicBondForce", "HarmonicAngleForce", "RBTorsionForce"}
    got = sum(value for key, value in found.items() if key[2:] in bonded_forces)
    assert got == pytest.approx(bonded, rel=1e-7)
    rest = clpol_by_hand.induction(s, pairs, x, d) + clpol_by_hand.lennard_jones(s, pairs, x)
    assert sum(found.values()) - got == pytest.approx(rest, rel=1e-7)


def test_periodic_box_is_the_sum_by_hand(two_pairs, topology_of):
    topology, side = topology_of(two_pairs), two_pairs.cell.array[0, 0]
    s, x = clpol_by_hand.sites(topology.species), two_pairs.positions
    pairs, (d, at) = clpol_by_hand.pair_table(s), moved(s, x)
    terms = assign(topology)
    without = replace(terms, clp=replace(terms.clp, epsilons=0 * terms.clp.epsilons))
    every, charges = (not_bonded(part, two_pairs.cell.array, x, at) for part in (terms, without))
    lennard_jones = clpol_by_hand.lennard_jones_in_box(s, x, side, 4.0, 3.6)
    assert every - charges == pytest.approx(lennard_jones, abs=2e-4)  # -48 between ions and +49 within them
    assert charges == pytest.approx(clpol_by_hand.coulomb_in_box(s, pairs, x, d, side, 4.0, 3.6), rel=1e-5)


def test_dipoles_relax_to_the_minimum_found_by_hand():
    names = ("Li", "TFSI")
    s, x = clpol_by_hand.sites(names), shaken(names, 3.0)
    pairs = clpol_by_hand.pair_table(s)
    lowest, _ = clpol_by_hand.relaxed(s, pairs, x)
    topology = topology_of_ions(*names)
    energy = Clpol().calculator(topology).get_potential_energy(Atoms(list(topology.symbols), x)) / KJ_PER_MOL
    rest = clp_by_hand.bonded_energy("TFSI", x[1:]) + clpol_by_hand.lennard_jones(s, pairs, x)
    assert energy - rest == pytest.approx(lowest, abs=2e-4)


def dipole_in_field(topology, x, field):
    """Dipole in e Å that a uniform field along x, kJ/mol/Å/e, induces between atoms stripped of their charges."""
    import openmm

    terms = assign(topology)
    terms = replace(terms, clp=replace(terms.clp, charges=np.zeros(topology.n_atoms)))
    system = bonded_system(topology, terms.clp, None, constrain_hydrogens=False)
    add_forces(system, terms, 1.0, periodic=False)
    force = openmm.CustomExternalForce(f"-q*{10 * field}*x")
    force.addPerParticleParameter("q")
    charges, _ = particles(terms)
    for index, charge in enumerate(charges):
        force.addParticle(index, [charge])
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(np.concatenate([x, x[terms.hosts]]) / 10)
    Clpol().openmm_settle(context, terms.hosts)
    return charges @ np.array(context.getState(positions=True).getPositions(asNumpy=True)._value) * 10


@pytest.mark.parametrize("name", IONS)
def test_polarizability_of_an_ion_is_that_of_its_interacting_dipoles(name):
    field, x = 2.0, get_ion(name).positions
    found = dipole_in_field(topology_of_ions(name), x, field) / field * COULOMB
    expected = _polarizability(clpol_by_hand.sites([name]), x)[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected[0])


@pytest.mark.parametrize("r", [0.4, 0.6, 1.0])
def test_two_dipoles_in_line_with_the_field_are_the_closed_form(r):
    """mu = 2 alpha E / (1 - alpha T), T = 2/r^3 (1 - (1 + u + u^2/2 + u^3/4) exp(-u))."""
    alpha, field, x = 0.032, 2.0, np.array([[0.0, 0.0, 0.0], [r, 0.0, 0.0]])
    u = 2.6 * r / alpha ** (1 / 3)
    tensor = 2 / r**3 * (1 - (1 + u + u**2 / 2 + u**3 / 4) * np.exp(-u))
    found = dipole_in_field(topology_of_ions("Li", "Li"), x, field) / field * COULOMB
    assert found[0] == pytest.approx(2 * alpha / (1 - alpha * tensor), rel=1e-4)


def _polarizability(s, x):
    """Tensor of the ion, Å^3, with point dipoles; every pair interacts by the second derivatives of T(r)/r."""
    x, alpha = x[s.polar], s.alpha[s.polar]
    n = len(x)
    matrix = np.zeros((3 * n, 3 * n))
    for i in range(n):
        matrix[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = np.eye(3) / alpha[i]
        for j in range(n):
            if i != j:
                matrix[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] = -_second_derivatives(x[i] - x[j], alpha[i] * alpha[j])
    solved = np.linalg.inv(matrix).reshape(n, 3, n, 3)
    return solved.sum(axis=(0, 2))


def _second_derivatives(vector, product):
    """Of phi(r) = (1 - (1 + u/2) exp(-u))/r, u = a r: the field of a unit dipole, Å^-3."""
    r, a = np.linalg.norm(vector), 2.6 / product ** (1 / 6)

    def phi(r):
        return (1 - (1 + a * r / 2) * np.exp(-a * r)) / r

    h = 1e-3
    first = (phi(r + h) - phi(r - h)) / (2 * h)
    second = (phi(r + h) - 2 * phi(r) + phi(r - h)) / h**2
    unit = vector / r
    return second * np.outer(unit, unit) + first / r * (np.eye(3) - np.outer(unit, unit))


def test_system_for_dynamics_knows_molecules_and_masses(two_pairs, topology_of):
    topology = topology_of(two_pairs)
    context = context_of(topology, two_pairs.cell.array)
    terms, n = assign(topology), topology.n_atoms
    masses = np.array([context.getSystem().getParticleMass(i)._value for i in range(n + len(terms.hosts))])
    assert masses.sum() == pytest.approx(topology.masses.sum())
    assert set(masses[n:]) == {0.4}
    whose = np.concatenate([topology.molecules, topology.molecules[terms.hosts]])
    found = [sorted(atoms) for atoms in context.getMolecules()]
    assert sorted(found) == sorted(np.flatnonzero(whose == m).tolist() for m in range(4))


def test_lithium_stays_at_oxygen_distance_from_an_anion():
    """With the regression's k of 0.015 the N comes to 1.3 Å; undamped, dipoles grow without bound."""
    from ase.optimize import LBFGS

    ion, topology = get_ion("TFSI"), topology_of_ions("Li", "TFSI")
    oxygens, nitrogen = np.flatnonzero(np.array(ion.symbols) == "O"), ion.symbols.index("N")
    first, second = ion.positions[oxygens[:2]], ion.positions[oxygens[2:]]  # of one S, and of the other
    i, j = np.unravel_index(np.linalg.norm(first[:, None] - second[None], axis=2).argmin(), (2, 2))
    middle = (first[i] + second[j]) / 2
    outward = (middle - ion.positions[nitrogen]) / np.linalg.norm(middle - ion.positions[nitrogen])
    atoms = Atoms(list(topology.symbols), np.concatenate([[middle + 1.2 * outward], ion.positions]))
    atoms.calc = Clpol().calculator(topology)
    LBFGS(atoms, logfile=None, maxstep=0.05).run(fmax=0.05, steps=150)
    r = np.linalg.norm(atoms.positions[1:] - atoms.positions[0], axis=1)
    assert 1.75 < np.sort(r[oxygens])[0] < 2.2, (np.sort(r[oxygens]), r[nitrogen])
    assert r.min() > 1.75


def test_ion_without_parameters_is_refused_with_those_that_have_some():
    topology = replace(Liquid.of({"PYR14": 1, "BF4": 1}).topology, species=("EMIM", "BF4"))
    with pytest.raises(SettingsError, match="CL&Pol has no parameters for the ion EMIM here: it has PYR14, BF4"):
        Clpol().calculator(topology)
    assert known_ions() == IONS


def test_box_smaller_than_twice_the_cutoff_is_refused(two_pairs, topology_of):
    with pytest.raises(SettingsError, match=r"CL&Pol's cutoff of 10 Å.*cutoff of 4.5 Å"):
        Clpol().calculator(topology_of(two_pairs)).get_potential_energy(two_pairs)

"""CL&P: every term against a sum by hand, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.liquid.ions import CATALOGUE, get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.classical.clp_parameters import assign, known_ions, parameters
from ilforge.units import KJ_PER_MOL
from support import clp_by_hand

WITHOUT = {"NO3", "Choline", "EtNH3", "K", "OAc", "I", "H2O", "Urea", "MeCN"}  # no parameters here


def shaken(positions, seed, width=0.1):
    """Positions away from any symmetry, so that no term is zero."""
    return positions + np.random.default_rng(seed).normal(scale=width, size=positions.shape)


def energy_of(frame, topology, cutoff_A=4.0):
    return Clp(cutoff_A).calculator(topology).get_potential_energy(frame)


def test_charges_of_an_ion_add_up_and_every_block_names_its_paper():
    data = parameters()
    for ion in data["ions"].values():
        assert sum(data["types"][key]["charge_e"] for key in ion["atoms"]) == pytest.approx(ion["charge"])
    blocks = [*data["ions"].values(), *data["types"].values(), *data["bonded"]]
    assert all(block["paper"] in data["papers"] for block in blocks)


@pytest.mark.parametrize(
    "cation,anion",
    [
        ("PYR14", "BF4"),
        ("PYR14", "TFSI"),
        ("Li", "TFSI"),
        ("PYR13", "FSI"),
        ("EMIM", "PF6"),
        ("BMIM", "DCA"),
        ("Na", "OTf"),
    ],
)
def test_ion_pair_in_a_vacuum_is_the_sum_by_hand(cation, anion):
    names = (cation, anion)
    x = [shaken(get_ion(name).positions, seed) for seed, name in enumerate(names)]
    x[1] += [0.0, 0.0, 9.0]
    together = np.concatenate(x)
    by_hand = sum(clp_by_hand.bonded_energy(name, part) for name, part in zip(names, x, strict=True))
    by_hand += clp_by_hand.pairs_in_vacuum(names, together)
    topology = Liquid.of({cation: 1, anion: 1}).topology
    energy = energy_of(Atoms(list(topology.symbols), together), topology)
    assert energy == pytest.approx(by_hand * KJ_PER_MOL, rel=1e-7)


def test_periodic_box_is_the_sum_by_hand(two_pairs, topology_of):
    topology, side = topology_of(two_pairs), two_pairs.cell.array[0, 0]
    x, names = two_pairs.positions, topology.species
    by_hand = sum(
        clp_by_hand.bonded_energy(name, x[topology.atoms_of(molecule)]) for molecule, name in enumerate(names)
    )
    by_hand += clp_by_hand.lennard_jones_in_box(names, x, side, cutoff=4.0, switch=3.6)
    by_hand += clp_by_hand.coulomb_in_box(names, x, side)
    assert energy_of(two_pairs, topology) == pytest.approx(by_hand * KJ_PER_MOL, rel=1e-5, abs=1e-5)


def test_rotated_and_sheared_lattices_are_the_same_crystal(one_pair, topology_of):
    topology = topology_of(one_pair)
    calculator = Clp(3.9).calculator(topology)
    energy, forces = calculator.get_potential_energy(one_pair), calculator.get_forces(one_pair)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    other = one_pair.copy()
    other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ one_pair.cell.array @ turn, scale_atoms=False)
    other.positions = one_pair.positions @ turn
    assert calculator.get_potential_energy(other) == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(calculator.get_forces(other), forces @ turn, atol=2e-4)


def test_system_for_dynamics_has_the_same_energy_and_knows_the_molecules(two_pairs, topology_of):
    import openmm
    from openmm import unit

    topology = topology_of(two_pairs)
    system = Clp(4.0).openmm_system(topology, two_pairs.cell.array)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, {"Threads": "1"})
    context.setPositions(two_pairs.positions / 10)
    energy = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert energy * KJ_PER_MOL == pytest.approx(energy_of(two_pairs, topology), abs=2e-4)
    assert [list(atoms) for atoms in context.getMolecules()] == [topology.atoms_of(m).tolist() for m in range(4)]


def test_bonds_to_hydrogen_can_be_held(two_pairs, topology_of):
    from openmm import unit

    topology = topology_of(two_pairs)
    free = Clp(4.0).openmm_system(topology, two_pairs.cell.array)
    held = Clp(4.0).openmm_system(topology, two_pairs.cell.array, constrain_hydrogens=True)
    assert free.getNumConstraints() == 0
    assert held.getNumConstraints() == topology.symbols.count("H") == 40
    assert held.getConstraintParameters(0)[2].value_in_unit(unit.angstrom) == pytest.approx(1.09)
    bonds = [system.getForce(0).getNumBonds() for system in (free, held)]
    assert bonds[0] - bonds[1] == 40


def test_box_smaller_than_twice_the_cutoff_is_refused_with_a_cutoff_that_fits(two_pairs, topology_of):
    with pytest.raises(SettingsError, match=r"smallest side is 9.50 Å.*cutoff of 4.5 Å") as refusal:
        energy_of(two_pairs, topology_of(two_pairs), cutoff_A=10.0)
    assert "[potentials.NAME]" in str(refusal.value)
    energy_of(two_pairs, topology_of(two_pairs), cutoff_A=4.5)


def test_ion_without_parameters_is_refused_with_those_that_have_some():
    with pytest.raises(SettingsError, match=r"ion NO3 here: it has PYR14, BF4, TFSI, Li, .*define the ion by a zmat"):
        Clp().calculator(Liquid.of({"Li": 1, "NO3": 1}).topology)
    assert set(known_ions()) == set(CATALOGUE) - WITHOUT


def test_ion_of_that_name_with_other_atoms_is_refused():
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    symbols = ("N", "C", "C", "C", "C", "H", "C", *["H"] * 13, *topology.symbols[20:])
    with pytest.raises(SettingsError, match="Atom 5 of the ion PYR14 is H, but CL&P expects C"):
        assign(replace(topology, symbols=symbols))


def test_ion_of_that_name_with_other_bonds_is_refused():
    topology = Liquid.of({"PYR14": 1, "BF4": 1}).topology
    keep = ~(topology.bonds == [3, 4]).all(axis=1)
    with pytest.raises(SettingsError, match=r"PYR14 has no bond between its atoms 3 \(C\) and 4 \(C\)"):
        assign(replace(topology, bonds=topology.bonds[keep]))
    with pytest.raises(SettingsError, match=r"has a bond between its atoms 0 \(N\) and 30 \(outside it\)"):
        assign(replace(topology, bonds=np.concatenate([topology.bonds, [[0, 30]]])))


def test_frame_of_another_composition_is_refused(one_pair, two_pairs, topology_of):
    calculator = Clp(4.0).calculator(topology_of(one_pair))
    with pytest.raises(SettingsError, match="topology"):
        calculator.get_potential_energy(two_pairs)


def test_half_periodic_frame_is_refused(one_pair, topology_of):
    one_pair.pbc = [True, True, False]
    with pytest.raises(SettingsError, match="all three directions"):
        energy_of(one_pair, topology_of(one_pair))


@pytest.mark.parametrize(
    ("name", "n_carbons"), [("EMIM", 2), ("PMIM", 3), ("BMIM", 4), ("C5MIM", 5), ("HMIM", 6), ("C7MIM", 7), ("OMIM", 8)]
)
def test_chains_of_imidazolium_differ_by_ch2_and_nothing_else(name, n_carbons):
    """From propyl on: each CH2 brings nine torsions and no charge, and the ring is the same."""
    terms, butyl = (assign(Liquid.of({ion: 1, "Cl": 1}).topology) for ion in (name, "BMIM"))
    assert terms.charges[:-1].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(terms.charges[:8], butyl.charges[:8])
    if n_carbons > 2:
        assert len(terms.torsions) == len(butyl.torsions) + 9 * (n_carbons - 4)

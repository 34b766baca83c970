"""Which ions a topology of somebody else's holds: names, charges, and the order of their atoms."""

import json

import MDAnalysis
import numpy as np
import pytest

from ilforge.errors import SettingsError
from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.liquid.topology import Topology
from ilforge.properties import measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.reading.reader import source_of

OWN = {
    "PYR23": IonSettings(smiles="CC[N+]1(CCC)CCCC1"),
    "PIP13": IonSettings(smiles="C[N+]1(CCC)CCCCC1"),  # both have the atoms of PYR14
    "FOR": IonSettings(smiles="[O-]C=O"),
    "ACN": IonSettings(smiles="CC#N"),
    "TEA": IonSettings(smiles="CC[N+](CC)(CC)CC"),
}


def universe_of(counts, names=None, atom_charges=None, order=None):
    """Ions on a lattice, as MDAnalysis has them of a file with bonds and elements, and names and charges if given.

    ``names`` are those of residues, one for each ion; ``order`` lists the atoms in another order.
    """
    liquid = Liquid.of(counts, OWN)
    topology = liquid.topology
    order = np.arange(topology.n_atoms) if order is None else order
    place = np.argsort(order)
    made = MDAnalysis.Universe.empty(
        topology.n_atoms, n_residues=topology.n_molecules, atom_resindex=topology.molecules[order], trajectory=True
    )
    made.add_TopologyAttr("elements", np.array(topology.symbols)[order])
    made.add_TopologyAttr("bonds", [tuple(bond) for bond in place[topology.bonds].tolist()])
    if names is not None:
        made.add_TopologyAttr("resnames", names.split())
    if atom_charges is not None:
        made.add_TopologyAttr("charges", np.asarray(atom_charges, dtype=float)[order])
    sites = 12.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)
    shapes = [ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)]
    made.atoms.positions = (np.concatenate(shapes) + sites[topology.molecules])[order]
    made.dimensions = [36.0, 36.0, 36.0, 90, 90, 90]
    return made


def spread(topology, charges):
    """The charge of each molecule, spread over its atoms."""
    return (np.asarray(charges) / topology.atom_counts)[topology.molecules]


def test_ions_without_names_are_those_of_the_catalogue():
    assert source_of(universe_of({"Li": 2, "PYR14": 1, "TFSI": 3})).liquid == "2 Li, 1 PYR14, 3 TFSI"


def test_ions_of_other_names_are_those_of_the_catalogue():
    source = source_of(universe_of({"Li": 1, "PYR23": 1, "TFSI": 2}, "LI C23 NTF2 NTF2"))
    assert source.liquid == "1 Li, 1 C23, 2 TFSI"
    measured = measure(source, ["clusters"], AnalysisSettings(clusters={"cutoff_A": 4.0}))["clusters"]
    assert "populations Li" in measured.tables


def test_a_name_of_the_catalogue_on_another_molecule_is_not_believed():
    assert source_of(universe_of({"PYR14": 1, "PYR23": 1, "BF4": 2}, "CAT PYR14 AN AN")).liquid == (
        "1 PYR14, 1 C9H20N, 2 BF4"
    )


def test_isomers_are_two_species():
    source = source_of(universe_of({"PYR14": 2, "PYR23": 1, "TFSI": 3}))
    assert source.liquid == "2 PYR14, 1 C9H20N, 3 TFSI"
    both = {"PYR23": 1, "PIP13": 2, "BF4": 3}
    assert source_of(universe_of(both)).liquid == "1 C9H20N_1, 2 C9H20N_2, 3 BF4"
    assert source_of(universe_of(both, "X X X A A A")).liquid == "1 C9H20N_1, 2 C9H20N_2, 3 BF4"
    assert source_of(universe_of(both, "X Y Y A A A")).liquid == "1 X, 2 Y, 3 BF4"


def fractions(universe):
    settings = AnalysisSettings(clusters={"cutoff_A": 4.0})
    table = measure(universe, ["clusters"], settings)["clusters"].tables["populations Li"]
    return set(table.column("x_LiTFSI"))


def test_charges_that_are_all_zero_are_those_of_the_catalogue():
    """As in LAMMPS data for a potential without charges."""
    counts = {"Li": 1, "PYR14": 9, "TFSI": 10}
    universe = universe_of(counts, atom_charges=np.zeros(Liquid.of(counts).topology.n_atoms))
    topology = source_of(universe).system.topology
    assert topology.charges == (1,) * 10 + (-1,) * 10
    assert fractions(universe) == {0.1}


def test_a_mole_fraction_is_left_out_where_a_charge_is_unknown():
    universe = universe_of({"Li": 1, "TEA": 8, "PYR23": 1, "TFSI": 10})
    assert source_of(universe).system.unknown_charges == ("C8H20N", "C9H20N")
    assert fractions(universe) == {None}
    topology = Liquid.of({"Li": 1, "TEA": 9, "TFSI": 10}, OWN).topology
    known = universe_of({"Li": 1, "TEA": 9, "TFSI": 10}, atom_charges=spread(topology, topology.charges))
    assert fractions(known) == {0.1}
    wrong = universe_of({"Li": 1, "TEA": 9, "TFSI": 10}, atom_charges=spread(topology, (1,) + (0,) * 9 + (-1,) * 10))
    assert fractions(wrong) == {None}


def test_one_unknown_charge_is_what_makes_the_liquid_neutral():
    universe = universe_of({"Li": 1, "TEA": 9, "TFSI": 10})
    assert source_of(universe).system.topology.charges == (1,) * 10 + (-1,) * 10
    assert source_of(universe).system.unknown_charges == () and fractions(universe) == {0.1}
    solvent = source_of(universe_of({"Li": 2, "ACN": 3, "TFSI": 2})).system
    assert solvent.topology.charges == (1, 1, 0, 0, 0, -1, -1) and solvent.unknown_charges == ()


def test_conductivity_names_the_ions_whose_charge_is_unknown():
    """Even where the others add up to zero."""
    universe = universe_of({"Li": 1, "TFSI": 1, "TEA": 1, "FOR": 1})
    found = measure(universe, ["conductivity"], temperature_K=400.0)
    assert "the charge of C8H20N, CHO2 is unknown:" in found["conductivity"].estimates[0][2].note


def test_scaled_charges_and_neutral_atoms_beside_ions():
    """Lithium metal is not lithium ions; charges scaled by 0.7 are those of whole ions."""
    counts = {"Li": 4, "TFSI": 4}
    topology = Liquid.of(counts).topology
    charges = spread(topology, (0.7, 0.7, 0, 0, -0.7, -0.7, -0.7, -0.7))
    source = source_of(universe_of(counts, atom_charges=charges))
    assert source.liquid == "2 Li, 2 Li_1, 4 TFSI"
    assert source.system.topology.charges == (1, 1, 0, 0, -1, -1, -1, -1)


@pytest.mark.parametrize("named", [False, True], ids=["by bonds", "by names"])
def test_copies_that_list_their_atoms_in_other_orders(named):
    """Two TFSI of one shape, the second permuted: both have that shape."""
    counts = {"PYR14": 3, "TFSI": 3}
    topology, rng = Liquid.of(counts).topology, np.random.default_rng(3)
    first = topology.first_atoms
    order = np.arange(topology.n_atoms)
    for molecule, size in ((1, 30), (4, 15), (5, 15)):
        order[first[molecule] : first[molecule] + size] = first[molecule] + rng.permutation(size)
    universe = universe_of(counts, order=order)
    if named:
        universe.add_TopologyAttr("names", np.array(topology.names)[order])
    expected = measure(universe_of(counts), ["shapes"])["shapes"].tables["populations TFSI"].rows
    assert measure(universe, ["shapes"])["shapes"].tables["populations TFSI"].rows == expected
    assert sum(row[2] == 100.0 for row in expected) == 1
    found = source_of(universe)
    snapshot = found.frame(0)
    lengths = np.linalg.norm(np.diff(snapshot.positions[found.system.topology.bonds], axis=1), axis=-1)
    assert lengths.max() < 2.0
    if named:
        assert found.system.topology.names == topology.names


def test_a_topology_whose_copies_differ_is_refused():
    tfsi = get_ion("TFSI")
    order = np.r_[1, 0, 2:15]
    good = Topology.of([(tfsi, 2)])
    symbols = good.symbols[:15] + tuple(good.symbols[15:][k] for k in order)
    place = np.r_[0:15, 15 + np.argsort(order)]
    mixed = Topology(symbols, good.names, place[good.bonds], good.molecules, good.species, good.charges)
    with pytest.raises(SettingsError, match="TFSI #2 .*another order than the first: its atom 1 is F, not C"):
        source_of(universe_of({"Li": 2, "TFSI": 2}), topology=mixed)


def test_a_run_says_the_charges_of_its_ions(tmp_path):
    """Ions by SMILES, which the catalogue does not know; runs of earlier versions did not say them."""
    from ase import Atoms

    from ilforge import potentials
    from ilforge.dynamics import MdProtocol, run_md

    ions = {"AMM": IonSettings(smiles="[NH4+]"), "FLU": IonSettings(smiles="[F-]")}
    liquid = Liquid.of({"AMM": 1, "FLU": 1}, ions)
    (ammonium, _), (fluoride, _) = liquid.ions
    positions = np.concatenate([ammonium.positions + 2.0, fluoride.positions + 6.0])
    box = Atoms(liquid.topology.symbols, positions, cell=[9.0] * 3, pbc=True)
    protocol = MdProtocol("NVT", 300.0, timestep_fs=0.5, length_ps=0.002, interval_ps=0.001, seed=1)
    potential = potentials.create({"kind": "xtb", "method": "GFN1-xTB"})
    run = run_md(potential, box, liquid, protocol, tmp_path / "run")
    assert run.info()["charges"] == {"AMM": 1, "FLU": -1}
    system = source_of(run).system
    assert system.topology.charges == (1, -1) and system.unknown_charges == ()
    assert source_of(run).frame(0).velocities is None  # a DCD file has none
    info = run.info()
    del info["charges"]
    run.run_file.write_text(json.dumps(info))
    assert source_of(run).system.unknown_charges == ("AMM", "FLU")

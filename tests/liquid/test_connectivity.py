"""Bonds by distance, fragmentation in words, whole molecules."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from ilforge.liquid.connectivity import (
    bond_graph,
    centres_of_mass,
    contacts,
    fragmentation,
    missing_bonds,
    other_unit,
    topology_mismatch,
    whole_molecules,
)
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology

TRICLINIC = np.array([[13.0, 0.0, 0.0], [4.0, 12.0, 0.0], [-3.0, 2.5, 11.0]])


def place(liquid, spacing=7.0, cell=None):
    """Whole ions on a cubic lattice; the cell large enough unless given."""
    ions = [ion for ion, count in liquid.ions for _ in range(count)]
    side = int(np.ceil(len(ions) ** (1 / 3)))
    sites = spacing * np.array(list(np.ndindex(side, side, side)))[: len(ions)]
    positions = np.concatenate([ion.positions + site for ion, site in zip(ions, sites, strict=True)])
    cell = np.eye(3) * side * spacing if cell is None else cell
    return Atoms(liquid.topology.symbols, positions, cell=cell, pbc=True)


@pytest.fixture(scope="module")
def liquid():
    return Liquid.of({"PYR14": 2, "BF4": 2})


@pytest.fixture
def box(liquid):
    return place(liquid, spacing=9.5)


def scattered(atoms, rng):
    """The same frame with every atom in an image of its own."""
    copy = atoms.copy()
    copy.positions = copy.positions + rng.integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell.array
    return copy


def brute_force_bonds(atoms, factor):
    shifts = np.array(list(np.ndindex(7, 7, 7))) - 3
    radii = covalent_radii[atoms.numbers]
    found = set()
    for shift in shifts @ atoms.cell.array:
        distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None] - shift, axis=-1)
        close = (distances < factor * (radii[:, None] + radii[None])) & (distances > 1e-9)
        found |= {(i, j) for i, j in np.argwhere(close).tolist() if i <= j}
    return sorted(found)


@pytest.mark.parametrize("cell", [np.eye(3) * 9.0, TRICLINIC * 0.7, np.eye(3) * 4.0], ids=["cube", "skew", "tiny"])
def test_bond_graph_is_that_of_all_images(cell):
    rng = np.random.default_rng(5)
    atoms = Atoms(rng.choice(["H", "C", "F", "S"], 25), rng.random((25, 3)) @ cell, cell=cell, pbc=True)
    assert [tuple(pair) for pair in bond_graph(atoms, 1.25).tolist()] == brute_force_bonds(atoms, 1.25)


def test_bond_graph_finds_the_bonds_of_every_ion_wherever_its_atoms_are(liquid, box):
    expected = liquid.topology.bonds.tolist()
    assert bond_graph(box, 1.25).tolist() == expected
    assert bond_graph(scattered(box, np.random.default_rng(1)), 1.25).tolist() == expected


def test_molecule_in_vacuum_needs_no_cell():
    assert bond_graph(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), 1.25).tolist() == [[0, 1]]
    assert len(bond_graph(Atoms("Ar"), 1.25)) == 0
    assert len(bond_graph(Atoms(), 1.25)) == 0


def test_lithium_is_never_bonded():
    close = Atoms("LiO", [[0, 0, 0], [0, 0, 1.6]])
    assert len(bond_graph(close, 1.25)) == 0
    assert bond_graph(Atoms("HO", close.positions * 0.6), 1.25).tolist() == [[0, 1]]


@pytest.mark.parametrize("factor", [1.15, 1.25, 1.4])
def test_intact_boxes_are_intact(factor):
    liquid = Liquid.of({"Li": 1, "PYR14": 1, "EMIM": 1, "TFSI": 2, "Cl": 1})
    box = place(liquid, spacing=10.0)
    assert fragmentation(box, liquid.topology, factor) is None
    assert fragmentation(scattered(box, np.random.default_rng(2)), liquid.topology, factor) is None


def test_broken_bond_is_named(liquid, box):
    box.positions[30 + 26 : 30 + 30] += [0.0, 0.0, 2.5]  # the terminal methyl of the second cation
    text = fragmentation(box, liquid.topology, 1.25)
    assert "broken bond C8-C9 of PYR14 #2" in text


def test_proton_transfer_is_named(liquid, box):
    fluorine = box.positions[60 + 1]
    boron = box.positions[60]
    box.positions[7] = fluorine + 0.95 * (fluorine - boron) / np.linalg.norm(fluorine - boron)
    text = fragmentation(box, liquid.topology, 1.25)
    assert "broken bond C1-H1 of PYR14 #1" in text
    assert "new bond H1 of PYR14 #1 to F1 of BF4 #1 (proton transfer)" in text


def test_new_bond_without_a_broken_one_is_named(liquid, box):
    boron, fluorine = box.positions[60], box.positions[61]
    middle = fluorine + 0.65 * (fluorine - boron) / np.linalg.norm(fluorine - boron)
    box.positions[65:70] = 2 * middle - box.positions[60:65]  # face to face, F to F 1.3 Å
    text = fragmentation(box, liquid.topology, 1.25)
    assert text == "new bond F1 of BF4 #1 to F1 of BF4 #2"


def test_many_faults_are_counted_not_listed(liquid, box):
    box.positions *= 1.6
    box.set_cell(box.cell * 1.6)
    text = fragmentation(box, liquid.topology, 1.25)
    assert text.count("broken bond") == 2 and "and 66 more" in text  # 68 bonds, all stretched


def test_molecule_bonded_to_its_own_image_is_found(liquid):
    pair = Liquid.of({"PYR14": 1, "BF4": 1})
    box = place(pair, spacing=12.0)
    box.positions[30:] += 20.0
    cation = box.positions[:30]
    a, b = np.unravel_index(np.linalg.norm(cation[:, None] - cation[None], axis=-1).argmax(), (30, 30))
    across = cation[b] - cation[a]
    box.set_cell(np.diag([40.0, 40.0, 40.0]))
    assert fragmentation(box, pair.topology, 1.25) is None
    cell = np.linalg.svd(across[None])[2] * 40.0
    cell[0] = across * (1 + 0.7 / np.linalg.norm(across))  # the image of a is 0.7 Å behind b: two hydrogens
    box.set_cell(cell)
    text = fragmentation(box, pair.topology, 1.25)
    low, high = sorted((int(a), int(b)))
    assert f"new bond {pair.topology.describe(low)} to {pair.topology.describe(high)}" in text


def test_closing_angle_is_no_new_bond():
    liquid = Liquid.of({"Li": 1, "TFSI": 1})
    box = place(liquid, spacing=15.0)
    sulfurs = [1 + 4, 1 + 8]
    nitrogen = box.positions[1 + 5]
    middle = box.positions[sulfurs].mean(axis=0)
    across = box.positions[sulfurs[1]] - box.positions[sulfurs[0]]
    across /= np.linalg.norm(across)
    up = middle - nitrogen
    up /= np.linalg.norm(up)
    before = box.positions.copy()
    for sign, sulfur, half in zip((-1, 1), sulfurs, (np.r_[1:6, 7, 8], np.r_[9:16]), strict=True):
        target = nitrogen + np.sqrt(1.58**2 - 1.29**2) * up + sign * 1.29 * across
        box.positions[half] += target - before[sulfur]
    assert box.get_distance(*sulfurs) == pytest.approx(2.58, abs=0.01)  # below 1.25 times 2.10 Å
    assert [5, 9] in bond_graph(box, 1.25).tolist()
    assert fragmentation(box, liquid.topology, 1.25) is None


@pytest.mark.parametrize(("factor", "unit"), [(0.1, "nm"), (1 / 0.529177, "Bohr"), (100.0, "pm"), (3.0, "")])
def test_positions_in_another_unit_are_told(liquid, box, factor, unit):
    rng = np.random.default_rng(6)
    scaled = scattered(box, rng).positions + 0.05 * rng.normal(size=box.positions.shape)
    assert other_unit(scaled, box.cell.array, liquid.topology) is None
    text = other_unit(factor * scaled, factor * box.cell.array, liquid.topology)
    assert text.startswith("positions are not in Å") and (f"in {unit}:" in text if unit else "probably" not in text)
    assert topology_mismatch(factor * scaled, factor * box.cell.array, liquid.topology) == text


def test_atoms_in_another_order_are_no_other_unit(liquid, box):
    shuffled = np.random.default_rng(7).permutation(box.positions)
    assert other_unit(shuffled, box.cell.array, liquid.topology) is None
    assert "bonds have impossible lengths" in topology_mismatch(shuffled, box.cell.array, liquid.topology)


def test_bonds_that_are_too_short_are_no_bonds(liquid, box):
    """One in seven here; two of 68 are left to the health of the run."""
    topology = liquid.topology
    to_hydrogen = topology.bonds[np.array(topology.symbols)[topology.bonds[:, 1]] == "H"]
    for n, refused in ((2, False), (10, True)):
        positions = box.positions.copy()
        for i, j in to_hydrogen[:n]:
            positions[j] = positions[i] + 0.3 * (positions[j] - positions[i])
        found = topology_mismatch(positions, box.cell.array, topology)
        assert (found is not None) == refused
    assert "10 of 68 bonds have impossible lengths" in found


def without_bonds(topology, lost):
    """The topology as it is read from a file that lacks these bonds: what nothing holds to an ion is one by itself."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    bonds = topology.bonds[~lost]
    n = topology.n_atoms
    parts = connected_components(coo_array((np.ones(len(bonds)), tuple(bonds.T)), shape=(n, n)), directed=False)[1]
    species = tuple(f"part {part}" for part in range(parts.max() + 1))
    return Topology(topology.symbols, topology.names, bonds, parts, species, (0,) * len(species))


@pytest.mark.parametrize("element", ["H", "F"])
def test_topology_that_lacks_bonds_is_told(liquid, box, element):
    """All bonds to one element."""
    topology, cell = liquid.topology, box.cell.array
    assert missing_bonds(box.positions, cell, topology) is None
    lost = np.isin(topology.bonds, np.flatnonzero(np.array(topology.symbols) == element)).any(axis=1)
    text = missing_bonds(scattered(box, np.random.default_rng(8)).positions, cell, without_bonds(topology, lost))
    assert text.startswith(f"{lost.sum()} pairs of atoms are at bonding distance but not bonded")
    assert f"{element}1 of" in text
    length = box.get_distance(*topology.bonds[lost][0], mic=True)
    assert f"({length:.2f} Å); the topology has {(~lost).sum()} bonds" in text


def test_ions_and_ligands_that_are_close_lack_no_bonds():
    """Li that touches an oxygen, four Zn between chlorides: of monatomic ions, only nonmetals could be bonded."""
    pair = Liquid.of({"Li": 1, "TFSI": 1})
    box = place(pair, spacing=12.0)
    oxygen = pair.topology.symbols.index("O")
    box.positions[0] = box.positions[oxygen] + [0.0, 0.0, 1.3]
    assert missing_bonds(box.positions, box.cell.array, pair.topology) is None
    lone = Liquid.of({"BF4": 1}, vacuum=True)
    others = ("Zn", "Cl") * 4
    symbols, molecules = (*lone.topology.symbols, *others), np.r_[[0] * 5, 1:9]
    zinc = Topology(symbols, symbols, lone.topology.bonds, molecules, ("BF4", *others), (-1, *(2, -1) * 4))
    carbon = replace(zinc, symbols=tuple("C" if symbol == "Zn" else symbol for symbol in symbols))
    chain = np.arange(8)[:, None] * [1.0, 0.0, 0.0]
    for topology, length, lacking in ((zinc, 2.25, False), (carbon, 1.77, True)):
        positions = np.concatenate([lone.ions[0][0].positions, 10.0 + length * chain])
        assert bool(missing_bonds(positions, 40.0 * np.eye(3), topology)) == lacking


def test_ions_thrown_together_lack_no_bonds():
    """Before anything was relaxed, ions overlap: some atoms are as close as bonded, and others closer."""
    liquid = Liquid.of({"PYR14": 6, "BF4": 6})
    rng = np.random.default_rng(9)
    box = place(liquid)
    topology = liquid.topology
    moved = box.positions + (14.0 * rng.random((topology.n_molecules, 3)))[topology.molecules]
    atoms = Atoms(topology.symbols, moved, cell=14.0 * np.eye(3), pbc=True)
    assert len(bond_graph(atoms, 1.2)) > 1.1 * len(topology.bonds)
    assert missing_bonds(moved, atoms.cell.array, topology) is None


def test_other_number_of_atoms_and_lost_numbers_are_said(liquid, box):
    assert "69 atoms" in fragmentation(box[:-1], liquid.topology, 1.25)
    box.positions[3] = np.nan
    assert "finite" in fragmentation(box, liquid.topology, 1.25)


def test_contacts_are_between_molecules_and_between_images():
    pair = Liquid.of({"Li": 1, "Cl": 1})
    atoms = Atoms("LiCl", [[0, 0, 0], [2.0, 0, 0]], cell=[5.0, 9.0, 2.5], pbc=True)
    _, _, distance, vector = contacts(atoms, pair.topology, 2.8)
    assert np.unique(distance.round(6)).tolist() == [2.0, 2.5]
    assert np.linalg.norm(vector, axis=1) == pytest.approx(distance)
    bf4 = Liquid.of({"PYR14": 1, "BF4": 1})
    lonely = place(bf4, spacing=20.0)
    assert len(contacts(lonely, bf4.topology, 3.0)[0]) == 0  # bonds do not count


@pytest.mark.parametrize("cell", [np.eye(3) * 14.0, TRICLINIC], ids=["cube", "skew"])
def test_whole_molecules_mends_any_scattering(liquid, cell):
    rng = np.random.default_rng(3)
    box = place(liquid, spacing=7.0, cell=cell)
    torn = scattered(box, rng)
    given = torn.positions.copy()
    whole = whole_molecules(torn.positions, cell, liquid.topology)
    assert np.array_equal(torn.positions, given)
    # each molecule is the original one, moved to where its first atom is
    first = liquid.topology.first_atoms[liquid.topology.molecules]
    assert whole - whole[first] == pytest.approx(box.positions - box.positions[first], abs=1e-9)
    assert whole[first] == pytest.approx(given[first])


def test_whole_molecules_and_centres_take_many_frames_with_their_own_cells(liquid):
    rng = np.random.default_rng(4)
    box = place(liquid, spacing=7.0)
    cells = np.stack([np.eye(3) * 14.0, TRICLINIC])
    torn = np.stack([box.positions + rng.integers(-1, 2, size=(70, 3)) @ cell for cell in cells])
    whole = whole_molecules(torn, cells, liquid.topology)
    centres = centres_of_mass(whole, liquid.topology)
    assert whole.shape == (2, 70, 3) and centres.shape == (2, 4, 3)
    for k in range(2):
        alone = whole_molecules(torn[k], cells[k], liquid.topology)
        assert np.array_equal(whole[k], alone)
        for m in range(4):
            atoms = box[liquid.topology.atoms_of(m)]
            atoms.positions = alone[liquid.topology.atoms_of(m)]
            assert centres[k, m] == pytest.approx(atoms.get_center_of_mass(), abs=1e-9)


def test_a_production_frame_takes_milliseconds():
    liquid = Liquid.of({"PYR14": 100, "BF4": 100})
    box = place(liquid, spacing=8.5)
    topology = liquid.topology
    rounds = 5

    def frame():
        centres_of_mass(whole_molecules(box.positions, box.cell.array, topology), topology)

    frame()
    start = time.process_time()
    for _ in range(rounds):
        frame()
    assert (time.process_time() - start) / rounds < 0.02, "some 0.5 ms where the machine is fast"
    start = time.process_time()
    fragmentation(box, topology, 1.4)
    assert time.process_time() - start < 2.5, "some 0.1 s where the machine is fast"

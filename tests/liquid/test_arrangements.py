"""Whole molecules as rigid bodies: shapes are kept, and densities, gaps and distances are those that were asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms

from ilforge.liquid.arrangements import (
    Arrangement,
    contact_radii,
    cut_in_two,
    parted,
    pulled_out,
    scaled,
    with_cavity,
)
from ilforge.liquid.connectivity import centres_of_mass, whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from support.distances import inner_distances

DENSITY = 1.3  # g/cm^3
LIQUIDS = {"PYR14TFSI": {"PYR14": 2, "TFSI": 2}, "LiTFSI": {"LI": 1, "PYR14": 1, "TFSI": 2}}


@pytest.fixture(scope="module", params=LIQUIDS)
def start(request):
    """A liquid, and whole molecules in its box, some of them across the boundary."""
    liquid = Liquid.of(LIQUIDS[request.param])
    box = pack(liquid, DENSITY, seed=2)
    shifted = box.positions + [0.4 * box.cell[0, 0], 0.0, 0.3 * box.cell[2, 2]]
    wrapped = shifted - np.floor(shifted / np.diag(box.cell)) * np.diag(box.cell)
    return liquid, Arrangement(whole_molecules(wrapped, box.cell.array, liquid.topology), box.cell.array)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.3])
def test_scaling_keeps_molecules_and_scales_what_is_between(start, ratio):
    liquid, before = start
    after = scaled(before, liquid.topology, before.volume / ratio)
    assert after.volume == pytest.approx(before.volume / ratio, rel=1e-12)
    kept = inner_distances(after.positions, liquid.topology) - inner_distances(before.positions, liquid.topology)
    assert np.abs(kept).max() < 1e-10
    factor = ratio ** (-1 / 3)
    centres = [centres_of_mass(a.positions, liquid.topology) for a in (before, after)]
    between = [np.linalg.norm(c[:, None] - c[None], axis=2) for c in centres]
    np.testing.assert_allclose(between[1], factor * between[0], atol=1e-10)
    np.testing.assert_allclose(after.cell, factor * before.cell, atol=1e-12)


def test_two_ions_are_parted_by_the_gap_on_both_sides():
    """Li and Cl 2.5 Å apart in a cell of 5 Å: 5.5 Å apart both ways in one of 11 Å, which is 5 Å wide as before."""
    topology = Liquid.of({"LI": 1, "CL": 1}).topology
    start = Arrangement(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 7.5]]), 5.0 * np.eye(3))
    for how in (pulled_out(start, topology, np.array([False, True])), cut_in_two(start, topology, 2, 4.0)):
        there, upper, axis = how
        found = parted(there, topology, upper, axis, 3.0)
        np.testing.assert_allclose(found.cell, np.diag([5.0, 5.0, 11.0]), atol=1e-12)
        away = abs(found.positions[1, 2] - found.positions[0, 2]) % 11.0
        assert away == pytest.approx(5.5, abs=1e-12)
        assert np.abs(found.positions[:, :2]).max() < 1e-12


def pulled(start, topology, chosen):
    return pulled_out(start, topology, np.isin(np.arange(topology.n_molecules), chosen))


WAYS = {
    "an ion": lambda start, topology: pulled(start, topology, [0]),
    "two ions": lambda start, topology: pulled(start, topology, [1, 3]),
    "layers": lambda start, topology: cut_in_two(start, topology, 1, 3.0),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_chosen_moves_by_the_gap_and_nothing_else(start, way):
    liquid, before = start
    topology, gap = liquid.topology, 2.4
    there, upper, axis = WAYS[way](before, topology)
    images = (there.positions - before.positions) / np.diag(before.cell)
    np.testing.assert_allclose(images, np.rint(images), atol=1e-9, err_msg="the same box, other images")
    after = parted(there, topology, upper, axis, gap)
    for found in (there, after):
        kept = inner_distances(found.positions, topology) - inner_distances(before.positions, topology)
        assert np.abs(kept).max() < 1e-10
    moved = after.positions - there.positions
    assert not np.any(moved[~upper[topology.molecules]]) and upper.any() and not upper.all()
    step = moved[upper[topology.molecules]]
    np.testing.assert_allclose(step[:, axis], gap, atol=1e-12)
    assert not np.any(np.delete(step, axis, axis=1))
    np.testing.assert_allclose(after.cell - before.cell, 2 * gap * np.diag(np.eye(3)[axis]), atol=1e-12)
    # what is above is further up, and further from the next image of what is below
    apart = [up_and_down(found, upper[topology.molecules], axis) for found in (there, after)]
    assert np.all(apart[0] > 0)
    np.testing.assert_allclose(apart[1] - apart[0], gap, atol=1e-10)


def up_and_down(arrangement, upper, axis):
    """Height of the centre of what is above over that of what is below, and from there to its next image, Å."""
    height = arrangement.positions[upper, axis].mean() - arrangement.positions[~upper, axis].mean()
    return np.array([height, arrangement.cell[axis, axis] - height])


def test_layers_are_halves_with_all_of_one_above_the_other(start):
    liquid, before = start
    topology = liquid.topology
    there, upper, axis = cut_in_two(before, topology, 0, 2.0)
    heights = centres_of_mass(there.positions, topology)[:, axis]
    assert upper.sum() == topology.n_molecules - topology.n_molecules // 2
    assert heights[upper].min() >= heights[~upper].max()
    assert heights.min() >= 2.0 and heights.max() < 2.0 + before.cell[axis, axis]


def test_a_large_box_is_parted_as_well_as_a_small_one():
    """Of ten pairs few ions can be pulled out between others, but two layers can be taken apart."""
    liquid = Liquid.of({"PYR14": 10, "BF4": 10})
    box = pack(liquid, 1.04, seed=1)
    start, topology = Arrangement(box.positions, box.cell.array), liquid.topology
    radii, apart = contact_radii(topology), []
    before = overlap(box, topology, radii)
    for low in range(12):
        there, upper, axis = cut_in_two(start, topology, low % 3, float(low))
        found = parted(there, topology, upper, axis, 3.0)
        apart.append(overlap(Atoms(topology.symbols, found.positions, cell=found.cell, pbc=True), topology, radii))
    assert np.mean(np.array(apart) <= before + 1e-9) > 0.5


def test_a_cavity_is_empty_and_its_walls_are_whole(start):
    liquid, before = start
    topology = liquid.topology
    radii = contact_radii(topology)
    roomy = scaled(before, topology, before.volume / 0.6)
    found, centre = with_cavity(roomy, topology, 3.5, radii, np.random.default_rng(1))
    kept = inner_distances(found.positions, topology) - inner_distances(before.positions, topology)
    assert np.abs(kept).max() < 1e-10
    shifts = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3))) @ found.cell
    away = np.linalg.norm(found.positions[:, None] + shifts[None] - centre, axis=2)
    assert away.min() >= 3.48
    np.testing.assert_array_equal(found.cell, roomy.cell)


def test_without_room_there_is_no_cavity(start):
    liquid, before = start
    radii = contact_radii(liquid.topology)
    dense = scaled(before, liquid.topology, before.volume / 1.3)
    assert with_cavity(dense, liquid.topology, 4.0, radii, np.random.default_rng(1)) is None


def _pulled_apart(start, topology):
    there, upper, axis = pulled(start, topology, [0])
    return there, topology, upper, axis


def test_attraction_weakens_with_the_gap():
    """CL&P of parted LiTFSI: the energy rises with the gap, as nothing but the distance of opposite charges changes."""
    liquid = Liquid.of({"LI": 1, "TFSI": 1})
    box = pack(liquid, 1.2, seed=1)
    start = Arrangement(box.positions, box.cell.array)
    start = scaled(start, liquid.topology, 12.0**3)  # one ion pair on its own, nearly
    calculator = Clp(5.0).calculator(liquid.topology)
    energies = []
    for gap in (0.0, 1.0, 2.0, 4.0):
        there = parted(*_pulled_apart(start, liquid.topology), gap)
        box.set_cell(there.cell, scale_atoms=False)
        box.set_positions(there.positions)
        calculator.calculate(box, ["energy"])
        energies.append(calculator.results["energy"])
    assert np.all(np.diff(energies) > 0)

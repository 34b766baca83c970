"""Rigid molecules spread, parted and around a cavity: shapes kept, densities, gaps and distances as they are said."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from ilforge import Dataset, frames
from ilforge.liquid.connectivity import centres_of_mass, fragmentation, whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.overlaps import overlap
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.intermolecular import (
    KIND,
    RECIPES,
    Arrangement,
    cut_in_two,
    parted,
    pulled_out,
    rearranged,
    sample_intermolecular,
    scaled,
    with_cavity,
)
from ilforge.sampling.intermolecular import radii as radii_of

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


@pytest.fixture(scope="module", params=LIQUIDS)
def sampled(request):
    """A liquid and the frames made of a short run of it."""
    liquid = Liquid.of(LIQUIDS[request.param])
    box = pack(liquid, DENSITY, seed=4)
    box.info["parent"] = "box-4"
    found = sample_intermolecular(
        box, liquid, Clp(4.0), temperature_K=423.0, timestep_fs=1.0, equilibration_ps=0.3, interval_ps=0.1, n_frames=6,
        density_g_cm3=DENSITY, density_ratios=(0.5, 1.3), seed=7, bond_factor=1.25,
    )  # fmt: skip
    return liquid, found


def inner_distances(positions, topology):
    """Distances of all pairs of atoms of the same molecule, Å."""
    i, j = np.triu_indices(len(positions), k=1)
    same = topology.molecules[i] == topology.molecules[j]
    return np.linalg.norm(positions[i[same]] - positions[j[same]], axis=1)


def closest_approach(frame, topology, radii):
    """Smallest distance less the sum of radii, over pairs of different molecules and 27 images each, Å: brute force."""
    least = np.inf
    for shift in itertools.product((-1, 0, 1), repeat=3):
        vectors = frame.positions[None] - frame.positions[:, None] + np.array(shift) @ frame.cell.array
        room = np.linalg.norm(vectors, axis=2) - radii[:, None] - radii[None]
        others = topology.molecules[:, None] != topology.molecules[None]
        least = min(least, room[others | (any(shift) & ~others)].min())
    return least


def density(frame):
    """From masses and volume alone, g/cm^3; 1.66053907 g/cm^3 is 1 amu/Å^3."""
    mass = sum(atomic_masses[atomic_numbers[symbol]] for symbol in frame.get_chemical_symbols())
    return 1.66053907 * mass / frame.get_volume()


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
    radii, apart = radii_of(topology), []
    before = overlap(box, topology, radii)
    for low in range(12):
        there, upper, axis = cut_in_two(start, topology, low % 3, float(low))
        found = parted(there, topology, upper, axis, 3.0)
        apart.append(overlap(Atoms(topology.symbols, found.positions, cell=found.cell, pbc=True), topology, radii))
    assert np.mean(np.array(apart) <= before + 1e-9) > 0.5


def test_a_cavity_is_empty_and_its_walls_are_whole(start):
    liquid, before = start
    topology = liquid.topology
    radii = radii_of(topology)
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
    radii = radii_of(liquid.topology)
    dense = scaled(before, liquid.topology, before.volume / 1.3)
    assert with_cavity(dense, liquid.topology, 4.0, radii, np.random.default_rng(1)) is None


def test_frames_are_of_every_recipe_and_say_what_they_are(sampled):
    liquid, found = sampled
    assert {frame.info["recipe"] for frame in found} == set(RECIPES)
    assert len(found) >= 0.6 * 18, "most variants have room"
    for frame in found:
        assert (frame.info["kind"], frame.info["parent"], frame.info["ions"]) == ("nEQ", "box-4", liquid.label)
        assert density(frame) == pytest.approx(DENSITY * frame.info["density_ratio"], rel=1e-5)
        assert ("gap_A" in frame.info) == (frame.info["recipe"] == "parted")
        assert ("cavity_A" in frame.info) == (frame.info["recipe"] == "cavity")
    ratios = [frame.info["density_ratio"] for frame in found if frame.info["recipe"] == "scaled"]
    assert min(ratios) >= 0.5 and max(ratios) <= 1.3 and max(ratios) - min(ratios) > 0.2


def test_no_two_molecules_overlap_and_all_are_whole(sampled):
    liquid, found = sampled
    radii = radii_of(liquid.topology)
    for frame in found:
        assert closest_approach(frame, liquid.topology, radii) >= -0.021, frame.info
        assert fragmentation(frame, liquid.topology, 1.25) is None


def test_variants_of_a_frame_share_the_shapes_of_its_molecules(sampled):
    """To the 1e-6 Å that frames are stored with: only what is between molecules tells them apart."""
    liquid, found = sampled
    shapes = [inner_distances(frame.positions, liquid.topology) for frame in found]
    alike = sum(np.abs(a - b).max() < 1e-5 for a, b in itertools.combinations(shapes, 2))
    assert alike >= 6, "pairs of variants of the same frame"


def test_the_same_seed_makes_the_same_frames(sampled):
    liquid, found = sampled
    box = pack(liquid, DENSITY, seed=4)
    box.info["parent"] = "box-4"
    again = sample_intermolecular(
        box, liquid, Clp(4.0), temperature_K=423.0, timestep_fs=1.0, equilibration_ps=0.3, interval_ps=0.1, n_frames=6,
        density_g_cm3=DENSITY, density_ratios=(0.5, 1.3), seed=7, bond_factor=1.25,
    )  # fmt: skip
    assert [frames.digest(frame) for frame in again] == [frames.digest(frame) for frame in found]


def test_frames_made_of_given_starts_name_the_parent_of_their_start():
    liquid, starts = Liquid.of(LIQUIDS["PYR14TFSI"]), []
    for seed in (1, 2):
        box = pack(liquid, 1.0, seed=seed)
        box.info["parent"] = f"box-{seed}"
        starts.append(box)
    made = rearranged(starts, liquid, density_g_cm3=DENSITY, density_ratios=(0.5, 1.0), seed=3, bond_factor=1.25)
    shapes = {box.info["parent"]: inner_distances(box.positions, liquid.topology) for box in starts}
    assert {frame.info["parent"] for frame in made} == set(shapes)
    for frame in made:
        shape = inner_distances(frame.positions, liquid.topology)
        np.testing.assert_allclose(shape, shapes[frame.info["parent"]], atol=1e-4)


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


def test_frames_are_no_more_crowded_than_md():
    """Their largest forces are those of equilibrated frames, which come from within molecules."""
    starts = [frame for frame in Dataset.open("pyr14bf4-pbe-d3").frames("training") if frame.info["kind"] == "EQ"][::4]
    liquid = Liquid.of_frame(starts[0])
    calculator = Clp(4.0).calculator(liquid.topology)

    def largest(found):
        return max(np.linalg.norm(calculator.get_forces(frame), axis=1).max() for frame in found)

    made = rearranged(starts, liquid, density_g_cm3=1.04, density_ratios=(0.5, 1.3), seed=1, bond_factor=1.3)
    for recipe in RECIPES:
        found = [frame for frame in made if frame.info["recipe"] == recipe]
        assert len(found) > 0.7 * len(starts) and largest(found) < 1.5 * largest(starts), recipe


def test_recipes_and_densities_have_equal_shares(sampled):
    liquid, found = sampled
    made = [frame.copy() for frame in found for _ in range(2)]
    for frame in made[::2]:
        frame.rattle(0.01, seed=1)
    taken = KIND.chosen(made, liquid, 9)
    assert len(taken) == 9 and Counter(frame.info["recipe"] for frame in taken) == dict.fromkeys(RECIPES, 3)
    for recipe in RECIPES:
        ratios = sorted(frame.info["density_ratio"] for frame in made if frame.info["recipe"] == recipe)
        lowest, highest = ratios[len(ratios) // 3], ratios[-len(ratios) // 3]
        chosen = sorted(frame.info["density_ratio"] for frame in taken if frame.info["recipe"] == recipe)
        assert chosen[0] <= lowest and chosen[-1] >= highest
    for number in (1, 4, len(made) - 1):
        assert len(KIND.chosen(made, liquid, number)) == number

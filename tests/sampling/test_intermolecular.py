"""Rigid molecules spread, parted and around a cavity: shapes kept, densities, gaps and distances as they are said."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from ase.data import atomic_masses, atomic_numbers

from ilforge import Dataset, frames
from ilforge.liquid.arrangements import contact_radii
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp
from ilforge.sampling.intermolecular import KIND, RECIPES, rearranged, sample_intermolecular
from support.distances import inner_distances

DENSITY = 1.3  # g/cm^3
LIQUIDS = {"PYR14TFSI": {"PYR14": 2, "TFSI": 2}, "LiTFSI": {"LI": 1, "PYR14": 1, "TFSI": 2}}


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
    radii = contact_radii(liquid.topology)
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

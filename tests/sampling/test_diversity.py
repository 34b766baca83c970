"""Frames that differ most: the choice against brute force, and descriptors that see structure and nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.liquid.topology import Topology
from ilforge.sampling.diversity import (
    ANGULAR_REACH_A,
    REACH_A,
    descriptors,
    furthest_points,
    most_diverse,
    normalised,
)


@pytest.fixture(scope="module")
def liquid():
    return Liquid.of({"LI": 1, "PYR14": 1, "TFSI": 2})


def atoms_apart(symbols, positions, side=30.0):
    """Ions of one atom each in a wide box, and their topology."""
    n = len(symbols)
    empty = np.empty((0, 2), dtype=np.int64)
    topology = Topology(tuple(symbols), tuple(symbols), empty, np.arange(n), tuple(symbols), (0,) * n)
    return Atoms(symbols, positions, cell=[side] * 3, pbc=True), topology


def flat(frame, topology):
    return np.concatenate(descriptors(frame, topology))


def largest_gap(points, chosen):
    """The largest distance of any point to the nearest one chosen."""
    return np.linalg.norm(points[:, None] - points[list(chosen)][None], axis=2).min(axis=1).max()


@pytest.mark.parametrize("seed", range(8))
def test_each_point_is_the_furthest_one_by_brute_force(seed):
    points = np.random.default_rng(seed).normal(size=(14, 3))
    order = furthest_points(points, 6)
    assert len(set(order)) == 6
    assert order[0] == min(range(14), key=lambda i: np.linalg.norm(points[i] - points.mean(axis=0)))
    for n in range(1, 6):
        nearest = [min(np.linalg.norm(points[i] - points[j]) for j in order[:n]) for i in range(14)]
        assert order[n] == int(np.argmax(nearest))


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_is_within_twice_of_the_best_of_all_choices(seed):
    points = np.random.default_rng(seed).normal(size=(12, 2))
    best = min(largest_gap(points, chosen) for chosen in itertools.combinations(range(12), 4))
    found = largest_gap(points, furthest_points(points, 4))
    assert best <= found <= 2 * best


def test_clusters_of_points_give_one_each():
    rng = np.random.default_rng(1)
    centres = 100.0 * rng.normal(size=(5, 4))
    points = np.concatenate([centre + rng.normal(size=(20, 4)) for centre in centres])
    assert sorted(i // 20 for i in furthest_points(points, 5)) == [0, 1, 2, 3, 4]


def test_equal_points_are_not_taken_twice():
    assert sorted(furthest_points(np.zeros((4, 2)), 4)) == [0, 1, 2, 3]


def test_two_atoms_are_described_as_written():
    """Na and Cl 3.25 Å apart: halfway between the bins at 3.0 and 3.5 Å, each half of f(r) (3 / r)^2."""
    frame, topology = atoms_apart(["Na", "Cl"], [[0, 0, 0], [0, 0, 3.25]])
    cl_cl, cl_na, na_na, cl, na = descriptors(frame, topology)
    weight = 0.5 * (1 + np.cos(np.pi * 3.25 / REACH_A)) * (3.0 / 3.25) ** 2
    expected = np.zeros_like(cl_na)
    expected[[3, 4]] = weight / 2  # bins at 1.5, 2.0, 2.5, 3.0, 3.5, ... Å
    np.testing.assert_allclose(cl_na, expected, atol=1e-12)
    assert not any(map(np.any, (cl_cl, na_na, cl, na)))


def test_an_angle_is_described_as_written():
    """A right angle at O, Na at 2.0 and Cl at 3.0 Å, in the bin of cosine 0."""
    frame, topology = atoms_apart(["O", "Na", "Cl"], [[0, 0, 0], [2.0, 0, 0], [0, 3.0, 0]])
    of_oxygen = descriptors(frame, topology)[-1]
    first, second = (0.5 * (1 + np.cos(np.pi * r / ANGULAR_REACH_A)) for r in (2.0, 3.0))
    expected = np.zeros(9)
    expected[4] = first * second
    np.testing.assert_allclose(of_oxygen, expected, atol=1e-12)


def test_turning_shifting_wrapping_and_swapping_change_nothing(liquid):
    frame = pack(liquid, 1.2, seed=1)
    topology, before = liquid.topology, flat(frame, liquid.topology)
    turned = frame.copy()
    rotation = Rotation.random(random_state=3)
    turned.set_cell(rotation.apply(frame.cell.array), scale_atoms=False)
    turned.set_positions(rotation.apply(frame.positions))
    shifted = frame.copy()
    shifted.positions += [1.0, -2.0, 3.0]
    imaged = frame.copy()
    imaged.positions[topology.atoms_of(2)] += frame.cell.array[0] - frame.cell.array[2]
    swapped = frame.copy()
    a, b = topology.atoms_of(2), topology.atoms_of(3)
    swapped.positions[np.r_[a, b]] = frame.positions[np.r_[b, a]]
    for other in (turned, shifted, imaged, swapped):
        np.testing.assert_allclose(flat(other, topology), before, atol=1e-9)


def test_a_small_move_changes_little_and_molecules_alone_nothing(liquid):
    frame = pack(liquid, 1.2, seed=1)
    topology, before = liquid.topology, flat(frame, liquid.topology)
    moved = frame.copy()
    changes = []
    for step in (1e-6, 1e-4):
        moved.positions = frame.positions.copy()
        moved.positions[topology.atoms_of(1)] += [step, 0, 0]
        changes.append(np.linalg.norm(flat(moved, topology) - before))
    assert 0 < changes[0] < 1e-4 and changes[1] == pytest.approx(100 * changes[0], rel=0.3)
    wide = frame.copy()  # so far apart that nothing but bonds is left
    wide.set_cell([400.0] * 3)
    wide.positions += (100.0 * np.arange(topology.n_molecules))[topology.molecules][:, None]
    assert not np.any(flat(wide, topology))


def test_every_histogram_counts_the_same(liquid):
    boxes = [pack(liquid, density, seed=seed) for seed, density in enumerate((0.7, 0.9, 1.1, 1.3))]
    found = [descriptors(box, liquid.topology) for box in boxes]
    points = normalised(found)
    assert points.shape == (4, sum(map(len, found[0])))
    start = 0
    for histogram in found[0]:
        total = points[:, start : start + len(histogram)].var(axis=0).sum()
        assert total == pytest.approx(1.0) or total == 0.0
        start += len(histogram)


def test_of_repeats_and_others_the_others_are_taken(liquid):
    """Ten boxes that hardly differ, and three of other densities: four frames hold all three."""
    usual = pack(liquid, 1.2, seed=1)
    rng = np.random.default_rng(1)
    alike = [usual.copy() for _ in range(10)]
    for frame in alike:
        frame.positions += 0.01 * rng.normal(size=(liquid.topology.n_molecules, 3))[liquid.topology.molecules]
    others = [pack(liquid, density, seed=2) for density in (0.6, 0.8, 1.0)]
    chosen = most_diverse([*alike, *others], liquid.topology, 4)
    assert len(chosen) == 4 and all(any(frame is other for frame in chosen) for other in others)
    assert len(most_diverse(others, liquid.topology, 5)) == 3

"""Compiled loops over pairs against sums over every pair and image."""

import numpy as np
import pytest

from ilforge.properties.kernels.contacts import close_pairs
from ilforge.properties.kernels.pairs import class_histogram

CELLS = {
    "cube": 12.0 * np.eye(3),
    "long": np.diag([9.0, 31.0, 14.0]),
    "skewed": np.array([[12.0, 0, 0], [3.0, 11.0, 0], [-2.0, 1.0, 10.0]]),
    "turned": np.array([[1.0, 11.0, 0.5], [10.0, -2.0, 1.0], [0.0, 3.0, 12.0]]),
}


def half(cell):
    return 0.5 / np.linalg.norm(np.linalg.inv(cell), axis=0).max()


def distances(a, b, cell, images=3):
    """``(n_a, n_b, n_images)``: of every image within three cells."""
    inverse = np.linalg.inv(cell)
    a, b = ((s - np.floor(s)) @ cell for s in (a @ inverse, b @ inverse))
    n = np.arange(-images, images + 1)
    lattice = np.stack(np.meshgrid(n, n, n, indexing="ij"), axis=-1).reshape(-1, 3) @ cell
    return np.linalg.norm(a[:, None, None] - b[None, :, None] + lattice, axis=-1)


def histogram_by_hand(points, cell, classes, molecules, n_classes, r_max, n_bins):
    far = distances(points, points, cell)
    i, j, _ = np.nonzero((far < r_max) & (molecules[:, None] != molecules)[:, :, None])
    d = far[(far < r_max) & (molecules[:, None] != molecules)[:, :, None]]
    expected = np.zeros((n_classes, n_classes, n_bins))
    np.add.at(expected, (classes[i], classes[j], (d * n_bins / r_max).astype(int)), 1)
    return expected


def assert_counted(points, cell, classes, molecules, n_classes, r_max, n_bins=23):
    found = class_histogram(points, cell, classes, molecules, n_classes, r_max, n_bins)
    expected = histogram_by_hand(points, cell, classes, molecules, n_classes, r_max, n_bins)
    assert np.array_equal(found + found.transpose(1, 0, 2), expected)
    return expected.sum()


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("reach", [0.3, 0.999, 1.7])
def test_histogram_in_any_cell_and_beyond_half_of_it(cell, reach):
    """Points in any image; several of a molecule; columns of one point and of many."""
    rng = np.random.default_rng(1)
    for n in (7, 90):
        points = (rng.random((n, 3)) + rng.integers(-2, 3, (n, 3))) @ cell
        classes, molecules = rng.integers(0, 3, n), rng.integers(0, n // 3, n)
        assert_counted(points, cell, classes, molecules, 3, reach * half(cell))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_histogram_of_points_on_the_borders_of_grid_cells(cell):
    """A grid of points that are on faces, edges and corners of the box, and of whatever the box is cut into."""
    n = 6
    grid = np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.concatenate([grid, grid[:5] - 1e-17, grid[:5] + 1.0]) @ cell
    classes, molecules = np.arange(len(points)) % 2, np.arange(len(points))
    assert assert_counted(points, cell, classes, molecules, 2, 0.983 * half(cell)) > 1000


def test_histogram_of_few_points_and_of_classes_without_any():
    cell = CELLS["skewed"]
    for n in (0, 1, 2):
        points = np.random.default_rng(2).random((n, 3)) @ cell
        total = assert_counted(points, cell, np.full(n, 2), np.arange(n), 5, half(cell))
        assert total in (0, 2)
    together = np.zeros((30, 3))
    assert class_histogram(together, cell, np.zeros(30, int), np.zeros(30, int), 1, 4.0, 10).sum() == 0
    assert class_histogram(together, cell, np.zeros(30, int), np.arange(30), 1, 4.0, 10)[0, 0].tolist() == [435] + 9 * [
        0
    ]


def test_histogram_of_points_in_one_corner():
    """All points in a few grid cells: a drop, not a liquid."""
    rng = np.random.default_rng(3)
    points = 1.5 * rng.normal(size=(120, 3))
    assert_counted(points, CELLS["cube"], rng.integers(0, 2, 120), np.arange(120), 2, 5.99)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("reach", [0.3, 0.999, 1.3])
@pytest.mark.parametrize("sizes", [(1, 50), (40, 60), (0, 5), (5, 0)])
def test_close_pairs_are_those_by_hand(cell, reach, sizes):
    rng = np.random.default_rng(4)
    a, b = ((rng.random((n, 3)) + rng.integers(-2, 3, (n, 3))) @ cell for n in sizes)
    shortest = distances(a, b, cell).min(axis=2)
    i, j, distance = close_pairs(a, b, cell, reach * half(cell))
    expected = np.nonzero(shortest < reach * half(cell))
    assert np.array_equal(i, expected[0]) and np.array_equal(j, expected[1])
    assert np.allclose(distance, shortest[expected], atol=1e-12)

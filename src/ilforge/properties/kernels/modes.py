"""Density modes: Fourier components of the positions of atoms, at the wave vectors of the box."""

from __future__ import annotations

import numpy as np


def wave_vectors(cell: np.ndarray, q_max: float) -> np.ndarray:
    """All wave vectors of a cell up to a length, one of each pair ±q, as integers ``(n, 3)`` without zero.

    The wave vector of integers n is q = 2π H⁻¹ n with the lattice vectors as rows of H.
    """
    reach = np.floor(q_max / (2.0 * np.pi) * np.linalg.norm(cell, axis=1)).astype(int)
    axes = [np.arange(0, reach[0] + 1), *(np.arange(-limit, limit + 1) for limit in reach[1:])]
    found = []
    for x in axes[0]:  # one plane at a time: large boxes have millions
        plane = np.stack(np.meshgrid([x], *axes[1:], indexing="ij"), axis=-1).reshape(-1, 3)
        found.append(plane[lengths(plane, cell) <= q_max])
    vectors = np.concatenate(found)
    x, y, z = vectors.T
    upper = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    result: np.ndarray = vectors[upper]
    return result


def lengths(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """|q| of integer wave vectors ``(n, 3)`` in a cell, 1/Å."""
    found: np.ndarray = 2.0 * np.pi * np.linalg.norm(vectors @ np.linalg.inv(cell).T, axis=1)
    return found


def spread_over_bins(bins: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most ``most`` items, drawn equally from all bins; bins with few items are used completely."""
    if len(bins) <= most:
        return np.arange(len(bins))
    order = rng.permutation(len(bins))
    order = order[np.argsort(bins[order], kind="stable")]
    counts = np.bincount(bins)
    rank = np.arange(len(bins)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = int(np.searchsorted(np.cumsum(np.bincount(rank)), most, side="right"))
    return np.sort(order[rank < max(quota, 1)])


def density_modes(fractional: np.ndarray, starts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """ρ_a(q) = Σ_{i in a} exp(i q·r_i) for every kind of atom a and every wave vector.

    Powers of exp(2πi s) along each axis are tabulated, so each term needs only two products.

    Parameters
    ----------
    fractional
        ``(n_atoms, 3)``, atoms sorted by kind, in any image.
    starts
        ``(n_kinds,)`` index of the first atom of each kind.
    vectors
        ``(n, 3)`` integers.

    Returns
    -------
    ``(n_kinds, n)`` complex. In single precision, the error of a mode is about 1e-6 times the number of atoms.
    """
    from ilforge.properties.kernels.mode_loops import WIDTH, sum_modes

    counts = np.diff([*starts, len(fractional)])
    blocks = -(-counts // WIDTH)  # of each kind; the last block is filled with zeros
    ends = np.cumsum(blocks)
    places = np.arange(len(fractional)) + np.repeat(WIDTH * (ends - blocks) - starts, counts)
    tables, rows = [], np.empty(vectors.shape[::-1], dtype=np.int64)
    for axis in range(3):
        highest = int(np.abs(vectors[:, axis]).max(initial=0))
        powers = _powers(fractional[:, axis], highest)
        table = np.zeros((len(powers), ends[-1], 2, WIDTH), dtype=np.float32)
        table[:, places // WIDTH, 0, places % WIDTH] = powers.real
        table[:, places // WIDTH, 1, places % WIDTH] = powers.imag
        tables.append(table)
        rows[axis] = vectors[:, axis] + highest
    x, y, z = tables
    return sum_modes(x, y, z, rows, ends)


def _powers(fraction: np.ndarray, highest: int) -> np.ndarray:
    """exp(2πi n s) for n from -highest to highest, ``(2 highest + 1, n_atoms)``."""
    base = np.exp(2j * np.pi * (fraction - np.floor(fraction)))
    powers = np.empty((2 * highest + 1, len(fraction)), dtype=np.complex128)
    powers[highest] = 1.0
    for n in range(1, highest + 1):
        powers[highest + n] = powers[highest + n - 1] * base
    powers[:highest] = powers[:highest:-1].conj()
    return powers

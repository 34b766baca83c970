"""Density modes: Fourier components of where the atoms are, on the wave vectors that fit the box."""

from __future__ import annotations

import numpy as np

_CHUNK_ELEMENTS = 300_000  # products of one chunk stay in the cache


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
    return vectors[upper]


def lengths(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """|q| of integer wave vectors ``(n, 3)`` in a cell, 1/Å."""
    return 2.0 * np.pi * np.linalg.norm(vectors @ np.linalg.inv(cell).T, axis=1)


def spread_over_bins(bins: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of at most ``most`` items, drawn so that all bins hold equally many or all they have."""
    if len(bins) <= most:
        return np.arange(len(bins))
    order = rng.permutation(len(bins))
    order = order[np.argsort(bins[order], kind="stable")]
    counts = np.bincount(bins)
    rank = np.arange(len(bins)) - np.repeat(np.cumsum(counts) - counts, counts)
    quota = np.searchsorted(np.cumsum(np.bincount(rank)), most, side="right")
    return np.sort(order[rank < max(quota, 1)])


def density_modes(fractional: np.ndarray, starts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """ρ_a(q) = Σ_{i in a} exp(i q·r_i) for every kind of atom a and every wave vector.

    Powers of exp(2πi s) along each axis are tabulated, so that each term is two products.

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
    ``(n_kinds, n)`` complex. Products are in single precision: a mode is good to about 1e-6 of the number of atoms.
    """
    tables = [_powers(fractional[:, axis], int(np.abs(vectors[:, axis]).max(initial=0))) for axis in range(3)]
    rows = [vectors[:, axis] + len(table) // 2 for axis, table in enumerate(tables)]
    ends = [*starts[1:], len(fractional)]
    modes = np.empty((len(starts), len(vectors)), dtype=np.complex128)
    size = max(1, _CHUNK_ELEMENTS // len(fractional))
    for first in range(0, len(vectors), size):
        chunk = slice(first, first + size)
        x, y, z = (table.take(row[chunk], axis=0) for table, row in zip(tables, rows, strict=True))
        x *= y
        x *= z
        for kind, (start, end) in enumerate(zip(starts, ends, strict=True)):
            modes[kind, chunk] = x[:, start:end].sum(axis=1)
    return modes


def _powers(fraction: np.ndarray, highest: int) -> np.ndarray:
    """exp(2πi n s) for n from -highest to highest, ``(2 highest + 1, n_atoms)`` in single precision."""
    base = np.exp(2j * np.pi * (fraction - np.floor(fraction)))
    powers = np.empty((2 * highest + 1, len(fraction)), dtype=np.complex128)
    powers[highest] = 1.0
    for n in range(1, highest + 1):
        powers[highest + n] = powers[highest + n - 1] * base
    powers[:highest] = powers[:highest:-1].conj()
    return powers.astype(np.complex64)

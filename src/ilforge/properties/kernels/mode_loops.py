"""Compiled sum over atoms for each wave vector; NumPy would have to write every term to memory.

Fast-math is off, so that results are the same on every processor.
"""

from __future__ import annotations

import numpy as np

from ilforge.compiled import compiled

WIDTH = 16
"""Number of atoms that are added at once, by vector instructions."""
_NEAR = 32  # number of blocks of atoms that are summed for all wave vectors at once, so that they stay in the cache


@compiled
def sum_modes(x: np.ndarray, y: np.ndarray, z: np.ndarray, rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Σ x y z over the atoms of each kind, for every wave vector.

    Parameters
    ----------
    x, y, z
        Powers of exp(2πi s) along each axis, ``(n_powers, n_blocks, 2, WIDTH)`` float32: real and imaginary parts of
        blocks of atoms of one kind.
    rows
        ``(3, n)``: indices of the powers for each wave vector.
    ends
        ``(n_kinds,)``: index after the last block of each kind.

    Returns
    -------
    ``(n_kinds, n)`` complex.
    """
    modes = np.zeros((len(ends), rows.shape[1]), dtype=np.complex128)
    real, imaginary = np.zeros(WIDTH, dtype=np.float32), np.zeros(WIDTH, dtype=np.float32)
    first = 0
    for kind in range(len(ends)):
        while first < ends[kind]:
            last = min(first + _NEAR, ends[kind])
            for vector in range(rows.shape[1]):
                of_x, of_y, of_z = x[rows[0, vector]], y[rows[1, vector]], z[rows[2, vector]]
                for block in range(first, last):
                    _add_products(of_x[block], of_y[block], of_z[block], real, imaginary)
                modes[kind, vector] += _total(real) + 1j * _total(imaginary)
            first = last
    return modes


@compiled
def _total(lanes: np.ndarray) -> float:
    """Sum of the lanes, which are then set to zero."""
    total = 0.0
    for k in range(WIDTH):
        total += lanes[k]
        lanes[k] = 0.0
    return total


@compiled
def _add_products(x: np.ndarray, y: np.ndarray, z: np.ndarray, real: np.ndarray, imaginary: np.ndarray) -> None:
    x_real, x_imaginary, y_real, y_imaginary, z_real, z_imaginary = x[0], x[1], y[0], y[1], z[0], z[1]
    for k in range(WIDTH):
        xy_real = x_real[k] * y_real[k] - x_imaginary[k] * y_imaginary[k]
        xy_imaginary = x_real[k] * y_imaginary[k] + x_imaginary[k] * y_real[k]
        real[k] += xy_real * z_real[k] - xy_imaginary * z_imaginary[k]
        imaginary[k] += xy_real * z_imaginary[k] + xy_imaginary * z_real[k]

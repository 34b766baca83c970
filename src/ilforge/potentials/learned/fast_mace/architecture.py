"""The architecture of a MACE network without its weights: the kernels that it needs, and the terms of their sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ilforge.potentials.learned.fast_mace.vectors import LANES

Monomial = tuple[int, int, int]
Polynomial = dict[Monomial, float]
"""Coefficients of x^a y^b z^c by (a, b, c)."""

Term = tuple[int, ...]
"""One to three components whose product is summed, in ascending order."""

_NOTHING = 1e-9


@dataclass(frozen=True)
class Path:
    """One path of the tensor product of the second layer.

    Attributes
    ----------
    l_in, l_edge, l_out
        Degrees of the neighbour's features, of the spherical harmonic, and of the output.
    coupling
        Clebsch-Gordan coefficients with the network's own factors, ``(2 l_in + 1, 2 l_edge + 1, 2 l_out + 1)``.
    """

    l_in: int
    l_edge: int
    l_out: int
    coupling: np.ndarray


@dataclass(frozen=True)
class Architecture:
    """A two-layer MACE.

    Attributes
    ----------
    blocks
        Channels, in blocks of sixteen.
    l_hidden
        Largest degree of the features between the layers.
    l_max
        Largest degree of spherical harmonics.
    harmonics
        The ``(l_max + 1)^2`` spherical harmonics as polynomials of a unit vector.
    first_scale
        Factor of each harmonic in the tensor product of the first layer, ``((l_max + 1)^2,)``.
    paths
        Paths of the second layer, in the order of their weights.
    terms
        For each layer, for each output of the symmetric contraction: the products of components that it sums.
    """

    blocks: int
    l_hidden: int
    l_max: int
    harmonics: tuple[Polynomial, ...]
    first_scale: tuple[float, ...]
    paths: tuple[Path, ...]
    terms: tuple[tuple[tuple[Term, ...], ...], tuple[tuple[Term, ...], ...]]

    @property
    def channels(self) -> int:
        """Number of channels, including those that fill the last block."""
        return self.blocks * LANES

    @property
    def n_harmonics(self) -> int:
        return (self.l_max + 1) ** 2

    @property
    def n_hidden(self) -> int:
        """Components of the features between the layers."""
        return (self.l_hidden + 1) ** 2

    @property
    def path_starts(self) -> list[int]:
        """First component of each path's output, and one past the last."""
        found: list[int] = np.cumsum([0, *(2 * path.l_out + 1 for path in self.paths)]).tolist()
        return found

    def n_terms(self, layer: int) -> int:
        return sum(len(terms) for terms in self.terms[layer])


def derivative(polynomial: Polynomial, axis: int) -> Polynomial:
    """Derivative by x, y or z (0, 1, 2)."""
    result: Polynomial = {}
    for powers, coefficient in polynomial.items():
        if powers[axis]:
            lower = list(powers)
            lower[axis] -= 1
            key = (lower[0], lower[1], lower[2])
            result[key] = result.get(key, 0.0) + coefficient * powers[axis]
    return result


def combination(polynomials: list[Polynomial], coefficients: Iterable[float]) -> Polynomial:
    """Sum of polynomials, each times its coefficient."""
    result: Polynomial = {}
    for polynomial, factor in zip(polynomials, coefficients, strict=True):
        for powers, coefficient in polynomial.items():
            result[powers] = result.get(powers, 0.0) + float(factor) * coefficient
    return {powers: value for powers, value in result.items() if abs(value) > _NOTHING}


def fitted(degree: int, points: np.ndarray, values: np.ndarray) -> Polynomial:
    """The homogeneous polynomial of a given degree with these values at these unit vectors.

    Parameters
    ----------
    points
        ``(n, 3)``.
    values
        ``(n,)``.

    Raises
    ------
    ValueError
        When there is none.
    """
    monomials = [(a, b, degree - a - b) for a in range(degree + 1) for b in range(degree + 1 - a)]
    matrix = np.array([np.prod(points ** np.array(powers), axis=1) for powers in monomials]).T
    coefficients = np.linalg.lstsq(matrix, values, rcond=None)[0]
    if np.abs(matrix @ coefficients - values).max() > _NOTHING:
        raise ValueError(f"these values are no polynomial of degree {degree}")
    found = zip(monomials, coefficients.tolist(), strict=True)
    return {powers: round(value, 13) for powers, value in found if abs(value) > _NOTHING}

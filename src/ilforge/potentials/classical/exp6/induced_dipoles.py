"""Charges and isotropic induced point dipoles: energy, dipoles and forces, in a vacuum or by Ewald's sum.

With permanent charges q, polarizabilities alpha and dipoles mu at sites r,

.. math:: \\frac{U}{k_e} = \\sum_{i<j} w^{cc}_{ij} \\frac{q_i q_j}{r_{ij}} - \\sum_i \\mu_i \\cdot E^0_i
          + \\sum_i \\frac{\\mu_i^2}{2\\alpha_i} - \\frac12 \\sum_{i \\ne j} \\mu_i \\cdot T_{ij} \\mu_j

has its minimum if every dipole is alpha times the total field at its site. The minimum is
:math:`U_{qq} - \\frac12 \\sum \\mu_i \\cdot E^0_i`. For pairs a few bonds apart, the field :math:`E^0` of charges has
weights w^cd, and the tensors T have weights w^dd. The interaction of two dipoles is damped by Thole's function of
:math:`v = a\\,r^3/\\sqrt{\\alpha_i\\alpha_j}` (Chem. Phys. 1981, 59, 341; J. Phys. Chem. B 2003, 107, 5933):

.. math:: T = \\lambda_5 \\frac{3\\,\\mathbf r\\mathbf r}{r^5} - \\lambda_3 \\frac{1}{r^3}, \\quad
          \\lambda_3 = 1 - e^{-v}, \\quad \\lambda_5 = 1 - (1 + v) e^{-v}

and, if chosen, the interaction of charges and dipoles by :math:`\\lambda_3`. Ewald's sum over charges and dipoles, with
a conducting boundary: W. Smith, CCP5 Newsletter 1998, 46, 18. Dipoles are found by conjugate gradients, beginning at
alpha E^0 in every frame, so that the result does not depend on earlier frames.

OpenMM's AmoebaMultipoleForce cannot be used: it damps the interaction of the charge of every polarizable site with
dipoles, has no weights for dipoles a few bonds apart, and no weight of 0.8 for a charge and a dipole three bonds apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from ilforge.errors import DidNotConverge
from ilforge.potentials.classical.exp6.lone_pairs import nearest

if TYPE_CHECKING:
    from scipy.sparse import bsr_array

COULOMB = units.Hartree * units.Bohr / (units.kJ / units.mol)
"""e^2/(4 pi eps0) in kJ/mol Å."""

MAX_ITERATIONS = 200


@dataclass(frozen=True)
class Sites:
    """Constant properties of the sites.

    Attributes
    ----------
    charges, alphas
        ``(n,)``, e and Å^3; alpha 0 for sites without a dipole.
    near, weights
        ``(m, 2)`` pairs i < j with weights, and ``(m, 3)`` their weights: of two charges, of a charge and a dipole, of
        two dipoles.
    thole
        Thole's a, without a unit.
    damp_charges
        Whether Thole's function also damps interactions of charges and dipoles.
    tolerance
        Allowed residual of the dipoles: its root mean square divided by that of the dipoles.
    """

    charges: np.ndarray
    alphas: np.ndarray
    near: np.ndarray
    weights: np.ndarray
    thole: float
    damp_charges: bool
    tolerance: float


@dataclass(frozen=True)
class Pairs:
    """Pairs of sites, ``d = r_i - r_j`` of their interacting images, Å, and their weights (None: all 1)."""

    i: np.ndarray
    j: np.ndarray
    d: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Result:
    """Energy kJ/mol, forces ``(n, 3)`` kJ/mol/Å, dipoles ``(n, 3)`` e Å, and the number of iterations."""

    energy: float
    forces: np.ndarray
    dipoles: np.ndarray
    iterations: int


class Ewald:
    """The reciprocal-space part of Ewald's sum, with wave vectors chosen for one cell.

    Parameters
    ----------
    cell
        ``(3, 3)`` Å. Slightly different cells use the same indices, so that energies change smoothly with the cell.
    cutoff
        Cutoff of the direct part, Å.
    tolerance
        Truncation error of the direct and the reciprocal part, relative to a bare interaction.
    """

    def __init__(self, cell: np.ndarray, cutoff: float, tolerance: float):
        self.kappa = np.sqrt(-np.log(2 * tolerance)) / cutoff
        longest = 2 * self.kappa * np.sqrt(-np.log(tolerance))
        most = np.floor(longest * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
        ranges = [np.arange(-n, n + 1) for n in most]
        indices = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
        length = np.linalg.norm(self._vectors(indices, cell), axis=1)
        a, b, c = indices.T
        half = (a > 0) | ((a == 0) & (b > 0)) | ((a == 0) & (b == 0) & (c > 0))
        self.indices = indices[half & (length <= longest)]

    @staticmethod
    def _vectors(indices: np.ndarray, cell: np.ndarray) -> np.ndarray:
        return 2 * np.pi * indices @ np.linalg.inv(cell).T

    def waves(self, positions: np.ndarray, cell: np.ndarray) -> Waves:
        """Terms of the wave vectors that depend on the positions of the sites."""
        k = self._vectors(self.indices, cell)
        square = np.sum(k**2, axis=1)
        weight = 8 * np.pi / abs(np.linalg.det(cell)) * np.exp(-square / (4 * self.kappa**2)) / square
        fractional = positions @ np.linalg.inv(cell)
        phase = np.ones((len(k), len(positions)), dtype=complex)
        for axis in range(3):
            most = int(np.abs(self.indices[:, axis]).max(initial=0))
            powers = np.exp(2j * np.pi * np.outer(np.arange(-most, most + 1), fractional[:, axis]))
            phase *= powers[self.indices[:, axis] + most]
        return Waves(k, weight, np.ascontiguousarray(phase.real), np.ascontiguousarray(phase.imag))


@dataclass(frozen=True)
class Waves:
    """Wave vectors of half the space ``(k, 3)``, their weights, and cosines and sines at the sites ``(k, n)``."""

    k: np.ndarray
    weight: np.ndarray
    cos: np.ndarray
    sin: np.ndarray

    def of_charges(self, charges: np.ndarray) -> np.ndarray:
        """Weight times sum q exp(i k r): real and imaginary part, ``(2, k)``."""
        found: np.ndarray = self.weight * np.stack([self.cos @ charges, self.sin @ charges])
        return found

    def of_dipoles(self, dipoles: np.ndarray) -> np.ndarray:
        """Weight times sum i k mu exp(i k r): real and imaginary part, ``(2, k)``."""
        parts = (-(self.sin @ dipoles), self.cos @ dipoles)
        found: np.ndarray = self.weight * np.stack([np.sum(self.k * part, axis=1) for part in parts])
        return found

    def field(self, real: np.ndarray, imag: np.ndarray) -> np.ndarray:
        """Field at the sites, ``(n, 3)``."""
        found: np.ndarray = self.sin.T @ (real[:, None] * self.k) - self.cos.T @ (imag[:, None] * self.k)
        return found

    def energy_and_forces(self, charges: np.ndarray, dipoles: np.ndarray) -> tuple[float, np.ndarray]:
        real, imag = self.of_charges(charges) + self.of_dipoles(dipoles)
        energy = float(np.sum((real**2 + imag**2) / self.weight) / 2)
        forces = charges[:, None] * self.field(real, imag)
        along = (self.k @ dipoles.T) * (self.cos * real[:, None] + self.sin * imag[:, None])
        return energy, forces + along.T @ self.k


def evaluate(
    sites: Sites, positions: np.ndarray, pairs: list[Pairs], ewald: Ewald | None = None, cell: np.ndarray | None = None
) -> Result:
    """Energy, forces and dipoles.

    Parameters
    ----------
    positions
        ``(n, 3)`` Å.
    pairs
        Interacting pairs: without Ewald's sum every pair once, with it the pairs within the cutoff and all pairs with
        weights.
    cell
        ``(3, 3)`` Å, only with Ewald's sum.

    Raises
    ------
    DidNotConverge
        When dipoles diverge or do not converge.
    """
    kappa = 0.0 if ewald is None else ewald.kappa
    radial = [_Radial(sites, some, kappa) for some in pairs]
    waves = None
    if ewald is not None:
        assert cell is not None
        waves = ewald.waves(positions, cell)
    dipoles, iterations = _relaxed(sites, pairs, radial, waves, kappa)
    forces, energy = np.zeros_like(positions), 0.0
    for some, functions in zip(pairs, radial, strict=True):
        part, gradient = _pair_energy(sites.charges, dipoles, some, functions)
        energy += part
        scatter(forces, some, -gradient)
    polar = sites.alphas > 0
    squares = np.sum(dipoles[polar] ** 2, axis=1)
    energy += np.sum(squares / sites.alphas[polar]) / 2
    if waves is not None:
        part, more = waves.energy_and_forces(sites.charges, dipoles)
        self_energy = kappa / np.sqrt(np.pi) * (np.sum(sites.charges**2) + 2 * kappa**2 / 3 * np.sum(squares))
        energy, forces = energy + part - self_energy, forces + more
    return Result(float(COULOMB * energy), COULOMB * forces, dipoles, iterations)


class _Radial:
    """Radial functions of pairs, each -1/r times the derivative of the one before.

    ``p0, p1`` belong to two charges, ``q1, q2`` to a charge and a dipole, ``r1, r2, r3`` to two dipoles.
    """

    def __init__(self, sites: Sites, pairs: Pairs, kappa: float):
        square = np.sum(pairs.d**2, axis=1)
        r = np.sqrt(square)
        bare = [1 / r]
        for n in range(3):
            bare.append((2 * n + 1) * bare[n] / square)
        full = bare if kappa == 0 else _screened(r, square, kappa)
        cc, cd, dd = (1.0, 1.0, 1.0) if pairs.weights is None else pairs.weights.T
        l3, l5, l7 = _damping(sites, pairs, r)
        c3, c5 = (l3, l5) if sites.damp_charges else (1.0, 1.0)
        self.p0, self.p1 = full[0] + (cc - 1) * bare[0], full[1] + (cc - 1) * bare[1]
        self.q1, self.q2 = full[1] + (cd * c3 - 1) * bare[1], full[2] + (cd * c5 - 1) * bare[2]
        self.r1, self.r2 = full[1] + (dd * l3 - 1) * bare[1], full[2] + (dd * l5 - 1) * bare[2]
        self.r3 = full[3] + (dd * l7 - 1) * bare[3]


def _screened(r: np.ndarray, square: np.ndarray, kappa: float) -> list[np.ndarray]:
    """erfc(kappa r)/r and its derivatives."""
    from scipy.special import erfc

    found = [erfc(kappa * r) / r]
    gaussian = np.exp(-(kappa**2) * square) / (kappa * np.sqrt(np.pi))
    for n in range(3):
        found.append(((2 * n + 1) * found[n] + (2 * kappa**2) ** (n + 1) * gaussian) / square)
    return found


def _damping(sites: Sites, pairs: Pairs, r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    product = sites.alphas[pairs.i] * sites.alphas[pairs.j]
    with np.errstate(divide="ignore"):
        v = sites.thole * r**3 / np.sqrt(product)
    v = np.minimum(v, 700.0)  # exp(-700) is negligible, but infinity times zero would be NaN
    fading = np.exp(-v)
    return 1 - fading, 1 - (1 + v) * fading, 1 - (1 + v + 0.6 * v**2) * fading


def _relaxed(
    sites: Sites, pairs: list[Pairs], radial: list[_Radial], waves: Waves | None, kappa: float
) -> tuple[np.ndarray, int]:
    """Self-consistent dipoles, and the number of iterations."""
    n, polar = len(sites.charges), np.flatnonzero(sites.alphas > 0)
    dipoles, field = np.zeros((n, 3)), np.zeros((n, 3))
    if not len(polar):
        return dipoles, 0
    for some, functions in zip(pairs, radial, strict=True):
        towards = functions.q1[:, None] * some.d
        scatter(field, some, sites.charges[some.j, None] * towards, -sites.charges[some.i, None] * towards)
    if waves is not None:
        field += waves.field(*waves.of_charges(sites.charges))
    tensor = _tensor(n, polar, pairs, radial)
    own = 4 * kappa**3 / (3 * np.sqrt(np.pi))

    def mutual(mu: np.ndarray) -> np.ndarray:
        found: np.ndarray = (tensor @ mu.ravel()).reshape(-1, 3) + own * mu
        if waves is None:
            return found
        dipoles[polar] = mu
        found = found + waves.field(*waves.of_dipoles(dipoles))[polar]
        return found

    dipoles[polar], iterations = solve(mutual, field[polar], sites.alphas[polar, None], sites.tolerance)
    return dipoles, iterations


def solve(
    mutual: Callable[[np.ndarray], np.ndarray], field: np.ndarray, alphas: np.ndarray, tolerance: float
) -> tuple[np.ndarray, int]:
    """Dipoles mu = alpha (field + mutual(mu)) by conjugate gradients with alpha as preconditioner.

    Raises
    ------
    DidNotConverge
        When the energy of the dipoles has no minimum, or they do not converge.
    """
    mu = alphas * field
    residual = mutual(mu)
    step = alphas * residual
    direction, product = step, np.sum(residual * step)
    for iteration in range(MAX_ITERATIONS):
        if np.sum(step**2) <= tolerance**2 * np.sum(mu**2):
            return mu, iteration
        curved = direction / alphas - mutual(direction)
        curvature = np.sum(direction * curved)
        if not curvature > 0:  # also true for NaN
            raise DidNotConverge("polarization catastrophe: induced dipoles grow without bound in this structure")
        length = product / curvature
        mu = mu + length * direction
        residual = residual - length * curved
        step = alphas * residual
        product, before = np.sum(residual * step), product
        direction = step + product / before * direction
    raise DidNotConverge(f"induced dipoles did not converge in {MAX_ITERATIONS} iterations")


def _tensor(n: int, polar: np.ndarray, pairs: list[Pairs], radial: list[_Radial]) -> bsr_array:
    """The direct-space tensor T of all pairs of polarizable sites."""
    from scipy.sparse import bsr_array

    number = np.full(n, -1)
    number[polar] = np.arange(len(polar))
    rows, columns, blocks = [], [], []
    for some, functions in zip(pairs, radial, strict=True):
        i, j = number[some.i], number[some.j]
        both = (i >= 0) & (j >= 0)
        d, r1, r2 = some.d[both], functions.r1[both], functions.r2[both]
        block = r2[:, None, None] * d[:, :, None] * d[:, None, :]
        block[:, (0, 1, 2), (0, 1, 2)] -= r1[:, None]
        rows += [i[both], j[both]]
        columns += [j[both], i[both]]
        blocks += [block, block]
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.argsort(row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(polar)))])
    return bsr_array(
        (np.concatenate(blocks)[order], column[order], starts), shape=(3 * len(polar), 3 * len(polar)), blocksize=(3, 3)
    )


def _pair_energy(charges: np.ndarray, dipoles: np.ndarray, pairs: Pairs, f: _Radial) -> tuple[float, np.ndarray]:
    """Energy of pairs in direct space, and its gradient with respect to d."""
    d, qi, qj = pairs.d, charges[pairs.i], charges[pairs.j]
    mi, mj = dipoles[pairs.i], dipoles[pairs.j]
    mir, mjr, mm = np.sum(mi * d, axis=1), np.sum(mj * d, axis=1), np.sum(mi * mj, axis=1)
    cross, both = qi * mjr - qj * mir, mir * mjr
    energy = np.sum(qi * qj * f.p0 + cross * f.q1 + mm * f.r1 - both * f.r2)
    radial = -qi * qj * f.p1 - cross * f.q2 - mm * f.r2 + both * f.r3
    on_i = (qi * f.q1 - mir * f.r2)[:, None] * mj
    on_j = (qj * f.q1 + mjr * f.r2)[:, None] * mi
    return float(energy), radial[:, None] * d + on_i - on_j


def scatter(total: np.ndarray, pairs: Pairs, on_i: np.ndarray, on_j: np.ndarray | None = None) -> None:
    """Add contributions of pairs, ``(p, 3)``, to their sites; ``on_j`` is minus ``on_i`` if it is not given."""
    on_j = -on_i if on_j is None else on_j
    n = len(total)
    for axis in range(3):
        total[:, axis] += np.bincount(pairs.i, weights=on_i[:, axis], minlength=n)
        total[:, axis] += np.bincount(pairs.j, weights=on_j[:, axis], minlength=n)


def near_pairs(sites: Sites, positions: np.ndarray, cell: np.ndarray | None) -> Pairs:
    """The pairs with weights, in their nearest images."""
    i, j = sites.near.T
    return Pairs(i, j, nearest(positions[i] - positions[j], cell), sites.weights)

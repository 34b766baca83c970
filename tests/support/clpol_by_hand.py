"""CL&Pol summed term by term in NumPy, straight from the formulas: an answer that owes nothing to OpenMM.

Dipoles are pairs of charges: one at the atom and one at ``d`` from it, for every atom but H.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ilforge.potentials.classical import clp_parameters
from ilforge.potentials.classical.clpol import parameters as clpol_parameters
from support import clp_by_hand
from support.clp_by_hand import COULOMB

STIFFNESS = 4184.0


@dataclass
class Sites:
    """Atoms of some ions: permanent charges, polarizabilities (0 for H), weights of pairs, Lennard-Jones terms."""

    q: np.ndarray
    alpha: np.ndarray
    weights: np.ndarray
    sigma: np.ndarray
    epsilon: np.ndarray
    fragment: list[str]
    bare: np.ndarray

    @property
    def polar(self):
        return np.flatnonzero(self.alpha)

    @property
    def drude(self):
        """Charge of the Drude particle of each atom, 0 for H."""
        return -np.sqrt(self.alpha * STIFFNESS / COULOMB)

    def scale(self, i, j):
        given = clpol_parameters.parameters()["scale"]
        for block in given:
            for f, g in ((self.fragment[i], self.fragment[j]), (self.fragment[j], self.fragment[i])):
                if g in block.get(f, {}):
                    return block[f][g]
        return 1.0


def sites(names):
    q, sigma, epsilon = clp_by_hand.atom_parameters(names)
    alpha, fragment, bare = [], [], []
    clp, pol = clp_parameters.parameters(), clpol_parameters.parameters()
    for name in names:
        types = clp["ions"][name]["atoms"]
        is_hydrogen = [clp["types"][key]["element"] == "H" for key in types]
        for i, key in enumerate(types):
            bonded = [set(bond) - {i} for bond in clp["ions"][name]["bonds"] if i in bond]
            hydrogens = sum(is_hydrogen[j] for (j,) in bonded)
            alpha.append(0.0 if is_hydrogen[i] else pol["polarizability_A3"][key] + hydrogens * 0.323)
            bare.append(key == "Li")
        for part, count in pol["fragments"][name]:
            fragment += [part] * count
    weights = clp_by_hand.pair_weights(names)
    return Sites(q, np.array(alpha), weights, sigma, epsilon, fragment, np.array(bare))


def thole(s, i, j, r):
    u = 2.6 * r / (s.alpha[i] * s.alpha[j]) ** (1 / 6)
    return 1 - (1 + u / 2) * np.exp(-u)


def tang_toennies(r):
    u = 4.5 * r
    return 1 - np.exp(-u) * (1 + u + u**2 / 2 + u**3 / 6 + u**4 / 24)


def pair_table(s):
    """Everything about pairs of atoms that does not depend on where they are."""
    i, j = np.triu_indices(len(s.q), 1)
    k = np.array([s.scale(a, b) for a, b in zip(i, j, strict=True)])
    return i, j, s.weights[i, j], k


def induction(s, pairs, x, d):
    """Springs and all charges in a vacuum, kJ/mol; ``d`` (n, 3) Å, rows of H without meaning."""
    i, j, w, _ = pairs
    energy = STIFFNESS / 2 * np.sum(d[s.polar] ** 2)
    r = np.linalg.norm(x[i] - x[j], axis=1)
    energy += COULOMB * np.sum(w * s.q[i] * s.q[j] / r)
    for a, b in ((i, j), (j, i)):  # the charge of a, the dipole of b
        for charge, place in ((s.drude, x + d), (-s.drude, x)):
            r = np.linalg.norm(x[a] - place[b], axis=1)
            damped = np.where(s.bare[a], tang_toennies(r), 1.0)
            energy += COULOMB * np.sum(w * damped * s.q[a] * charge[b] / r)
    both = (s.alpha[i] > 0) & (s.alpha[j] > 0)
    i, j = i[both], j[both]
    ends = ((1, x + d), (-1, x))
    for (sign, first), (other, second) in itertools.product(ends, ends):
        r = np.linalg.norm(first[i] - second[j], axis=1)
        energy += COULOMB * np.sum(thole(s, i, j, r) * sign * other * s.drude[i] * s.drude[j] / r)
    return float(energy)


def lennard_jones(s, pairs, x):
    i, j, w, k = pairs
    r6 = (s.sigma[i] * s.sigma[j]) ** 3 / np.linalg.norm(x[i] - x[j], axis=1) ** 6
    return float(np.sum(w * k * 4 * np.sqrt(s.epsilon[i] * s.epsilon[j]) * (r6**2 - r6)))


def relaxed(s, pairs, x):
    """Energy of springs and charges at its minimum over all dipoles, and the displacements."""

    def energy(flat):
        d = np.zeros_like(x)
        d[s.polar] = flat.reshape(-1, 3) / 100
        return induction(s, pairs, x, d)

    found = minimize(energy, np.zeros(3 * len(s.polar)), method="L-BFGS-B", options={"maxfun": 10**6, "ftol": 1e-14})
    return found.fun, found.x.reshape(-1, 3) / 100


def coulomb_in_box(s, pairs, x, d, side, cutoff, switch):
    """Springs and all charges of a periodic box; Thole's and Toennies' terms are switched off at the cutoff."""
    i, j, w, _ = pairs
    energy = STIFFNESS / 2 * np.sum(d[s.polar] ** 2)
    polar = s.polar
    charges = np.concatenate([s.q - s.drude, s.drude[polar]])
    energy += clp_by_hand.ewald(charges, np.concatenate([x, (x + d)[polar]]), side)
    energy += COULOMB * np.sum(s.drude[polar] * (s.drude - s.q)[polar] / np.linalg.norm(d[polar], axis=1))
    image = x[i] - x[j] - side * np.round((x[i] - x[j]) / side)
    parts = ((s.q, 0 * d, "q"), (s.drude, d, "d"), (-s.drude, 0 * d, "d"))
    for (first, at, kind), (second, to, other) in itertools.product(parts, repeat=2):
        r = np.linalg.norm(image + at[i] - to[j], axis=1)
        near = w < 1
        far = 1 - clp_by_hand._switched_off(r, switch, cutoff)
        if kind == other == "d":
            with np.errstate(divide="ignore", invalid="ignore"):
                t = np.where((s.alpha[i] > 0) & (s.alpha[j] > 0), thole(s, i, j, r), 0.0)
            change = np.where(near, t - 1, far * (t - 1))
        else:
            f = np.ones_like(r)
            if {kind, other} == {"q", "d"}:
                bare = s.bare[i] if kind == "q" else s.bare[j]
                f = np.where(bare, tang_toennies(r), 1.0)
            change = np.where(near, w - 1, far * (f - 1))
        energy += COULOMB * np.sum(change * first[i] * second[j] / r)
    return float(energy)


def lennard_jones_in_box(s, x, side, cutoff, switch):
    """Switched Lennard-Jones energy of the nearest images, and what lies beyond in a uniform liquid, kJ/mol."""
    i, j, w, k = pair_table(s)
    image = x[i] - x[j]
    r = np.linalg.norm(image - side * np.round(image / side), axis=1)

    def potential(i, j, k, r):
        r6 = (s.sigma[i] * s.sigma[j]) ** 3 / r**6
        return k * 4 * np.sqrt(s.epsilon[i] * s.epsilon[j]) * (r6**2 - r6)

    shares = np.where(w == 1, 1 - clp_by_hand._switched_off(r, switch, cutoff), w)
    energy = np.sum(shares * potential(i, j, k, r))
    steps = np.linspace(0.0, 1.0, 5001)[1:]
    grid = switch / steps
    weight = clp_by_hand._switched_off(grid, switch, cutoff) * grid**2 * switch / steps**2
    moments = {}
    for power in (6, 12):
        y = weight / grid**power
        moments[power] = np.sum((y[1:] + y[:-1]) / 2 * np.diff(steps))
    first, second = (index.ravel() for index in np.indices((len(x), len(x))))
    factor = np.array([s.scale(a, b) for a, b in zip(first, second, strict=True)])
    six = (s.sigma[first] * s.sigma[second]) ** 3
    each = factor * 4 * np.sqrt(s.epsilon[first] * s.epsilon[second])
    tail = np.sum(each * (six**2 * moments[12] - six * moments[6]))
    return float(energy + 2 * np.pi / side**3 * tail)

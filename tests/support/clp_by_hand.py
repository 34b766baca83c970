"""CL&P summed term by term in NumPy, straight from the formulas: an answer that owes nothing to OpenMM."""

from __future__ import annotations

import itertools

import numpy as np
from ase import units
from scipy.special import erfc

from ilforge.potentials.classical.clp_parameters import parameters

COULOMB = units.Hartree * units.Bohr / (units.kJ / units.mol)
"""e^2/(4 pi eps0) in kJ/mol Å."""


def bonded_energy(name, x):
    """Bonds, angles and torsions of one ion at positions ``x`` (n, 3) Å, kJ/mol; all terms found by search.

    Only impropers, and the angles across a crowded atom, are taken from the ion's own lists.
    """
    types, ion = _types(name), parameters()["ions"][name]
    bonds = {frozenset(bond) for bond in ion["bonds"]}
    without = ion.get("without_angles", [])
    classes, n = [entry["class"] for entry in types], len(types)
    energy = 0.0
    for i, j in itertools.combinations(range(n), 2):
        if {i, j} in bonds:
            term = _look_up("bonds", classes[i], classes[j])
            energy += term["k_kJ_mol_A2"] / 2 * (np.linalg.norm(x[i] - x[j]) - term["r0_A"]) ** 2
    for i, j, k in itertools.permutations(range(n), 3):
        if i < k and {i, j} in bonds and {j, k} in bonds and [i, j, k] not in without:
            term = _look_up("angles", classes[i], classes[j], classes[k])
            u, v = x[i] - x[j], x[k] - x[j]
            theta = np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
            energy += term["k_kJ_mol_rad2"] / 2 * (theta - np.radians(term["theta0_deg"])) ** 2
    for j, k in itertools.combinations(range(n), 2):
        if {j, k} not in bonds:
            continue
        for i, end in itertools.product(range(n), repeat=2):
            if len({i, j, k, end}) == 4 and {i, j} in bonds and {k, end} in bonds:
                energy += _torsion_energy("torsions", (i, j, k, end), classes, x)
    return energy + sum(_torsion_energy("impropers", atoms, classes, x) for atoms in ion.get("impropers", []))


def _torsion_energy(kind, atoms, classes, x):
    v1, v2, v3, v4 = _look_up(kind, *(classes[m] for m in atoms))["V_kJ_mol"]
    phi = _dihedral(*(x[m] for m in atoms))
    energy = v1 / 2 * (1 + np.cos(phi)) + v2 / 2 * (1 - np.cos(2 * phi))
    return energy + v3 / 2 * (1 + np.cos(3 * phi)) + v4 / 2 * (1 - np.cos(4 * phi))


def pair_weights(names):
    """Weight of every pair of atoms, (n, n): 0 up to two bonds apart, 0.5 for three, 1 beyond and between ions."""
    blocks = []
    for name in names:
        n = len(_types(name))
        step = np.eye(n, dtype=int)
        for i, j in parameters()["ions"][name]["bonds"]:
            step[i, j] = step[j, i] = 1
        within = [np.linalg.matrix_power(step, power) > 0 for power in (2, 3)]
        blocks.append(np.where(within[0], 0.0, np.where(within[1], 0.5, 1.0)))
    sizes = np.cumsum([0, *(len(block) for block in blocks)])
    weights = np.ones((sizes[-1], sizes[-1]))
    for block, start, end in zip(blocks, sizes[:-1], sizes[1:], strict=True):
        weights[start:end, start:end] = block
    return weights


def atom_parameters(names):
    """Charges e, sigmas Å and epsilons kJ/mol of all atoms."""
    types = [entry for name in names for entry in _types(name)]
    return tuple(np.array([entry[key] for entry in types]) for key in ("charge_e", "sigma_A", "epsilon_kJ_mol"))


def pairs_in_vacuum(names, x):
    """Lennard-Jones and Coulomb energy without periodicity, kJ/mol."""
    charges, sigmas, epsilons = atom_parameters(names)
    i, j = np.triu_indices(len(x), 1)
    r, weight = np.linalg.norm(x[i] - x[j], axis=1), pair_weights(names)[i, j]
    ratio6 = (sigmas[i] * sigmas[j]) ** 3 / r**6
    lennard_jones = 4 * np.sqrt(epsilons[i] * epsilons[j]) * (ratio6**2 - ratio6)
    return float(np.sum(weight * (lennard_jones + COULOMB * charges[i] * charges[j] / r)))


def lennard_jones_in_box(names, x, side, cutoff, switch):
    """Switched Lennard-Jones energy of the nearest images, and what lies beyond in a uniform liquid, kJ/mol."""
    _, sigmas, epsilons = atom_parameters(names)
    weights = pair_weights(names)
    i, j = np.triu_indices(len(x), 1)
    r = np.linalg.norm(_nearest(x[i] - x[j], side), axis=1)

    def potential(i, j, r):
        ratio6 = (sigmas[i] * sigmas[j]) ** 3 / r**6
        return 4 * np.sqrt(epsilons[i] * epsilons[j]) * (ratio6**2 - ratio6)

    full, scaled = weights[i, j] == 1.0, weights[i, j] == 0.5
    inside = potential(i, j, r) * (1 - _switched_off(r, switch, cutoff))
    energy = np.sum(inside[full]) + 0.5 * np.sum(potential(i[scaled], j[scaled], r[scaled]))
    first, second = np.triu_indices(len(x))  # every pair of sites, an atom with its own images included
    s = np.linspace(0.0, 1.0, 20001)[1:]
    grid = switch / s  # from the switch to infinity
    tail = 0.0
    for u, v, count in _kinds(first, second, sigmas, epsilons):
        y = potential(u, v, grid) * _switched_off(grid, switch, cutoff) * grid**2 * switch / s**2
        tail += count * np.sum((y[1:] + y[:-1]) / 2 * np.diff(s))
    return energy + 2 * np.pi * len(x) ** 2 / side**3 * tail / len(first)


def coulomb_in_box(names, x, side):
    """Coulomb energy by Ewald's sum, without what ions have within themselves, kJ/mol."""
    charges, _, _ = atom_parameters(names)
    i, j = np.triu_indices(len(x), 1)
    r = np.linalg.norm(_nearest(x[i] - x[j], side), axis=1)
    within = np.sum((1 - pair_weights(names)[i, j]) * COULOMB * charges[i] * charges[j] / r)
    return float(ewald(charges, x, side) - within)


def ewald(charges, x, side, alpha=0.9, images=1, waves=14):
    """Coulomb energy of all charges by Ewald's sum over images and wave vectors, both far beyond need, kJ/mol."""
    energy = -COULOMB * alpha / np.sqrt(np.pi) * np.sum(charges**2)
    shifts = side * np.array(list(itertools.product(range(-images, images + 1), repeat=3)))
    between = _nearest(x[:, None] - x[None], side)
    for shift in shifts:
        r = np.linalg.norm(between + shift, axis=2)
        if not shift.any():
            np.fill_diagonal(r, np.inf)
        energy += COULOMB / 2 * np.sum(np.outer(charges, charges) * erfc(alpha * r) / r)
    k = 2 * np.pi / side * np.array([n for n in itertools.product(range(-waves, waves + 1), repeat=3) if any(n)])
    squares = np.sum(k**2, axis=1)
    structure = np.abs(np.exp(1j * (k @ x.T)) @ charges) ** 2
    return energy + COULOMB * 2 * np.pi / side**3 * np.sum(np.exp(-squares / (4 * alpha**2)) / squares * structure)


def _types(name):
    return [parameters()["types"][key] for key in parameters()["ions"][name]["atoms"]]


def _look_up(kind, *classes):
    for block in parameters()["bonded"]:
        for key, term in block.get(kind, {}).items():
            if tuple(key.split("-")) in (classes, classes[::-1]):
                return term
    raise KeyError(classes)


def _dihedral(a, b, c, d):
    u, v, w = b - a, c - b, d - c
    return np.arctan2(np.linalg.norm(v) * (u @ np.cross(v, w)), np.cross(u, v) @ np.cross(v, w))


def _nearest(vectors, side):
    return vectors - side * np.round(vectors / side)


def _switched_off(r, switch, cutoff):
    """0 up to the switch, 1 from the cutoff, and 6 t^5 - 15 t^4 + 10 t^3 between."""
    t = np.clip((r - switch) / (cutoff - switch), 0.0, 1.0)
    return 6 * t**5 - 15 * t**4 + 10 * t**3


def _kinds(first, second, sigmas, epsilons):
    """Pairs of sites by kind: one of each, and how many there are."""
    sites = np.stack([sigmas, epsilons], axis=1)
    _, kind = np.unique(sites, axis=0, return_inverse=True)
    kind = kind.ravel()
    low, high = np.minimum(kind[first], kind[second]), np.maximum(kind[first], kind[second])
    _, where, counts = np.unique(low * (kind.max() + 1) + high, return_index=True, return_counts=True)
    return zip(first[where], second[where], counts, strict=True)

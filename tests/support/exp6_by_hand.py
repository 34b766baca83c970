"""The exp-6 force field summed term by term in NumPy, straight from the formulas and the file: owes nothing to OpenMM.

Dipoles come from one dense system of linear equations, with every field tensor written out by itself.
"""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.special import erfc

COULOMB = units.Hartree * units.Bohr / (units.kJ / units.mol)


@dataclass
class Molecules:
    """Atoms and lone pairs of some ions: ``host[k]`` is the atom of site k, ``steps`` bonds between two atoms."""

    data: dict
    types: list
    charges: np.ndarray
    alphas: np.ndarray
    host: list
    frames: list
    steps: np.ndarray


def molecules(path, topology):
    with open(path, "rb") as file:
        data = tomllib.load(file)
    types, charges, host, frames, extra = [], [], [], [], []
    for m, name in enumerate(topology.species):
        ion, start = data["ions"][name], len(types)
        names = [topology.names[i] for i in topology.atoms_of(m)]
        types += ion["types"]
        charges += ion["charges_e"]
        for site in ion.get("lone_pairs", []):
            host.append(start + names.index(site["on"]))
            around = [start + names.index(other) for other in site["neighbours"]]
            frames.append((around, site["along_A"], site.get("across_A", 0.0)))
            extra.append(site["charge_e"])
    n = len(types)
    steps = np.full((n, n), 99)
    np.fill_diagonal(steps, 0)
    for i, j in topology.bonds:
        steps[i, j] = steps[j, i] = 1
    for k in range(n):  # Floyd and Warshall
        steps = np.minimum(steps, steps[:, k, None] + steps[None, k])
    alphas = [data["types"][key].get("polarizability_A3", 0.0) for key in types] + [0.0] * len(host)
    return Molecules(data, types, np.array(charges + extra), np.array(alphas), [*range(n), *host], frames, steps)


def places(m, x):
    """Atoms, then lone pairs, (n, 3) Å."""
    found = list(x)
    for host, (around, along, across) in zip(m.host[len(x) :], m.frames, strict=True):
        u = [(x[k] - x[host]) / np.linalg.norm(x[k] - x[host]) for k in around]
        away = -np.sum(u, axis=0)
        place = x[host] + along * away / np.linalg.norm(away)
        if across:
            normal = np.cross(u[0], u[1])
            place = place + across * normal / np.linalg.norm(normal)
        found.append(place)
    return np.array(found)


def weight(m, kind, i, j):
    step = m.steps[m.host[i], m.host[j]]
    if step == 0:
        return 0.0
    return m.data["near"][kind][step - 1] if step <= 3 else 1.0


def thole(m, i, j, r):
    if m.alphas[i] == 0 or m.alphas[j] == 0:
        return 1.0, 1.0
    v = m.data["polarization"]["thole_a"] * r**3 / np.sqrt(m.alphas[i] * m.alphas[j])
    return 1 - np.exp(-v), 1 - (1 + v) * np.exp(-v)


def charges_and_dipoles(m, sites):
    """Energy kJ/mol and dipoles e Å in a vacuum."""
    n, k = len(sites), len(m.charges)
    polar = [i for i in range(n) if m.alphas[i] > 0]
    damp = m.data["polarization"]["damped"] == "dipoles and charges"
    energy, field, matrix = 0.0, np.zeros((k, 3)), np.zeros((3 * k, 3 * k))
    for i, j in itertools.combinations(range(n), 2):
        d = sites[i] - sites[j]
        r = np.linalg.norm(d)
        energy += COULOMB * weight(m, "charge_charge", i, j) * m.charges[i] * m.charges[j] / r
        l3, l5 = thole(m, i, j, r)
        e = weight(m, "charge_dipole", i, j) * (l3 if damp else 1.0) * d / r**3
        field[i] += m.charges[j] * e
        field[j] -= m.charges[i] * e
        tensor = weight(m, "dipole_dipole", i, j) * (l5 * 3 * np.outer(d, d) / r**5 - l3 * np.eye(3) / r**3)
        matrix[3 * i : 3 * i + 3, 3 * j : 3 * j + 3] = tensor
        matrix[3 * j : 3 * j + 3, 3 * i : 3 * i + 3] = tensor
    rows = np.array([3 * i + a for i in polar for a in range(3)])
    equations = np.diag(np.repeat(1 / m.alphas[polar], 3)) - matrix[np.ix_(rows, rows)]
    mu = np.zeros((k, 3))
    mu[polar] = np.linalg.solve(equations, field[polar].ravel()).reshape(-1, 3)
    return energy - COULOMB / 2 * np.sum(mu * field), mu


def pair_terms(m, first, second):
    for key in (f"{first}-{second}", f"{second}-{first}"):
        if key in m.data.get("pairs", {}):
            term = m.data["pairs"][key]
            return term["A_kJ_mol"], term["B_per_A"], term["C_kJ_mol_A6"]
    t, u = m.data["types"][first], m.data["types"][second]
    b = (2 / (t["B_per_A"] ** -6 + u["B_per_A"] ** -6)) ** (1 / 6)
    a = np.sqrt(t["A_kJ_mol"] * u["A_kJ_mol"]) * b**6 / (t["B_per_A"] ** 3 * u["B_per_A"] ** 3)
    return a, b, np.sqrt(t["C_kJ_mol_A6"] * u["C_kJ_mol_A6"])


def exp6(m, first, second, r):
    a, b, c = pair_terms(m, first, second)
    return a * np.exp(-b * r) - c / r**6 + m.data["D_kJ_mol"] * (12 / (b * r)) ** 12


def exp6_in_vacuum(m, x):
    energy = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        share = weight(m, "exp6", i, j)
        energy += share * exp6(m, m.types[i], m.types[j], np.linalg.norm(x[i] - x[j]))
    return energy


def exp6_in_box(m, x, side, cutoff, switch):
    """Switched energy of the nearest images, and what lies beyond in a uniform liquid, kJ/mol."""
    energy = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        d = x[i] - x[j]
        r = np.linalg.norm(d - side * np.round(d / side))
        share = weight(m, "exp6", i, j)
        inside = 1 - off(r, switch, cutoff) if share == 1 else share  # terms with a weight are not cut off
        energy += inside * exp6(m, m.types[i], m.types[j], r)
    kinds, counts = np.unique(m.types, return_counts=True)
    s = np.linspace(0.0, 1.0, 20001)[1:]
    grid = switch / s
    tail, pairs = 0.0, 0
    for a, b in itertools.combinations_with_replacement(range(len(kinds)), 2):
        count = counts[a] * counts[b] if a != b else counts[a] * (counts[a] + 1) // 2
        y = exp6(m, kinds[a], kinds[b], grid) * off(grid, switch, cutoff) * grid**2 * switch / s**2
        tail += count * np.sum((y[1:] + y[:-1]) / 2 * np.diff(s))
        pairs += count
    return energy + 2 * np.pi * len(x) ** 2 / side**3 * tail / pairs


def off(r, switch, cutoff):
    """0 up to the switch, 1 from the cutoff."""
    t = np.clip((r - switch) / (cutoff - switch), 0.0, 1.0)
    return 6 * t**5 - 15 * t**4 + 10 * t**3


def in_box(m, sites, side, alpha=1.1, images=1, waves=16):
    """Energy kJ/mol and dipoles e Å of charges and dipoles in a periodic box: Ewald's sum, far beyond need.

    Every quantity is linear in charges and dipoles, so that one matrix of potentials and fields holds it all.
    """
    n = len(sites)
    qq, qd, dd = np.zeros((n, n)), np.zeros((n, n, 3)), np.zeros((n, n, 3, 3))
    d = sites[:, None] - sites[None]
    d -= side * np.round(d / side)
    for shift in side * np.array(list(itertools.product(range(-images, images + 1), repeat=3))):
        v = d + shift
        r = np.linalg.norm(v, axis=2)
        np.fill_diagonal(r, np.inf if not shift.any() else np.linalg.norm(shift))
        g = 2 * alpha / np.sqrt(np.pi) * np.exp(-((alpha * r) ** 2))
        e = erfc(alpha * r)
        b1 = e / r**3 + g / r**2
        b2 = 3 * e / r**5 + g * (3 / r**4 + 2 * alpha**2 / r**2)
        v = np.where(np.isfinite(r)[..., None], v, 0.0)
        qq += e / r
        qd += b1[..., None] * v
        dd += b2[..., None, None] * v[..., :, None] * v[..., None, :] - b1[..., None, None] * np.eye(3)
    k = 2 * np.pi / side * np.array([h for h in itertools.product(range(-waves, waves + 1), repeat=3) if any(h)])
    square = np.sum(k**2, axis=1)
    w = 4 * np.pi / side**3 * np.exp(-square / (4 * alpha**2)) / square
    phase = np.exp(1j * (sites @ k.T))
    qq += ((phase * w) @ phase.conj().T).real
    for a in range(3):
        qd[..., a] += ((phase * (w * k[:, a])) @ phase.conj().T).imag
        for b in range(3):
            dd[..., a, b] -= ((phase * (w * k[:, a] * k[:, b])) @ phase.conj().T).real
    each = np.arange(n)
    qq[each, each] -= 2 * alpha / np.sqrt(np.pi)
    dd[each, each] += 4 * alpha**3 / (3 * np.sqrt(np.pi)) * np.eye(3)
    damp = m.data["polarization"]["damped"] == "dipoles and charges"
    for i, j in itertools.permutations(range(n), 2):
        v = d[i, j]
        r = np.linalg.norm(v)
        l3, l5 = thole(m, i, j, r)
        qq[i, j] += (weight(m, "charge_charge", i, j) - 1) / r
        qd[i, j] += (weight(m, "charge_dipole", i, j) * (l3 if damp else 1.0) - 1) * v / r**3
        share = weight(m, "dipole_dipole", i, j)
        dd[i, j] += (share * l5 - 1) * 3 * np.outer(v, v) / r**5 - (share * l3 - 1) * np.eye(3) / r**3
    field = np.einsum("ija,j->ia", qd, m.charges)
    polar = np.flatnonzero(m.alphas)
    size = 3 * len(polar)
    tensor = dd[np.ix_(polar, polar)].transpose(0, 2, 1, 3).reshape(size, size)
    equations = np.diag(np.repeat(1 / m.alphas[polar], 3)) - tensor
    mu = np.zeros((n, 3))
    mu[polar] = np.linalg.solve(equations, field[polar].ravel()).reshape(-1, 3)
    energy = COULOMB / 2 * (m.charges @ qq @ m.charges - np.sum(mu * field))
    return float(energy), mu

"""Solvation clusters of Li and TFSI that are known by construction."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ilforge.liquid.ions import get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.properties import System

SIDE = 66.0
BOND_A = 2.0


def _oxygens() -> tuple[np.ndarray, list[int], list[int]]:
    tfsi = get_ion("TFSI")
    sulfurs = [k for k, symbol in enumerate(tfsi.symbols) if symbol == "S"]
    oxygens = [k for k, symbol in enumerate(tfsi.symbols) if symbol == "O"]
    return tfsi.positions - tfsi.positions.mean(axis=0), sulfurs, oxygens


def single_site(oxygen: int) -> np.ndarray:
    """Where a cation is 2 Å from one O of TFSI, in line with S-O, and far from the others, ``(3,)``."""
    positions, sulfurs, oxygens = _oxygens()
    o = positions[oxygens[oxygen]]
    s = min((positions[k] for k in sulfurs), key=lambda s: np.linalg.norm(s - o))
    return o + BOND_A * (o - s) / np.linalg.norm(o - s)


def double_site() -> np.ndarray:
    """Where a cation is 2 Å from two O of different S, on the side away from the other atoms, ``(3,)``."""
    positions, _, oxygens = _oxygens()
    pairs = [(a, b) for a in oxygens[:2] for b in oxygens[2:]]
    a, b = min(pairs, key=lambda pair: np.linalg.norm(positions[pair[0]] - positions[pair[1]]))
    middle, along = 0.5 * (positions[a] + positions[b]), positions[b] - positions[a]
    height = np.sqrt(BOND_A**2 - 0.25 * along @ along)
    u = np.cross(along, [0.3, 0.5, 0.8])
    u, v = u / np.linalg.norm(u), np.cross(along, u) / np.linalg.norm(along) / np.linalg.norm(u)
    around = [middle + height * (np.cos(t) * u + np.sin(t) * v) for t in np.linspace(0, 2 * np.pi, 90)]
    others = np.delete(positions, [a, b], axis=0)
    return max(around, key=lambda point: np.linalg.norm(others - point, axis=1).min())


def _cluster(centre, single: int, double: int, shape, rng) -> tuple[list[np.ndarray], np.ndarray]:
    """Ligands turned at random about a cation, and where a second cation would share the first of them."""
    ligands = []
    for k in range(single + double):
        turn = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
        site = single_site(0) if k < single else double_site()
        ligands.append(centre + (shape - site) @ turn.T)
        if k == 0:
            bridge = centre + (single_site(3) - site) @ turn.T
    return ligands, bridge


def box_of(kinds: list[tuple[int, int]], n_frames: int, rng, bridged: int = 0, free: int = 3):
    """A liquid with a cluster of (monodentate, bidentate) ligands for each entry of ``kinds``, tumbling in place.

    ``bridged`` more cations sit on a second O of the first ligand of the first clusters, one each. Returns the system,
    positions ``(n_frames, n_atoms, 3)`` wrapped into a skewed cell, and the cell.
    """
    n_ligands = sum(a + b for a, b in kinds) + free
    n_li = len(kinds) + bridged
    liquid = Liquid.of({"Li": n_li, "PYR14": n_ligands - n_li, "TFSI": n_ligands})
    topology = liquid.topology
    cell = np.array([[SIDE, 0, 0], [0.2 * SIDE, SIDE, 0], [-0.1 * SIDE, 0.3 * SIDE, SIDE]])
    shape, _, _ = _oxygens()
    spots = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) / 3.0
    assert len(kinds) + 1 <= len(spots)
    away = spots[-1] @ cell
    frames = []
    for _ in range(n_frames):
        lithium, extra, ligands = [], [], []
        for spot, (single, double) in zip(spots, kinds, strict=False):
            centre = spot @ cell + rng.normal(size=3)
            lithium.append(centre)
            while True:
                mine, bridge = _cluster(centre, single, double, shape, rng)
                if len(extra) == bridged:
                    break
                if np.linalg.norm(np.concatenate(mine[1:]) - bridge, axis=1).min() > 4.0:
                    extra.append(bridge)
                    break
            ligands += mine
        ligands += [away + shape + 0.1 * rng.normal(size=3)] * free
        cation = get_ion("PYR14").positions
        others = [away + cation] * (n_ligands - n_li)
        atoms = np.concatenate([np.array([*lithium, *extra]), *others, *ligands])
        atoms = atoms + 0.02 * rng.normal(size=atoms.shape)
        fractional = (atoms + rng.uniform(0, SIDE, 3)) @ np.linalg.inv(cell)
        frames.append((fractional - np.floor(fractional)) @ cell)
    system = System(topology, n_frames, 1.0, temperature_K=423.0)
    return system, np.array(frames), cell

"""Ions in a vacuum: the structure of one ion, or of a few ions in contact, without a box."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.arrays import Floats
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import atomic_radii
from ilforge.liquid.structures import conformers

_STEP = 0.1  # Å, step of an ion that approaches the others
_TOUCH = 2.0  # Å, smallest distance between two ions, as in a packed box


def in_vacuum(ions: Liquid, seed: int) -> Atoms:
    """Place ions without periodicity: the first at the origin, each further one in contact with those before.

    Every ion has a random conformer and orientation. It approaches from a random direction and stops when an atom
    would be closer to another ion than the sum of their :func:`~ilforge.liquid.packing.atomic_radii`, 2 Å for most.
    Positions have 1e-6 Å resolution; the same arguments give the same structure.

    Parameters
    ----------
    ions
        ``Liquid.of({"PYR14": 1}, vacuum=True)``: they may have a net charge.
    """
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    placed, radii = np.empty((0, 3)), atomic_radii(ions.topology.symbols, _TOUCH)
    for ion, count in ions.ions:
        shapes = conformers(ion, count, int(rng.integers(2**31 - 1)))
        for copy in range(count):
            shape = shapes[copy % len(shapes)] @ Rotation.random(random_state=rng).as_matrix().T
            placed = np.concatenate([placed, shape + _approach(placed, shape, radii, rng)])
    atoms = Atoms(ions.topology.symbols, placed - placed.mean(axis=0), info={"ions": ions.label})
    return frames.quantize(atoms)


def _approach(placed: Floats, shape: Floats, radii: Floats, rng: np.random.Generator) -> Floats:
    """Position at which an ion that approaches the centre of the earlier ions touches them, ``(3,)`` Å."""
    from scipy.spatial.distance import cdist

    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    if not len(placed):
        return np.zeros(3)
    centre, n = placed.mean(axis=0), len(placed)
    least = radii[:n, None] + radii[None, n : n + len(shape)]
    extent = np.linalg.norm(placed - centre, axis=1).max() + np.linalg.norm(shape, axis=1).max()
    distance = float(extent + least.max())
    while np.all(cdist(placed, shape + centre + (distance - _STEP) * direction) >= least):
        distance -= _STEP
    found: Floats = centre + distance * direction
    return found

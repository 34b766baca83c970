"""Boxes large enough for a cutoff of 10 Å, packed and relaxed a little."""

from __future__ import annotations

import functools

import numpy as np
from ase import Atoms

from ilforge.dynamics import MdProtocol, minimise
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.classical.clp import Clp

LIQUIDS = {
    "PYR14BF4": ({"PYR14": 25, "BF4": 25}, 1.03),
    "PYR14TFSI": ({"PYR14": 18, "TFSI": 18}, 1.28),
    "Li2PYR14_18TFSI20": ({"Li": 2, "PYR14": 18, "TFSI": 20}, 1.30),
}


@functools.cache
def large_box(name: str) -> tuple[Liquid, Atoms]:
    """A liquid and a box of it, 20.5 to 21.5 Å wide; every atom a little off its minimum, so that no term is zero."""
    counts, density = LIQUIDS[name]
    liquid = Liquid.of(counts)
    box = pack(liquid, density, seed=1)
    protocol = MdProtocol("NVT", 423.0, 0.5, 0.1, 0.1, seed=1)
    box.positions = minimise(Job(Clp(10.0), box, liquid.topology, protocol), 15).positions
    box.positions += np.random.default_rng(1).normal(scale=0.03, size=box.positions.shape)
    box.info["ions"] = liquid.label
    return liquid, box

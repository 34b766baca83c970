"""A frame with its provenance."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.liquid.liquid import Liquid


def make_frame(
    positions: np.ndarray,
    cell: np.ndarray,
    box: Atoms,
    liquid: Liquid,
    kind: Literal["EQ", "nEQ"],
    recipe: str,
    seed: int,
    **more: Any,
) -> Atoms:
    """A frame of ``liquid`` that was made from ``box``, rounded to the resolution of stored frames.

    The frame has the same ``parent`` as the box; for a box without one, it is the digest of the box.
    """
    info = {
        "ions": liquid.label,
        "kind": kind,
        "recipe": recipe,
        "seed": seed,
        "parent": box.info.get("parent") or frames.digest(box)[:12],
        **more,
    }
    atoms = Atoms(liquid.topology.symbols, positions=positions, cell=cell, pbc=box.pbc.any(), info=info)
    return frames.quantize(atoms)

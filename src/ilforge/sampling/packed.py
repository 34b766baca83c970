"""nEQ frames directly from packing, with only the worst contacts removed."""

from __future__ import annotations

from ase import Atoms

from ilforge import dynamics
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.frame import make_frame
from ilforge.sampling.kind import Drawing, SamplerKind
from ilforge.settings import Count, Settings


def relax_packed(box: Atoms, liquid: Liquid, potential: Potential, steps: int, threads: int = 1) -> Atoms:
    """The packed box after a few steps of minimisation, which remove the closest contacts.

    Returns
    -------
    frame
        Frame of kind ``nEQ``, recipe ``packed``; its seed is that of the box.
    """
    rest = MdProtocol("NVT", 1.0, 1.0, 1.0, 1.0, seed=0, constrain_hydrogens=False)  # nothing moves
    state = dynamics.minimise(Job(potential, box, liquid.topology, rest, threads), steps)
    seed = int(box.info.get("seed", 0))
    return make_frame(state.positions, state.cell, box, liquid, "nEQ", "packed", seed)


class PackedCounts(Settings):
    """Number of packed frames."""

    packed: Count
    """nEQ structures directly from PACKMOL, after `packed_steps` steps of minimisation."""


class PackedSettings(Settings):
    """How packed structures are relaxed."""

    packed_steps: Count = 20
    """Minimisation steps that remove the worst contacts from a packed nEQ structure."""


def _draw(drawing: Drawing) -> list[Atoms]:
    return [relax_packed(drawing.packed, drawing.liquid, drawing.potential, drawing.keys["packed_steps"])]


KIND = SamplerKind("packed", "packed", "nEQ", PackedCounts, _draw, PackedSettings)

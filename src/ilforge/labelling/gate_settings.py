"""What the gate asks of labels: the part ``[gate]`` of the study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ilforge.settings import Positive, Settings


class GateSettings(Settings):
    """What a label must satisfy to be trained on. Rejected labels are kept with the reason."""

    max_net_force_eV_A: Positive = 0.05
    """Largest component of the sum of forces, eV/Å, of frames of up to 70 atoms. Of larger ones it grows with the
    square root of their number, where the method has a grid of points or plane waves."""
    max_force_eV_A: Positive = 30.0
    """Largest force on any atom, eV/Å."""
    max_energy_jump_eV_atom: Positive = 0.1
    """Largest distance of an energy from the median of the frames of its recipe, eV per atom, where that is more than
    ten standard deviations: beyond it the method ended in a false state."""
    bond_factor: Annotated[float, Field(ge=1.0, le=1.6)] = 1.25
    """Two atoms count as bonded below this factor times the sum of their covalent radii."""

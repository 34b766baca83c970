"""Conditions on labels: the part ``[gate]`` of the study file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ilforge.settings import Positive, Settings


class GateSettings(Settings):
    """Conditions that a label must meet to be used for training. Rejected labels are kept with the reason."""

    max_net_force_eV_A: Positive = 0.05
    """Largest component of the sum of forces, eV/Å, for frames of up to 70 atoms. If the method has a real-space grid
    or plane waves, the limit of larger frames grows with the square root of the number of atoms."""
    max_force_eV_A: Positive = 30.0
    """Largest force on any atom, eV/Å."""
    max_energy_jump_eV_atom: Positive = 0.1
    """Largest difference between an energy and the median of the frames of its recipe, eV per atom. A label is
    rejected if its difference is larger and also more than ten standard deviations: self-consistency then ended in a
    wrong state."""
    bond_factor: Annotated[float, Field(ge=1.0, le=1.6)] = 1.25
    """Two atoms count as bonded below this factor times the sum of their covalent radii."""

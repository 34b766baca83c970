"""Compare a network with its model on some frames before the network is used. Loads PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.potentials.learned.fast_mace.evaluation import FastEvaluator
from ilforge.potentials.learned.fast_mace.network import Network, NoFastForm
from ilforge.potentials.learned.mace.calculator import MaceCalculator

FORCE, ENERGY, STRAIN = 2e-5, 1e-6, 1e-5
"""Largest differences allowed: of a force component, eV/Å; of an energy and of a strain derivative by atom, eV."""

_RESPONSE = 1e-6  # share of the largest force: the resolution of single precision


def require(network: Network, model: Any, tested: Sequence[Atoms]) -> dict[str, Any]:
    """Compare a network with its model in double precision.

    Parameters
    ----------
    model
        As mace-torch loads it; it is used up.
    tested
        Frames with elements that the model knows.

    Returns
    -------
    dict
        Largest differences, number of frames, and elements that were in them.

    Raises
    ------
    NoFastForm
        When they differ by more than is allowed; names the quantity and the numbers.
    """
    calculator = MaceCalculator(model, "float64")
    worst = {"force_eV_A": 0.0, "energy_eV_atom": 0.0, "strain_eV_atom": 0.0}
    allowed = {"force_eV_A": FORCE, "energy_eV_atom": ENERGY, "strain_eV_atom": STRAIN}
    for frame in tested:
        found, largest = _differences(network, calculator, frame)
        for quantity, value in found.items():
            limit = max(allowed[quantity], _RESPONSE * largest)
            if not value <= limit:
                raise NoFastForm(
                    f"compiled kernels differ from mace-torch by {value:.1e} in {quantity}; {limit:.0e} is allowed"
                )
            worst[quantity] = max(worst[quantity], value)
    elements = sorted({int(z) for frame in tested for z in frame.numbers})
    return {**worst, "frames": len(tested), "elements": elements}


def _differences(network: Network, calculator: MaceCalculator, frame: Atoms) -> tuple[dict[str, float], float]:
    """Differences of one frame, and its largest force, eV/Å."""
    cell = frame.cell.array if frame.pbc.all() else None
    evaluator = FastEvaluator([network], frame.get_chemical_symbols())
    energies, forces, strain = evaluator.compute(frame.positions, cell)
    atoms = frame.copy()
    atoms.calc = calculator
    n, true = len(atoms), atoms.get_forces()
    found = {
        "force_eV_A": float(np.abs(forces[0] - true).max()),
        "energy_eV_atom": abs(float(energies.sum()) - atoms.get_potential_energy()) / n,
    }
    if cell is not None:
        expected = atoms.get_stress(voigt=False) * atoms.get_volume()
        found["strain_eV_atom"] = float(np.abs(strain[0] - expected).max()) / n
    return found, float(np.abs(true).max())

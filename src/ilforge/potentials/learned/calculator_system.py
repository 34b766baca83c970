"""Any ASE calculator as an OpenMM system, so that OpenMM's integrators and barostats move the atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL


def system_of(calculator: Calculator, topology: Topology, cell: np.ndarray | None, constrain_hydrogens: bool) -> Any:
    """An ``openmm.System`` whose only energy is the calculator's.

    Bonds without force constants tell OpenMM which atoms form a molecule. Without them its Monte Carlo barostat would
    scale every atom separately and stretch all bonds.

    Parameters
    ----------
    cell
        ``(3, 3)`` in Å, in the reduced form that OpenMM requires; None without periodicity.
    """
    programs.require("openmm")
    import openmm

    if constrain_hydrogens:
        raise SettingsError("constrain_hydrogens: only a force field has lengths for constrained bonds to H.")
    system = openmm.System()
    for mass in topology.masses:
        system.addParticle(mass)
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(np.asarray(cell) / ANGSTROM_PER_NM))
    molecules = openmm.HarmonicBondForce()
    molecules.setUsesPeriodicBoundaryConditions(cell is not None)
    for i, j in topology.bonds.tolist():
        molecules.addBond(i, j, 0.1, 0.0)
    system.addForce(molecules)
    force = openmm.PythonForce(_Evaluate(calculator, topology.symbols, periodic=cell is not None))
    force.setUsesPeriodicBoundaryConditions(cell is not None)
    system.addForce(force)
    return system


class _Evaluate:
    """Energy in kJ/mol and forces in kJ/mol/nm of the current state in OpenMM."""

    def __init__(self, calculator: Calculator, symbols: tuple[str, ...], periodic: bool):
        self._atoms = Atoms(list(symbols), np.zeros((len(symbols), 3)), pbc=periodic, calculator=calculator)

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        from openmm import unit

        self._atoms.positions = (
            np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)) * ANGSTROM_PER_NM
        )
        if self._atoms.pbc.any():
            box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
            self._atoms.cell[:] = np.asarray(box) * ANGSTROM_PER_NM
        energy = self._atoms.get_potential_energy() / KJ_PER_MOL
        return energy, self._atoms.get_forces() * (ANGSTROM_PER_NM / KJ_PER_MOL)

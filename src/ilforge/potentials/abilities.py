"""Abilities of some potentials in addition to an ASE calculator: small protocols for engines and exports.

A potential has an ability by having its methods: ``isinstance(potential, RunsInOpenMM)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from ase import Atoms

from ilforge.liquid.topology import Topology

if TYPE_CHECKING:
    from ilforge.potentials.classical.lammps_molecules import LammpsInput
    from ilforge.potentials.force_evaluator import ForceEvaluator


@runtime_checkable
class RefusesBoxes(Protocol):
    """Can determine, without any program, which boxes are too small for it."""

    def refuse_box(self, cell: np.ndarray) -> None:
        """Raise SettingsError if a box, ``(3, 3)`` Å, is too small."""
        ...


@runtime_checkable
class GivesAtoms(Protocol):
    """Gives energies of isolated atoms."""

    def atom_energy(self, element: str) -> float:
        """Energy of one neutral atom in its ground state, spin-polarised, eV."""
        ...


@runtime_checkable
class RefusesElements(Protocol):
    """Knows without any program and without loading a model which elements it has no answer for."""

    def refuse_elements(self, symbols: Sequence[str]) -> None:
        """Raise SettingsError where one of these elements is not known."""
        ...


@runtime_checkable
class EvaluatesForces(Protocol):
    """Can run in the builtin engine: gives energy, forces and strain derivative at each step.

    This avoids the overhead of an ASE calculator.
    """

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """See :mod:`ilforge.potentials.force_evaluator`."""
        ...


@runtime_checkable
class RunsInOpenMM(Protocol):
    """Can be written as an OpenMM system."""

    def openmm_system(
        self, topology: Topology, cell: np.ndarray | None, constrain_hydrogens: bool = False, threads: int = 1
    ) -> Any:
        """An ``openmm.System``; extra particles come after the atoms.

        Parameters
        ----------
        cell
            ``(3, 3)`` Å, the first vector along x and the second in the xy plane, or None for ions in a vacuum. In NPT
            runs, no side may become shorter than twice the cutoff.
        constrain_hydrogens
            Whether bonds to H are constrained; SettingsError if this is not possible.
        threads
            Number of threads; it matters only if the potential itself computes forces.
        """
        ...


@runtime_checkable
class FitsOpenMM(Protocol):
    """Has an OpenMM system that is suitable only for some boxes; without this ability, it is suitable for all."""

    def fits_openmm(self, cell: np.ndarray) -> bool:
        """Whether it is suitable for a box of this size."""
        ...


@runtime_checkable
class HasExtraParticles(Protocol):
    """Has extra particles in its OpenMM system, such as Drude particles."""

    def openmm_hosts(self, topology: Topology) -> np.ndarray:
        """The atom to which each extra particle belongs, ``(m,)``."""
        ...

    def openmm_settle(self, context: Any, hosts: np.ndarray) -> None:
        """Move the extra particles to their equilibrium positions, for fixed atoms."""
        ...


@runtime_checkable
class HasIntegrator(Protocol):
    """Has its own integrator for its OpenMM system."""

    openmm_thermostat: str
    """The thermostat of the integrator, in words."""

    def openmm_integrator(self, system: Any, temperature_K: float | None, timestep_fs: float, seed: int) -> Any:
        """An ``openmm.Integrator``; None as temperature for constant energy.

        The time step may be a whole multiple of its step.
        """
        ...


@runtime_checkable
class RunsInLammps(Protocol):
    """Can be written as a pair style of LAMMPS."""

    def lammps_pair(self, elements: Sequence[str]) -> list[str]:
        """``pair_style`` and ``pair_coeff``, for atom types in the order of ``elements`` and ``units metal``."""
        ...


@runtime_checkable
class Overflows(Protocol):
    """Has a limited number of neighbours, and silently ignores further ones."""

    def overflow(self, frame: Atoms) -> str | None:
        """The neighbours in a frame that would be ignored, in a sentence; None if there are none."""
        ...


@runtime_checkable
class RunsInGromacs(Protocol):
    """Can be written as a GROMACS topology."""

    def gromacs_topology(self, topology: Topology) -> str:
        """The ``.top`` file."""
        ...

    def gromacs_options(self, cell: np.ndarray | None, all_pairs_within_A: float | None = None) -> dict[str, str]:
        """Options of the ``.mdp`` file for non-bonded interactions.

        They are for a box or, in a vacuum, for full interactions up to a distance that no two atoms exceed.
        """
        ...


@runtime_checkable
class ExportsToLammps(Protocol):
    """Can be exported to LAMMPS with bonds, in ``units real``."""

    def lammps_input(self, topology: Topology, positions: np.ndarray, cell: np.ndarray, hold: bool) -> LammpsInput:
        """The data file and the commands; if ``hold`` is true, bonds to H are constrained."""
        ...

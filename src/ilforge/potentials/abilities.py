"""What some potentials can do besides giving an ASE calculator: small protocols that engines and exports ask for.

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
    """Knows without any program which boxes are too small for it."""

    def refuse_box(self, cell: np.ndarray) -> None:
        """Raise SettingsError where a box, ``(3, 3)`` Å, is too small."""
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
    """Runs in the engine of the package: energy, forces and strain derivative of positions, step after step.

    What any calculator costs around its numbers is saved.
    """

    def force_evaluator(self, topology: Topology, threads: int = 1) -> ForceEvaluator:
        """See :mod:`ilforge.potentials.force_evaluator`."""
        ...


@runtime_checkable
class RunsInOpenMM(Protocol):
    """Can say itself as an OpenMM system."""

    def openmm_system(
        self, topology: Topology, cell: np.ndarray | None, constrain_hydrogens: bool = False, threads: int = 1
    ) -> Any:
        """An ``openmm.System``; particles beside the atoms come after them.

        Parameters
        ----------
        cell
            ``(3, 3)`` Å, the first vector along x and the second in the xy plane, or None for ions in a vacuum. In NPT
            runs no side may ever shrink below twice the cutoff.
        constrain_hydrogens
            Fix the length of bonds to H instead of letting them vibrate; SettingsError where that cannot be.
        threads
            Counts only where the potential itself computes.
        """
        ...


@runtime_checkable
class FitsOpenMM(Protocol):
    """Has an OpenMM system that is right for some boxes only; without this it is for any."""

    def fits_openmm(self, cell: np.ndarray) -> bool:
        """Whether it is right for a box of this size."""
        ...


@runtime_checkable
class HasExtraParticles(Protocol):
    """Has particles beside the atoms in its OpenMM system, such as Drude particles."""

    def openmm_hosts(self, topology: Topology) -> np.ndarray:
        """The atom that each of them rides on, ``(m,)``."""
        ...

    def openmm_settle(self, context: Any, hosts: np.ndarray) -> None:
        """Move them to where they belong, for atoms at rest."""
        ...


@runtime_checkable
class HasIntegrator(Protocol):
    """Moves its OpenMM system by an integrator of its own."""

    openmm_thermostat: str
    """What it does, in words."""

    def openmm_integrator(self, system: Any, temperature_K: float | None, timestep_fs: float, seed: int) -> Any:
        """An ``openmm.Integrator``; None as temperature for constant energy.

        Its step may be a whole fraction of the time step.
        """
        ...


@runtime_checkable
class RunsInLammps(Protocol):
    """Can say itself as a pair style of LAMMPS."""

    def lammps_pair(self, elements: Sequence[str]) -> list[str]:
        """``pair_style`` and ``pair_coeff``, for atom types in the order of ``elements`` and ``units metal``."""
        ...


@runtime_checkable
class Overflows(Protocol):
    """Has limited room, and would silently leave out what does not fit."""

    def overflow(self, frame: Atoms) -> str | None:
        """What of a frame it would leave out, in a sentence; None where it has room for all of it."""
        ...


@runtime_checkable
class RunsInGromacs(Protocol):
    """Can say itself as a topology of GROMACS."""

    def gromacs_topology(self, topology: Topology) -> str:
        """The ``.top`` file."""
        ...

    def gromacs_options(self, cell: np.ndarray | None, all_pairs_within_A: float | None = None) -> dict[str, str]:
        """Options of the ``.mdp`` file that say how pairs interact.

        In a box, or in a vacuum in full up to a distance that no two atoms exceed.
        """
        ...


@runtime_checkable
class ExportsToLammps(Protocol):
    """Can be written out for LAMMPS with bonds, in ``units real``."""

    def lammps_input(self, topology: Topology, positions: np.ndarray, cell: np.ndarray, hold: bool) -> LammpsInput:
        """The data file, and the commands around it; ``hold`` fixes the length of bonds to H."""
        ...

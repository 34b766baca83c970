"""What a potential is: anything that gives the energy and forces of a frame."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ase.calculators.calculator import Calculator

from ilforge.liquid.topology import Topology


@runtime_checkable
class Potential(Protocol):
    """Anything that gives energies and forces: a DFT method, a force field, a trained model.

    A potential labels frames, is validated against labels, and runs MD, always through the same seat: an ASE
    calculator. An engine that can do better with some potentials asks for one of the optional methods:

    ``force_evaluator(topology, threads=1) -> ForceEvaluator``
        For the engine of the package itself: energy, forces and strain derivative of positions, step after step; see
        :mod:`ilforge.potentials.force_evaluator`. What any calculator costs around its numbers is saved.
    ``openmm_system(topology, cell, constrain_hydrogens, threads) -> openmm.System``
        For OpenMM. ``cell`` is ``(3, 3)`` in Å, the first vector along x and the second in the xy plane, or None for
        ions in a vacuum; in NPT runs no side may ever shrink below twice the cutoff. ``constrain_hydrogens`` fixes the
        length of bonds to H instead of letting them vibrate, or raises SettingsError where that cannot be. ``threads``
        counts only where the potential itself computes. Particles beside the atoms come after them in the system, and
        need the three below.
    ``openmm_hosts(topology) -> (m,) int array``
        The atom that each of these particles rides on.
    ``openmm_settle(context, hosts) -> None``
        Moves them to where they belong, for atoms at rest.
    ``openmm_integrator(system, temperature_K, timestep_fs, seed) -> openmm.Integrator``
        What moves all of ``openmm_system``; None as temperature for constant energy. Its step may be a whole fraction
        of the time step. The attribute ``openmm_thermostat`` says in words what it does.
    ``fits_openmm(cell) -> bool``
        Whether ``openmm_system`` is right for a box of this size; without it, for any.
    ``lammps_pair(elements) -> list[str]``
        For LAMMPS: the ``pair_style`` and ``pair_coeff`` lines, for atom types in the order of ``elements``
        and ``units metal``.
    ``overflow(frame) -> str | None``
        What of a frame it would silently leave out, in a sentence; None where it has room for all of it.
    ``gromacs_topology(topology) -> str`` and ``gromacs_options(cell, all_pairs_within_A=None) -> dict[str, str]``
        For GROMACS: the ``.top`` file, and the options of the ``.mdp`` file that say how pairs interact: in a box, or
        in a vacuum in full up to a distance that no two atoms exceed.
    ``lammps_input(topology, positions, cell, hold) -> LammpsInput``
        For export to LAMMPS with bonds, in ``units real``: the data file, and the commands around it; ``hold`` fixes
        the length of bonds to H.

    Attributes
    ----------
    kind
        Its key in :data:`ilforge.potentials.POTENTIALS`.
    has_stress
        Whether its calculator gives a stress that can be trusted.
    """

    kind: str
    has_stress: bool

    def describe(self) -> dict[str, Any]:
        """Everything that determines its numbers, as JSON can hold it. Labels are keyed by its digest.

        A potential that depends on a program has ``settings()`` too: the same without versions of programs and data.
        """
        ...

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for boxes of this topology: eV, eV/Å, eV/Å^3.

        Raises
        ------
        SettingsError
            When it does not know the ions of the topology.
        """
        ...

    def seconds_per_frame(self, n_atoms: int) -> float:
        """Measured or estimated time of one energy and forces on one core, s: for planning only."""
        ...

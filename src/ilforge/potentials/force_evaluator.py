"""Energy and forces for every step of MD, without the overhead of ASE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import voigt_6_to_full_3x3_stress

from ilforge.liquid.topology import Topology
from ilforge.potentials.abilities import EvaluatesForces
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.potential import Potential


@dataclass(frozen=True)
class Evaluation:
    """The results of a potential for one set of positions.

    Attributes
    ----------
    energy
        eV.
    forces
        ``(n_atoms, 3)`` eV/Å, a new array for each evaluation.
    strain_derivative
        dE/d(strain), ``(3, 3)`` eV: the stress times the volume. None in a vacuum, or if the potential has no stress.
    force_deviation
        Largest disagreement of a committee about the force on an atom, eV/Å.
    """

    energy: float
    forces: np.ndarray
    strain_derivative: np.ndarray | None
    force_deviation: float | None = None


class ForceEvaluator(Protocol):
    """Energies and forces of one topology for successive positions.

    It keeps its own neighbour list, and updates it when positions and cell have changed.
    """

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        """Energy and forces.

        Parameters
        ----------
        positions
            ``(n_atoms, 3)`` Å, not wrapped into the cell; not changed.
        cell
            ``(3, 3)`` Å; None in a vacuum.

        Raises
        ------
        DidNotConverge
            When there is no result for these positions; MD then ends and keeps the frame.
        """
        ...


def force_deviation(forces: np.ndarray) -> float:
    """Largest disagreement about the force on an atom.

    .. math:: \\epsilon = \\max_i \\sqrt{\\langle |F_i^k - \\langle F_i \\rangle|^2 \\rangle_k}

    with means over the members k: Zhang et al., Phys. Rev. Mater. 3 (2019) 023804, as in DP-GEN.

    Parameters
    ----------
    forces
        ``(n_members, n_atoms, 3)``, eV/Å.
    """
    spread = forces - forces.mean(axis=0)
    return float(np.sqrt((spread**2).sum(axis=2).mean(axis=0)).max())


class CalculatorEvaluator:
    """Any ASE calculator as a :class:`ForceEvaluator`.

    Parameters
    ----------
    symbols
        Element of each atom.
    """

    def __init__(self, calculator: Calculator, symbols: Sequence[str]):
        self._atoms = Atoms(list(symbols), np.zeros((len(symbols), 3)))
        self._atoms.calc = calculator
        self._has_stress = "stress" in calculator.implemented_properties

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        atoms = self._atoms
        atoms.positions = positions
        atoms.pbc = cell is not None
        strain_derivative = None
        if cell is not None:
            atoms.cell[:] = cell
            if self._has_stress:  # requested first, because calculators then also compute energy and forces
                strain_derivative = voigt_6_to_full_3x3_stress(atoms.get_stress()) * atoms.get_volume()
        return Evaluation(
            energy=float(atoms.get_potential_energy()),
            forces=np.array(atoms.get_forces(), dtype=float),
            strain_derivative=strain_derivative,
            force_deviation=atoms.calc.results.get("force_deviation"),
        )


class CommitteeEvaluator:
    """Forces of the first member of a committee, and the deviation of all members on request.

    MD with one member takes the time of one model; the others are evaluated only at recorded frames, as in LAMMPS and
    DP-GEN.

    Parameters
    ----------
    first
        The member that moves the atoms.
    every
        Evaluator of all members, which gives ``force_deviation``.
    """

    def __init__(self, first: ForceEvaluator, every: ForceEvaluator):
        self._first, self._every = first, every

    def evaluate(self, positions: np.ndarray, cell: np.ndarray | None) -> Evaluation:
        """The evaluation by the first member; see :class:`ForceEvaluator`."""
        return self._first.evaluate(positions, cell)

    def force_deviation(self, positions: np.ndarray, cell: np.ndarray | None) -> float | None:
        """Largest disagreement of the members about the force on an atom, eV/Å: see :func:`force_deviation`."""
        return self._every.evaluate(positions, cell).force_deviation


class EvaluatorCalculator(TypedCalculator):
    """An evaluator as an ASE calculator of energy and forces, for ASE's optimisers."""

    implemented_properties = ["energy", "free_energy", "forces"]  # ASE declares it as a class attribute

    def __init__(self, evaluator: ForceEvaluator):
        super().__init__()
        self._evaluator = evaluator

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        cell = self.atoms.cell.array if self.atoms.pbc.any() else None
        found = self._evaluator.evaluate(self.atoms.positions, cell)
        self.results.update(energy=found.energy, free_energy=found.energy, forces=found.forces)


def has_force_evaluator(potential: Potential) -> TypeGuard[EvaluatesForces]:
    """Whether a potential, or every member of a committee, has its own :class:`ForceEvaluator`."""
    parts = (potential, *getattr(potential, "members", ()))
    return all(isinstance(part, EvaluatesForces) for part in parts)


def evaluator_of(potential: Potential, topology: Topology, threads: int = 1) -> ForceEvaluator:
    """The potential's own evaluator, or one made from its calculator."""
    if has_force_evaluator(potential):
        return potential.force_evaluator(topology, threads)
    return CalculatorEvaluator(potential.calculator(topology, threads), topology.symbols)

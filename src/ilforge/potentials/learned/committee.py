"""A committee: several potentials that should agree, and a measure of their disagreement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.abilities import EvaluatesForces
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.force_evaluator import (
    CalculatorEvaluator,
    CommitteeEvaluator,
    ForceEvaluator,
    force_deviation,
)
from ilforge.potentials.kind import PotentialKind
from ilforge.potentials.learned import model_file
from ilforge.potentials.potential import Potential
from ilforge.units import EV_PER_A3_IN_GPA

DEVIATION_FILE = "model_devi.out"
"""File with deviations from LAMMPS: step; largest, smallest and mean deviation of virials; the same for forces."""


@dataclass(frozen=True)
class Answers:
    """What the members of a committee say of one frame.

    Attributes
    ----------
    forces
        ``(n_members, n_atoms, 3)`` eV/Å.
    pressures
        ``(n_members,)`` GPa without the kinetic part, which is the same for all; empty if they were not wanted.
    """

    forces: np.ndarray
    pressures: np.ndarray


@dataclass(frozen=True)
class Committee:
    """Potentials whose mean is used; in MD only the first one moves the atoms.

    Parameters
    ----------
    members
        Two or more.
    """

    members: tuple[Potential, ...]

    kind: ClassVar[str] = "committee"

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        if len(self.members) < 2:
            raise SettingsError(f"A committee needs two members or more; it has {len(self.members)}.")

    def __getstate__(self) -> dict[str, Any]:
        return {"members": self.members}  # without calculators, which cannot be sent to another process

    @property
    def has_stress(self) -> bool:
        return all(member.has_stress for member in self.members)

    def describe(self) -> dict[str, Any]:
        """Its members, in order."""
        return {"kind": self.kind, "members": [member.describe() for member in self.members]}

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator of the mean energy, forces and stress."""
        return CommitteeCalculator([member.calculator(topology, threads) for member in self.members], self.has_stress)

    def force_evaluator(self, topology: Topology, threads: int = 1) -> CommitteeEvaluator:
        """Forces of the first member for the engine of the package, with the deviation of all on request."""
        first = cast(EvaluatesForces, self.members[0]).force_evaluator(topology, threads)
        return CommitteeEvaluator(first, self._mean_evaluator(topology, threads))

    def _mean_evaluator(self, topology: Topology, threads: int) -> ForceEvaluator:
        """Mean energy and forces of all members, and the deviation of forces."""

        def slow() -> ForceEvaluator:
            return CalculatorEvaluator(self.calculator(topology, threads), topology.symbols)

        find: list[Any] = [getattr(member, "fast_network", None) for member in self.members]
        if not all(find):
            return slow()
        from ilforge.potentials.learned.fast_mace.calculator import FastMaceEvaluator

        return FastMaceEvaluator(find, slow, topology.symbols, threads)

    def force_deviation(self, atoms: Atoms) -> float:
        """Largest disagreement about the force on an atom of a frame, eV/Å: see :func:`force_deviation`."""
        return force_deviation(np.array([member.get_forces(atoms) for member in self._calculators]))

    def answers(
        self, frames: Iterable[Atoms], topology: Topology, threads: int = 1, pressures: bool = False
    ) -> Iterator[Answers]:
        """Forces and, if wanted, pressures of each member for each frame; the members must then have a stress."""
        calculators = [member.calculator(topology, threads) for member in self.members]
        for frame in frames:
            found = [-np.mean(one.get_stress(frame)[:3]) for one in calculators] if pressures else []
            forces = np.array([one.get_forces(frame) for one in calculators])
            yield Answers(forces, np.array(found) * EV_PER_A3_IN_GPA)

    @cached_property
    def _calculators(self) -> list[Calculator]:
        return [member.calculator() for member in self.members]

    @property
    def members_run_in_lammps(self) -> bool:
        """Whether LAMMPS can move the atoms with the first member and compute the deviation of all."""
        return all(member.kind == "deepmd" for member in self.members)

    def lammps_pair(self, elements: Sequence[str], deviation_every: int | str = "${interval}") -> list[str]:
        """Pair style that moves the atoms with the first member and writes the deviation of all members.

        Parameters
        ----------
        deviation_every
            Steps between lines of :data:`DEVIATION_FILE`; a LAMMPS variable by default, which the engine sets to
            the interval of recorded frames.
        """
        if not self.members_run_in_lammps:
            kinds = ", ".join(member.kind for member in self.members)
            raise SettingsError(f"LAMMPS runs committees of deepmd models only, not of {kinds}.")
        models = [cast(model_file.ModelFile, member) for member in self.members]
        for model in models:
            model_file.verified(model.path, model.sha256)
        paths = " ".join(model_file.lammps_word(model.path) for model in models)
        return [
            f"pair_style deepmd {paths} out_file {DEVIATION_FILE} out_freq {deviation_every}",
            f"pair_coeff * * {' '.join(elements)}",
        ]

    def seconds_per_frame(self, n_atoms: int) -> float:
        return sum(member.seconds_per_frame(n_atoms) for member in self.members)


class CommitteeCalculator(TypedCalculator):
    """Mean of the energies, forces and stresses of several calculators.

    ``results["force_deviation"]`` is the largest disagreement about the force on an atom, eV/Å.
    """

    def __init__(self, members: Sequence[Calculator], has_stress: bool):
        self.implemented_properties = ["energy", "free_energy", "forces", *(["stress"] if has_stress else [])]
        super().__init__()
        self._members = list(members)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        energy = float(np.mean([member.get_potential_energy(self.atoms) for member in self._members]))
        forces = np.array([member.get_forces(self.atoms) for member in self._members])
        self.results.update(
            energy=energy,
            free_energy=energy,
            forces=forces.mean(axis=0),
            force_deviation=force_deviation(forces),
        )
        if "stress" in (properties or ()):
            self.results["stress"] = np.mean([member.get_stress(self.atoms) for member in self._members], axis=0)


KIND = PotentialKind(name="committee", title="committee", potential=Committee, settings=None, family="model")

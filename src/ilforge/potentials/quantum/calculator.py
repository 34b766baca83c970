"""What calculators of density functional theory in a box share, whatever the program."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes

from ilforge.errors import DidNotConverge, DidNotFinish, SettingsError
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.quantum.outputs import Output
from ilforge.potentials.quantum.wavefunctions import is_step


class DftCalculator(TypedCalculator):
    """A step of a trajectory starts from the wavefunctions of the step before; any other frame starts without.

    A class that inherits this implements :meth:`_solve`.

    Parameters
    ----------
    has_stress
        Whether the settings of the method allow a stress.
    to_have_stress
        The settings that do, for errors: ``"stress = true"``.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # ASE declares it as a class attribute

    def __init__(self, has_stress: bool, to_have_stress: str):
        super().__init__()
        self._has_stress, self._to_have_stress = has_stress, to_have_stress
        self._last: Atoms | None = None
        """The last frame; None if its calculation failed, since its wavefunctions are not to be used."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {}
        wants_stress = "stress" in (properties or [])
        if wants_stress and not self._has_stress:
            raise SettingsError(f"This potential gives no stress: set {self._to_have_stress}.")
        is_next_step = is_step(self._last, self.atoms)
        self._last = None
        energy, forces, stress = self._solve(wants_stress, is_next_step)
        self._last = self.atoms.copy()
        self.results = {"energy": energy, "free_energy": energy, "forces": forces, "converged": True}
        if stress is not None:
            self.results["stress"] = stress

    def _solve(self, wants_stress: bool, is_next_step: bool) -> tuple[float, np.ndarray, np.ndarray | None]:
        """Free energy in eV, forces in eV/Å and, if wanted, stress in eV/Å^3 of ``self.atoms``.

        Raises
        ------
        DidNotConverge
            If self-consistency was not reached.
        """
        raise NotImplementedError


class FileCalculator(DftCalculator):
    """A calculator whose program reads and writes files, in a temporary folder that lasts as long as the calculator."""

    def __init__(self, program: str, has_stress: bool, to_have_stress: str):
        super().__init__(has_stress, to_have_stress)
        self._program = program
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def _work_folder(self) -> Path:
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix=f"ilforge-{self._program.lower()}-")
        return Path(self._folder.name)

    def _results_of(self, output: Output, wants_stress: bool) -> tuple[float, np.ndarray, np.ndarray | None]:
        """What :meth:`_solve` returns, from an output of one frame.

        Raises
        ------
        DidNotFinish
            If the output is not complete.
        DidNotConverge
            If self-consistency was not reached.
        """
        if output.ending or len(output.readings) != 1:
            raise DidNotFinish(f"{self._program}: {output.ending or 'no frame in its output'}")
        reading = output.readings[0]
        if reading.fault or not reading.converged or reading.energy is None or reading.forces is None:
            raise DidNotConverge(f"{self._program}: {reading.fault or 'self-consistency was not reached'}")
        if wants_stress and reading.stress is None:
            raise DidNotFinish(f"{self._program}: its output has no stress")
        return reading.energy, reading.forces, reading.stress if wants_stress else None

"""London dispersion added to models of functionals that have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ilforge.errors import SettingsError
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.quantum.dispersion import FUNCTIONALS, d3bj

CHOICES = ("D3(BJ)", "none")


def functional_to_add(dispersion: str, functional: str | None) -> str | None:
    """Functional whose D3(BJ) is added to a model; None where none is.

    Parameters
    ----------
    dispersion
        What the user asked for, one of :data:`CHOICES`.
    functional
        Of the labels that the model was trained on; None where nobody said.

    Raises
    ------
    SettingsError
        When D3(BJ) is asked for, and the functional is not known or has no published damping.
    """
    if dispersion not in CHOICES:
        raise SettingsError(f"dispersion is {dispersion!r}; it may be {' or '.join(map(repr, CHOICES))}.")
    if dispersion == "none":
        return None
    if functional not in FUNCTIONALS:
        found = "is not given" if functional is None else f"is {functional!r}"
        raise SettingsError(
            f'dispersion = "D3(BJ)" depends on the functional that the model was trained on, and functional {found}. '
            f'It may be {", ".join(FUNCTIONALS)}. If the labels had dispersion in them, write dispersion = "none".'
        )
    return functional


def with_dispersion(
    answer: Mapping[str, Any], added: tuple[float, np.ndarray, np.ndarray | None] | None
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy in eV, forces in eV/Å and stress in eV/Å^3 of a model, and what is added to them.

    Parameters
    ----------
    answer
        ``energy``, ``forces`` and perhaps ``stress`` of the model.
    added
        The same three of the dispersion; None for none.
    """
    energy, forces = float(answer["energy"]), np.array(answer["forces"], dtype=float)
    stress = None if answer.get("stress") is None else np.array(answer["stress"], dtype=float)
    if added is None:
        return energy, forces, stress
    if stress is not None and added[2] is not None:
        stress = stress + added[2]
    return energy + added[0], forces + added[1], stress


class DispersedCalculator(TypedCalculator):
    """A calculator with the D3(BJ) dispersion of a functional added."""

    def __init__(self, calculator: Calculator, functional: str):
        known = ("energy", "free_energy", "forces", "stress")
        self.implemented_properties = [name for name in known if name in calculator.implemented_properties]
        super().__init__()
        self._calculator, self._functional = calculator, functional

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self._calculator.calculate(self.atoms, list(properties or ["energy", "forces"]), all_changes)
        energy, forces, stress = with_dispersion(self._calculator.results, d3bj(self.atoms, self._functional))
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if stress is not None:
            self.results["stress"] = stress

"""London dispersion, added to models that were trained on functionals without dispersion."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from ilforge.errors import SettingsError
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.potentials.quantum.dispersion import CORRECTIONS, FUNCTIONALS, d3bj, with_dispersion
from ilforge.settings import require_choice


def functional_to_add(dispersion: str, functional: str | None) -> str | None:
    """Functional whose D3(BJ) is added to a model; None if nothing is added.

    Parameters
    ----------
    dispersion
        What the user asked for, one of :data:`~ilforge.potentials.quantum.dispersion.CORRECTIONS`.
    functional
        Functional of the labels that the model was trained on; None if unknown.

    Raises
    ------
    SettingsError
        When D3(BJ) is asked for, and the functional is not known or has no published damping.
    """
    require_choice("dispersion", dispersion, CORRECTIONS)
    if dispersion == "none":
        return None
    if functional not in FUNCTIONALS:
        found = "is not given" if functional is None else f"is {functional!r}"
        raise SettingsError(
            f'dispersion = "D3(BJ)" depends on the functional that the model was trained on, and functional {found}. '
            f'It may be {", ".join(FUNCTIONALS)}. If the labels had dispersion in them, write dispersion = "none".'
        )
    return functional


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

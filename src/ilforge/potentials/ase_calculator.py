"""Base class of the calculators of this package: ASE's calculator, with the types that ASE lacks."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class TypedCalculator(Calculator):
    """An ASE calculator."""

    atoms: Atoms
    """The frame; only valid after :meth:`calculate`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's has no types

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Keep a copy of the frame; a calculator then fills ``results``."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]  # as above

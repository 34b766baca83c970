"""ASE's calculator with types for what ASE leaves without: the base of the calculators of the package."""

from __future__ import annotations

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class TypedCalculator(Calculator):
    """An ASE calculator."""

    atoms: Atoms
    """The frame, once :meth:`calculate` was called."""

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

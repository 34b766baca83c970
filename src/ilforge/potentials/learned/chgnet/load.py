"""Loads a CHGNet model; run by :mod:`ilforge.potentials.learned.outside.worker` where chgnet is installed."""

from typing import Any

MARGIN_A = 15.0  # more than twice the largest cutoff of the model, so that no image is seen in a vacuum


def load(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """ASE calculator of a model in the chgnet package, and the elements that the model knows."""
    from ase.data import chemical_symbols
    from chgnet.model import CHGNet, CHGNetCalculator

    model = CHGNet.from_file(settings["path"])
    calculator = CHGNetCalculator(model, use_device=settings["device"], on_isolated_atoms="ignore")

    class InVacuumToo(CHGNetCalculator):  # type: ignore[misc]  # it has no types
        """CHGNet evaluates only crystals, so atoms without a box are put into one that is large enough to avoid
        images."""

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = None) -> None:
            if not atoms.pbc.all():
                atoms = atoms.copy()
                atoms.set_cell(atoms.positions.max(axis=0) - atoms.positions.min(axis=0) + MARGIN_A)
                atoms.set_pbc(True)
            super().calculate(atoms, properties, system_changes)

    calculator.__class__ = InVacuumToo
    unknown = {84, 85, 86, 87, 88}  # Po to Ra: none of them is in MPtrj
    return calculator, [chemical_symbols[number] for number in range(1, 95) if number not in unknown]

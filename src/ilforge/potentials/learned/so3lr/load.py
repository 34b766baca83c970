"""Loads SO3LR; run by :mod:`ilforge.potentials.learned.outside.worker` where so3krates-torch is installed."""

from typing import Any

CUTOFF_LR_A = 12.0  # of electrostatics and dispersion, and the width of the smooth end: those of SO3LR's own calculator
DAMPING_LR_A = 2.0


def load(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """ASE calculator of the model in so3krates-torch's wheel; it takes elements that it was not trained on, too."""
    import torch
    from so3krates_torch.calculator.so3 import TorchkratesCalculator

    class WithStressInBoxes(TorchkratesCalculator):  # type: ignore[misc]  # it has no types
        """A stress is computed only where there is a box."""

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = None) -> None:
            self.compute_stress = bool(atoms.pbc.all())
            super().calculate(atoms, properties, system_changes)

    model = torch.load(settings["path"], map_location=settings["device"], weights_only=False)
    calculator = WithStressInBoxes(
        models=[model],
        r_max_lr=CUTOFF_LR_A,
        dispersion_energy_cutoff_lr_damping=DAMPING_LR_A,
        device=settings["device"],
        default_dtype="float64",
        charges_key="Qs",
        model_type="so3lr",
    )
    return calculator, list(settings["elements"])

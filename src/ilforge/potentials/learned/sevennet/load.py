"""Loads a SevenNet model; run by :mod:`ilforge.potentials.learned.outside.worker` where sevenn is installed."""

from typing import Any


def load(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """ASE calculator of a checkpoint, and the elements that it knows."""
    from ase.data import chemical_symbols
    from sevenn.calculator import SevenNetCalculator

    modality = {"modal": settings["modality"]} if settings.get("modality") else {}
    calculator = SevenNetCalculator(settings["path"], device=settings["device"], **modality)
    return calculator, [chemical_symbols[number] for number in sorted(calculator.type_map)]

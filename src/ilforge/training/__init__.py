"""Labelled frames become models: one file per kind of model, and their validation."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from ilforge.training.curve import learning_curve

TRAINERS: dict[str, str] = {
    "mace": "ilforge.training.mace:train_mace",
    "deepmd": "ilforge.training.deepmd:train_deepmd",
}
"""Kind of model, and the function that trains it: ``train(dataset, settings, seed, directory, threads=1,
start_from=None)`` gives the model file. A new kind is a file and a line here."""

__all__ = ["TRAINERS", "learning_curve", "load_trainer"]


def load_trainer(reference: str) -> Callable[..., Path]:
    """The function that an entry of :data:`TRAINERS` names."""
    module, name = reference.split(":")
    return getattr(import_module(module), name)

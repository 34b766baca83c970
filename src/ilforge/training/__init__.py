"""Labelled frames become models, one file per kind of model, and models are held against labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ilforge.kinds import Registry
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training.curve import learning_curve
from ilforge.training.kind import ModelSettings, TrainerKind

TRAINERS: Registry[TrainerKind] = Registry(
    "model",
    "ilforge.trainers",
    {
        "mace": "ilforge.training.mace",
        "deepmd": "ilforge.training.deepmd",
    },
)
"""Every kind of model that can be trained. A new one is a file that describes it and a line here."""

__all__ = ["TRAINERS", "ModelSettings", "TrainerKind", "learning_curve", "train"]


def train(
    dataset: Dataset,
    settings: ModelSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
) -> Path:
    """Train one model of the kind that the settings are of; a training that was stopped goes on.

    Parameters
    ----------
    dataset
        Frames to train on, and frames to watch the training by.
    settings
        Of the kind: ``TRAINERS["mace"].settings(preset="liquid")``.
    seed
        Of the first weights and the order of frames.
    directory
        Where everything is written.
    threads
        Of the training.
    start_from
        Model file of an earlier training to go on from.
    isolated_atoms
        Energies of isolated atoms by the reference method, eV, by element, where the kind counts energies from them.

    Returns
    -------
    Path
        The model file.
    """
    kind = TRAINERS.named(settings.kind)
    extra = {"isolated_atoms": isolated_atoms} if kind.counts_from_atoms else {}
    return kind.train(dataset, settings, seed, directory, threads, start_from=start_from, **extra)

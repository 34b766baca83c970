"""Train models on labelled frames (one file for each kind of model), and compare models with labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilforge.errors import SettingsError
from ilforge.kinds import Registry
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training.curve import learning_curve
from ilforge.training.kind import ModelSettings, TrainerKind, Tuning

TRAINERS: Registry[TrainerKind] = Registry(
    "model",
    "ilforge.trainers",
    {
        "mace": "ilforge.training.mace",
        "deepmd": "ilforge.training.deepmd",
        "sevennet": "ilforge.training.sevennet",
        "nequip": "ilforge.training.nequip",
        "uf3": "ilforge.training.uf3",
    },
)
"""Every kind of model that can be trained. To add one, write a file that describes it, and add a line here."""

__all__ = ["TRAINERS", "ModelSettings", "TrainerKind", "Tuning", "learning_curve", "train"]


def train(
    dataset: Dataset,
    settings: ModelSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | Mapping[str, Any] | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
    tuning: Tuning | None = None,
) -> Path:
    """Train one model; the class of the settings decides its kind. A training that was stopped continues.

    Parameters
    ----------
    dataset
        Frames to train on, and frames for early stopping.
    settings
        Settings of one kind: ``TRAINERS["mace"].settings(preset="liquid")``.
    seed
        Of the first weights and the order of frames.
    directory
        Where everything is written.
    threads
        Of the training.
    start_from
        Model file of an earlier training to go on from, or what ``start_of`` of the kind made of a potential.
    isolated_atoms
        Energies of isolated atoms by the reference method, eV, by element, if the energies of the model are relative to
        them.
    tuning
        Given if ``start_from`` is a model to fine-tune, and not a model from an earlier round of the same training.

    Returns
    -------
    Path
        The model file.

    Raises
    ------
    SettingsError
        When the settings name a start but no model is given, or the file of the start has no digest.
    """
    kind = TRAINERS.named(settings.kind)
    _refuse_unused(kind, settings, start_from, tuning)
    extra: dict[str, Any] = {"isolated_atoms": isolated_atoms} if kind.counts_from_atoms else {}
    extra |= {"tuning": tuning} if kind.fine_tunes else {}
    return kind.train(dataset, settings, seed, directory, threads, start_from=start_from, **extra)


def _refuse_unused(kind: TrainerKind, settings: ModelSettings, start_from: Any, tuning: Tuning | None) -> None:
    """A start that is not given would be left out silently."""
    if tuning is not None and not kind.fine_tunes:
        raise SettingsError(f"start is {settings.start!r}, but {kind.title} is trained from scratch only.")
    if settings.start is not None and start_from is None:
        raise SettingsError(f"start is {settings.start!r}, but this training was given no model to start from.")
    if tuning is not None and isinstance(start_from, Path) and not tuning.sha256:
        raise SettingsError(
            f"start is the file {start_from}, and a model file can run code when it is loaded. If you trust where it "
            f"comes from, give its digest as start_sha256: the first word of `sha256sum {start_from}`."
        )

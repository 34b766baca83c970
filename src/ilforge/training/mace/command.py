"""The command line of ``mace_run_train``, and the stages of a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers

from ilforge import frames
from ilforge.devices import CPU, Device
from ilforge.potentials.learned.mace.cuequivariance import has_cuequivariance
from ilforge.training.mace.settings import MaceSettings

NAME = "mace"
"""Of the training, from which MACE makes the names of its files."""
_FREEZE = {"embedding": 1, "interactions": 5, "products": 6}  # what MACE calls the last frozen layer


def schedule(settings: MaceSettings, warm: bool) -> tuple[int, int]:
    """Number of epochs, and the epoch from which the second stage's weights hold.

    A warm start shortens both stages alike.
    """
    tuned = settings.start is not None  # in one stage: a change of weights takes away what the start model knew
    if not warm:
        return settings.epochs, settings.epochs if tuned else settings.second_stage_epoch
    epochs = max(1, round(settings.retrain_fraction * settings.epochs))
    if tuned:
        return epochs, epochs
    second_stage_share = max(0.0, 1 - settings.second_stage_epoch / settings.epochs)
    return epochs, epochs - round(second_stage_share * epochs)


def command_line(
    settings: MaceSettings,
    seed: int,
    epochs: int,
    second_stage: int,
    energies: Mapping[str, float],
    device: Device = CPU,
    start_from: Path | None = None,
    stress: bool = False,
    tuned: bool = False,
) -> list[str]:
    """The program and its arguments; it runs in the directory with ``train.xyz`` and ``stop.xyz``.

    ``stress`` says that there are stresses to learn; the loss is that of energies and forces alone otherwise.
    """
    two_stages = second_stage < epochs
    options = _options(settings, seed, epochs, energies, device)
    if has_cuequivariance(device):
        options["enable_cueq"] = True
    if two_stages:
        options |= {
            "start_swa": second_stage,
            "swa_lr": settings.second_stage_learning_rate,
            "swa_energy_weight": settings.second_stage_energy_weight,
            "swa_forces_weight": settings.second_stage_forces_weight,
        }
    if stress:
        options |= {"loss": "stress", "stress_key": frames.STRESS, "stress_weight": settings.stress_weight}
        if two_stages:
            options["swa_stress_weight"] = settings.stress_weight
    if settings.learning_rate_decay < 1:
        options |= {"scheduler": "ExponentialLR", "lr_scheduler_gamma": settings.learning_rate_decay}
    if start_from is not None:
        options |= _start_options(settings, start_from, tuned)
    flags = ["--ema", "--save_cpu", *(["--swa"] if two_stages else [])]
    return ["mace_run_train", *(f"--{key}={value}" for key, value in options.items()), *flags]


def _options(
    settings: MaceSettings, seed: int, epochs: int, energies: Mapping[str, float], device: Device
) -> dict[str, Any]:
    """What every training needs: data, network, loss and learning rate of one stage."""
    by_number = {atomic_numbers[element]: float(value) for element, value in energies.items()}
    return {
        "name": NAME,
        "model": "ScaleShiftMACE",
        "train_file": "train.xyz",
        "valid_file": "stop.xyz",
        "energy_key": frames.ENERGY,
        "forces_key": frames.FORCES,
        "E0s": str(by_number),
        "hidden_irreps": settings.hidden_irreps,
        "r_max": settings.r_max_A,
        "max_ell": settings.max_ell,
        "correlation": settings.correlation,
        "loss": "weighted",
        "energy_weight": settings.energy_weight,
        "forces_weight": settings.forces_weight,
        "lr": settings.learning_rate,
        "batch_size": settings.batch_size,
        "valid_batch_size": settings.batch_size,
        "max_num_epochs": epochs,
        "ema_decay": settings.ema_decay,
        "default_dtype": settings.dtype,
        "device": device.kind,
        "seed": seed,
        "num_workers": 0,
        "model_dir": "models",
        "skip_evaluate_heads": "Default",  # no last pass over all frames: validation has frames of its own
        "plot": False,
    }


def _start_options(settings: MaceSettings, start_from: Path, tuned: bool) -> dict[str, Any]:
    """What a training that starts from another model needs, in place of or in addition to the others."""
    options = {
        "foundation_model": str(Path(start_from).absolute()),
        "multiheads_finetuning": False,
        "E0s": "foundation",
        "lr": settings.learning_rate if tuned else settings.retrain_learning_rate,
    }
    if settings.frozen != "nothing":
        options["freeze"] = _FREEZE[settings.frozen]
    return options

"""Train a NequIP or Allegro model in the environment that ``nequip`` is installed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilforge import devices, environments, files
from ilforge.labelling.datasets.dataset import Dataset, require_labels
from ilforge.potentials.learned.nequip import Nequip
from ilforge.potentials.learned.outside.calculator import WORKER
from ilforge.training import alignment, outside
from ilforge.training.kind import Size, TrainerKind
from ilforge.training.nequip.settings import NequipModelSettings
from ilforge.training.nequip.snippets import SNIPPETS

MODEL = "model.nequip.zip"
SESSION = Path(__file__).with_name("session.py")
_LOG = "nequip.log"
_ENVIRONMENT = Nequip.environment.name


def train_nequip(
    dataset: Dataset,
    settings: NequipModelSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
) -> Path:
    """Train one model. A training that was stopped goes on from the last epoch that it finished.

    Parameters
    ----------
    dataset
        Frames with energies and forces, and with stresses where ``stress_weight`` weighs them. The weights of the epoch
        that was best on its ``stop`` frames are kept.
    seed
        Of the initial weights and of the order of frames.
    directory
        Where everything is written; made when it is not there.
    start_from
        Model of an earlier training, which this one goes on from: the share ``settings.retrain_fraction`` of the epochs
        is made, and the network and the zero of its energies are those of the earlier model.
    isolated_atoms
        Energy of each element's isolated atom by the reference method, eV. Without it energies of elements are fitted
        to the labels.

    Returns
    -------
    Path
        ``model.nequip.zip``; beside it are ``learning_curve.csv`` and the log.

    Raises
    ------
    SettingsError
        When labels are missing.
    MissingEnvironment
        When the environment is not there.
    DidNotFinish, Unphysical
        When the training fails, or ends in NaN.
    """
    require_labels(dataset, "energy", "forces")
    python = environments.interpreter(_ENVIRONMENT)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    orders = _orders(dataset, settings, seed, threads, start_from, isolated_atoms)
    outside.begin(_ENVIRONMENT, dataset, orders, directory, leftovers=(outside.STATE, MODEL))
    outside.run(python, SESSION, "train", directory, _LOG, threads)
    outside.finish(directory, "NequIP")
    return directory / MODEL


def seconds(settings: NequipModelSettings, size: Size) -> float:
    """Rough time of a training on one core, s: for planning only."""
    return 30.0 + settings.epochs * size.atoms * _TRAINING_S * _share(settings)


def seconds_per_step(settings: NequipModelSettings, n_atoms: int) -> float:
    """Rough time of a step of MD on one core, s."""
    return _STEP_S * n_atoms * _share(settings)


_TRAINING_S, _STEP_S = 0.0032, 0.0013
"""Of an atom and epoch, and of an atom and step, of the preset ``small``, s (``benchmarks/train_nequip.py``)."""


def _share(settings: NequipModelSettings) -> float:
    """Work of a network beside that of the preset ``small``."""
    size = settings.features / 32 * ((settings.lmax + 1) / 2) ** 2 * (settings.r_max_A / 5.0) ** 3
    return max(0.1, size * settings.layers / 3 * (1.0 if settings.architecture == "nequip" else 0.6))


def _orders(
    dataset: Dataset,
    settings: NequipModelSettings,
    seed: int,
    threads: int,
    start_from: Path | None,
    isolated_atoms: Mapping[str, float] | None,
) -> dict[str, Any]:
    """What the session is told."""
    keys = (
        "architecture", "dtype", "batch_size", "learning_rate_decay", "ema_decay", "energy_weight", "forces_weight",
        "stress_weight",
    )  # fmt: skip
    warm = start_from is not None
    epochs = max(1, round(settings.retrain_fraction * settings.epochs)) if warm else settings.epochs
    return {
        **{key: getattr(settings, key) for key in keys},
        "epochs": epochs,
        "learning_rate": settings.retrain_learning_rate if warm else settings.learning_rate,
        "network": {key: getattr(settings, key) for key in ("features", "lmax", "layers")}
        | {"r_max": settings.r_max_A},
        "seed": seed,
        "threads": threads,
        "device": str(devices.resolved(_ENVIRONMENT)),
        "worker": str(WORKER),
        "start": start_from and {"path": str(Path(start_from).absolute()), "sha256": files.file_digest(start_from)},
        "elements": list(dataset.elements),
        "shift": alignment.zero_of(dataset, isolated_atoms),
    }


KIND = TrainerKind(
    name="nequip",
    title="NequIP",
    settings=NequipModelSettings,
    train=train_nequip,
    file=MODEL,
    potential="nequip",
    seconds=seconds,
    seconds_per_step=seconds_per_step,
    retrained_share=lambda settings: settings.retrain_fraction,
    counts_from_atoms=True,
    learns_stress=lambda settings: settings.stress_weight > 0,
    progress=outside.progress,
    step="epoch",
    computes_with=_ENVIRONMENT,
    memory_GB=3.0,
    snippets=SNIPPETS,
)

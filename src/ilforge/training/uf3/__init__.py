"""Fit a UF3 potential in the environment that ``uf3`` is installed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilforge import environments
from ilforge.labelling.datasets.dataset import Dataset, require_labels
from ilforge.potentials.learned.uf3 import INTERACTIONS, Uf3
from ilforge.training import alignment, outside
from ilforge.training.kind import Size, TrainerKind
from ilforge.training.uf3.settings import Uf3ModelSettings
from ilforge.training.uf3.snippets import SNIPPETS

MODEL = "model.uf3"
SESSION = Path(__file__).with_name("session.py")
STATE = "resume.npz"
_LOG = "uf3.log"
_ENVIRONMENT = Uf3.environment.name


def train_uf3(
    dataset: Dataset,
    settings: Uf3ModelSettings,
    seed: int,
    directory: Path,
    threads: int = 1,
    start_from: Path | None = None,
    isolated_atoms: Mapping[str, float] | None = None,
) -> Path:
    """Fit one potential. A fit that was stopped goes on from the frames that it had added.

    Parameters
    ----------
    dataset
        Frames with energies and forces. The regularization that is best on its ``stop`` frames is kept.
    seed
        Of the frames that are drawn with ``bootstrap``; without it, all seeds give the same potential.
    directory
        Where everything is written; made when it is not there.
    start_from
        Not used: the solution of the least squares does not depend on a start.
    isolated_atoms
        Energy of each element's isolated atom by the reference method, eV. Without it energies of elements are fitted
        to the labels.

    Returns
    -------
    Path
        ``model.uf3``; beside it are ``learning_curve.csv``, with one line for each regularization, and the log.

    Raises
    ------
    SettingsError
        When labels are missing.
    MissingEnvironment
        When the environment is not there.
    DidNotFinish, Unphysical
        When the fit fails, or ends in NaN.
    """
    require_labels(dataset, "energy", "forces")
    python = environments.interpreter(_ENVIRONMENT)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    orders = _orders(dataset, settings, seed, isolated_atoms)
    outside.begin(_ENVIRONMENT, dataset, orders, directory, leftovers=(STATE, MODEL))
    outside.run(python, SESSION, "train", directory, _LOG, threads)
    outside.finish(directory, "UF3")
    (directory / STATE).unlink(missing_ok=True)
    return directory / MODEL


def seconds(settings: Uf3ModelSettings, size: Size) -> float:
    """Rough time of a fit on one core, s: for planning only."""
    return 60.0 + size.atoms * _TRAINING_S * _share(settings)


def seconds_per_step(settings: Uf3ModelSettings, n_atoms: int) -> float:
    """Rough time of a step of MD on one core, s."""
    return _STEP_S * n_atoms * _share(settings)


_TRAINING_S, _STEP_S = 0.013, 5e-5
"""Of an atom in the training frames, and of an atom and step in LAMMPS, of the preset ``quick``, s
(``benchmarks/train_uf3.py``)."""


def _share(settings: Uf3ModelSettings) -> float:
    """Number of triangles beside that of the preset ``quick``, which take most of the time."""
    return max(0.2, (settings.cutoff_3body_A / 3.5) ** 6 if settings.bodies == 3 else 0.2)


def _orders(
    dataset: Dataset, settings: Uf3ModelSettings, seed: int, isolated_atoms: Mapping[str, float] | None
) -> dict[str, Any]:
    """What the session is told."""
    keys = ("energy_weight", "forces_weight", "regularization", "bootstrap")
    return {
        **{key: getattr(settings, key) for key in keys},
        "bodies": settings.bodies,
        "pairs": {"cutoff": settings.cutoff_A, "intervals": settings.intervals},
        "triangles": {
            "cutoff": settings.cutoff_3body_A,
            "shortest": settings.shortest_3body_A,
            "intervals": settings.intervals_3body,
            "intervals_between": settings.intervals_between,
        },
        "seed": seed if settings.bootstrap else 0,
        "interactions": str(INTERACTIONS),
        "start": None,
        "elements": list(dataset.elements),
        "shift": alignment.zero_of(dataset, isolated_atoms),
    }


KIND = TrainerKind(
    name="uf3",
    title="UF3",
    settings=Uf3ModelSettings,
    train=train_uf3,
    file=MODEL,
    potential="uf3",
    seconds=seconds,
    seconds_per_step=seconds_per_step,
    counts_from_atoms=True,
    progress=outside.progress,
    memory_GB=2.0,
    snippets=SNIPPETS,
)

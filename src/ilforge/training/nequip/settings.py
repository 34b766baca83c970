"""Hyperparameters of NequIP and Allegro: ``small`` is a NequIP and ``allegro`` an Allegro, both for a laptop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ilforge.settings import Positive
from ilforge.training.kind import ModelSettings

_SMALL: dict[str, Any] = {
    "architecture": "nequip", "features": 32, "lmax": 1, "layers": 3, "r_max_A": 5.0,
    "batch_size": 2, "epochs": 40, "learning_rate": 0.01, "learning_rate_decay": 0.93, "ema_decay": 0.99,
    "energy_weight": 10.0, "forces_weight": 1.0, "retrain_fraction": 0.5, "retrain_learning_rate": 0.003,
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "small": _SMALL,
    "allegro": {**_SMALL, "architecture": "allegro", "layers": 2},
}


class NequipModelSettings(ModelSettings):
    """Hyperparameters of NequIP and Allegro. `preset` sets every key that is not given. Needs `ilforge env create
    nequip`."""

    presets = PRESETS
    of_the_network = frozenset({"architecture", "features", "lmax", "layers", "r_max_A", "dtype"})

    kind: Literal["nequip"] = "nequip"
    """NequIP or Allegro."""
    preset: Literal["small", "allegro"] = "small"
    """`small` is a NequIP network, `allegro` an Allegro network."""
    architecture: Literal["nequip", "allegro"]
    """`nequip` passes messages between atoms, so an atom sees `layers` times `r_max_A` far. `allegro` passes none: an
    atom sees `r_max_A` far."""
    features: Annotated[int, Field(ge=4, le=512)]
    """NequIP: number of features of each order. Allegro: number of scalar features; it has a quarter as many tensor
    features."""
    lmax: Annotated[int, Field(ge=0, le=4)]
    """Highest order of the features and of the spherical harmonics of edges."""
    layers: Annotated[int, Field(ge=1, le=6)]
    """Number of interaction layers."""
    r_max_A: Positive
    """Cutoff of the graph, Å."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of the network. Energies are summed in float64 in any case."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per optimiser step."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training frames."""
    learning_rate: Positive
    """Adam's learning rate."""
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    """Factor on the learning rate after each epoch."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the moving average of the weights, for each step. The model consists of these averages; 0 for none."""
    energy_weight: Annotated[float, Field(ge=0)]
    """Weight of the mean square error of energies per atom (eV) in the loss."""
    forces_weight: Positive
    """Weight of the mean square error of forces (eV/Å) in the loss."""
    stress_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the mean square error of stresses (GPa) in the loss. Frames without a stress do not count."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `epochs` that is used when training continues from the last round of concurrent learning."""
    retrain_learning_rate: Positive
    """Adam's learning rate in this continued training."""
    atom_energies: Literal["fit", "isolated atoms"] = "fit"
    """Zero of the energies of the model, element by element: a least-squares `fit` to the labels, or the energies of
    `isolated atoms` by the reference method (`gpaw`, or a dataset that has them)."""

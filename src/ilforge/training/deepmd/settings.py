"""Hyperparameters of DeePMD, and presets: ``quick`` for small studies, ``park2025`` with those of the published study.

``quick`` was chosen on 135 GFN1-xTB frames of PYR14BF4 with 70 atoms, one thread, where one model trains in less than
a minute.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from ilforge.settings import Positive, Widths
from ilforge.training.kind import ModelSettings

DEEPMD_PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "r_cut_A": 4.5, "r_smooth_A": 0.5, "embedding": [10, 20, 40], "axis_neurons": 8,
        "fitting": [120, 120, 120], "one_side_embedding": True, "dtype": "float32",
        "steps": 2500, "batch_size": 1, "learning_rate_start": 1e-2, "learning_rate_stop": 4e-4,
        "retrain_fraction": 0.5, "retrain_learning_rate_start": 5e-3,
        "energy_prefactor": [0.02, 1.0], "force_prefactor": [1000.0, 1.0], "virial_prefactor": [0.02, 1.0],
    },
    "park2025": {
        "r_cut_A": 10.0, "r_smooth_A": 0.5, "embedding": [25, 50, 100], "axis_neurons": 16,
        "fitting": [240, 240, 240], "one_side_embedding": False, "dtype": "float64",
        "steps": 1000000, "batch_size": 1, "learning_rate_start": 1e-3, "learning_rate_stop": 3.5e-8,
        "retrain_fraction": 1.0, "retrain_learning_rate_start": 1e-3,
        "energy_prefactor": [0.02, 1.0], "force_prefactor": [1000.0, 1.0], "virial_prefactor": [0.02, 1.0],
    },
}  # fmt: skip


class DeepmdSettings(ModelSettings):
    """Hyperparameters of DeePMD (se_e2_a). `preset` sets every key that is not given."""

    presets = DEEPMD_PRESETS

    kind: Literal["deepmd"] = "deepmd"
    """DeePMD."""
    preset: Literal["quick", "park2025"] = "quick"
    """`quick` is for small studies; `park2025` has the hyperparameters of the published study."""
    committee: Annotated[int, Field(ge=1, le=20)] = 4
    """Number of models that differ only in their seed. Concurrent learning needs at least two."""
    r_cut_A: Positive
    """Cutoff, Å."""
    r_smooth_A: Positive
    """Distance at which smoothing begins, Å."""
    embedding: Widths
    """Widths of the embedding net."""
    axis_neurons: Annotated[int, Field(ge=1)]
    """Size of the sub-matrix of the embedding."""
    fitting: Widths
    """Widths of the fitting net."""
    one_side_embedding: bool
    """Use one embedding net for each element of the neighbour, not for each pair of elements: about twice as fast."""
    dtype: Literal["float32", "float64"]
    """Precision of the networks; geometry and energies are always in double precision."""
    steps: Annotated[int, Field(ge=1)]
    """Training steps."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per step."""
    learning_rate_start: Positive
    """Learning rate at the first step; it decays exponentially."""
    learning_rate_stop: Positive
    """Learning rate at the last step."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `steps` that is used when training continues from the last round of concurrent learning."""
    retrain_learning_rate_start: Positive
    """Learning rate at the first step of this continued training."""
    energy_prefactor: tuple[float, float]
    """Weight of energies in the loss, at the first and the last step."""
    force_prefactor: tuple[float, float]
    """Weight of forces in the loss, at the first and the last step."""
    virial_prefactor: tuple[float, float]
    """Weight of virials in the loss, at the first and the last step. It has no effect if the labels have no stress."""

"""Hyperparameters of SevenNet: ``small`` from scratch, ``tune`` for a model that starts from a pretrained one.

``tune`` was chosen on 56 labels of PYR14BF4 (70 atoms, PBE-D3(BJ)), on which SevenNet-0 came to force errors of 0.069
(EQ) and 0.143 eV/Å (nEQ) in six epochs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ilforge.settings import Positive
from ilforge.training.kind import ModelSettings

_TUNE: dict[str, Any] = {
    "channels": 32, "lmax": 1, "layers": 3, "r_max_A": 5.0,  # of a model without a start
    "batch_size": 2, "epochs": 6, "learning_rate": 0.002, "learning_rate_decay": 0.65,
    "energy_weight": 1.0, "forces_weight": 1.0, "retrain_fraction": 0.5, "retrain_learning_rate": 0.001,
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "small": {**_TUNE, "epochs": 60, "learning_rate": 0.01, "learning_rate_decay": 0.95},
    "tune": _TUNE,
}


class SevennetModelSettings(ModelSettings):
    """Hyperparameters of SevenNet. `preset` sets every key that is not given. Needs `ilforge env create sevennet`."""

    presets = PRESETS
    tuning_preset = "tune"
    of_the_network = frozenset({"channels", "lmax", "layers", "r_max_A"})

    kind: Literal["sevennet"] = "sevennet"
    """SevenNet."""
    preset: Literal["small", "tune"] = "small"
    """`small` trains a small network from scratch. Models with a `start` have `tune`, which cannot be chosen
    otherwise."""
    channels: Annotated[int, Field(ge=1, le=512)]
    """Number of features of each order."""
    lmax: Annotated[int, Field(ge=0, le=3)]
    """Highest order of the features and of the spherical harmonics of edges."""
    layers: Annotated[int, Field(ge=1, le=6)]
    """Number of interaction layers."""
    r_max_A: Positive
    """Cutoff of the graph, Å."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per optimiser step."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training frames."""
    learning_rate: Positive
    """Adam's learning rate."""
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)]
    """Factor on the learning rate after each epoch."""
    energy_weight: Annotated[float, Field(ge=0)]
    """Weight of energies per atom (eV) in the loss, which is Huber's with 0.01 as its limit."""
    forces_weight: Positive
    """Weight of forces (eV/Å) in the loss."""
    stress_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of stresses (kbar) in the loss. Frames without a stress do not count. SevenNet itself uses 0.01."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `epochs` that is used when training continues from the last round of concurrent learning."""
    retrain_learning_rate: Positive
    """Adam's learning rate in this continued training."""
    atom_energies: Literal["fit", "isolated atoms"] = "fit"
    """Zero of the energies of the model: a least-squares `fit` to the labels, or the energies of `isolated atoms` by
    the reference method (`gpaw`, or a dataset that has them). A model with a `start` has `fit`: the difference between
    its energies and the labels is fitted."""
    frozen: Annotated[int, Field(ge=0, le=6)] = 0
    """Number of interaction layers, counted from the input, that fine-tuning leaves as they are, with the embedding
    before them; 0 for none."""
    dispersion: Literal["D3(BJ)", "none"] | None = None
    """Dispersion that is added to the model when it runs. It is taken out of the labels before the model is trained on
    them, so it is never counted twice. Without this key that of the `start`: D3(BJ) for pretrained models; none for a
    model that is trained from scratch."""
    functional: str | None = None
    """Functional of the dispersion; without it that of the `start`."""

    @model_validator(mode="after")
    def _only_for_fine_tuning(self) -> SevennetModelSettings:
        if self.frozen and self.start is None:
            raise ValueError("frozen is for fine-tuning: name the model to start from in start, or leave it out")
        if self.start is not None and self.atom_energies != "fit":
            raise ValueError(
                "atom_energies is 'isolated atoms', but energies of single atoms by a pretrained SevenNet mean nothing "
                "to be aligned with: leave it out, and they are aligned by a fit to the labels"
            )
        if self.functional is not None and self.dispersion != "D3(BJ)":
            raise ValueError('functional is that of the dispersion: write dispersion = "D3(BJ)" beside it')
        if self.dispersion == "D3(BJ)" and self.functional is None and self.start is None:
            raise ValueError('dispersion = "D3(BJ)" depends on the functional of the labels: write functional, too')
        return self

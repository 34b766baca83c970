"""Hyperparameters of MACE, and presets: ``quick`` for small studies, ``park2025`` with those of the published study.

``quick`` was chosen on 135 GFN1-xTB frames of PYR14BF4 with 70 atoms, one thread, where it trains in two minutes. With
so short a radius it matches forces but does not hold the liquid: at 423 K and 1 bar PYR14BF4 boils within 11 ps.
``liquid`` differs from it in the radius, 6 Å, and in one more epoch. It takes twice as long to train, has the same
force errors, and boils more slowly. Whether it holds the liquid depends on chance: of three models trained on the
labels in ``data/pyr14bf4-pbe-d3``, two held 0.95 and 0.86 g/cm3 for 40 ps, and the third fell to 0.65 within 24 ps.
``good`` has the network of the published study and a learning rate that falls after each epoch. On the same labels it
takes 76 minutes of one core, halves the force errors on EQ frames, and holds 1.014(4) g/cm3
(``models/pyr14bf4-good``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ilforge.settings import Positive
from ilforge.training.kind import ModelSettings

_QUICK_MACE: dict[str, Any] = {
    "hidden_irreps": "16x0e + 16x1o", "r_max_A": 4.5, "max_ell": 2, "correlation": 2,
    "batch_size": 1, "epochs": 8, "second_stage_epoch": 6,
    "learning_rate": 0.02, "second_stage_learning_rate": 0.001, "ema_decay": 0.99,
    "energy_weight": 1.0, "forces_weight": 100.0,
    "second_stage_energy_weight": 1000.0, "second_stage_forces_weight": 100.0,
    "retrain_fraction": 0.5, "retrain_learning_rate": 0.01,
}  # fmt: skip

# 199 frames of 70 atoms take 90 s an epoch on one core
_GOOD_MACE: dict[str, Any] = {
    "hidden_irreps": "16x0e + 16x1o", "r_max_A": 6.0, "max_ell": 3, "correlation": 3,
    "batch_size": 1, "epochs": 50, "second_stage_epoch": 40,
    "learning_rate": 0.01, "learning_rate_decay": 0.95, "second_stage_learning_rate": 0.0005, "ema_decay": 0.995,
    "energy_weight": 10.0, "forces_weight": 100.0,
    "second_stage_energy_weight": 1000.0, "second_stage_forces_weight": 100.0,
    "retrain_fraction": 0.3, "retrain_learning_rate": 0.003,
}  # fmt: skip

MACE_PRESETS: dict[str, dict[str, Any]] = {
    "quick": _QUICK_MACE,
    "liquid": {**_QUICK_MACE, "r_max_A": 6.0, "epochs": 9},
    "good": _GOOD_MACE,
    "park2025": {
        "hidden_irreps": "16x0e + 16x1o", "r_max_A": 6.0, "max_ell": 3, "correlation": 3,
        "batch_size": 4, "epochs": 100, "second_stage_epoch": 75,
        "learning_rate": 0.01, "second_stage_learning_rate": 0.001, "ema_decay": 0.99,
        "energy_weight": 1.0, "forces_weight": 100.0,
        "second_stage_energy_weight": 1000.0, "second_stage_forces_weight": 100.0,
        "retrain_fraction": 1.0, "retrain_learning_rate": 0.01,
    },
    "tune": {  # the network is that of the start; one stage
        **_QUICK_MACE, "epochs": 20, "second_stage_epoch": 20, "learning_rate": 0.001, "learning_rate_decay": 0.85,
        "energy_weight": 10.0, "retrain_learning_rate": 0.001,
    },
}  # fmt: skip


class MaceSettings(ModelSettings):
    """Hyperparameters of MACE. `preset` sets every key that is not given."""

    presets = MACE_PRESETS
    tuning_preset = "tune"
    of_the_network = frozenset({"hidden_irreps", "r_max_A", "max_ell", "correlation"})
    left_out_at_default = frozenset({"learning_rate_decay", "stress_weight", "frozen", "replay", "replay_frames"})

    kind: Literal["mace"] = "mace"
    """MACE."""
    preset: Literal["quick", "liquid", "good", "park2025", "tune"] = "quick"
    """`quick` is for trying out a study: it matches forces, but its radius is short, and a liquid boils at constant
    pressure. `liquid` has a longer radius, for small studies with MD: a liquid lasts longer, but its density is still
    too low. `good` has the network of the published study and a falling learning rate; with 200 labels of 70 atoms it
    trains for 76 minutes on one core, and it holds the liquid where that was tested. `park2025` has the hyperparameters
    of the published study. `tune` is the preset of models with a `start`."""
    hidden_irreps: Annotated[str, Field(pattern=r"^\d{1,4}x\d[eo]( ?\+ ?\d{1,4}x\d[eo])*$", max_length=200)]
    """Irreps of the hidden features. All need the same multiplicity and natural parity (not `16x0e + 4x1e`)."""
    r_max_A: Positive
    """Cutoff of the graph, Å."""
    max_ell: Annotated[int, Field(ge=1, le=4)]
    """Highest order of the spherical harmonics of edges."""
    correlation: Annotated[int, Field(ge=1, le=4)]
    """Body order of the product in each layer, less one."""
    batch_size: Annotated[int, Field(ge=1)]
    """Frames per optimiser step."""
    epochs: Annotated[int, Field(ge=1)]
    """Passes over the training frames."""
    second_stage_epoch: Annotated[int, Field(ge=1)]
    """First epoch with the second-stage weights; if it is `epochs` or more, there is no second stage."""
    learning_rate: Positive
    """Adam's learning rate in the first stage."""
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate after each epoch of the first stage."""
    second_stage_learning_rate: Positive
    """Adam's learning rate in the second stage."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay of the moving average of the weights; the model is this average."""
    energy_weight: Annotated[float, Field(ge=0)]
    """Weight of energies in the loss."""
    forces_weight: Annotated[float, Field(ge=0)]
    """Weight of forces in the loss."""
    stress_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of stresses in the loss, in both stages. Frames without a stress do not count, so it has no effect if the
    reference gives no stress."""
    second_stage_energy_weight: Annotated[float, Field(ge=0)]
    """Weight of energies in the second stage."""
    second_stage_forces_weight: Annotated[float, Field(ge=0)]
    """Weight of forces in the second stage."""
    retrain_fraction: Annotated[float, Field(gt=0, le=1)]
    """Share of `epochs` that is used when training continues from the last round of concurrent learning."""
    retrain_learning_rate: Positive
    """Adam's learning rate in the first stage of this continued training."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training and of MD with the model."""
    atom_energies: Literal["fit", "isolated atoms"] = "fit"
    """Zero of the energies of the model: a least-squares `fit` to the labels, or the energies of `isolated atoms` by
    the reference method (`gpaw`, or a dataset that has them). For a model with a `start`: its zero is shifted by a fit
    of the difference between its energies and the labels, or replaced by the energies of isolated atoms."""
    frozen: Literal["nothing", "embedding", "interactions", "products"] = "nothing"
    """Layers that fine-tuning leaves as they are: up to and including the one named here."""
    replay: str | None = None
    """Fine-tuning: a dataset of other liquids, by name or folder. On its frames the model also learns the energies and
    forces of its `start`, so that it stays accurate for these liquids."""
    replay_frames: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Number of training frames of this dataset that are used."""

    @model_validator(mode="after")
    def _only_for_fine_tuning(self) -> MaceSettings:
        for key in ("frozen", "replay", "replay_frames"):
            if self.changed(key) and self.start is None:
                raise ValueError(f"{key} is for fine-tuning: name the model to start from in start, or leave it out")
        if self.changed("replay_frames") and self.replay is None:
            raise ValueError("replay_frames is given, but replay names no dataset: replay would be off")
        return self

    @field_validator("hidden_irreps")
    @classmethod
    def _of_one_multiplicity(cls, text: str) -> str:
        """Refuse irreps with which MACE would fail only at the first step, or after it has read all frames."""
        parts = [part.strip().split("x") for part in text.split("+")]
        orders = sorted({int(irrep[:-1]) for _, irrep in parts} | {0})
        nearest = " + ".join(f"{parts[0][0]}x{order}{'oe'[order % 2 == 0]}" for order in range(orders[-1] + 1))
        if text.replace(" ", "") != nearest.replace(" ", ""):
            raise ValueError(
                f"MACE needs the same number of channels for every order from 0, even orders with parity e and odd "
                f"orders with parity o. The nearest that it takes is {nearest!r}"
            )
        return text

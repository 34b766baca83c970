"""Presets of hyperparameters: ``quick`` for the small studies, ``park2025`` for the published study's own.

``quick`` was chosen on 135 GFN1-xTB frames of PYR14BF4 with 70 atoms, one thread: MACE trains in two minutes, one
DeePMD model in less than one. A MACE with so short a radius matches forces and still does not hold the liquid: at 423
K and 1 bar PYR14BF4 boils within 11 ps. ``liquid`` differs from it in the radius, 6 Å, and one more epoch, takes
twice as long to train, has the same force errors, and does not boil so fast. Whether it holds the liquid is a matter of
chance: models trained on the labels of ``examples/pyr14bf4-dft.toml`` held 0.95 and 0.86 g/cm3 for 40 ps, and a third
fell to 0.65 within 24 ps.
"""

from __future__ import annotations

from typing import Any

_QUICK_MACE: dict[str, Any] = {
    "hidden_irreps": "16x0e + 16x1o", "r_max_A": 4.5, "max_ell": 2, "correlation": 2,
    "batch_size": 1, "epochs": 8, "second_stage_epoch": 6,
    "learning_rate": 0.02, "second_stage_learning_rate": 0.001, "ema_decay": 0.99,
    "energy_weight": 1.0, "forces_weight": 100.0,
    "second_stage_energy_weight": 1000.0, "second_stage_forces_weight": 100.0,
    "retrain_fraction": 0.5, "retrain_learning_rate": 0.01,
}  # fmt: skip

MACE_PRESETS: dict[str, dict[str, Any]] = {
    "quick": _QUICK_MACE,
    "liquid": {**_QUICK_MACE, "r_max_A": 6.0, "epochs": 9},
    "park2025": {
        "hidden_irreps": "16x0e + 16x1o", "r_max_A": 6.0, "max_ell": 3, "correlation": 3,
        "batch_size": 4, "epochs": 100, "second_stage_epoch": 75,
        "learning_rate": 0.01, "second_stage_learning_rate": 0.001, "ema_decay": 0.99,
        "energy_weight": 1.0, "forces_weight": 100.0,
        "second_stage_energy_weight": 1000.0, "second_stage_forces_weight": 100.0,
        "retrain_fraction": 1.0, "retrain_learning_rate": 0.01,
    },
}  # fmt: skip

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

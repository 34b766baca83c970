"""Small real models: of the right form, with nothing learnt, made in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge import programs

ELEMENTS = ("H", "Li", "B", "C", "N", "O", "F", "S")


def write_mace_model(path: Path, seed: int = 1, r_max: float = 4.5, channels: int = 4) -> Path:
    """A MACE model with random weights, as ``mace_run_train`` would save it."""
    import torch
    from mace import modules  # isort: skip  (e3nn does not load before mace has changed torch's defaults)
    from e3nn import o3

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
        model = modules.ScaleShiftMACE(
            r_max=r_max,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=2,
            interaction_cls=block,
            interaction_cls_first=block,
            num_interactions=2,
            num_elements=len(ELEMENTS),
            hidden_irreps=o3.Irreps(f"{channels}x0e + {channels}x1o"),
            MLP_irreps=o3.Irreps("8x0e"),
            atomic_energies=np.linspace(-100.0, -10.0, len(ELEMENTS)),
            avg_num_neighbors=40.0,
            atomic_numbers=[Atoms(symbol).numbers[0] for symbol in ELEMENTS],
            correlation=2,
            gate=torch.nn.functional.silu,
            atomic_inter_scale=1.0,
            atomic_inter_shift=0.0,
        )
        torch.save(model, path)
    return path


def write_deepmd_model(directory: Path, frames: list[Atoms], seed: int = 1, steps: int = 5) -> Path:
    """A DeePMD model after a few steps of ``dp train`` on labelled frames of one composition, frozen."""
    directory.mkdir(parents=True, exist_ok=True)
    _write_deepmd_data(directory / "data", frames)
    (directory / "input.json").write_text(json.dumps(_deepmd_input(seed, steps)))
    programs.run(["dp", "train", "--skip-neighbor-stat", "input.json"], directory, log="train.log")
    programs.run(["dp", "freeze", "-o", "model.pb"], directory, log="freeze.log")
    return directory / "model.pb"


def _deepmd_input(seed: int, steps: int) -> dict:
    return {
        "model": {
            "type_map": list(ELEMENTS),
            "descriptor": {
                "type": "se_e2_a",
                "sel": [80] * len(ELEMENTS),
                "rcut": 4.5,
                "rcut_smth": 0.5,
                "neuron": [4, 8],
                "axis_neuron": 4,
                "seed": seed,
            },
            "fitting_net": {"neuron": [8, 8], "seed": seed},
        },
        "learning_rate": {"type": "exp", "start_lr": 1e-3, "stop_lr": 1e-4, "decay_steps": 5},
        "loss": {"start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1},
        "training": {
            "training_data": {"systems": ["data"], "batch_size": 1},
            "numb_steps": steps,
            "seed": seed,
            "disp_freq": 1000,
            "save_freq": 1000,
        },
    }


def _write_deepmd_data(directory: Path, frames: list[Atoms]) -> None:
    """Frames with energies and forces in DeePMD's own form."""
    numbers = directory / "set.000"
    numbers.mkdir(parents=True)
    types = [ELEMENTS.index(symbol) for symbol in frames[0].get_chemical_symbols()]
    (directory / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (directory / "type_map.raw").write_text("\n".join(ELEMENTS) + "\n")
    np.save(numbers / "coord.npy", np.array([frame.positions.ravel() for frame in frames]))
    np.save(numbers / "box.npy", np.array([frame.cell.array.ravel() for frame in frames]))
    np.save(numbers / "energy.npy", np.array([frame.info["REF_energy"] for frame in frames]))
    np.save(numbers / "force.npy", np.array([frame.arrays["REF_forces"].ravel() for frame in frames]))

"""Small real models: of the right form, with nothing learnt, made in seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import frames, programs
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.labelling.label import evaluate
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.classical.clp import Clp
from ilforge.training import train
from ilforge.training.nequip.settings import NequipModelSettings
from ilforge.training.uf3.settings import Uf3ModelSettings

ELEMENTS = ("H", "B", "C", "N", "F")
"""What the models know: PYR14BF4. DeePMD builds a network for each, and takes its time over it."""


def write_mace_model(
    path: Path,
    seed: int = 1,
    r_max: float = 4.5,
    channels: int = 4,
    max_ell: int = 2,
    correlation: int = 2,
    l_hidden: int = 1,
    pair_repulsion: bool = True,
    scale: float = 1.0,
    block: str = "RealAgnosticResidualInteractionBlock",
) -> Path:
    """A MACE model with random weights, as ``mace_run_train`` would save it, and a repulsion that keeps atoms apart."""
    import torch
    from mace import modules  # isort: skip  (e3nn does not load before mace has changed torch's defaults)
    from e3nn import o3

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = modules.interaction_classes[block]
        model = modules.ScaleShiftMACE(
            r_max=r_max,
            num_bessel=8,
            num_polynomial_cutoff=5,
            max_ell=max_ell,
            interaction_cls=layer,
            interaction_cls_first=layer,
            num_interactions=2,
            num_elements=len(ELEMENTS),
            hidden_irreps=o3.Irreps(
                "+".join(f"{channels}x{degree}{'eo'[degree % 2]}" for degree in range(l_hidden + 1))
            ),
            MLP_irreps=o3.Irreps("8x0e"),
            atomic_energies=np.linspace(-100.0, -10.0, len(ELEMENTS)),
            avg_num_neighbors=40.0,
            atomic_numbers=[Atoms(symbol).numbers[0] for symbol in ELEMENTS],
            correlation=correlation,
            gate=torch.nn.functional.silu,
            atomic_inter_scale=scale,
            atomic_inter_shift=0.0,
            pair_repulsion=pair_repulsion,
        )
        torch.save(model, path)
    return path


def write_deepmd_models(
    directory: Path, labelled_frames: list[Atoms], seeds: Sequence[int], steps: int = 5
) -> list[Path]:
    """A frozen DeePMD model for each seed, after a few steps of ``dp train`` on frames of one composition.

    One process makes them all: TensorFlow takes longer to load than these trainings take.
    """
    _write_deepmd_data(directory / "data", labelled_frames)
    for seed in seeds:
        (directory / f"seed{seed}.json").write_text(json.dumps(_deepmd_input(seed, steps)))
    names = [f"seed{seed}" for seed in seeds]
    programs.run(["python3", "-c", _TRAIN_AND_FREEZE, *names], directory, log="train.log")
    return [directory / f"{name}.pb" for name in names]


_TRAIN_AND_FREEZE = """
import sys
from deepmd.main import main
for name in sys.argv[1:]:
    main(["train", "--skip-neighbor-stat", name + ".json"])
    main(["freeze", "-o", name + ".pb"])
"""


NEQUIP_SMALL = NequipModelSettings(features=8, lmax=1, layers=2, r_max_A=3.5, epochs=4, batch_size=2)
"""A NequIP network that is trained in seconds."""


def write_nequip_model(directory: Path, labelled_frames: list[Atoms], **keys: Any) -> Path:
    """A model of NequIP that is hardly trained, with other keys of its settings where they are given."""
    few = Dataset(train=tuple(labelled_frames[:-1]), stop=tuple(labelled_frames[-1:]))
    return train(few, NEQUIP_SMALL.model_copy(update={"epochs": 1, **keys}), 1, directory)


UF3_SMALL = Uf3ModelSettings(
    cutoff_A=4.0, intervals=10, cutoff_3body_A=2.5, intervals_3body=4, intervals_between=5, regularization=[1e-4, 1e-3]
)
"""A UF3 potential that is fitted in seconds."""


def write_uf3_model(directory: Path, labelled_frames: list[Atoms]) -> Path:
    """A UF3 potential that is fitted to a few frames."""
    few = Dataset(train=tuple(labelled_frames[:-1]), stop=tuple(labelled_frames[-1:]))
    return train(few, UF3_SMALL, 1, directory)


def labelled(frame: Atoms, count: int) -> list[Atoms]:
    """Rattled copies of a frame, labelled by CL&P."""
    topology = Liquid.from_label(frame.info["ions"]).topology
    calculator = Clp(cutoff_A=4.0).calculator(topology)
    copies = []
    for seed in range(count):
        copy = frame.copy()
        copy.rattle(0.02, seed=seed)
        copy.info[frames.ENERGY] = calculator.get_potential_energy(copy)
        copy.arrays[frames.FORCES] = calculator.get_forces(copy)
        copies.append(copy)
    return copies


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
                "type_one_side": True,  # a network for each element, not for each pair: built in a fifth of the time
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


def _write_deepmd_data(directory: Path, labelled_frames: list[Atoms]) -> None:
    """Frames with energies and forces in DeePMD's own form."""
    numbers = directory / "set.000"
    numbers.mkdir(parents=True)
    types = [ELEMENTS.index(symbol) for symbol in labelled_frames[0].get_chemical_symbols()]
    (directory / "type.raw").write_text("\n".join(map(str, types)) + "\n")
    (directory / "type_map.raw").write_text("\n".join(ELEMENTS) + "\n")
    np.save(numbers / "coord.npy", np.array([frame.positions.ravel() for frame in labelled_frames]))
    np.save(numbers / "box.npy", np.array([frame.cell.array.ravel() for frame in labelled_frames]))
    np.save(numbers / "energy.npy", np.array([frame.info[frames.ENERGY] for frame in labelled_frames]))
    np.save(numbers / "force.npy", np.array([frame.arrays[frames.FORCES].ravel() for frame in labelled_frames]))


def ask(spec, frame):
    """The answer of a potential on a frame, which must not have failed."""
    answer = evaluate(frame, spec)
    assert not answer.failed, answer.error
    return answer


def force_rmse(spec, labelled):
    """RMS difference of forces from the labels, eV/Å."""
    wrong = [ask(spec, frame).forces - frame.arrays[frames.FORCES] for frame in labelled]
    return float(np.sqrt(np.mean(np.square(wrong))))

"""A program of its own: trains a SevenNet model in the environment that sevenn is installed in.

It imports nothing of ilforge. In its working directory ``session.json`` says what to do and ``frames.npz`` has the
frames. ``session.py energies`` writes the energies of the start model; ``session.py train`` trains, epoch by epoch.
The loop of epochs is in ``outside_session.py``.
"""

import importlib.util
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "model.pth"
HUBER_DELTA = 0.01  # eV/atom, eV/Å and kbar, as SevenNet's own models were trained
SPECIES, SHIFT, SCALE = "_type_map", "rescale_atomic_energy.shift", "rescale_atomic_energy.scale"
SAME_EV_A = 1e-4  # single precision


def main() -> None:
    with open("session.json") as file:
        settings = json.load(file)
    outside, worker = module_of(Path(__file__).parents[1] / "outside_session.py"), module_of(settings["worker"])
    worker.limit_threads(settings["threads"])
    device = worker.device_of(settings["device"])
    with tempfile.TemporaryDirectory(prefix="ilforge-start-") as folder:
        model, config = started(settings, worker, folder) if settings["start"] else fresh(settings, outside)
    model.to(device)
    model.set_is_batch_data(True)
    work = Work(model, config, settings, device, outside)
    if sys.argv[1] == "energies":
        work.write_energies()
        return
    freeze(model, settings["frozen"])
    best = outside.Training(work, settings).run(judge_start=bool(settings["start"]))
    work.write_model(best)


def module_of(path: Any) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- the model


def started(settings: dict[str, Any], worker: Any, folder: str) -> tuple[Any, dict[str, Any]]:
    """The network and weights of the model to start from, if its file is the one that the digest names."""
    from sevenn.util import load_checkpoint

    start = settings["start"]
    if "package" in start:
        path = worker.of_package(start["package"], start["file"], start["sha256"])
    else:
        path = worker.verified_copy(start["path"], start["sha256"], folder)
    checkpoint = load_checkpoint(path)
    return checkpoint.build_model(), checkpoint.config


def fresh(settings: dict[str, Any], outside: Any) -> tuple[Any, dict[str, Any]]:
    """A network with random weights. Forces have their scale from the labels, and sums over neighbours their number."""
    import torch
    from sevenn.model_build import build_E3_equivariant_model
    from sevenn.parse_input import init_data_config, init_model_config, init_train_config

    network, train = dict(settings["network"]), outside.Part("train")
    config = {
        **init_model_config({"chemical_species": settings["elements"], **network}),
        **init_train_config({"device": "cpu"}),
        **init_data_config({}),
        "shift": [0.0] * len(settings["elements"]),
        "scale": train.rms_force(),
        "conv_denominator": neighbours(train, network["cutoff"]),
        "version": importlib.import_module("sevenn").__version__,
    }
    torch.manual_seed(settings["seed"])
    return build_E3_equivariant_model(config), config


def freeze(model: Any, layers: int) -> None:
    """Leave the embedding and the first interaction layers as they are."""
    first = ("edge_embedding.", "onehot_to_feature_x.", *(f"{layer}_" for layer in range(layers)))
    for name, weights in model.named_parameters():
        if layers and name.startswith(first):
            weights.requires_grad_(False)


# ---------------------------------------------------------------- frames


def graph_of(part: Any, number: int, cutoff: float) -> Any:
    """A frame with its labels as SevenNet's graph."""
    import numpy as np
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import atoms_to_graph

    atoms = part.atoms(number)
    energy, forces, stress = part.label(number)
    atoms.info["y_energy"] = np.float64(energy)
    # SevenNet's order is xx yy zz xy yz zx, and pressure is positive
    atoms.info["y_stress"] = -stress[[0, 1, 2, 5, 3, 4]]
    atoms.arrays["y_force"] = forces
    return AtomGraphData.from_numpy_dict(atoms_to_graph(atoms, cutoff, transfer_info=False))


def neighbours(part: Any, cutoff: float, looked_at: int = 50) -> float:
    """Mean number of neighbours of an atom within the cutoff, in the first frames."""
    graphs = [graph_of(part, number, cutoff) for number in range(min(looked_at, len(part)))]
    edges = sum(int(graph["edge_index"].shape[1]) for graph in graphs)
    return edges / sum(int(graph["num_atoms"]) for graph in graphs)


# ---------------------------------------------------------------- training


class Work:
    """A SevenNet network with its frames, its loss and its file."""

    def __init__(self, model: Any, config: dict[str, Any], settings: dict[str, Any], device: str, outside: Any) -> None:
        import torch
        from sevenn.train.loss import ForceLoss, PerAtomEnergyLoss, StressLoss

        self.model, self.config, self.settings, self.device = model, config, settings, device
        self.outside, self.parts = outside, {"train": outside.Part("train")}
        huber = torch.nn.HuberLoss(delta=HUBER_DELTA)
        terms = (("energy", PerAtomEnergyLoss), ("forces", ForceLoss), ("stress", StressLoss))
        weights = {name: settings[f"{name}_weight"] for name, _ in terms}
        self.losses = [(term(criterion=huber), weights[name]) for name, term in terms if weights[name] > 0]

    def part(self, name: str) -> Any:
        if name not in self.parts:
            self.parts[name] = self.outside.Part(name)
        return self.parts[name]

    def count(self, part: str) -> int:
        return len(self.part(part))

    def batches(self, part: str, seed: int | None = None, size: int | None = None) -> Iterator[Any]:
        """Batches in order, or in the random order of a seed; a last one may be smaller."""
        from torch_geometric.loader.dataloader import Collater

        held, size = self.part(part), size or self.settings["batch_size"]
        order, join = held.order(seed), Collater(held)
        for first in range(0, len(order), size):
            graphs = [graph_of(held, number, self.config["cutoff"]) for number in order[first : first + size]]
            yield join(graphs).to(self.device)

    def loss(self, batch: Any) -> Any:
        return self.loss_of(self.model(batch))

    def loss_of(self, output: Any) -> Any:
        return sum(weight * term.get_loss(output, self.model).sum() for term, weight in self.losses)

    def errors(self, batch: Any) -> tuple[float, float, float, int, int]:
        """What the loop of epochs asks for: see ``outside_session.Work``."""
        count, output = len(batch["num_atoms"]), self.model(batch)
        apart = (output["inferred_total_energy"] - output["total_energy"]).detach().double() / output["num_atoms"]
        wrong = (output["inferred_force"] - output["force_of_atoms"]).detach().double()
        loss = float(self.loss_of(output).detach())
        return loss, float((apart**2).sum()), float((wrong**2).sum()), count, wrong.numel()

    def write_energies(self) -> None:
        """Energies of the training frames by the start model, eV, and what is to be known of it."""
        import torch
        from ase.data import chemical_symbols

        del self.model._modules["force_output"]
        self.model.eval()
        energies: list[float] = []
        known = [chemical_symbols[number] for number in sorted(self.config[SPECIES])]
        found = {chemical_symbols[number] for number in self.part("train").held["numbers"].tolist()}
        strange = sorted(found - set(known))
        if not strange:
            with torch.no_grad():
                for batch in self.batches("train", size=1):
                    energies.append(float(self.model(batch)["atomic_energy"].double().sum()))
        layers = self.config["num_convolution_layer"]
        told = {"energies": energies, "elements": known, "strange": strange, "layers": layers}
        self.outside.replace_text("energies.json", json.dumps(told))

    def write_model(self, best: dict[str, Any]) -> None:
        """The best weights as a checkpoint of SevenNet, with the zero of energies of the labels."""
        import torch
        from ase.data import atomic_numbers

        shift = {atomic_numbers[symbol]: value for symbol, value in self.settings["shift"].items()}
        state, config = dict(best), dict(self.config)
        species = config[SPECIES]
        for name in (SHIFT, SCALE):  # a model with one value for all elements gets one for each
            state[name] = state[name].double().expand(len(species)).clone()
        for number, index in species.items():
            state[SHIFT][index] += shift.get(number, 0.0)
        state |= {name: state[name].float() for name in (SHIFT, SCALE)}
        # weights of a checkpoint of an old version were reordered when it was loaded, and would be again
        config |= {"version": importlib.import_module("sevenn").__version__}
        config |= {"shift": state[SHIFT].tolist(), "scale": state[SCALE].tolist()}
        checkpoint = {
            "model_state_dict": state,
            "optimizer_state_dict": {},
            "scheduler_state_dict": {},
            "config": config,
            "epoch": self.settings["epochs"],
            "time": time.strftime("%Y-%m-%d %H:%M"),
            "hash": uuid.uuid4().hex,
        }
        with self.outside.replacing(MODEL) as partial:
            torch.save(checkpoint, partial)
            self.require_same(partial, best)

    def require_same(self, path: str, best: dict[str, Any]) -> None:
        """Refuse a file whose model, loaded as others load it, has other forces than the model that was trained."""
        from sevenn.util import load_checkpoint

        self.model.load_state_dict(best)
        written = load_checkpoint(path).build_model().to(self.device)
        written.set_is_batch_data(True)
        forces = []
        for model in (self.model, written):
            model.eval()
            forces.append(model(next(self.batches("stop", size=1)))["inferred_force"].detach())
        apart = float((forces[0] - forces[1]).abs().max())
        if not apart < SAME_EV_A:
            raise SystemExit(f"the model that was written has forces {apart:.2g} eV/Å from those of the one trained")


if __name__ == "__main__":
    main()

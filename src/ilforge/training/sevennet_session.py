"""A program of its own: trains a SevenNet model in the environment that sevenn is installed in.

It imports nothing of ilforge. In its working directory ``session.json`` says what to do and ``frames.npz`` has the
frames. ``session.py energies`` writes the energies of the start model; ``session.py train`` trains, epoch by epoch.
After each epoch everything that the next one depends on is written (``resume.pt``), and a training that was stopped
goes on from there. What is read back holds only numbers and text: it runs no code, whoever wrote it.
"""

import contextlib
import importlib.util
import json
import math
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any

STATE, MODEL, CURVE, PROGRESS = "resume.pt", "model.pth", "curve.json", "progress.json"
HUBER_DELTA = 0.01  # eV/atom, eV/Å and kbar, as SevenNet's own models were trained
SPECIES, SHIFT, SCALE = "_type_map", "rescale_atomic_energy.shift", "rescale_atomic_energy.scale"
PROGRESS_S = 2.0
SAME_EV_A = 1e-4  # single precision
STATE_KEYS = ("epoch", "curve", "best", "best_loss", "model", "optimizer", "scheduler")


def main() -> None:
    with open("session.json") as file:
        settings = json.load(file)
    worker = module_of(settings["worker"])
    worker.limit_threads(settings["threads"])
    device = worker.device_of(settings["device"])
    with tempfile.TemporaryDirectory(prefix="ilforge-start-") as folder:
        model, config = started(settings, worker, folder) if settings["start"] else fresh(settings)
    model.to(device)
    model.set_is_batch_data(True)
    if sys.argv[1] == "energies":
        write_energies(model, config, device)
    else:
        Training(model, config, settings, device).run()


def module_of(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("worker", path)
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


def fresh(settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A network with random weights. Forces have their scale from the labels, and sums over neighbours their number."""
    import torch
    from sevenn.model_build import build_E3_equivariant_model
    from sevenn.parse_input import init_data_config, init_model_config, init_train_config

    network, frames = dict(settings["network"]), Frames("train", settings["network"]["cutoff"])
    config = {
        **init_model_config({"chemical_species": settings["elements"], **network}),
        **init_train_config({"device": "cpu"}),
        **init_data_config({}),
        "shift": [0.0] * len(settings["elements"]),
        "scale": frames.rms_force(),
        "conv_denominator": frames.neighbours(),
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


class Frames:
    """One part of ``frames.npz`` as SevenNet's graphs, each built when it is asked for."""

    def __init__(self, part: str, cutoff: float) -> None:
        import numpy as np

        with np.load("frames.npz", allow_pickle=False) as held:
            self.held = {name.removeprefix(f"{part}_"): held[name] for name in held.files if name.startswith(part)}
        self.ends = np.cumsum(self.held["sizes"])
        self.cutoff = cutoff

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> Any:
        import numpy as np
        from ase import Atoms
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import atoms_to_graph

        own = slice(int(self.ends[number] - self.held["sizes"][number]), int(self.ends[number]))
        atoms = Atoms(
            self.held["numbers"][own],
            self.held["positions"][own],
            cell=self.held["cells"][number],
            pbc=self.held["pbc"][number],
        )
        stress = self.held["stresses"][number]
        atoms.info["y_energy"] = np.float64(self.held["energies"][number])
        # SevenNet's order is xx yy zz xy yz zx, and pressure is positive
        atoms.info["y_stress"] = -stress[[0, 1, 2, 5, 3, 4]]
        atoms.arrays["y_force"] = self.held["forces"][own]
        return AtomGraphData.from_numpy_dict(atoms_to_graph(atoms, self.cutoff, transfer_info=False))

    def rms_force(self) -> float:
        """Root mean square of the components of the forces, eV/Å."""
        return math.sqrt((self.held["forces"] ** 2).mean())

    def neighbours(self, looked_at: int = 50) -> float:
        """Mean number of neighbours of an atom within the cutoff, in the first frames."""
        graphs = [self[number] for number in range(min(looked_at, len(self)))]
        edges = sum(int(graph["edge_index"].shape[1]) for graph in graphs)
        return edges / sum(int(graph["num_atoms"]) for graph in graphs)

    def batches(self, size: int, seed: int | None = None) -> Iterator[Any]:
        """Batches in order, or in the random order of a seed; a last one may be smaller."""
        import torch
        from torch_geometric.loader.dataloader import Collater

        order = list(range(len(self)))
        if seed is not None:
            order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist()
        join = Collater(self)
        for first in range(0, len(order), size):
            yield join([self[number] for number in order[first : first + size]])


def write_energies(model: Any, config: dict[str, Any], device: str) -> None:
    """Energies of the training frames by the start model, eV, and what is to be known of it."""
    import torch
    from ase.data import chemical_symbols

    del model._modules["force_output"]
    model.eval()
    energies: list[float] = []
    known = [chemical_symbols[number] for number in sorted(config[SPECIES])]
    frames = Frames("train", config["cutoff"])
    strange = sorted({chemical_symbols[number] for number in frames.held["numbers"].tolist()} - set(known))
    if not strange:
        with torch.no_grad():
            for batch in frames.batches(1):
                energies.append(float(model(batch.to(device))["atomic_energy"].double().sum()))
    told = {"energies": energies, "elements": known, "strange": strange, "layers": config["num_convolution_layer"]}
    replace_text("energies.json", json.dumps(told))


# ---------------------------------------------------------------- training


class Training:
    """A training that can be stopped after each epoch."""

    def __init__(self, model: Any, config: dict[str, Any], settings: dict[str, Any], device: str) -> None:
        import torch
        from sevenn.train.loss import ForceLoss, PerAtomEnergyLoss, StressLoss

        self.model, self.config, self.settings, self.device = model, config, settings, device
        freeze(model, settings["frozen"])
        learning = [weights for weights in model.parameters() if weights.requires_grad]
        self.optimizer = torch.optim.Adam(learning, lr=settings["learning_rate"])
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, settings["learning_rate_decay"])
        huber = torch.nn.HuberLoss(delta=HUBER_DELTA)
        terms = (("energy", PerAtomEnergyLoss), ("forces", ForceLoss), ("stress", StressLoss))
        weights = {name: settings[f"{name}_weight"] for name, _ in terms}
        self.losses = [(term(criterion=huber), weights[name]) for name, term in terms if weights[name] > 0]
        self.train, self.stop = Frames("train", config["cutoff"]), Frames("stop", config["cutoff"])
        self.curve: list[list[float]] = []
        self.epoch, self.best, self.best_loss = 0, self.weights(), math.inf
        self.steps, self.said = 0, 0.0

    def run(self) -> None:
        """All epochs that are left, and the model of the best."""
        if not self.put_back() and self.settings["start"]:
            self.judge(math.nan)  # a training that makes the start model worse gives it back
        for epoch in range(self.epoch + 1, self.settings["epochs"] + 1):
            loss = self.one_epoch(epoch)
            self.epoch = epoch
            self.judge(loss)
            self.scheduler.step()
            self.write_down()
            if not math.isfinite(loss):
                break
        replace_text(CURVE, json.dumps(self.curve))
        self.write_model()

    def one_epoch(self, epoch: int) -> float:
        """Train on every frame once; the mean loss."""
        self.model.train()
        total, count = 0.0, 0
        for batch in self.train.batches(self.settings["batch_size"], seed=1_000_003 * self.settings["seed"] + epoch):
            self.optimizer.zero_grad()
            loss = self.loss_of(self.model(batch.to(self.device)))
            loss.backward()
            self.optimizer.step()
            total, count = total + float(loss.detach()), count + 1
            self.tell(epoch, count)
        return total / count

    def loss_of(self, output: Any) -> Any:
        return sum(weight * term.get_loss(output, self.model).sum() for term, weight in self.losses)

    def judge(self, train_loss: float) -> None:
        """Errors on the frames that the training is watched on; the weights are kept where their loss is the lowest."""
        self.model.eval()
        loss = energies = forces = 0.0
        components = 0
        for batch in self.stop.batches(self.settings["batch_size"]):
            n = len(batch["num_atoms"])
            output = self.model(batch.to(self.device))
            loss += n * float(self.loss_of(output).detach())
            apart = (output["inferred_total_energy"] - output["total_energy"]).detach().double() / output["num_atoms"]
            energies += float((apart**2).sum())
            wrong = (output["inferred_force"] - output["force_of_atoms"]).detach().double()
            forces, components = forces + float((wrong**2).sum()), components + wrong.numel()
        count = len(self.stop)
        loss /= count
        self.curve.append(
            [self.epoch, train_loss, loss, math.sqrt(energies / count), math.sqrt(forces / max(1, components))]
        )
        print(f"epoch {self.epoch}: loss {loss:.6g}, force RMSE {self.curve[-1][4]:.4f} eV/Å", flush=True)
        if loss < self.best_loss:
            self.best_loss, self.best = loss, self.weights()

    def weights(self) -> dict[str, Any]:
        return {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}

    def write_down(self) -> None:
        """Everything that the next epoch depends on."""
        import torch

        state = {
            "epoch": self.epoch,
            "curve": self.curve,
            "best": self.best,
            "best_loss": self.best_loss,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }
        with replacing(STATE) as partial:
            torch.save(state, partial)

    def put_back(self) -> bool:
        """Go on from the last epoch that was finished; whether there was one."""
        import torch

        if not os.path.isfile(STATE):
            return False
        try:
            state = torch.load(STATE, map_location="cpu", weights_only=True)
            if set(state) != set(STATE_KEYS):
                raise ValueError(f"it has {sorted(state)}")
        except Exception as error:  # of a kill or of somebody who means harm: the training begins anew
            print(f"{STATE} cannot be used, the training begins at its start: {error}", flush=True)
            return False
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch, self.curve = state["epoch"], state["curve"]
        self.best, self.best_loss = state["best"], state["best_loss"]
        return True

    def tell(self, epoch: int, batch: int) -> None:
        """Say how far the training is, every few seconds."""
        per_epoch = -(-len(self.train) // self.settings["batch_size"])
        if time.monotonic() - self.said > PROGRESS_S or batch == per_epoch:
            self.said = time.monotonic()
            replace_text(PROGRESS, json.dumps([(epoch - 1) * per_epoch + batch, self.settings["epochs"] * per_epoch]))

    def write_model(self) -> None:
        """The best weights as a checkpoint of SevenNet, with the zero of energies of the labels."""
        import torch
        from ase.data import atomic_numbers

        shift = {atomic_numbers[symbol]: value for symbol, value in self.settings["shift"].items()}
        state, config = dict(self.best), dict(self.config)
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
            "epoch": self.epoch,
            "time": time.strftime("%Y-%m-%d %H:%M"),
            "hash": uuid.uuid4().hex,
        }
        with replacing(MODEL) as partial:
            torch.save(checkpoint, partial)
            self.require_same(partial)

    def require_same(self, path: str) -> None:
        """Refuse a file whose model, loaded as others load it, has other forces than the model that was trained."""
        from sevenn.util import load_checkpoint

        self.model.load_state_dict(self.best)
        written = load_checkpoint(path).build_model().to(self.device)
        written.set_is_batch_data(True)
        forces = []
        for model in (self.model, written):
            model.eval()
            batch = next(self.stop.batches(1)).to(self.device)
            forces.append(model(batch)["inferred_force"].detach())
        apart = float((forces[0] - forces[1]).abs().max())
        if not apart < SAME_EV_A:
            raise SystemExit(f"the model that was written has forces {apart:.2g} eV/Å from those of the one trained")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """A file that is there as a whole or not at all."""
    partial = f"{path}.partial"
    yield partial
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def replace_text(path: str, text: str) -> None:
    with replacing(path) as partial, open(partial, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()

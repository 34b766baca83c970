"""A program of its own: trains a NequIP or Allegro model in the environment that nequip is installed in.

It imports nothing of ilforge. In its working directory ``session.json`` says what to do and ``frames.npz`` has the
frames. The result is a packaged model, as ``nequip-package`` makes it: it has the network, its weights and the code
that they need, and ``nequip-compile`` takes it.
"""

import importlib.util
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MODEL = "model.nequip.zip"
EXAMPLE = "example.xyz"
SOLE = "sole_model"
LABELS = ("total_energy", "forces", "stress")  # NequIP's names, of results as of labels
GPA = 160.21766208  # of 1 eV/Å^3
SAME_EV_A = 1e-4  # single precision


def main() -> None:
    with open("session.json") as file:
        settings = json.load(file)
    outside, worker = module_of(Path(__file__).parents[1] / "outside_session.py"), module_of(settings["worker"])
    worker.limit_threads(settings["threads"])
    from nequip.utils.global_state import set_global_state

    set_global_state()
    train, stop = outside.Part("train"), outside.Part("stop")
    with tempfile.TemporaryDirectory(prefix="ilforge-start-") as folder:
        config, weights = started(settings, worker, folder) if settings["start"] else (fresh(settings, train), None)
    work = Work(config, settings, {"train": train, "stop": stop}, worker.device_of(settings["device"]))
    work.refuse_strange()
    if weights is not None:
        work.model.load_state_dict(weights)
    best = outside.Training(work, settings).run(judge_start=weights is not None)
    with tempfile.TemporaryDirectory(prefix="ilforge-package-") as folder:
        package = packaged(config, best, stop.atoms(0), folder)
        require_same(package, work, best, stop)
        with outside.replacing(MODEL) as partial, open(partial, "wb") as written:
            written.write(package.read_bytes())


def module_of(path: Any) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- the network


def fresh(settings: dict[str, Any], train: Any) -> dict[str, Any]:
    """NequIP's description of a new network: energies have the scale of the forces, and the zero of the labels."""
    network = settings["network"]
    own = {
        "seed": settings["seed"],
        "model_dtype": settings["dtype"],
        "type_names": settings["elements"],
        "r_max": network["r_max"],
        "num_layers": network["layers"],
        "l_max": network["lmax"],
        "parity": False,
        "avg_num_neighbors": neighbours(train, network["r_max"]),
        "per_type_energy_scales": train.rms_force(),
        "per_type_energy_shifts": settings["shift"],
    }
    width = network["features"]
    if settings["architecture"] == "nequip":
        return {"_target_": "nequip.model.NequIPGNNModel", **own, "num_features": width, "radial_mlp_width": 2 * width}
    return {
        "_target_": "allegro.model.AllegroModel",
        **own,
        "radial_chemical_embed": {"_target_": "allegro.nn.TwoBodyBesselScalarEmbed"},
        "num_scalar_features": width,
        "num_tensor_features": max(1, width // 4),
        "scalar_embed_mlp_hidden_layers_width": width,
        "allegro_mlp_hidden_layers_width": width,
        "readout_mlp_hidden_layers_width": width,
    }


def started(settings: dict[str, Any], worker: Any, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Description and weights of the packaged model to go on from, if its file is the one that the digest names."""
    import yaml
    from nequip.model.saved_models.load_utils import load_saved_model

    path = worker.verified_copy(settings["start"]["path"], settings["start"]["sha256"], folder)
    with zipfile.ZipFile(path) as package:
        name = next(name for name in package.namelist() if name.endswith("/model/config.yaml"))
        config = yaml.safe_load(package.read(name))["training_module"]["model"]
    return config, dict(load_saved_model(path).state_dict())


def neighbours(part: Any, r_max: float, looked_at: int = 50) -> float:
    """Mean number of neighbours of an atom within the cutoff, in the first frames."""
    from matscipy.neighbours import neighbour_list

    numbers = range(min(looked_at, len(part)))
    pairs = sum(len(neighbour_list("i", part.atoms(number), r_max)) for number in numbers)
    return max(1.0, pairs / sum(len(part.atoms(number)) for number in numbers))


def module(config: dict[str, Any], **further: Any) -> Any:
    """NequIP's training module of a network, which is what its checkpoints hold."""
    from nequip.train import NequIPLightningModule

    return NequIPLightningModule(model=config, num_datasets={"train": 1, "val": 1, "test": 0, "predict": 0}, **further)


# ---------------------------------------------------------------- the training


class Work:
    """A network with its frames and its loss.

    The loss is the sum of the mean squares, each with its weight: of energies per atom (eV), of components of forces
    (eV/Å), and of components of stresses (GPa) where frames have them.
    """

    def __init__(self, config: dict[str, Any], settings: dict[str, Any], parts: dict[str, Any], device: str) -> None:
        from nequip.integrations.utils import basic_transforms

        self.settings, self.parts, self.device = settings, parts, device
        self.model = module(config).model[SOLE].to(device)
        self.elements = list(config["type_names"])
        names = {element: element for element in self.elements}
        self.transforms = basic_transforms(self.model.metadata, config["r_max"], self.elements, names)

    def refuse_strange(self) -> None:
        """Stop at an element that the network does not have."""
        from ase.data import chemical_symbols

        numbers = {number for part in self.parts.values() for number in part.held["numbers"].tolist()}
        strange = sorted({chemical_symbols[number] for number in numbers} - set(self.elements))
        if strange:
            raise SystemExit(f"the model does not know {', '.join(strange)}; it knows {', '.join(self.elements)}")

    def count(self, part: str) -> int:
        return len(self.parts[part])

    def batches(self, part: str, seed: int | None = None) -> Iterator[Any]:
        """Graphs with their labels, in batches; a last one may be smaller."""
        from nequip.data import AtomicDataDict

        order, size = self.parts[part].order(seed), self.settings["batch_size"]
        for first in range(0, len(order), size):
            graphs = [self.graph(self.parts[part], number) for number in order[first : first + size]]
            yield AtomicDataDict.to_(AtomicDataDict.batched_from_list(graphs), self.device)

    def graph(self, part: Any, number: int) -> Any:
        import torch
        from nequip.data import from_ase

        graph = from_ase(part.atoms(number))
        for transform in self.transforms:
            graph = transform(graph)
        energy, forces, stress = part.label(number)
        whole = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]  # Voigt order: xx yy zz yz xz xy
        labels = dict(zip(LABELS, ([[energy]], forces, whole[None]), strict=True))
        return graph | {name: torch.as_tensor(label, dtype=torch.float64) for name, label in labels.items()}

    def differences(self, batch: Any) -> tuple[Any, Any, Any]:
        """Model less label: energies per atom (eV), components of forces (eV/Å) and of known stresses (GPa)."""
        labels = [batch[name] for name in LABELS]
        found = self.model(without_labels(batch))
        sizes = batch["num_atoms"].reshape(-1, 1) if "num_atoms" in batch else len(labels[1])
        stress = (found["stress"] - labels[2]) * GPA
        return (found["total_energy"] - labels[0]) / sizes, found["forces"] - labels[1], stress[labels[2].isfinite()]

    def weighted(self, differences: tuple[Any, Any, Any]) -> Any:
        names = ("energy_weight", "forces_weight", "stress_weight")
        weights = [self.settings[name] for name in names]
        terms = [(weight, part) for weight, part in zip(weights, differences, strict=True) if weight and part.numel()]
        return sum(weight * part.square().mean() for weight, part in terms)

    def loss(self, batch: Any) -> Any:
        return self.weighted(self.differences(batch))

    def errors(self, batch: Any) -> tuple[float, float, float, int, int]:
        found = tuple(part.detach() for part in self.differences(batch))
        energy, forces = (float(part.square().sum()) for part in found[:2])
        return float(self.weighted((found[0], found[1], found[2]))), energy, forces, len(found[0]), found[1].numel()


def without_labels(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name not in LABELS}


# ---------------------------------------------------------------- the file


def packaged(config: dict[str, Any], best: dict[str, Any], example: Any, folder: str) -> Path:
    """The model as a package of NequIP. ``nequip-package`` makes it of a checkpoint, which names a frame."""
    import ase.io
    import lightning
    import torch
    from nequip.scripts.package import main as package
    from nequip.utils import get_current_code_versions
    from nequip.utils.global_state import get_latest_global_state

    example.arrays = {name: example.arrays[name] for name in ("numbers", "positions")}
    ase.io.write(os.path.join(folder, EXAMPLE), example, format="extxyz")
    of = {
        "versions": get_current_code_versions(),
        "data": data_config(config, os.path.join(folder, EXAMPLE)),
        "trainer": {},
        "global_options": get_latest_global_state(),
        "runs": ["train"],
        "training_module": {"_target_": "nequip.train.NequIPLightningModule", "model": config},
    }
    whole = module(config, info_dict=of)
    whole.model[SOLE].load_state_dict(best)
    checkpoint = os.path.join(folder, "model.ckpt")
    state = {"state_dict": whole.state_dict(), "hyper_parameters": dict(whole.hparams), "hparams_name": "kwargs"}
    torch.save({**state, "pytorch-lightning_version": lightning.__version__}, checkpoint)
    path = Path(folder) / MODEL
    package(["build", checkpoint, str(path)])
    return path


def data_config(config: dict[str, Any], example: str) -> dict[str, Any]:
    """NequIP's description of data: here of the one frame that a package has in it as an example."""
    names = {"model_type_names": config["type_names"]}
    names["chemical_species_to_atom_type_map"] = {element: element for element in config["type_names"]}
    transforms = "nequip.data.transforms"
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 1,
        "train_file_path": [example],
        "val_file_path": [example],
        "transforms": [
            {"_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper", **names},
            {"_target_": f"{transforms}.NeighborListTransform", "r_max": config["r_max"]},
        ],
    }


def require_same(package: Path, work: Work, best: dict[str, Any], stop: Any) -> None:
    """Refuse a package whose model, loaded as others load it, has other forces than the model that was trained."""
    from nequip.model.saved_models.load_utils import load_saved_model

    work.model.load_state_dict(best)
    written = load_saved_model(str(package)).to(work.device)
    forces = []
    for model in (work.model, written):
        model.eval()
        forces.append(model(without_labels(next(work.batches("stop"))))["forces"].detach())
    apart = float((forces[0] - forces[1]).abs().max())
    if math.isfinite(float(forces[0].abs().max())) and not apart < SAME_EV_A:
        raise SystemExit(f"the model that was written has forces {apart:.2g} eV/Å from those of the one trained")


if __name__ == "__main__":
    main()

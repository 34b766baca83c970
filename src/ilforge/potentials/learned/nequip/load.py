"""Loads a NequIP or Allegro model; :mod:`ilforge.potentials.learned.outside.worker` runs it in its environment."""

from typing import Any


def load(settings: dict[str, Any]) -> tuple[Any, list[str]]:
    """ASE calculator of a packaged model or a checkpoint, and the elements that it knows.

    Without a ``path`` it is a small network with random weights, which shows whether the packages work.
    """
    from nequip.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms
    from nequip.model.saved_models.load_utils import load_saved_model
    from nequip.utils.global_state import set_global_state

    set_global_state()
    model = load_saved_model(settings["path"]) if "path" in settings else untrained(settings["elements"])
    model.eval()
    elements = model.metadata["type_names"].split()
    transforms = basic_transforms(model.metadata, float(model.metadata["r_max"]), elements, {z: z for z in elements})
    return NequIPCalculator(model, settings["device"], transforms=transforms), elements


def untrained(elements: list[str]) -> Any:
    """A NequIP network with the random weights of a seed."""
    from nequip.model import NequIPGNNModel

    return NequIPGNNModel(
        seed=1,
        model_dtype="float64",
        type_names=elements,
        r_max=5.0,
        num_layers=2,
        num_features=8,
        avg_num_neighbors=2.0,
    )

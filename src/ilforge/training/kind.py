"""What a kind of model says of itself: how it is trained, by which keys of a study file, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ilforge.devices import Program
from ilforge.settings import Settings


class ModelSettings(Settings):
    """Keys of a model in ``[models]``; each kind has a class of its own, beside the function that trains it."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Values of keys by the name of a preset; the first is used where a table names none."""

    kind: str
    committee: Annotated[int, Field(ge=1, le=20)] = 1
    """Number of models that differ only in their seed. Concurrent learning explores with two or more."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not cls.presets:
            return data
        chosen = data.get("preset", next(iter(cls.presets)))
        return {**cls.presets.get(chosen, {}), **data} if isinstance(chosen, str) else data


@dataclass(frozen=True)
class Size:
    """How much a training has to learn from: for planning only.

    Attributes
    ----------
    atoms
        Of all frames together.
    largest
        Atoms of the largest frame.
    """

    atoms: int
    largest: int


@dataclass(frozen=True)
class TrainerKind:
    """One kind of model.

    Attributes
    ----------
    name
        What ``kind`` says in a study file.
    title
        As it is printed: ``"MACE"``.
    settings
        Its keys in a study file.
    train
        ``train(dataset, settings, seed, directory, threads=1, start_from=None, isolated_atoms=None)`` gives the model
        file; ``start_from`` is the model file of an earlier training, ``isolated_atoms`` are energies in eV by element
        (left out where ``counts_from_atoms`` is false). A training that was stopped goes on when it is called again.
    file
        Name of the model file within the directory.
    potential
        Kind of potential that runs it.
    seconds
        Expected time of a training from the start on one core, s.
    seconds_per_step
        Expected time of a step of MD with the model, s, for settings and a number of atoms.
    retrained_share
        Share of the work that is left where a training goes on from an earlier model.
    counts_from_atoms
        Whether it can count energies from isolated atoms: its settings have ``atom_energies`` then.
    progress
        ``(done, total)`` of a training in a directory.
    note
        What is to be known of a training that has ended, in a sentence, or nothing.
    step
        What its learning curve is counted in: ``"epoch"`` or ``"step"``.
    learns_stress
        Whether settings ask it to learn from stresses.
    programs, computes_with, memory_GB
        What has to be installed, what can use a GPU, and memory of a training.
    numbered
        Whether one model is number 1 of a committee, too: so in its name and its seed.
    """

    name: str
    title: str
    settings: type[ModelSettings]
    train: Callable[..., Path]
    file: str
    potential: str
    seconds: Callable[[Any, Size], float]
    seconds_per_step: Callable[[Any, int], float]
    retrained_share: Callable[[Any], float] = lambda settings: 1.0
    counts_from_atoms: bool = False
    progress: Callable[[Path], tuple[int, int]] | None = None
    note: Callable[[Path], str] = lambda directory: ""
    step: Literal["epoch", "step"] = "step"
    learns_stress: Callable[[Any], bool] = lambda settings: False
    programs: tuple[str, ...] = ()
    computes_with: Program | None = None
    memory_GB: float = 1.0
    numbered: bool = False

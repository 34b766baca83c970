"""The description of a kind of model: its training, its keys in a study file, and the potential that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase import Atoms
from pydantic import Field, model_validator

from ilforge.devices import Program
from ilforge.settings import Settings


class ModelSettings(Settings):
    """Keys of a model in ``[models]``; each kind has a class of its own, beside the function that trains it."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Values of keys by the name of a preset; the first preset is the default."""
    tuning_preset: ClassVar[str] = ""
    """The preset of models with a `start`; empty for kinds that cannot be fine-tuned."""
    of_the_network: ClassVar[frozenset[str]] = frozenset()
    """Keys that describe the network; a model with a `start` takes its network from the start."""
    left_out_at_default: ClassVar[frozenset[str]] = frozenset()
    """Keys that were added later; without them, models that were trained earlier keep their names in the store."""

    kind: str
    committee: Annotated[int, Field(ge=1, le=20)] = 1
    """Number of models that differ only in their seed. Concurrent learning explores with two or more."""
    start: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Fine-tuning: the model whose network and weights the training starts from. The name of another model of the
    study, of a model file or a pretrained model in `[potentials]`, or the path of a model file, relative to the study
    file."""
    start_sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """Digest of the file that `start` names by its path. A model file can run code when it is loaded; only a file with
    this digest is loaded."""
    teacher: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Potential or model of the study that labels the training frames of this model. ilforge makes these frames for
    this model; the labels of the reference are used only to validate it."""
    frames: Annotated[int, Field(ge=10, le=100_000)] = 1000
    """Number of frames that the teacher labels; a tenth of them validates the model."""
    frames_by: Annotated[list[Literal["sampling", "teacher"]], Field(min_length=1)] | None = None
    """Potentials that move the atoms to make these frames: the `sampling` potential, the `teacher`, or both. By default
    both, if the teacher is a model or a force field, otherwise the `sampling` potential. The teacher makes EQ frames
    only."""
    frames_boxes: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Field(min_length=1, max_length=5)] = [1, 5]
    """Sizes of the boxes of these frames, as multiples of `liquid.ions`."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not cls.presets:
            return data
        tuned = bool(cls.tuning_preset) and data.get("start") is not None
        if tuned:
            cls._refuse_own_network(data)
            data = {"preset": cls.tuning_preset, **data}
        chosen = data.get("preset", next(iter(cls.presets)))
        return {**cls.presets.get(chosen, {}), **data} if isinstance(chosen, str) else data

    @classmethod
    def _refuse_own_network(cls, data: Mapping[str, Any]) -> None:
        given = sorted(cls.of_the_network & set(data))
        if given:
            raise ValueError(f"{given[0]} describes the network, and start brings its own: leave one of the two out")
        if data.get("preset", cls.tuning_preset) != cls.tuning_preset:
            raise ValueError(
                f"preset is {data['preset']!r}, but a model with a start is fine-tuned: leave preset out (it is "
                f"{cls.tuning_preset!r} then), and give single keys such as epochs beside it"
            )

    @model_validator(mode="after")
    def _keys_go_together(self) -> ModelSettings:
        for key in ("frames", "frames_by", "frames_boxes"):
            if self.changed(key) and self.teacher is None:
                raise ValueError(f"{key} is about frames that a teacher labels: name a teacher, or leave it out")
        if self.tuning_preset and self.start is None and getattr(self, "preset", "") == self.tuning_preset:
            raise ValueError(
                f"preset = {self.tuning_preset!r} is for fine-tuning: name the model to start from in start"
            )
        if self.start_sha256 is not None and self.start is None:
            raise ValueError("start_sha256 is the digest of the file that start names: give both, or neither")
        return self

    def changed(self, key: str) -> bool:
        """Whether the value of a key differs from its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def decisive(self) -> dict[str, Any]:
        """Keys that affect the result of a training, without its data and its start."""
        plan = {"kind", "committee", "atom_energies", *_OF_THE_PLAN}
        found = self.model_dump(exclude=plan | (self.of_the_network | {"preset"} if self.start is not None else set()))
        default = {key: type(self).model_fields[key].default for key in self.left_out_at_default}
        return {key: value for key, value in found.items() if key not in default or value != default[key]}


_OF_THE_PLAN = ("start", "start_sha256", "teacher", "frames", "frames_by", "frames_boxes")
"""Keys that determine the data and the start of a training; stages that follow from them are inputs of the training."""


@dataclass(frozen=True)
class Tuning:
    """How a training starts from another model.

    Attributes
    ----------
    sha256
        Digest of the model that it starts from.
    replay
        Frames of other liquids on which the model should not change; their labels are not used.
    """

    sha256: str
    replay: Sequence[Atoms] = ()


@dataclass(frozen=True)
class Size:
    """Size of the training data, for planning only.

    Attributes
    ----------
    atoms
        Number of atoms of all frames together.
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
        Value of ``kind`` in a study file.
    title
        As it is printed: ``"MACE"``.
    settings
        Its keys in a study file.
    train
        ``train(dataset, settings, seed, directory, threads=1, start_from=None, isolated_atoms=None)`` gives the model
        file; ``start_from`` is the model file of an earlier training, ``isolated_atoms`` are energies in eV by element
        (left out where ``counts_from_atoms`` is false). Where the settings have a ``tuning_preset`` it takes
        ``tuning=None`` too, a :class:`Tuning` where ``start_from`` is a model to fine-tune. A training that was stopped
        goes on when it is called again.
    file
        Name of the model file within the directory.
    potential
        Kind of potential that runs it.
    seconds
        Expected time of a training from the start on one core, s.
    seconds_per_step
        Expected time of a step of MD with the model, s, for settings and a number of atoms.
    retrained_share
        Share of the work of a training from the start that is needed to continue from an earlier model.
    counts_from_atoms
        Whether its energies can be relative to isolated atoms; its settings then have ``atom_energies``.
    progress
        ``(done, total)`` of a training in a directory.
    note
        A sentence that the user should know about a training that has ended, or nothing.
    step
        Unit of its learning curve: ``"epoch"`` or ``"step"``.
    learns_stress
        Whether the settings let it learn from stresses.
    programs, computes_with, memory_GB
        Programs that must be installed, programs that can use a GPU, and memory of a training in GB.
    numbered
        Whether the name and the seed of a single model are those of number 1 of a committee.
    start_of
        What ``start_from`` is where a training starts from a potential, by its spec: its model file.
    keys_file
        Name of a JSON file beside the model file, with further keys of the potential that runs it; a model that needs
        none may have no such file.
    snippets
        Files that use the model in other programs, by name, with ``{file}``, ``{sha256}``, ``{elements}``, ``{dtype}``,
        ``{temperature_K}``, ``{spec}`` (as :func:`ilforge.create` takes it) and ``{added}`` (what the potential adds to
        the model) to be filled in.
    snippets_by_ion_name
        Those of them that look ions up by name; they cannot run where a study defines ions of its own.
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
    start_of: Callable[[Mapping[str, Any]], Any] = lambda spec: Path(spec["path"])
    keys_file: str = ""
    snippets: Mapping[str, str] = field(default_factory=dict)
    snippets_by_ion_name: frozenset[str] = frozenset()

    def keys(self, directory: Path) -> dict[str, Any]:
        """Further keys of the potential that runs the model in a directory."""
        path = Path(directory) / self.keys_file
        found: dict[str, Any] = json.loads(path.read_text()) if self.keys_file and path.is_file() else {}
        return found

    def spec(self, directory: Path, sha256: str) -> dict[str, Any]:
        """The model in a directory as :func:`ilforge.potentials.create` takes it."""
        path = str(Path(directory) / self.file)
        return {"kind": self.potential, "path": path, "sha256": sha256, **self.keys(directory)}

    @property
    def fine_tunes(self) -> bool:
        """Whether a model of this kind can start from another one."""
        return bool(self.settings.tuning_preset)

"""Starts of trainings: none, the model's own training of the previous iteration, or another model that is
fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import potentials
from ilforge.errors import SettingsError
from ilforge.labelling.datasets.published import Published
from ilforge.labelling.datasets.shipped import open_dataset
from ilforge.potentials.learned import model_file
from ilforge.study.lineage import start_of
from ilforge.study.load import Study
from ilforge.training import TRAINERS, ModelSettings, Tuning
from ilforge.workflow.job import Job
from ilforge.workflow.stage import Stage
from ilforge.workflow.steps.structures import spec_of
from ilforge.workflow.store import read_manifest


@dataclass(frozen=True)
class Start:
    """A model to fine-tune.

    Attributes
    ----------
    stage
        Its training, if it is a model of the study.
    spec
        Its description for :func:`ilforge.potentials.create`, if it is a given potential.
    replay
        Dataset of other liquids.
    replay_frames, seed
        Number of its frames that are used, and the seed with which they are drawn.
    """

    stage: Stage | None = None
    spec: Mapping[str, Any] | None = None
    replay: Published | None = None
    replay_frames: int = 0
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """Everything about it that affects the result and is not an input."""
        found: dict[str, Any] = {}
        if self.spec is not None:
            found["start"] = potentials.create(self.spec).describe()
        if self.replay is not None:
            found["replay"] = {"dataset": self.replay.digest, "frames": self.replay_frames, "seed": self.seed}
        return found

    @property
    def inputs(self) -> dict[str, Stage]:
        """The training that makes it, if it is a model of the study."""
        return {} if self.stage is None else {"start": self.stage}

    def read(self, job: Job, kind: str) -> tuple[Any, Tuning]:
        """What the kind of model starts from, trusted and verified, and how it is fine-tuned."""
        trainer = TRAINERS[kind]
        if self.stage is not None:
            directory = job.trusted_input("start")
            origin, sha256 = directory / trainer.file, read_manifest(directory)["files"][trainer.file]
        else:
            spec = self.spec or {}
            origin, sha256 = trainer.start_of(spec), str(spec.get("sha256", ""))
            if sha256:
                model_file.verified(Path(spec["path"]), sha256)
        return origin, Tuning(sha256, self._replayed())

    def _replayed(self) -> list[Any]:
        if self.replay is None:
            return []
        held = self.replay.frames("training")
        chosen = np.random.default_rng(self.seed).permutation(len(held))[: self.replay_frames]
        return [held[i] for i in sorted(chosen)]


def start_for(study: Study, name: str, trained: Stage | None, dataset: Published | None) -> Start:
    """The start of a model of the study file.

    Parameters
    ----------
    trained
        Training of the model that it names, if it names one.
    dataset
        The dataset with the labels of the study, if they come from one.

    Raises
    ------
    SettingsError
        When the replay dataset is missing, is that of the study itself, or has too few frames.
    """
    keys = study.settings.models[name].model_dump()  # replay is a key of some kinds only
    replay, count = None, 0
    if keys.get("replay") is not None:
        replay, count = open_dataset(keys["replay"], study.folder), keys["replay_frames"]
        _refuse_replay(name, replay, count, dataset)
    spec = None if trained is not None else start_spec(study, name)
    if spec is not None:
        TRAINERS[study.settings.models[name].kind].start_of(spec)  # refuses what cannot be started from
    return Start(trained, spec, replay, count, study.seed("replay", name))


def start_spec(study: Study, name: str) -> dict[str, Any]:
    """The given model that a model of the study file starts from, for :func:`ilforge.potentials.create`."""
    settings, link = study.settings.models[name], start_of(study.settings, name)
    assert link is not None and link.what != "model"
    if link.what == "potential":
        return spec_of(study, link.name)
    path = str(study.folder / Path(settings.start or "").expanduser())
    return {"kind": TRAINERS[settings.kind].potential, "path": path, "sha256": settings.start_sha256}


def with_network(study: Study, name: str) -> ModelSettings:
    """Settings of a model with the network of its start, as far as the study knows it, for planning."""
    settings, link = study.settings.models[name], start_of(study.settings, name)
    if link is None or link.what != "model":
        return settings
    base = with_network(study, link.name)
    return settings.model_copy(update={key: getattr(base, key) for key in settings.of_the_network})


def _refuse_replay(name: str, replay: Published, count: int, dataset: Published | None) -> None:
    if dataset is not None and replay.digest == dataset.digest:
        raise SettingsError(
            f"models.{name}.replay is the dataset that {name} learns from: replay needs frames of other liquids, which "
            "the start model knows. Name another dataset, or leave replay out."
        )
    held = sum(replay.counts("training").values())
    if held < count:
        raise SettingsError(
            f"models.{name}.replay_frames is {count}, but {replay.directory} has {held} training frames: lower it."
        )

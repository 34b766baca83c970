"""Part of the programs that train a model in another environment: they load this file by its path.

It imports nothing of ilforge. It has a loop of epochs that can be stopped after each one. The program of each kind of
model says what a network, a batch and a loss are (``Work``). After each epoch everything that the next one depends on
is written (``resume.pt``); what is read back holds only numbers and text, so it runs no code, whoever wrote it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

ORDERS, FRAMES, STATE, CURVE, PROGRESS = "session.json", "frames.npz", "resume.pt", "curve.json", "progress.json"
PROGRESS_S = 2.0
STATE_KEYS = ("epoch", "curve", "best", "best_loss", "steps", "averages", "model", "optimizer", "scheduler")


class Work(Protocol):
    """What a kind of model tells the loop.

    ``errors`` gives for a batch the loss, the sum of the squared errors of energies per atom (eV²), the sum of those of
    force components (eV²/Å²), and the numbers of frames and of components.
    """

    model: Any

    def batches(self, part: str, seed: int | None = None) -> Iterator[Any]: ...
    def count(self, part: str) -> int: ...
    def loss(self, batch: Any) -> Any: ...
    def errors(self, batch: Any) -> tuple[float, float, float, int, int]: ...


class Part:
    """The arrays of one part of ``frames.npz``."""

    def __init__(self, part: str) -> None:
        import numpy as np

        with np.load(FRAMES, allow_pickle=False) as held:
            self.held = {name.removeprefix(f"{part}_"): held[name] for name in held.files if name.startswith(part)}
        self.ends = np.cumsum(self.held["sizes"])

    def __len__(self) -> int:
        return len(self.ends)

    def atoms(self, number: int) -> Any:
        """A frame without its labels, as ``ase.Atoms``."""
        from ase import Atoms

        own = self.own(number)
        return Atoms(
            self.held["numbers"][own],
            self.held["positions"][own],
            cell=self.held["cells"][number],
            pbc=self.held["pbc"][number],
        )

    def label(self, number: int) -> tuple[float, Any, Any]:
        """Energy in eV, forces in eV/Å, and stress in eV/Å³ in Voigt order, NaN where there is none."""
        forces = self.held["forces"][self.own(number)]
        return float(self.held["energies"][number]), forces, self.held["stresses"][number]

    def own(self, number: int) -> slice:
        return slice(int(self.ends[number] - self.held["sizes"][number]), int(self.ends[number]))

    def rms_force(self) -> float:
        """Root mean square of the components of the forces, eV/Å."""
        return math.sqrt((self.held["forces"] ** 2).mean())

    def order(self, seed: int | None) -> list[int]:
        """Numbers of the frames, in the random order of a seed where one is given."""
        import torch

        if seed is None:
            return list(range(len(self)))
        return list(torch.randperm(len(self), generator=torch.Generator().manual_seed(seed)).tolist())


class Training:
    """Adam over a number of epochs. The weights of the epoch that is best on the ``stop`` frames are kept.

    Parameters
    ----------
    settings
        ``epochs``, ``learning_rate``, ``learning_rate_decay`` (a factor after each epoch), ``batch_size``, ``seed``,
        and ``ema_decay`` where weights are averaged: averages are judged and kept in the place of the weights then.
    """

    def __init__(self, work: Work, settings: Mapping[str, Any]) -> None:
        import torch

        self.work, self.model, self.settings = work, work.model, settings
        self.learning = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        self.optimizer = torch.optim.Adam(list(self.learning.values()), lr=settings["learning_rate"])
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, settings["learning_rate_decay"])
        self.averages = {name: value.detach().clone() for name, value in self.learning.items()}
        self.curve: list[list[float]] = []
        self.epoch, self.steps, self.best, self.best_loss = 0, 0, self.weights(), math.inf
        self.said = 0.0

    def run(self, judge_start: bool = False) -> dict[str, Any]:
        """All epochs that are left; gives the best weights."""
        if not self.put_back() and judge_start:
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
        return self.best

    def one_epoch(self, epoch: int) -> float:
        """Train on every frame once; the mean loss."""
        self.model.train()
        total, count = 0.0, 0
        for batch in self.work.batches("train", seed=1_000_003 * self.settings["seed"] + epoch):
            self.optimizer.zero_grad()
            loss = self.work.loss(batch)
            loss.backward()
            self.optimizer.step()
            self.average()
            total, count = total + float(loss.detach()), count + 1
            self.tell(epoch, count)
        return total / count

    def average(self) -> None:
        """Move the averages towards the weights: faster at first, so that the random start is forgotten."""
        if not self.settings.get("ema_decay"):
            return
        self.steps += 1
        kept = min(self.settings["ema_decay"], (1 + self.steps) / (10 + self.steps))
        for name, value in self.learning.items():
            self.averages[name].lerp_(value.detach(), 1.0 - kept)

    def weights(self) -> dict[str, Any]:
        """A copy of the model's state, with averages in the place of weights that learn."""
        averages = self.averages if self.settings.get("ema_decay") else {}
        return {name: averages.get(name, value).detach().cpu().clone() for name, value in state_of(self.model).items()}

    def judge(self, train_loss: float) -> None:
        """Errors on the ``stop`` frames; the weights are kept where their loss is the lowest."""
        learning, judged = {name: value.detach().clone() for name, value in self.learning.items()}, self.weights()
        self.model.load_state_dict(judged)
        self.model.eval()
        loss = energies = forces = 0.0
        count = components = 0
        for batch in self.work.batches("stop"):
            one, energy, force, frames, parts = self.work.errors(batch)
            loss, energies, forces = loss + frames * one, energies + energy, forces + force
            count, components = count + frames, components + parts
        loss /= count
        rmse = math.sqrt(energies / count), math.sqrt(forces / max(1, components))
        self.curve.append([self.epoch, train_loss, loss, *rmse])
        print(f"epoch {self.epoch}: loss {loss:.6g}, force RMSE {rmse[1]:.4f} eV/Å", flush=True)
        if loss < self.best_loss:
            self.best_loss, self.best = loss, judged
        for name, value in self.learning.items():
            value.data.copy_(learning[name])

    def write_down(self) -> None:
        """Everything that the next epoch depends on."""
        import torch

        state = {name: getattr(self, name) for name in ("epoch", "curve", "best", "best_loss", "steps", "averages")}
        state["model"] = dict(state_of(self.model))
        state |= {name: getattr(self, name).state_dict() for name in ("optimizer", "scheduler")}
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
        for name in ("model", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        for name, value in self.averages.items():
            value.copy_(state["averages"][name])
        for name in ("epoch", "curve", "best", "best_loss", "steps"):
            setattr(self, name, state[name])
        return True

    def tell(self, epoch: int, batch: int) -> None:
        """Say how far the training is, every few seconds."""
        per_epoch = -(-self.work.count("train") // self.settings["batch_size"])
        if time.monotonic() - self.said > PROGRESS_S or batch == per_epoch:
            self.said = time.monotonic()
            replace_text(PROGRESS, json.dumps([(epoch - 1) * per_epoch + batch, self.settings["epochs"] * per_epoch]))


def state_of(model: Any) -> Mapping[str, Any]:
    """Weights and constants of a model by name."""
    import torch

    return {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}


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

"""Run as ``python -m ilforge.training.mace_session ARGUMENTS OF mace_run_train``: a training that can be continued.

MACE's own checkpoints contain the averaged weights of its best epochs. They contain neither the current weights, nor
their averages, nor the state of random numbers, so a training that continues from them is another training. Here all of
this is stored before every epoch (``resume.pt``). When a stopped training continues, MACE's own loop runs through the
finished epochs again, with stored results of their validation in place of the work. Then the state is restored, and the
next epoch is the same as without the stop.

The stored state contains only numbers and text (``weights_only``), so reading it runs no code, whoever wrote it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

STATE = "resume.pt"
"""State before an epoch, in the working directory."""
CHECKPOINTS = "checkpoints"


class Session:
    """MACE's training with a memory.

    Attributes
    ----------
    validations
        Loss and errors of every validation so far, in order; the first is before any training.
    """

    def __init__(self, train_module: Any):
        self._module = train_module
        self._train_one_epoch, self._evaluate = train_module.train_one_epoch, train_module.evaluate
        self._train = train_module.train
        self._parts: dict[str, Any] = {}
        self._kept = _read(Path(STATE))
        self.validations: list[tuple[float, dict[str, Any]]] = []

    def install(self, tools: Any) -> None:
        """Replace MACE's functions by these."""
        tools.train = self.train
        self._module.train_one_epoch, self._module.evaluate = self.train_one_epoch, self.evaluate

    def train(self, **parts: Any) -> None:
        """The same as MACE's ``train``; ``parts`` are the objects that it works with."""
        self._parts = parts
        handler, logger = parts["checkpoint_handler"], parts["logger"]
        self._save, self._log = handler.save, logger.log
        if self._kept is not None:
            # what is replayed is written already
            handler.save = logger.log = lambda *args, **kwargs: None
        self._train(**parts)

    def evaluate(self, **arguments: Any) -> tuple[float, dict[str, Any]]:
        """The same as MACE's ``evaluate``; while epochs are replayed, it returns the stored results."""
        number = len(self.validations)
        if self._kept is not None and number < len(self._kept["validations"]):
            found = tuple(self._kept["validations"][number])
        else:
            loss, errors = self._evaluate(**arguments)
            found = (float(loss), {key: _plain(value) for key, value in errors.items()})
        self.validations.append(found)
        return found

    def train_one_epoch(self, **arguments: Any) -> None:
        """The same as MACE's ``train_one_epoch``, but before the epoch the state is restored or stored."""
        epoch = arguments["epoch"]
        if self._kept is not None and epoch < self._kept["epoch"]:
            return
        if self._kept is not None:
            self._put_back(self._kept)
            self._kept = None
        elif epoch > self._parts["start_epoch"]:
            self._write_down(epoch)
        self._train_one_epoch(**arguments)

    def _write_down(self, epoch: int) -> None:
        import torch

        log, io = Path(self._parts["logger"].path), self._parts["checkpoint_handler"].io
        numbers: Any = np.random.get_state()  # noqa: NPY002  # MACE draws from it
        state = {
            "epoch": epoch,
            "validations": self.validations,
            "log_bytes": log.stat().st_size if log.exists() else 0,
            "best": io.old_path,
            "states": {name: part.state_dict() for name, part in self._stateful().items()},
            "torch": torch.get_rng_state(),
            "loader": self._parts["train_loader"].generator.get_state(),
            "numpy": (numbers[0], numbers[1].tolist(), *numbers[2:]),
            "python": random.getstate(),
        }
        partial = Path(f"{STATE}.partial")
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, STATE)

    def _put_back(self, kept: dict[str, Any]) -> None:
        import torch

        for name, part in self._stateful().items():
            part.load_state_dict(kept["states"][name])
        torch.set_rng_state(kept["torch"])
        self._parts["train_loader"].generator.set_state(kept["loader"])
        name, keys, *rest = kept["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
        version, words, gauss = kept["python"]
        random.setstate((version, tuple(words), gauss))
        handler, logger = self._parts["checkpoint_handler"], self._parts["logger"]
        handler.save, logger.log = self._save, self._log
        best = kept["best"]
        handler.io.old_path = best if best and os.path.exists(best) else None  # a kill may have come in between
        log = Path(logger.path)
        if log.exists():
            os.truncate(log, kept["log_bytes"])

    def _stateful(self) -> dict[str, Any]:
        """Everything whose state affects the next epoch."""
        names = ("model", "optimizer", "lr_scheduler", "ema")
        found = {name: self._parts[name] for name in names if self._parts.get(name) is not None}
        swa = self._parts.get("swa")
        return {**found, "swa_model": swa.model, "swa_scheduler": swa.scheduler} if swa is not None else found


def _plain(value: Any) -> Any:
    """A Python number or list; MACE's errors are arrays of NumPy and PyTorch."""
    return value.tolist() if hasattr(value, "tolist") else value


def _read(path: Path) -> dict[str, Any] | None:
    """The state of a stopped training, if it and all files that MACE will load are complete and contain no code."""
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = _load(path)
        for checkpoint in sorted(Path(CHECKPOINTS).glob("*.pt")):
            if checkpoint.is_symlink():
                raise ValueError("a link")
            _load(checkpoint)
    except Exception as error:  # damaged by a kill, or made with bad intent: the training begins again
        print(f"{path} or a checkpoint cannot be used, the training begins at its start: {error}", flush=True)
        _forget()
        return None
    return state


def _load(path: Path) -> Any:
    import torch

    before = os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # which mace sets, and which would allow code
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    finally:
        if before is not None:
            os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = before


def _forget() -> None:
    for path in [*Path(CHECKPOINTS).glob("*.pt"), *Path("results").glob("*_train.txt"), Path(STATE)]:
        path.unlink(missing_ok=True)


def main() -> None:
    """Train as ``mace_run_train`` does."""
    import mace.tools as tools
    from mace.cli import run_train

    Session(sys.modules["mace.tools.train"]).install(tools)
    run_train.main()


if __name__ == "__main__":
    main()

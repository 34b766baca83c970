"""Run as ``python -m ilforge.training.deepmd_session``: several ``dp`` commands in one warm TensorFlow.

TensorFlow takes longer to start than to freeze a model. Therefore training, freezing, compression and the check of the
compression share one process. The entry point of DeePMD-kit supports such calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import files

PARITY = "parity.json"
CHECKPOINT = "model.ckpt"


def compare(first: str, second: str, frames: list[dict[str, Any]]) -> dict[str, float]:
    """Largest differences between two models over frames; NaN if one of them gives NaN.

    Parameters
    ----------
    first, second
        Model files.
    frames
        Of each ``positions`` ``(n, 3)`` in Å, ``cell`` ``(3, 3)`` in Å or None, and ``types`` ``(n,)``.

    Returns
    -------
    dict
        ``energy_eV_atom``, ``force_eV_A`` (of a component) and ``virial_eV_atom`` (of a component of
        :math:`-\\sum_i r_i f_i`, divided by the number of atoms), and ``finite``: whether all that the first model
        gives are numbers.
    """
    from deepmd.infer import DeepPot

    models = [DeepPot(model, auto_batch_size=False) for model in (first, second)]
    found = {"energy_eV_atom": 0.0, "force_eV_A": 0.0, "virial_eV_atom": 0.0}
    finite = True
    for frame in frames:
        positions = np.asarray(frame["positions"], dtype=float)
        cell = None if frame["cell"] is None else np.asarray(frame["cell"], dtype=float).reshape(1, 9)
        one, other = (model.eval(positions.reshape(1, -1), cell, frame["types"])[:3] for model in models)
        finite = finite and all(bool(np.isfinite(values).all()) for values in one)
        energy, force, virial = (float(np.max(np.abs(a - b))) for a, b in zip(one, other, strict=True))
        here = {
            "energy_eV_atom": energy / len(positions),
            "force_eV_A": force,
            "virial_eV_atom": virial / len(positions),
        }
        found = {key: float(np.maximum(found[key], here[key])) for key in found}  # NaN stays NaN
    return {**found, "finite": finite}


class Batches:
    """Frames in an order that depends only on a seed and on the number of frames drawn before.

    DeePMD-kit draws training frames, validation frames and frames for statistics from one stream of random numbers, and
    a continued training starts this stream again. Here each kind has its own stream, which continues where it stopped.

    Parameters
    ----------
    data
        A ``DeepmdDataSystem``.
    seed
        Of the stream.
    drawn
        Batches that were drawn before.
    repeat_first
        How often the first batch is returned again, because DeePMD-kit requests one only to find the shapes of its
        arrays.
    """

    def __init__(self, data: Any, seed: int, drawn: int, repeat_first: int = 0):
        self._data, self._stream = data, np.random.RandomState(seed)
        for system in data.data_systems:
            system.iterator = system.set_count = 0
            vars(system).pop("batch_set", None)
        for _ in range(drawn):
            self._draw()
        self._ready: list[dict[str, Any]] = [self._draw()] * (repeat_first + 1) if repeat_first else []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def get_batch(self) -> dict[str, Any]:
        """The next batch."""
        return self._ready.pop() if self._ready else self._draw()

    def _draw(self) -> dict[str, Any]:
        from deepmd.utils import random as dp_random

        before, dp_random._RANDOM_GENERATOR = dp_random._RANDOM_GENERATOR, self._stream
        try:
            batch: dict[str, Any] = self._data.get_batch()
            return batch
        finally:
            dp_random._RANDOM_GENERATOR = before


def latest_checkpoint(directory: Path) -> tuple[str, int] | None:
    """Name and step of the newest checkpoint that can be read completely; None if there is none."""
    import tensorflow as tf

    found: dict[int, str] = {}
    for index in directory.glob(f"{CHECKPOINT}-*.index"):
        at = index.name.removeprefix(f"{CHECKPOINT}-").removesuffix(".index")
        if at.isdigit() and (directory / f"{CHECKPOINT}-{at}.meta").is_file():
            found[int(at)] = f"{CHECKPOINT}-{at}"
    for step, name in sorted(found.items(), reverse=True):
        try:
            reader = tf.train.load_checkpoint(str(directory / name))
            for variable in reader.get_variable_to_shape_map():
                reader.get_tensor(variable)
        except (tf.errors.OpError, ValueError, RuntimeError):  # cut short by a kill
            continue
        return name, step
    return None


def draw_alike(step: int, seed: int, valid_batches: int, every: int) -> None:
    """Let a training draw the frames that would follow after this many steps."""
    from deepmd.tf.train.trainer import DPTrainer

    train = DPTrainer.train

    def drawing_alike(self: Any, train_data: Any = None, valid_data: Any = None) -> None:
        training = Batches(train_data, seed, step, repeat_first=1)
        validation = None if valid_data is None else Batches(valid_data, seed + 1, valid_batches * (step // every))
        train(self, training, validation)

    DPTrainer.train = drawing_alike


def _cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line after a kill, because the next line would be appended to it."""
    if path.is_file():
        content = path.read_bytes()
        files.write_bytes(path, content[: content.rfind(b"\n") + 1])


def main() -> None:
    """Run the ``commands`` in ``session.json`` of the working directory, then ``compare``.

    A training that was stopped continues from its newest checkpoint.
    """
    from deepmd.tf.entrypoints.main import main as dp

    session = json.loads(Path("session.json").read_text())
    at = latest_checkpoint(Path()) if session["resume"] else None
    settings = json.loads(Path(session["input"]).read_text())["training"]
    step = at[1] if at else 0
    _cut_torn_line(Path(settings["disp_file"]))
    draw_alike(step, settings["seed"], settings["validation_data"]["numb_btch"], settings["disp_freq"])
    for command in session["commands"]:
        dp(["train", "--restart", at[0], session["input"]] if at and command[0] == "train" else command)
    found = compare(**session["compare"])
    files.write_text(Path(PARITY), json.dumps(found))


if __name__ == "__main__":
    main()

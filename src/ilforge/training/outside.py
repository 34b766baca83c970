"""What all kinds of model share that are trained by a program in another environment.

The program (``NAME/session.py``) reads ``session.json`` and ``frames.npz`` in the folder of the training. A training
that was stopped goes on where ``training.json`` says that it is the same one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import canonical, environments, files, frames, programs
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.training import curve

ORDERS, FRAMES, PLAN, CURVE = "session.json", "frames.npz", "training.json", "curve.json"
STATE, PROGRESS = "resume.pt", "progress.json"


def read(path: Path) -> Any:
    """Contents of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def progress(directory: Path) -> tuple[int, int]:
    """Optimiser steps done and to do of a training that runs in this directory."""
    done, total = read(Path(directory) / PROGRESS) or (0, 0)
    return int(done), int(total)


def made_of(
    environment: str,
    dataset: Dataset,
    orders: Mapping[str, Any],
    *further: Any,
) -> str:
    """Digest of all that decides a training: one that was stopped goes on only if it is the same.

    Paths, threads and the device in ``orders`` are left out; versions of the packages are in it.
    """
    aside = {"worker", "interactions", "threads", "start", "device"}
    start = orders["start"] and orders["start"]["sha256"]
    decisive = {key: value for key, value in orders.items() if key not in aside}
    versions = dict(environments.look(environment).versions)
    return canonical.digest([dataset.digest, decisive, start, *further, versions])


def write_frames(path: Path, parts: Mapping[str, Sequence[Atoms]]) -> None:
    """Labelled frames as arrays for the program; a stress that is missing is NaN."""
    arrays: dict[str, np.ndarray] = {}
    for part, labelled in parts.items():
        own = {
            "sizes": np.array([len(frame) for frame in labelled]),
            "numbers": np.concatenate([frame.numbers for frame in labelled]),
            "positions": np.concatenate([frame.positions for frame in labelled]),
            "cells": np.array([frame.cell.array for frame in labelled]),
            "pbc": np.array([frame.pbc for frame in labelled]),
            "energies": np.array([frame.info[frames.ENERGY] for frame in labelled], dtype=float),
            "forces": np.concatenate([frame.arrays[frames.FORCES] for frame in labelled]),
            "stresses": np.array([frame.info.get(frames.STRESS, np.full(6, np.nan)) for frame in labelled]),
        }
        arrays |= {f"{part}_{name}": array for name, array in own.items()}
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def begin(
    environment: str, dataset: Dataset, orders: Mapping[str, Any], directory: Path, leftovers: Sequence[str]
) -> None:
    """Write what the program reads. What another training left in the directory is removed.

    Parameters
    ----------
    leftovers
        Files that this training continues from or ends with, apart from those that all kinds of model have.
    """
    plan = {"made_of": made_of(environment, dataset, orders)}
    if read(directory / PLAN) != plan:
        for name in (PLAN, PROGRESS, *leftovers):
            (directory / name).unlink(missing_ok=True)
    write_frames(directory / FRAMES, {"train": dataset.train, "stop": dataset.stop})
    files.write_text(directory / ORDERS, json.dumps(orders))
    files.write_text(directory / PLAN, json.dumps(plan))


def run(python: Path, session: Path, task: str, directory: Path, log: str, threads: int) -> None:
    """Run the program of a kind of model in the folder of a training."""
    # -I: no variable and no file beside a study decides what the other interpreter imports
    programs.run([str(python), "-I", str(session), task], directory, log=log, threads=threads)


def finish(directory: Path, title: str) -> None:
    """Write the learning curve of a training that has ended, and remove what only a stopped one needs.

    Raises
    ------
    Unphysical
        When it ended with NaN.
    """
    points = [curve.Point(int(step), *map(float, rest)) for step, *rest in read(directory / CURVE)]
    curve.keep(directory, points, title)
    for name in (STATE, FRAMES, ORDERS, CURVE, PROGRESS):
        (directory / name).unlink(missing_ok=True)

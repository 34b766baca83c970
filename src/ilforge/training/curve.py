"""Learning curves in one form for all kinds of model."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from ilforge import files
from ilforge.errors import Unphysical

FILE = "learning_curve.csv"


@dataclass(frozen=True)
class Point:
    """One line of a learning curve; NaN for values that a program does not print.

    Attributes
    ----------
    step
        Epoch for MACE, optimiser step for DeePMD.
    train_loss, stop_loss
        The program's own loss on training and early-stopping frames: comparable within one curve only.
    energy_rmse_eV_atom, force_rmse_eV_A
        Errors on the early-stopping frames.
    """

    step: int
    train_loss: float
    stop_loss: float
    energy_rmse_eV_atom: float
    force_rmse_eV_A: float


def write(directory: Path, points: Iterable[Point]) -> Path:
    """Write ``learning_curve.csv`` into a model's directory."""
    path = Path(directory) / FILE
    with files.replacing(path) as partial, open(partial, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([column.name for column in fields(Point)])
        table.writerows(astuple(point) for point in points)
    return path


def keep(directory: Path, points: list[Point], program: str) -> None:
    """Write the curve of a training that has ended.

    Raises
    ------
    Unphysical
        When it ended with NaN.
    """
    if not points or not math.isfinite(points[-1].force_rmse_eV_A):
        raise Unphysical(f"{program} training in {directory} ended without finite errors: lower the learning rate.")
    write(directory, points)


def read(directory: Path) -> list[Point]:
    """Read the curve of a model back."""
    with open(Path(directory) / FILE, newline="") as file:
        return [
            Point(int(row["step"]), *(float(row[column.name]) for column in fields(Point)[1:]))
            for row in csv.DictReader(file)
        ]


def learning_curve(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Epochs or steps, and the force RMSE on the early-stopping frames in eV/Å, both of shape ``(n,)``."""
    points = read(directory)
    return np.array([point.step for point in points]), np.array([point.force_rmse_eV_A for point in points])

"""Run as ``python -m ilforge.training.deepmd_session``: several ``dp`` commands in one warm TensorFlow.

Starting TensorFlow takes longer than freezing a model: train, freeze, compress and the check that compression
did no harm share one process here. DeePMD-kit's entry point is made for being called like this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ilforge import files

PARITY = "parity.json"


def compare(first: str, second: str, frame: dict[str, Any]) -> dict[str, float]:
    """Largest differences between two models on one frame.

    Parameters
    ----------
    first, second
        Model files.
    frame
        ``positions`` ``(n, 3)`` in Å, ``cell`` ``(3, 3)`` in Å or None, and ``types`` ``(n,)``.

    Returns
    -------
    dict
        ``energy_eV_atom`` and ``force_eV_A``.
    """
    from deepmd.infer import DeepPot

    positions = np.asarray(frame["positions"], dtype=float)
    cell = None if frame["cell"] is None else np.asarray(frame["cell"], dtype=float).reshape(1, 9)
    results = [
        DeepPot(model, auto_batch_size=False).eval(positions.reshape(1, -1), cell, frame["types"])[:2]
        for model in (first, second)
    ]
    (energy_1, forces_1), (energy_2, forces_2) = results
    return {
        "energy_eV_atom": float(np.max(np.abs(energy_1 - energy_2))) / len(positions),
        "force_eV_A": float(np.max(np.abs(forces_1 - forces_2))),
    }


def main() -> None:
    """Do what ``session.json`` in the working directory says: ``commands``, then ``compare``."""
    from deepmd.tf.entrypoints.main import main as dp

    session = json.loads(Path("session.json").read_text())
    for command in session["commands"]:
        dp(command)
    found = compare(**session["compare"])
    files.write_text(Path(PARITY), json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())

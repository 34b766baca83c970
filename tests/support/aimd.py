"""A tiny AIMD run that can be started, killed and continued: ``python -m support.aimd DIRECTORY INBOX STEPS``.

It computes so many steps and then waits to be killed, however late that is.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from ase import Atoms

from ilforge.labelling import aimd
from ilforge.labelling.aimd import AimdRun, run_aimd
from ilforge.liquid.liquid import Liquid

SPEC = {"kind": "xtb", "method": "GFN1-xTB"}
N_FRAMES = 12


def liquid() -> Liquid:
    return Liquid.of({"LI": 1, "BF4": 1})


def start() -> Atoms:
    """One Li+ beside one BF4-, 2.25 Å from B, in a box of 7 Å."""
    ions = liquid()
    positions = [[5.3, 5.3, 5.3], *(ions.ions[1][0].positions + 4.0)]
    info = {"ions": ions.label, "kind": "nEQ", "recipe": "packed", "parent": "tiny"}
    return Atoms(ions.topology.symbols, positions=positions, cell=[7.0] * 3, pbc=True, info=info)


def run(directory: Path, inbox: Path | None, n_frames: int = N_FRAMES, **others) -> AimdRun:
    return run_aimd(
        start(), others.pop("spec", SPEC), liquid(), n_frames=n_frames, temperature_K=423.0, timestep_fs=0.5, seed=4,
        directory=directory, inbox=inbox, **others,
    )  # fmt: skip


def wait_after(steps: int) -> None:
    """Let every later step wait for ever."""
    evaluate, begun = aimd.evaluate, []

    def evaluate_or_wait(*arguments, **more):
        begun.append(1)
        if len(begun) > steps:
            threading.Event().wait()
        return evaluate(*arguments, **more)

    aimd.evaluate = evaluate_or_wait


if __name__ == "__main__":
    wait_after(int(sys.argv[3]))
    run(Path(sys.argv[1]), Path(sys.argv[2]))

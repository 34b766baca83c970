"""One contender of ``mace_speed.py`` in a process of its own, which stays warm and is asked through a pipe.

``python mace_worker.py KIND THREADS FILE...`` reads pickled boxes from its input and answers each with pickled seconds
of every step. ``fast`` takes networks that ilforge has extracted (several: a committee), ``torch`` a model file of
mace-torch, and ``symmetrix`` a model that Symmetrix-XL has converted; the last needs nothing of ilforge.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LEG = 24
"""Steps of 0.5 fs after which the atoms turn back: the fastest then are 0.5 Å from where they started."""


def fast(files: list[str], symbols: list[str], threads: int) -> Callable[..., Any]:
    """Compiled kernels, as MD asks them."""
    from ilforge.potentials.learned.fast_mace.calculator import FastMaceEvaluator
    from ilforge.potentials.learned.fast_mace.network import Network

    networks = []
    for file in files:
        stored = Network.load(Path(file))
        assert stored is not None
        networks.append(stored[0])
    finders = [lambda frame, network=network: network for network in networks]
    return FastMaceEvaluator(finders, lambda: None, symbols, threads).evaluate


def by_torch(files: list[str], symbols: list[str], threads: int) -> Callable[..., Any]:
    """mace-torch in single precision."""
    import torch

    from ilforge.potentials.force_evaluator import CalculatorEvaluator
    from ilforge.potentials.learned.mace.calculator import MaceCalculator

    torch.set_num_threads(threads)
    model = torch.load(files[0], map_location="cpu", weights_only=False)
    return CalculatorEvaluator(MaceCalculator(model, "float32"), symbols).evaluate


def symmetrix(files: list[str], symbols: list[str], threads: int) -> Callable[..., Any]:
    """Symmetrix-XL in single precision."""
    from ase import Atoms
    from symmetrix import Symmetrix

    atoms = Atoms(symbols, np.zeros((len(symbols), 3)), pbc=True)
    atoms.calc = Symmetrix(files[0])

    def evaluate(positions: np.ndarray, cell: np.ndarray) -> None:
        atoms.cell[:] = cell
        atoms.positions = positions
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()

    return evaluate


KINDS = {"fast": fast, "torch": by_torch, "symmetrix": symmetrix}


class Box:
    """A box whose atoms move to and fro, each with its velocity, as far as in 12 fs of MD."""

    def __init__(self, evaluate: Callable[..., Any], asked: dict[str, Any]):
        self._evaluate, self._cell = evaluate, asked["cell"]
        self._positions, self._velocities = asked["positions"], asked["velocities"]
        self._step = 0

    def steps(self, count: int) -> list[float]:
        """Seconds of each of so many steps of 0.5 fs."""
        seconds = []
        for _ in range(count):
            self._step += 1
            along = self._step % (2 * LEG)
            time_fs = 0.5 * (min(along, 2 * LEG - along) - LEG / 2)
            positions = self._positions + time_fs * self._velocities
            started = time.perf_counter()
            self._evaluate(positions, self._cell)
            seconds.append(time.perf_counter() - started)
        return seconds


def registers() -> str:
    """Which registers the compiled kernels use."""
    code = ""
    for name, module in sys.modules.items():
        if name.startswith("ilforge_kernels"):
            for function in ("second_stage", "third_stage"):
                code += "".join(getattr(module, function).inspect_asm().values())
    return "AVX-512" if "%zmm" in code else "AVX2" if "%ymm" in code else "none"


def peak_memory() -> float:
    """Of this process, MB. (``getrusage`` would say that of the one that started it, where it was more.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    kind, threads, *files = sys.argv[1:]
    answers, requests = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # what programs print is no answer
    boxes: dict[str, Box] = {}
    while True:
        try:
            asked = pickle.load(requests)
        except EOFError:
            return
        if asked["name"] not in boxes:
            evaluate = KINDS[kind](files, asked["symbols"], int(threads))
            boxes[asked["name"]] = Box(evaluate, asked)
        used_before = time.process_time()
        seconds = boxes[asked["name"]].steps(asked["steps"])
        processor = (time.process_time() - used_before) / len(seconds)
        memory = peak_memory()
        used = registers() if asked.get("registers") else ""
        answer = {"seconds": seconds, "processor": processor, "memory_MB": memory, "registers": used}
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()

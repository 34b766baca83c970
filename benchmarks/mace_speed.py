"""Speed of MACE by compiled kernels, beside mace-torch and Symmetrix-XL: tables for docs/validation.md.

Run ``PYTHONPATH=tests python benchmarks/mace_speed.py [--only TABLE...] [--model FILE] [--symmetrix PYTHON JSON]
[--large]`` on a machine that does nothing else. The contenders are processes that stay warm and take turns in one run,
on two threads. Boxes are of PYR14BF4 at 1.0 g/cm3, 70 to 3,500 atoms that move with velocities of 423 K by 0.5 fs per
step, so that lists of neighbours are renewed as in MD; their time is in every figure. A figure is the median of blocks
of 24 steps (mace-torch: of single steps; Symmetrix-XL: of 4, in large boxes 1). Weights are random: they cost what
trained ones cost.

``--model FILE`` measures a trained model in place of that of the study (files are run, so give only your own).
``--symmetrix PYTHON JSON`` names an interpreter that has symmetrix-xl, and the study's model as
``symmetrix_extract_mace --model study.model`` writes it (``--write study.model`` writes that model and ends).
``--large`` times one step of mace-torch in the boxes of 1,400 and 3,500 atoms.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from mace_worker import LEG

from ilforge.dynamics.builtin import Simulation
from ilforge.dynamics.motion import State
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.mace import Mace
from ilforge.units import KB
from support import models

PAIRS = (2, 10, 40, 100)
THREADS = 2
FORMS: dict[str, dict[str, Any]] = {
    "study": {"channels": 16, "r_max": 6.0, "max_ell": 3, "correlation": 3, "pair_repulsion": False},
    "quick": {"channels": 16, "r_max": 4.5, "max_ell": 2, "correlation": 2, "pair_repulsion": False},
    "liquid": {"channels": 16, "r_max": 6.0, "max_ell": 2, "correlation": 2, "pair_repulsion": False},
}
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
START = """
import sys, time
started = time.perf_counter()
import numpy as np
from pathlib import Path
from ilforge.potentials.learned.fast_mace.evaluation import FastEvaluator
from ilforge.potentials.learned.fast_mace.network import Network
network, _ = Network.load(Path(sys.argv[1]))
positions = 2.0 * np.array(list(np.ndindex(4, 4, 4)), dtype=float)
FastEvaluator([network], ["C"] * 64, threads=2).compute(positions, 8.0 * np.eye(3))
print(time.perf_counter() - started)
"""


@dataclass
class Contender:
    """A worker process, and the seconds of each block that it was asked for."""

    name: str
    process: subprocess.Popen
    seconds: dict[int, list[float]] = field(default_factory=dict)
    processor: dict[int, list[float]] = field(default_factory=dict)
    memory_MB: dict[int, float] = field(default_factory=dict)

    @classmethod
    def start(
        cls, name: str, kind: str, files: list[Path], python: str = sys.executable, **environment: str
    ) -> Contender:
        """Start the process; the keywords are variables of its environment."""
        command = [python, "-W", "ignore", str(Path(__file__).with_name("mace_worker.py")), kind, str(THREADS)]
        variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS), **environment}
        process = subprocess.Popen(
            [*command, *map(str, files)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables
        )
        return cls(name, process)

    def ask(self, box: Atoms, steps: int, note: bool = True, **more: Any) -> dict[str, Any]:
        """Time a block of steps."""
        request = {
            "name": len(box),
            "symbols": box.get_chemical_symbols(),
            "positions": box.positions,
            "velocities": box.arrays["velocities_A_fs"],
            "cell": box.cell.array,
            "steps": steps,
            **more,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        pickle.dump(request, self.process.stdin)
        self.process.stdin.flush()
        answer = pickle.load(self.process.stdout)
        if note:
            self.seconds.setdefault(len(box), []).append(float(np.mean(answer["seconds"])))
            self.processor.setdefault(len(box), []).append(answer["processor"])
            self.memory_MB[len(box)] = answer["memory_MB"]
        return answer

    def ms(self, n_atoms: int) -> float:
        """Median of the blocks, ms per step; not a number where there is none."""
        return 1e3 * float(np.median(self.seconds.get(n_atoms, [np.nan])))

    def processor_ms(self, n_atoms: int) -> float:
        """The same of the processor time of all threads, which other work on the machine disturbs less."""
        return 1e3 * float(np.median(self.processor.get(n_atoms, [np.nan])))

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def boxes(pairs: tuple[int, ...]) -> list[Atoms]:
    """Packed boxes with velocities of 423 K, Å/fs."""
    found, rng = [], np.random.default_rng(1)
    for count in pairs:
        box = pack(Liquid.of({"PYR14": count, "BF4": count}), 1.0, seed=1)
        speeds = np.sqrt(KB * 423.0 * 9.648533e-3 / box.get_masses())  # eV/amu in Å2/fs2
        box.set_array("velocities_A_fs", speeds[:, None] * rng.standard_normal((len(box), 3)))
        found.append(box)
    return found


def take_turns(contenders: list[tuple[Contender, int]], box: Atoms, rounds: int) -> None:
    """Blocks of steps of each in turn, after one that is not counted."""
    for contender, steps in contenders:
        contender.ask(box, steps, note=False)
    for _ in range(rounds):
        for contender, steps in contenders:
            contender.ask(box, steps)


@dataclass
class Files:
    """The models of one run: as mace-torch has them and as networks."""

    folder: Path
    model: Path | None

    def of(self, form: str, seed: int = 1) -> Path:
        """A model file of a form."""
        if self.model and form == "study":
            return self.model
        path = self.folder / f"{form}-{seed}.model"
        return path if path.exists() else models.write_mace_model(path, seed=seed, **FORMS[form])

    def network(self, form: str, seed: int = 1) -> Path:
        """Its network."""
        path = self.folder / f"{form}-{seed}.npz"
        if not path.exists():
            import torch

            from ilforge.potentials.learned.fast_mace.extraction import extract

            model = torch.load(self.of(form, seed), map_location="cpu", weights_only=False)
            network = extract(model)
            network.save(path, {})
        return path


def against_peers(files: Files, arguments: argparse.Namespace) -> None:
    """ms per step of every contender, ratios, growth with the number of atoms, memory."""
    ours = {form: Contender.start(form, "fast", [files.network(form)]) for form in FORMS}
    by_torch = Contender.start("mace-torch", "torch", [files.of("study")])
    peers = [by_torch]
    if arguments.symmetrix:
        python, model = arguments.symmetrix
        peers.append(Contender.start("symmetrix-xl", "symmetrix", [Path(model)], python=python, PYTHONPATH=""))
    for box in boxes(PAIRS):
        small = len(box) <= 350
        turns = [(one, LEG) for one in ours.values()]
        turns += [(peer, 1) for peer in peers if peer is by_torch and small]
        turns += [(peer, 4 if small else 1) for peer in peers if peer is not by_torch]
        take_turns(turns, box, arguments.rounds)
        if arguments.large and not small:
            by_torch.ask(box, 1)
        figures = ", ".join(f"{one.name} {one.ms(len(box)):.2f}" for one in [*ours.values(), *peers])
        print(f"{len(box)} atoms, ms/step: {figures}", flush=True)
    print("| ms/step, two threads | 70 atoms | 350 | 1,400 | 3,500 | exponent from 350 on |\n|---|---|---|---|---|---|")
    sizes = [35 * pairs for pairs in PAIRS]
    for one in [*ours.values(), *peers]:
        figures = [one.ms(n) for n in sizes]
        exponent = np.polyfit(np.log(sizes[1:]), np.log(figures[1:]), 1)[0]
        print(line(one.name, figures, 2) + (f" {exponent:.3f} |" if np.isfinite(exponent) else " |"))
    for one in [*ours.values(), *peers]:
        print(line(f"{one.name}, processor ms/step", [one.processor_ms(n) for n in sizes], 2) + " |")
    for peer in peers:
        ratios = [peer.ms(n) / ours["study"].ms(n) for n in sizes]
        print(line(f"{peer.name} / study", ratios, 1) + " |")
    for one in [ours["study"], *peers]:
        figures = [one.memory_MB.get(n, np.nan) for n in sizes]
        print(line(f"peak memory of {one.name}, MB", figures, 0) + " |")
    for one in [*ours.values(), *peers]:
        one.close()


def line(name: str, figures: list[float], digits: int) -> str:
    """The beginning of a row; what was not measured is a dash."""
    return f"| {name} | " + " | ".join(f"{x:.{digits}f}" if np.isfinite(x) else "-" for x in figures) + " |"


def committee(files: Files, arguments: argparse.Namespace) -> None:
    """Four members against one; the mean of all and the deviation of forces are in the time."""
    networks = [files.network("study", seed) for seed in (1, 2, 3, 4)]
    four, one = Contender.start("four", "fast", networks), Contender.start("one", "fast", networks[:1])
    print("| committee of 4, two threads | ms/step | of one | processor time, of one |\n|---|---|---|---|")
    for box in boxes(PAIRS):
        take_turns([(one, LEG), (four, LEG)], box, arguments.rounds)
        n = len(box)
        processor = four.processor_ms(n) / one.processor_ms(n)
        print(f"| {n} atoms | {four.ms(n):.2f} | {four.ms(n) / one.ms(n):.2f} | {processor:.2f} |", flush=True)
    four.close(), one.close()


def without_avx512(files: Files, arguments: argparse.Namespace) -> None:
    """350 atoms with the registers of AVX2 alone, in turn with what the processor has."""
    with tempfile.TemporaryDirectory() as cache:
        narrow = Contender.start(
            "AVX2", "fast", [files.network("study")], NUMBA_CACHE_DIR=cache, XDG_CACHE_HOME=cache, **AVX2
        )
        wide = Contender.start("all", "fast", [files.network("study")])
        box = boxes(PAIRS[1:2])[0]
        take_turns([(wide, LEG), (narrow, LEG)], box, arguments.rounds)
        used = narrow.ask(box, 1, note=False, registers=True)["registers"]
        print(f"350 atoms: {wide.ms(350):.2f} ms/step; compiled for haswell ({used}): {narrow.ms(350):.2f} ms/step")
        wide.close(), narrow.close()


class Timed:
    """A potential whose evaluations are timed."""

    def __init__(self, potential: Mace):
        self._potential, self.seconds = potential, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._potential, name)

    def force_evaluator(self, topology: Any, threads: int = 1) -> Any:
        """The potential's own, timed."""
        evaluator = self._potential.force_evaluator(topology, threads)
        seconds, evaluate = self.seconds, evaluator.evaluate

        def timed(positions: np.ndarray, cell: np.ndarray | None) -> Any:
            started = time.perf_counter()
            found = evaluate(positions, cell)
            seconds.append(time.perf_counter() - started)
            return found

        evaluator.evaluate = timed
        return evaluator


def npt(files: Files, arguments: argparse.Namespace) -> None:
    """A step of NPT in the engine of the package beside the evaluations within it."""
    path = arguments.model or models.write_mace_model(
        files.folder / "repelling.model", **{**FORMS["study"], "pair_repulsion": True}
    )
    for pairs in PAIRS[:2]:
        box, liquid = boxes((pairs,))[0], Liquid.of({"PYR14": pairs, "BF4": pairs})
        potential = Timed(Mace(path, file_digest(path)))
        steps = 300
        protocol = MdProtocol("NPT", 423.0, 0.5, 0.5e-3 * steps, 0.5e-3 * steps, seed=1)
        job = Job(potential, box, liquid.topology, protocol, threads=THREADS)
        simulation = Simulation(job, "NPT")
        simulation.restore(State(box.positions, job.start_velocities, box.cell.array, 0))
        simulation.step(30)
        potential.seconds.clear()
        started = time.perf_counter()
        simulation.step(steps)
        whole = (time.perf_counter() - started) / steps
        alone = float(np.mean(potential.seconds))
        print(
            f"NPT, {len(box)} atoms: {1e3 * whole:.2f} ms/step with {len(potential.seconds) / steps:.2f} evaluations,"
            f" {whole / alone:.3f} times one evaluation ({1e3 * alone:.2f} ms)",
            flush=True,
        )


def start(files: Files, arguments: argparse.Namespace) -> None:
    """Seconds to the first result of a new process with kernels from the cache, and what compiling costs."""
    network = str(files.network("study"))
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "NUMBA_CACHE_DIR": f"{cache}/numba"}
        for what, times in (("compiled first", 1), ("from the cache", 5)):
            inside, whole, cpu = [], [], []
            for _ in range(times):
                used, clock = children_seconds(), time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", START, network], env=environment, capture_output=True, text=True, check=True
                )
                whole.append(time.perf_counter() - clock)
                cpu.append(children_seconds() - used)
                inside.append(float(done.stdout))
            middle = [float(np.median(values)) for values in (inside, whole, cpu)]
            print(
                f"start, kernels {what}: first result after {middle[0]:.2f} s, whole process {middle[1]:.2f} s,"
                f" processor {middle[2]:.1f} s",
                flush=True,
            )


def children_seconds() -> float:
    """Processor time of processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


TABLES: dict[str, Callable[[Files, argparse.Namespace], None]] = {
    "peers": against_peers,
    "committee": committee,
    "avx2": without_avx512,
    "npt": npt,
    "start": start,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--model", type=Path, help="a MACE model file of PYR14BF4 in place of the study's")
    parser.add_argument("--symmetrix", nargs=2, metavar=("PYTHON", "JSON"), help="interpreter and converted model")
    parser.add_argument("--large", action="store_true", help="mace-torch in the large boxes, too")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", type=Path, help="write the study's model with random weights to this file, and end")
    arguments = parser.parse_args()
    if arguments.write:
        models.write_mace_model(arguments.write, **FORMS["study"])
        return 0
    with tempfile.TemporaryDirectory(prefix="ilforge-mace-") as folder:
        files = Files(Path(folder), arguments.model)
        for name in arguments.only:
            TABLES[name](files, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

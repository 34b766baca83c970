"""Processor time of energy, forces and stress of one frame by models in environments of their own.

    python benchmarks/pretrained_speed.py sevennet sevennet:7net-l3i5 chgnet so3lr --frames 3

The models compute with one thread. D3(BJ), which ilforge computes meanwhile, is counted too. Frames have 70 atoms
(SO3LR: 90), or ``--times`` as many.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from ilforge import create, frames
from ilforge.cli.potential_option import parse_potential

DATA = Path(__file__).parents[1] / "tests" / "data"


def processor_s(pid: int) -> float:
    """User and system time of a process, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(spec, frame, count: int) -> tuple[float, float]:
    """Processor time of a frame in the model's process and in this one, s; the first frame is not counted."""
    calculator = create(spec).calculator()
    moved = frame.copy()
    calculator.get_forces(moved)
    before = processor_s(calculator.pid), time.process_time()
    for seed in range(count):
        moved = frame.copy()
        moved.rattle(0.01, seed=seed)
        calculator.get_forces(moved)
    after = processor_s(calculator.pid), time.process_time()
    calculator.close()
    return (after[0] - before[0]) / count, (after[1] - before[1]) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("potentials", nargs="+")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--times", type=int, default=1, help="Boxes side by side.")
    wanted = parser.parse_args()
    for text in wanted.potentials:
        file = "two_pairs_tfsi.xyz" if text == "so3lr" else "two_pairs.xyz"
        frame = frames.read(DATA / file)[0].repeat((wanted.times, 1, 1))
        spec = parse_potential(text, None)
        there, here = measured(spec, frame, wanted.frames)
        whole = (there + here) * 350 / len(frame)
        print(f"{text}: {len(frame)} atoms, {there:.2f} s, D3 {here:.2f} s; 350 atoms {whole:.1f} s", flush=True)


if __name__ == "__main__":
    main()

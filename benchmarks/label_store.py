"""Speed of the label store: labels written, absorbed and looked up per second.

Run ``python benchmarks/label_store.py [--atoms N] [--to N] [directory]``. The store must take 500 labels/s. Each size
below is what the store holds when its line is measured, so that a slowing down with size would show; a million labels
of 350 atoms take some 20 GB of disk, of 10 atoms 1.5 GB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge.labelling.labels import Label
from ilforge.labelling.storing import inbox
from ilforge.labelling.storing.store import LabelStore

ATOMS, LARGEST = 350, 16000
SAMPLE = 500
REQUIRED = 500.0
METHOD = {"kind": "benchmark"}


def labels(first: int, count: int, n_atoms: int) -> list[Label]:
    """Labels of random frames, numbered from ``first``."""
    rng = np.random.default_rng(first)
    made = []
    for number in range(first, first + count):
        frame = Atoms("H" * n_atoms, positions=rng.uniform(0, 15, (n_atoms, 3)), cell=np.eye(3) * 15.0, pbc=True)
        frame.info.update(ions="10 PYR14, 10 BF4", kind="EQ", recipe="nvt", seed=number, parent=f"box-{number}")
        forces = rng.normal(size=(n_atoms, 3))
        made.append(Label(frame, METHOD, -1e4, forces, np.zeros(6), converged=True, cost_s=10.0))
    return made


def per_second(count: int, work: Callable[[], object]) -> float:
    """How often a second ``count`` pieces of ``work`` are done."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def measure(store: LabelStore, held: int, n_atoms: int) -> tuple[float, float, float, float]:
    """Labels/s added one by one, delivered by a worker, absorbed from the inbox; lookups/s."""
    half = SAMPLE // 2
    one_by_one, through_inbox = labels(held, half, n_atoms), labels(held + half, half, n_atoms)
    for label in one_by_one + through_inbox:  # digests are the worker's cost, not the store's
        _ = label.frame_digest, label.method_digest
    added = per_second(len(one_by_one), lambda: [store.add(label) for label in one_by_one])
    delivered = per_second(len(through_inbox), lambda: [inbox.deliver(label, store.inbox) for label in through_inbox])
    absorbed = per_second(len(through_inbox), store.absorb_inbox)
    wanted = [label.frame_digest for label in one_by_one + through_inbox]
    method = one_by_one[0].method_digest
    return added, delivered, absorbed, per_second(len(wanted), lambda: store.get_many(wanted, method))


def sizes(largest: int) -> list[int]:
    """500, 1,000, 2,000 and so on to the largest."""
    found = [SAMPLE]
    while found[-1] < largest:
        found.append(min(2 * found[-1], largest))
    return found


def main() -> int:
    """Print a line for each size; fail when a label takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where the store is made (and deleted)")
    parser.add_argument("--atoms", type=int, default=ATOMS, help="of each frame")
    parser.add_argument("--to", type=int, default=LARGEST, help="labels held at the last line")
    asked = parser.parse_args()
    slowest = np.inf
    with tempfile.TemporaryDirectory(dir=asked.directory) as directory, LabelStore(directory) as store:
        print("labels held   added/s   delivered/s   absorbed/s   looked up/s")
        held = 0
        for size in sizes(asked.to):
            while held < size - SAMPLE:
                store.add_many(labels(held, SAMPLE, asked.atoms))
                held += SAMPLE
            speeds = measure(store, held, asked.atoms)
            held += SAMPLE
            print(f"{held:11d} {speeds[0]:9.0f} {speeds[1]:13.0f} {speeds[2]:12.0f} {speeds[3]:13.0f}", flush=True)
            slowest = min(slowest, speeds[0], speeds[2])
    print(f"slowest: {slowest:.0f} labels/s; required: {REQUIRED:.0f}")
    return 0 if slowest >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())

"""How far reference methods agree on the same frames: a table for docs/validation.md.

Run ``python benchmarks/agreement.py FRAMES [--frames N] [--store DIRECTORY] [--method NAME...]`` with a file of frames
that ilforge wrote. Labels go to the store, and those that it has already are not computed again. Frames are taken
evenly from the file, half of them EQ and half nEQ. The first method is the one that the others are compared with;
``--stress N`` compares stresses on N of the frames, with plane waves to 1200 eV in GPAW.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from ilforge import frames, potentials
from ilforge.labelling.label import evaluate
from ilforge.labelling.labels import Label, method_digest
from ilforge.labelling.storing.store import LabelStore

METHODS: dict[str, dict[str, Any]] = {
    "GPAW": {"kind": "gpaw"},
    "CP2K": {"kind": "cp2k"},
    "GFN1-xTB": {"kind": "xtb", "method": "GFN1-xTB"},
    "GFN2-xTB": {"kind": "xtb", "method": "GFN2-xTB"},
}
STRESS = {"GPAW": {"kind": "gpaw", "cutoff_eV": 1200.0, "stress": True}}
"""What gives a stress where the method itself does not."""


def chosen(path: Path, count: int) -> list[Atoms]:
    """Frames spread evenly over the file, half of them EQ."""
    found = frames.read(path)
    picked = []
    for kind in ("EQ", "nEQ"):
        members = [frame for frame in found if frame.info["kind"] == kind]
        picked += [members[i] for i in np.linspace(0, len(members) - 1, count // 2).astype(int)]
    return picked


def labelled(store: LabelStore, name: str, spec: dict[str, Any], members: Sequence[Atoms]) -> list[Label]:
    """Labels of the frames by one method, new ones stored as soon as they are there."""
    digest = method_digest(potentials.create(spec).describe())
    labels = []
    for number, frame in enumerate(members, 1):
        label = store.get(frames.digest(frame), digest)
        if label is None:
            label = evaluate(frame, spec)
            store.add(label)
            print(f"{time.strftime('%H:%M:%S')} {name} {number}/{len(members)} {label.cost_s:.1f} s", flush=True)
        labels.append(label)
    return labels


def forces_row(name: str, labels: Sequence[Label], yardstick: Sequence[Label]) -> str:
    """Force differences of one method, over the frames on which both have a result."""
    pairs = [(a, b) for a, b in zip(labels, yardstick, strict=True) if not (a.failed or b.failed)]
    difference = np.concatenate([a.forces - b.forces for a, b in pairs])
    symbols = np.concatenate([a.frame.get_chemical_symbols() for a, _ in pairs])
    own = np.concatenate([a.forces for a, _ in pairs])
    net = max(np.abs(a.forces.sum(axis=0)).max() for a, _ in pairs)
    cells = [name, f"{len(pairs)}", f"{rms(difference):.3f}"]
    cells += [f"{rms(difference[symbols == element]):.3f}" for element in sorted(set(symbols))]
    cells += [f"{rms(own):.2f}", f"{net:.3f}", f"{np.median([a.cost_s for a, _ in pairs]):.1f}"]
    return "| " + " | ".join(cells) + " |"


def stress_row(name: str, labels: Sequence[Label], yardstick: Sequence[Label]) -> str:
    """Difference of the six components, and of the pressure, GPa."""
    both = [(a, b) for a, b in zip(labels, yardstick, strict=True) if not (a.failed or b.failed)]
    pairs = [(a.stress / GPa, b.stress / GPa) for a, b in both]
    difference = np.array([a - b for a, b in pairs])
    offset = -difference[:, :3].mean(axis=1)
    return f"| {name} | {len(pairs)} | {rms(difference):.2f} | {offset.mean():+.2f} | {offset.std(ddof=1):.2f} |"


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--stress", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path("agreement-store"))
    parser.add_argument("--method", nargs="+", default=list(METHODS), choices=list(METHODS))
    asked = parser.parse_args()
    members = chosen(asked.file, asked.frames)
    with LabelStore(asked.store) as store:
        found = {name: labelled(store, name, METHODS[name], members) for name in asked.method}
        first = found[asked.method[0]]
        elements = " | ".join(sorted(set(members[0].get_chemical_symbols())))
        print(f"| method | frames | all | {elements} | RMS force | largest net force | s per frame |")
        for name, labels in found.items():
            print(forces_row(name, labels, first))
        if asked.stress:
            specs = {name: STRESS.get(name, METHODS[name]) for name in asked.method}
            some = members[:: max(1, len(members) // asked.stress)][: asked.stress]
            found = {name: labelled(store, f"{name}, stress", spec, some) for name, spec in specs.items()}
            print("| method | frames | RMS difference of a component | mean difference of the pressure | its spread |")
            for name, labels in found.items():
                print(stress_row(name, labels, next(iter(found.values()))))


if __name__ == "__main__":
    main()

"""Labels with made-up numbers, for what does not depend on where numbers come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.labelling.labels import Label
from ilforge.labelling.storing.store import LabelStore

METHOD = {"kind": "invented", "cutoff_A": 4.0}


def random_frame(number: int, n_atoms: int = 20, **info) -> Atoms:
    """A frame of random positions; its ``info`` says what the arguments say."""
    rng = np.random.default_rng(number)
    numbers = rng.choice([1, 5, 6, 7, 9], size=n_atoms)
    frame = Atoms(numbers, positions=rng.uniform(0, 9, (n_atoms, 3)), cell=np.eye(3) * 9.0, pbc=True)
    frame.info.update(info)
    return frames.quantize(frame)


def random_label(seed: int, n_atoms: int = 20, method: dict | None = None, **changes) -> Label:
    """A label of a random frame, with random numbers that look like energy, forces and stress."""
    rng = np.random.default_rng([seed, 1])
    forces = rng.normal(size=(n_atoms, 3))
    forces -= forces.mean(axis=0)
    values = {
        "frame": random_frame(seed, n_atoms, kind="EQ", recipe="nvt", seed=seed, parent=f"box-{seed % 5}"),
        "method": method or METHOD,
        "energy": float(rng.normal(-100.0)),
        "forces": forces,
        "stress": rng.normal(scale=0.01, size=6),
        "converged": True,
        "cost_s": 0.5,
    }
    return Label(**{**values, **changes})


def labelled_frame(seed: int, **info) -> Atoms:
    """A random frame that carries its random label."""
    label = random_label(seed)
    frame = label.on(label.frame)
    frame.info.update(info)
    return frame


def salt_frames(count: int) -> list[Atoms]:
    """Frames of 2 Li+ and 2 BF4-, 12 atoms, labelled by CL&P, two frames a parent: cheap to train on."""
    from ilforge.labelling.label import evaluate
    from ilforge.liquid.ions import get_ion

    anion = get_ion("BF4")
    corners = np.array([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0], [2.0, 2.0, 2.0], [6.0, 6.0, 6.0]])
    positions = np.concatenate([corners[2:], *(anion.positions + corner for corner in corners[:2])])
    labelled = []
    for number in range(count):
        frame = Atoms(["Li", "Li", *anion.symbols, *anion.symbols], positions, cell=np.eye(3) * 8.0, pbc=True)
        frame.rattle(0.08, seed=number)
        frame.info.update(
            ions="2 Li, 2 BF4", kind="EQ" if number % 4 < 2 else "nEQ", recipe="nvt", parent=f"box-{number // 2}"
        )
        frames.quantize(frame)
        labelled.append(evaluate(frame, {"kind": "clp", "cutoff_A": 3.9}).on(frame))
    return labelled


def damage(path: Path, start: int, end: int) -> None:
    """Put zeros into a file, at a later time by the clock of the file system, which moves in steps of some ms."""
    before, contents = path.stat().st_mtime_ns, bytearray(path.read_bytes())
    contents[start:end] = bytes(len(contents[start:end]))
    path.write_bytes(contents)
    while path.stat().st_mtime_ns == before:
        path.touch()


def filled(folder: Path, count: int, n_atoms: int = 20, backup: bool = False) -> list[Label]:
    labels = [random_label(seed, n_atoms=n_atoms) for seed in range(count)]
    with LabelStore(folder) as store:
        store.add_many(labels)
        if backup:
            store.backup()
    return labels

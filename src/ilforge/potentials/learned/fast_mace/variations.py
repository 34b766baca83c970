"""Frames on which a network is compared with its model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

N_FRAMES = 10
_MOST_ATOMS = 150
_PIECE = 100  # atoms cut out of a larger frame


def variations(frame: Atoms) -> list[Atoms]:
    """Variations of a frame: rattled, compressed and stretched; for a large box, pieces of a hundred atoms."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(N_FRAMES):
        if len(frame) <= _MOST_ATOMS:
            atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        else:
            atoms = _piece(frame, int(rng.integers(len(frame))))
        atoms.positions += rng.normal(scale=0.02 * (number % 4), size=(len(atoms), 3))
        factor = 1 + 0.04 * (number - 3) if number else 1.0
        if atoms.pbc.any():
            atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        else:
            atoms.positions *= factor
        found.append(atoms)
    return found


def spanning(labelled: Sequence[Atoms]) -> list[Atoms]:
    """Some frames of a dataset, from the least dense to the densest."""
    volume = [frame.get_volume() / len(frame) if frame.pbc.all() else np.inf for frame in labelled]
    order = np.argsort(volume, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(N_FRAMES, len(order))).round().astype(int))]
    return [Atoms(f.numbers, f.positions, cell=f.cell, pbc=f.pbc) for f in (labelled[i] for i in chosen)]


def _piece(frame: Atoms, centre: int) -> Atoms:
    """The atoms nearest to one, each by its nearest image."""
    apart = frame.get_distances(centre, np.arange(len(frame)), mic=bool(frame.pbc.any()), vector=True)
    nearest = np.argsort(np.linalg.norm(apart, axis=1), kind="stable")[:_PIECE]
    return Atoms(frame.numbers[nearest], apart[nearest])

"""The room for neighbours (``sel``) of a DeePMD model. DeePMD-kit silently ignores neighbours beyond it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

_HEAD = 200_000  # bytes at the beginning of a model file, which contain its training input


@dataclass(frozen=True)
class Room:
    """How many neighbours of each element an atom may have within the cutoff."""

    elements: tuple[str, ...]
    sel: tuple[int, ...]
    cutoff_A: float

    def overflow(self, frames: Sequence[Atoms]) -> str | None:
        """A sentence if neighbours in these frames do not fit, otherwise None."""
        return overflow(neighbour_counts(frames, self.elements, self.cutoff_A), self.sel, self.elements, self.cutoff_A)


def room_of(path: Path) -> Room | None:
    """Room of a model file of the TensorFlow backend, from the training input in the file; None if it is not given
    there."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    begin = head.find(b'{"model"')
    if begin < 0:
        return None
    try:
        model = json.JSONDecoder().raw_decode(head[begin:].decode("utf-8", "ignore"))[0]["model"]
        descriptor, elements = model["descriptor"], tuple(model["type_map"])
        room = Room(elements, tuple(map(int, descriptor["sel"])), float(descriptor["rcut"]))
    except (ValueError, KeyError, TypeError):
        return None
    return room if descriptor.get("type") == "se_e2_a" and len(room.sel) == len(elements) else None


def neighbour_counts(members: Sequence[Atoms], elements: Sequence[str], cutoff_A: float) -> np.ndarray:
    """Largest number of neighbours of each element that any atom has within the cutoff, ``(n_elements,)``."""
    from matscipy.neighbours import neighbour_list

    largest = np.zeros(len(elements), dtype=int)
    for frame in members:
        cell = frame.cell.complete().array  # a molecule in vacuum has none
        centres, neighbours = neighbour_list("ij", positions=frame.positions, cell=cell, pbc=frame.pbc, cutoff=cutoff_A)
        symbols = np.array(frame.get_chemical_symbols())
        for index, element in enumerate(elements):
            hits = centres[symbols[neighbours] == element]
            if len(hits):
                largest[index] = max(largest[index], np.bincount(hits).max())
    return largest


def overflow(counts: np.ndarray, sel: Sequence[int], elements: Sequence[str], cutoff_A: float) -> str | None:
    """A sentence if a model lacks room for these largest numbers of neighbours, otherwise None."""
    for element, count, room in zip(elements, counts, sel, strict=True):
        if count > room:
            return (
                f"An atom has {count} {element} neighbours within {cutoff_A:g} Å, but the DeePMD model has room for "
                f"{room} (sel): it would ignore some of them."
            )
    return None

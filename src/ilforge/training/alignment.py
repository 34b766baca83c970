"""Fine-tuning starts with energies aligned: the zero of the start model is moved to that of the labels.

Total energies of two methods differ by electron volts for each atom. A training that begins with that difference spends
its first epochs on it and forgets what the start model knew. So the zero of the start model is moved first, element by
element, by one of

``fit``
    the least-squares solution of smallest norm of :math:`E_\\text{label} - E_\\text{start} = \\sum_z n_z \\delta_z`
    over the training frames, where :math:`n_z` is the number of atoms of element z. Where all frames have one
    composition the split between elements is not determined by the data; sums over compositions like those of training
    are.
``isolated atoms``
    energies of isolated atoms by the reference method in the place of those of the start model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from ilforge import files, frames
from ilforge.labelling.datasets.dataset import Dataset

REPORT = "tuning.json"
_DIGITS = 6  # of shifts, eV


@dataclass(frozen=True)
class Alignment:
    """How the zero of a start model was moved.

    Attributes
    ----------
    by
        ``"fit"`` or ``"isolated atoms"``.
    shift_eV
        What was added to the energy of each atom, by element.
    offset_eV_atom
        Mean of label minus start model before, over the training frames.
    residual_eV_atom, spread_eV_atom
        Mean and standard deviation of the same after it.
    """

    by: str
    shift_eV: dict[str, float]
    offset_eV_atom: float
    residual_eV_atom: float
    spread_eV_atom: float


def zero_of(dataset: Dataset, isolated_atoms: Mapping[str, float] | None) -> dict[str, float]:
    """Energy of an atom of each element where a new model adds nothing, eV: of isolated atoms, or fitted to the labels
    of the training frames."""
    totals = [frame.info[frames.ENERGY] for frame in dataset.train]
    found = isolated_atoms or per_element(dataset.train, totals, dataset.elements)
    return {element: float(found[element]) for element in dataset.elements}


def per_element(labelled: Sequence[Atoms], totals: ArrayLike, elements: Sequence[str]) -> dict[str, float]:
    """Energy of each element, eV: the least-squares solution of smallest norm for the totals of these frames, eV."""
    counts = np.array([[frame.get_chemical_symbols().count(z) for z in elements] for frame in labelled], dtype=float)
    solution = np.linalg.lstsq(counts, np.asarray(totals), rcond=1e-8)[0]
    return dict(zip(elements, solution.tolist(), strict=True))


def fitted_shift(labelled: Sequence[Atoms], energies: ArrayLike, elements: Sequence[str]) -> dict[str, float]:
    """The shift of each element, eV, that fits energies of a start model, eV, to the labels of these frames."""
    offsets = np.array([frame.info[frames.ENERGY] for frame in labelled]) - np.asarray(energies)
    fitted = per_element(labelled, offsets, elements)
    return {element: round(shift, _DIGITS) for element, shift in fitted.items()}


def alignment_by(by: str, labelled: Sequence[Atoms], energies: ArrayLike, shift: Mapping[str, float]) -> Alignment:
    """What a shift of each element, eV, does to energies of a start model, eV, on labelled frames."""
    sizes = np.array([len(frame) for frame in labelled])
    before = (np.array([frame.info[frames.ENERGY] for frame in labelled]) - np.asarray(energies)) / sizes
    added = np.array([sum(shift[symbol] for symbol in frame.get_chemical_symbols()) for frame in labelled]) / sizes
    after = before - added
    return Alignment(by, dict(shift), float(before.mean()), float(after.mean()), float(after.std()))


def write_report(directory: Path, alignment: Alignment, **further: Any) -> None:
    """Write ``tuning.json``: how energies were aligned, and what else is to be known of a fine-tuning."""
    files.write_text(directory / REPORT, json.dumps({**asdict(alignment), **further}, indent=1, sort_keys=True))


def read_report(directory: Path) -> dict[str, Any] | None:
    """What :func:`write_report` wrote; None where a training did not start from another model."""
    path = Path(directory) / REPORT
    return json.loads(path.read_text()) if path.is_file() else None


def words(told: Mapping[str, Any]) -> str:
    """How energies were aligned, by a report: the beginning of a sentence."""
    by = "a least-squares fit to the labels" if told["by"] == "fit" else "isolated atoms by the reference method"
    return (
        f"Fine-tuned from {told['start_sha256'][:12]}: energies aligned by {by} ({told['offset_eV_atom']:+.3f} eV/atom "
        f"before, {told['residual_eV_atom']:+.4f} after)"
    )

"""Validation: a potential held against labels of frames it has not seen, with errors of the errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import parent_of
from ilforge.labelling.label import evaluate
from ilforge.liquid.liquid import Liquid
from ilforge.results import Estimate
from ilforge.statistics import bootstrap

_RESAMPLES = 400  # standard errors then come out within 4 %


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a potential says of labelled frames, beside what the reference says.

    Attributes
    ----------
    kinds, recipes, parents
        Of each frame, ``(n_frames,)``.
    reference_energies, predicted_energies
        eV per atom, ``(n_frames,)``; a prediction that failed is NaN.
    reference_forces, predicted_forces
        eV/Å, of all frames one after the other, ``(n_atoms, 3)``.
    elements
        Of each atom, ``(n_atoms,)``.
    frame_of_atom
        Index of the frame each atom is in, ``(n_atoms,)``.
    """

    kinds: np.ndarray
    recipes: np.ndarray
    parents: np.ndarray
    reference_energies: np.ndarray
    predicted_energies: np.ndarray
    reference_forces: np.ndarray
    predicted_forces: np.ndarray
    elements: np.ndarray
    frame_of_atom: np.ndarray

    def save(self, path: Path) -> None:
        """Write a compressed ``.npz``, complete or not at all."""
        with files.replacing(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **{column.name: getattr(self, column.name) for column in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{column.name: archive[column.name] for column in fields(cls)})


def predict(
    spec: Mapping[str, Any], labelled: Sequence[Atoms], liquid: Liquid | None = None, threads: int = 1
) -> Predictions:
    """Ask a potential about labelled frames.

    Parameters
    ----------
    spec
        The potential, for :func:`ilforge.potentials.create`.
    labelled
        Frames with reference energies and forces.
    liquid
        What they are made of; without it the frames' ``ions`` say so.

    Raises
    ------
    SettingsError
        When there are no frames, or one has no labels.
    """
    if not labelled:
        raise SettingsError("There are no labelled frames to validate on.")
    if any(ENERGY not in frame.info or FORCES not in frame.arrays for frame in labelled):
        raise SettingsError(f"A frame to validate on has no label ({ENERGY} or {FORCES}).")
    answers = [evaluate(frame, spec, threads, liquid=liquid) for frame in labelled]
    energies = [np.nan if answer.energy is None else answer.energy / len(answer.frame) for answer in answers]
    forces = [np.full((len(answer.frame), 3), np.nan) if answer.forces is None else answer.forces for answer in answers]
    return Predictions(
        kinds=np.array([str(frame.info.get("kind", "")) for frame in labelled]),
        recipes=np.array([str(frame.info.get("recipe", "")) for frame in labelled]),
        parents=np.array([parent_of(frame) for frame in labelled]),
        reference_energies=np.array([frame.info[ENERGY] / len(frame) for frame in labelled]),
        predicted_energies=np.array(energies),
        reference_forces=np.concatenate([frame.arrays[FORCES] for frame in labelled]),
        predicted_forces=np.concatenate(forces),
        elements=np.concatenate([frame.get_chemical_symbols() for frame in labelled]),
        frame_of_atom=np.repeat(np.arange(len(labelled)), [len(frame) for frame in labelled]),
    )


def errors(predictions: Predictions, rng: np.random.Generator) -> list[tuple[str, str | None, str, Estimate]]:
    """Errors of energies and force components, each with its own error.

    Standard errors are from a bootstrap over parents: frames that descend from one packed box are not
    independent, and neither are the atoms of one frame.

    ==========================================  ==========================================================
    ``force_rmse``, ``force_mae``               of force components, eV/Å; ``force_rmse`` also by element
    ``force_rmse_ratio``                        ``force_rmse`` over the RMS reference force component
    ``energy_rmse_per_atom``, ``energy_mae_...``  eV/atom
    ``..._offset_removed``                      the same after the mean error was taken out of each dataset
    ==========================================  ==========================================================

    Returns
    -------
    list
        ``(quantity, element or None, dataset, Estimate)``; a dataset is a kind of frame, or ``"all"``.
    """
    sums = _sums_of_frames(predictions)
    found = []
    for dataset in [*sorted(set(predictions.kinds.tolist())), "all"]:
        members = np.flatnonzero((predictions.kinds == dataset) | (dataset == "all"))
        good = members[np.isfinite(sums.energy_errors[members]) & np.isfinite(sums.squares[members]).all(axis=1)]
        note = "" if len(good) == len(members) else f"{len(members) - len(good)} of {len(members)} predictions failed"
        names = _quantities(sums.elements)
        groups = [good[predictions.parents[good] == parent] for parent in np.unique(predictions.parents[good])]
        if not len(good):
            found += [(name, species, dataset, Estimate.refused(unit, note)) for name, species, unit in names]
            continue
        if len(groups) == 1:
            note = note or "all frames descend from one packed box: it takes two to know the error"
        values = sums.measure(good)
        spreads = np.broadcast_to(bootstrap(sums.measure, groups, rng, n=_RESAMPLES), values.shape)
        for (name, species, unit), value, spread in zip(names, values, spreads, strict=True):
            if np.isfinite(value):  # an element may not occur in a dataset
                estimate = Estimate(float(value), float(spread), float(len(groups)), unit, not note, note)
                found.append((name, species, dataset, estimate))
    return found


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the atoms of each frame, by element: all that RMSE and MAE need, whatever frames are drawn.

    ``squares``, ``absolutes``, ``references`` and ``counts`` have shape ``(n_frames, n_elements)``.
    """

    elements: tuple[str, ...]
    squares: np.ndarray
    absolutes: np.ndarray
    references: np.ndarray
    counts: np.ndarray
    energy_errors: np.ndarray

    def measure(self, drawn: np.ndarray) -> np.ndarray:
        """Every quantity of :func:`_quantities` over the frames drawn, repeats included."""
        squares, absolutes, references, counts = (
            array[drawn].sum(axis=0) for array in (self.squares, self.absolutes, self.references, self.counts)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            by_element = np.sqrt(squares / counts)
            rmse = np.sqrt(squares.sum() / counts.sum())
            ratio = np.sqrt(squares.sum() / references.sum())
        energies = self.energy_errors[drawn]
        centred = energies - energies.mean()
        return np.array(
            [
                rmse,
                absolutes.sum() / counts.sum(),
                ratio,
                np.sqrt(np.mean(energies**2)),
                np.mean(np.abs(energies)),
                np.sqrt(np.mean(centred**2)),
                np.mean(np.abs(centred)),
                *by_element,
            ]
        )


def _quantities(elements: Sequence[str]) -> list[tuple[str, str | None, str]]:
    """Name, element and unit of what :meth:`_Sums.measure` gives, in its order."""
    return [
        ("force_rmse", None, "eV/Å"),
        ("force_mae", None, "eV/Å"),
        ("force_rmse_ratio", None, "1"),
        ("energy_rmse_per_atom", None, "eV/atom"),
        ("energy_mae_per_atom", None, "eV/atom"),
        ("energy_rmse_per_atom_offset_removed", None, "eV/atom"),
        ("energy_mae_per_atom_offset_removed", None, "eV/atom"),
        *(("force_rmse", element, "eV/Å") for element in elements),
    ]


def _sums_of_frames(predictions: Predictions) -> _Sums:
    elements, index = np.unique(predictions.elements, return_inverse=True)
    shape = (len(predictions.kinds), len(elements))
    deviation = predictions.predicted_forces - predictions.reference_forces

    def summed(values: np.ndarray) -> np.ndarray:
        total = np.zeros(shape)
        np.add.at(total, (predictions.frame_of_atom, index), values.sum(axis=1))
        return total

    return _Sums(
        elements=tuple(elements.tolist()),
        squares=summed(deviation**2),
        absolutes=summed(np.abs(deviation)),
        references=summed(predictions.reference_forces**2),
        counts=summed(np.ones_like(deviation)),
        energy_errors=predictions.predicted_energies - predictions.reference_energies,
    )

"""Validation: compare a potential with labels of frames that it has not seen, with standard errors of its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from ilforge import files
from ilforge.errors import SettingsError
from ilforge.frames import ENERGY, FORCES
from ilforge.labelling.datasets.dataset import parent_of
from ilforge.labelling.label import evaluate
from ilforge.liquid.connectivity import whole_molecules
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.results import Estimate
from ilforge.statistics import bootstrap
from ilforge.training.ion_forces import arms, ion_forces
from ilforge.units import EV_PER_A3_IN_GPA

_RESAMPLES = 400  # standard errors are then known to 4 %
_LEAST_SPREAD = 0.02
"""If the standard deviation of the volumes is below this share of their mean, energies do not determine the
pressure."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies and forces of labelled frames by a potential and by the reference.

    Attributes
    ----------
    kinds, recipes, parents
        Kind, recipe and parent of each frame, ``(n_frames,)``.
    reference_energies, predicted_energies
        eV per atom, ``(n_frames,)``; a prediction that failed is NaN.
    reference_forces, predicted_forces
        eV/Å, of all frames one after the other, ``(n_atoms, 3)``.
    elements
        Of each atom, ``(n_atoms,)``.
    frame_of_atom
        Index of the frame of each atom, ``(n_atoms,)``.
    volumes
        Å3, ``(n_frames,)``; NaN in a vacuum.
    ion_of_atom
        Number of the ion of each atom, over all frames, ``(n_atoms,)``; -1 if a frame does not state its ions.
    arms
        Position of each atom relative to the centre of mass of its ion, ``(n_atoms, 3)`` Å.
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
    volumes: np.ndarray
    ion_of_atom: np.ndarray
    arms: np.ndarray

    def save(self, path: Path) -> None:
        """Write a compressed ``.npz`` file, completely or not at all."""
        with files.replacing(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, **{column.name: getattr(self, column.name) for column in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read a file of :meth:`save`."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{column.name: archive[column.name] for column in fields(cls)})


def predict(
    spec: Mapping[str, Any], labelled: Sequence[Atoms], liquid: Liquid | None = None, threads: int = 1
) -> Predictions:
    """Compute energies and forces of labelled frames with a potential.

    Parameters
    ----------
    spec
        The potential, for :func:`ilforge.potentials.create`.
    labelled
        Frames with reference energies and forces.
    liquid
        Liquid of the frames; by default the ions named in ``ions`` of each frame.

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
    ion_of_atom, from_centre = _ions(labelled, liquid)
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
        volumes=np.array([frame.get_volume() if frame.pbc.all() else np.nan for frame in labelled]),
        ion_of_atom=ion_of_atom,
        arms=from_centre,
    )


def _ions(labelled: Sequence[Atoms], liquid: Liquid | None) -> tuple[np.ndarray, np.ndarray]:
    """``ion_of_atom`` and ``arms`` of :class:`Predictions`."""
    numbers, positions, first = [], [], 0
    for frame in labelled:
        topology = _topology_of(frame, liquid)
        if topology is None:
            numbers.append(np.full(len(frame), -1))
            positions.append(np.zeros((len(frame), 3)))
            continue
        molecules = np.asarray(topology.molecules)
        whole = whole_molecules(frame.positions, frame.cell.array, topology)
        numbers.append(first + molecules)
        positions.append(arms(whole, atomic_masses[frame.numbers], molecules))
        first += molecules.max() + 1
    return np.concatenate(numbers), np.concatenate(positions)


def _topology_of(frame: Atoms, liquid: Liquid | None) -> Topology | None:
    """Ions of a frame; None if neither the frame nor the liquid gives ions that fit its order of atoms."""
    if liquid is None:
        try:
            liquid = Liquid.of_frame(frame)
        except SettingsError:  # no ions, or unknown ions: a potential that needs no ions can still be validated
            return None
    return liquid.topology if list(liquid.topology.symbols) == frame.get_chemical_symbols() else None


def errors(predictions: Predictions, rng: np.random.Generator) -> list[tuple[str, str | None, str, Estimate]]:
    """Errors of energies and force components, each with its own error.

    Standard errors are from a bootstrap over parents: frames that descend from one packed box are not
    independent, and neither are the atoms of one frame.

    ==========================================  ==========================================================
    ``force_rmse``, ``force_mae``               of force components, eV/Å; ``force_rmse`` also by element
    ``force_rmse_ratio``                        ``force_rmse`` over the RMS reference force component
    ``energy_rmse_per_atom``, ``energy_mae_...``  eV/atom
    ``..._offset_removed``                      the same after the mean error was taken out of each dataset
    ``ion_force_rmse``, ``..._ratio``           of components of the net force on each ion, eV/Å, and over their RMS
    ``ion_torque_rmse``                         of components of the torque on each ion, eV
    ``internal_force_rmse``                     of force components less the motion of rigid ions, eV/Å
    ``pressure_error``                          :math:`-d(E_{model} - E_{reference})/dV` over the frames, GPa
    ==========================================  ==========================================================

    The pressure error is the slope of the energy errors against the volumes of frames of several densities, with an
    intercept for each number of atoms. It is the pressure of the model minus that of the reference, averaged over these
    densities. It is positive if the model pushes ions apart. It is left out if all frames have one density, and forces
    on ions are left out if frames do not state their ions.

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
                doubt = note or ("" if np.isfinite(spread) else "too few packed boxes to know its error")
                estimate = Estimate(float(value), float(spread), float(len(groups)), unit, not doubt, doubt)
                found.append((name, species, dataset, estimate))
    return found


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the atoms of each frame, by element, from which RMSE and MAE of any selection of frames follow.

    ``squares``, ``absolutes``, ``references`` and ``counts`` have shape ``(n_frames, n_elements)``; ``on_ions`` is
    ``(n_frames, 6)``: squares of errors of net forces and torques of ions and of internal forces, squares of reference
    net forces, numbers of components on ions and on atoms.
    """

    elements: tuple[str, ...]
    squares: np.ndarray
    absolutes: np.ndarray
    references: np.ndarray
    counts: np.ndarray
    on_ions: np.ndarray
    energy_errors: np.ndarray
    volumes: np.ndarray
    sizes: np.ndarray

    def measure(self, drawn: np.ndarray) -> np.ndarray:
        """Every quantity of :func:`_quantities` over the frames drawn, repeats included."""
        squares, absolutes, references, counts = (
            array[drawn].sum(axis=0) for array in (self.squares, self.absolutes, self.references, self.counts)
        )
        net, torque, internal, reference_net, on_ions, on_atoms = self.on_ions[drawn].sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            by_element = np.sqrt(squares / counts)
            rmse = np.sqrt(squares.sum() / counts.sum())
            ratio = np.sqrt(squares.sum() / references.sum())
            of_ions = np.sqrt([net / on_ions, net / reference_net, torque / on_ions, internal / on_atoms])
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
                *of_ions,
                self._pressure_error(drawn),
                *by_element,
            ]
        )

    def _pressure_error(self, drawn: np.ndarray) -> float:
        """Pressure error in GPa; NaN if the volumes hardly differ."""
        errors, volumes = self.energy_errors[drawn] * self.sizes[drawn], self.volumes[drawn]
        product = square = scale = 0.0
        for size in np.unique(self.sizes[drawn]):
            members = self.sizes[drawn] == size
            apart = volumes[members] - volumes[members].mean()
            product += np.sum(apart * errors[members])
            square += np.sum(apart**2)
            scale += np.sum(volumes[members] ** 2)
        if not square > _LEAST_SPREAD**2 * scale:
            return np.nan
        return float(-product / square * EV_PER_A3_IN_GPA)


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
        ("ion_force_rmse", None, "eV/Å"),
        ("ion_force_rmse_ratio", None, "1"),
        ("ion_torque_rmse", None, "eV"),
        ("internal_force_rmse", None, "eV/Å"),
        ("pressure_error", None, "GPa"),
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
        on_ions=_sums_on_ions(predictions, deviation),
        energy_errors=predictions.predicted_energies - predictions.reference_energies,
        volumes=predictions.volumes,
        sizes=np.bincount(predictions.frame_of_atom, minlength=len(predictions.kinds)),
    )


def _sums_on_ions(predictions: Predictions, deviation: np.ndarray) -> np.ndarray:
    """``on_ions`` of :class:`_Sums`."""
    total = np.zeros((len(predictions.kinds), 6))
    known = predictions.ion_of_atom >= 0
    if not known.any():
        return total
    ions, from_centre = predictions.ion_of_atom[known], predictions.arms[known]
    masses = atomic_masses[[atomic_numbers[element] for element in predictions.elements[known]]]
    of_atom = predictions.frame_of_atom[known]
    of_ion = np.zeros(ions.max() + 1, dtype=int)
    of_ion[ions] = of_atom
    errors = ion_forces(deviation[known], from_centre, masses, ions)
    reference = ion_forces(predictions.reference_forces[known], from_centre, masses, ions)
    on_ion = np.stack([errors.net**2, errors.torque**2, reference.net**2, np.ones_like(errors.net)])
    for column, values in zip((0, 1, 3, 4), on_ion, strict=True):
        np.add.at(total[:, column], of_ion, values.sum(axis=1))
    for column, values in ((2, errors.internal**2), (5, np.ones_like(errors.internal))):
        np.add.at(total[:, column], of_atom, values.sum(axis=1))
    return total

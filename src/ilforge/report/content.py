"""What a report is made of: plain data that the workflow fills. Nothing here computes or draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms

from ilforge.properties.reading.folder import Run
from ilforge.results import Curve, Estimate, Record, Table


@dataclass(frozen=True)
class Parity:
    """Predictions of one potential on labelled frames, beside their reference.

    Attributes
    ----------
    potential, iteration
        Which model; ``iteration`` counts rounds of concurrent learning, None for what is not trained.
    datasets
        ``"EQ"`` or ``"nEQ"`` for each frame, length ``m``.
    energies_reference, energies_predicted
        eV per atom, ``(m,)``.
    forces_reference, forces_predicted
        eV/Å, ``(n, 3)``: the atoms of all frames one after the other.
    elements, frames
        Element of each of these atoms, and index of the frame it belongs to, length ``n``.
    recipes
        How each frame was made (``"nvt"``, ``"packed"``, ``"hot"``, ``"explored"``), length ``m``, or empty.
    liquid
        Which liquid the frames are of, where the models are held against several; else empty.
    """

    potential: str
    iteration: int | None
    datasets: tuple[str, ...]
    energies_reference: np.ndarray
    energies_predicted: np.ndarray
    forces_reference: np.ndarray
    forces_predicted: np.ndarray
    elements: tuple[str, ...]
    frames: np.ndarray
    recipes: tuple[str, ...] = ()
    liquid: str = ""

    def __post_init__(self) -> None:
        frames, atoms = len(self.datasets), len(self.elements)
        expected = {
            "energies_reference": (frames,),
            "energies_predicted": (frames,),
            "forces_reference": (atoms, 3),
            "forces_predicted": (atoms, 3),
            "frames": (atoms,),
        }
        for name, shape in expected.items():
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(f"{name} has shape {np.shape(getattr(self, name))}, expected {shape}")


@dataclass(frozen=True)
class NamedCurve:
    """A curve of one run. Curves of one ``property``, ``protocol`` and ``key`` share a figure.

    ``property`` is ``"msd"`` (drawn on log-log axes), ``"rdf"`` and ``"coordination"`` (g(r) above n(r)),
    ``"density"`` (against time), or any other name, which is drawn as it is. ``key`` is the species or the
    pair, such as ``"PYR14"`` or ``"B-N"``; empty where there is none.
    """

    property: str
    protocol: str
    potential: str
    key: str
    curve: Curve


@dataclass(frozen=True)
class NamedTable:
    """A table of one run: ``kind`` is such as ``"map"`` and ``key`` whose it is, such as ``"TFSI"``."""

    kind: str
    protocol: str
    potential: str
    key: str
    table: Table


@dataclass(frozen=True)
class Verdict:
    """What the health checks say of one run.

    ``lines`` are sentences with the numbers they rest on; ``faults`` those of the checks that failed.
    """

    protocol: str
    potential: str
    state: Literal["sound", "doubtful", "unphysical"]
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRow:
    """One line of the inventory of frames: how many were made, labelled and accepted, and why not."""

    dataset: str
    kind: str
    recipe: str
    made: int
    accepted: int
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """How widely the frames of one recipe cover one kind of internal coordinate, beside those at equilibrium.

    Attributes
    ----------
    dataset, recipe, coordinate
        Such as ``"training"``, ``"nEQ/hot"`` and ``"bonds"``, ``"angles"`` or ``"torsions"``.
    spread, reached, beyond
        Value and standard error (None where there is none) of the numbers of :mod:`ilforge.sampling.coverage`.
    parents
        Independent boxes that the errors are from.
    centres, density
        Distribution of the deviations from the EQ mean in Å or degrees (torsions as they are), ``(n,)``.
    """

    dataset: str
    recipe: str
    coordinate: str
    spread: tuple[float | None, float | None]
    reached: tuple[float | None, float | None]
    beyond: tuple[float | None, float | None]
    parents: int
    centres: np.ndarray
    density: np.ndarray


@dataclass(frozen=True)
class LearningRound:
    """One round of concurrent learning; ``deviations`` in eV/Å, one for each explored frame."""

    iteration: int
    deviations: np.ndarray
    accurate: int
    candidate: int
    failed: int
    low_eV_A: float
    high_eV_A: float
    labelled: int


@dataclass(frozen=True)
class TrainingCurve:
    """Force RMSE on the frames set aside to watch a training, against epochs or steps.

    ``force_rmse_eV_A`` and ``progress`` are of shape ``(n,)``; ``member`` numbers a committee's models.
    """

    potential: str
    iteration: int | None
    member: int | None
    progress: np.ndarray
    progress_unit: Literal["epoch", "step"]
    force_rmse_eV_A: np.ndarray


@dataclass(frozen=True)
class StageRow:
    """One task or stage as its manifest tells it; ``seconds`` is wall time, ``finished`` a date and time."""

    stage: str
    key: str
    seconds: float
    host: str
    programs: Mapping[str, str]
    seed: int | None
    finished: str


@dataclass(frozen=True)
class Cost:
    """What one kind of work took: ``number`` of ``unit`` in ``seconds`` of computing time altogether."""

    what: str
    number: float
    unit: str
    seconds: float


@dataclass(frozen=True)
class Structure:
    """Atoms to look at, molecules whole.

    Attributes
    ----------
    bonds
        ``(n_bonds, 2)``.
    species
        The ion of each atom.
    contacts
        ``(n_contacts, 2)``: atoms joined by dashes, such as Li and the O that coordinate it.
    """

    title: str
    atoms: Atoms
    bonds: np.ndarray
    species: tuple[str, ...] = ()
    contacts: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=int))


@dataclass(frozen=True)
class ClusterPicture:
    """One example of a kind of cluster, cut out of a run, and the share of clusters that are of this kind."""

    protocol: str
    potential: str
    structure: Structure
    population: Estimate


@dataclass(frozen=True)
class ReportContent:
    """Everything a report shows. Empty parts are left out of the page.

    Attributes
    ----------
    study, liquid, liquid_label
        Name of the study, of the liquid (``"PYR14BF4"``), and its box (``"2 PYR14, 2 BF4"``).
    reference
        The potential that made the labels, in a sentence's words (``"GFN1-xTB (tblite 0.8.0), periodic"``).
    banner
        What a reader must know before any number (``"Reference: GFN1-xTB, not DFT"``).
    date
        When the report was made, as it is to be printed.
    study_file
        Text of the study file.
    training_notes
        What is to be known of the trainings, a sentence each.
    runs
        All that was measured, for the folder of tables beside the page.
    potential_labels
        Names to print for potentials, where the built-in ones do not do.
    kinds
        Kind of potential of each name.
    citations
        Further works to cite, beside those that follow from the programs and potentials used.
    """

    study: str
    liquid: str
    liquid_label: str
    temperature_K: float
    reference: str
    banner: str
    ilforge_version: str
    date: str
    seed: int | None = None
    records: tuple[Record, ...] = ()
    parity: tuple[Parity, ...] = ()
    curves: tuple[NamedCurve, ...] = ()
    tables: tuple[NamedTable, ...] = ()
    clusters: tuple[ClusterPicture, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    frames: tuple[FrameRow, ...] = ()
    coverage: tuple[Coverage, ...] = ()
    learning: tuple[LearningRound, ...] = ()
    training: tuple[TrainingCurve, ...] = ()
    stages: tuple[StageRow, ...] = ()
    costs: tuple[Cost, ...] = ()
    structure: Structure | None = None
    study_file: str = ""
    training_notes: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    potential_labels: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    citations: tuple[str, ...] = ()

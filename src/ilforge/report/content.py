"""The content of a report: plain data from the workflow. Nothing is computed or drawn here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms

from ilforge.properties.reading.folder import Run
from ilforge.results import Curve, Estimate, Record, Table


@dataclass(frozen=True)
class Parity:
    """Predictions of one potential on labelled frames, with the reference values.

    Attributes
    ----------
    potential, iteration
        The model; ``iteration`` is the round of concurrent learning, None for potentials that are not trained.
    datasets
        ``"EQ"`` or ``"nEQ"`` for each frame, length ``m``.
    energies_reference, energies_predicted
        eV per atom, ``(m,)``.
    forces_reference, forces_predicted
        eV/Å, ``(n, 3)``, for the atoms of all frames one after the other.
    elements, frames
        Element and frame (index) of each of these atoms, length ``n``.
    recipes
        Recipe of each frame (``"nvt"``, ``"packed"``, ``"hot"``, ``"explored"``), length ``m``, or empty.
    liquid
        Liquid of the frames, if models are validated on several liquids; otherwise empty.
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
    """A curve of one run. Curves with the same ``property``, ``protocol`` and ``key`` share a figure.

    ``property`` is ``"msd"`` (drawn on log-log axes), ``"rdf"`` and ``"coordination"`` (g(r) above n(r)),
    ``"density"`` (against time), or any other name (drawn on plain axes). ``key`` is the species or the
    pair, such as ``"PYR14"`` or ``"B-N"``; empty if there is none.
    """

    property: str
    protocol: str
    potential: str
    key: str
    curve: Curve


@dataclass(frozen=True)
class NamedTable:
    """A table of one run; ``kind`` is for example ``"map"``, and ``key`` the ion, for example ``"TFSI"``."""

    kind: str
    protocol: str
    potential: str
    key: str
    table: Table


@dataclass(frozen=True)
class Verdict:
    """Results of the health checks of one run.

    ``lines`` are sentences of passed checks with their numbers; ``faults`` are the sentences of failed checks.
    """

    protocol: str
    potential: str
    state: Literal["sound", "doubtful", "unphysical"]
    lines: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameRow:
    """One line of the inventory of frames: numbers made, labelled and accepted, and reasons of rejections."""

    dataset: str
    kind: str
    recipe: str
    made: int
    accepted: int
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """Coverage of one kind of internal coordinate by the frames of one recipe, compared with equilibrium frames.

    Attributes
    ----------
    dataset, recipe, coordinate
        For example ``"training"``, ``"nEQ/hot"``, and ``"bonds"``, ``"angles"`` or ``"torsions"``.
    spread, reached, beyond
        Value and standard error (None if there is none) of the numbers in :mod:`ilforge.sampling.coverage`.
    parents
        Number of independent boxes for the errors.
    centres, density
        Distribution of deviations from the EQ mean in Å or degrees (or of torsions themselves), ``(n,)``.
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
class ExploredState:
    """What exploration found at one composition, temperature and pressure.

    ``candidate`` includes ``unknown_density``: frames of a density that no training frame has. ``failed`` and ``left``
    say why frames failed and how runs left the trusted region, in words.
    """

    liquid: str
    conditions: str
    runs: int
    accurate: int
    candidate: int
    unknown_density: int
    labelled: int
    failed: str
    left: str
    deviations: np.ndarray


@dataclass(frozen=True)
class LearningRound:
    """One round of concurrent learning; ``deviations`` in eV/Å, one for each explored frame.

    ``notes`` are sentences on the window, and advice where nothing could be labelled.
    """

    iteration: int
    deviations: np.ndarray
    accurate: int
    candidate: int
    failed: int
    low_eV_A: float
    high_eV_A: float
    labelled: int
    states: tuple[ExploredState, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingCurve:
    """Force RMSE on the early-stopping frames of a training, against epochs or steps.

    ``force_rmse_eV_A`` and ``progress`` have the shape ``(n,)``; ``member`` is the number of a model in a committee.
    """

    potential: str
    iteration: int | None
    member: int | None
    progress: np.ndarray
    progress_unit: Literal["epoch", "step"]
    force_rmse_eV_A: np.ndarray


@dataclass(frozen=True)
class StageRow:
    """One stage, from its manifest; ``seconds`` is wall time, ``finished`` a date and time."""

    stage: str
    key: str
    seconds: float
    host: str
    programs: Mapping[str, str]
    seed: int | None
    finished: str


@dataclass(frozen=True)
class Cost:
    """Cost of one kind of work: ``number`` of ``unit`` in a total computing time of ``seconds``."""

    what: str
    number: float
    unit: str
    seconds: float


@dataclass(frozen=True)
class Structure:
    """Atoms to display, with whole molecules.

    Attributes
    ----------
    bonds
        ``(n_bonds, 2)``.
    species
        Ion of each atom.
    contacts
        ``(n_contacts, 2)``: atoms connected by dashed lines, such as Li and the coordinating O.
    """

    title: str
    atoms: Atoms
    bonds: np.ndarray
    species: tuple[str, ...] = ()
    contacts: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=int))


@dataclass(frozen=True)
class ClusterPicture:
    """One example of a kind of cluster, cut out of a run, and the population of this kind."""

    protocol: str
    potential: str
    structure: Structure
    population: Estimate


@dataclass(frozen=True)
class ReportContent:
    """All content of a report. Empty parts are left out of the page.

    Attributes
    ----------
    study, liquid, liquid_label
        Name of the study, of the liquid (``"PYR14BF4"``), and its box (``"2 PYR14, 2 BF4"``).
    reference
        The potential that made the labels, in words (``"GFN1-xTB (tblite 0.8.0), periodic"``).
    banner
        Warning above all numbers (``"Reference: GFN1-xTB, not DFT"``).
    date
        Date of the report, for printing.
    study_file
        Text of the study file.
    training_notes
        Notes on the trainings, one sentence each.
    runs
        All measurements, for the folder of tables beside the page.
    potential_labels
        Printed names of potentials, if they differ from the built-in ones.
    methods
        Description of each potential by its name: its ``kind``, and its settings as far as they are known.
    citations
        Further works to cite, in addition to those for the programs and potentials used.
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
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    citations: tuple[str, ...] = ()

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of potential of each name."""
        return {name: method["kind"] for name, method in self.methods.items()}

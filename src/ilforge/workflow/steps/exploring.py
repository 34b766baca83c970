"""One exploration at work, and the window in which its frames are candidates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import frames, potentials
from ilforge.frames import FORCES
from ilforge.labelling.datasets.dataset import Dataset
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.force_evaluator import force_deviation
from ilforge.potentials.learned.committee import Committee
from ilforge.sampling.calibration import Calibration, calibrate
from ilforge.sampling.exploration import Exploration, Trusted, Walk, density_of, explore
from ilforge.sampling.selection import Window
from ilforge.study.settings import CALIBRATION_FALLBACK_EV_A, LearningSettings
from ilforge.workflow.store import write_json

EXPLORED, JUDGED, WINDOW = "explored.xyz", "judged.json", "window.json"


def run_exploration(
    directory: Path,
    members: list[dict[str, Any]],
    boxes: Sequence[Atoms],
    liquid: Liquid,
    walk: Walk,
    trusted: Trusted,
    threads: int,
) -> None:
    """One exploration in a directory of its own, to be read by :func:`read_exploration`."""
    found = explore(_committee(members), boxes, liquid, walk, trusted, directory / "run", threads)
    frames.write(directory / EXPLORED, found.frames)
    write_json(directory / JUDGED, found.judged())


def read_exploration(directory: Path) -> Exploration:
    """An exploration as :func:`run_exploration` left it."""
    return Exploration.of_judged(frames.read(directory / EXPLORED), json.loads((directory / JUDGED).read_text()))


def walk_of(learning: LearningSettings, pressure_bar: float, run: int, seed: int) -> Walk:
    """How a run moves: runs take all combinations of ensemble, temperature and pressure in turn."""
    conditions = learning.conditions(pressure_bar)
    return Walk(
        conditions[run % len(conditions)],
        learning.timestep_fs,
        learning.length_ps,
        learning.interval_ps,
        seed,
        learning.restarts,
        learning.pressure_deviation_GPa is not None,
    )


def starts_of_run(candidates: list[Atoms], run: int, restarts: int, seed: int) -> list[Atoms]:
    """The boxes that a run starts from, one after another; they depend on no other run.

    Runs begin at frames of as many parents as possible; restarts take any frames at equilibrium.
    """
    equilibrated = [frame for frame in candidates if frame.info["kind"] == "EQ"] or candidates
    order = np.random.default_rng([seed, run]).permutation(len(equilibrated))
    return [_starts(equilibrated, run + 1, seed)[run], *(equilibrated[i] for i in order[:restarts])]


def trusted_region(learning: LearningSettings, sampled: Sequence[Atoms], liquid: Liquid, bond_factor: float) -> Trusted:
    """The region that a run must not leave, from the sampled frames: it does not grow with what is explored."""
    densities = _densities(sampled, liquid)
    if densities is not None:
        lowest, highest = densities
        densities = (lowest * (1 - learning.density_margin), highest * (1 + learning.density_margin))
    return Trusted(learning.deviation_high_eV_A, densities, bond_factor)


def window_of(
    learning: LearningSettings, learned: Sequence[Atoms], liquid: Liquid, calibration: Calibration | None
) -> Window:
    """What makes a frame a candidate, for models that have learned from these frames."""
    low: float = CALIBRATION_FALLBACK_EV_A
    if learning.deviation_low_eV_A != "calibrated":
        low = learning.deviation_low_eV_A
    elif calibration is not None:
        low = calibration.low
    note = "" if calibration is None else calibration.note
    high, pressure = learning.deviation_high_eV_A, learning.pressure_deviation_GPa
    return Window(low, high, pressure, _densities(learned, liquid), note)


def write_window(
    directory: Path,
    dataset: Path,
    labels: Path | None,
    members: list[dict[str, Any]],
    liquid: Liquid,
    learning: LearningSettings,
    threads: int,
) -> None:
    """The window of models that learned from a dataset, to be read by :func:`read_window`.

    It is calibrated on the labels of validation frames, if there is a file of them.
    """
    calibration = None if labels is None else _calibrated(members, labels, liquid, learning, threads)
    found = window_of(learning, of_liquid(Dataset.read(dataset).frames, liquid), liquid, calibration)
    write_json(directory / WINDOW, vars(found))


def read_window(directory: Path) -> Window:
    """A window as :func:`write_window` left it."""
    found = json.loads((directory / WINDOW).read_text())
    densities = found["densities_g_cm3"]
    return Window(**{**found, "densities_g_cm3": None if densities is None else tuple(densities)})


def of_liquid(known: Sequence[Atoms], liquid: Liquid) -> list[Atoms]:
    """Frames of one composition."""
    return [frame for frame in known if frame.info["ions"] == liquid.label]


def _calibrated(
    members: list[dict[str, Any]], labels: Path, liquid: Liquid, learning: LearningSettings, threads: int
) -> Calibration:
    """The window's lower end, from the forces of the committee and of the labels on validation frames."""
    committee = _committee(members)
    labelled = of_liquid(frames.read(labels), liquid)
    answers = list(committee.answers(labelled, liquid.topology, threads))
    errors = [
        np.linalg.norm(found.forces[0] - frame.arrays[FORCES], axis=1).max()
        for found, frame in zip(answers, labelled, strict=True)
    ]
    return calibrate(
        np.array([force_deviation(found.forces) for found in answers]),
        np.array(errors),
        learning.force_error_eV_A,
        CALIBRATION_FALLBACK_EV_A,
        learning.deviation_high_eV_A,
    )


def _committee(members: list[dict[str, Any]]) -> Committee:
    return Committee(tuple(potentials.create(member) for member in members))


def _densities(known: Sequence[Atoms], liquid: Liquid) -> tuple[float, float] | None:
    """Lowest and highest density, g/cm^3."""
    found = [density_of(frame, liquid.topology) for frame in known if frame.pbc.all()]
    return (min(found), max(found)) if found else None


def _starts(equilibrated: list[Atoms], count: int, seed: int) -> list[Atoms]:
    """Frames at equilibrium from as many parents as possible; more runs do not change those of the first."""
    order = np.random.default_rng(seed).permutation(len(equilibrated))
    by_parent: dict[str, list[Atoms]] = {}
    for i in order:
        by_parent.setdefault(equilibrated[i].info["parent"], []).append(equilibrated[i])
    chosen: list[Atoms] = []
    while len(chosen) < count:
        for group in by_parent.values():
            if len(chosen) < count:
                chosen.append(group[len(chosen) // len(by_parent) % len(group)])
    return chosen

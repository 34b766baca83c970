"""AIMD of CP2K: frames of its trajectories, with data of each step from the output and the files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.geometry import cell_to_cellpar
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, GPa, Hartree
from ase.units import _amu as AMU_KG
from ase.units import _me as ELECTRON_KG

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.cp2k.text import NUMBER, SMOOTHED, boxed, element_of, printed_cell
from ilforge.potentials.quantum.cp2k.trajectory_files import Frame, in_angstrom, other_format, trajectory_file
from ilforge.potentials.quantum.outputs import Reading, named, number, text_of

_SAME_HARTREE = 1e-6
_SAME_ANGLE_DEG = 1e-3
_BAR = 1e-4 * GPa
_CHANGING_BOX = re.compile(r"Ensemble type\s+(?:NPT|NPE|MSST|HYDROSTATIC|REFTRAJ)|GLOBAL\| Run type\s+CELL_OPT", re.I)


@dataclass
class _Run:
    """All data of an AIMD, by number of the step.

    Attributes
    ----------
    first
        The first box of the run.
    fixed
        The box of all steps, if it does not change.
    total_stress
        ``(3, 3)`` bar, compression positive, from ``-1.stress``: it includes the kinetic part of the atoms.
    """

    text: str
    steps: Sequence[Mapping[str, Any]]
    places: dict[int, Frame]
    pushes: dict[int, Frame]
    velocities: dict[int, Frame]
    cells: dict[int, np.ndarray]
    first: np.ndarray
    fixed: np.ndarray | None
    total_stress: dict[int, np.ndarray]


def read_trajectory(
    folder: Path, name: str, text: str, steps: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
    """Frames of the trajectories by the number of their step, and remarks on what was left out.

    Each file has its own interval (``EACH``), so frames with the same index in two files may be from different steps.

    Parameters
    ----------
    steps
        Data in the output for each energy.

    Raises
    ------
    SettingsError
        When positions or forces are missing, or boxes of a run whose box changes.
    """
    run = _open(folder, name, text, steps)
    said = {step: _said(run, step) for step in run.places}
    forces = {step for step in run.places if step in run.pushes or said[step].get("whole")} | set(run.pushes)
    cells = {step: _cell(run, step, said.get(step, {})) for step in sorted(forces | set(run.places))}
    if not forces:
        raise SettingsError(
            f"There is no {folder / name}-frc-1.xyz, and the output has no forces of its steps: labels of a CP2K "
            "trajectory need them (MOTION/PRINT/FORCES, or FORCE_EVAL/PRINT/FORCES)."
        )
    later = [cell for step, cell in cells.items() if step]  # the first one is always known
    if later and all(cell is None for cell in later):
        raise SettingsError(
            f"There is no {folder / name}-1.cell, and the output does not contain the box of each step: the box of "
            "this run changes, so the box of each step is needed (MOTION/PRINT/CELL)."
        )
    whole = {step: cell for step in run.places if step in forces and (cell := cells[step]) is not None}
    readings = tuple(_matched(run, step, said[step], cell) for step, cell in whole.items())
    parts = {"positions": set(run.places), "forces": forces}
    if run.fixed is None:
        parts["box"] = {step for step, cell in cells.items() if cell is not None} | set(run.cells)
    return readings, (*_left_out(parts, len(whole)), *_stress_left_out(run, readings))


def _open(folder: Path, name: str, text: str, steps: Sequence[Mapping[str, Any]]) -> _Run:
    paths = {what: trajectory_file(folder, name, what, text) for what in ("pos", "frc", "vel")}
    if paths["pos"] is None:
        raise SettingsError(
            f"There is no {folder / name}-pos-1.xyz: labels of a CP2K trajectory need its positions beside the output, "
            f"written with FORMAT XYZ or XMOL (MOTION/PRINT/TRAJECTORY).{other_format(folder, name)}"
        )
    places, pushes, velocities = ({} if path is None else _xyz(path) for path in paths.values())
    places = in_angstrom(places, text, paths["pos"])
    cells = _table(named(folder, f"{name}-1.cell"))
    changes = _CHANGING_BOX.search(text) is not None
    first = _first_cell(text, steps, cells)
    fixed = None if changes else first
    total_stress = _table(named(folder, f"{name}-1.stress"))
    return _Run(text, steps, places, pushes, velocities, cells, first, fixed, total_stress)


def _first_cell(text: str, steps: Sequence[Mapping[str, Any]], cells: Mapping[int, np.ndarray]) -> np.ndarray:
    """The first box in the output; from lengths and angles if only these are printed, and the angles are right."""
    if cells:
        return next(iter(cells.values()))
    said = next((step for step in steps if "lengths" in step), {})
    if "CELL|" not in text and np.allclose(said.get("angles", 0.0), 90.0, atol=_SAME_ANGLE_DEG):
        return np.diag(said["lengths"])
    return printed_cell(text)


def _said(run: _Run, step: int) -> Mapping[str, Any]:
    """Data in the output for a step, found by its energy; if several have the same energy, by the step number."""
    energy = run.places[step][2]
    if energy is None:
        return {}
    same = [each for each in run.steps if abs(each["energy"] / Hartree - energy) < _SAME_HARTREE]
    numbered = [each for each in same if each.get("number") == step]
    return (numbered or same or [{}])[0]


def _cell(run: _Run, step: int, said: Mapping[str, Any]) -> np.ndarray | None:
    """The box of a step; from lengths and angles only if its orientation is that of the first box."""
    if step in run.cells:
        return run.cells[step]
    if run.fixed is not None:
        return run.fixed
    if step == 0:
        return run.first
    if "lengths" not in said:
        return None
    before = cell_to_cellpar(run.first)
    if np.abs(np.array(said.get("angles", before[3:])) - before[3:]).max() > _SAME_ANGLE_DEG:
        return None
    found: np.ndarray | None = run.first * (np.array(said["lengths"]) / before[:3])[:, None]
    return found


def _left_out(parts: Mapping[str, set[int]], n_whole: int) -> Iterator[str]:
    every = set().union(*parts.values())
    if len(every) == n_whole:
        return
    lacking = [f"{n} have no {name}" for name, has in parts.items() if (n := len(every - has))]
    yield (
        f"{len(every) - n_whole} of {len(every)} steps are left out: {', '.join(lacking)} "
        "(the files were printed at different intervals, EACH, or one was cut off)"
    )


def _stress_left_out(run: _Run, readings: Sequence[Reading]) -> Iterator[str]:
    lacking = sum(reading.fault is None and reading.stress is None for reading in readings)
    if SMOOTHED.search(run.text) and any("stress" in step for step in run.steps):
        yield f"the stress of {lacking} frames is left out: it is wrong for a smoothed density (XC_SMOOTH_RHO)"
    elif run.total_stress and lacking:
        yield (
            f"the stress of {lacking} frames is left out: -1.stress includes the motion of the atoms, which can be "
            "subtracted only with the velocities of the same step (-vel-1.xyz, MOTION/PRINT/VELOCITIES); FORCE_EVAL/"
            "PRINT/STRESS_TENSOR prints the stress without it"
        )


def _matched(run: _Run, step: int, said: Mapping[str, Any], cell: np.ndarray) -> Reading:
    symbols, positions, energy = run.places[step]
    atoms = boxed(run.text, symbols, positions, cell)
    push = run.pushes.get(step)
    if push is not None and symbols != push[0]:
        return Reading(atoms, fault="wrong number of atoms: positions and forces are not of the same atoms")
    if energy is None:
        return Reading(atoms, fault="incomplete: the positions name no energy")
    if push is not None and push[2] is not None and abs(push[2] - energy) > _SAME_HARTREE:
        return Reading(atoms, fault="contradiction: positions and forces of this step name different energies")
    forces = np.array(said["rows"]) if push is None else push[1]
    if len(forces) != len(symbols):
        return Reading(atoms, fault=f"wrong number of atoms: {len(symbols)}, forces of {len(forces)}")
    return Reading(
        atoms,
        energy=energy * Hartree,
        forces=forces * Hartree / Bohr,
        stress=_stress(run, step, said, atoms),
        converged=said.get("converged"),
    )


def _stress(run: _Run, step: int, said: Mapping[str, Any], atoms: Atoms) -> np.ndarray | None:
    """Stress ``(6,)`` eV/Å^3: from the output, or else the total stress without the motion of the atoms."""
    if SMOOTHED.search(run.text):
        return None
    printed: np.ndarray | None = said.get("stress")
    if printed is not None:
        return printed
    if step not in run.total_stress or step not in run.velocities:
        return None
    kinetic = kinetic_pressure(atoms.get_chemical_symbols(), run.velocities[step][1], atoms.get_volume())
    found: np.ndarray = full_3x3_to_voigt_6_stress(-(run.total_stress[step] * _BAR - kinetic))
    return found


def kinetic_pressure(symbols: Sequence[str], velocities: np.ndarray, volume: float) -> np.ndarray:
    r"""Pressure of moving atoms, :math:`\sum_i m_i v_i v_i^T / V`, ``(3, 3)`` eV/Å^3.

    Parameters
    ----------
    velocities
        ``(n_atoms, 3)`` in atomic units (Bohr per atomic unit of time), as in CP2K's files.
    volume
        Volume, Å^3.
    """
    masses = np.array([atomic_masses[atomic_numbers[element_of(symbol)]] for symbol in symbols]) * AMU_KG / ELECTRON_KG
    found: np.ndarray = Hartree * np.einsum("i,ia,ib->ab", masses, velocities, velocities) / volume
    return found


def _xyz(path: Path) -> dict[int, Frame]:
    """Complete frames of a trajectory in CP2K's xyz, by step: elements, numbers as written, energy in Hartree.

    If a step occurs twice, for example after a restart, the later one counts.
    """
    lines = iter(text_of(path).splitlines())
    found: dict[int, Frame] = {}
    for count in lines:
        if not count.strip().isdigit():
            break
        said = next(lines, "")
        step, energy = re.search(r"\bi\s*=\s*(\d+)", said), re.search(rf"E\s*=\s*({NUMBER})", said)
        rows = [next(lines, "").split() for _ in range(int(count))]
        if any(len(row) < 4 for row in rows):
            break
        if step is None:
            raise SettingsError(f"{path}: a frame does not contain its step (i = ...) in CP2K's form; found {said!r}.")
        values = np.array([[number(value) for value in row[1:4]] for row in rows])
        found[int(step[1])] = ([row[0] for row in rows], values, number(energy[1]) if energy else None)
    return found


def _table(path: Path | None) -> dict[int, np.ndarray]:
    """Arrays ``(3, 3)`` by step, from a file of CP2K with one line for each step: step, time, nine numbers."""
    rows = [line.split() for line in (text_of(path) if path else "").splitlines() if not line.startswith("#")]
    return {int(row[0]): np.array([number(part) for part in row[2:11]]).reshape(3, 3) for row in rows if len(row) >= 11}

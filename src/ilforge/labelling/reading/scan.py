"""Rigid or relaxed scans over dihedrals of one ion in vacuum, for torsion maps."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from ilforge import files, frames
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.labelling.labels import SAME_ENERGY_EV
from ilforge.labelling.reading.scan_folder import ScanFolder, ScanPoint
from ilforge.units import KJ_PER_MOL

__all__ = ["ScanPoint", "scan_dihedrals", "write_scan", "write_scan_frames"]


def scan_dihedrals(
    calculator: Calculator,
    start: Atoms,
    bonds: np.ndarray,
    dihedrals: Sequence[tuple[int, int, int, int]],
    angles: Sequence[Sequence[float]],
    relaxed: bool = False,
    max_force_eV_A: float = 0.05,
    max_steps: int = 200,
    directory: Path | None = None,
) -> list[ScanPoint]:
    """Energies on the grid of all combinations of angles.

    A point that fails contains the reason, and the scan continues. In a relaxed scan, every point starts from the
    previous one of its row, and all degrees of freedom except the dihedrals are relaxed.

    Parameters
    ----------
    start
        The ion in vacuum.
    bonds
        ``(n_bonds, 2)``; they determine the part of the ion that turns with the third atom of a dihedral.
    dihedrals
        Four atoms each; the bond in the middle must not be in a ring.
    angles
        Angles of each dihedral, degrees.
    max_force_eV_A, max_steps
        Convergence limit and largest number of steps of a relaxation.
    directory
        Folder to which every point is written at once; a stopped scan continues when called again with the same
        arguments. None keeps nothing.

    Raises
    ------
    SettingsError
        For a dihedral about atoms that are not bonded or a bond in a ring, and a folder that contains another scan.
    """
    if len(dihedrals) != len(angles) or not dihedrals:
        raise SettingsError(f"{len(dihedrals)} dihedrals and {len(angles)} lists of angles: give one list for each.")
    turning = [_turning(len(start), bonds, dihedral) for dihedral in dihedrals]
    relaxation = (max_force_eV_A, max_steps) if relaxed else None
    arguments = {
        "bonds": np.asarray(bonds).tolist(),
        "dihedrals": np.asarray(dihedrals).tolist(),
        "angles_deg": [[float(angle) for angle in each] for each in angles],
        "relaxation": relaxation,
    }
    folder = ScanFolder(directory, start, arguments)
    points: list[ScanPoint] = []
    frame, going_on = start.copy(), False
    for number, combination in enumerate(itertools.product(*angles)):
        point = folder.get(number)
        if point is None:
            if going_on:
                _require_same_method(calculator, points, directory)
            for dihedral, angle, atoms in zip(dihedrals, combination, turning, strict=True):
                frame.set_dihedral(*dihedral, angle, indices=atoms)
            point = _point(calculator, frame, dihedrals, combination, relaxation)
            folder.put(number, point)
            going_on = False
        else:
            going_on = True
        points.append(point)
        frame = point.frame.copy() if relaxed and point.fault is None else start.copy()
    return points


def _require_same_method(calculator: Calculator, points: Sequence[ScanPoint], directory: Path | None) -> None:
    """Refuse to continue with another method: it must reproduce the energy of the last stored point."""
    usable = [(point.frame, point.energy) for point in points if point.energy is not None]
    if not usable:
        return
    frame, energy = usable[-1][0].copy(), usable[-1][1]
    frame.calc = calculator
    apart = abs(float(frame.get_potential_energy()) - energy)
    if apart > SAME_ENERGY_EV:
        raise SettingsError(
            f"The points in {directory} were computed with another method: the energy of the last one now differs by "
            f"{apart:.4g} eV. Name another folder, or remove it."
        )


def write_scan(path: Path, points: Sequence[ScanPoint]) -> None:
    """Write a table (CSV): angles in degrees, relative energy in kJ/mol, absolute energy in eV, and faults."""
    found = [point.energy for point in points if point.energy is not None and point.fault is None]
    lowest = min(found, default=0.0)
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        names = [f"dihedral_{number + 1}_deg" for number in range(len(points[0].angles) if points else 0)]
        table.writerow([*names, "energy_kJ_mol", "energy_eV", "fault"])
        for point in points:
            above = absolute = ""
            if point.energy is not None:
                above, absolute = f"{(point.energy - lowest) / KJ_PER_MOL:.4f}", f"{point.energy:.8f}"
            table.writerow([*point.angles, above, absolute, files.csv_cell(point.fault or "")])


def write_scan_frames(path: Path, points: Sequence[ScanPoint], ion: str) -> None:
    """Write the structures of a scan as extended XYZ with ``REF_energy`` in eV; points with a fault are left out."""
    kept = []
    for point in points:
        if point.energy is not None and point.fault is None:
            frame = point.frame.copy()
            frame.info.update({"ions": f"1 {ion}", frames.ENERGY: point.energy})
            kept.append(frame)
    frames.write(path, kept)


def _point(
    calculator: Calculator,
    frame: Atoms,
    dihedrals: Sequence[tuple[int, int, int, int]],
    combination: tuple[float, ...],
    relaxation: tuple[float, int] | None,
) -> ScanPoint:
    from ase.constraints import FixInternals
    from ase.optimize import BFGS

    atoms, fault = frame.copy(), None
    atoms.calc = calculator
    angles = tuple(float(angle) for angle in combination)
    try:
        if relaxation is not None:
            held = [[angle, list(dihedral)] for dihedral, angle in zip(dihedrals, angles, strict=True)]
            atoms.set_constraint(FixInternals(dihedrals_deg=held, epsilon=1e-6))
            with BFGS(atoms, logfile=None) as relax:
                if not relax.run(fmax=relaxation[0], steps=relaxation[1]):
                    fault = f"not relaxed after {relaxation[1]} steps"
        energy = float(atoms.get_potential_energy(apply_constraint=False))
    except (DidNotConverge, ValueError) as error:  # ValueError: constraints that contradict each other
        energy, fault = None, str(error)
    kept = atoms.copy()
    kept.set_constraint()
    return ScanPoint(angles, energy, fault, kept)


def _turning(n_atoms: int, bonds: np.ndarray, dihedral: tuple[int, int, int, int]) -> list[int]:
    """Atoms on the side of the third atom when the bond between the second and the third is cut."""
    _, here, there, _ = dihedral
    neighbours: list[set[int]] = [set() for _ in range(n_atoms)]
    for i, j in np.asarray(bonds).tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    if there not in neighbours[here]:
        raise SettingsError(f"dihedral {dihedral}: atoms {here} and {there} are not bonded.")
    reached, edge = {there}, [there]
    while edge:
        atom = edge.pop()
        new = neighbours[atom] - reached - ({here} if atom == there else set())
        reached |= new
        edge += new
    if here in reached:
        raise SettingsError(f"dihedral {dihedral}: the bond of atoms {here} and {there} is in a ring.")
    return sorted(reached)

"""LAMMPS's files: write the data file of a run, and read its output as plain arrays.

A file that ends in the middle of a frame, because LAMMPS stopped, gives the complete frames before; a missing file
gives none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilforge.dynamics.simulation import Job

_FS_PER_PS = 1000.0
_HEADER_LINES = 8  # of a dump's frame, after its "ITEM: TIMESTEP" line
_MAX_FORCE = 4  # column of DeePMD's deviation file: step, virial max min mean, force max min mean


@dataclass(frozen=True)
class DumpFrame:
    """One frame of a dump: positions (unwrapped, from the cell's corner) and cell in Å, velocities in Å/fs.

    In a vacuum the cell is zeros, and positions are as LAMMPS writes them.
    """

    step: int
    positions: np.ndarray
    velocities: np.ndarray
    cell: np.ndarray


def data_file(job: Job) -> str:
    """The start of a run: cell, masses, positions, velocities; atom types are the sorted elements.

    In a vacuum the cell is only LAMMPS's initial box, whose faces follow the atoms (``boundary s s s``).
    """
    topology = job.topology
    elements = sorted(set(topology.symbols))
    masses = dict(zip(topology.symbols, topology.masses, strict=True))
    low, high = np.zeros(3), np.diag(job.cell)
    if not job.periodic:
        low, high = job.start_positions.min(axis=0) - 1.0, job.start_positions.max(axis=0) + 1.0
    lines = ["written by ilforge", "", f"{topology.n_atoms} atoms", f"{len(elements)} atom types", ""]
    lines += [f"{a:.16g} {b:.16g} {axis}lo {axis}hi" for a, b, axis in zip(low, high, "xyz", strict=True)]
    lines += ["", "Masses", ""]
    lines += [f"{number} {masses[symbol]:.16g}  # {symbol}" for number, symbol in enumerate(elements, 1)]
    lines += ["", "Atoms # atomic", ""]
    for index, (symbol, (x, y, z)) in enumerate(zip(topology.symbols, job.start_positions, strict=True), 1):
        lines.append(f"{index} {elements.index(symbol) + 1} {x:.16g} {y:.16g} {z:.16g}")
    lines += ["", "Velocities", ""]
    for index, (x, y, z) in enumerate(job.start_velocities * _FS_PER_PS, 1):
        lines.append(f"{index} {x:.16g} {y:.16g} {z:.16g}")
    return "\n".join(lines) + "\n"


def read_dump(path: Path, n_atoms: int) -> list[DumpFrame]:
    """Complete frames of a dump with columns ``id xu yu zu vx vy vz``, atoms sorted by id."""
    if not path.is_file():
        return []
    found = []
    for block in path.read_text(errors="replace").split("ITEM: TIMESTEP\n")[1:]:
        lines = block.splitlines()
        if len(lines) < _HEADER_LINES + n_atoms or not block.endswith("\n"):
            break
        low, high = np.array([line.split()[:2] for line in lines[4:7]], dtype=float).T
        if "pp" not in lines[3]:
            low, high = np.zeros(3), np.zeros(3)
        columns = np.array([line.split() for line in lines[_HEADER_LINES:]], dtype=float)
        found.append(DumpFrame(int(lines[0]), columns[:, 1:4] - low, columns[:, 4:7] / _FS_PER_PS, np.diag(high - low)))
    return found


def read_thermo(path: Path) -> dict[int, tuple[float, float, float]]:
    """Temperature in K, potential and kinetic energy in eV, by step."""
    if not path.is_file():
        return {}
    rows = [line.split() for line in path.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")]
    return {int(row[0]): (float(row[1]), float(row[2]), float(row[3])) for row in rows if len(row) == 4}


def read_force_deviation(path: Path) -> dict[int, float]:
    """Largest deviation of forces in eV/Å by step, from the file that DeePMD writes for several models.

    Steps restart from zero after equilibration; if a step occurs twice, the last line counts.
    """
    if not path.is_file():
        return {}
    rows = [line.split() for line in path.read_text(errors="replace").splitlines() if not line.startswith("#")]
    return {int(row[0]): float(row[_MAX_FORCE]) for row in rows if len(row) > _MAX_FORCE}

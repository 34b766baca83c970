"""CP2K's output, as pure functions of the files: single points, and AIMD with its trajectories beside it.

CP2K goes on after a self-consistency that failed and prints energies and forces all the same: whether each
frame converged is read for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, GPa, Hartree

from ilforge.errors import SettingsError
from ilforge.potentials.outputs import Output, Reading

_UNITS = {"GPa": GPa, "bar": 1e-4 * GPa, "kbar": 0.1 * GPa}
_NUMBER = r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?"


def read_cp2k(path: Path) -> Output:
    """Every frame of an output that has its forces; of an AIMD, with ``-pos-1.xyz`` and ``-frc-1.xyz`` beside it.

    Raises
    ------
    SettingsError
        When the file is not there, not CP2K's, or the trajectories of an AIMD are not beside it.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"There is no file {path}.")
    text = path.read_text(errors="replace")
    version = re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text)
    if version is None:
        raise SettingsError(f"{path} is no CP2K output: it names no version of CP2K.")
    method = _method(text, version[1])
    steps = list(_steps(text))
    project = re.search(r"GLOBAL\| Project name\s+(\S+)", text)
    name = project[1] if project else "frame"
    if re.search(r"GLOBAL\| Run type\s+(MD|GEO_OPT|CELL_OPT)", text):
        readings = _trajectory(path.parent, name, text, steps)
    else:
        readings = tuple(_single(text, step) for step in steps)
    ended = "PROGRAM ENDED AT" in text
    ending = None if ended else f"truncated: CP2K was stopped in frame {len(readings)} or before its end"
    return Output(method, readings, ending)


def _steps(text: str) -> Iterator[dict[str, Any]]:
    """What the output says of each energy: whether it converged, its value, its forces and stress."""
    converged: bool | None = None
    lines = iter(text.splitlines())
    step: dict[str, Any] | None = None
    for line in lines:
        if "SCF run NOT converged" in line or "outer SCF loop FAILED to converge" in line:
            converged = False
        elif "outer SCF loop converged" in line or ("SCF run converged in" in line and converged is None):
            converged = True
        elif "ENERGY| Total FORCE_EVAL" in line:
            if step is not None:
                yield step
            step = {"energy": _number(line.split()[-1]) * Hartree, "converged": converged, "rows": []}
            converged = None
        elif step is not None and re.match(r"\s*ATOMIC FORCES in \[a\.u\.\]", line):
            step["rows"], step["whole"] = _force_rows(lines)
        elif step is not None and (found := re.search(r"STRESS\|? .*[Tt]ensor \[(\w+)\]", line)):
            step["stress"] = _stress(lines, _UNITS.get(found[1]))
    if step is not None:
        yield step


def _force_rows(lines: Iterator[str]) -> tuple[list[list[float]], bool]:
    rows = []
    for line in lines:
        parts = line.split()
        if line.lstrip().startswith("SUM OF ATOMIC FORCES"):
            return rows, True
        if len(parts) == 6 and parts[0].isdigit():
            rows.append([_number(part) for part in parts[3:]])
    return rows, False


def _stress(lines: Iterator[str], unit: float | None) -> np.ndarray | None:
    """CP2K prints the pressure tensor: compression positive."""
    rows = []
    for line in lines:
        found = re.findall(_NUMBER, line)
        if len(found) == 3:
            rows.append([_number(value) for value in found])
        if len(rows) == 3:
            return None if unit is None else full_3x3_to_voigt_6_stress(-unit * np.array(rows))
    return None


def _single(text: str, step: dict[str, Any]) -> Reading:
    atoms = _first_structure(text)
    if not step.get("whole"):
        return Reading(atoms, fault="truncated: the frame has no forces, or not all (print them with PRINT/FORCES)")
    if len(step["rows"]) != len(atoms):
        return Reading(atoms, fault=f"wrong number of atoms: {len(atoms)}, forces of {len(step['rows'])}")
    return Reading(
        atoms,
        energy=step["energy"],
        forces=np.array(step["rows"]) * Hartree / Bohr,
        stress=None if "XC_SMOOTH" in text else step.get("stress"),
        converged=step["converged"],
    )


def _first_structure(text: str) -> Atoms:
    found = re.search(r"ATOMIC COORDINATES IN ANGSTROM\s+(.*?)\n\s*\n\s*\n", text + "\n\n\n", re.S)
    symbols, positions = [], []
    for line in (found[1] if found else "").splitlines():
        parts = line.split()
        if len(parts) >= 7 and parts[0].isdigit():
            symbols.append(re.match(r"[A-Z][a-z]?", parts[2])[0])
            positions.append([_number(part) for part in parts[4:7]])
    return Atoms(symbols, positions=positions or None, cell=_cell(text), pbc=True)


def _cell(text: str) -> np.ndarray:
    """Components have three decimals, lengths six: a cell whose angles are right is as exact as its lengths."""
    line = rf"CELL\|? Vector %s \[angstrom\]:?\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+\|%s\|\s*=\s*({_NUMBER})"
    found = [re.search(line % (axis, axis), text) for axis in "abc"]
    if not all(found):
        raise SettingsError("The CP2K output does not say what its cell is (CELL| Vector a ...).")
    numbers = np.array([[_number(value) for value in vector.groups()] for vector in found])
    return numbers[:, :3] * (numbers[:, 3] / np.linalg.norm(numbers[:, :3], axis=1))[:, None]


def _trajectory(folder: Path, name: str, text: str, steps: list[dict[str, Any]]) -> tuple[Reading, ...]:
    """Frames of the trajectories, each with the step of the output that has its energy."""
    places, forces = (folder / f"{name}-{what}-1.xyz" for what in ("pos", "frc"))
    for needed in (places, forces):
        if not needed.is_file():
            raise SettingsError(
                f"There is no {needed}: labels of a CP2K trajectory need its positions (-pos-1.xyz) and forces "
                "(-frc-1.xyz, MOTION/PRINT/FORCES) beside the output."
            )
    cells = _cells(folder / f"{name}-1.cell")
    fixed = _cell(text)
    return tuple(
        _matched(frame, force, cells.get(number, fixed), steps)
        for number, (frame, force) in enumerate(zip(_xyz(places), _xyz(forces), strict=False))
    )


def _matched(frame: tuple, force: tuple, cell: np.ndarray, steps: list[dict[str, Any]]) -> Reading:
    symbols, positions, energy = frame
    atoms = Atoms(symbols, positions=positions, cell=cell, pbc=True)
    if symbols != force[0]:
        return Reading(atoms, fault="wrong number of atoms: positions and forces are not of the same atoms")
    if energy is None:
        return Reading(atoms, fault="incomplete: the positions name no energy")
    matching = [step for step in steps if abs(step["energy"] / Hartree - energy) < 1e-6]
    return Reading(
        atoms,
        energy=energy * Hartree,
        forces=force[1] * Hartree / Bohr,
        converged=matching[0]["converged"] if matching else None,
    )


def _xyz(path: Path) -> Iterator[tuple[list[str], np.ndarray, float | None]]:
    """Whole frames of a trajectory in CP2K's xyz: elements, numbers as they stand, energy in Hartree."""
    lines = iter(path.read_text(errors="replace").splitlines())
    for count in lines:
        if not count.strip().isdigit():
            return
        energy = re.search(rf"E\s*=\s*({_NUMBER})", next(lines, ""))
        rows = [next(lines, "").split() for _ in range(int(count))]
        if any(len(row) < 4 for row in rows):
            return
        values = np.array([[_number(value) for value in row[1:4]] for row in rows])
        yield [row[0] for row in rows], values, _number(energy[1]) if energy else None


def _cells(path: Path) -> dict[int, np.ndarray]:
    if not path.is_file():
        return {}
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = [[_number(part) for part in line.split()] for line in lines]
    return {number: np.array(row[2:11]).reshape(3, 3) for number, row in enumerate(rows) if len(row) >= 11}


def _method(text: str, version: str) -> dict[str, Any]:
    def all_of(pattern: str) -> list[str]:
        return sorted({" ".join(found.split()) for found in re.findall(pattern, text)})

    return {
        "program": "CP2K",
        "version": version,
        "functional": all_of(r"FUNCTIONAL\| (\S+):"),
        "cutoff": all_of(r"QS\|\s+Density cutoff \[a\.u\.\]:\s+(\S+)"),
        "bases": all_of(r"(?:Orbital Basis Set|ORB Basis set name)\s+(\S+)"),
        "potentials": all_of(r"(?:GTH Potential information for|Potential information for)\s+(\S+)"),
        "dispersion": all_of(r"vdW POTENTIAL\|\s+(DFT-?D\S+.*)"),
    }


def _number(text: str) -> float:
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return float("nan")

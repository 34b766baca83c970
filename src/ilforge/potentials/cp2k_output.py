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
from ilforge.potentials.outputs import Output, Reading, named, text_of

_UNITS = {"GPa": GPa, "bar": 1e-4 * GPa, "kbar": 0.1 * GPa}
_SAME_HARTREE = 1e-6
_CHANGING_BOX = re.compile(r"Ensemble type\s+(?:NPT|NPE|MSST|HYDROSTATIC|REFTRAJ)|GLOBAL\| Run type\s+CELL_OPT", re.I)
# the stress of a smoothed density is wrong
_SMOOTHED = re.compile(r"DFT\| XC density smoothing\s+(?!NONE\b)\S|DFT\| XC derivatives\s+\S*SMOOTH")
_FORCES = re.compile(r"\s*(?:ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\])")
_NUMBER = r"[-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?"


def read_cp2k(path: Path) -> Output:
    """Every frame of an output that has its forces; of an AIMD, with ``-pos-1.xyz`` and ``-frc-1.xyz`` beside it.

    Raises
    ------
    SettingsError
        When the file is not there, not CP2K's, or the trajectories of an AIMD are not beside it.
    """
    path, text = Path(path), text_of(path)
    version = re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text)
    if version is None:
        raise SettingsError(f"{path} is no CP2K output: it names no version of CP2K.")
    method = _method(text, version[1])
    steps = list(_steps(text))
    project = re.search(r"GLOBAL\| Project name\s+(\S+)", text)
    name = project[1] if project else "frame"
    if re.search(r"GLOBAL\| Run type\s+(MD|GEO_OPT|CELL_OPT)", text):
        readings, remarks = _trajectory(path.parent, name, text, steps)
    else:
        readings, remarks = tuple(_single(text, step) for step in steps), ()
    ended = "PROGRAM ENDED AT" in text
    ending = None if ended else f"truncated: CP2K was stopped in frame {len(readings)} or before its end"
    return Output(method, readings, ending, remarks)


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
        elif step is not None and _FORCES.match(line):
            step["rows"], step["whole"] = _force_rows(lines)
        elif step is not None and (found := re.match(r"\s*STRESS\|? (?!Eigen).*tensor \[(\w+)\]", line, re.I)):
            step["stress"] = _stress(lines, _UNITS.get(found[1]))
    if step is not None:
        yield step


def _force_rows(lines: Iterator[str]) -> tuple[list[list[float]], bool]:
    """Forces as they stand, and whether their sum follows, which CP2K prints last.

    A row is number, kind, element, x, y, z, or from version 2025 on ``FORCES|``, number, x, y, z and the length.
    """
    rows = []
    for line in lines:
        parts = line.split()
        if re.match(r"\s*(?:SUM OF ATOMIC FORCES|FORCES\| Sum)", line):
            return rows, True
        if len(parts) == 6 and parts[0].isdigit():
            rows.append([_number(part) for part in parts[3:]])
        elif len(parts) == 6 and parts[0] == "FORCES|" and parts[1].isdigit():
            rows.append([_number(part) for part in parts[2:5]])
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
        stress=None if _SMOOTHED.search(text) else step.get("stress"),
        converged=step["converged"],
    )


def _first_structure(text: str) -> Atoms:
    found = re.search(r"ATOMIC COORDINATES IN ANGSTROM\s+(.*?)\n\s*\n\s*\n", text + "\n\n\n", re.S | re.I)
    symbols, positions = [], []
    for line in (found[1] if found else "").splitlines():
        parts = line.split()
        if len(parts) >= 7 and parts[0].isdigit():
            symbols.append(re.match(r"[A-Z][a-z]?", parts[2])[0])
            positions.append([_number(part) for part in parts[4:7]])
    return _boxed(symbols, positions or None, _cell(text), _periodicity(text))


def _periodicity(text: str) -> list[bool]:
    """Along which lattice vectors the box repeats; along all where the output does not say."""
    found = re.search(r"^\s*CELL\|\s*Periodicity\s+(\S+)", text, re.M)
    return [found is None or axis in found[1] for axis in "XYZ"]


def _boxed(symbols: list[str], positions: Any, cell: np.ndarray, pbc: list[bool]) -> Atoms:
    """A frame; the cell of one that repeats nowhere is only where CP2K puts its grid."""
    return Atoms(symbols, positions=positions, cell=cell if any(pbc) else None, pbc=pbc)


def _cell(text: str) -> np.ndarray:
    """Components have three decimals, lengths six: a cell whose angles are right is as exact as its lengths."""
    line = rf"CELL\|? Vector %s \[angstrom\]:?\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s+\|%s\|\s*=\s*({_NUMBER})"
    found = [re.search(line % (axis, axis), text) for axis in "abc"]
    if not all(found):
        raise SettingsError("The CP2K output does not say what its cell is (CELL| Vector a ...).")
    numbers = np.array([[_number(value) for value in vector.groups()] for vector in found])
    return numbers[:, :3] * (numbers[:, 3] / np.linalg.norm(numbers[:, :3], axis=1))[:, None]


def _trajectory(
    folder: Path, name: str, text: str, steps: list[dict[str, Any]]
) -> tuple[tuple[Reading, ...], tuple[str, ...]]:
    """Frames of the trajectories by the number of their step, and in words how many lacked a part.

    Each file has its own interval (``EACH``): what stands at the same place in two of them need not be of one step.
    """
    places, forces = (_beside(folder, f"{name}-{what}-1.xyz") for what in ("pos", "frc"))
    frames, pushes = _xyz(places), _xyz(forces)
    cells, fixed = _cells(folder, name, text)
    whole = [step for step in frames if step in pushes and (fixed is not None or step in cells)]
    box = {step: (cells.get(step, fixed), _periodicity(text)) for step in whole}
    readings = tuple(_matched(frames[step], pushes[step], *box[step], steps) for step in whole)
    parts = {"positions": frames, "forces": pushes, **({} if fixed is not None else {"box": cells})}
    return readings, tuple(_left_out(parts, len(whole)))


def _beside(folder: Path, name: str) -> Path:
    found = named(folder, name)
    if found is None:
        raise SettingsError(
            f"There is no {folder / name}: labels of a CP2K trajectory need its positions (-pos-1.xyz) and forces "
            "(-frc-1.xyz, MOTION/PRINT/FORCES) beside the output."
        )
    return found


def _left_out(parts: dict[str, dict[int, Any]], n_whole: int) -> Iterator[str]:
    every = set().union(*parts.values())
    if len(every) == n_whole:
        return
    lacking = [f"{n} have no {name}" for name, has in parts.items() if (n := len(every - set(has)))]
    yield (
        f"{len(every) - n_whole} of {len(every)} steps are left out: {', '.join(lacking)} "
        "(the files were printed at different intervals, EACH, or one was cut off)"
    )


def _matched(frame: tuple, force: tuple, cell: np.ndarray, pbc: list[bool], steps: list[dict[str, Any]]) -> Reading:
    symbols, positions, energy = frame
    atoms = _boxed(symbols, positions, cell, pbc)
    if symbols != force[0]:
        return Reading(atoms, fault="wrong number of atoms: positions and forces are not of the same atoms")
    if energy is None:
        return Reading(atoms, fault="incomplete: the positions name no energy")
    if force[2] is not None and abs(force[2] - energy) > _SAME_HARTREE:
        return Reading(atoms, fault="contradiction: positions and forces of this step name different energies")
    matching = [step for step in steps if abs(step["energy"] / Hartree - energy) < _SAME_HARTREE]
    return Reading(
        atoms,
        energy=energy * Hartree,
        forces=force[1] * Hartree / Bohr,
        converged=matching[0]["converged"] if matching else None,
    )


def _xyz(path: Path) -> dict[int, tuple[list[str], np.ndarray, float | None]]:
    """Whole frames of a trajectory in CP2K's xyz, by step: elements, numbers as they stand, energy in Hartree.

    Of a step that is there twice, as after a restart, the later one counts.
    """
    lines, found = iter(text_of(path).splitlines()), {}
    for count in lines:
        if not count.strip().isdigit():
            break
        said = next(lines, "")
        step, energy = re.search(r"\bi\s*=\s*(\d+)", said), re.search(rf"E\s*=\s*({_NUMBER})", said)
        rows = [next(lines, "").split() for _ in range(int(count))]
        if any(len(row) < 4 for row in rows):
            break
        if step is None:
            raise SettingsError(f"{path}: a frame does not name its step (i = ...), as CP2K writes it; found {said!r}.")
        values = np.array([[_number(value) for value in row[1:4]] for row in rows])
        found[int(step[1])] = ([row[0] for row in rows], values, _number(energy[1]) if energy else None)
    return found


def _cells(folder: Path, name: str, text: str) -> tuple[dict[int, np.ndarray], np.ndarray | None]:
    """The box by step, as far as it was printed, and the box of all other steps; None where it may have changed."""
    path, changes = named(folder, f"{name}-1.cell"), _CHANGING_BOX.search(text) is not None
    if path is None and changes:
        raise SettingsError(
            f"There is no {folder / name}-1.cell: the box of this run changes, and its frames need that of their step "
            "(MOTION/PRINT/CELL)."
        )
    rows = [line.split() for line in (text_of(path) if path else "").splitlines() if not line.startswith("#")]
    cells = {
        int(row[0]): np.array([_number(part) for part in row[2:11]]).reshape(3, 3) for row in rows if len(row) >= 11
    }
    return cells, None if changes else next(iter(cells.values()), _cell(text))


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

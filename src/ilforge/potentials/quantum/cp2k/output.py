"""Read CP2K's output: single points, and AIMD with its trajectories beside the output.

If self-consistency fails, CP2K continues and prints energies and forces nevertheless. Therefore convergence is read for
each frame.
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
from ilforge.potentials.quantum.cp2k.text import NUMBER, SMOOTHED, boxed, printed_cell, printed_structure
from ilforge.potentials.quantum.cp2k.trajectory import read_trajectory
from ilforge.potentials.quantum.outputs import Output, Reading, number, text_of

_STEP_NUMBER = re.compile(r"\s*(?:MD\| Step number\s+(\d+)|STEP NUMBER\s+=\s+(\d+)|MD_INI\| MD initialization)")
_BOX = re.compile(
    r"\s*(?:MD(?:_INI)?\| )?Cell (length|LNTH|angle|ANGL)s\s*\[(ang|bohr|deg)\w*\]\s*=?\s+(\S+\s+\S+\s+\S+)\s*$", re.I
)
_BOX_PARTS = {"length": "lengths", "lnth": "lengths", "angle": "angles", "angl": "angles"}
NOT_PRINTED = "not printed"
"""Method of an output that names neither functional nor basis sets, as with PRINT_LEVEL LOW."""
_UNITS = {"GPa": GPa, "bar": 1e-4 * GPa, "kbar": 0.1 * GPa}
_FORCES = re.compile(r"\s*(?:ATOMIC FORCES in \[a\.u\.\]|FORCES\| Atomic forces \[hartree/bohr\])")


def read_cp2k(path: Path) -> Output:
    """Every frame of an output that contains forces; AIMD also needs ``-pos-1.xyz`` beside it.

    Forces, stress and boxes of an AIMD are taken from the files beside the output (``-frc-1.xyz``, ``-1.stress`` with
    ``-vel-1.xyz``, ``-1.cell``) or from the output itself, if it contains them for every step.

    Raises
    ------
    SettingsError
        When the file does not exist or is not from CP2K, or the trajectories of an AIMD are missing.
    """
    path, text = Path(path), text_of(path)
    version = re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text)
    if version is None:
        raise SettingsError(f"{path} is not a CP2K output: it names no version of CP2K.")
    method = _method(text, version[1])
    steps = list(_steps(text))
    project = re.search(r"GLOBAL\| Project name\s+(\S+)", text)
    name = project[1] if project else "frame"
    run = re.search(r"GLOBAL\| Run type\s+(MD|GEO_OPT|CELL_OPT)", text)
    if run:
        readings, remarks = read_trajectory(path.parent, name, text, steps)
    else:
        readings, remarks = tuple(_single(text, step) for step in steps), ()
    ended = "PROGRAM ENDED AT" in text
    ending = None if ended else f"truncated: CP2K was stopped in frame {len(readings)} or before its end"
    return Output(method, readings, ending, remarks, units_chosen=bool(run))


def _steps(text: str) -> Iterator[dict[str, Any]]:
    """Data in the output for each energy: convergence, value, forces, stress and box.

    MD prints the data of a step after its energy.
    """
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
            step = {"energy": number(line.split()[-1]) * Hartree, "converged": converged, "rows": []}
            converged = None
        elif step is not None and (found := _STEP_NUMBER.match(line)):
            step["number"] = int(found[1] or found[2] or 0)
        elif step is not None and (found := _BOX.match(line)):
            scale = Bohr if found[2].lower() == "bohr" else 1.0
            step[_BOX_PARTS[found[1].lower()]] = [scale * number(part) for part in found[3].split()[:3]]
        elif step is not None and _FORCES.match(line):
            step["rows"], step["whole"] = _force_rows(lines)
        elif step is not None and (found := re.match(r"\s*STRESS\|? (?!Eigen).*tensor \[(\w+)\]", line, re.I)):
            step["stress"] = _stress(lines, _UNITS.get(found[1]))
    if step is not None:
        yield step


def _force_rows(lines: Iterator[str]) -> tuple[list[list[float]], bool]:
    """Forces as printed, and whether they are followed by their sum, which CP2K prints last.

    A row is number, kind, element, x, y, z, or from version 2025 on ``FORCES|``, number, x, y, z and the length.
    """
    rows: list[list[float]] = []
    for line in lines:
        parts = line.split()
        if re.match(r"\s*(?:SUM OF ATOMIC FORCES|FORCES\| Sum)", line):
            return rows, True
        if len(parts) == 6 and parts[0].isdigit():
            rows.append([number(part) for part in parts[3:]])
        elif len(parts) == 6 and parts[0] == "FORCES|" and parts[1].isdigit():
            rows.append([number(part) for part in parts[2:5]])
    return rows, False


def _stress(lines: Iterator[str], unit: float | None) -> np.ndarray | None:
    """Stress from CP2K's pressure tensor, in which compression is positive."""
    rows: list[list[float]] = []
    for line in lines:
        found = re.findall(NUMBER, line)
        if len(found) == 3:
            rows.append([number(value) for value in found])
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
        stress=None if SMOOTHED.search(text) else step.get("stress"),
        converged=step["converged"],
    )


def _first_structure(text: str) -> Atoms:
    symbols, positions = printed_structure(text)
    return boxed(text, symbols, positions if symbols else None, printed_cell(text))


def _method(text: str, version: str) -> dict[str, Any]:
    def all_of(pattern: str) -> list[str]:
        return sorted({" ".join(found.split()) for found in re.findall(pattern, text)})

    found = {
        "functional": all_of(r"FUNCTIONAL\| (\S+):"),
        "cutoff": all_of(r"QS\|\s+Density cutoff \[a\.u\.\]:\s+(\S+)"),
        "bases": all_of(r"(?:Orbital Basis Set|ORB Basis set name)\s+(\S+)"),
        "potentials": all_of(r"(?:GTH Potential information for|Potential information for)\s+(\S+)"),
        "dispersion": all_of(r"vdW POTENTIAL\|\s+(DFT-?D\S+.*)"),
        "damping": all_of(r"vdW POTENTIAL\|\s+(\w+ Damping)"),
        "quickstep": all_of(r"QS\| Method:\s+(\S+)"),
    }
    return {"program": "CP2K", "version": version, **(found if any(found.values()) else {"method": NOT_PRINTED})}

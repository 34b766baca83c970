"""Read GPAW's text output in the new and the old layout; it contains no stress."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.potentials.quantum.outputs import Output, Reading, text_of

_X = r"\s*(-?\d+\.\d+|nan|-?inf)\s*"
_ATOM = re.compile(rf"^\|?\s*\d+\s*\|?\s+([A-Z][a-z]?)\s*\|?{_X}\|?{_X}\|?{_X}\|?\s*\(", re.M)
_AXIS = re.compile(rf"^(?:\||\s+\d\. axis:)\s+(yes|no)\s*\|?{_X}\|?{_X}\|?{_X}", re.M)
_FORCE = re.compile(rf"^(?:\||\s+\d+\s+[A-Z][a-z]?\s){_X}\|?{_X}\|?{_X}(?:\|\s*#.*)?$", re.M)
_KEYS = "mode|xc|occupations|convergence|kpts|symmetry|spinpol|h|charge|setups|basis"
_SETTINGS = re.compile(rf"^\s*({_KEYS})\s*[=:]\s*(.+?),?$", re.M)


def read_gpaw(path: Path) -> Output:
    """Every frame of a text output; a frame has converged only if the file says so.

    Raises
    ------
    SettingsError
        When the file does not exist or contains no atoms.
    """
    text = text_of(path)
    head, *blocks = re.split(r"^(?:Atoms  #.*|Positions:)$", text, flags=re.M)
    if not blocks:
        raise SettingsError(f"{path} is not a text output of GPAW: it lists no atoms.")
    readings = [_frame(block) for block in blocks]
    ending = None
    if readings[-1].fault is not None:
        ending = f"truncated: the file ends in the middle of frame {len(readings) - 1}"
    version = re.search(r"\s(\d+\.\d+\.\d+\w*)\s*$", head[:400], re.M)
    method = {
        "program": "GPAW",
        "version": version[1] if version else "unknown",
        "settings": dict(_SETTINGS.findall(head)),
    }
    return Output(method, tuple(readings), ending)


def _frame(block: str) -> Reading:
    before, _, after = block.partition("\nForces")
    found = _ATOM.findall(before)
    axes = _AXIS.findall(before)[:3]
    if len(axes) < 3 or not found:
        return Reading(Atoms([row[0] for row in found]), fault="truncated: the frame has no atoms or no box")
    atoms = Atoms(
        [row[0] for row in found],
        positions=[[float(x) for x in row[1:]] for row in found],
        cell=[[float(x) for x in axis[1:]] for axis in axes],
        pbc=[axis[0] == "yes" for axis in axes],
    )
    energies = re.findall(rf"^\s*Free energy:{_X}$", before, re.M)
    rows = _FORCE.findall(after)[: len(atoms)]
    converged = re.search(r"^Converged (in|after) \d+", before, re.M) is not None
    if not converged:
        return Reading(atoms, converged=False, fault="not converged: GPAW does not say that this frame converged")
    if not energies or len(rows) < len(atoms):
        return Reading(atoms, converged=converged, fault="truncated: the frame has no energy or not all forces")
    return Reading(atoms, float(energies[-1]), np.array(rows, dtype=float), converged=True)

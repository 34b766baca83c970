"""Points of a scan on disk, each written when it is done; a stopped scan continues from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from ilforge import files
from ilforge.errors import SettingsError

_ARGUMENTS = "scan.json"


@dataclass(frozen=True, eq=False)
class ScanPoint:
    """One point of a scan.

    Attributes
    ----------
    angles
        The dihedrals, degrees.
    energy
        Energy, eV; None if the method did not converge.
    fault
        Why there is no energy, or why the point is not relaxed.
    frame
        Structure of the point.
    """

    angles: tuple[float, ...]
    energy: float | None
    fault: str | None
    frame: Atoms


class ScanFolder:
    """A folder with one file for each finished point.

    Parameters
    ----------
    directory
        The folder; None keeps nothing.
    arguments
        Everything on which the points depend, except the method.

    Raises
    ------
    SettingsError
        When the folder contains points of a scan with other arguments.
    """

    def __init__(self, directory: Path | None, start: Atoms, arguments: Mapping[str, Any]):
        self._directory, self._start = None if directory is None else Path(directory), start
        if self._directory is None:
            return
        atoms = {"symbols": start.get_chemical_symbols(), "positions_A": start.positions.tolist()}
        wanted = json.loads(json.dumps({**arguments, **atoms}))
        path = self._directory / _ARGUMENTS
        if path.is_file():
            found = json.loads(path.read_text())
            differ = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            if differ:
                raise SettingsError(
                    f"{self._directory} holds a scan with other {', '.join(differ)}: name another folder, or remove it."
                )
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(wanted))

    def get(self, number: int) -> ScanPoint | None:
        """The point with this number, if it is done."""
        path = self._path(number)
        if path is None or not path.is_file():
            return None
        held = json.loads(path.read_text())
        frame = self._start.copy()
        frame.positions = np.array(held["positions_A"])
        return ScanPoint(tuple(held["angles_deg"]), held["energy_eV"], held["fault"], frame)

    def put(self, number: int, point: ScanPoint) -> None:
        """Write a point, completely or not at all."""
        if (path := self._path(number)) is not None:
            held = {
                "angles_deg": point.angles,
                "energy_eV": point.energy,
                "fault": point.fault,
                "positions_A": point.frame.positions.tolist(),
            }
            files.write_text(path, json.dumps(held))

    def _path(self, number: int) -> Path | None:
        return None if self._directory is None else self._directory / f"{number:06d}.json"

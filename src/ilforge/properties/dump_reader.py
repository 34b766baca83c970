"""Text dumps of LAMMPS: boxes of every kind, and the images that they say atoms are in.

MDAnalysis's own reader knows neither general triclinic boxes nor image flags in a skewed one. This one reads the same
files into the same objects. Formats: LAMMPS manual, commands ``dump`` and ``Howto triclinic``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from MDAnalysis.coordinates.LAMMPS import DumpReader
from MDAnalysis.lib.mdamath import triclinic_box, triclinic_vectors

from ilforge.properties.trajectory_files import DUMP, UNWRAPPED

_COORDINATES = (("xu", "yu", "zu"), ("xsu", "ysu", "zsu"), ("x", "y", "z"), ("xs", "ys", "zs"))
_IMAGES, _VELOCITIES = ("ix", "iy", "iz"), ("vx", "vy", "vz")
_HEAD = 9  # lines before the atoms of a frame


class Box(NamedTuple):
    """Cell vectors as rows, ``(3, 3)``, and the corner they begin at, ``(3,)``, both in Å."""

    cell: np.ndarray
    origin: np.ndarray


class GeneralDumpReader(DumpReader):
    """Reader of MDAnalysis for every text dump of LAMMPS whose positions are in Å.

    Positions are given in the restricted cell that MDAnalysis has (a along x, b in the plane of x and y), with the
    corner at zero; those with image flags (``ix iy iz``) or unwrapped (``xu``, ``xsu``) in the image that the atom
    moved to. Frames may list atoms in any order.
    """

    format = DUMP

    def _read_next_timestep(self):
        ts, file = self.ts, self._file
        ts.frame += 1
        if ts.frame >= len(self):
            raise EOFError
        head = [file.readline() for _ in range(_HEAD)]
        step, n_atoms = int(head[1]), int(head[3])
        if n_atoms != self.n_atoms:
            raise ValueError(f"it has {n_atoms} atoms, the first frame {self.n_atoms}")
        ts.data["step"] = step
        ts.data["time"] = step * ts.dt
        names = head[8].split()[2:]
        rows = [file.readline().split() for _ in range(n_atoms)]
        if "id" in names:
            number = names.index("id")
            rows.sort(key=lambda row: int(row[number]))
        self._take(names, rows, read_box(head[4:8]))
        return ts

    def _take(self, names: list[str], rows: list[list[str]], box: Box) -> None:
        """Fill the frame from its lines, which are in the order of atoms."""
        ts = self.ts
        coordinates = next((kind for kind in _COORDINATES if all(name in names for name in kind)), None)
        if coordinates is None:
            raise ValueError(f"it holds no positions: columns {' '.join(names)}, x y z, xs ys zs or xu yu zu needed")
        given = _columns(names, rows, coordinates)
        inverse = np.linalg.inv(box.cell)
        fractional = given if "s" in coordinates[0] else (given - box.origin) @ inverse
        with_images = "u" not in coordinates[0] and all(name in names for name in _IMAGES)
        if with_images:
            fractional = fractional + _columns(names, rows, _IMAGES)
        ts.dimensions = triclinic_box(*box.cell)
        turned = triclinic_vectors(ts.dimensions).astype(float)
        ts.positions = fractional @ turned
        ts.data[UNWRAPPED] = with_images or "u" in coordinates[0]
        if all(name in names for name in _VELOCITIES):
            ts.has_velocities = True
            ts.velocities = _columns(names, rows, _VELOCITIES) @ inverse @ turned


def read_box(lines: list[str]) -> Box:
    """The box of a frame from its line ``ITEM: BOX BOUNDS`` and the three lines after it.

    Bounds of a restricted triclinic box (``xy xz yz``) are those of the box around it; a general one (``abc origin``)
    has a cell vector and a component of its corner in each line.
    """
    kind = lines[0].split()[3:]
    numbers = np.array([line.split() for line in lines[1:4]], dtype=float)
    if kind[:2] == ["abc", "origin"]:
        return Box(numbers[:, :3], numbers[:, 3])
    low, high = numbers[:, 0].copy(), numbers[:, 1].copy()
    xy, xz, yz = numbers[:, 2] if kind[:3] == ["xy", "xz", "yz"] else (0.0, 0.0, 0.0)
    low -= [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high -= [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    cell = np.diag(high - low)
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return Box(cell, low)


def _columns(names: list[str], rows: list[list[str]], wanted: tuple[str, ...]) -> np.ndarray:
    places = [names.index(name) for name in wanted]
    return np.array([[row[place] for place in places] for row in rows], dtype=float)

"""Text dumps of LAMMPS: boxes of every kind, and the images that they say atoms are in.

MDAnalysis's own reader knows neither general triclinic boxes nor image flags in a skewed one, nor the items UNITS and
TIME. This one reads the same files into the same objects. Formats: LAMMPS manual, commands ``dump`` and
``dump_modify``, and ``Howto triclinic``.
"""

from __future__ import annotations

from typing import NamedTuple, TextIO

import numpy as np
from MDAnalysis.coordinates.LAMMPS import DumpReader
from MDAnalysis.coordinates.timestep import Timestep
from MDAnalysis.lib import util
from MDAnalysis.lib.mdamath import triclinic_box, triclinic_vectors

from ilforge.properties.reading.trajectory_files import DUMP, SAID_TIME, UNWRAPPED

_COORDINATES = (("xu", "yu", "zu"), ("xsu", "ysu", "zsu"), ("x", "y", "z"), ("xs", "ys", "zs"))
_IMAGES, _VELOCITIES = ("ix", "iy", "iz"), ("vx", "vy", "vz")


class Box(NamedTuple):
    """Cell vectors as rows, ``(3, 3)``, and the corner they begin at, ``(3,)``, both in Å."""

    cell: np.ndarray
    origin: np.ndarray


class Head(NamedTuple):
    """What stands before the atoms of a frame.

    Attributes
    ----------
    time, units
        Of ``ITEM: TIME``, in the unit of time of the run, and of ``ITEM: UNITS``; None where they are not there.
    """

    step: int
    n_atoms: int
    box: Box
    names: list[str]
    time: float | None = None
    units: str | None = None


class GeneralDumpReader(DumpReader):  # type: ignore[misc]  # MDAnalysis has no types
    """Reader of MDAnalysis for every text dump of LAMMPS whose positions are in Å.

    Positions are given in the restricted cell that MDAnalysis has (a along x, b in the plane of x and y), with the
    corner at zero; those with image flags (``ix iy iz``) or unwrapped (``xu``, ``xsu``) in the image that the atom
    moved to. Frames may list atoms in any order.
    """

    format = DUMP

    unit_style: str | None = None
    """Of the run, where the file says it."""

    @property
    @util.cached("n_atoms")  # type: ignore[untyped-decorator]  # as above
    def n_atoms(self) -> int:
        with util.anyopen(self.filename) as file:
            head = read_head(file)
        if head is None:
            raise ValueError("it holds no whole frame")
        return head.n_atoms

    @property
    @util.cached("n_frames")  # type: ignore[untyped-decorator]
    def n_frames(self) -> int:
        """Whole frames; one that is cut short at the end, as of a run that still writes, is none."""
        self._offsets: list[int] = []
        with util.anyopen(self.filename) as file:
            while True:
                start = file.tell()
                head = read_head(file)
                if head is None or not _skip(file, head.n_atoms):
                    return len(self._offsets)
                self._offsets.append(start)
                self.unit_style = self.unit_style or head.units

    def _read_next_timestep(self) -> Timestep:
        ts, file = self.ts, self._file
        ts.frame += 1
        if ts.frame >= len(self):
            raise EOFError
        head = read_head(file)
        assert head is not None  # len counts whole frames
        if head.n_atoms != self.n_atoms:
            raise ValueError(f"it has {head.n_atoms} atoms, the first frame {self.n_atoms}")
        ts.data["step"] = head.step
        ts.data["time"] = head.step * ts.dt
        ts.data[SAID_TIME] = head.time
        rows = [file.readline().split() for _ in range(head.n_atoms)]
        if "id" in head.names:
            number = head.names.index("id")
            rows.sort(key=lambda row: int(row[number]))
        self._take(head.names, rows, head.box)
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


def read_head(file: TextIO) -> Head | None:
    """Read up to the atoms of the next frame; None where the file ends before them.

    Raises
    ------
    ValueError
        When something else stands there.
    """
    said: dict[str, list[str]] = {}
    while line := file.readline():
        if not line.startswith("ITEM: "):
            raise ValueError(f"where a frame should begin stands {line.strip()[:60]!r}")
        item = line.split()
        if item[1] == "ATOMS":
            time, units = (said.get(name, [None])[0] for name in ("TIME", "UNITS"))
            return Head(
                int(said["TIMESTEP"][0]),
                int(said["NUMBER"][0]),
                read_box(said["BOX"]),
                item[2:],
                None if time is None else float(time),
                units,
            )
        if item[1] == "BOX":
            said["BOX"] = [line, *(file.readline() for _ in range(3))]
        else:
            said[item[1]] = [file.readline().strip()]
    return None


def _skip(file: TextIO, n_lines: int) -> bool:
    """Read over lines; whether they are there, the last one with its end."""
    line = "\n"
    for _ in range(n_lines):
        line = file.readline()
    return line.endswith("\n")


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

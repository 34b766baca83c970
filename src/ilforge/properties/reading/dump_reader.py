"""Read text dumps of LAMMPS with boxes of every kind and image flags.

MDAnalysis's own reader does not support general triclinic boxes, image flags in a triclinic box, or the items UNITS and
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
    """Cell vectors as rows, ``(3, 3)``, and the corner at which they begin, ``(3,)``, both in Å."""

    cell: np.ndarray
    origin: np.ndarray


class Head(NamedTuple):
    """The header of a frame, before its atoms.

    Attributes
    ----------
    time, units
        Values of ``ITEM: TIME``, in the time unit of the run, and of ``ITEM: UNITS``; None if they are missing.
    """

    step: int
    n_atoms: int
    box: Box
    names: list[str]
    time: float | None = None
    units: str | None = None


class GeneralDumpReader(DumpReader):  # type: ignore[misc]  # MDAnalysis has no types
    """MDAnalysis reader for text dumps of LAMMPS with positions in Å.

    Positions are converted to MDAnalysis's restricted cell (a along x, b in the xy plane) with its corner at zero. With
    image flags (``ix iy iz``) or unwrapped coordinates (``xu``, ``xsu``), they are in the image to which the atom
    moved. Frames may list atoms in any order.
    """

    format = DUMP

    unit_style: str | None = None
    """Units of the run, if the file contains them."""

    @property
    @util.cached("n_atoms")  # type: ignore[untyped-decorator]  # as above
    def n_atoms(self) -> int:
        with util.anyopen(self.filename) as file:
            head = read_head(file)
        if head is None:
            raise ValueError("it contains no complete frame")
        return head.n_atoms

    @property
    @util.cached("n_frames")  # type: ignore[untyped-decorator]
    def n_frames(self) -> int:
        """Number of complete frames; an incomplete last frame, as in a running simulation, does not count."""
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
        """Fill the frame from its lines, which are sorted by atom."""
        ts = self.ts
        coordinates = next((kind for kind in _COORDINATES if all(name in names for name in kind)), None)
        if coordinates is None:
            raise ValueError(f"it contains no positions: columns {' '.join(names)}, needed x y z, xs ys zs or xu yu zu")
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
    """Read the header of the next frame, up to its atoms; None if the file ends before.

    Raises
    ------
    ValueError
        When the next lines are not a header.
    """
    said: dict[str, list[str]] = {}
    while line := file.readline():
        if not line.startswith("ITEM: "):
            raise ValueError(f"a frame should begin at {line.strip()[:60]!r}")
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
    """Skip lines; returns whether all of them exist, including the end of the last one."""
    line = "\n"
    for _ in range(n_lines):
        line = file.readline()
    return line.endswith("\n")


def read_box(lines: list[str]) -> Box:
    """The box of a frame from its line ``ITEM: BOX BOUNDS`` and the three lines after it.

    For a restricted triclinic box (``xy xz yz``), the bounds are those of the enclosing box. A general one
    (``abc origin``) has a cell vector and a component of the corner in each line.
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

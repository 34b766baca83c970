"""GROMACS's files: write structure and options of a run, and read its output as plain arrays.

A trajectory that ends in the middle of a frame gives the complete frames before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.units import ANGSTROM_PER_NM

_NM_PER_PS = 100.0  # 1 Å/fs
_DECIMALS = 9  # of positions in nm; readers infer the number from the distance between decimal points


@dataclass(frozen=True)
class TrrFrame:
    """One frame of a ``.trr`` file: positions (not wrapped, in any image) and cell in Å, velocities in Å/fs."""

    step: int
    positions: np.ndarray
    velocities: np.ndarray
    cell: np.ndarray


def gro_text(
    topology: Topology, positions: np.ndarray, cell: np.ndarray, velocities: np.ndarray | None = None, title: str = ""
) -> str:
    """A ``.gro`` file with nine decimals instead of three.

    Parameters
    ----------
    positions, velocities
        ``(n_atoms, 3)``, Å and Å/fs.
    cell
        ``(3, 3)`` in Å with right angles.
    """
    lines = [title or "written by ilforge", f"{topology.n_atoms:5d}"]
    width = _DECIMALS + 5
    columns = [np.asarray(positions) / ANGSTROM_PER_NM]
    formats = [f"{{:{width}.{_DECIMALS}f}}"] * 3
    if velocities is not None:
        columns.append(np.asarray(velocities) * _NM_PER_PS)
        formats += [f"{{:{width}.{_DECIMALS + 1}f}}"] * 3
    layout = "".join(formats)
    for index, row in enumerate(np.concatenate(columns, axis=1).tolist()):
        molecule = int(topology.molecules[index])
        residue, name = topology.species[molecule][:5], topology.names[index][:5]
        head = f"{(molecule + 1) % 100000:5d}{residue:<5}{name:>5}{(index + 1) % 100000:5d}"
        lines.append(head + layout.format(*row))
    lines.append(" ".join(f"{side / ANGSTROM_PER_NM:.{_DECIMALS}f}" for side in np.diag(cell)))
    return "\n".join(lines) + "\n"


def mdp_text(options: Mapping[str, str]) -> str:
    """An ``.mdp`` file."""
    return "; written by ilforge\n" + "".join(f"{key:<24} = {value}\n" for key, value in options.items())


def read_xvg(path: Path) -> dict[str, np.ndarray]:
    """Columns of a table from ``gmx energy``, by their legends; times are in ``time``."""
    if not path.is_file():
        return {}
    lines = path.read_text(errors="replace").splitlines()
    legends = [match[1] for line in lines if (match := re.match(r'@ s\d+ legend "(.*)"', line))]
    rows = [line.split() for line in lines if line and line[0] not in "#@"]
    table = np.array([row for row in rows if len(row) == 1 + len(legends)], dtype=float).reshape(-1, 1 + len(legends))
    return dict(zip(["time", *legends], table.T, strict=True))


def read_trr(path: Path) -> Iterator[TrrFrame]:
    """Complete frames of a ``.trr`` file that have positions and velocities."""
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile

    if not path.is_file() or path.stat().st_size == 0:
        return
    with TRRFile(str(path)) as file:
        while True:
            try:
                frame = file.read()
            except (OSError, StopIteration):  # the end of the file, or an incomplete frame
                return
            if frame.hasx and frame.hasv:
                yield TrrFrame(
                    int(frame.step),
                    np.array(frame.x, dtype=float) * ANGSTROM_PER_NM,
                    np.array(frame.v, dtype=float) / _NM_PER_PS,
                    np.array(frame.box, dtype=float) * ANGSTROM_PER_NM,
                )


def read_g96_positions(path: Path) -> np.ndarray:
    """Positions ``(n_atoms, 3)`` Å of a ``.g96`` file, which has nine decimals."""
    block = re.search(r"^POSITION\n(.*?)^END", path.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None  # every .g96 file has it
    return ANGSTROM_PER_NM * np.array([line.split()[-3:] for line in block[1].splitlines()], dtype=float)

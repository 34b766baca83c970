"""Information from the user that the files of a trajectory lack: times, temperature, units, ions, cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from ilforge.errors import SettingsError
from ilforge.liquid.atom_order import order_by_bonds
from ilforge.liquid.connectivity import topology_mismatch
from ilforge.liquid.ions import Ion, get_ion
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.settings import IonSettings
from ilforge.properties.reading.atom_names import elements_of_names
from ilforge.properties.reading.topology_reader import Reading, elements_of
from ilforge.properties.reading.trajectory_files import quietly

if TYPE_CHECKING:
    from MDAnalysis import Universe

_BONDED = 1.25  # times the sum of covalent radii, as for frames of other commands


@dataclass(frozen=True)
class Composition:
    """Ions and cell of a trajectory that does not contain them.

    Attributes
    ----------
    ions
        ``"2 PYR14, 2 BF4"``; bonds are then taken from the ions, and atoms are reordered by their bonds in the first
        frame. For frames in extended XYZ, ions named in the frames are used instead.
    define
        The user's own ions, by name; they are also recognised in a topology with bonds.
    cell
        Lengths and angles ``(6,)`` for frames without a cell, Å and degrees.
    """

    ions: str = ""
    define: Mapping[str, IonSettings] = field(default_factory=dict)
    cell: np.ndarray | None = None

    @property
    def own(self) -> tuple[Ion, ...]:
        """The user's own ions."""
        return tuple(get_ion(name, self.define) for name in self.define)

    def reading_of(self, frame: Atoms) -> Reading:
        """Topology of a frame, and the order of its atoms; they are reordered by their bonds if necessary.

        Raises
        ------
        SettingsError
            When the ions are unknown, or do not fit the atoms of the frame.
        """
        named = frame.info.get("ions") or self.ions
        if not named:
            raise SettingsError(
                "The frames do not name their ions: name them with --ions '2 PYR14, 2 BF4', give a topology with "
                'bonds before the frames, or frames with an info entry ions="2 PYR14, 2 BF4".'
            )
        topology = Liquid.from_label(named, self.define, vacuum=not frame.pbc.any()).topology
        symbols = frame.get_chemical_symbols()
        if sorted(symbols) != sorted(topology.symbols):
            raise SettingsError(
                f"The frames have {len(symbols)} atoms ({Atoms(symbols).get_chemical_formula()}), but {named} are "
                f"{topology.n_atoms} ({Atoms(topology.symbols).get_chemical_formula()}): correct --ions."
            )
        cell = frame.cell.array if frame.pbc.any() else np.zeros((3, 3))
        if tuple(symbols) == topology.symbols and topology_mismatch(frame.positions, cell, topology) is None:
            return Reading(topology)
        return Reading(topology, order_by_bonds(frame, topology, _BONDED))

    def reading_of_universe(self, universe: Universe) -> Reading:
        """The same for the first frame of a trajectory whose topology contains elements, or masses to infer them."""
        with quietly():
            first = universe.trajectory[0]
        cell = np.zeros((3, 3)) if first.dimensions is None else first.triclinic_dimensions
        atoms = Atoms(self._elements(universe), first.positions, cell=cell, pbc=bool(np.any(cell)))
        return self.reading_of(atoms)

    def _elements(self, universe: Universe) -> list[str]:
        """Elements from the file, or else from the names of atoms if the named ions leave one possibility."""
        try:
            return elements_of(universe)
        except SettingsError:
            names = [str(name) for name in getattr(universe.atoms, "names", [])]
            expected = Liquid.from_label(self.ions, self.define).topology.symbols
            found = elements_of_names(names, expected)
            if found is None:
                raise
            return found

    def put_in_cell(self, frames: Sequence[Atoms], named: str) -> None:
        """Set the cell given by the user in all frames, in place.

        Raises
        ------
        SettingsError
            When the frames already have a cell.
        """
        if self.cell is None:
            return
        for frame in frames:
            if frame.cell.rank:
                raise _has_cell(named)
            frame.set_cell(self.cell)
            frame.pbc = True

    def put_universe_in_cell(self, universe: Universe, named: str) -> None:
        """The same for a trajectory that MDAnalysis reads."""
        from MDAnalysis.transformations.boxdimensions import set_dimensions

        if self.cell is None:
            _refuse_one_cell_for_all(universe)
            return
        if universe.trajectory.ts.dimensions is not None:
            raise _has_cell(named)
        universe.trajectory.add_transformations(set_dimensions(self.cell))


@dataclass(frozen=True)
class Given:
    """Information from the user on a trajectory: see :func:`ilforge.properties.reading.reader.open_trajectory`."""

    reading: Reading | None = None
    frame_interval_ps: float | None = None
    temperature_K: float | None = None
    lammps_units: str | None = None
    made_of: Composition = field(default_factory=Composition)

    def __post_init__(self) -> None:
        for what, value in (
            ("The time between frames (--frame-interval), in ps,", self.frame_interval_ps),
            ("The temperature (--temperature), in K,", self.temperature_K),
        ):
            if value is not None and not 0.0 < value < np.inf:
                raise SettingsError(f"{what} is {value:g}: it must be a number greater than 0.")

    def with_reading(self, reading: Reading) -> Given:
        """A copy with a topology."""
        return replace(self, reading=reading)


def parse_cell(text: str) -> np.ndarray:
    """``"20 20 20"`` or ``"20,20,25,90,90,120"`` as lengths in Å and angles in degrees, ``(6,)``.

    Raises
    ------
    SettingsError
        When the text is not a valid cell.
    """
    from ase.cell import Cell

    numbers: Any = text.replace(",", " ").split()
    try:
        numbers = np.array(numbers, dtype=float)
        whole = np.concatenate([numbers, [90.0] * 3]) if len(numbers) == 3 else numbers
        volume = Cell.fromcellpar(whole).volume if len(whole) == 6 and np.isfinite(whole).all() else 0.0
    except (ValueError, AssertionError):
        volume = 0.0
    if not (volume > 1.0 and whole[:3].min() > 0.0 and whole[3:].min() > 0.0):
        raise SettingsError(
            f"--cell {text}: give three lengths in Å, or three lengths and three angles in degrees: --cell '20 20 20' "
            "or --cell '20 20 25 90 90 120'."
        )
    return whole


def _refuse_one_cell_for_all(universe: Universe) -> None:
    """Refuse a PDB file of several frames with a cell only before the first, as OpenMM's PDBReporter writes it."""
    name = str(universe.trajectory.filename)
    if universe.trajectory.ts.dimensions is not None or not name.lower().endswith((".pdb", ".ent")):
        return
    with open(name, errors="replace") as file:
        given = any(line.startswith("CRYST1") for line in file)
    if given:
        raise SettingsError(
            f"{name} has a CRYST1 record only before its first frame, which need not be the cell of the run: OpenMM's "
            "PDBReporter writes the cell of the topology. Give a trajectory with the cell of each frame (dcd, xtc) or, "
            "if the volume was fixed, its cell (--cell)."
        )


def _has_cell(named: str) -> SettingsError:
    return SettingsError(f"{named}: the frames already have a cell. Leave --cell out.")

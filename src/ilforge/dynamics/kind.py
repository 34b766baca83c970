"""The description of an engine: how it runs, which potentials it accepts, and which options of a protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ilforge.devices import Program

if TYPE_CHECKING:
    from ase.cell import Cell

    from ilforge.dynamics.motion import Sample
    from ilforge.dynamics.simulation import Job, Maker
    from ilforge.potentials.potential import Potential

    Frames = Iterator[tuple[Sample | None, bytes | None]]


@dataclass(frozen=True)
class EngineKind:
    """One engine.

    Attributes
    ----------
    name
        Value of ``engine`` in a study file.
    title
        Name for printing.
    accepts
        ``accepts(potential, cell)``: whether the engine can run the potential in a box of this size.
    frames
        ``frames(job, state, done)``: frames after the first ``done`` frames, and states from which the run can
        continue.
    details
        ``details(job)``: entries of ``run.json`` about the engine.
    holds_hydrogens
        ``holds_hydrogens(job)``: whether bonds to H are constrained in this run.
    honours
        ``honours(job, option, value)``: whether the engine can run an option of the protocol.
    simulation
        Class that moves atoms in memory; None if there is none.
    needs
        Method that a potential needs for this engine (see :class:`~ilforge.potentials.potential.Potential`); None if
        the engine can run every potential.
    on_request
        Whether the engine runs only if it is named.
    has_choices
        Whether thermostat, barostat and an inner potential can be chosen.
    keeps_hydrogen_mass
        Whether hydrogen atoms may have another mass.
    records_pressure
        Whether the engine can record the pressure tensor.
    programs
        Programs to install in addition to Python packages.
    computes_with
        Program that can use a GPU, if it is not the program of the potential.
    """

    name: str
    title: str
    accepts: Callable[[Potential, Cell], bool]
    frames: Callable[[Job, bytes | None, int], Frames]
    details: Callable[[Job], dict[str, Any]]
    holds_hydrogens: Callable[[Job], bool]
    honours: Callable[[Job, str, Any], bool]
    simulation: Maker | None = None
    needs: str | None = None
    on_request: bool = False
    has_choices: bool = False
    keeps_hydrogen_mass: bool = False
    records_pressure: bool = False
    programs: tuple[str, ...] = ()
    computes_with: Program | None = None

    def runs(self, potential: type) -> bool:
        """Whether the engine can run potentials of this class, in a box of suitable size."""
        return self.needs is None or hasattr(potential, self.needs)

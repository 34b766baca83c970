"""What an engine says of itself: what moves atoms, which potentials it runs, and what a protocol may ask of it."""

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
        What ``engine`` says in a study file.
    title
        As it is printed.
    accepts
        ``accepts(potential, cell)``: whether it can run the potential in a box of this size.
    frames
        ``frames(job, state, done)`` gives frames after the first ``done`` of them, and states to go on from.
    details
        ``details(job)``: what ``run.json`` says of it.
    holds_hydrogens
        ``holds_hydrogens(job)``: whether bonds to H are held in this run.
    honours
        ``honours(job, option, value)``: whether it can run what the protocol chooses.
    simulation
        Class that moves atoms in memory, where there is one.
    needs
        Method by which a potential can be run by it (see :class:`~ilforge.potentials.potential.Potential`); None where
        every potential can.
    on_request
        Runs only what asks for it by name.
    has_choices
        Whether thermostat, barostat and an inner potential can be chosen.
    keeps_hydrogen_mass
        Whether hydrogen atoms may have another mass.
    records_pressure
        Whether it records the pressure tensor.
    programs
        What has to be installed apart from Python packages.
    computes_with
        Program that can use a GPU, where it is not that of the potential.
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
        """Whether it can run potentials of this class, in some box."""
        return self.needs is None or hasattr(potential, self.needs)

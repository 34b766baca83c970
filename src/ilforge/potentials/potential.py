"""What a potential is: anything that gives the energy and forces of a frame."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ase.calculators.calculator import Calculator

from ilforge.liquid.topology import Topology


@runtime_checkable
class Potential(Protocol):
    """Anything that gives energies and forces: a DFT method, a force field, a trained model.

    A potential labels frames, is validated against labels, and runs MD, always through the same seat: an ASE
    calculator. An engine that can do better with some potentials asks for one of the abilities in
    :mod:`ilforge.potentials.abilities`.

    Attributes
    ----------
    kind
        Its key in :data:`ilforge.potentials.POTENTIALS`.
    has_stress
        Whether its calculator gives a stress that can be trusted.
    """

    @property
    def kind(self) -> str: ...

    @property
    def has_stress(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Everything that determines its numbers, as JSON can hold it. Labels are keyed by its digest.

        A potential that depends on a program has ``settings()`` too: the same without versions of programs and data.
        """
        ...

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for boxes of this topology: eV, eV/Å, eV/Å^3.

        Raises
        ------
        SettingsError
            When it does not know the ions of the topology.
        """
        ...

    def seconds_per_frame(self, n_atoms: int) -> float:
        """Measured or estimated time of one energy and forces on one core, s: for planning only."""
        ...

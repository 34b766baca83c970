"""The interface of potentials: anything that gives the energy and forces of a frame."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from ase.calculators.calculator import Calculator

from ilforge.liquid.topology import Topology


@runtime_checkable
class Potential(Protocol):
    """Anything that gives energies and forces: a DFT method, a force field, a trained model.

    A potential labels frames, is validated against labels, and runs MD, always through the same interface: an ASE
    calculator. Some engines use faster interfaces of some potentials, see :mod:`ilforge.potentials.abilities`.

    Attributes
    ----------
    kind
        Its key in :data:`ilforge.potentials.POTENTIALS`.
    has_stress
        Whether its calculator gives a reliable stress.
    """

    @property
    def kind(self) -> str: ...

    @property
    def has_stress(self) -> bool: ...

    def describe(self) -> dict[str, Any]:
        """Everything that determines its results, as JSON values. The keys of labels contain its digest.

        A potential that depends on a program also has ``settings()``: the same without versions of programs and data.
        """
        ...

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for boxes of this topology: eV, eV/Å, eV/Å^3.

        Raises
        ------
        SettingsError
            When it does not support the ions of the topology.
        """
        ...

    def seconds_per_frame(self, n_atoms: int) -> float:
        """Measured or estimated time for energy and forces of one frame on one core, s; for planning only."""
        ...

"""An ASE calculator for an OpenMM system, and the conversion of cells to OpenMM's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.cell import Cell

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.potentials.ase_calculator import TypedCalculator
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL

_STRAIN = 1e-4
"""Strain for central differences of the stress; their error is 1e-8 of the third derivative, far above rounding."""

_VOIGT = ((0, 0), (1, 1), (2, 2), (2, 1), (2, 0), (1, 0))
"""Lower triangle, so that a strained cell keeps the form that OpenMM requires."""


def reduced_form(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same lattice with its first vector along x, its second in the xy plane, and reduced off-diagonal elements.

    Parameters
    ----------
    cell
        Cell vectors in rows, ``(3, 3)``, Å.

    Returns
    -------
    reduced
        Lower triangular with positive diagonal, off-diagonal elements at most half the diagonal one of their
        column, ``(3, 3)``.
    rotation
        Orthogonal ``(3, 3)``: positions in the new axes are ``positions @ rotation``.
    """
    standard, q = Cell(cell).standard_form()
    sign = np.sign(np.diag(standard.array))  # for a left-handed cell, a diagonal element is negative
    reduced, rotation = standard.array * sign, (q.T * sign)
    return _upright(reduced), rotation


def _upright(lower: np.ndarray) -> np.ndarray:
    """Subtract whole lattice vectors until no off-diagonal element exceeds half the diagonal element of its column."""
    upright = np.array(lower, dtype=float)
    for i, j in ((1, 0), (2, 1), (2, 0)):
        upright[i] -= upright[j] * np.round(upright[i, j] / upright[j, j])
    return upright


class OpenMMCalculator(TypedCalculator):
    """Energy, forces and stress of one topology by OpenMM, in eV and Å.

    OpenMM gives no virial. The stress is therefore computed by central differences of the energy for the six strains
    (twelve energies), and only if it is requested.

    Parameters
    ----------
    build
        Function that makes the ``openmm.System`` for a reduced cell ``(3, 3)`` in Å, or for None in a vacuum.
    symbols
        Required elements of a frame, in order.
    platform, properties
        OpenMM platform and its settings.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # ASE declares it as a class attribute

    def __init__(
        self,
        build: Callable[[np.ndarray | None], Any],
        symbols: tuple[str, ...],
        platform: str,
        properties: dict[str, str],
    ):
        super().__init__()
        self._build, self._symbols = build, list(symbols)
        self._platform, self._properties = platform, properties
        self._context: Any = None
        self._context_cell: np.ndarray | None = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        if self.atoms.get_chemical_symbols() != self._symbols:
            raise SettingsError("The elements of the frame differ from those of the topology of this potential.")
        cell, rotation = self._cell()
        positions = self.atoms.positions @ rotation
        self._prepare(cell)
        energy, forces = self._evaluate(positions, cell, forces=True)
        assert forces is not None  # they were requested
        self.results.update(energy=energy, free_energy=energy, forces=forces @ rotation.T)
        if "stress" in (properties or ()) and cell is not None:
            self.results["stress"] = self._stress(positions, cell, rotation)

    def _cell(self) -> tuple[np.ndarray | None, np.ndarray]:
        periodic = self.atoms.pbc
        if not periodic.any():
            return None, np.eye(3)
        if not periodic.all():
            raise SettingsError("A frame must be periodic in all three directions or in none.")
        return reduced_form(self.atoms.cell.array)

    def _prepare(self, cell: np.ndarray | None) -> None:
        """Create a context for this cell; grids and cutoffs depend on the cell, so energies have no history."""
        programs.require("openmm")
        import openmm

        known = self._context_cell
        same = self._context is not None and (
            cell is known if cell is None or known is None else np.array_equal(cell, known)
        )
        if same:
            return
        platform = openmm.Platform.getPlatformByName(self._platform)
        integrator = openmm.VerletIntegrator(0.001)  # required by a context, but not used
        self._context = openmm.Context(self._build(cell), integrator, platform, self._properties)
        self._context_cell = None if cell is None else cell.copy()

    def _evaluate(
        self, positions: np.ndarray, cell: np.ndarray | None, forces: bool
    ) -> tuple[float, np.ndarray | None]:
        """Energy in eV and, if asked for, forces in eV/Å."""
        from openmm import unit

        if cell is not None:
            self._context.setPeriodicBoxVectors(*(cell / ANGSTROM_PER_NM))
        self._place(positions)
        state = self._context.getState(energy=True, forces=forces)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
        if not forces:
            return energy, None
        gradient = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
        return energy, self._on_atoms(np.asarray(gradient)) * (KJ_PER_MOL / ANGSTROM_PER_NM)

    def _place(self, positions: np.ndarray) -> None:
        """Set the positions of the atoms, Å, and of all other particles of the system."""
        self._context.setPositions(positions / ANGSTROM_PER_NM)

    def _on_atoms(self, forces: np.ndarray) -> np.ndarray:
        """Forces on the atoms, from those on all particles of the system."""
        return forces

    def _stress(self, positions: np.ndarray, cell: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """Stress sigma = dE/d(strain)/V, Voigt xx yy zz yz xz xy, eV/Å^3, tension positive.

        A shear along one axis differs from the symmetric shear only by a rotation, which does not change the energy.
        """
        tensor = np.zeros((3, 3))
        for i, j in _VOIGT:
            energies = []
            for step in (_STRAIN, -_STRAIN):
                deformation = np.eye(3)
                deformation[i, j] += step
                strained = _upright(cell @ deformation)
                energies.append(self._evaluate(positions @ deformation, strained, forces=False)[0])
            tensor[i, j] = tensor[j, i] = (energies[0] - energies[1]) / (2 * _STRAIN)
        tensor = rotation @ tensor @ rotation.T / abs(np.linalg.det(cell))
        return np.array([tensor[i, j] for i, j in _VOIGT])

"""Common code of classical force fields: tolerances, the check of a box, and bonded terms as OpenMM forces."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ilforge import programs
from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.openmm_calculator import reduced_form
from ilforge.potentials.classical.openmm_platform import platform_and_properties
from ilforge.potentials.classical.terms import Terms
from ilforge.units import ANGSTROM_PER_NM

SWITCH = 0.9
"""Distance at which Lennard-Jones terms begin to be switched off, as a fraction of the cutoff."""

EWALD_TOLERANCE = 1e-5
"""Relative error of Ewald's forces, from which OpenMM chooses the splitting and the mesh."""

DOUBLE_PRECISION_BELOW = 500
"""Below this number of atoms, calculators use double precision, so that labels have no rounding noise."""


def platform_for(n_atoms: int, threads: int) -> dict[str, Any]:
    """``platform`` and ``properties`` of a calculator whose results do not depend on the number of threads.

    Boxes below :data:`DOUBLE_PRECISION_BELOW` atoms run on the processor with any device, because they are small and
    their labels must be exact.
    """
    if n_atoms < DOUBLE_PRECISION_BELOW:
        return {"platform": "Reference", "properties": {}}
    platform, properties = platform_and_properties(threads)
    return {"platform": platform, "properties": properties}


def box_vectors(cell: np.ndarray) -> np.ndarray:
    """The cell in OpenMM's form, ``(3, 3)`` Å, without rotating it."""
    reduced, rotation = reduced_form(np.asarray(cell, dtype=float))
    if not np.allclose(rotation, np.eye(3), atol=1e-8):
        raise SettingsError("OpenMM needs the first box vector along x and the second in the xy plane.")
    return reduced


class EndsAtCutoff:
    """A classical force field of molecules whose terms between them end at ``cutoff_A``, Å; the data of a dataclass.

    Attributes
    ----------
    named
        The force field in errors: ``"CL&P"``.
    """

    named: ClassVar[str]
    cutoff_A: float

    def __post_init__(self) -> None:
        if not self.cutoff_A > 0:
            raise SettingsError(f"cutoff_A is {self.cutoff_A}; it must be positive.")

    def refuse_box(self, cell: np.ndarray) -> None:
        """Refuse a box, ``(3, 3)`` Å, that is smaller than twice the cutoff; the message has a cutoff that fits."""
        side = float(np.diag(cell).min())
        if side >= 2 * self.cutoff_A:
            return
        fitting = np.floor(2 * (side / 2 - 0.05)) / 2  # in steps of 0.5 Å, with a margin of 0.1 Å in the side
        raise SettingsError(
            f"{self.named}'s cutoff of {self.cutoff_A:g} Å needs a box of at least {2 * self.cutoff_A:g} Å, "
            f"but its smallest side is {side:.2f} Å. Use more ions, or a cutoff of {fitting:.1f} Å (cutoff_A in "
            f"[potentials.NAME] of a study file; --potential NAME:{fitting:.1f}): good enough to sample structures, "
            "not for properties."
        )

    def require_topology(self, topology: Topology | None) -> Topology:
        """The topology, which may be missing only where a potential sees no molecules."""
        if topology is None:
            raise SettingsError(f"{self.named} needs to know the ions of the atoms: give it a topology.")
        return topology


def bonded_system(topology: Topology, terms: Terms, cell: np.ndarray | None, constrain_hydrogens: bool) -> Any:
    """An ``openmm.System`` of the atoms with bonds, angles and torsions, without interactions between molecules.

    Parameters
    ----------
    cell
        ``(3, 3)`` in Å, reduced; None for ions in a vacuum.
    constrain_hydrogens
        Whether the lengths of bonds to H are constrained.
    """
    programs.require("openmm")
    import openmm

    system = openmm.System()
    for mass in topology.masses:
        system.addParticle(mass)
    if cell is not None:
        system.setDefaultPeriodicBoxVectors(*(cell / ANGSTROM_PER_NM))
    flexible = np.ones(len(terms.bonds), dtype=bool)
    if constrain_hydrogens:
        is_hydrogen = np.array(topology.symbols) == "H"
        flexible = ~is_hydrogen[terms.bonds].any(axis=1)
        for (i, j), length in zip(terms.bonds[~flexible].tolist(), terms.bond_r0[~flexible].tolist(), strict=True):
            system.addConstraint(i, j, length / ANGSTROM_PER_NM)
    for force in (_bond_force(terms, flexible), _angle_force(terms), _torsion_force(terms)):
        # so that bonds across the boundary of the box are right
        force.setUsesPeriodicBoundaryConditions(cell is not None)
        system.addForce(force)
    return system


def _bond_force(terms: Terms, flexible: np.ndarray) -> Any:
    import openmm

    force = openmm.HarmonicBondForce()
    lengths, constants = terms.bond_r0 / ANGSTROM_PER_NM, terms.bond_k * ANGSTROM_PER_NM**2
    for index in np.flatnonzero(flexible):
        i, j = terms.bonds[index].tolist()
        force.addBond(i, j, lengths[index], constants[index])
    return force


def _angle_force(terms: Terms) -> Any:
    import openmm

    force = openmm.HarmonicAngleForce()
    for atoms, theta0, k in zip(terms.angles.tolist(), terms.angle_theta0, terms.angle_k, strict=True):
        force.addAngle(*atoms, theta0, k)
    return force


def _torsion_force(terms: Terms) -> Any:
    """OPLS torsions as powers of the cosine of psi = phi - 180 degrees, in a single OpenMM force."""
    import openmm

    force = openmm.RBTorsionForce()
    for atoms, (v1, v2, v3, v4) in zip(terms.torsions.tolist(), terms.torsion_v.tolist(), strict=True):
        if any((v1, v2, v3, v4)):
            powers = (v2 + (v1 + v3) / 2, (3 * v3 - v1) / 2, 4 * v4 - v2, -2 * v3, -4 * v4, 0.0)
            force.addTorsion(*atoms, *powers)
    return force

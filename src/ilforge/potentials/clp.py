"""CL&P: the classical, non-polarizable force field of Canongia Lopes and Padua for ionic liquids.

Functional form, numbers and papers are in ``clp.toml``. Lennard-Jones terms mix by geometric means of sigma and
of epsilon, which OpenMM's own NonbondedForce does not do; written as

.. math:: U_{ij} = a_i a_j / r^{12} - b_i b_j / r^6, \\quad a = 2\\sqrt{\\epsilon}\\,\\sigma^6,
          \\quad b = 2\\sqrt{\\epsilon}\\,\\sigma^3

the geometric rule is exact and costs no table and no root. They are switched off over the last tenth of the cutoff,
so that energy and forces are continuous, and the part beyond is added for a uniform liquid. Charges interact by
particle mesh Ewald.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials import gromacs_topology, lammps_molecules
from ilforge.potentials.clp_parameters import Terms, assign, parameters
from ilforge.potentials.openmm_calculator import OpenMMCalculator, reduced_form
from ilforge.units import ANGSTROM_PER_NM

_SWITCH = 0.9
"""Where Lennard-Jones terms begin to be switched off, as a share of the cutoff."""

_DOUBLE_PRECISION_BELOW = 500
"""Below this number of atoms the calculator runs in double precision: labels then carry no rounding noise."""


@dataclass(frozen=True)
class Clp:
    """The CL&P force field.

    Parameters
    ----------
    cutoff_A
        Cutoff of Lennard-Jones terms and of the direct part of Ewald's sum, Å.
    ewald_tolerance
        Relative error of Ewald's forces for which OpenMM chooses the splitting and the mesh.
    ions
        Parameters of your own ions by name, as :func:`ilforge.potentials.clp_files.ion_parameters` reads them.
    """

    cutoff_A: float = 10.0
    ewald_tolerance: float = 1e-5
    ions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    kind: ClassVar[str] = "clp"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.cutoff_A > 0:
            raise SettingsError(f"cutoff_A is {self.cutoff_A}; it must be positive.")
        given = self.ions.values() if isinstance(self.ions, Mapping) else [self.ions]
        if not all(isinstance(ion, Mapping) and {"atoms", "types", "bonded"} <= set(ion) for ion in given):
            raise SettingsError("ions must hold parameters by name: read them from files with ion_parameters.")

    def describe(self) -> dict[str, Any]:
        """Cutoffs and tolerances, and digests of the parameters (not of the comments beside them)."""
        own = {name: _digest(ion) for name, ion in self.ions.items()}
        return {
            "kind": self.kind,
            "cutoff_A": float(self.cutoff_A),
            "switch": _SWITCH,
            "ewald_tolerance": float(self.ewald_tolerance),
            "parameters": _digest(parameters()),
            **({"ions": own} if own else {}),
        }

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for this topology; frames without periodicity are taken as in a vacuum."""
        if topology is None:
            raise SettingsError("CL&P needs to know which atoms make which ion: give it a topology.")
        terms = assign(topology, self.ions)
        small = topology.n_atoms < _DOUBLE_PRECISION_BELOW
        return OpenMMCalculator(
            build=lambda cell: self._system(topology, terms, cell, constrain_hydrogens=False),
            symbols=topology.symbols,
            platform="Reference" if small else "CPU",
            properties={} if small else {"Threads": str(threads), "DeterministicForces": "true"},
        )

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System`` with every term, for dynamics.

        Parameters
        ----------
        cell
            ``(3, 3)`` in Å, first vector along x and second in the xy plane; None for ions in a vacuum. In NPT
            runs no side may ever shrink below twice the cutoff.
        constrain_hydrogens
            Fix the length of bonds to H instead of letting them vibrate.
        threads
            Makes no difference: OpenMM's platform decides.
        """
        if cell is not None:
            cell, rotation = reduced_form(np.asarray(cell, dtype=float))
            if not np.allclose(rotation, np.eye(3), atol=1e-8):
                raise SettingsError("OpenMM needs the first box vector along x and the second in the xy plane.")
        return self._system(topology, assign(topology, self.ions), cell, constrain_hydrogens)

    def gromacs_topology(self, topology: Topology) -> str:
        """GROMACS's ``.top`` file with every term."""
        species = dict.fromkeys(topology.species)
        title = "CL&P: " + ", ".join(f"{topology.species.count(name)} {name}" for name in species)
        return gromacs_topology.topology_text(topology, assign(topology, self.ions), title)

    def gromacs_options(self, cell: np.ndarray) -> dict[str, str]:
        """Non-bonded options of GROMACS's ``.mdp`` file; ``cell`` is ``(3, 3)`` in Å."""
        self._check_cutoff(np.asarray(cell, dtype=float))
        return gromacs_topology.nonbonded_options(self.cutoff_A, _SWITCH, self.ewald_tolerance)

    def lammps_data(self, topology: Topology, positions: np.ndarray, cell: np.ndarray) -> str:
        """LAMMPS's data file with every term, in ``units real``; positions and cell in Å."""
        return lammps_molecules.data_text(topology, assign(topology, self.ions), positions, cell)

    def lammps_styles(self, topology: Topology, hold: str | None = None) -> tuple[list[str], list[str]]:
        """LAMMPS's commands before ``read_data``, and those after it: ``fix shake`` of bonds to H, called ``hold``."""
        terms = assign(topology, self.ions)
        before = lammps_molecules.style_lines(terms, self.cutoff_A, self.ewald_tolerance)
        kinds = lammps_molecules.hydrogen_bond_types(topology, terms) if hold else []
        return before, [f"fix {hold} all shake 1e-5 50 0 b {' '.join(map(str, kinds))}"] if kinds else []

    def seconds_per_frame(self, n_atoms: int) -> float:
        return 2e-5 * n_atoms

    def _system(self, topology: Topology, terms: Terms, cell: np.ndarray | None, constrain_hydrogens: bool) -> Any:
        import openmm

        system = openmm.System()
        for mass in topology.masses:
            system.addParticle(mass)
        if cell is not None:
            self._check_cutoff(cell)
            system.setDefaultPeriodicBoxVectors(*(cell / ANGSTROM_PER_NM))
        flexible = np.ones(len(terms.bonds), dtype=bool)
        if constrain_hydrogens:
            is_hydrogen = np.array(topology.symbols) == "H"
            flexible = ~is_hydrogen[terms.bonds].any(axis=1)
            for (i, j), length in zip(terms.bonds[~flexible].tolist(), terms.bond_r0[~flexible].tolist(), strict=True):
                system.addConstraint(i, j, length / ANGSTROM_PER_NM)
        for force in (
            _bond_force(terms, flexible),
            _angle_force(terms),
            _torsion_force(terms),
        ):
            # molecules that were wrapped into the box stay whole
            force.setUsesPeriodicBoundaryConditions(cell is not None)
            system.addForce(force)
        cutoff_nm = self.cutoff_A / ANGSTROM_PER_NM
        system.addForce(_coulomb_force(terms, cutoff_nm, self.ewald_tolerance, periodic=cell is not None))
        system.addForce(_lennard_jones_force(terms, cutoff_nm, periodic=cell is not None))
        return system

    def _check_cutoff(self, cell: np.ndarray) -> None:
        side = float(np.diag(cell).min())
        if side >= 2 * self.cutoff_A:
            return
        fitting = np.floor(2 * (side / 2 - 0.05)) / 2  # half Å steps, leaving 0.1 Å of the side
        raise SettingsError(
            f"CL&P's cutoff of {self.cutoff_A:g} Å needs a box of at least {2 * self.cutoff_A:g} Å, "
            f"but its smallest side is {side:.2f} Å. Use more ions, or set cutoff_A = {fitting:.1f} for this "
            "potential (sampling.potential.cutoff_A in a study file): good enough to sample structures, "
            "not for properties."
        )


def _digest(numbers: Any) -> str:
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


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
    """OPLS torsions as powers of the cosine of psi = phi - 180 degrees, which OpenMM evaluates at once."""
    import openmm

    force = openmm.RBTorsionForce()
    for atoms, (v1, v2, v3, v4) in zip(terms.torsions.tolist(), terms.torsion_v.tolist(), strict=True):
        if any((v1, v2, v3, v4)):
            powers = (v2 + (v1 + v3) / 2, (3 * v3 - v1) / 2, 4 * v4 - v2, -2 * v3, -4 * v4, 0.0)
            force.addTorsion(*atoms, *powers)
    return force


def _coulomb_force(terms: Terms, cutoff_nm: float, ewald_tolerance: float, periodic: bool) -> Any:
    """Charges, and both the charges and the Lennard-Jones terms of pairs three bonds apart."""
    import openmm

    force = openmm.NonbondedForce()
    if periodic:
        force.setNonbondedMethod(openmm.NonbondedForce.PME)
        force.setEwaldErrorTolerance(ewald_tolerance)
        force.setCutoffDistance(cutoff_nm)
    force.setExceptionsUsePeriodicBoundaryConditions(periodic)
    force.setUseDispersionCorrection(False)
    for charge in terms.charges:
        force.addParticle(charge, 1.0, 0.0)
    for i, j in terms.excluded.tolist():
        force.addException(i, j, 0.0, 1.0, 0.0)
    for i, j in terms.pairs_1_4.tolist():
        sigma = np.sqrt(terms.sigmas[i] * terms.sigmas[j]) / ANGSTROM_PER_NM
        epsilon = terms.scale_1_4 * np.sqrt(terms.epsilons[i] * terms.epsilons[j])
        force.addException(i, j, terms.scale_1_4 * terms.charges[i] * terms.charges[j], sigma, epsilon)
    return force


def _lennard_jones_force(terms: Terms, cutoff_nm: float, periodic: bool) -> Any:
    """Every pair more than three bonds apart."""
    import openmm

    force = openmm.CustomNonbondedForce("x*(a1*a2*x - b1*b2); x = 1/r^6")
    force.addPerParticleParameter("a")
    force.addPerParticleParameter("b")
    if periodic:
        force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(cutoff_nm)
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(_SWITCH * cutoff_nm)
        force.setUseLongRangeCorrection(True)
    sigmas = terms.sigmas / ANGSTROM_PER_NM
    roots = 2 * np.sqrt(terms.epsilons)
    for a, b in zip(roots * sigmas**6, roots * sigmas**3, strict=True):
        force.addParticle([a, b])
    for i, j in np.concatenate([terms.excluded, terms.pairs_1_4]).tolist():
        force.addExclusion(i, j)
    return force

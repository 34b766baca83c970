"""CL&P: the classical, non-polarizable force field of Canongia Lopes and Padua for ionic liquids.

Functional form, parameters and references are in ``clp.toml``. Lennard-Jones terms use geometric means of sigma and
of epsilon, so they are products of one factor for each atom:

.. math:: U_{ij} = a_i a_j / r^{12} - b_i b_j / r^6, \\quad a = 2\\sqrt{\\epsilon}\\,\\sigma^6,
          \\quad b = 2\\sqrt{\\epsilon}\\,\\sigma^3

OpenMM's NonbondedForce uses the arithmetic mean of sigmas, and a CustomNonbondedForce takes 2.4 times as long.
Therefore there are two NonbondedForces. In each of them all atoms have the same sigma, so the mixing rule does not
matter: a very small sigma, whose :math:`r^{-12}` term vanishes, for the dispersion, and a very large sigma, whose
:math:`r^{-6}` term vanishes, for the repulsion. Both are switched off over the last tenth of the cutoff, so that energy
and forces are continuous. The part beyond the cutoff is added for a uniform liquid. Charges interact by particle mesh
Ewald.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator
from pydantic import Field

from ilforge.canonical import spaced_digest
from ilforge.errors import SettingsError
from ilforge.liquid.ions import typed_files
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical import gromacs_topology, lammps_molecules
from ilforge.potentials.classical.clp_files import ion_parameters
from ilforge.potentials.classical.clp_parameters import assign, parameters
from ilforge.potentials.classical.force_field import (
    EWALD_TOLERANCE,
    SWITCH,
    EndsAtCutoff,
    bonded_system,
    box_vectors,
    platform_for,
)
from ilforge.potentials.classical.lammps_molecules import LammpsInput
from ilforge.potentials.classical.openmm_calculator import OpenMMCalculator
from ilforge.potentials.classical.terms import Terms
from ilforge.potentials.kind import Context, Cutoff, PotentialKind, PotentialSettings
from ilforge.units import ANGSTROM_PER_NM

_NARROW_NM = 0.01
"""Sigma for which the repulsion is 1e-9 of that in the force field, so that only dispersion remains."""

_WIDE_NM = 10.0
"""Sigma for which the dispersion is 2e-9 of that in the force field, so that only repulsion remains."""


class ClpSettings(PotentialSettings):
    """CL&P, the classical force field for ionic liquids."""

    kind: Literal["clp"] = "clp"
    """CL&P."""
    cutoff_A: Cutoff = None
    ewald_tolerance: Annotated[float, Field(ge=1e-7, le=1e-2)] = 1e-5
    """Relative error of electrostatic forces. 1e-4 is enough for sampling, and faster."""

    def spec(self, context: Context) -> dict[str, Any]:
        """Specification with the CL&P parameters of ions that the user defines by force-field files.

        It contains the parameters and not the names of the files, because files may change while a study runs.
        """
        files = {name: typed_files(ion, context.folder) for name, ion in context.define.items() if name in context.ions}
        own = {name: ion_parameters(name, *found) for name, found in files.items() if found is not None}
        spec = super().spec(context)
        return {**spec, "ions": own} if own else spec

    @property
    def title(self) -> str:
        return "CL&P"


@dataclass(frozen=True)
class Clp(EndsAtCutoff):
    """The CL&P force field.

    Parameters
    ----------
    cutoff_A
        Cutoff of Lennard-Jones terms and of the direct part of Ewald's sum, Å.
    ewald_tolerance
        Relative error of Ewald's forces, from which OpenMM chooses the splitting and the mesh.
    ions
        Parameters of your own ions by name, from :func:`~ilforge.potentials.classical.clp_files.ion_parameters`.
    """

    cutoff_A: float = 10.0
    ewald_tolerance: float = EWALD_TOLERANCE
    ions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    kind: ClassVar[str] = "clp"
    named: ClassVar[str] = "CL&P"
    has_stress: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.ions.values() if isinstance(self.ions, Mapping) else [self.ions]
        if not all(isinstance(ion, Mapping) and {"atoms", "types", "bonded"} <= set(ion) for ion in given):
            raise SettingsError("ions must contain parameters by name: read them from files with ion_parameters.")

    def describe(self) -> dict[str, Any]:
        """Cutoffs and tolerances, and digests of the parameters (without comments)."""
        own = {name: spaced_digest(ion) for name, ion in self.ions.items()}
        return {
            "kind": self.kind,
            "cutoff_A": float(self.cutoff_A),
            "switch": SWITCH,
            "ewald_tolerance": float(self.ewald_tolerance),
            "parameters": spaced_digest(parameters()),
            **({"ions": own} if own else {}),
        }

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator for this topology; frames without periodicity are treated as in a vacuum."""
        topology = self.require_topology(topology)
        terms = assign(topology, self.ions)
        return OpenMMCalculator(
            build=lambda cell: self._system(topology, terms, cell, constrain_hydrogens=False),
            symbols=topology.symbols,
            **platform_for(topology.n_atoms, threads),
        )

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System`` with every term, for dynamics (:class:`~ilforge.potentials.potential.Potential`)."""
        cell = None if cell is None else box_vectors(cell)
        return self._system(topology, assign(topology, self.ions), cell, constrain_hydrogens)

    def gromacs_topology(self, topology: Topology) -> str:
        """GROMACS's ``.top`` file with every term."""
        species = dict.fromkeys(topology.species)
        title = "CL&P: " + ", ".join(f"{topology.species.count(name)} {name}" for name in species)
        return gromacs_topology.topology_text(topology, assign(topology, self.ions), title)

    def gromacs_options(self, cell: np.ndarray, all_pairs_within_A: float | None = None) -> dict[str, str]:
        """Non-bonded options of GROMACS's ``.mdp`` file.

        Parameters
        ----------
        cell
            ``(3, 3)`` in Å.
        all_pairs_within_A
            For ions in a vacuum: a cutoff (Å) larger than all distances between atoms, and smaller than all distances
            between atoms and periodic images.
        """
        if all_pairs_within_A is not None:
            return gromacs_topology.vacuum_options(all_pairs_within_A)
        self.refuse_box(np.asarray(cell, dtype=float))
        return gromacs_topology.nonbonded_options(self.cutoff_A, SWITCH, self.ewald_tolerance)

    def lammps_input(self, topology: Topology, positions: np.ndarray, cell: np.ndarray, hold: bool) -> LammpsInput:
        """LAMMPS's data file with every term, in ``units real``, and its commands; positions and cell in Å."""
        terms = assign(topology, self.ions)
        return lammps_molecules.input_for(topology, terms, positions, cell, self.cutoff_A, self.ewald_tolerance, hold)

    def seconds_per_frame(self, n_atoms: int) -> float:
        return 2e-5 * n_atoms

    def _system(self, topology: Topology, terms: Terms, cell: np.ndarray | None, constrain_hydrogens: bool) -> Any:
        system = bonded_system(topology, terms, cell, constrain_hydrogens)
        if cell is not None:
            self.refuse_box(cell)
        cutoff_nm = self.cutoff_A / ANGSTROM_PER_NM
        system.addForce(_dispersion_force(terms, cutoff_nm, self.ewald_tolerance, periodic=cell is not None))
        system.addForce(_repulsion_force(terms, cutoff_nm, periodic=cell is not None))
        return system


def _dispersion_force(terms: Terms, cutoff_nm: float, ewald_tolerance: float, periodic: bool) -> Any:
    """Charges, -b b'/r^6 for pairs more than three bonds apart, and all interactions of pairs three bonds apart."""
    epsilons = terms.epsilons * (terms.sigmas / ANGSTROM_PER_NM / _NARROW_NM) ** 6
    force = _pair_force(terms, terms.charges, _NARROW_NM, epsilons, cutoff_nm)
    if periodic:
        force.setNonbondedMethod(force.PME)
        force.setEwaldErrorTolerance(ewald_tolerance)
    force.setExceptionsUsePeriodicBoundaryConditions(periodic)
    for i, j in terms.pairs_1_4.tolist():
        sigma = np.sqrt(terms.sigmas[i] * terms.sigmas[j]) / ANGSTROM_PER_NM
        epsilon = terms.scale_1_4 * np.sqrt(terms.epsilons[i] * terms.epsilons[j])
        force.addException(i, j, terms.scale_1_4 * terms.charges[i] * terms.charges[j], sigma, epsilon, replace=True)
    return force


def _repulsion_force(terms: Terms, cutoff_nm: float, periodic: bool) -> Any:
    """a a'/r^12 for pairs more than three bonds apart."""
    epsilons = terms.epsilons * (terms.sigmas / ANGSTROM_PER_NM / _WIDE_NM) ** 12
    force = _pair_force(terms, np.zeros(len(epsilons)), _WIDE_NM, epsilons, cutoff_nm)
    if periodic:
        force.setNonbondedMethod(force.CutoffPeriodic)
    return force


def _pair_force(terms: Terms, charges: np.ndarray, sigma_nm: float, epsilons: np.ndarray, cutoff_nm: float) -> Any:
    """Charges and switched Lennard-Jones terms with one sigma, for pairs more than three bonds apart."""
    import openmm

    force = openmm.NonbondedForce()
    force.setCutoffDistance(cutoff_nm)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(SWITCH * cutoff_nm)
    for charge, epsilon in zip(charges, epsilons, strict=True):
        force.addParticle(charge, sigma_nm, epsilon)
    for i, j in np.concatenate([terms.excluded, terms.pairs_1_4]).tolist():
        force.addException(i, j, 0.0, 1.0, 0.0)
    return force


KIND = PotentialKind(
    name="clp",
    title="CL&P",
    potential=Clp,
    settings=ClpSettings,
    family="force field",
    colour="#009E73",
    computes_with="openmm",
    words=("cutoff_A",),
    works=(("", "CL&P: Canongia Lopes and Pádua, Theor. Chem. Acc. 131, 1129 (2012), and the papers cited there."),),
)

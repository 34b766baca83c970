"""CL&Pol: the polarizable force field of Goloviznina, Padua and co-workers for ionic liquids, with Drude particles.

Every atom but H carries a particle of charge q_D on a spring, whose displacement is its induced dipole:

.. math:: U = U_{CL\\&P}(k_{fg}\\,\\epsilon_{ij}) + \\sum_i \\frac{k_D}{2} d_i^2
          + \\sum_{i<j} \\frac{q_i q_j}{4\\pi\\varepsilon_0 r_{ij}} T_{ij}, \\quad
          \\alpha_i = \\frac{q_{D,i}^2}{4\\pi\\varepsilon_0 k_D}

The sum of charges runs over atoms and particles; dipoles are damped by Thole's T (:mod:`.clpol_forces`). CL&P's
epsilons stand for induction, too; between fragments they are scaled by the share k of dispersion that
symmetry-adapted perturbation theory finds (SAPT values of the database, not the regression's; sigma is left as it
is). Numbers and papers are in ``clpol.toml``.

*Seats.* ``calculator`` gives the energy with all dipoles relaxed in each frame, and its gradient: that is what labels
and validation need. Dynamics move the particles as light ones (0.4 u; 0.8 u where bonds to H, the fastest to swing with
them, are held) with a thermostat of their own at 1 K, which follows the relaxed surface at the price of one evaluation
a step (Lamoureux, Roux, J. Chem. Phys. 2003, 119, 3025).

*Lithium.* No k is published for Li with TFSI or BF4. The regression of the database gives 0.015: it takes all that
Li's small polarizability cannot disperse for induction, and with epsilon it takes away the repulsion that holds the
oxygens off. CL&P's epsilon of Li (0.076 kJ/mol) hides no induction that could be counted twice, so k is 1 here. The
charge of Li and the dipoles around it interact with the damping of Tang and Toennies, which the database uses for
bare charges. ``docs/clpol.md`` shows what follows from either choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from ase.calculators.calculator import Calculator

from ilforge.canonical import spaced_digest
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical import clp_parameters, drude, lammps_drude
from ilforge.potentials.classical.clpol import parameters as clpol_parameters
from ilforge.potentials.classical.clpol.forces import add_forces
from ilforge.potentials.classical.clpol.parameters import PolarTerms, assign
from ilforge.potentials.classical.force_field import (
    EWALD_TOLERANCE,
    SWITCH,
    bonded_system,
    box_vectors,
    check_cutoff,
    platform_for,
)
from ilforge.potentials.classical.lammps_molecules import LammpsInput
from ilforge.potentials.classical.openmm_calculator import OpenMMCalculator
from ilforge.potentials.kind import Cutoff, PotentialKind, PotentialSettings
from ilforge.units import ANGSTROM_PER_NM

DRUDE_TEMPERATURE_K = 1.0
LONGEST_STEP_FS, LONGEST_STEP_HELD_FS = 1.0, 1.5
"""With bonds to H free, and held. A Drude particle swings once in 6 fs; where bonds to H are held it is heavier and
takes 9 fs."""

_WALL_NM = 0.02
_FRICTION_PER_PS, _DRUDE_FRICTION_PER_PS = 5.0, 50.0
"""Of molecules and of Drude particles. With 20/ps free bonds to H heat these above 3 K; what their thermostat takes
away has to be given back, and with 1 and 100/ps molecules end up 15 K too cold."""

_RESIDUAL = {"Reference": 1e-4, "CPU": 0.1}
"""Largest component of a force left on a Drude particle, kJ/mol/Å; CPU computes in single precision."""


class ClpolSettings(PotentialSettings):
    """CL&Pol, the polarizable force field built on CL&P."""

    kind: Literal["clpol"] = "clpol"
    """CL&Pol."""
    cutoff_A: Cutoff = None

    @property
    def title(self) -> str:
        return "CL&Pol"


@dataclass(frozen=True)
class Clpol:
    """The CL&Pol force field.

    Parameters
    ----------
    cutoff_A
        Cutoff of Lennard-Jones terms, of Thole's damping and of the direct part of Ewald's sum, Å.
    """

    cutoff_A: float = 10.0

    kind: ClassVar[str] = "clpol"
    has_stress: ClassVar[bool] = True
    openmm_thermostat: ClassVar[str] = (
        f"Langevin, {_FRICTION_PER_PS:g}/ps, and {_DRUDE_FRICTION_PER_PS:g}/ps for Drude particles "
        f"at {DRUDE_TEMPERATURE_K:g} K"
    )

    def __post_init__(self) -> None:
        if not self.cutoff_A > 0:
            raise SettingsError(f"cutoff_A is {self.cutoff_A}; it must be positive.")

    def describe(self) -> dict[str, Any]:
        """Cutoffs and tolerances, and the digest of the parameters (not of the comments beside them)."""
        numbers = [clp_parameters.parameters(), clpol_parameters.parameters()]
        return {
            "kind": self.kind,
            "cutoff_A": float(self.cutoff_A),
            "switch": SWITCH,
            "ewald_tolerance": EWALD_TOLERANCE,
            "parameters": spaced_digest(numbers),
        }

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator with relaxed dipoles; frames without periodicity are taken as in a vacuum.

        It raises DidNotConverge for a structure in which dipoles grow without bound.
        """
        if topology is None:
            raise SettingsError("CL&Pol needs to know which atoms make which ion: give it a topology.")
        terms = assign(topology)
        return _RelaxedCalculator(
            terms.hosts,
            build=lambda cell: self._system(topology, terms, cell, constrain_hydrogens=False),
            symbols=topology.symbols,
            **platform_for(topology.n_atoms, threads),
        )

    def refuse_box(self, cell: np.ndarray) -> None:
        """Refuse a box, ``(3, 3)`` Å, that is smaller than twice the cutoff."""
        check_cutoff("CL&Pol", self.cutoff_A, cell)

    def openmm_system(
        self,
        topology: Topology,
        cell: np.ndarray | None,
        constrain_hydrogens: bool = False,
        threads: int = 1,
    ) -> Any:
        """An ``openmm.System``: the atoms, then Drude particles (:class:`~ilforge.potentials.potential.Potential`)."""
        cell = None if cell is None else box_vectors(cell)
        return self._system(topology, assign(topology), cell, constrain_hydrogens)

    def openmm_hosts(self, topology: Topology) -> np.ndarray:
        """The atom of each Drude particle, ``(m,)``."""
        return assign(topology).hosts

    def openmm_settle(self, context: Any, hosts: np.ndarray) -> None:
        """Move the Drude particles of a context to where no force acts on them.

        In a packed box that was never minimised there may be no such place: then they are left on their atoms.
        """
        atoms = _positions(context)[: -len(hosts)]
        try:
            _settle(context, hosts, atoms)
        except DidNotConverge:
            context.setPositions(np.concatenate([atoms, atoms[hosts]]) / ANGSTROM_PER_NM)

    def openmm_integrator(self, system: Any, temperature_K: float | None, timestep_fs: float, seed: int) -> Any:
        """Langevin dynamics of molecules and, at 1 K, of Drude particles; without a temperature, velocity Verlet.

        Not Nosé-Hoover chains: Drude particles take heat from the fast vibrations that drive them, and chains return
        it to all motions alike, so that in boxes with free bonds to H these stay 35 K colder than the other atoms.
        Steps longer than 1 fs, or 1.5 fs where bonds to H are held, are divided.
        A wall at 0.2 Å, twice as far as dipoles reach in these liquids, turns Drude particles back.
        """
        import openmm

        longest_fs = _longest_step_fs(held=system.getNumConstraints() > 0)
        step_ps = timestep_fs / math.ceil(timestep_fs / longest_fs - 1e-9) / 1000
        if temperature_K is None:
            return openmm.VerletIntegrator(step_ps)
        integrator = openmm.DrudeLangevinIntegrator(
            temperature_K, _FRICTION_PER_PS, DRUDE_TEMPERATURE_K, _DRUDE_FRICTION_PER_PS, step_ps
        )
        integrator.setRandomNumberSeed(seed)
        integrator.setMaxDrudeDistance(_WALL_NM)
        return integrator

    def lammps_input(self, topology: Topology, positions: np.ndarray, cell: np.ndarray, hold: bool) -> LammpsInput:
        """LAMMPS's data file and commands for its DRUDE package, in ``units real``; positions and cell in Å."""
        terms = assign(topology)
        if terms.bare.any():
            raise SettingsError(
                "CL&Pol with bare cations such as Li cannot be exported to LAMMPS, whose coul/tt damps more than the "
                "charge of Li (docs/clpol.md). Use --format openmm."
            )
        damping_fs, drude_damping_fs = 1000 / _FRICTION_PER_PS, 1000 / _DRUDE_FRICTION_PER_PS
        heat = f"langevin/drude {{T}} {damping_fs:g} {{seed}} {DRUDE_TEMPERATURE_K:g} {drude_damping_fs:g} {{seed}}1"
        return lammps_drude.input_for(
            topology, terms, positions, cell, self.cutoff_A, EWALD_TOLERANCE, heat, _longest_step_fs(hold), hold
        )

    def seconds_per_frame(self, n_atoms: int) -> float:
        return 2e-3 * n_atoms

    def _system(self, topology: Topology, terms: PolarTerms, cell: np.ndarray | None, constrain_hydrogens: bool) -> Any:
        system = bonded_system(topology, terms.clp, cell, constrain_hydrogens)
        if cell is not None:
            check_cutoff("CL&Pol", self.cutoff_A, cell)
        add_forces(system, terms, self.cutoff_A / ANGSTROM_PER_NM, periodic=cell is not None)
        return system


class _RelaxedCalculator(OpenMMCalculator):
    """The energy with all dipoles relaxed; its gradient is the force on atom and Drude particle together."""

    def __init__(self, hosts: np.ndarray, **others: Any):
        super().__init__(**others)
        self._hosts = hosts

    def _place(self, positions: np.ndarray) -> None:
        _settle(self._context, self._hosts, positions)

    def _on_atoms(self, forces: np.ndarray) -> np.ndarray:
        n = len(forces) - len(self._hosts)
        on_atoms = forces[:n].copy()
        on_atoms[self._hosts] += forces[n:]
        return on_atoms


def _longest_step_fs(held: bool) -> float:
    return LONGEST_STEP_HELD_FS if held else LONGEST_STEP_FS


def _settle(context: Any, hosts: np.ndarray, atoms: np.ndarray) -> None:
    """Put atoms at ``(n, 3)`` Å and the Drude particles where no force acts on them."""
    from openmm import unit

    per_nm = unit.kilojoule_per_mole / unit.nanometer

    def forces(displacements: np.ndarray) -> np.ndarray:
        context.setPositions(np.concatenate([atoms, atoms[hosts] + displacements]) / ANGSTROM_PER_NM)
        found = context.getState(forces=True).getForces(asNumpy=True).value_in_unit(per_nm)
        return np.asarray(found)[len(atoms) :] / ANGSTROM_PER_NM

    stiffness = clpol_parameters.parameters()["drude"]["k_kJ_mol_A2"]
    drude.relaxed(forces, len(hosts), stiffness, _RESIDUAL.get(context.getPlatform().getName(), 0.1))


def _positions(context: Any) -> np.ndarray:
    from openmm import unit

    found = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    return np.asarray(found) * ANGSTROM_PER_NM


KIND = PotentialKind(
    name="clpol",
    title="CL&Pol",
    potential=Clpol,
    settings=ClpolSettings,
    family="force field",
    colour="#CC79A7",
    computes_with="openmm",
    words=("cutoff_A",),
    works=(
        (
            "",
            "CL&Pol: Goloviznina, Canongia Lopes, Costa Gomes and Pádua, J. Chem. Theory Comput. 15, 5858 (2019); "
            "Goloviznina, Gong, Costa Gomes and Pádua, J. Chem. Theory Comput. 17, 1606 (2021).",
        ),
    ),
)

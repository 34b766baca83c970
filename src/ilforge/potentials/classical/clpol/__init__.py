"""CL&Pol: the polarizable force field of Goloviznina, Padua and co-workers for ionic liquids, with Drude particles.

Every atom except H carries a Drude particle of charge q_D on a spring; its displacement d is the induced dipole:

.. math:: U = U_{CL\\&P}(k_{fg}\\,\\epsilon_{ij}) + \\sum_i \\frac{k_D}{2} d_i^2
          + \\sum_{i<j} \\frac{q_i q_j}{4\\pi\\varepsilon_0 r_{ij}} T_{ij}, \\quad
          \\alpha_i = \\frac{q_{D,i}^2}{4\\pi\\varepsilon_0 k_D}

The sum of charges runs over atoms and Drude particles; dipoles are damped by Thole's T (:mod:`.forces`). The epsilons
of CL&P include induction implicitly. Therefore they are scaled between fragments by k, the share of dispersion from
symmetry-adapted perturbation theory (SAPT values of the database, not those of its regression); sigma is unchanged.
Parameters and references are in ``clpol.toml``.

*Use.* ``calculator`` gives the energy with relaxed dipoles in each frame, and its gradient, for labels and validation.
In dynamics, Drude particles are light particles (0.4 u; 0.8 u if bonds to H are constrained, because these vibrations
couple most strongly to them) with a separate thermostat at 1 K. They follow the relaxed surface with one evaluation in
each step (Lamoureux, Roux, J. Chem. Phys. 2003, 119, 3025).

*Lithium.* No k is published for Li with TFSI or BF4. The regression of the database gives 0.015, because it attributes
to induction everything that the small polarizability of Li cannot explain as dispersion. Such a small epsilon would
also remove the repulsion between Li and oxygen. The epsilon of Li in CL&P (0.076 kJ/mol) contains no induction that
could be counted twice, so k is 1 here. The interaction of the Li charge with surrounding dipoles has Tang-Toennies
damping, which the database uses for bare charges. ``docs/clpol.md`` shows the results of either choice.
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
    EndsAtCutoff,
    bonded_system,
    box_vectors,
    platform_for,
)
from ilforge.potentials.classical.lammps_molecules import LammpsInput
from ilforge.potentials.classical.openmm_calculator import OpenMMCalculator
from ilforge.potentials.kind import Cutoff, PotentialKind, PotentialSettings
from ilforge.units import ANGSTROM_PER_NM

DRUDE_TEMPERATURE_K = 1.0
LONGEST_STEP_FS, LONGEST_STEP_HELD_FS = 1.0, 1.5
"""Longest time steps with free and with constrained bonds to H. The period of a Drude particle is 6 fs; it is heavier
if bonds to H are constrained, and its period is then 9 fs."""

_WALL_NM = 0.02
_FRICTION_PER_PS, _DRUDE_FRICTION_PER_PS = 5.0, 50.0
"""Friction of molecules and of Drude particles. With 20/ps for Drude particles, free bonds to H heat them above 3 K.
Their thermostat removes heat, which the other one must supply: with 1 and 100/ps, molecules are 15 K too cold."""

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
class Clpol(EndsAtCutoff):
    """The CL&Pol force field.

    Parameters
    ----------
    cutoff_A
        Cutoff of Lennard-Jones terms, of Thole damping and of the direct part of Ewald's sum, Å.
    """

    cutoff_A: float = 10.0

    kind: ClassVar[str] = "clpol"
    named: ClassVar[str] = "CL&Pol"
    has_stress: ClassVar[bool] = True
    openmm_thermostat: ClassVar[str] = (
        f"Langevin, {_FRICTION_PER_PS:g}/ps, and {_DRUDE_FRICTION_PER_PS:g}/ps for Drude particles "
        f"at {DRUDE_TEMPERATURE_K:g} K"
    )

    def describe(self) -> dict[str, Any]:
        """Cutoffs and tolerances, and the digest of the parameters (without comments)."""
        numbers = [clp_parameters.parameters(), clpol_parameters.parameters()]
        return {
            "kind": self.kind,
            "cutoff_A": float(self.cutoff_A),
            "switch": SWITCH,
            "ewald_tolerance": EWALD_TOLERANCE,
            "parameters": spaced_digest(numbers),
        }

    def calculator(self, topology: Topology | None = None, threads: int = 1) -> Calculator:
        """An ASE calculator with relaxed dipoles; frames without periodicity are treated as in a vacuum.

        It raises DidNotConverge for a structure whose dipoles diverge.
        """
        topology = self.require_topology(topology)
        terms = assign(topology)
        return _RelaxedCalculator(
            terms.hosts,
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
        """An ``openmm.System``: the atoms, then Drude particles (:class:`~ilforge.potentials.potential.Potential`)."""
        cell = None if cell is None else box_vectors(cell)
        return self._system(topology, assign(topology), cell, constrain_hydrogens)

    def openmm_hosts(self, topology: Topology) -> np.ndarray:
        """The atom of each Drude particle, ``(m,)``."""
        return assign(topology).hosts

    def openmm_settle(self, context: Any, hosts: np.ndarray) -> None:
        """Move the Drude particles of a context to positions without force on them.

        In a packed box that was never minimised, such positions may not exist; Drude particles then stay on their
        atoms.
        """
        atoms = _positions(context)[: -len(hosts)]
        try:
            _settle(context, hosts, atoms)
        except DidNotConverge:
            context.setPositions(np.concatenate([atoms, atoms[hosts]]) / ANGSTROM_PER_NM)

    def openmm_integrator(self, system: Any, temperature_K: float | None, timestep_fs: float, seed: int) -> Any:
        """Langevin dynamics of molecules and, at 1 K, of Drude particles; without a temperature, velocity Verlet.

        Nosé-Hoover chains are not suitable: Drude particles absorb heat from fast vibrations, and chains return it
        equally to all motions, so that in boxes with free bonds to H these bonds are 35 K colder than the other atoms.
        Steps longer than 1 fs, or 1.5 fs if bonds to H are constrained, are divided.
        A reflecting wall at 0.2 Å, twice the largest displacement in these liquids, limits the displacement of Drude
        particles.
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
                "CL&Pol with bare cations such as Li cannot be exported to LAMMPS, because its coul/tt also damps "
                "other charges than that of Li (docs/clpol.md). Use --format openmm."
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
            self.refuse_box(cell)
        add_forces(system, terms, self.cutoff_A / ANGSTROM_PER_NM, periodic=cell is not None)
        return system


class _RelaxedCalculator(OpenMMCalculator):
    """The energy with relaxed dipoles; its gradient is the sum of forces on an atom and its Drude particle."""

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
    """Set the atoms to ``(n, 3)`` Å and the Drude particles to positions without force on them."""
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

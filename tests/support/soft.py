"""Soft molecules: springs within, a smooth repulsion between, for several engines alike.

Cheap enough for 100,000 steps, and dense enough for the volume to fluctuate by several percent.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numba import njit

from ilforge.dynamics import MdProtocol, builtin
from ilforge.dynamics.motion import State
from ilforge.dynamics.simulation import Job
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.force_evaluator import Evaluation
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL


@dataclass(frozen=True)
class Soft:
    """Bonds and second neighbours k/2 (r - r0)^2; atoms of different molecules A (1 - r^2/R^2)^4 below R."""

    height_eV: float = 0.2
    reach_A: float = 4.0
    stiffness_eV_A2: float = 10.0
    bond_A: float = 1.4
    across_A: float = 2.29

    kind: ClassVar[str] = "soft"
    has_stress: ClassVar[bool] = True

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, **vars(self)}

    def force_evaluator(self, topology, threads=1):
        return _Evaluator(self, topology)

    def calculator(self, topology, threads=1):
        return _Calculator(_Evaluator(self, topology))

    def springs(self, topology) -> tuple[np.ndarray, np.ndarray]:
        """Pairs ``(n, 2)`` and lengths ``(n,)`` Å."""
        pairs = np.concatenate([topology.bonds, topology.second_neighbours])
        lengths = [self.bond_A] * len(topology.bonds) + [self.across_A] * len(topology.second_neighbours)
        return pairs, np.array(lengths, dtype=float)

    def openmm_system(self, topology, cell, constrain_hydrogens=False, threads=1):
        import openmm

        system = openmm.System()
        between = openmm.CustomNonbondedForce("A*(1 - (r/R)^2)^4")
        between.addGlobalParameter("A", self.height_eV / KJ_PER_MOL)
        between.addGlobalParameter("R", self.reach_A / ANGSTROM_PER_NM)
        between.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        between.setCutoffDistance(self.reach_A / ANGSTROM_PER_NM)
        for mass in topology.masses:
            system.addParticle(mass)
            between.addParticle()
        system.setDefaultPeriodicBoxVectors(*(cell / ANGSTROM_PER_NM))
        within = openmm.HarmonicBondForce()
        pairs, lengths = self.springs(topology)
        stiffness = self.stiffness_eV_A2 / KJ_PER_MOL * ANGSTROM_PER_NM**2
        for (i, j), length in zip(pairs.tolist(), lengths, strict=True):
            within.addBond(i, j, length / ANGSTROM_PER_NM, stiffness)
            between.addExclusion(i, j)
        within.setUsesPeriodicBoundaryConditions(True)
        system.addForce(within)
        system.addForce(between)
        return system


class _Evaluator:
    def __init__(self, soft: Soft, topology):
        self._soft, self._molecules = soft, topology.molecules
        self._pairs, self._lengths = soft.springs(topology)

    def evaluate(self, positions, cell):
        forces, strain = np.zeros_like(positions), np.zeros((3, 3))
        soft, sides = self._soft, np.diag(cell).copy()
        energy = _within(positions, self._pairs, self._lengths, soft.stiffness_eV_A2, forces, strain)
        energy += _between(positions, sides, self._molecules, soft.height_eV, soft.reach_A, forces, strain)
        return Evaluation(energy, forces, strain)


class _Calculator(Calculator):
    """The same for ASE, with a stress."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, evaluator: _Evaluator):
        super().__init__()
        self._evaluator = evaluator

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        found = self._evaluator.evaluate(self.atoms.positions, self.atoms.cell.array)
        stress = full_3x3_to_voigt_6_stress(found.strain_derivative / self.atoms.get_volume())
        self.results.update(energy=found.energy, free_energy=found.energy, forces=found.forces, stress=stress)


@dataclass(frozen=True)
class SoftAtoms(Soft):
    """The repulsion alone, for atoms: LAMMPS reads it from a table."""

    table: str = ""
    """File that :meth:`write_table` wrote."""

    def write_table(self, path: Path, points: int = 4000) -> SoftAtoms:
        """The same potential, with its table for LAMMPS in a file: distance Å, energy eV, force eV/Å."""
        r = np.linspace(0.001, self.reach_A, points)
        closeness = 1 - (r / self.reach_A) ** 2
        energy, force = self.height_eV * closeness**4, 8 * self.height_eV * closeness**3 * r / self.reach_A**2
        rows = [f"{k} {a:.12g} {b:.12g} {c:.12g}" for k, (a, b, c) in enumerate(zip(r, energy, force, strict=True), 1)]
        path.write_text(f"SOFT\nN {points} R {r[0]:.12g} {r[-1]:.12g}\n\n" + "\n".join(rows) + "\n")
        return replace(self, table=str(path))

    def lammps_pair(self, elements):
        return ["pair_style table spline 4000", f"pair_coeff * * {self.table} SOFT"]


@njit(cache=True)
def _within(positions, pairs, lengths, stiffness, forces, strain):
    energy, apart = 0.0, np.empty(3)
    for k in range(len(pairs)):
        i, j = pairs[k]
        square = 0.0
        for a in range(3):
            apart[a] = positions[i, a] - positions[j, a]
            square += apart[a] ** 2
        r = np.sqrt(square)
        energy += 0.5 * stiffness * (r - lengths[k]) ** 2
        _add(stiffness * (r - lengths[k]) / r, apart, i, j, forces, strain)
    return energy


@njit(cache=True)
def _between(positions, sides, molecules, height, reach, forces, strain):
    energy, apart = 0.0, np.empty(3)
    for i in range(len(positions)):
        for j in range(i):
            if molecules[i] == molecules[j]:
                continue
            square = 0.0
            for a in range(3):
                apart[a] = positions[i, a] - positions[j, a]
                apart[a] -= sides[a] * np.rint(apart[a] / sides[a])
                square += apart[a] ** 2
            closeness = 1 - square / reach**2
            if closeness > 0:
                energy += height * closeness**4
                _add(-8 * height * closeness**3 / reach**2, apart, i, j, forces, strain)
    return energy


@njit(cache=True)
def _add(slope, apart, i, j, forces, strain):
    """A pair whose energy changes by ``slope * apart`` when i moves against j."""
    for a in range(3):
        forces[i, a] -= slope * apart[a]
        forces[j, a] += slope * apart[a]
        for b in range(3):
            strain[a, b] += slope * apart[a] * apart[b]


@functools.cache
def _packed(anion: str) -> tuple[Liquid, Atoms]:
    pairs, density = {"BF4": (8, 0.75), "Cl": (24, 1.1)}[anion]
    liquid = Liquid.of({"Li": pairs, anion: pairs})
    return liquid, pack(liquid, density, seed=1)


def ions(anion: str = "BF4") -> tuple[Liquid, Atoms]:
    """48 atoms of Li and BF4, or of Li and Cl, in a box that suits the potential at some 3,000 bar."""
    liquid, box = _packed(anion)
    return liquid, box.copy()


def simulation(potential: Any, anion: str = "BF4", engine: Any = builtin, **choices: Any) -> Any:
    """A simulation of these ions at its start; ``choices`` are of the protocol."""
    liquid, box = ions(anion)
    usual = {"ensemble": "NVT", "temperature_K": 423.0, "timestep_fs": 2.0, "constrain_hydrogens": False}
    protocol = MdProtocol(**{**usual, "length_ps": 1.0, "interval_ps": 1.0, "seed": 1, **choices})
    job = Job(potential, box, liquid.topology, protocol)
    found = engine.Simulation(job, protocol.ensemble)
    found.restore(State(job.start_positions, job.start_velocities, job.cell))
    return found


def watched(moving: Any, steps: int, every: int, skip: int) -> dict[str, np.ndarray]:
    """Energies in eV and volumes in Å^3 after every so many steps, without the first ``skip`` steps."""
    rows = []
    for begun in range(0, steps + skip, every):
        moving.step(every)
        if begun >= skip:
            sample = moving.sample()
            rows.append([sample.potential_energy, sample.kinetic_energy, sample.volume])
    return dict(zip(("potential", "kinetic", "volume"), np.array(rows).T, strict=True))


def inefficiency(values: np.ndarray) -> float:
    """How many values are worth one independent one: from block means (Flyvbjerg, Petersen), 30 blocks."""
    blocks = np.array([part.mean() for part in np.array_split(values, 30)])
    return max(1.0, len(values) / 30 * blocks.var(ddof=1) / values.var(ddof=1))


def mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) * np.sqrt(inefficiency(values) / len(values)))


def slope_of_log_ratio(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Slope of ln(p_2(x)/p_1(x)) by maximum likelihood, and its standard error.

    Shirts, J. Chem. Theory Comput. 2013, 9, 909, doi:10.1021/ct300688p: between two ensembles it is -(beta_2 - beta_1)
    for the energy and -beta (P_2 - P_1) for the volume, whatever the system.
    """
    x = np.concatenate([first, second])
    centre, width = x.mean(), x.std()
    design = np.stack([np.ones(len(x)), (x - centre) / width], axis=1)
    is_second = np.repeat([0.0, 1.0], [len(first), len(second)])
    found = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ found))
        information = design.T @ (design * (chance * (1 - chance))[:, None])
        found += np.linalg.solve(information, design.T @ (is_second - chance))
    worth = max(inefficiency(first), inefficiency(second))
    return float(found[1] / width), float(np.sqrt(np.linalg.inv(information)[1, 1] * worth) / width)

"""CL&P's energy in OpenMM, term by term: each by itself, by leaving all others out of the force field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilforge.potentials.clp import Clp
from ilforge.potentials.clp_parameters import Terms, assign
from ilforge.units import KJ_PER_MOL

EWALD_PER_NM = 3.12341
"""Splitting that GROMACS chooses for ewald-rtol 1e-5 at a cutoff of 1.0 nm: both programs need the same."""

MESH = 54
"""Points of the mesh along each side: so fine that the order of interpolation makes no difference."""


def openmm_terms(potential: Clp, topology, cell, positions, switched: bool = True) -> dict[str, float]:
    """Terms in eV: bond, angle, torsion, lj_1_4, lj, coulomb, and tail (Lennard-Jones beyond the cutoff).

    Parameters
    ----------
    cell
        ``(3, 3)`` Å; None in a vacuum.
    switched
        Without it Lennard-Jones terms end at the cutoff at once, as in LAMMPS.
    """
    terms = assign(topology)
    nothing = replace(
        terms,
        bond_k=terms.bond_k * 0,
        angle_k=terms.angle_k * 0,
        torsion_v=terms.torsion_v * 0,
        charges=terms.charges * 0,
        epsilons=terms.epsilons * 0,
    )
    no_pairs = np.empty((0, 2), dtype=int)
    excluded = np.concatenate([terms.excluded, terms.pairs_1_4])
    distant = replace(nothing, epsilons=terms.epsilons, excluded=excluded, pairs_1_4=no_pairs)

    def energy(only: Terms, tail: bool = False) -> float:
        return _energy(potential, topology, only, cell, positions, tail, switched)

    lj = energy(distant)
    return {
        "bond": energy(replace(nothing, bond_k=terms.bond_k)),
        "angle": energy(replace(nothing, angle_k=terms.angle_k)),
        "torsion": energy(replace(nothing, torsion_v=terms.torsion_v)),
        "lj_1_4": energy(replace(nothing, epsilons=terms.epsilons)) - lj,
        "lj": lj,
        "coulomb": energy(replace(nothing, charges=terms.charges)),
        "tail": energy(distant, tail=True) - lj,
    }


def _energy(potential, topology, terms, cell, positions, tail, switched) -> float:
    import openmm
    from openmm import unit

    system = potential._system(topology, terms, None if cell is None else np.asarray(cell), constrain_hydrogens=False)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce) and cell is not None:
            force.setPMEParameters(EWALD_PER_NM, MESH, MESH, MESH)
            force.setUseDispersionCorrection(tail)
            force.setUseSwitchingFunction(switched)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions / 10)
    found = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return found * KJ_PER_MOL

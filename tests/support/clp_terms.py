"""Energies of CL&P and CL&Pol in OpenMM, term by term: each by leaving all others out of the force field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilforge.potentials.classical.clp import Clp
from ilforge.potentials.classical.clp_parameters import assign
from ilforge.potentials.classical.clpol import Clpol
from ilforge.potentials.classical.clpol import parameters as clpol_parameters
from ilforge.potentials.classical.terms import Terms
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


def openmm_clpol_terms(potential: Clpol, topology, cell, positions, off) -> dict[str, float]:
    """CL&Pol's terms in eV, with its Drude particles ``(m, 3)`` Å off their atoms; Lennard-Jones terms end at once.

    Springs count among the bonds. ``tail`` is what lies beyond the cutoff.
    """
    terms = clpol_parameters.assign(topology)
    places = np.concatenate([positions, positions[terms.hosts] + off])
    clp = terms.clp
    still = {"bond_k": clp.bond_k * 0, "angle_k": clp.angle_k * 0, "torsion_v": clp.torsion_v * 0}
    nothing = {**still, "epsilons": clp.epsilons * 0}

    def energy(tail: bool = False, **changed) -> float:
        kept = {**nothing, **changed}
        return _energy(potential, topology, replace(terms, clp=replace(clp, **kept)), cell, places, tail, False)

    springs = 0.5 * clpol_parameters.parameters()["drude"]["k_kJ_mol_A2"] * np.sum(off**2) * KJ_PER_MOL
    rest = energy()
    return {
        "bond": energy(bond_k=clp.bond_k) - rest + springs,
        "angle": energy(angle_k=clp.angle_k) - rest,
        "torsion": energy(torsion_v=clp.torsion_v) - rest,
        "lj": energy(epsilons=clp.epsilons) - rest,
        "coulomb": rest - springs,
        "tail": energy(tail=True, epsilons=clp.epsilons) - energy(epsilons=clp.epsilons),
    }


def _energy(potential, topology, terms, cell, positions, tail, switched) -> float:
    import openmm
    from openmm import unit

    system = potential._system(topology, terms, None if cell is None else np.asarray(cell), constrain_hydrogens=False)
    for index, force in reversed(list(enumerate(system.getForces() if cell is not None else []))):
        if isinstance(force, openmm.CustomVolumeForce) and not tail:
            system.removeForce(index)
        if isinstance(force, openmm.NonbondedForce):
            force.setPMEParameters(EWALD_PER_NM, MESH, MESH, MESH)
            force.setUseDispersionCorrection(tail)
        if isinstance(force, openmm.NonbondedForce | openmm.CustomNonbondedForce):
            force.setUseSwitchingFunction(switched)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions / 10)
    found = context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return found * KJ_PER_MOL

"""CL&Pol's forces between molecules and on Drude particles, as OpenMM forces.

Atoms are particles 0 to n - 1 of the system; Drude particles follow in the order of their atoms.

For atoms one or two bonds apart, charges do not interact with charges or dipoles, but dipoles interact with each other,
damped by Thole's function (screened pairs of OpenMM's DrudeForce). For atoms three bonds apart, the interactions of
charges with charges and dipoles are halved, and dipoles again have their full damped interaction. For all other pairs,
all charges interact by particle mesh Ewald, and a CustomNonbondedForce adds Thole's correction. LAMMPS does this with
``special_bonds`` and ``pair_style thole`` (Dequidt, Devemy, Padua, J. Chem. Inf. Model. 2016, 56, 260).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ilforge.potentials.classical.clpol.parameters import COULOMB, PolarTerms, parameters
from ilforge.potentials.classical.force_field import EWALD_TOLERANCE, SWITCH
from ilforge.units import ANGSTROM_PER_NM

_EXP_U = "w = 1 + v*(1 + v*(1/2 + v*(1/6 + v*(1/24 + v*(1/120 + v/720))))); v = u/16"
"""exp(-u) as 1/w^16, accurate to 1e-8: OpenMM evaluates exp for one pair at a time, but powers for eight at once."""


def particles(terms: PolarTerms) -> tuple[np.ndarray, np.ndarray]:
    """For atoms followed by Drude particles: total charges, and the part that belongs to a dipole, e."""
    n = len(terms.clp.charges)
    dipole = np.concatenate([np.zeros(n), terms.drude_charges])
    dipole[terms.hosts] = -terms.drude_charges
    total = np.concatenate([terms.clp.charges, np.zeros(len(terms.hosts))]) + dipole
    return total, dipole


def add_forces(system: Any, terms: PolarTerms, cutoff_nm: float, periodic: bool) -> None:
    """Add Drude particles and all non-bonded forces to a system of the atoms."""
    from openmm import unit

    mass = terms.mass_held if system.getNumConstraints() else terms.mass
    for host in terms.hosts.tolist():
        whole = system.getParticleMass(host).value_in_unit(unit.dalton)
        system.setParticleMass(host, whole - mass)
        system.addParticle(mass)
    forces = [
        _coulomb_force(terms, cutoff_nm, periodic),
        _drude_force(terms, periodic),
        _distant_force(terms, cutoff_nm, periodic),
    ]
    if periodic:
        forces.append(_tail_force(terms, cutoff_nm))
    if terms.bare.any():
        forces.append(_damping_force(terms, cutoff_nm, periodic))
    for force in forces:
        system.addForce(force)


def _drudes(terms: PolarTerms) -> dict[int, int]:
    """Drude particle of each atom that has one."""
    n = len(terms.clp.charges)
    return {host: n + k for k, host in enumerate(terms.hosts.tolist())}


def _near(terms: PolarTerms) -> list[tuple[int, int, float]]:
    """Pairs of particles with reduced interaction of their charges, and the remaining share of this interaction."""
    drudes = _drudes(terms)
    pairs = [(host, drude, 0.0) for host, drude in drudes.items()]
    for atoms, share in ((terms.clp.excluded, 0.0), (terms.clp.pairs_1_4, terms.clp.scale_1_4)):
        for i, j in atoms.tolist():
            first, second = [i, *filter(None, [drudes.get(i)])], [j, *filter(None, [drudes.get(j)])]
            pairs += [(a, b, share) for a in first for b in second]
    return pairs


def _coulomb_force(terms: PolarTerms, cutoff_nm: float, periodic: bool) -> Any:
    """Charges, and for pairs three bonds apart both charges and Lennard-Jones terms."""
    import openmm

    force = openmm.NonbondedForce()
    if periodic:
        force.setNonbondedMethod(openmm.NonbondedForce.PME)
        force.setEwaldErrorTolerance(EWALD_TOLERANCE)
        force.setCutoffDistance(cutoff_nm)
    force.setExceptionsUsePeriodicBoundaryConditions(periodic)
    force.setUseDispersionCorrection(False)
    total, dipole = particles(terms)
    for charge in total:
        force.addParticle(charge, 1.0, 0.0)
    clp, n = terms.clp, len(terms.clp.charges)
    for i, j, share in _near(terms):
        sigma, epsilon = 1.0, 0.0
        if share and i < n and j < n:
            sigma = np.sqrt(clp.sigmas[i] * clp.sigmas[j]) / ANGSTROM_PER_NM
            epsilon = share * np.sqrt(clp.epsilons[i] * clp.epsilons[j])
            epsilon *= terms.scale[terms.fragments[i], terms.fragments[j]]
        # without the interaction of two dipoles, which is in the screened pairs of the Drude force
        force.addException(i, j, share * (total[i] * total[j] - dipole[i] * dipole[j]), sigma, epsilon)
    return force


def _drude_force(terms: PolarTerms, periodic: bool) -> Any:
    """Springs between atoms and Drude particles, and the dipoles of atoms up to three bonds apart."""
    import openmm

    force, drudes, at = openmm.DrudeForce(), _drudes(terms), {}
    force.setUsesPeriodicBoundaryConditions(periodic)
    for host, alpha, charge in zip(terms.hosts.tolist(), terms.alphas, terms.drude_charges, strict=True):
        at[host] = force.addParticle(drudes[host], host, -1, -1, -1, charge, alpha / ANGSTROM_PER_NM**3, 1.0, 1.0)
    for i, j in np.concatenate([terms.clp.excluded, terms.clp.pairs_1_4]).tolist():
        if i in at and j in at:
            force.addScreenedPair(at[i], at[j], terms.thole)
    return force


def _pair_force(terms: PolarTerms, energy: str, cutoff_nm: float, periodic: bool) -> Any:
    """A force between all particles except close ones, switched off over the last tenth of the cutoff."""
    import openmm

    force = openmm.CustomNonbondedForce(energy)
    if periodic:
        force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(cutoff_nm)
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(SWITCH * cutoff_nm)
    for i, j, _ in _near(terms):
        force.addExclusion(i, j)
    return force


def _distant_force(terms: PolarTerms, cutoff_nm: float, periodic: bool) -> Any:
    """Lennard-Jones terms, and Thole's reduction of the interaction of dipoles.

    Both are in one force, because the loop over pairs takes as long as either of them.
    """
    names, scaled = _fragment_scale(terms)
    lennard_jones = f"({scaled})*x*(a1*a2*x - b1*b2)"
    thole = "coulomb*d1*d2*(1 + u/2)/(r*w^16)"
    force = _pair_force(terms, f"{lennard_jones} - {thole}; x = 1/r^6; {_EXP_U}; u = s1*s2*r", cutoff_nm, periodic)
    force.addGlobalParameter("coulomb", COULOMB / ANGSTROM_PER_NM)
    for name in ("a", "b", "d", "s", *names):
        force.addPerParticleParameter(name)
    sigmas, roots = terms.clp.sigmas / ANGSTROM_PER_NM, 2 * np.sqrt(terms.clp.epsilons)
    zeros = np.zeros(len(terms.hosts))
    a, b = (np.concatenate([roots * sigmas**power, zeros]) for power in (6, 3))
    of_hosts = np.sqrt(terms.thole) / (terms.alphas / ANGSTROM_PER_NM**3) ** (1 / 6)
    s = np.concatenate([np.zeros(len(sigmas)), of_hosts])
    s[terms.hosts] = of_hosts
    shares = np.concatenate([list(names.values()), np.zeros((len(names), len(zeros)))], axis=1)
    for row in np.column_stack([a, b, particles(terms)[1], s, *shares]):
        force.addParticle(row)
    return force


def _tail_force(terms: PolarTerms, cutoff_nm: float) -> Any:
    """Correction for Lennard-Jones terms beyond the cutoff and within the switch, for a uniform liquid.

    It is 2 pi / V times the sum over all atoms i and j of the integral of r^2 U_ij(r). The correction of OpenMM's own
    forces would include Thole's terms.
    """
    import openmm
    from scipy.integrate import trapezoid

    r = np.linspace(SWITCH * cutoff_nm, cutoff_nm, 1001)
    t = (r - r[0]) / (r[-1] - r[0])
    removed = t**3 * (10 - 15 * t + 6 * t**2)

    def total(power: int) -> float:
        """Integral of r^2 r^-2n times the sum over pairs of the products of ``2 sqrt(epsilon) sigma^n``, n = power."""
        each = 2 * np.sqrt(terms.clp.epsilons) * (terms.clp.sigmas / ANGSTROM_PER_NM) ** power
        of_fragments = np.bincount(terms.fragments, weights=each, minlength=len(terms.scale))
        beyond = trapezoid(removed * r ** (2 - 2 * power), r) + cutoff_nm ** (3 - 2 * power) / (2 * power - 3)
        return float(of_fragments @ terms.scale @ of_fragments * beyond)

    return openmm.CustomVolumeForce(f"{2 * np.pi * (total(6) - total(3))!r}/v")


def _fragment_scale(terms: PolarTerms) -> tuple[dict[str, np.ndarray], str]:
    """Per-atom parameters by name, and the expression that computes k for the fragments of two atoms from them.

    Looking up k in a table is not vectorised and doubles the time of the force. Products of eigenvectors are fast:
    k = sum_m sign_m s_m s_m', with one number of each atom for every fragment in the box.
    """
    used, fragments = np.unique(terms.fragments, return_inverse=True)
    values, vectors = np.linalg.eigh(terms.scale[np.ix_(used, used)])
    shares = (vectors * np.sqrt(np.abs(values)))[fragments].T
    names = [f"k{m}_" for m in range(len(values))]
    products = (f"{'-' if value < 0 else '+'} {name}1*{name}2" for name, value in zip(names, values, strict=True))
    return dict(zip(names, shares, strict=True)), f"0 {' '.join(products)}"


def _damping_force(terms: PolarTerms, cutoff_nm: float, periodic: bool) -> Any:
    """The Tang-Toennies reduction of the interaction of bare charges with dipoles."""
    damping = parameters()["damping"]
    series, factorial = ["1"], 1
    for k in range(1, damping["order"] + 1):
        factorial *= k
        series.append(f"u^{k}/{factorial}")
    energy = f"-coulomb*(p1*d2 + p2*d1)*exp(-u)*({' + '.join(series)})/r; u = b*r"
    force = _pair_force(terms, energy, cutoff_nm, periodic)
    force.addGlobalParameter("coulomb", COULOMB / ANGSTROM_PER_NM)
    force.addGlobalParameter("b", damping["b_per_A"] * ANGSTROM_PER_NM)
    force.addPerParticleParameter("p")
    force.addPerParticleParameter("d")
    total, dipole = particles(terms)
    bare = np.concatenate([terms.bare, np.zeros(len(terms.hosts), dtype=bool)])
    for p, d in zip(np.where(bare, total - dipole, 0.0), dipole, strict=True):
        force.addParticle([p, d])
    # interaction groups restrict the loop to the few bare charges
    force.addInteractionGroup(np.flatnonzero(bare).tolist(), np.flatnonzero(dipole).tolist())
    return force

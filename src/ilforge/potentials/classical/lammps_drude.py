"""CL&Pol for LAMMPS: Drude particles, Thole damping and scaled epsilons with the DRUDE package.

``pair_style lj/cut/thole/long`` (Dequidt, Devemy, Padua, J. Chem. Inf. Model. 2016, 56, 260) treats charges and
dipoles of atoms up to three bonds apart like :mod:`.clpol.forces`. Lennard-Jones terms are truncated at the cutoff, and
the part beyond is added, as in :mod:`.lammps_molecules`. As in :mod:`.clpol`, there are Langevin thermostats for atoms
with their Drude particles, and for the motion of Drude particles relative to their atoms (``fix langevin/drude``). With
``fix tgnvt/drude``, H was 6 % colder and all other atoms 4 % hotter.
"""

from __future__ import annotations

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.clpol.forces import particles
from ilforge.potentials.classical.clpol.parameters import PolarTerms, parameters
from ilforge.potentials.classical.lammps_molecules import (
    KJ_PER_KCAL,
    LammpsInput,
    Particles,
    Section,
    data_text,
    sections,
    shake,
    style_lines,
)
from ilforge.potentials.classical.typed_terms import distinct, number

_PARTNERS = 60
"""Additional places in the list of an atom, for the Drude particles of its neighbours that ``fix drude`` adds."""


def input_for(
    topology: Topology, terms: PolarTerms, positions: np.ndarray, cell: np.ndarray, cutoff_A: float,
    ewald_tolerance: float, heat: str, longest_step_fs: float, hold: bool,
) -> LammpsInput:  # fmt: skip
    """The complete input for positions ``(n_atoms, 3)`` and a cell ``(3, 3)`` with right angles, Å.

    Drude particles start on their atoms. ``heat`` is the thermostat.
    """
    kinds, of_atom = _kinds(topology, terms)
    mass = terms.mass_held if hold else terms.mass
    masses = topology.masses.copy()
    masses[terms.hosts] -= mass
    drudes = [f"D_{kinds[k]}" for k in of_atom[terms.hosts]]
    listed = Particles(
        types=[*(kinds[k] for k in of_atom), *drudes],
        molecules=np.concatenate([topology.molecules, topology.molecules[terms.hosts]]),
        masses=np.concatenate([masses, np.full(len(drudes), mass)]),
        charges=particles(terms)[0],
        positions=np.concatenate([positions, np.asarray(positions)[terms.hosts]]),
    )
    parts = _with_springs(sections(terms.clp), terms)
    names = list(dict.fromkeys(listed.types))
    is_rider = [name.startswith("D_") for name in names]
    polar = {name.removeprefix("D_") for name in drudes}
    status = ["D" if drude else "C" if name in polar else "N" for name, drude in zip(names, is_rider, strict=True)]
    before = [
        f"pair_style lj/cut/thole/long {terms.thole:g} {cutoff_A:g}",
        "pair_modify tail yes",
        *style_lines(parts, terms.clp.scale_1_4, ewald_tolerance),
    ]
    after = [
        "comm_modify vel yes",
        *_pair_lines(terms, of_atom, listed.types, names),
        f"group atoms type {' '.join(str(i) for i, drude in enumerate(is_rider, 1) if not drude)}",
        f"fix drude all drude {' '.join(status)}",
        "fix rest all momentum 100 linear 1 1 1",
        "compute drude all temp/drude",
    ]
    return LammpsInput(
        data_text(listed, parts, cell),
        before,
        after,
        shake(topology, terms.clp, parts, "atoms") if hold else "",
        reading=f"extra/special/per/atom {_PARTNERS}",
        atoms="atoms",
        temperatures="c_drude[1] c_drude[2]",
        heat=heat,
        nvt="nve",
        npt="nph iso {P} {P} 1000",
        longest_step_fs=longest_step_fs,
    )


def _kinds(topology: Topology, terms: PolarTerms) -> tuple[list[str], np.ndarray]:
    """Names of atom types, and the type of each atom; a type has equal element, sigma, epsilon, fragment and
    polarizability."""
    elements, element = np.unique(topology.symbols, return_inverse=True)
    columns = [element, terms.clp.sigmas, terms.clp.epsilons, terms.fragments, terms.atom_alphas]
    rows, of_atom = distinct(np.column_stack(columns))
    return [f"{elements[int(row[0])]}_{k + 1}" for k, row in enumerate(rows)], of_atom


def _with_springs(parts: list[Section], terms: PolarTerms) -> list[Section]:
    """The sections with the bonds between atoms and Drude particles as an additional last bond type."""
    n, bonds = len(terms.clp.charges), parts[0]
    springs = np.stack([terms.hosts, n + np.arange(len(terms.hosts))], axis=1)
    strength = parameters()["drude"]["k_kJ_mol_A2"] / 2 / KJ_PER_KCAL
    joined = Section(
        bonds.name,
        np.concatenate([bonds.members.reshape(-1, 2), springs]),
        np.concatenate([bonds.kinds, np.full(len(springs), len(bonds.coefficients))]),
        np.concatenate([bonds.coefficients.reshape(-1, 2), [[strength, 0.0]]]),
    )
    return [joined, *parts[1:]]


def _pair_lines(terms: PolarTerms, of_atom: np.ndarray, types: list[str], names: list[str]) -> list[str]:
    """Epsilon, sigma and polarizability for every pair of types, so that LAMMPS's mixing rules are not used."""
    n = len(of_atom)
    hosts = np.concatenate([np.arange(n), terms.hosts])
    alphas = terms.atom_alphas
    first = [types.index(name) for name in names]
    lines = []
    for i, a in enumerate(first):
        for j, b in enumerate(first[i:], i):
            p, q = hosts[a], hosts[b]
            epsilon = sigma = 0.0
            if a < n and b < n:
                epsilon = np.sqrt(terms.clp.epsilons[p] * terms.clp.epsilons[q])
                epsilon *= terms.scale[terms.fragments[p], terms.fragments[q]] / KJ_PER_KCAL
                sigma = np.sqrt(terms.clp.sigmas[p] * terms.clp.sigmas[q])
            alpha = np.sqrt(alphas[p] * alphas[q])
            lines.append(f"pair_coeff {i + 1} {j + 1} {number(epsilon)} {number(sigma)} {number(alpha)}")
    return lines

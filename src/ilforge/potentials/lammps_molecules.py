"""A classical force field in LAMMPS's words: the data file with every term, and the styles that read it.

In ``units real`` (kcal/mol, Å). LAMMPS has no pair style with the quintic switch of OpenMM and GROMACS: here
Lennard-Jones terms end at the cutoff at once, and the part beyond is added for a uniform liquid (``tail yes``).
Everything else is the same to the last digit that matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.potentials.clp_parameters import Terms
from ilforge.potentials.typed_terms import atom_types, distinct, number

KJ_PER_KCAL = 4.184


@dataclass(frozen=True)
class _Section:
    """Terms of one sort: ``Bonds`` with ``Bond Coeffs``."""

    name: str
    members: np.ndarray
    kinds: np.ndarray
    coefficients: np.ndarray

    def counts(self) -> list[str]:
        return [f"{len(self.members)} {self.name.lower()}s", f"{len(self.coefficients)} {self.name.lower()} types"]

    def lines(self) -> list[str]:
        if not len(self.members):
            return []
        lines = ["", f"{self.name} Coeffs", ""]
        lines += [f"{i} " + " ".join(map(number, row)) for i, row in enumerate(self.coefficients.tolist(), 1)]
        lines += ["", f"{self.name}s", ""]
        for index, (kind, atoms) in enumerate(zip(self.kinds.tolist(), self.members.tolist(), strict=True), 1):
            lines.append(f"{index} {kind + 1} " + " ".join(str(atom + 1) for atom in atoms))
        return lines


def data_text(topology: Topology, terms: Terms, positions: np.ndarray, cell: np.ndarray) -> str:
    """The data file (``atom_style full``): ``(n_atoms, 3)`` positions and ``(3, 3)`` cell with right angles, Å."""
    types = atom_types(topology, terms)
    names = list(dict.fromkeys(types))
    sections = _sections(terms)
    lines = ["written by ilforge, units real", "", f"{topology.n_atoms} atoms", f"{len(names)} atom types"]
    lines += [count for section in sections for count in section.counts()]
    lines.append("")
    lines += [f"0.0 {side:.16g} {axis}lo {axis}hi" for side, axis in zip(np.diag(cell), "xyz", strict=True)]
    first = [types.index(name) for name in names]
    lines += ["", "Masses", ""]
    lines += [f"{i} {number(topology.masses[atom])}  # {types[atom]}" for i, atom in enumerate(first, 1)]
    lines += ["", "Pair Coeffs", ""]
    for i, atom in enumerate(first, 1):
        lines.append(f"{i} {number(terms.epsilons[atom] / KJ_PER_KCAL)} {number(terms.sigmas[atom])}")
    lines += ["", "Atoms # full", ""]
    for atom, (x, y, z) in enumerate(np.asarray(positions).tolist()):
        molecule, kind = topology.molecules[atom] + 1, names.index(types[atom]) + 1
        lines.append(f"{atom + 1} {molecule} {kind} {number(terms.charges[atom])} {x:.12g} {y:.12g} {z:.12g}")
    for section in sections:
        lines += section.lines()
    return "\n".join(lines) + "\n"


def style_lines(terms: Terms, cutoff_A: float, ewald_tolerance: float) -> list[str]:
    """The commands before ``read_data`` that say how to read it."""
    styles = {"Bond": "bond_style harmonic", "Angle": "angle_style harmonic", "Dihedral": "dihedral_style opls"}
    return [
        "units real",
        "atom_style full",
        f"pair_style lj/cut/coul/long {cutoff_A:g}",
        "pair_modify mix geometric tail yes",
        *(styles[section.name] for section in _sections(terms) if len(section.members)),
        f"special_bonds lj/coul 0 0 {terms.scale_1_4:g}",
        f"kspace_style pppm {ewald_tolerance:g}",
    ]


def hydrogen_bond_types(topology: Topology, terms: Terms) -> list[int]:
    """Types of bonds to H, for ``fix shake``."""
    bonds = _sections(terms)[0]
    to_hydrogen = (np.array(topology.symbols) == "H")[terms.bonds].any(axis=1)
    return sorted({int(kind) + 1 for kind in bonds.kinds[to_hydrogen]})


def _sections(terms: Terms) -> list[_Section]:
    """LAMMPS's harmonic terms are k x^2: half of the k here."""
    twisted = terms.torsion_v.any(axis=1)
    values = {
        "Bond": (terms.bonds, np.stack([terms.bond_k / 2 / KJ_PER_KCAL, terms.bond_r0], axis=1)),
        "Angle": (terms.angles, np.stack([terms.angle_k / 2 / KJ_PER_KCAL, np.degrees(terms.angle_theta0)], axis=1)),
        "Dihedral": (terms.torsions[twisted], terms.torsion_v[twisted] / KJ_PER_KCAL),
    }
    found = []
    for name, (members, numbers) in values.items():
        coefficients, kinds = distinct(numbers)
        found.append(_Section(name, members, kinds, coefficients))
    return found

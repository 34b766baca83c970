"""A classical force field for LAMMPS: the data file with every term, and the commands that read it.

Units are ``real`` (kcal/mol, Å). LAMMPS has no pair style with the quintic switch of OpenMM and GROMACS. Therefore
Lennard-Jones terms are truncated at the cutoff, and the part beyond is added for a uniform liquid (``tail yes``).
Everything else is the same to all significant digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ilforge.liquid.topology import Topology
from ilforge.potentials.classical.terms import Terms
from ilforge.potentials.classical.typed_terms import atom_types, distinct, number

KJ_PER_KCAL = 4.184


@dataclass(frozen=True)
class Section:
    """Terms of one kind, such as ``Bonds`` with ``Bond Coeffs``."""

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


@dataclass(frozen=True)
class LammpsInput:
    """A box and its force field as LAMMPS input.

    Attributes
    ----------
    data
        The data file (``atom_style full``).
    before, after
        Commands before and after ``read_data``.
    hold
        Arguments of the ``fix`` that constrains bonds to H; empty if they are free.
    reading
        Additional arguments of ``read_data``.
    atoms
        Group of the atoms.
    temperatures
        Columns of ``thermo_style``.
    heat
        A thermostat that acts by forces, with ``{T}`` in K and ``{seed}``; empty if ``nvt`` and ``npt`` contain one.
    nvt, npt
        Arguments of the ``fix`` that moves all particles, with ``{T}`` in K and ``{P}`` in atm.
    longest_step_fs
        Longer time steps must be divided, fs.
    """

    data: str
    before: list[str]
    after: list[str]
    hold: str = ""
    reading: str = ""
    atoms: str = "all"
    temperatures: str = "temp"
    heat: str = ""
    nvt: str = "nvt temp {T} {T} 100"
    npt: str = "npt temp {T} {T} 100 iso {P} {P} 1000"
    longest_step_fs: float = math.inf


class Particles(NamedTuple):
    """Particles in a data file: name of the type, molecule, mass in u, charge in e and position in Å of each."""

    types: list[str]
    molecules: np.ndarray
    masses: np.ndarray
    charges: np.ndarray
    positions: np.ndarray


def input_for(
    topology: Topology, terms: Terms, positions: np.ndarray, cell: np.ndarray, cutoff_A: float, ewald_tolerance: float,
    hold: bool,
) -> LammpsInput:  # fmt: skip
    """The complete input for positions ``(n_atoms, 3)`` and a cell ``(3, 3)`` with right angles, Å."""
    types, parts = atom_types(topology, terms), sections(terms)
    particles = Particles(types, topology.molecules, topology.masses, terms.charges, positions)
    first = [types.index(name) for name in dict.fromkeys(types)]
    before = [
        f"pair_style lj/cut/coul/long {cutoff_A:g}",
        "pair_modify mix geometric tail yes",
        *style_lines(parts, terms.scale_1_4, ewald_tolerance),
    ]
    pairs = [
        f"pair_coeff {i} {i} {number(terms.epsilons[atom] / KJ_PER_KCAL)} {number(terms.sigmas[atom])}"
        for i, atom in enumerate(first, 1)
    ]
    held = shake(topology, terms, parts, "all") if hold else ""
    return LammpsInput(data_text(particles, parts, cell), before, pairs, held)


def data_text(particles: Particles, parts: list[Section], cell: np.ndarray) -> str:
    """The data file; the cell has right angles."""
    names = list(dict.fromkeys(particles.types))
    lines = ["written by ilforge, units real", "", f"{len(particles.types)} atoms", f"{len(names)} atom types"]
    lines += [count for part in parts for count in part.counts()]
    lines.append("")
    lines += [f"0.0 {side:.16g} {axis}lo {axis}hi" for side, axis in zip(np.diag(cell), "xyz", strict=True)]
    lines += ["", "Masses", ""]
    for i, name in enumerate(names, 1):
        lines.append(f"{i} {number(particles.masses[particles.types.index(name)])}  # {name}")
    lines += ["", "Atoms # full", ""]
    number_of = {name: i for i, name in enumerate(names, 1)}
    for k, (x, y, z) in enumerate(np.asarray(particles.positions).tolist()):
        place = f"{particles.molecules[k] + 1} {number_of[particles.types[k]]} {number(particles.charges[k])}"
        lines.append(f"{k + 1} {place} {x:.12g} {y:.12g} {z:.12g}")
    for part in parts:
        lines += part.lines()
    return "\n".join(lines) + "\n"


def style_lines(parts: list[Section], scale_1_4: float, ewald_tolerance: float) -> list[str]:
    """Commands before ``read_data``, except the pair style."""
    styles = {"Bond": "bond_style harmonic", "Angle": "angle_style harmonic", "Dihedral": "dihedral_style opls"}
    return [
        *(styles[part.name] for part in parts if len(part.members)),
        f"special_bonds lj/coul 0 0 {scale_1_4:g}",
        f"kspace_style pppm {ewald_tolerance:g}",
    ]


def shake(topology: Topology, terms: Terms, parts: list[Section], group: str) -> str:
    """``fix shake`` for all types of bonds to H; empty if there are none."""
    to_hydrogen = (np.array(topology.symbols) == "H")[terms.bonds].any(axis=1)
    kinds = sorted({int(kind) + 1 for kind in parts[0].kinds[: len(terms.bonds)][to_hydrogen]})
    return f"{group} shake 1e-5 50 0 b {' '.join(map(str, kinds))}" if kinds else ""


def sections(terms: Terms) -> list[Section]:
    """Bonds, angles and torsions. LAMMPS's harmonic terms are k x^2, so force constants are half of those here."""
    twisted = terms.torsion_v.any(axis=1)
    values = {
        "Bond": (terms.bonds, np.stack([terms.bond_k / 2 / KJ_PER_KCAL, terms.bond_r0], axis=1)),
        "Angle": (terms.angles, np.stack([terms.angle_k / 2 / KJ_PER_KCAL, np.degrees(terms.angle_theta0)], axis=1)),
        "Dihedral": (terms.torsions[twisted], terms.torsion_v[twisted] / KJ_PER_KCAL),
    }
    found = []
    for name, (members, numbers) in values.items():
        coefficients, kinds = distinct(numbers)
        found.append(Section(name, members, kinds, coefficients))
    return found

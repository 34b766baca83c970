"""The exp-6 force field's terms as OpenMM forces, in three groups for multiple time steps.

==============  ===================================================================================================
``BONDED``      bonds, bends, out-of-plane bends
``SHORT``       torsions; exp-6 terms and bare Coulomb terms, switched off at :data:`SHORT_A`
``REST``        everything else: long-range exp-6 terms, Ewald's sum and induced dipoles, minus the bare Coulomb terms
                of ``SHORT``
==============  ===================================================================================================

These are the parts of Borodin's multiple time steps (J. Phys. Chem. B 2009, 113, 11463) after Tuckerman, Berne and
Martyna (J. Chem. Phys. 1992, 97, 1990).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ilforge.potentials.classical.exp6 import induced_dipoles
from ilforge.potentials.classical.exp6.induced_dipoles import COULOMB, Ewald, Pairs, near_pairs
from ilforge.potentials.classical.exp6.terms import Exp6Terms
from ilforge.potentials.classical.force_field import EWALD_TOLERANCE, SWITCH
from ilforge.units import ANGSTROM_PER_NM

BONDED, SHORT, REST = 0, 1, 2

SHORT_A = 6.5
"""Distance at which the short-range part ends, Å."""

_FADING_A = 1.0
"""Width of the range before this distance in which it is switched off, Å."""


def add_forces(system: Any, terms: Exp6Terms, cutoff_A: float, cell: np.ndarray | None, threads: int) -> None:
    """Add all forces to a system of the atoms."""
    forces = [
        (_bond_force(terms), BONDED),
        (_bend_force(terms), BONDED),
        (_out_of_plane_force(terms), BONDED),
        (_torsion_force(terms), SHORT),
        (_near_exp6_force(terms), SHORT),
    ]
    if cell is None or cutoff_A < SHORT_A + _FADING_A:
        forces.append((_exp6_force(terms, cutoff_A, cell is not None), SHORT))
    else:
        forces += [(_short_exp6_force(terms), SHORT), (_long_exp6_force(terms, cutoff_A), REST)]
    electrostatics = Electrostatics(terms, cutoff_A, cell, threads)
    forces.append((_python_force(electrostatics.rest), REST))
    if cell is not None:
        forces.append((_python_force(electrostatics.short), SHORT))
    for force, group in forces:
        force.setForceGroup(group)
        if hasattr(force, "setUsesPeriodicBoundaryConditions"):
            force.setUsesPeriodicBoundaryConditions(cell is not None)
        system.addForce(force)


class Electrostatics:
    """Charges, lone pairs and induced dipoles of a topology, as functions of the atoms.

    Parameters
    ----------
    cell
        Cell ``(3, 3)`` Å from which wave vectors are chosen; None in a vacuum.
    """

    def __init__(self, terms: Exp6Terms, cutoff_A: float, cell: np.ndarray | None, threads: int):
        import vesin

        self._terms, self._sites = terms, terms.sites
        self._ewald = None if cell is None else Ewald(cell, cutoff_A, EWALD_TOLERANCE)
        self._radius = min(SHORT_A, cutoff_A)
        n, near = len(self._sites.charges), self._sites.near
        # the last key does not belong to a pair
        self._near_keys = np.append(np.sort(near[:, 0] * n + near[:, 1]), n**2)
        self._whole = vesin.NeighborList(cutoff=cutoff_A, full_list=False, n_threads=threads)
        self._close = vesin.NeighborList(cutoff=self._radius, full_list=False, n_threads=threads)
        self._limit = _thread_limit(threads)

    def rest(self, state: Any) -> tuple[float, np.ndarray]:
        """Energy kJ/mol and forces kJ/mol/nm of everything except the short-range part."""
        with self._limit():
            atoms, cell = _places(state, self._ewald is not None)
            energy, forces = self.whole(atoms, cell)
            if cell is not None:
                close, on_atoms = self.bare(atoms, cell)
                energy, forces = energy - close, forces - on_atoms
            return energy, forces * ANGSTROM_PER_NM

    def short(self, state: Any) -> tuple[float, np.ndarray]:
        """Energy kJ/mol and forces kJ/mol/nm of bare Coulomb terms, switched off at a short distance."""
        with self._limit():
            atoms, cell = _places(state, True)
            assert cell is not None
            energy, forces = self.bare(atoms, cell)
            return energy, forces * ANGSTROM_PER_NM

    def whole(self, atoms: np.ndarray, cell: np.ndarray | None) -> tuple[float, np.ndarray]:
        """Energy kJ/mol and forces on atoms kJ/mol/Å of charges and dipoles at positions ``(n, 3)`` Å."""
        x = self._places_of_sites(atoms, cell)
        pairs = [self._pairs(self._whole, x, cell), near_pairs(self._sites, x, cell)]
        found = induced_dipoles.evaluate(self._sites, x, pairs, self._ewald, cell)
        return found.energy, self._on_atoms(found.forces, atoms, cell)

    def dipoles(self, atoms: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        """Induced dipoles of the atoms, ``(n, 3)`` e Å."""
        x = self._places_of_sites(atoms, cell)
        pairs = [self._pairs(self._whole, x, cell), near_pairs(self._sites, x, cell)]
        return induced_dipoles.evaluate(self._sites, x, pairs, self._ewald, cell).dipoles[: len(atoms)]

    def bare(self, atoms: np.ndarray, cell: np.ndarray) -> tuple[float, np.ndarray]:
        """Energy kJ/mol and forces kJ/mol/Å of bare Coulomb terms, switched off at a short distance."""
        x = self._places_of_sites(atoms, cell)
        total, forces = 0.0, np.zeros_like(x)
        for pairs in (self._pairs(self._close, x, cell), near_pairs(self._sites, x, cell)):
            r = np.linalg.norm(pairs.d, axis=1)
            weight = 1.0 if pairs.weights is None else pairs.weights[:, 0]
            product = COULOMB * weight * self._sites.charges[pairs.i] * self._sites.charges[pairs.j]
            share, slope = _fading(r, self._radius - _FADING_A, self._radius)
            total += float(np.sum(product * share / r))
            gradient = (product * (slope - share / r) / r**2)[:, None] * pairs.d
            induced_dipoles.scatter(forces, pairs, -gradient)
        return total, self._on_atoms(forces, atoms, cell)

    def _places_of_sites(self, atoms: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        lone = self._terms.lone_pairs
        return np.concatenate([atoms, atoms[lone.hosts] + lone.offsets(atoms, cell)]) if len(lone) else atoms

    def _on_atoms(self, forces: np.ndarray, atoms: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
        on_atoms = forces[: len(atoms)].copy()
        if len(self._terms.lone_pairs):
            self._terms.lone_pairs.spread(forces[len(atoms) :], atoms, cell, on_atoms)
        return on_atoms

    def _pairs(self, neighbours: Any, x: np.ndarray, cell: np.ndarray | None) -> Pairs:
        """Pairs with full interaction: those within the cutoff of the list, or all pairs in a vacuum."""
        if cell is None:
            i, j = np.triu_indices(len(x), 1)
            d = x[i] - x[j]
        else:
            i, j, d = neighbours.compute(points=x, box=cell, periodic=True, quantities="ijD")
            i, j, d = i.astype(np.int64), j.astype(np.int64), -d
        keys = np.minimum(i, j) * len(x) + np.maximum(i, j)
        full = self._near_keys[np.searchsorted(self._near_keys, keys)] != keys
        return Pairs(i[full], j[full], d[full])


def _places(state: Any, periodic: bool) -> tuple[np.ndarray, np.ndarray | None]:
    from openmm import unit

    atoms = np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)) * ANGSTROM_PER_NM
    if not periodic:
        return atoms, None
    vectors = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
    return atoms, np.asarray(vectors) * ANGSTROM_PER_NM


def _thread_limit(threads: int) -> Any:
    """A context manager that limits linear algebra to this number of threads; it is created once."""
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    return lambda: controller.limit(limits=threads, user_api="blas")


def _fading(r: np.ndarray, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """OpenMM's switching function, 1 up to ``start`` and 0 from ``end``, and its slope, 1/Å."""
    t = np.clip((r - start) / (end - start), 0.0, 1.0)
    return 1 - t**3 * (10 - 15 * t + 6 * t**2), -30 * t**2 * (1 - t) ** 2 / (end - start)


def _python_force(function: Any) -> Any:
    import openmm

    return openmm.PythonForce(function)


def _bond_force(terms: Exp6Terms) -> Any:
    import openmm

    force = openmm.HarmonicBondForce()
    for (i, j), bond in terms.bonds:
        force.addBond(i, j, bond.r0_A / ANGSTROM_PER_NM, bond.k_kJ_mol_A2 * ANGSTROM_PER_NM**2)
    return force


def _bend_force(terms: Exp6Terms) -> Any:
    import openmm

    force = openmm.HarmonicAngleForce()
    for atoms, bend in terms.bends:
        force.addAngle(*atoms, np.radians(bend.theta0_deg), bend.k_kJ_mol_rad2)
    return force


def _torsion_force(terms: Exp6Terms) -> Any:
    import openmm

    force = openmm.PeriodicTorsionForce()
    for atoms, torsion in terms.torsions:
        for n, v in enumerate(torsion.V_kJ_mol, start=1):
            if v:
                force.addTorsion(*atoms, n, np.pi, v / 2)
    return force


def _out_of_plane_force(terms: Exp6Terms) -> Any:
    """Out-of-plane terms from the three angles at the centre, because compound bonds of OpenMM apply periodic images
    only to distances and angles."""
    import openmm

    gamma = (
        "k/2*asin(sqrt(min(1, max(1e-12, s))))^2; s = (1 + 2*a*b*c - a^2 - b^2 - c^2)/(1 - c^2);"
        "a = cos(angle(p2, p1, p3)); b = cos(angle(p2, p1, p4)); c = cos(angle(p3, p1, p4))"
    )
    force = openmm.CustomCompoundBondForce(4, gamma)
    force.addPerBondParameter("k")
    for atoms, term in terms.out_of_plane:
        force.addBond(list(atoms), [term.k_kJ_mol_rad2])
    return force


_EXP6 = "a*exp(-b*r) - c/r^6 + d/r^12"


def _tables(terms: Exp6Terms) -> dict[str, np.ndarray]:
    """Tables of a, b, c and D (12/b)^12 for pairs of types, in kJ/mol and nm."""
    per_nm = terms.b * ANGSTROM_PER_NM
    return {
        "a": terms.a,
        "b": per_nm,
        "c": terms.c / ANGSTROM_PER_NM**6,
        "d": terms.d_kJ_mol * (12 / per_nm) ** 12,
    }


def _near_exp6_force(terms: Exp6Terms) -> Any:
    """Weighted exp-6 terms between atoms a few bonds apart."""
    import openmm

    force, tables = openmm.CustomBondForce(f"w*({_EXP6})"), _tables(terms)
    for name in ("w", *tables):
        force.addPerBondParameter(name)
    for i, j, weight in terms.near_exp6:
        if weight:
            kinds = terms.types[i], terms.types[j]
            force.addBond(i, j, [weight, *(table[kinds] for table in tables.values())])
    return force


def _pair_force(terms: Exp6Terms, energy: str) -> Any:
    """A force between all atoms except close ones, with the parameters of their types."""
    import openmm

    values = "; ".join(f"{name} = {name}_table(type1, type2)" for name in "abcd")
    force = openmm.CustomNonbondedForce(f"{energy}; {values}")
    force.addPerParticleParameter("type")
    for name, table in _tables(terms).items():
        force.addTabulatedFunction(f"{name}_table", openmm.Discrete2DFunction(*table.shape, table.T.ravel().tolist()))
    for kind in terms.types.tolist():
        force.addParticle([kind])
    for i, j, _ in terms.near_exp6:
        force.addExclusion(i, j)
    return force


def _cut(force: Any, start_A: float, end_A: float) -> Any:
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(end_A / ANGSTROM_PER_NM)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(start_A / ANGSTROM_PER_NM)
    return force


def _exp6_force(terms: Exp6Terms, cutoff_A: float, periodic: bool) -> Any:
    """The complete exp-6 terms."""
    force = _pair_force(terms, _EXP6)
    if periodic:
        _cut(force, SWITCH * cutoff_A, cutoff_A).setUseLongRangeCorrection(True)
    return force


def _short_exp6_force(terms: Exp6Terms) -> Any:
    return _cut(_pair_force(terms, _EXP6), SHORT_A - _FADING_A, SHORT_A)


def _long_exp6_force(terms: Exp6Terms, cutoff_A: float) -> Any:
    """The part that the short-range force lacks, with a correction beyond the cutoff for a uniform liquid."""
    start, width = (SHORT_A - _FADING_A) / ANGSTROM_PER_NM, _FADING_A / ANGSTROM_PER_NM
    share = f"t^3*(10 - 15*t + 6*t^2)*({_EXP6}); t = min(1, max(0, (r - {start})/{width}))"
    force = _cut(_pair_force(terms, share), SWITCH * cutoff_A, cutoff_A)
    force.setUseLongRangeCorrection(True)
    return force

"""London dispersion for density functionals: D3 with Becke-Johnson damping, two-body, by the s-dftd3 library.

Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32 (2011) 1456, doi:10.1002/jcc.21759. Without the three-body
term, as in VASP (``IVDW = 12``) and CP2K.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, Hartree

from ilforge import programs
from ilforge.errors import DidNotConverge

CORRECTIONS = ("D3(BJ)", "none")
"""Values of `dispersion`."""
FUNCTIONALS = ("PBE", "revPBE", "SCAN", "r2SCAN", "B3LYP")
"""Functionals with published damping parameters."""


def d3bj(atoms: Atoms, functional: str) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Dispersion of a frame.

    Parameters
    ----------
    atoms
        Frame, periodic in all directions or in none.
    functional
        One of :data:`FUNCTIONALS`; it determines the damping parameters.

    Returns
    -------
    energy, forces, stress
        eV; ``(n_atoms, 3)`` eV/Å; ``(6,)`` eV/Å^3, Voigt, tension positive, None in vacuum.

    Raises
    ------
    DidNotConverge
        When atoms coincide.
    """
    programs.require("dftd3")
    from dftd3.interface import DispersionModel, RationalDampingParam

    periodic = bool(np.all(atoms.pbc))
    lattice = (atoms.cell.array / Bohr, np.ones(3, dtype=bool)) if periodic else ()
    try:
        model = DispersionModel(atoms.numbers, atoms.positions / Bohr, *lattice)
        damping = RationalDampingParam(method=functional.lower(), atm=False)  # type: ignore[no-untyped-call]  # dftd3 has no types
        found = model.get_dispersion(damping, grad=True)
    except RuntimeError as error:
        raise DidNotConverge(f"D3(BJ): {error}") from error
    stress = full_3x3_to_voigt_6_stress(found["virial"] * Hartree / atoms.get_volume()) if periodic else None
    return float(found["energy"]) * Hartree, -found["gradient"] * Hartree / Bohr, stress


def with_dispersion(
    answer: Mapping[str, Any], added: tuple[float, np.ndarray, np.ndarray | None] | None
) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Energy in eV, forces in eV/Å and stress in eV/Å^3 of a model or a method, and what is added to them.

    Parameters
    ----------
    answer
        ``energy``, ``forces`` and perhaps ``stress`` of the model or the method.
    added
        The same three of the dispersion; None for none.
    """
    energy, forces = float(answer["energy"]), np.array(answer["forces"], dtype=float)
    stress = None if answer.get("stress") is None else np.array(answer["stress"], dtype=float)
    if added is None:
        return energy, forces, stress
    if stress is not None and added[2] is not None:
        stress = stress + added[2]
    return energy + added[0], forces + added[1], stress

"""London dispersion for density functionals: D3 with Becke-Johnson damping, two-body, by the s-dftd3 library.

Grimme, Ehrlich, Goerigk, J. Comput. Chem. 32 (2011) 1456, doi:10.1002/jcc.21759. Without the three-body
term, as in VASP (``IVDW = 12``) and CP2K.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import Bohr, Hartree

from ilforge import programs
from ilforge.errors import DidNotConverge

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

"""The input file of CP2K for one frame: Quickstep with Gaussians and augmented plane waves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase import Atoms

from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ilforge.potentials.quantum.cp2k import Cp2k

WAVEFUNCTION = "last.wfn"
DISPERSION_REACH_A = 21.0  # CP2K's default of 10.6 Å neglects about 10 meV per ion pair
QUICKSTEP = {"METHOD": "GAPW", "EPS_DEFAULT": "1.0E-10", "REL_CUTOFF": "40", "GPW_TYPE": "H C"}
"""Settings that are not keys of the study. For 70 atoms of PYR14BF4, forces agree with EPS_DEFAULT 1e-12 and REL_CUTOFF
60 to 3e-5 eV/Å (root mean square), at 0.4 of their cost. H and C are accurate on a plain grid (methane: forces agree
with 600 Ry to 2e-4 eV/Å), and atomic grids would only add their own error of 0.004 eV/Å."""
_SHORT_RANGE = ("H", "Li", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl", "K", "Br", "I")
BASES = {
    "DZVP": ("DZVP-MOLOPT-SR-GTH", _SHORT_RANGE),
    "TZV2P": ("TZV2P-MOLOPT-GTH", ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")),
}
"""Basis sets by short name: the name in CP2K's file BASIS_MOLOPT, and its elements."""


def input_text(potential: Cp2k, atoms: Atoms, charge: int, *, stress: bool = False, restart: bool = False) -> str:
    """The input for energy and forces of a periodic frame.

    Parameters
    ----------
    restart
        Whether ``last.wfn`` contains wavefunctions to start from.

    Raises
    ------
    SettingsError
        For an element that the basis set does not contain.
    """
    basis = basis_set(potential, set(atoms.get_chemical_symbols()))
    return f"""\
&GLOBAL
  PROJECT frame
  RUN_TYPE ENERGY_FORCE
&END GLOBAL
&FORCE_EVAL
  METHOD Quickstep
{"  STRESS_TENSOR ANALYTICAL" if stress else ""}
{_method(potential, charge, restart)}{_subsystem(atoms, basis)}{_printed(stress)}&END FORCE_EVAL
"""


def basis_set(potential: Cp2k, symbols: set[str]) -> str:
    """Name of the basis set in CP2K's file.

    Raises
    ------
    SettingsError
        For an element that the basis set does not contain.
    """
    basis, elements = BASES[potential.basis]
    lacking = sorted(symbols - set(elements))
    if lacking:
        raise SettingsError(
            f"basis = {potential.basis!r} ({basis}) has no {', '.join(lacking)}; DZVP has {', '.join(_SHORT_RANGE)}."
        )
    return basis


def _method(potential: Cp2k, charge: int, restart: bool) -> str:
    return f"""\
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    WFN_RESTART_FILE_NAME {WAVEFUNCTION}
    CHARGE {charge}
    &MGRID
      CUTOFF {potential.cutoff_Ry:g}
      REL_CUTOFF {QUICKSTEP["REL_CUTOFF"]}
    &END MGRID
    &QS
      METHOD {QUICKSTEP["METHOD"]}
      EPS_DEFAULT {QUICKSTEP["EPS_DEFAULT"]}
    &END QS
{_scf(potential, restart)}    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
{_dispersion(potential)}    &END XC
  &END DFT
"""


def _scf(potential: Cp2k, restart: bool) -> str:
    return f"""\
    &SCF
      SCF_GUESS {"RESTART" if restart else "ATOMIC"}
      EPS_SCF {potential.scf_tolerance:.1E}
      MAX_SCF {potential.max_iterations}
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_ALL
      &END OT
      &OUTER_SCF
        EPS_SCF {potential.scf_tolerance:.1E}
        MAX_SCF {potential.max_restarts}
      &END OUTER_SCF
      &PRINT
        &RESTART
          FILENAME ={WAVEFUNCTION}
          BACKUP_COPIES 0
        &END RESTART
      &END PRINT
    &END SCF
"""


def _dispersion(potential: Cp2k) -> str:
    if potential.dispersion == "none":
        return ""
    return f"""\
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3(BJ)
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL PBE
          R_CUTOFF [angstrom] {DISPERSION_REACH_A:g}
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL
"""


def _subsystem(atoms: Atoms, basis: str) -> str:
    """Cell and positions in Å, and the basis set and pseudopotential of each element."""
    a, b, c = (" ".join(f"{x:20.12f}" for x in row) for row in atoms.cell.array)
    symbols = atoms.get_chemical_symbols()
    places = "".join(
        f"      {symbol:2s} " + " ".join(f"{x:20.12f}" for x in position) + "\n"
        for symbol, position in zip(symbols, atoms.positions, strict=True)
    )
    kinds = "".join(_kind(symbol, basis) for symbol in sorted(set(symbols)))
    return f"""\
  &SUBSYS
    &CELL
      A {a}
      B {b}
      C {c}
    &END CELL
    &COORD
{places}    &END COORD
{kinds}  &END SUBSYS
"""


def _kind(symbol: str, basis: str) -> str:
    plain = "      GPW_TYPE T\n" if symbol in QUICKSTEP["GPW_TYPE"].split() else ""
    return f"    &KIND {symbol}\n      BASIS_SET {basis}\n      POTENTIAL GTH-PBE\n{plain}    &END KIND\n"


def _printed(stress: bool) -> str:
    return f"""\
  &PRINT
    &FORCES ON
      NDIGITS 12
    &END FORCES
{"    &STRESS_TENSOR ON" + chr(10) + "    &END STRESS_TENSOR" if stress else ""}
  &END PRINT
"""

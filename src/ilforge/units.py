"""Conversion factors. Inside ilforge everything is Å, fs, eV, e, amu, K and bar.

Values are CODATA 2018 through :mod:`ase.units`, so that they agree with ASE to the last digit.
"""

from __future__ import annotations

import math

from ase import units as _ase

KJ_PER_MOL = _ase.kJ / _ase.mol
"""One kJ/mol in eV."""

KB = _ase.kB
"""Boltzmann constant in eV/K."""

BAR = _ase.bar
"""One bar in eV/Å^3."""

BOLTZMANN_J_K = 1.380649e-23
"""Boltzmann constant in J/K: exact in the SI of 2019, like the next two."""

AVOGADRO_PER_MOL = 6.02214076e23
"""Avogadro constant, 1/mol."""

ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Elementary charge, C."""

ANGSTROM_PER_NM = 10.0

AMU_PER_A3_IN_G_CM3 = 1.66053906660
"""One amu/Å^3 in g/cm^3."""

A2_PER_PS_IN_M2_S = 1e-8
"""One Å^2/ps in m^2/s."""

ASE_TIME_IN_FS = 1.0 / _ase.fs
"""ASE's unit of time, Å sqrt(amu/eV), in fs."""

EV_PER_A3_IN_GPA = 1.0 / _ase.GPa
"""One eV/Å^3 in GPa."""


def in_digits(value: float, digits: int) -> str:
    """A number with ``digits`` significant digits, never with an exponent: 590 and not 5.9e+02."""
    return f"{float(f'{value:.{digits}g}'):.10g}"


def at_least(value: float) -> str:
    """A positive number with two significant digits, never rounded down: 210 for 203.6."""
    if not 0 < value < math.inf:
        return in_digits(value, 2)
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return in_digits(math.ceil(value / unit - 1e-9) * unit, 3)

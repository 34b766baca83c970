"""The parameters of CL&Pol: the terms of a topology in addition to those of CL&P."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from ase import units

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.potentials.classical import clp_parameters
from ilforge.potentials.classical.terms import Terms

COULOMB = units.Hartree * units.Bohr / (units.kJ / units.mol)
"""e^2/(4 pi eps0) in kJ/mol Å."""


@dataclass(frozen=True)
class PolarTerms:
    """Every term of CL&Pol for one topology, in Å, kJ/mol, e and amu.

    ===================  ==========  =================================================================
    ``clp``              -           the terms of CL&P; its charges are sums for atom and Drude particle
    ``hosts``            (m,)        atoms that carry a Drude particle, ascending
    ``alphas``           (m,)        their polarizabilities including their H, Å^3
    ``drude_charges``    (m,)        charges of the Drude particles, e; the atoms carry the opposite charge
                                     in addition
    ``fragments``        (n,)        fragment of each atom
    ``scale``            (f, f)      factor of epsilon between fragments
    ``bare``             (n,)        whether the interaction of the atom's charge with dipoles is damped
    ``thole``            -           Thole's damping parameter
    ``mass``             -           mass of a Drude particle, amu
    ``mass_held``        -           the same if bonds to H are constrained
    ===================  ==========  =================================================================
    """

    clp: Terms
    hosts: np.ndarray
    alphas: np.ndarray
    drude_charges: np.ndarray
    fragments: np.ndarray
    scale: np.ndarray
    bare: np.ndarray
    thole: float
    mass: float
    mass_held: float

    @property
    def atom_alphas(self) -> np.ndarray:
        """Polarizability of each atom, ``(n,)`` in Å^3: 0 without a Drude particle."""
        alphas = np.zeros(len(self.clp.charges))
        alphas[self.hosts] = self.alphas
        return alphas


@cache
def parameters() -> dict[str, Any]:
    """The contents of the parameter file."""
    return tomllib.loads(
        resources.files("ilforge.potentials.classical.clpol").joinpath("clpol.toml").read_text("utf-8")
    )


def known_ions() -> list[str]:
    """Names of the ions that have parameters."""
    return list(parameters()["fragments"])


def assign(topology: Topology) -> PolarTerms:
    """The terms of every molecule of a topology.

    Raises
    ------
    SettingsError
        When an ion has no parameters, or its atoms or bonds differ from those of the parameters.
    """
    for name in topology.species:
        if name not in known_ions():
            raise SettingsError(
                f"CL&Pol has no parameters for the ion {name} here: it has {', '.join(known_ions())}. "
                "Use another potential for this liquid, such as clp or gfn1."
            )
    terms, drude = clp_parameters.assign(topology), parameters()["drude"]
    alphas = _merged(np.concatenate([_atom_alphas(name) for name in topology.species]), topology)
    hosts = np.flatnonzero(alphas)
    names, scale = _scale()
    types = [key for name in topology.species for key in clp_parameters.parameters()["ions"][name]["atoms"]]
    return PolarTerms(
        clp=terms,
        hosts=hosts,
        alphas=alphas[hosts],
        drude_charges=-np.sqrt(alphas[hosts] * drude["k_kJ_mol_A2"] / COULOMB),
        fragments=np.array([names.index(key) for name in topology.species for key in _atom_fragments(name)]),
        scale=scale,
        bare=np.isin(types, parameters()["damping"]["types"]),
        thole=drude["thole"],
        mass=drude["mass_amu"],
        mass_held=drude["mass_held_amu"],
    )


def _atom_alphas(name: str) -> np.ndarray:
    """Polarizability of each atom of an ion, with separate values for H."""
    known = parameters()["polarizability_A3"]
    data = clp_parameters.parameters()
    types = data["ions"][name]["atoms"]
    hydrogen = parameters()["drude"]["hydrogen_A3"]
    return np.array([hydrogen if data["types"][key]["element"] == "H" else known[key] for key in types])


def _merged(alphas: np.ndarray, topology: Topology) -> np.ndarray:
    """Polarizabilities after adding those of H to the atoms to which they are bonded."""
    hydrogen, merged = np.array(topology.symbols) == "H", alphas.copy()
    for i, j in topology.bonds.tolist():
        for h, other in ((i, j), (j, i)):
            if hydrogen[h] and not hydrogen[other]:
                merged[other] += alphas[h]
    merged[hydrogen] = 0.0
    return merged


def _atom_fragments(name: str) -> list[str]:
    return [fragment for fragment, count in parameters()["fragments"][name] for _ in range(count)]


@cache
def _scale() -> tuple[list[str], np.ndarray]:
    """Names of all fragments, and the factor of epsilon for each pair of them."""
    data = parameters()
    names = sorted({fragment for parts in data["fragments"].values() for fragment, _ in parts})
    scale = np.ones((len(names), len(names)))
    for block in data["scale"]:
        for first, partners in block.items():
            if first == "paper":
                continue
            for second, factor in partners.items():
                i, j = names.index(first), names.index(second)
                scale[i, j] = scale[j, i] = factor
    return names, scale

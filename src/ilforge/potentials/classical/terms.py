"""The terms of a classical force field for one topology, as arrays for engines and exports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Terms:
    """Every term of the force field for one topology, in Å, kJ/mol, e and rad.

    ================  ==========  ===============================================================
    ``charges``       (n,)        e
    ``sigmas``        (n,)        Å
    ``epsilons``      (n,)        kJ/mol
    ``bonds``         (n_b, 2)    atoms, with ``bond_r0`` Å and ``bond_k`` kJ/mol/Å^2, both (n_b,)
    ``angles``        (n_a, 3)    atoms, with ``angle_theta0`` rad and ``angle_k`` kJ/mol/rad^2
    ``torsions``      (n_t, 4)    atoms, with ``torsion_v`` (n_t, 4) kJ/mol, V1 to V4; for each ion first the proper
                                  torsions, then the improper ones, whose central atom is the third
    ``excluded``      (n_e, 2)    pairs that do not interact: one or two bonds apart
    ``pairs_1_4``     (n_p, 2)    pairs three bonds apart, scaled by ``scale_1_4``
    ================  ==========  ===============================================================
    """

    charges: np.ndarray
    sigmas: np.ndarray
    epsilons: np.ndarray
    bonds: np.ndarray
    bond_r0: np.ndarray
    bond_k: np.ndarray
    angles: np.ndarray
    angle_theta0: np.ndarray
    angle_k: np.ndarray
    torsions: np.ndarray
    torsion_v: np.ndarray
    excluded: np.ndarray
    pairs_1_4: np.ndarray
    scale_1_4: float

"""Split forces into parts that move and turn whole ions, and a part that deforms them.

Most of the force on an atom is the restoring force of its own bonds. The forces that hold a liquid together are the
small rest, so a model can have a small force error and wrong cohesion. The sum of the forces over each ion contains
only this rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class IonForces:
    """Forces on ions.

    Attributes
    ----------
    net
        Sum of the forces on the atoms of each ion, ``(n_ions, 3)`` eV/Å.
    torque
        Torque about the centre of mass of each ion, ``(n_ions, 3)`` eV; zero for an ion of one atom.
    internal
        Force on each atom without its share of the motion of a rigid ion, ``(n_atoms, 3)`` eV/Å.
    """

    net: np.ndarray
    torque: np.ndarray
    internal: np.ndarray


def arms(positions: np.ndarray, masses: np.ndarray, ions: np.ndarray) -> np.ndarray:
    """Position of each atom relative to the centre of mass of its ion, ``(n_atoms, 3)`` Å.

    Parameters
    ----------
    positions
        ``(n_atoms, 3)`` Å, each ion in one piece.
    masses
        ``(n_atoms,)`` amu.
    ions
        Number of the ion of each atom, ``(n_atoms,)``, from zero and without gaps.
    """
    weighted = _summed(masses[:, None] * positions, ions)
    found: np.ndarray = positions - (weighted / _summed(masses[:, None], ions))[ions]
    return found


def ion_forces(forces: np.ndarray, arms: np.ndarray, masses: np.ndarray, ions: np.ndarray) -> IonForces:
    r"""Split forces into those on whole ions and those within ions.

    A rigid ion of mass :math:`M` and inertia :math:`I` accelerates by :math:`F/M` and turns by
    :math:`\alpha = I^{-1}\tau`, which needs :math:`m_i (F/M + \alpha \times r_i)` on atom :math:`i`. The internal
    force is what remains; its sum and its torque over an ion are zero.

    Parameters
    ----------
    forces
        ``(n_atoms, 3)`` eV/Å.
    arms
        As :func:`arms` gives them, ``(n_atoms, 3)`` Å.
    masses, ions
        As there, ``(n_atoms,)``.
    """
    net, torque = _summed(forces, ions), _summed(np.cross(arms, forces), ions)
    turning = np.einsum("nij,nj->ni", np.linalg.pinv(_inertia(arms, masses, ions), rcond=1e-8, hermitian=True), torque)
    acceleration = net / _summed(masses[:, None], ions)
    rigid = masses[:, None] * (acceleration[ions] + np.cross(turning[ions], arms))
    return IonForces(net, torque, forces - rigid)


def _inertia(arms: np.ndarray, masses: np.ndarray, ions: np.ndarray) -> np.ndarray:
    """Tensors of inertia, ``(n_ions, 3, 3)`` amu Å²."""
    squares = np.sum(arms**2, axis=1)[:, None, None] * np.eye(3) - arms[:, :, None] * arms[:, None, :]
    return _summed(masses[:, None, None] * squares, ions)


def _summed(values: np.ndarray, ions: np.ndarray) -> np.ndarray:
    total = np.zeros((ions.max(initial=-1) + 1, *values.shape[1:]))
    np.add.at(total, ions, values)
    return total

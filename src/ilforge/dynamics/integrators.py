"""Parts of a time step: kicks, noise and a chain of thermostats, as functions of arrays.

Arrays of velocities are changed in place: forces of a step take only a few ms, so copies would cost time.
"""

from __future__ import annotations

import math

import numpy as np

from ilforge.units import ASE_TIME_IN_FS, KB

CHAIN_LINKS = 3
"""Number of thermostats in a Nosé-Hoover chain."""

_YOSHIDA = (1 / (2 - 2 ** (1 / 3)), -(2 ** (1 / 3)) / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))


def inverse_masses(masses: np.ndarray) -> np.ndarray:
    """Factor from forces in eV/Å to accelerations in Å/fs^2 for each atom, ``(n, 1)``; masses ``(n,)`` in amu."""
    return 1.0 / (masses[:, None] * ASE_TIME_IN_FS**2)


def thermal_speeds(masses: np.ndarray, temperature_K: float) -> np.ndarray:
    """sqrt(kT/m) of each atom, ``(n, 1)`` Å/fs; masses ``(n,)`` in amu."""
    return np.sqrt(KB * temperature_K * inverse_masses(masses))


def remove_drift(velocities: np.ndarray, mass_shares: np.ndarray) -> None:
    """Remove the motion of the centre of mass from ``velocities``, ``(n, 3)``.

    ``mass_shares``, ``(n,)``, are the masses of the atoms divided by the total mass.
    """
    velocities -= np.einsum("i,ij->j", mass_shares, velocities)  # not BLAS, whose sums depend on the number of threads


def add_noise(velocities: np.ndarray, speeds: np.ndarray, kept: float, rng: np.random.Generator) -> None:
    """An exact step of friction and noise: v becomes c v + sqrt(1 - c^2) sqrt(kT/m) R with R normal.

    Parameters
    ----------
    velocities
        ``(n, 3)`` Å/fs.
    speeds
        sqrt(kT/m), ``(n, 1)`` or ``(n, 3)`` Å/fs.
    kept
        c = exp(-friction * time).
    """
    noise = rng.standard_normal(velocities.shape)
    noise *= speeds * math.sqrt(1 - kept**2)
    velocities *= kept
    velocities += noise


def chain_at_rest() -> np.ndarray:
    """Initial variables of a Nosé-Hoover chain: positions (no unit) and velocities (1/fs), ``(2, links)``."""
    return np.zeros((2, CHAIN_LINKS))


def move_chain(
    chain: np.ndarray, kinetic_eV: float, freedom: int, temperature_K: float, period_fs: float, time_fs: float
) -> tuple[np.ndarray, float]:
    """Propagate a Nosé-Hoover chain and return the factor by which it scales all velocities.

    Martyna, Tuckerman, Tobias, Klein, Mol. Phys. 1996, 87, 1117, section 4, with the weights of Yoshida of fourth
    order. The masses are Q_1 = f kT t^2 and Q_j = kT t^2, with f degrees of freedom and the period t of the chain.

    Parameters
    ----------
    chain
        Positions (no unit) and velocities (1/fs) of the links, ``(2, links)``; not changed.
    kinetic_eV
        Kinetic energy of ``freedom`` degrees of freedom.
    time_fs
        Time to propagate: half a time step before and half after the atoms move, for a symmetric step.

    Returns
    -------
    chain
        The new variables of the chain.
    scale
        Factor for the velocities of all atoms.
    """
    thermal = KB * temperature_K
    masses = [freedom * thermal * period_fs**2] + [thermal * period_fs**2] * (CHAIN_LINKS - 1)
    wanted = [freedom * thermal] + [thermal] * (CHAIN_LINKS - 1)
    positions, speeds = chain[0].tolist(), chain[1].tolist()
    last, scale = CHAIN_LINKS - 1, 1.0

    def push(link: int, time: float) -> None:
        """Accelerate one link by its driving force, damped by the next link."""
        twice = 2 * kinetic_eV * scale**2 if link == 0 else masses[link - 1] * speeds[link - 1] ** 2
        damping = math.exp(-0.5 * time * speeds[link + 1]) if link < last else 1.0
        speeds[link] = (speeds[link] * damping + time * (twice - wanted[link]) / masses[link]) * damping

    for weight in _YOSHIDA:
        time = weight * time_fs
        for link in range(last, -1, -1):
            push(link, time / 2)
        scale *= math.exp(-time * speeds[0])
        positions = [position + time * speed for position, speed in zip(positions, speeds, strict=True)]
        for link in range(CHAIN_LINKS):
            push(link, time / 2)
    return np.array([positions, speeds]), scale

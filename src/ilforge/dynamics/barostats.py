"""Isotropic barostats that move whole molecules: by Monte Carlo, or driven by the pressure.

Both sample the distribution exp(-(U + P V)/kT) V^N of the volume. The centres of mass of the N molecules keep their
positions relative to the box. Velocities do not change; the pressure of N centres of mass is then N kT/V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ilforge.arrays import Floats
from ilforge.liquid.topology import Topology
from ilforge.units import BAR

COMPRESSIBILITY = 5e-5 / BAR
"""Assumed compressibility of an ionic liquid (5e-5/bar), Å^3/eV. It sets how fast the volume changes, not its mean."""

_FIRST_MOVE = 0.01  # of the volume
_WANTED_ACCEPTANCE = 0.5


@dataclass(frozen=True)
class Molecules:
    """The atoms that move together when the volume changes.

    Attributes
    ----------
    first_atoms
        First atom of each molecule, ``(n_molecules,)``, ascending.
    molecules
        Molecule of each atom, ``(n_atoms,)``.
    shares
        Each atom's share of the mass of its molecule, ``(n_atoms, 1)``.
    molecule_shares
        Each molecule's share of the whole mass, ``(n_molecules,)``.
    """

    first_atoms: np.ndarray
    molecules: np.ndarray
    shares: Floats
    molecule_shares: Floats

    @classmethod
    def of(cls, topology: Topology, masses: np.ndarray) -> Molecules:
        """The molecules of a topology; ``masses`` of its atoms are ``(n_atoms,)`` amu."""
        heavy = np.add.reduceat(masses, topology.first_atoms)
        shares = (masses / heavy[topology.molecules])[:, None]
        return cls(topology.first_atoms, topology.molecules, shares, heavy / heavy.sum())

    def __len__(self) -> int:
        return len(self.first_atoms)

    def centres(self, positions: Floats) -> Floats:
        """Centres of mass ``(n_molecules, 3)`` from positions of whole molecules."""
        return np.add.reduceat(positions * self.shares, self.first_atoms, axis=0)

    def scaled(self, positions: Floats, factor: float) -> Floats:
        """Positions after scaling all distances between centres of mass by ``factor``; the total centre is fixed."""
        centres = self.centres(positions)
        moves = (factor - 1) * (centres - np.einsum("i,ij->j", self.molecule_shares, centres))
        found: Floats = positions + moves[self.molecules]
        return found

    def stretching_energy(self, positions: Floats, forces: Floats, strain_derivative: Floats) -> float:
        """dU/d(ln side), eV, if the box and the centres of mass are stretched and molecules keep their shape.

        ``strain_derivative``, ``(3, 3)`` eV, refers to a strain of all distances; the part within molecules is
        subtracted.
        """
        inner = positions - self.centres(positions)[self.molecules]
        return float(np.trace(strain_derivative) + np.einsum("ij,ij->", forces, inner))


def pressure_excess(
    volume: float, pressure: float, n_molecules: int, thermal_energy: float, stretching_energy: float
) -> float:
    """Pressure of the molecules minus the set pressure, eV/Å^3: N kT/V - dU/dV - P.

    Parameters
    ----------
    volume, pressure
        Volume, Å^3, and the set pressure, eV/Å^3.
    thermal_energy
        kT, eV.
    stretching_energy
        dU/d(ln side), eV: see :meth:`Molecules.stretching_energy`.
    """
    return (n_molecules * thermal_energy - stretching_energy / 3) / volume - pressure


def rescaled_volume(
    volume: float, excess: float, thermal_energy: float, time_over_period: float, noise: float
) -> float:
    """Volume after a step of stochastic cell rescaling.

    Bernetti, Bussi, J. Chem. Phys. 2020, 153, 114107, for the square root of the volume, because then the noise does
    not depend on the volume. With the compressibility b and the relaxation time t,

    .. math:: d\\sqrt V = \\frac{b \\sqrt V}{2 t} (P_{int} - P + \\frac{kT}{2V}) dt + \\sqrt{\\frac{kT b}{2 t}} dW

    Parameters
    ----------
    excess
        P_int - P, eV/Å^3: see :func:`pressure_excess`.
    thermal_energy
        kT, eV.
    time_over_period
        dt/t.
    noise
        A normal random number.
    """
    root = math.sqrt(volume)
    drift = 0.5 * COMPRESSIBILITY * root * (excess + thermal_energy / (2 * volume)) * time_over_period
    kick = math.sqrt(0.5 * thermal_energy * COMPRESSIBILITY * time_over_period) * noise
    return (root + drift + kick) ** 2


def acceptance(
    energy_change: float, volume: float, trial: float, pressure: float, n_molecules: int, thermal_energy: float
) -> float:
    """Probability to accept a Monte Carlo move of the volume.

    min(1, exp(-(dU + P dV)/kT + N ln(V'/V))): Aaqvist et al., Chem. Phys. Lett. 2004, 384, 288.

    Parameters
    ----------
    energy_change, thermal_energy
        dU and kT, eV. A move with dU = NaN is never accepted.
    volume, trial
        V and V', Å^3.
    pressure
        eV/Å^3.
    """
    if not math.isfinite(energy_change):
        return 0.0
    cost = (energy_change + pressure * (trial - volume)) / thermal_energy - n_molecules * math.log(trial / volume)
    return math.exp(-max(0.0, cost))


@dataclass(frozen=True)
class VolumeMoves:
    """Size of Monte Carlo moves of the volume.

    Attributes
    ----------
    largest
        Largest change, Å^3; moves are uniform between minus and plus this value.
    tried
        Number of moves so far. Each adapts ``largest`` less than the one before, so that the distribution stays right.
    """

    largest: float
    tried: int = 0

    @classmethod
    def first(cls, volume: float) -> VolumeMoves:
        """The size of the first move in a box."""
        return cls(_FIRST_MOVE * volume)

    def after(self, probability: float) -> VolumeMoves:
        """The size of the next move, after one with this acceptance probability.

        Robbins-Monro: Andrieu, Thoms, Stat. Comput. 2008, 18, 343, doi:10.1007/s11222-008-9110-y.
        """
        gain = (1 + self.tried) ** -0.6
        return VolumeMoves(self.largest * math.exp(gain * (probability - _WANTED_ACCEPTANCE)), self.tried + 1)

    def as_array(self) -> np.ndarray:
        """The values as an array, for a checkpoint."""
        return np.array([self.largest, self.tried])

    @classmethod
    def from_array(cls, values: np.ndarray) -> VolumeMoves:
        """The moves from the array of a checkpoint."""
        return cls(float(values[0]), int(values[1]))

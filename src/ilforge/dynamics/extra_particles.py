"""Particles that a potential adds to the atoms, such as Drude particles, in the OpenMM engine.

In the system they come after the atoms. Only checkpoints contain them; frames contain the atoms alone.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from ilforge.dynamics.motion import State, kinetic_energy, temperature
from ilforge.liquid.topology import Topology
from ilforge.potentials.abilities import HasExtraParticles
from ilforge.potentials.potential import Potential


class ExtraParticles:
    """The atom to which each extra particle of a system belongs, if there are any.

    Parameters
    ----------
    system
        The potential's ``openmm.System`` for this topology.
    """

    def __init__(self, potential: Potential, topology: Topology, system: Any):
        from openmm import unit

        self._potential = cast(HasExtraParticles, potential)  # only called if there are such particles
        self._n_atoms = topology.n_atoms
        count = system.getNumParticles() - topology.n_atoms
        self.hosts = self._potential.openmm_hosts(topology) if count else np.empty(0, dtype=int)
        particles = range(system.getNumParticles())
        masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in particles])
        self._masses = masses[self._n_atoms :, None]
        self._share = self._masses / (self._masses + masses[self.hosts, None])

    def __len__(self) -> int:
        return len(self.hosts)

    def positions(self, state: State) -> np.ndarray:
        """Positions of all particles, Å; extra particles without positions in the state are placed on their atoms."""
        known = len(state.rider_positions) > 0
        return np.concatenate([state.positions, state.rider_positions if known else state.positions[self.hosts]])

    def velocities(self, state: State) -> np.ndarray:
        """Velocities of all particles, Å/fs; extra particles without velocities in the state move with their atoms."""
        known = len(state.rider_velocities) > 0
        return np.concatenate([state.velocities, state.rider_velocities if known else state.velocities[self.hosts]])

    def settle(self, context: Any, state: State) -> None:
        """Relax the positions of extra particles that have no positions in the state."""
        if len(self) and not len(state.rider_positions):
            self._potential.openmm_settle(context, self.hosts)

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split rows of an array into those of atoms and those of extra particles."""
        return rows[: self._n_atoms], rows[self._n_atoms :]

    def together(self, velocities: np.ndarray) -> np.ndarray:
        """Velocity of the centre of mass of each atom and its extra particle."""
        atoms, extra_particles = self.split(velocities)
        joint = atoms.copy()
        joint[self.hosts] += self._share * (extra_particles - atoms[self.hosts])
        return joint

    def temperature(self, velocities: np.ndarray) -> float:
        """Temperature of the motion of extra particles relative to their atoms, K, from velocities in Å/fs."""
        atoms, extra_particles = self.split(velocities)
        reduced = (self._masses * (1 - self._share))[:, 0]
        return temperature(kinetic_energy(reduced, extra_particles - atoms[self.hosts]), 3 * len(self))

"""A run from start to end for engines that live in this process: minimise, equilibrate, record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
from ase import Atoms

from ilforge import frames
from ilforge.arrays import Floats
from ilforge.dynamics.motion import (
    Exploded,
    Sample,
    State,
    burst,
    check_motion,
    density,
    fastest_atoms,
    maxwell_boltzmann,
    volume_of,
)
from ilforge.dynamics.protocol import MdProtocol
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.liquid.connectivity import other_unit, topology_mismatch, whole_molecules
from ilforge.liquid.topology import Topology
from ilforge.potentials.potential import Potential
from ilforge.units import ASE_TIME_IN_FS

_CHECK_STEPS = 10  # between checks of the temperature: an explosion takes tens of steps until velocities are NaN

_VELOCITIES, _THERMOSTAT = 0, 1  # independent streams of random numbers from one seed


@dataclass(frozen=True)
class Job:
    """One run: structure, potential, protocol, and the directory of its record (None: not recorded).

    ``inner`` is the cheap potential that moves the atoms within a step, if steps are divided.
    """

    potential: Potential
    atoms: Atoms
    topology: Topology
    protocol: MdProtocol
    threads: int = 1
    directory: Path | None = None
    inner: Potential | None = None

    def __post_init__(self) -> None:
        if (self.inner is None) != (self.protocol.inner_steps == 1):
            raise SettingsError(
                "An inner potential (--inner-potential) needs inner_steps (--inner-steps) of 2 or more, and the "
                "reverse: give both, or neither."
            )
        if self.atoms.get_chemical_symbols() != list(self.topology.symbols):
            raise SettingsError(
                f"The structure ({self.atoms.get_chemical_formula()}) does not list the atoms of the liquid "
                f"({len(self.topology.symbols)} atoms, molecule by molecule, in the order of its ions)."
            )
        if self.periodic:
            self._check_box()
        else:
            self._check_vacuum()
        if self.protocol.keep_velocities:
            self._check_velocities()
        unit = other_unit(self.atoms.positions, self.cell, self.topology)
        if unit:
            raise SettingsError(f"The structure's {unit}. Give it in Å.")
        found = topology_mismatch(self.atoms.positions, self.cell, self.topology)
        if found:
            raise SettingsError(
                f"The structure does not list its atoms in the order of the liquid: {found}. Atoms go molecule by "
                "molecule, and within each as `ilforge pack` writes them."
            )

    def _check_velocities(self) -> None:
        velocities = self.atoms.get_velocities()
        if not self.atoms.has("momenta") or not np.isfinite(velocities).all() or not velocities.any():
            raise SettingsError(
                "keep_velocities (--keep-velocities): the structure has no velocities. `last.xyz` of a run has them "
                "(extended XYZ with a column momenta); without the option they are drawn at the set temperature."
            )

    def _check_box(self) -> None:
        cell = self.cell
        if not self.atoms.pbc.all() or np.any(np.abs(cell - np.diag(np.diag(cell))) > 1e-8):
            raise SettingsError(
                "MD needs a box that is periodic in all three directions and has right angles, or a structure without "
                "any box."
            )
        net = self.topology.charge
        if net:
            raise SettingsError(
                f"The ions in the box have a net charge of {net:+d}, and a periodic box of them has no finite energy. "
                "For ions in a vacuum leave cell and periodicity out of the structure."
            )

    def _check_vacuum(self) -> None:
        if self.protocol.ensemble == "NPT":
            raise SettingsError(
                "ensemble = NPT: ions in a vacuum have neither volume nor pressure. Use NVT or NVE, or give a "
                "structure with a periodic box."
            )
        if self.topology.n_atoms < 2:
            raise SettingsError("A single atom in a vacuum feels no force, so there is nothing to simulate.")

    @property
    def folder(self) -> Path:
        """Folder of the record; only valid for a recorded run."""
        assert self.directory is not None
        return self.directory

    @property
    def periodic(self) -> bool:
        """Whether there is a box; else the ions are in a vacuum."""
        return bool(self.atoms.pbc.any())

    @property
    def cell(self) -> np.ndarray:
        """The box of the start, ``(3, 3)`` Å; zeros in a vacuum."""
        return self.atoms.cell.array if self.periodic else np.zeros((3, 3))

    @property
    def mass(self) -> float:
        """Mass of all atoms, amu."""
        return float(self.topology.masses.sum())

    @property
    def start_density(self) -> float | None:
        """Density of the start, g/cm^3; None in a vacuum."""
        return density(self.mass, volume_of(self.cell)) if self.periodic else None

    @property
    def unrecorded_ps(self) -> float:
        """How long the stages before the recorded run take, ps."""
        return self.protocol.unrecorded_steps * self.protocol.timestep_fs / 1000

    @property
    def start_positions(self) -> np.ndarray:
        """Positions of the start with whole molecules, ``(n_atoms, 3)`` Å."""
        return whole_molecules(self.atoms.positions, self.cell, self.topology)

    @cached_property
    def masses(self) -> Floats:
        """Masses that the atoms move with, amu, ``(n_atoms,)``; those of H as the protocol wants them.

        What H atoms gain, the heavy atom that they are bonded to loses (Feenstra, Hess, Berendsen, J. Comput. Chem.
        1999, 20, 786).
        """
        topology, wanted = self.topology, self.protocol.hydrogen_mass_amu
        masses = np.array(topology.masses)
        if wanted is None:
            return masses
        hydrogen = np.array([symbol == "H" for symbol in topology.symbols])
        for pair in topology.bonds.tolist():
            for light, heavy in (pair, pair[::-1]):
                if hydrogen[light] and not hydrogen[heavy]:
                    masses[heavy] -= wanted - masses[light]
                    masses[light] = wanted
        light = np.flatnonzero(~hydrogen & (masses < wanted))
        if len(light):
            raise SettingsError(
                f"hydrogen_mass_amu (--hydrogen-mass) is {wanted:g}: {topology.describe(int(light[0]))} would keep "
                f"only {masses[light[0]]:.3g} amu, less than its hydrogens have. Use a smaller mass; 3 is usual."
            )
        return masses

    @property
    def slowing_of_hydrogens(self) -> float | None:
        """Factor by which the masses of the run lengthen the shortest period of bonds to H; None without such bonds."""
        symbols, natural = self.topology.symbols, self.topology.masses
        bonds = np.array(
            [(i, j) for i, j in self.topology.bonds.tolist() if "H" in (symbols[i], symbols[j])], dtype=int
        )
        if not len(bonds):
            return None
        reduced = [1 / (1 / masses[bonds]).sum(axis=1) for masses in (self.masses, natural)]
        return float(np.sqrt(reduced[0] / reduced[1]).min())

    @property
    def start_velocities(self) -> Floats:
        """Initial velocities: from the seed or, if the protocol keeps them, of the start, ``(n_atoms, 3)`` Å/fs."""
        if self.protocol.keep_velocities:
            own: Floats = self.atoms.get_velocities() / ASE_TIME_IN_FS
            return own
        rng = np.random.default_rng([self.protocol.seed, _VELOCITIES])
        return maxwell_boltzmann(self.masses, self.protocol.first_temperature_K, rng)

    def random_seed(self, step: int) -> np.random.SeedSequence:
        """Seed for the random numbers of thermostat and barostat from this step on."""
        entropy = [self.protocol.seed, _THERMOSTAT, step + self.protocol.unrecorded_steps]
        if self.protocol.keep_velocities:
            # if it had the same random forces as the run that it continues, the motion would synchronize: Sindhikara
            # et al., J. Chem. Theory Comput. 2009, 5, 1624, doi:10.1021/ct800573m
            entropy += [int(frames.digest(self.atoms), 16), int(self.start_velocities_digest, 16)]
        return np.random.SeedSequence(entropy)

    @cached_property
    def start_velocities_digest(self) -> str:
        """SHA-256 of the initial velocities."""
        return hashlib.sha256(np.ascontiguousarray(self.start_velocities).tobytes()).hexdigest()

    def time_ps(self, step: int) -> float | None:
        """Time since recording began, ps; None for the steps before."""
        return step * self.protocol.timestep_fs / 1000 if step > 0 else None


class Simulation(Protocol):
    """Interface of an engine that runs in this process. ``restore`` rebuilds everything from the state alone.

    Therefore a run that was killed and continued agrees with an uninterrupted run to the last digit: at every
    checkpoint both continue from the same state, and nothing else is kept (neighbour lists, adapted step sizes,
    positions in a stream of random numbers).
    """

    degrees_of_freedom: int

    def restore(self, state: State) -> None: ...

    def state(self) -> State: ...

    def minimise(self, max_steps: int) -> None: ...

    def step(self, steps: int) -> None: ...

    def velocities(self) -> np.ndarray: ...

    def sample(self) -> Sample: ...


Maker = Callable[[Job, str], Simulation]
"""An engine's constructor: a job and an ensemble."""


def record(make: Maker, job: Job, state: State | None) -> Iterator[tuple[Sample | None, State | None]]:
    """Frames of a run and, at checkpoints, the state from which it can be continued.

    Parameters
    ----------
    state
        Last checkpoint of the same job, or None to begin.

    Raises
    ------
    Exploded
        When the motion has become unphysical.
    """
    protocol = job.protocol
    # consecutive stages in one ensemble share a simulation, which may take long to build
    made = lru_cache(maxsize=1)(partial(make, job))
    if state is None or state.step < 0:
        state = yield from _equilibrate(made, job, state)
    simulation = made(protocol.ensemble)
    simulation.restore(state)
    first = state.step // protocol.interval_steps + 1
    for frame in range(first, protocol.n_frames + 1):
        sample = _advance(simulation, job, (frame - 1) * protocol.interval_steps, protocol.interval_steps)
        due = frame % protocol.checkpoint_frames == 0 and frame < protocol.n_frames
        state = simulation.state() if due else None
        yield sample, state
        if state is not None:
            simulation.restore(state)


def minimised(simulation: Simulation, job: Job, max_steps: int) -> State:
    """The start of a job after at most ``max_steps`` steps of energy minimisation, with zero velocities."""
    start = State(job.start_positions, np.zeros((job.topology.n_atoms, 3)), job.cell)
    if max_steps == 0:
        return start
    simulation.restore(start)
    simulation.minimise(max_steps)
    return simulation.state()


def _equilibrate(
    made: Callable[[str], Simulation], job: Job, state: State | None
) -> Generator[tuple[Sample | None, State | None], None, State]:
    """Run the equilibration stage by stage; its last step is step zero."""
    protocol = job.protocol
    if state is None:
        ensemble = protocol.unrecorded[0].ensemble if protocol.unrecorded else protocol.ensemble
        at_rest = minimised(made(ensemble), job, protocol.minimise_steps)
        none = np.empty((0, 3))  # extra particles begin with the velocities of their atoms
        first = -protocol.unrecorded_steps
        state = replace(at_rest, velocities=job.start_velocities, step=first, rider_velocities=none)
    end = -protocol.unrecorded_steps
    for stage in protocol.unrecorded:
        end += stage.steps
        if state.step >= end:
            continue
        simulation = made(stage.ensemble)
        while state.step < end:
            simulation.restore(state)
            _advance(simulation, job, state.step, min(end - state.step, protocol.checkpoint_steps))
            state = simulation.state()
            yield None, state
    return state


def _advance(simulation: Simulation, job: Job, step: int, steps: int) -> Sample:
    """Take ``steps`` steps beginning at ``step``, check the motion on the way, and sample the last step."""

    def look(at: int) -> None:
        check_motion(
            simulation.velocities(),
            simulation.degrees_of_freedom,
            job.topology,
            job.protocol.temperature_K,
            job.time_ps(at),
            job.masses,
        )

    def fastest(velocities: np.ndarray) -> tuple[str, ...]:
        return fastest_atoms(velocities, job.topology, job.masses)

    def broken(what: str) -> Exploded:
        return Exploded(what, job.time_ps(step), fastest(simulation.velocities()))

    end, last = step + steps, simulation.state()
    try:
        while step < end:
            size = min(_CHECK_STEPS, end - step)
            simulation.step(size)
            step += size
            look(step)
            now = simulation.state()
            wrong = burst(volume_of(now.cell), volume_of(job.cell), job.mass) if job.periodic else None
            if wrong:
                raise Exploded(wrong, job.time_ps(step), fastest(now.velocities))
            last = now
        sample = simulation.sample()
        if not np.isfinite(sample.potential_energy):
            raise broken("the potential energy is no longer finite")
        return sample
    except SettingsError:
        raise
    except Exploded as error:
        raise _with_frame(error, simulation.state(), last, job) from None
    except DidNotConverge as error:
        found = broken(f"the potential gave no energy ({error})")
        raise _with_frame(found, simulation.state(), last, job) from error
    except Exception:
        try:
            look(step)  # if atoms fly apart, this is the cause, and not the program that fails then
        except Exploded as error:
            raise _with_frame(error, simulation.state(), last, job) from None
        raise


def _with_frame(error: Exploded, now: State, last: State, job: Job) -> Exploded:
    """The error with an unphysical frame for inspection and the fastest atoms.

    If one atom has no finite position, all others lose theirs within a step. Then the atoms that were fastest before
    are named.
    """
    if not np.isfinite(now.velocities).any():
        error = Exploded(error.what, error.time_ps, fastest_atoms(last.velocities, job.topology, job.masses))
    return error.at(now, last)

"""The engine of ilforge: for potentials that evaluate forces so fast that the overhead of an engine matters.

NVT and NPT use the Langevin "middle" scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056) with a friction of 1/ps,
like the OpenMM engine, or a Nosé-Hoover chain with a period of 0.1 ps. NPT adds isotropic Monte Carlo moves of the
volume or stochastic cell rescaling, both of whole molecules (:mod:`.barostats`). NVE is velocity Verlet. With an inner
potential the step is divided (r-RESPA: Tuckerman, Berne, Martyna, J. Chem. Phys. 1992, 97, 1990): the inner potential
moves the atoms in short steps, and the rest of the force acts once in a whole step.

The motion of the centre of mass is removed at every step, and its three degrees of freedom are not counted. The
rotation of ions in a vacuum is kept as drawn and counts like all other motion.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.cell import Cell

from ilforge.dynamics import integrators
from ilforge.dynamics.barostats import Molecules, VolumeMoves, acceptance, pressure_excess, rescaled_volume
from ilforge.dynamics.forces import Forces
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.motion import Sample, State, kinetic_energy, temperature, volume_of
from ilforge.dynamics.simulation import Job, record
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.potentials.force_evaluator import (
    CommitteeEvaluator,
    EvaluatorCalculator,
    evaluator_of,
    has_force_evaluator,
)
from ilforge.potentials.potential import Potential
from ilforge.units import BAR, KB

FRICTION_PER_PS = 1.0
CHAIN_PERIOD_FS = 100.0
MONTE_CARLO_STEPS = 25
"""Steps between Monte Carlo moves of the volume."""

RESCALING_FS = 2.0
"""Approximate time between rescalings of the cell; rounded to a whole number of steps."""

RESCALING_PERIOD_FS = 500.0

_FINE = 0.05  # eV/Å, largest force at which minimisation ends
_LONGEST_MOVE = 0.1  # Å, of one minimisation step


def accepts(potential: Potential, cell: Cell) -> bool:
    """Whether the potential, or every member of a committee, has its own force evaluator."""
    return has_force_evaluator(potential)


def frames(job: Job, state: bytes | None, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    """Frames after the first ``done`` frames, and states from which the run can continue."""
    resume = None if state is None else State.from_bytes(state)
    for sample, now in record(Simulation, job, resume):
        yield sample, (None if now is None else now.to_bytes())


def details(job: Job) -> dict[str, Any]:
    """Entries of ``run.json`` about the engine."""
    from importlib.metadata import version

    protocol = job.protocol
    how: dict[str, Any] = {"name": "builtin", "version": version("ilforge")}
    if protocol.ensemble != "NVE":
        chain = f"Nosé-Hoover chain, {CHAIN_PERIOD_FS / 1000:g} ps"
        how["thermostat"] = chain if _has_chain(job) else f"Langevin middle, {FRICTION_PER_PS:g}/ps"
    if protocol.ensemble == "NPT":
        moves = f"Monte Carlo, isotropic, molecules whole, every {MONTE_CARLO_STEPS} steps"
        rescaling = f"stochastic cell rescaling, isotropic, molecules whole, {RESCALING_PERIOD_FS / 1000:g} ps"
        how["barostat"] = rescaling if protocol.barostat == "cell-rescaling" else moves
    if job.inner is not None:
        how["inner"] = f"{job.inner.kind}, {protocol.inner_steps} steps of {protocol.inner_timestep_fs:g} fs"
    how["bonds_to_H"] = "free"
    if hasattr(job.potential, "evaluated_by"):
        how["evaluated_by"] = job.potential.evaluated_by
    return how


def holds_hydrogens(job: Job) -> bool:
    """Whether bonds to H are constrained in this run: never."""
    return False


def honours(job: Job, option: str, value: Any) -> bool:
    """Whether the engine can run an option of the protocol: always."""
    return True


def _has_chain(job: Job) -> bool:
    return job.protocol.thermostat == "nose-hoover"


class Simulation:
    """Atoms moved by the forces that the potential's evaluator gives."""

    def __init__(self, job: Job, ensemble: str):
        if job.protocol.constrain_hydrogens:
            raise SettingsError(
                f"constrain_hydrogens: the builtin engine, which runs {job.potential.kind}, cannot constrain bonds to "
                "H. Leave it out, and use a time step of at most 1 fs."
            )
        self._rescales = ensemble == "NPT" and job.protocol.barostat == "cell-rescaling"
        if self._rescales and not job.potential.has_stress:
            raise SettingsError(
                f'barostat = "cell-rescaling" needs a stress, which {job.potential.kind} does not give: use '
                '"monte-carlo".'
            )
        self._job, self._ensemble = job, ensemble
        self._chained = ensemble != "NVE" and _has_chain(job)
        self._moves_volume = ensemble == "NPT" and not self._rescales
        self._molecules = Molecules.of(job.topology, job.masses)
        self._mass_shares = job.masses / job.masses.sum()
        # one value for each coordinate: twice as fast as one value for each atom
        self._per_mass = np.repeat(integrators.inverse_masses(job.masses), 3, axis=1)
        self._speeds = np.repeat(integrators.thermal_speeds(job.masses, job.protocol.temperature_K), 3, axis=1)
        self._thermal_energy = KB * job.protocol.temperature_K
        self._pressure = job.protocol.pressure_bar * BAR
        self._rescaling_steps = max(1, round(RESCALING_FS / job.protocol.timestep_fs))
        self.degrees_of_freedom = 3 * job.topology.n_atoms - 3

    def restore(self, state: State) -> None:
        job = self._job
        self._positions, self._velocities = state.positions.copy(), state.velocities.copy()
        self._cell = state.cell.copy() if job.periodic else None
        self._step = state.step
        # new evaluators: an old neighbour list would make the run depend on its history
        self._evaluator = evaluator_of(job.potential, job.topology, job.threads)
        inner = None if job.inner is None else evaluator_of(job.inner, job.topology, job.threads)
        self._forces = Forces(self._evaluator, inner)
        self._rng = np.random.default_rng(job.random_seed(state.step))
        self._chain = state.thermostat.copy() if len(state.thermostat) else integrators.chain_at_rest()
        self._moves = VolumeMoves.from_array(state.barostat) if len(state.barostat) else None
        integrators.remove_drift(self._velocities, self._mass_shares)

    def state(self) -> State:
        return State(
            self._positions.copy(),
            self._velocities.copy(),
            self._box(),
            self._step,
            thermostat=self._chain.copy(),
            barostat=np.empty(0) if self._moves is None else self._moves.as_array(),
        )

    def _box(self) -> np.ndarray:
        return np.zeros((3, 3)) if self._cell is None else self._cell.copy()

    def velocities(self) -> np.ndarray:
        return self._velocities.copy()

    def sample(self) -> Sample:
        self._know_forces()
        kinetic = kinetic_energy(self._job.masses, self._velocities)
        return Sample(
            positions=self._positions.copy(),
            velocities=self._velocities.copy(),
            cell=self._box(),
            potential_energy=self._forces.last.energy,
            kinetic_energy=kinetic,
            temperature=temperature(kinetic, self.degrees_of_freedom),
            force_deviation=self._deviation(),
        )

    def _deviation(self) -> float | None:
        """Force deviation of the committee for this frame, eV/Å; None without a committee."""
        if not isinstance(self._evaluator, CommitteeEvaluator):
            return None
        return self._evaluator.force_deviation(self._positions, self._cell)

    def minimise(self, max_steps: int) -> None:
        from ase.optimize import LBFGS

        atoms = Atoms(self._job.topology.symbols, self._positions, cell=self._cell, pbc=self._job.periodic)
        atoms.calc = EvaluatorCalculator(self._evaluator)
        optimiser = LBFGS(atoms, logfile=None, maxstep=_LONGEST_MOVE)  # type: ignore[arg-type]  # None (no log) is allowed, but ASE's types lack it
        optimiser.run(fmax=_FINE, steps=max_steps)
        self._positions, self._forces.now = atoms.get_positions(), None

    def step(self, steps: int) -> None:
        self._know_forces()
        for _ in range(steps):
            if self._ensemble == "NVE":
                self._verlet()
            elif self._chained:
                self._scale_by_chain()
                self._verlet()
                self._scale_by_chain()
            else:
                self._langevin()
            self._step += 1
            if self._moves_volume and self._step % MONTE_CARLO_STEPS == 0:
                self._try_volume()

    def _know_forces(self) -> None:
        """Evaluate forces at the present positions if a state was restored and no step has been taken yet."""
        if self._forces.now is None:
            self._forces.update(self._positions, self._cell)

    def _verlet(self) -> None:
        """Velocity Verlet; with an inner potential, short steps between two half kicks by the rest of the force."""
        protocol, short = self._job.protocol, self._job.protocol.inner_timestep_fs
        self._kick(self._forces.rest, 0.5 * protocol.timestep_fs)
        for left in reversed(range(protocol.inner_steps)):
            self._kick(self._forces.short, 0.5 * short)
            self._rescale(first=left == protocol.inner_steps - 1)
            self._positions += short * self._velocities
            self._forces.update(self._positions, self._cell, whole=left == 0)
            self._kick(self._forces.short, 0.5 * short)
        self._kick(self._forces.rest, 0.5 * protocol.timestep_fs)
        integrators.remove_drift(self._velocities, self._mass_shares)

    def _langevin(self) -> None:
        """The Langevin "middle" scheme: a whole kick, half a drift, friction and noise, half a drift."""
        protocol, short = self._job.protocol, self._job.protocol.inner_timestep_fs
        kept = math.exp(-FRICTION_PER_PS * short / 1000)
        self._kick(self._forces.rest, protocol.timestep_fs)
        for left in reversed(range(protocol.inner_steps)):
            self._kick(self._forces.short, short)
            self._rescale(first=left == protocol.inner_steps - 1)
            self._positions += 0.5 * short * self._velocities
            integrators.add_noise(self._velocities, self._speeds, kept, self._rng)
            integrators.remove_drift(self._velocities, self._mass_shares)
            self._positions += 0.5 * short * self._velocities
            self._forces.update(self._positions, self._cell, whole=left == 0)

    def _kick(self, forces: np.ndarray | None, time_fs: float) -> None:
        if forces is not None:
            self._velocities += forces * (time_fs * self._per_mass)

    def _scale_by_chain(self) -> None:
        protocol = self._job.protocol
        self._chain, scale = integrators.move_chain(
            self._chain,
            kinetic_energy(self._job.masses, self._velocities),
            self.degrees_of_freedom,
            protocol.temperature_K,
            CHAIN_PERIOD_FS,
            0.5 * protocol.timestep_fs,
        )
        self._velocities *= scale

    def _rescale(self, first: bool) -> None:
        """Rescale the cell, if it is due, by the pressure at the positions of the last force evaluation."""
        if not (first and self._rescales and self._step % self._rescaling_steps == 0):
            return
        now = self._forces.last
        assert self._cell is not None and now.strain_derivative is not None  # an NPT run with a stress
        volume = volume_of(self._cell)
        stretching = self._molecules.stretching_energy(self._positions, now.forces, now.strain_derivative)
        excess = pressure_excess(volume, self._pressure, len(self._molecules), self._thermal_energy, stretching)
        elapsed = self._rescaling_steps * self._job.protocol.timestep_fs / RESCALING_PERIOD_FS
        wanted = rescaled_volume(volume, excess, self._thermal_energy, elapsed, self._rng.standard_normal())
        self._positions, self._cell = self._scaled((wanted / volume) ** (1 / 3))

    def _try_volume(self) -> None:
        """Try a Monte Carlo move of the volume; it is rejected if the potential gives no energy."""
        assert self._cell is not None  # an NPT run
        volume = volume_of(self._cell)
        moves = self._moves or VolumeMoves.first(volume)
        trial, probability = volume + moves.largest * self._rng.uniform(-1, 1), 0.0
        if trial > 0:
            positions, cell = self._scaled((trial / volume) ** (1 / 3))
            with contextlib.suppress(DidNotConverge):
                found = self._forces.evaluate(positions, cell)
                probability = acceptance(
                    found.energy - self._forces.last.energy,
                    volume,
                    trial,
                    self._pressure,
                    len(self._molecules),
                    self._thermal_energy,
                )
        if self._rng.uniform() < probability:
            self._positions, self._cell = positions, cell
            self._forces.keep(found, positions, cell)
        self._moves = moves.after(probability)

    def _scaled(self, factor: float) -> tuple[np.ndarray, np.ndarray]:
        """Positions and cell after scaling the box by ``factor``; molecules keep their shape."""
        assert self._cell is not None
        return self._molecules.scaled(self._positions, factor), self._cell * factor


KIND = EngineKind(
    name="builtin",
    title="ilforge",
    accepts=accepts,
    frames=frames,
    details=details,
    holds_hydrogens=holds_hydrogens,
    honours=honours,
    simulation=Simulation,
    needs="force_evaluator",
    has_choices=True,
    keeps_hydrogen_mass=True,
)

"""OpenMM as engine: for potentials that can be written as an OpenMM system.

NVT and NPT use the Langevin "middle" scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056) with a friction of 1/ps.
It is ergodic even in the smallest box and has no hidden variables: positions, velocities and cell make a complete
checkpoint. The liquid exerts a friction kT/(mD) on an ion of mass m and self-diffusion D, so the thermostat slows its
diffusion by the fraction 1/ps mD/(kT): below 1 % at 423 K if D is below 1.3e-10 m^2/s (TFSI) or 4e-10 (BF4). NPT adds
isotropic
Monte Carlo moves of the volume that shift whole molecules (Aaqvist et al., Chem. Phys. Lett. 2004, 384, 288). NVE is
velocity Verlet in leap-frog form. A potential with extra particles (:mod:`.extra_particles`) also provides the
integrator for them.

The motion of the centre of mass is removed at every step, and its three degrees of freedom are not counted. The
rotation of ions in a vacuum is kept as drawn from the Maxwell-Boltzmann distribution and counts like all other motion.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np
from ase.cell import Cell

from ilforge import devices, programs
from ilforge.dynamics.extra_particles import ExtraParticles
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.motion import Sample, State, kinetic_energy, temperature
from ilforge.dynamics.simulation import Job, record
from ilforge.errors import DidNotConverge, SettingsError
from ilforge.potentials.abilities import FitsOpenMM, HasIntegrator, RunsInOpenMM
from ilforge.potentials.classical.openmm_platform import platform_for_dynamics
from ilforge.potentials.potential import Potential
from ilforge.units import ANGSTROM_PER_NM, KJ_PER_MOL

FRICTION_PER_PS = 1.0
BAROSTAT_STEPS = 25
"""Steps between Monte Carlo moves of the volume."""

_NM_PER_PS = 100.0  # 1 Å/fs
_MINIMISER_TOLERANCE = 10.0  # kJ/mol/nm, root mean square: 0.01 eV/Å


def accepts(potential: Potential, cell: Cell) -> bool:
    """Whether the potential can be written as an OpenMM system for a box of this size."""
    if not isinstance(potential, RunsInOpenMM):
        return False
    return not isinstance(potential, FitsOpenMM) or bool(potential.fits_openmm(cell.array))


def frames(job: Job, state: bytes | None, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    """Frames after the first ``done`` frames, and states from which the run can continue."""
    resume = None if state is None else State.from_bytes(state)
    for sample, now in record(Simulation, job, resume):
        yield sample, (None if now is None else now.to_bytes())


def details(job: Job) -> dict[str, Any]:
    """Entries of ``run.json`` about the engine."""
    import openmm

    how: dict[str, Any] = {"name": "openmm", "version": openmm.version.full_version}
    # on a GPU the precision depends on the system, which may take long to build
    on_cpu = devices.resolved("openmm") == devices.CPU
    how["platform"] = "CPU" if on_cpu else platform_for_dynamics(_system(job), job.threads)[0]
    if job.protocol.ensemble != "NVE":
        own = getattr(job.potential, "openmm_thermostat", None)
        how["thermostat"] = own or f"Langevin middle, {FRICTION_PER_PS:g}/ps"
    if job.protocol.ensemble == "NPT":
        how["barostat"] = f"Monte Carlo, isotropic, molecules whole, every {BAROSTAT_STEPS} steps"
    how["bonds_to_H"] = "held" if holds_hydrogens(job) else "free"
    return how


def holds_hydrogens(job: Job) -> bool:
    """Whether bonds to H are constrained in this run: if the protocol wants it and the potential has bonds."""
    return job.protocol.hydrogens_held and _system(job).getNumConstraints() > 0


def honours(job: Job, option: str, value: Any) -> bool:
    """Whether the engine can run an option of the protocol: its own thermostat and barostat, and any masses."""
    own = isinstance(job.potential, HasIntegrator)
    return option == "hydrogen_mass_amu" or value == "monte-carlo" or (value == "langevin" and not own)


class Simulation:
    """Atoms moved by OpenMM on the CPU or a GPU, in mixed precision and with forces that do not depend on threads."""

    def __init__(self, job: Job, ensemble: str):
        self._job, self._ensemble = job, ensemble
        self._system = system_for(job, ensemble)
        self.extra_particles = ExtraParticles(job.potential, job.topology, self._system)
        n_constraints = self._system.getNumConstraints()
        self.degrees_of_freedom = 3 * job.topology.n_atoms - n_constraints - 3
        self._context: Any = None
        self._step, self._substeps = 0, 1

    def restore(self, state: State) -> None:
        import openmm

        seeds = self._job.random_seed(state.step).generate_state(2) % (2**31 - 1) + 1  # OpenMM takes 0 as a random seed
        for force in self._system.getForces():
            if isinstance(force, openmm.MonteCarloBarostat):
                force.setRandomNumberSeed(int(seeds[1]))
        name, properties = platform_for_dynamics(self._system, self._job.threads)
        platform = openmm.Platform.getPlatformByName(name)
        integrator = integrator_for(self._job, self._ensemble, self._system, int(seeds[0]))
        self._substeps = substeps_of(integrator, self._job)
        self._context = openmm.Context(self._system, integrator, platform, properties)
        if self._job.periodic:
            self._context.setPeriodicBoxVectors(*(state.cell / ANGSTROM_PER_NM))
        self._context.setPositions(self.extra_particles.positions(state) / ANGSTROM_PER_NM)
        held = bool(self._system.getNumConstraints())
        if held:
            self._context.applyConstraints(1e-6)
        self.extra_particles.settle(self._context, state)
        self._context.setVelocities(self.extra_particles.velocities(state) * _NM_PER_PS)
        if held:
            self._context.applyVelocityConstraints(1e-6)
        self._step = state.step

    def state(self) -> State:
        now = self._context.getState(positions=True, velocities=True)
        positions, rider_positions = self.extra_particles.split(_positions(now))
        velocities, rider_velocities = self.extra_particles.split(_velocities(now))
        return State(
            positions,
            velocities,
            self._cell(now),
            self._step,
            rider_positions=rider_positions,
            rider_velocities=rider_velocities,
        )

    def _cell(self, state: Any) -> np.ndarray:
        from openmm import unit

        if not self._job.periodic:
            return np.zeros((3, 3))
        return np.asarray(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)) * ANGSTROM_PER_NM

    def minimise(self, max_steps: int) -> None:
        import openmm

        with _translate_error(self._job):
            openmm.LocalEnergyMinimizer.minimize(self._context, _MINIMISER_TOLERANCE, max_steps)

    def step(self, steps: int) -> None:
        with _translate_error(self._job):
            self._context.getIntegrator().step(steps * self._substeps)
        self._step += steps

    def velocities(self) -> np.ndarray:
        return self.extra_particles.together(_velocities(self._context.getState(velocities=True)))

    def sample(self) -> Sample:
        from openmm import unit

        now = self._context.getState(positions=True, velocities=True, energy=True)
        moving = _velocities(now)
        velocities = self.extra_particles.together(moving)
        kinetic = now.getKineticEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL
        if len(self.extra_particles):
            kinetic = kinetic_energy(self._job.masses, velocities)
        return Sample(
            positions=self.extra_particles.split(_positions(now))[0],
            velocities=velocities,
            cell=self._cell(now),
            potential_energy=now.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) * KJ_PER_MOL,
            kinetic_energy=kinetic,
            temperature=temperature(kinetic, self.degrees_of_freedom),
            drude_temperature=self.extra_particles.temperature(moving) if len(self.extra_particles) else None,
        )


def integrator_for(job: Job, ensemble: str, system: Any, seed: int) -> Any:
    """The ``openmm.Integrator`` of a system in an ensemble; the potential's own one if it has one.

    The time step of the protocol may be a whole multiple of the integrator's.
    """
    import openmm

    protocol = job.protocol
    kelvin = None if ensemble == "NVE" else protocol.temperature_K
    own = getattr(job.potential, "openmm_integrator", None)
    if own is not None:
        integrator = own(system, kelvin, protocol.timestep_fs, seed)
    elif kelvin is None:
        integrator = openmm.VerletIntegrator(protocol.timestep_fs / 1000)
    else:
        integrator = openmm.LangevinMiddleIntegrator(kelvin, FRICTION_PER_PS, protocol.timestep_fs / 1000)
        integrator.setRandomNumberSeed(seed)
    integrator.setConstraintTolerance(1e-6)
    return integrator


def substeps_of(integrator: Any, job: Job) -> int:
    """Number of integrator steps in one time step of the protocol."""
    from openmm import unit

    step_fs: float = integrator.getStepSize().value_in_unit(unit.femtosecond)
    return round(job.protocol.timestep_fs / step_fs)


def system_for(job: Job, ensemble: str) -> Any:
    """The potential as an ``openmm.System`` for an ensemble: with removal of drift and, for NPT, a barostat."""
    system = _system(job)
    _complete(system, job, ensemble)
    return system


def _system(job: Job) -> Any:
    """The potential as a system; bonds to H are constrained if the protocol asks for it or, by default, if possible.

    Atoms have the masses of the job, minus the mass of their Drude particle.
    """
    programs.require("openmm")
    from openmm import unit

    potential = cast(RunsInOpenMM, job.potential)  # the engine accepted it
    build = partial(potential.openmm_system, job.topology, job.cell if job.periodic else None, threads=job.threads)
    system = None
    if job.protocol.hydrogens_held:
        try:
            system = build(constrain_hydrogens=True)
        except SettingsError:
            if job.protocol.constrain_hydrogens:
                raise
    system = system or build(constrain_hydrogens=False)
    for atom in np.flatnonzero(job.masses != job.topology.masses).tolist():
        gain = job.masses[atom] - job.topology.masses[atom]
        system.setParticleMass(atom, system.getParticleMass(atom) + gain * unit.dalton)
    return system


def _complete(system: Any, job: Job, ensemble: str) -> None:
    """Add removal of drift and, for NPT, a barostat that moves whole molecules."""
    import openmm

    if not any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces()):
        system.addForce(openmm.CMMotionRemover(1))
    if ensemble != "NPT":
        return
    # without bonds, OpenMM would take every atom for a molecule, and a volume move would stretch all bonds
    declared = openmm.HarmonicBondForce()
    for i, j in job.topology.bonds.tolist():
        declared.addBond(i, j, 0.0, 0.0)
    declared.setUsesPeriodicBoundaryConditions(True)
    system.addForce(declared)
    protocol = job.protocol
    system.addForce(openmm.MonteCarloBarostat(protocol.pressure_bar, protocol.temperature_K, BAROSTAT_STEPS))


class _translate_error:
    """Translate errors of OpenMM into errors that users can act on: too small boxes, diverging induced dipoles."""

    def __init__(self, job: Job):
        self._job = job

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if "induced dipoles" in str(error):  # OpenMM keeps the message of a Python error, but not its class
            raise DidNotConverge(str(error)) from error
        if error is None or "box size" not in str(error):
            return
        side = float(np.diag(self._job.cell).min())
        raise SettingsError(
            f"The box, {side:.2f} Å wide at the start, became smaller than twice the cutoff of the "
            f"{self._job.potential.kind} potential ({error}). Use more ions, or a smaller cutoff."
        ) from error


def _positions(state: Any) -> np.ndarray:
    from openmm import unit

    return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)) * ANGSTROM_PER_NM


def _velocities(state: Any) -> np.ndarray:
    from openmm import unit

    nm_per_ps = unit.nanometer / unit.picosecond
    return np.asarray(state.getVelocities(asNumpy=True).value_in_unit(nm_per_ps)) / _NM_PER_PS


KIND = EngineKind(
    name="openmm",
    title="OpenMM",
    accepts=accepts,
    frames=frames,
    details=details,
    holds_hydrogens=holds_hydrogens,
    honours=honours,
    simulation=Simulation,
    needs="openmm_system",
    keeps_hydrogen_mass=True,
)

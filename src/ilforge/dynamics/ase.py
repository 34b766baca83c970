"""ASE as engine: for any potential, because every potential has an ASE calculator.

NVT and NPT use Langevin dynamics in the BAOAB scheme (Leimkuhler, Matthews, J. Chem. Phys. 2013, 138, 174102) with
a friction of 1/ps, the same as the OpenMM engine; NPT moves the volume by the isotropic Langevin piston of Quigley and
Probert (J. Chem. Phys. 2004, 120, 11432) with a time constant of 0.5 ps, and needs a stress. NVE is velocity Verlet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.cell import Cell

from ilforge.arrays import Floats
from ilforge.dynamics.kind import EngineKind
from ilforge.dynamics.motion import Sample, State, temperature
from ilforge.dynamics.simulation import Job, record
from ilforge.errors import SettingsError
from ilforge.potentials.potential import Potential
from ilforge.units import ASE_TIME_IN_FS, KB

FRICTION_PER_PS = 1.0
BAROSTAT_PS = 0.5

_FINE = 0.05  # eV/Å, largest force at which minimisation ends
_LONGEST_MOVE = 0.1  # Å, of one minimisation step


def accepts(potential: Potential, cell: Cell) -> bool:
    """Every potential has a calculator."""
    return hasattr(potential, "calculator")


def frames(job: Job, state: bytes | None, done: int) -> Iterator[tuple[Sample | None, bytes | None]]:
    """Frames after the first ``done`` frames, and states from which the run can continue."""
    resume = None if state is None else State.from_bytes(state)
    for sample, now in record(Simulation, job, resume):
        yield sample, (None if now is None else now.to_bytes())


def details(job: Job) -> dict[str, Any]:
    """Entries of ``run.json`` about the engine."""
    import ase

    how: dict[str, Any] = {"name": "ase", "version": ase.__version__}
    if job.protocol.ensemble != "NVE":
        how["thermostat"] = f"Langevin BAOAB, {FRICTION_PER_PS:g}/ps"
    if job.protocol.ensemble == "NPT":
        how["barostat"] = f"Langevin piston, isotropic, {BAROSTAT_PS:g} ps"
    how["bonds_to_H"] = "free"
    return how


def holds_hydrogens(job: Job) -> bool:
    """Whether bonds to H are constrained in this run: never."""
    return False


def honours(job: Job, option: str, value: Any) -> bool:
    """Whether the engine can run an option of the protocol: its own thermostat, and any masses."""
    return option == "hydrogen_mass_amu" or value == "langevin"


class Simulation:
    """Atoms moved by ASE with the potential's calculator."""

    def __init__(self, job: Job, ensemble: str):
        if job.protocol.constrain_hydrogens:
            raise SettingsError(
                f"constrain_hydrogens: with {job.potential.kind} only the OpenMM engine can constrain bonds to H, "
                "and this run uses the ASE engine. Leave it out, and use a time step of at most 1 fs."
            )
        if ensemble == "NPT" and not job.potential.has_stress:
            raise SettingsError(f"ensemble = NPT needs a stress, which {job.potential.kind} does not give: use NVT.")
        self._job, self._ensemble = job, ensemble
        # a Langevin thermostat does not conserve the total momentum
        conserved = 3 if ensemble == "NVE" else 0
        self.degrees_of_freedom = 3 * job.topology.n_atoms - conserved
        self._atoms: Atoms
        self._dynamics: Any
        self._step = 0

    def restore(self, state: State) -> None:
        self._atoms = Atoms(
            self._job.topology.symbols, positions=state.positions, cell=state.cell, pbc=self._job.periodic
        )
        self._atoms.set_masses(self._job.masses)
        self._atoms.set_velocities(self._moving(state.velocities) * ASE_TIME_IN_FS)
        # a new calculator: an old one could start from its last wavefunction, and the run would depend on its history
        self._atoms.calc = self._job.potential.calculator(self._job.topology, self._job.threads)
        self._dynamics = None
        self._barostat_momentum, self._step = state.barostat_momentum, state.step

    def _moving(self, velocities: Floats) -> Floats:
        """Velocities; for NVE without the motion of the centre of mass that a thermostat before may have left."""
        if self._ensemble != "NVE":
            return velocities
        masses = self._job.masses
        found: Floats = velocities - masses @ velocities / masses.sum()
        return found

    def _integrator(self) -> Any:
        from ase.md.langevinbaoab import LangevinBAOAB
        from ase.md.verlet import VelocityVerlet

        protocol = self._job.protocol
        timestep = protocol.timestep_fs * units.fs
        if self._ensemble == "NVE":
            return VelocityVerlet(self._atoms, timestep)
        piston: dict[str, Any] = {}
        if self._ensemble == "NPT":
            tau = BAROSTAT_PS * 1000 * units.fs
            piston = {
                "externalstress": -protocol.pressure_bar * units.bar,
                "hydrostatic": True,
                "P_tau": tau,
                "P_mass": (3 * len(self._atoms) + 3) * KB * protocol.temperature_K * tau**2,
            }
        dynamics = LangevinBAOAB(
            self._atoms,
            timestep,
            temperature_K=protocol.temperature_K,
            T_tau=1000 * units.fs / FRICTION_PER_PS,
            rng=np.random.default_rng(self._job.random_seed(self._step)),
            **piston,
        )
        if self._ensemble == "NPT":
            dynamics.p_eps = self._barostat_momentum
        return dynamics

    def state(self) -> State:
        momentum = getattr(self._dynamics, "p_eps", self._barostat_momentum)
        return State(
            self._atoms.get_positions(),
            self.velocities(),
            self._atoms.cell.array.copy(),
            self._step,
            float(momentum),
        )

    def minimise(self, max_steps: int) -> None:
        from ase.optimize import LBFGS

        optimiser = LBFGS(self._atoms, logfile=None, maxstep=_LONGEST_MOVE)  # type: ignore[arg-type]  # None (no log) is allowed, but ASE's types lack it
        optimiser.run(fmax=_FINE, steps=max_steps)

    def step(self, steps: int) -> None:
        if self._dynamics is None:
            self._dynamics = self._integrator()
        self._dynamics.run(steps)
        self._step += steps

    def velocities(self) -> Floats:
        found: Floats = self._atoms.get_velocities() / ASE_TIME_IN_FS
        return found

    def sample(self) -> Sample:
        kinetic = float(self._atoms.get_kinetic_energy())
        return Sample(
            positions=self._atoms.get_positions(),
            velocities=self.velocities(),
            cell=self._atoms.cell.array.copy(),
            potential_energy=float(self._atoms.get_potential_energy()),
            kinetic_energy=kinetic,
            temperature=temperature(kinetic, self.degrees_of_freedom),
            force_deviation=self._atoms.calc.results.get("force_deviation"),
        )


KIND = EngineKind(
    name="ase",
    title="ASE",
    accepts=accepts,
    frames=frames,
    details=details,
    holds_hydrogens=holds_hydrogens,
    honours=honours,
    simulation=Simulation,
    keeps_hydrogen_mass=True,
)

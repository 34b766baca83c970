"""Motion: the state of moving atoms, their temperature, and the check that both are still physical."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ilforge.arrays import Floats
from ilforge.errors import Unphysical
from ilforge.liquid.topology import Topology
from ilforge.units import AMU_PER_A3_IN_G_CM3, ASE_TIME_IN_FS, KB

HOTTEST = 5.0
"""A run ends when its temperature exceeds the set temperature by this factor."""

SMALLEST, LARGEST = 0.5, 2.0
"""A run ends when its volume is less than the first or more than the second multiple of its initial volume."""

_NAMED_ATOMS = 3


def _none() -> np.ndarray:
    return np.empty((0, 3))


def _unset() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class State:
    """Everything needed to continue a run; the contents of a checkpoint.

    Attributes
    ----------
    positions, velocities
        ``(n_atoms, 3)``, Å (not wrapped into the cell) and Å/fs.
    cell
        ``(3, 3)`` Å; zeros in a vacuum.
    step
        Steps since the recorded run began; later random numbers depend on the seed and this step.
    barostat_momentum
        Momentum of the barostat, if it has one, in the engine's own unit.
    rider_positions, rider_velocities
        Positions and velocities of extra particles such as Drude particles, ``(n, 3)``, Å and Å/fs; without rows if
        there are no such particles, or if the engine must place them.
    thermostat, barostat
        Dynamic or adapted variables of the thermostat and the barostat, in the engine's own order and units; empty if
        there are none, or at the start.
    """

    positions: np.ndarray
    velocities: np.ndarray
    cell: np.ndarray
    step: int = 0
    barostat_momentum: float = 0.0
    rider_positions: np.ndarray = field(default_factory=_none)
    rider_velocities: np.ndarray = field(default_factory=_none)
    thermostat: np.ndarray = field(default_factory=_unset)
    barostat: np.ndarray = field(default_factory=_unset)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, **vars(self))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            keys = ("positions", "velocities", "cell", "rider_positions", "rider_velocities")
            arrays = {key: stored[key] for key in keys}
            # checkpoints of earlier versions do not have these arrays
            arrays |= {key: stored[key] for key in ("thermostat", "barostat") if key in stored}
            return cls(**arrays, step=int(stored["step"]), barostat_momentum=float(stored["barostat_momentum"]))


@dataclass(frozen=True)
class Sample:
    """One recorded frame.

    Attributes
    ----------
    positions, velocities
        ``(n_atoms, 3)``, Å (whole molecules, not wrapped into the cell) and Å/fs.
    cell
        ``(3, 3)`` Å; zeros in a vacuum.
    potential_energy, kinetic_energy
        eV.
    temperature
        K, from the kinetic energy and the degrees of freedom that the engine's thermostat acts on.
    force_deviation
        Largest deviation of forces within a committee, eV/Å, if the engine gives it.
    drude_temperature
        Temperature of the motion of Drude particles relative to their atoms, K, if there are any.
    """

    positions: np.ndarray
    velocities: np.ndarray
    cell: np.ndarray
    potential_energy: float
    kinetic_energy: float
    temperature: float
    force_deviation: float | None = None
    drude_temperature: float | None = None

    @property
    def volume(self) -> float:
        """Volume, Å^3; NaN in a vacuum."""
        return volume_of(self.cell)


class Exploded(Unphysical):
    """The motion became unphysical; contains when this happened and which atoms moved fastest.

    Attributes
    ----------
    time_ps
        Time since the recorded run began, ps; None during equilibration.
    atoms
        The fastest atoms, in words.
    broken
        Positions, velocities and cell of the unphysical frame or, if they are not finite, of the last finite frame
        before; None if the engine does not have them.
    cause
        One word for the cause, from whoever watched the run; None if the engine ended it.
    """

    def __init__(
        self,
        what: str,
        time_ps: float | None,
        atoms: tuple[str, ...] = (),
        broken: State | None = None,
        cause: str | None = None,
    ):
        self.what, self.time_ps, self.atoms, self.broken, self.cause = what, time_ps, atoms, broken, cause
        when = "During equilibration" if time_ps is None else f"At {time_ps:.4g} ps"
        which = f" Fastest atoms: {', '.join(atoms)}." if atoms else ""
        super().__init__(f"{when}: {what}.{which}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.time_ps, self.atoms, self.broken, self.cause)

    def at(self, *states: State) -> Exploded:
        """The same error, with the first of these states that has finite positions (if any) as its frame."""
        finite = [state for state in states if np.isfinite(state.positions).all()]
        return type(self)(self.what, self.time_ps, self.atoms, finite[0] if finite else None)


def maxwell_boltzmann(masses: Floats, temperature_K: float, rng: np.random.Generator) -> Floats:
    """Velocities of exactly this temperature without drift, ``(n_atoms, 3)`` Å/fs.

    Each component is normal with variance kT/m. Then the motion of the centre of mass is removed, and velocities are
    scaled to the temperature with 3N - 3 degrees of freedom. ``masses`` are in amu.
    """
    velocities = rng.normal(size=(len(masses), 3)) / np.sqrt(masses)[:, None]
    velocities -= masses @ velocities / masses.sum()
    wanted = 0.5 * max(1, 3 * len(masses) - 3) * KB * temperature_K
    found: Floats = velocities * np.sqrt(wanted / max(kinetic_energy(masses, velocities), 1e-300))
    return found


def kinetic_energy(masses: Floats, velocities: Floats) -> float:
    """Sum of m v^2 / 2 in eV, from amu and Å/fs."""
    return float(0.5 * np.sum(masses[:, None] * velocities**2)) * ASE_TIME_IN_FS**2


def temperature(kinetic_energy: float, degrees_of_freedom: int) -> float:
    """T = 2 E_kin / (f k) in K, from eV."""
    return 2 * kinetic_energy / (max(1, degrees_of_freedom) * KB)


def fastest_atoms(velocities: np.ndarray, topology: Topology, masses: np.ndarray | None = None) -> tuple[str, ...]:
    """The atoms with the most kinetic energy, in words; atoms without a finite velocity come first.

    ``masses``, ``(n_atoms,)`` amu, are the masses used in the run; by default the natural ones.
    """
    energies = (topology.masses if masses is None else masses) * np.sum(velocities**2, axis=1)
    order = np.argsort(np.where(np.isfinite(energies), -energies, -np.inf), kind="stable")
    return tuple(topology.describe(int(atom)) for atom in order[:_NAMED_ATOMS])


def check_motion(
    velocities: np.ndarray,
    degrees_of_freedom: int,
    topology: Topology,
    set_temperature_K: float,
    time_ps: float | None,
    masses: np.ndarray | None = None,
) -> None:
    """Raise :class:`Exploded` if velocities are not finite or the temperature is far too high.

    ``masses``, ``(n_atoms,)`` amu, are the masses used in the run; by default the natural ones.
    """
    masses = topology.masses if masses is None else masses
    now = temperature(kinetic_energy(masses, velocities), degrees_of_freedom)
    if now <= HOTTEST * set_temperature_K:  # False for NaN, too
        return
    found = f"the temperature is {now:.3g} K" if np.isfinite(now) else "velocities are no longer finite"
    raise Exploded(f"{found}, {set_temperature_K:g} K was set", time_ps, fastest_atoms(velocities, topology, masses))


def volume_of(cell: np.ndarray) -> float:
    """Volume of a cell ``(3, 3)`` Å, Å^3; NaN in a vacuum, where the cell is zeros."""
    return float(abs(np.linalg.det(cell))) if np.any(cell) else float("nan")


def density(mass_amu: float, volume: float) -> float:
    """Mass density in g/cm^3, from amu and Å^3."""
    return mass_amu * AMU_PER_A3_IN_G_CM3 / volume


def burst(volume: float, start_volume: float, mass_amu: float | None = None) -> str | None:
    """The fault of a volume compared with the initial one, Å^3, in words; None if there is none.

    If the mass of the box is given, the message also contains the densities.
    """
    if SMALLEST * start_volume <= volume <= LARGEST * start_volume:
        return None
    if not np.isfinite(volume):
        return "the volume is no longer finite"
    how, fell = ("grew", "fell") if volume > start_volume else ("shrank", "rose")
    changed = ""
    if mass_amu is not None:
        start, reached = density(mass_amu, start_volume), density(mass_amu, volume)
        changed = f"the density {fell} from {start:.2f} to {reached:.2f} g/cm3: "
    return (
        f"{changed}the box {how} from {start_volume:.0f} to {volume:.0f} Å^3, beyond {SMALLEST:g} to {LARGEST:g} times "
        "its volume at the start. Start from an equilibrated box, or minimise a packed one and heat it at constant "
        "volume before NPT. If the box was equilibrated, the potential does not hold the liquid"
    )

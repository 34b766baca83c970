"""One description of an MD run, whatever the engine and the potential."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from ilforge.errors import SettingsError

CONSTRAIN_ABOVE_FS = 1.0
"""Time step from which bonds to H cannot be left to vibrate (period of 11 fs), fs."""


class Stage(NamedTuple):
    """A part of a run with one ensemble."""

    ensemble: str
    steps: int


@dataclass(frozen=True)
class MdProtocol:
    """Ensemble, state and times of a run.

    Attributes
    ----------
    temperature_K, pressure_bar
        Set temperature (start temperature for NVE) and, for NPT, pressure.
    timestep_fs
        Time step, fs.
    equilibration_ps, length_ps
        Unrecorded start and recorded length, ps. The unrecorded start of an NVE run is NVT.
    constant_volume_ps
        Unrecorded time at constant volume before that, ps: a packed box that is minimised, brought to its temperature
        like this and only then given to the barostat does not blow up.
    interval_ps
        Time between recorded frames, ps.
    seed
        Seed of velocities, thermostat and barostat.
    minimise_steps
        Steps of energy minimisation before anything moves; a run that starts from a liquid structure needs none.
    start_temperature_K
        Temperature that the first velocities are drawn at. Without it the set one, or twice that after minimisation,
        because half of the kinetic energy then goes into vibrations within a few hundred fs.
    constrain_hydrogens
        Hold the lengths of bonds to H. Without it they are held when the time step exceeds 1 fs and the engine
        and the potential can.
    pressure_interval_ps
        Time between records of the pressure tensor, for the viscosity; a whole fraction of ``interval_ps``. Without
        it none is recorded. GROMACS alone can.
    checkpoint_steps
        Steps between the points from which a killed run goes on, rounded up to whole frames.
    """

    ensemble: Literal["NVE", "NVT", "NPT"]
    temperature_K: float
    timestep_fs: float
    length_ps: float
    interval_ps: float
    seed: int
    pressure_bar: float = 1.01325
    equilibration_ps: float = 0.0
    constant_volume_ps: float = 0.0
    minimise_steps: int = 0
    start_temperature_K: float | None = None
    constrain_hydrogens: bool | None = None
    checkpoint_steps: int = 5000
    pressure_interval_ps: float | None = None

    def __post_init__(self) -> None:
        if self.pressure_steps and self.interval_steps % self.pressure_steps:
            raise SettingsError(
                f"pressure_interval_ps is {self.pressure_interval_ps:g} and interval_ps {self.interval_ps:g}: the "
                "second must be a whole multiple of the first."
            )

    def as_dict(self) -> dict[str, Any]:
        """What determines the run; later settings are absent where unused, so that earlier runs keep their names."""
        values = asdict(self)
        if self.pressure_interval_ps is None:
            del values["pressure_interval_ps"]
        return values

    @property
    def pressure_steps(self) -> int | None:
        """Steps between records of the pressure tensor, or None."""
        if self.pressure_interval_ps is None:
            return None
        return max(1, round(self.pressure_interval_ps * 1000 / self.timestep_fs))

    @property
    def interval_steps(self) -> int:
        """Steps between recorded frames."""
        return max(1, round(self.interval_ps * 1000 / self.timestep_fs))

    @property
    def frame_interval_ps(self) -> float:
        """Time between recorded frames as it is run, a whole number of steps, ps."""
        return self.interval_steps * self.timestep_fs / 1000

    @property
    def n_frames(self) -> int:
        """Recorded frames, the start not counted."""
        return max(1, round(self.length_ps / self.interval_ps))

    @property
    def unrecorded(self) -> tuple[Stage, ...]:
        """What comes before the recorded run, in order; an NVE run is brought to its temperature first."""
        then = "NVT" if self.ensemble == "NVE" else self.ensemble
        parts = (("NVT", self.constant_volume_ps), (then, self.equilibration_ps))
        stages = (Stage(ensemble, round(time_ps * 1000 / self.timestep_fs)) for ensemble, time_ps in parts)
        return tuple(stage for stage in stages if stage.steps)

    @property
    def unrecorded_steps(self) -> int:
        """Steps of all of :attr:`unrecorded`."""
        return sum(stage.steps for stage in self.unrecorded)

    @property
    def checkpoint_frames(self) -> int:
        """Frames between checkpoints."""
        return max(1, math.ceil(self.checkpoint_steps / self.interval_steps))

    @property
    def first_temperature_K(self) -> float:
        """Temperature that the first velocities are drawn at, K."""
        if self.start_temperature_K is not None:
            return self.start_temperature_K
        return self.temperature_K * (2 if self.minimise_steps else 1)

    @property
    def hydrogens_held(self) -> bool:
        """Whether bonds to H are to be held."""
        if self.constrain_hydrogens is None:
            return self.timestep_fs > CONSTRAIN_ABOVE_FS
        return self.constrain_hydrogens

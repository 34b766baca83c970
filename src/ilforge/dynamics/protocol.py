"""One description of an MD run, whatever the engine and the potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
        Unrecorded start and recorded length, ps.
    interval_ps
        Time between recorded frames, ps.
    seed
        Seed of velocities, thermostat and barostat.
    """

    ensemble: Literal["NVE", "NVT", "NPT"]
    temperature_K: float
    timestep_fs: float
    length_ps: float
    interval_ps: float
    seed: int
    pressure_bar: float = 1.01325
    equilibration_ps: float = 0.0

    @property
    def interval_steps(self) -> int:
        """Steps between recorded frames."""
        return max(1, round(self.interval_ps * 1000 / self.timestep_fs))

    @property
    def n_frames(self) -> int:
        """Recorded frames, the start not counted."""
        return max(1, round(self.length_ps / self.interval_ps))

    @property
    def equilibration_steps(self) -> int:
        return round(self.equilibration_ps * 1000 / self.timestep_fs)

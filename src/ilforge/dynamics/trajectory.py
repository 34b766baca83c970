"""A trajectory: a directory with what every engine writes in the same form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Trajectory:
    """A finished run on disk.

    ==================  ==========================================================================
    ``topology.pdb``    first frame with bonds, for viewers and MDAnalysis
    ``trajectory.dcd``  recorded frames, unwrapped, Å
    ``thermo.csv``      one line a frame: time_ps, potential_energy_eV, temperature_K, volume_A3
    ``run.json``        protocol, engine and version, potential, ions in order, time step of frames
    ``last.xyz``        last frame with full precision (extended XYZ), to go on from
    ==================  ==========================================================================
    """

    directory: Path

    @property
    def topology_file(self) -> Path:
        return self.directory / "topology.pdb"

    @property
    def trajectory_file(self) -> Path:
        return self.directory / "trajectory.dcd"

    @property
    def thermo_file(self) -> Path:
        return self.directory / "thermo.csv"

    @property
    def run_file(self) -> Path:
        return self.directory / "run.json"

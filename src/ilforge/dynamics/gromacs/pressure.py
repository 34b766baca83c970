"""The pressure tensor of a GROMACS run, recorded in ``pressure.csv`` more often than frames."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ilforge.dynamics.simulation import Job
from ilforge.dynamics.trajectory import PRESSURE_COLUMNS, Trajectory

PRESSURE_TERMS = ("Pres-XX", "Pres-YY", "Pres-ZZ", "Pres-XY", "Pres-XZ", "Pres-YZ")
"""Components as ``gmx energy`` names them, bar, in the order of the columns."""


def begin(job: Job, last_step: int) -> None:
    """Start the table of a run, or cut off lines that a killed run wrote after its last checkpoint."""
    if job.protocol.pressure_interval_ps is None:
        return
    path = Trajectory(job.folder).pressure_file
    lines = [",".join(PRESSURE_COLUMNS)]
    if last_step and path.is_file():
        last = (last_step + 0.5) * job.protocol.timestep_fs / 1000
        lines += [line for line in path.read_text().splitlines()[1:] if _whole(line) and _time(line) < last]
    path.write_text("\n".join(lines) + "\n")


def append(job: Job, energies: Mapping[str, np.ndarray], first: int, end: float) -> None:
    """Add the samples between two steps, the first and ``end`` excluded."""
    every = job.protocol.pressure_steps
    if every is None or "time" not in energies:
        return
    steps = np.rint(energies["time"] * 1000 / job.protocol.timestep_fs).astype(int)
    wanted = np.flatnonzero((steps > first) & (steps < end) & (steps % every == 0))
    columns = [steps * job.protocol.timestep_fs / 1000, *(energies[term] for term in PRESSURE_TERMS)]
    with open(Trajectory(job.folder).pressure_file, "a") as file:
        file.writelines(",".join(f"{column[row]:.10g}" for column in columns) + "\n" for row in wanted)


def _whole(line: str) -> bool:
    return line.count(",") == len(PRESSURE_COLUMNS) - 1


def _time(line: str) -> float:
    return float(line.partition(",")[0])

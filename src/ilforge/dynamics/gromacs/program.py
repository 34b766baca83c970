"""GROMACS's program ``gmx``: how it is started, on how many threads, and on which device."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

from ilforge import devices, programs
from ilforge.devices import Device
from ilforge.dynamics.simulation import Job

_NEVER_MIN = "1000000"  # minutes between GROMACS's own checkpoints: those at the end of segments are enough


def mdrun(job: Job, directory: Path, *arguments: str, dynamics: bool = True) -> None:
    """Run ``run.tpr`` of a directory there; ``dynamics`` is false for a minimisation.

    Raises
    ------
    SettingsError
        When a GPU was chosen that GROMACS is not built for.
    DidNotFinish
        When GROMACS ends with an error; quotes it.
    """
    gmx(
        directory, "mdrun", "-s", "run.tpr", "-deffnm", "out", "-c", "out.g96", "-noappend", "-cpo", "out.cpt",
        "-cpt", _NEVER_MIN, "-ntmpi", "1", "-ntomp", str(job.threads), "-pin", "off", "-reprod", "-notunepme",
        *offload(devices.resolved("gromacs"), job.periodic, dynamics), *arguments,
        threads=job.threads,
    )  # fmt: skip


def offload(device: Device, periodic: bool, dynamics: bool) -> list[str]:
    """Options of ``mdrun`` that say what is computed on the processor and what on a GPU.

    Without them a GROMACS that is built for GPUs takes one that it finds. On a GPU go pairs and the mesh; the mesh
    stays on the processor in a minimisation, for which GROMACS has none on a GPU, and ions in a vacuum do as a whole.
    """
    if not (device.is_gpu and periodic):
        return ["-nb", "cpu"]
    which = [] if device.index is None else ["-gpu_id", str(device.index)]
    return ["-nb", "gpu", "-pme", "gpu" if dynamics else "cpu", *which]


def gmx(work: Path, tool: str, *arguments: str, program: str = "gmx", threads: int = 1, **how: Any) -> None:
    """Run one of GROMACS's tools in a folder; what it says is in ``TOOL.out`` there."""
    command = [program, "-nobackup", "-quiet", tool, *arguments]
    programs.run(command, work, log=f"{tool}.out", threads=threads, **how)


@functools.cache
def version() -> str:
    """GROMACS's version as it says it itself."""
    with tempfile.TemporaryDirectory(prefix="ilforge-gmx-") as folder:
        programs.run(["gmx", "--version"], Path(folder), log="version")
        said = (Path(folder) / "version").read_text(errors="replace")
    found = re.search(r"^GROMACS version:\s*(\S+)", said, re.MULTILINE)
    return found[1] if found else "unknown"

"""Start GROMACS's program ``gmx``, with its number of threads and its device."""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

from ilforge import devices, programs
from ilforge.devices import Device
from ilforge.dynamics.simulation import Job

_NEVER_MIN = "1000000"  # minutes between GROMACS's own checkpoints: the checkpoint at the end of each segment is enough


def mdrun(job: Job, directory: Path, *arguments: str, dynamics: bool = True) -> None:
    """Run the ``run.tpr`` of a directory, in this directory; ``dynamics`` is false for a minimisation.

    Raises
    ------
    SettingsError
        When a GPU was chosen, but GROMACS was built without support for it.
    DidNotFinish
        When GROMACS ends with an error; the message quotes it.
    """
    gmx(
        directory, "mdrun", "-s", "run.tpr", "-deffnm", "out", "-c", "out.g96", "-noappend", "-cpo", "out.cpt",
        "-cpt", _NEVER_MIN, "-ntmpi", "1", "-ntomp", str(job.threads), "-pin", "off", "-reprod", "-notunepme",
        *offload(devices.resolved("gromacs"), job.periodic, dynamics), *arguments,
        threads=job.threads,
    )  # fmt: skip


def offload(device: Device, periodic: bool, dynamics: bool) -> list[str]:
    """Options of ``mdrun`` that assign work to the processor or a GPU.

    Without them, a GROMACS with GPU support uses any GPU that it finds. Pairs and the mesh run on the GPU, with two
    exceptions: in a minimisation the mesh runs on the processor, because GROMACS has no GPU version for it, and ions
    in a vacuum run on the processor entirely.
    """
    if not (device.is_gpu and periodic):
        return ["-nb", "cpu"]
    which = [] if device.index is None else ["-gpu_id", str(device.index)]
    return ["-nb", "gpu", "-pme", "gpu" if dynamics else "cpu", *which]


def gmx(work: Path, tool: str, *arguments: str, program: str = "gmx", threads: int = 1, **how: Any) -> None:
    """Run one of GROMACS's tools in a folder; its output goes to ``TOOL.out`` there."""
    command = [program, "-nobackup", "-quiet", tool, *arguments]
    programs.run(command, work, log=f"{tool}.out", threads=threads, **how)


@functools.cache
def version() -> str:
    """The version that GROMACS reports."""
    with tempfile.TemporaryDirectory(prefix="ilforge-gmx-") as folder:
        programs.run(["gmx", "--version"], Path(folder), log="version")
        said = (Path(folder) / "version").read_text(errors="replace")
    found = re.search(r"^GROMACS version:\s*(\S+)", said, re.MULTILINE)
    return found[1] if found else "unknown"

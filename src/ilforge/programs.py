"""The only module that starts programs.

An adapter (PACKMOL, LAMMPS, ``dp``, ``mace_run_train``) gives the program, its arguments and its directory. This module
finds the program, runs it without a shell, keeps its output, and stops it when ilforge stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from ilforge import machine_programs, trust
from ilforge.errors import DidNotFinish, MissingProgram, SettingsError

EXTRAS = {
    "torch": "mace",
    "mace": "mace",
    "deepmd": "deepmd",
    "openmm": "openmm",
    "dftd3": "dft",
    "parsl": "cluster",
    "pyscf": "dft",
    "tblite": "dft",
}
"""Optional Python packages, and the extra of ilforge that installs each."""


def extra(name: str) -> str:
    """The command that installs ilforge with an extra."""
    return f"pip install 'ilforge[{name}]'"


PACKAGES = {
    "packmol": "pip install packmol",
    "lmp": extra("deepmd"),
    "dp": extra("deepmd"),
    "mace_run_train": extra("mace"),
    "gmx": "apt-get install gromacs",
    "gmx_d": "apt-get install gromacs",
    "gpaw": "apt-get install gpaw gpaw-data, or pip install gpaw gpaw-data into a separate environment",
    "cp2k": "apt-get install cp2k",
    "cp2k.psmp": "apt-get install cp2k",
    "vasp_std": "a build of VASP under your own licence (vasp.at)",
    "vasp_gam": "a build of VASP under your own licence (vasp.at)",
}

_environment_lock = threading.Lock()
_USER_FILE = "~/.config/ilforge/machine.toml"

DECISIVE_PACKAGES = (
    "ilforge", "numpy", "ase", "rdkit", "packmol", "openmm", "tblite", "torch", "mace-torch",
    "deepmd-kit", "tensorflow-cpu", "lammps", "dftd3", "pyscf",
)  # fmt: skip


def find(program: str) -> Path:
    """Path of a program: named in ``machine.toml``, else beside this interpreter, else on ``PATH``.

    Raises
    ------
    MissingProgram
        When it is not found; the message names the package to install.
    """
    named = machine_programs.command(program)
    if named is None:
        return _find(program)
    try:
        return find_outside(named[-1])
    except MissingProgram as error:
        where = f"{program}, as [commands] in machine.toml says"
        raise MissingProgram(named[-1], error.package, where) from None


def command_line(program: str) -> list[str]:
    """The command line of a program, without its arguments: from ``machine.toml``, otherwise the program alone.

    Raises
    ------
    MissingProgram
        When the program is not found.
    SettingsError
        When a study is only inspected, and the command is from a file that was found beside it.
    """
    named = machine_programs.command(program)
    path = find(program)
    if named is None:
        return [str(path)]
    if not may_start(program):
        raise SettingsError(
            f"The machine.toml beside the study names {shlex.join(named)} as {program}. Commands that only look at a "
            "study start no program that this file names. Name the file yourself with --machine, or move it to "
            f"{_USER_FILE}."
        )
    return of_user(shlex.join(named))


def may_start(program: str) -> bool:
    """False if a study is only inspected, and ``machine.toml`` beside it names the command of the program."""
    named = machine_programs.command(program)
    return named in (None, [program]) or machine_programs.chosen().from_user or not trust.only_looking()


def _find(program: str) -> Path:
    beside = of_environment(program)
    if beside is not None:
        return beside
    found = shutil.which(program)
    if found is None:
        raise MissingProgram(program, PACKAGES.get(program, f"the package that contains {program}"))
    return Path(found)


def require(package: str) -> None:
    """Check that a Python package of an extra of ilforge is installed; it is not imported.

    Parameters
    ----------
    package
        A key of :data:`EXTRAS`.

    Raises
    ------
    MissingProgram
        When it is missing; the message names the extra to install.
    """
    if not is_installed(package):
        raise MissingProgram(package, extra(EXTRAS[package]))


def is_installed(package: str) -> bool:
    """Whether Python finds a package; it is not imported."""
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def of_environment(program: str) -> Path | None:
    """Path of a program beside this interpreter; None if there is none."""
    beside = _inside() / program
    return beside if beside.is_file() and os.access(beside, os.X_OK) else None


def find_outside(program: str) -> Path:
    """Path of a program installed by the user: first on ``PATH`` outside this environment, then like :func:`find`.

    An MPI launcher that a package installed in the environment cannot start programs built with the system's MPI.

    Raises
    ------
    MissingProgram
        When it is not found; the message names the package to install.
    """
    return _outside(program) or _find(program)


def of_user(command: str) -> list[str]:
    """A command line of the user, such as ``"mpirun -np 16 cp2k.psmp"``, with the path of its first word.

    A launcher is taken from the same place as its program: from the environment only if the program exists nowhere
    else.

    Raises
    ------
    MissingProgram
        When the launcher or the program is not found.
    """
    first, *others = shlex.split(command)
    of_environment = bool(others) and _outside(others[-1]) is None and (_inside() / others[-1]).is_file()
    return [str(_find(first) if of_environment else find_outside(first)), *others]


def _inside() -> Path:
    return Path(sys.executable).parent


def _outside(program: str) -> Path | None:
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    outside = [str(folder) for folder in folders if folder.resolve() != _inside().resolve()]
    found = shutil.which(program, path=os.pathsep.join(outside)) if outside else None
    # an absolute path, because the program may run in another folder
    return None if found is None else Path(found).absolute()


def run(
    command: Sequence[str],
    directory: Path,
    *,
    log: str,
    stdin: Path | None = None,
    environment: Mapping[str, str] | None = None,
    threads: int = 1,
    timeout_s: float | None = None,
) -> None:
    """Run ``command`` in ``directory``, its output in ``directory/log``.

    Parameters
    ----------
    command
        Program name and arguments; the program is looked up with :func:`command_line`.
    environment
        Variables added to (or replacing) those of this process.
    threads
        Number of threads that numerical libraries in the child may use.

    Raises
    ------
    MissingProgram
        When the program is not found.
    DidNotFinish
        When it ends with an error or exceeds ``timeout_s``; the message quotes its last lines.
    """
    directory = Path(directory)
    whole = whole_command(command)
    with open(directory / log, "wb") as output, open(stdin or os.devnull, "rb") as source:
        child = start(whole, directory, source, output, subprocess.STDOUT, threads, environment)
        try:
            code = child.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise DidNotFinish(
                f"{command[0]} was stopped after {timeout_s:.0f} s", directory, last_lines(directory / log)
            ) from None
        except BaseException:
            child.kill()
            child.wait()
            raise
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise DidNotFinish(f"{command[0]} {how}", directory, last_lines(directory / log))


def whole_command(command: Sequence[str]) -> list[str]:
    """A program and its arguments, with the program looked up by :func:`command_line`."""
    return [*command_line(command[0]), *map(str, command[1:])]


def start(
    whole: Sequence[str],
    directory: Path,
    stdin: IO[bytes] | int,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    threads: int = 1,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program, from :func:`whole_command`, that ends when ilforge ends; streams as in ``subprocess``."""
    return subprocess.Popen(
        whole,
        cwd=directory,
        env={**os.environ, **thread_variables(threads), **(environment or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )


@functools.cache
def installed_versions() -> dict[str, str]:
    """Versions of ilforge, of Python, and of the installed packages that affect results."""
    versions = {"python": platform.python_version()}
    for package in DECISIVE_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def thread_variables(threads: int) -> dict[str, str]:
    """Environment that limits numerical libraries to ``threads`` threads."""
    n = str(threads)
    return {
        "OMP_NUM_THREADS": n,
        "OPENBLAS_NUM_THREADS": n,
        "MKL_NUM_THREADS": n,
        "DP_INTRA_OP_PARALLELISM_THREADS": n,
        "DP_INTER_OP_PARALLELISM_THREADS": "1",
        "TF_INTRA_OP_PARALLELISM_THREADS": n,
        "TF_INTER_OP_PARALLELISM_THREADS": "1",
    }


@contextlib.contextmanager
def variables_for_children(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within a context, for children that inherit them; one thread at a time."""
    with _environment_lock:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def last_lines(path: Path, count: int = 15) -> str:
    """The last lines of a text file; empty if it cannot be read."""
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed study leaves no orphans."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)

"""Separate Python environments, for potentials whose packages cannot be installed beside those of ilforge.

``ilforge env create NAME`` makes an environment from the package index, in fixed versions. Its record is written last,
and an environment without a record does not count as made. So an unfinished environment is never used.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilforge import canonical, files, folders, hardware, machine_programs, programs
from ilforge.errors import DidNotFinish, MissingEnvironment, SettingsError

VARIABLE = "ILFORGE_ENVIRONMENTS"
"""Environment variable with the folder of all environments; without it the default folder is used."""
RECORD = "environment.json"
_PROOF_S = 600.0


@dataclass(frozen=True)
class Environment:
    """How an environment is made and tested.

    Attributes
    ----------
    name
        As in ``ilforge env create NAME`` and in ``[environments]`` of ``machine.toml``.
    title
        Description of what is installed.
    packages
        Packages that pip installs, one after the other, in this order.
    constraints
        File with the versions of all packages that were tested together.
    shown
        Packages whose versions are shown and recorded.
    proof
        Arguments of the new interpreter for a small calculation, which ends with exit code 0 if the environment works.
    disk_GB
        Least disk space that is needed, GB.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    constraints: Path
    shown: tuple[str, ...]
    proof: tuple[str, ...]
    disk_GB: float = 2.0

    @property
    def recipe(self) -> str:
        """Digest of the packages and their versions; it changes if a version of ilforge needs other ones."""
        return canonical.digest([self.packages, self.constraints.read_text()])[:16]


@dataclass(frozen=True)
class State:
    """The state of an environment on this machine.

    Attributes
    ----------
    name
        Name of the environment.
    python
        Its interpreter; None if it is missing.
    versions
        Versions of the packages that it was made for; empty if ``machine.toml`` names the environment.
    fault
        A description of what is wrong; empty if the environment is usable.
    """

    name: str
    python: Path | None
    versions: Mapping[str, str]
    fault: str = ""


def folder() -> Path:
    """Folder of all environments: ``$ILFORGE_ENVIRONMENTS``, otherwise ``~/.local/share/ilforge/environments``."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return data / "ilforge" / "environments"


def create_command(name: str, renew: bool = False) -> str:
    """The command that makes an environment."""
    return f"ilforge env create {name}{' --renew' if renew else ''}"


def look(name: str) -> State:
    """The state of an environment; no program is started.

    The interpreter that ``machine.toml`` names has priority over the environment that ilforge made.
    """
    if name in machine_programs.chosen().environments:
        try:
            return State(name, machine_programs.chosen().interpreter(name), {})
        except SettingsError as error:
            return State(name, None, {}, str(error))
    place = folder() / name
    if not place.is_dir():
        return State(name, None, {}, "has not been made yet")
    try:
        record = json.loads((place / RECORD).read_text())
        versions = {str(key): str(value) for key, value in record["versions"].items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return State(name, None, {}, f"was not finished, in {place}")
    python = _python_of(place)
    if not (python.is_file() and os.access(python, os.X_OK)):
        return State(name, None, versions, f"is broken: {python} is missing or is not a program")
    lost = sorted(set(versions.items()) - set(_installed(place, versions).items()))
    if lost:
        return State(name, None, versions, f"is broken: {lost[0][0]} {lost[0][1]} is missing in {place}")
    return State(name, python, versions)


def interpreter(name: str) -> Path:
    """Python interpreter of an environment.

    Raises
    ------
    MissingEnvironment
        When it is missing or incomplete; the message gives the command that makes it.
    SettingsError
        When the interpreter in ``machine.toml`` is not a program.
    """
    if name in machine_programs.chosen().environments:
        return machine_programs.chosen().interpreter(name)
    state = look(name)
    if state.python is None:
        raise MissingEnvironment(name, state.fault, create_command(name))
    return state.python


def is_outdated(environment: Environment) -> bool:
    """Whether ilforge made an environment with versions that differ from those it would install now."""
    try:
        made_by: str = json.loads((folder() / environment.name / RECORD).read_text())["recipe"]
    except (OSError, ValueError, KeyError):
        return False
    return made_by != environment.recipe


def versions(environment: Environment) -> dict[str, str]:
    """Versions of the packages that decide numbers in an environment, also in one that ``machine.toml`` names.

    They are read from its files, and nothing is started; what is not there is left out.
    """
    state = look(environment.name)
    return {} if state.python is None else _installed(state.python.parents[1], environment.shown)


def prove(environment: Environment, python: Path) -> str:
    """Run the test calculation of an environment; returns the last line that it prints.

    Raises
    ------
    DidNotFinish
        When it fails; the message quotes its output.
    """
    # -I: environment variables and files of the working directory cannot affect the other interpreter
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    log = f"{environment.name}.{os.getpid()}.log"
    try:
        programs.run([str(python), "-I", *environment.proof], place, log=log, timeout_s=_PROOF_S)
        return programs.last_lines(place / log, 1)
    finally:
        (place / log).unlink(missing_ok=True)


def create(environment: Environment, say: Callable[[str], Any] = print, renew: bool = False) -> Path:
    """Make an environment and test it.

    Parameters
    ----------
    say
        Function that gets one line for every step.
    renew
        Make the environment again, even if it is complete.

    Returns
    -------
    Path
        Its Python interpreter.

    Raises
    ------
    SettingsError
        When another process is making it, the disk is too full, or a folder of the user has its name.
    DidNotFinish
        When a package cannot be installed, or the test fails.
    """
    place = folder() / environment.name
    with _alone(environment.name):
        python = _python_of(place)
        there = not renew and _whole(environment.name)
        if there:
            say(f"The environment {environment.name} is in {place}.")
        else:
            _clear(place, say)
            _refuse_full_disk(environment, place)
            folders.claim(place, f"the variable {VARIABLE}")
            _install(environment, place, python, say)
        started = time.monotonic()
        say("Testing it:")
        said = _working(lambda: prove(environment, python), environment, "does not work")
        say(f"  {said} ({time.monotonic() - started:.0f} s)")
        if not there:
            _write_record(environment, place)
    return python


def remove(name: str) -> bool:
    """Delete an environment that ilforge made; returns whether it existed."""
    place = folder() / name
    with _alone(name):
        return _clear(place, lambda line: None)


def _install(environment: Environment, place: Path, python: Path, say: Callable[[str], Any]) -> None:
    say(f"Making the environment {environment.name} ({environment.title}) in {place}")
    steps = [([sys.executable, "-m", "venv", str(place)], "python -m venv")]
    pip = [str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    for package in environment.packages:
        steps.append(([*pip, "-c", str(environment.constraints), package], f"pip install {package}"))
    for number, (command, words) in enumerate(steps, 1):
        started = time.monotonic()
        say(f"  {words}")
        log = f"log-{number}.txt"
        _working(functools.partial(programs.run, command, place, log=log), environment, f"could not {words}")
        say(f"    {time.monotonic() - started:.0f} s")


def _working(step: Callable[[], Any], environment: Environment, fault: str) -> Any:
    try:
        return step()
    except DidNotFinish as error:
        raise DidNotFinish(
            f"The environment {environment.name} {fault}: {error.what}. Begin again with: "
            f"`{create_command(environment.name, renew=True)}`",
            error.directory,
            error.last_lines,
        ) from None


def _write_record(environment: Environment, place: Path) -> None:
    versions = _installed(place, environment.shown)
    record = {
        "name": environment.name,
        "recipe": environment.recipe,
        "versions": versions,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    files.write_text(place / RECORD, json.dumps(record, indent=1))


def _whole(name: str) -> bool:
    """Whether ilforge made and finished it; an interpreter in ``machine.toml`` does not count."""
    with _machine_forgotten():
        return look(name).python is not None


@contextmanager
def _machine_forgotten() -> Iterator[None]:
    chosen = machine_programs.chosen()
    machine_programs.use(machine_programs.MachinePrograms())
    try:
        yield
    finally:
        machine_programs.use(chosen)


def _clear(place: Path, say: Callable[[str], Any]) -> bool:
    if not os.path.lexists(place):
        return False
    say(f"Removing what is in {place}")
    if not place.is_symlink() and folders.is_ours(place):
        (place / RECORD).unlink(missing_ok=True)  # first, so that after a kill the rest does not count as complete
    folders.remove(place)
    return True


def _refuse_full_disk(environment: Environment, place: Path) -> None:
    free = hardware.free_disk_GB(place)
    if free < environment.disk_GB:
        raise SettingsError(
            f"{place} has {free:.1f} GB of free disk, and the environment {environment.name} takes "
            f"{environment.disk_GB:g} GB or more. Free some space, or name another folder with the variable {VARIABLE}."
        )


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Within this context no other process can make or remove this environment; the lock ends with this process."""
    lock = folder() / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = open(lock, "w")  # noqa: SIM115  # closed below, also if the lock is refused
    except OSError as error:
        raise SettingsError(
            f"{lock.parent} cannot be written to ({error.strerror}). Name another folder with the variable {VARIABLE}."
        ) from error
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"Another ilforge is making the environment {name} now: wait for it.") from None
        yield


def _python_of(place: Path) -> Path:
    return place / "bin" / "python"


def _installed(place: Path, names: Mapping[str, str] | tuple[str, ...]) -> dict[str, str]:
    """Versions of packages in an environment, read from its files."""
    wanted, found = {_normal(name): name for name in names}, {}
    for site in place.glob("lib/python*/site-packages"):
        for one in site.glob("*.dist-info"):
            name = wanted.get(_normal(one.name.split("-")[0]))
            if name is not None:
                found[name] = importlib.metadata.Distribution.at(one).version
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

"""The command ``doctor``: programs, packages and hardware of this machine."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from ilforge import environments, hardware, machine_programs, programs
from ilforge.cli import ilforge
from ilforge.devices import TITLES, gpus, inventory
from ilforge.errors import DidNotFinish, MissingEnvironment, MissingProgram, SettingsError
from ilforge.potentials import POTENTIALS
from ilforge.potentials import environments as known_environments
from ilforge.study.machine import Machine, load_machine
from ilforge.workflow.executors import require_executors

_VERSION = """
import sys
from importlib.metadata import version
print(", ".join(["Python " + sys.version.split()[0], *[name + " " + version(name) for name in sys.argv[1:]]]))
"""
_PATIENCE_S = 120.0
_MISSING = "missing: "


@ilforge.command()
@click.option(
    "--machine",
    type=click.Path(dir_okay=False),
    help="machine.toml to check, with a short task on each of its executors. Without it, your own.",
)
def doctor(machine: str | None) -> None:
    """List programs, packages, devices, cores, memory and disk of this machine, and how to install what is missing.

    \b
    ilforge doctor
    ilforge doctor --machine machine.toml
    """
    from ilforge.cli.study import console

    here = load_machine(machine)
    machine_programs.use(here.programs)
    found = [*programs.installed_versions().items(), *_programs()]
    missing = sum(text.startswith(_MISSING) for _, text in found)
    found += _devices()
    found += [*_hardware(here), *_commands(here), *_environments(here), *_executors(here)]
    table = Table("", "found", box=None, pad_edge=False)
    for name, text in found:
        table.add_row(name, Text(text))
    console().print(table)
    if machine is not None:
        _try_executors(here)
    if missing:
        click.echo(f"{missing} missing. You need them only for studies that use them.")
    if machine is None and Path("machine.toml").is_file():
        click.echo("Studies in this folder use its machine.toml. To check it: ilforge doctor --machine machine.toml")


def _devices() -> Iterator[tuple[str, str]]:
    """Devices that each program finds, and the potentials that compute with it."""
    for program, devices in inventory().items():
        kinds = [kind.title for kind in POTENTIALS.values() if kind.computes_with == program]
        used_by = f" (for {', '.join(kinds)})" if kinds else ""
        yield f"devices of {TITLES[program]}", f"{devices}{used_by}"


def _programs() -> Iterator[tuple[str, str]]:
    for program in programs.PACKAGES:
        try:
            yield program, str(programs.find(program))
        except MissingProgram as error:
            yield program, f"{_MISSING}{error.package}"
    for package, brought_by in programs.EXTRAS.items():
        if not programs.is_installed(package):
            yield package, f"{_MISSING}{programs.extra(brought_by)}"


def _commands(machine: Machine) -> Iterator[tuple[str, str]]:
    """Each command in ``machine.toml``, and whether its program exists."""
    for program, command in machine.programs.commands.items():
        try:
            programs.command_line(program)
            yield f"command {program}", command
        except MissingProgram as error:
            yield f"command {program}", f"{_MISSING}{error.program}"


def _hardware(machine: Machine) -> Iterator[tuple[str, str]]:
    tasks = f"{machine.worker_count} tasks at the same time, with {machine.threads} threads each"
    yield "cores", f"{hardware.usable_cores()}; {tasks}"
    yield "memory", f"{hardware.memory_GB():.1f} GB; tasks may take {machine.usable_memory_GB:.1f} GB together"
    try:
        yield (
            "disk",
            f"{hardware.free_disk_GB(Path(machine.store)):.1f} GB free in the folder of the store, {machine.store}",
        )
    except OSError as error:
        yield "disk", f"unknown for the folder of the store, {machine.store}: {error.strerror}"
    counts = Counter(gpus())
    yield "GPUs", ", ".join(f"{count} x {name}" for name, count in counts.items()) or "none (according to nvidia-smi)"


def _environments(machine: Machine) -> Iterator[tuple[str, str]]:
    """Each environment of ``machine.toml`` and of ilforge, and whether its interpreter starts."""
    own = known_environments()
    for name in dict.fromkeys([*machine.environments, *own]):
        try:
            path = environments.interpreter(name)
            with tempfile.TemporaryDirectory(prefix="ilforge-doctor-") as folder:
                asked = [] if name in machine.environments or name not in own else [*own[name].shown]
                programs.run([str(path), "-I", "-c", _VERSION, *asked], Path(folder), log="said", timeout_s=_PATIENCE_S)
                said = programs.last_lines(Path(folder) / "said", 1)
            if asked and environments.is_outdated(own[name]):
                said += f"; made for another version of ilforge: {environments.create_command(name, renew=True)}"
            yield f"environment {name}", f"{path}: {said}"
        except MissingEnvironment as error:
            yield f"environment {name}", f"{_MISSING}{error.package} (it {error.fault})"
        except (SettingsError, MissingProgram) as error:
            yield f"environment {name}", f"{_MISSING}{error}"
        except DidNotFinish as error:
            yield f"environment {name}", f"does not start: {error.last_lines or error.what}{_cure(name, machine)}"
        except OSError as error:  # the file is not executable
            yield f"environment {name}", f"does not start: {error}"


def _cure(name: str, machine: Machine) -> str:
    """What to do about an environment that does not start."""
    if name in machine.environments:
        return ""
    return f". Make it again with: {environments.create_command(name, renew=True)}"


def _try_executors(machine: Machine) -> None:
    """Run a short task on each executor that has work, and print what it found there."""
    from ilforge.workflow.executors.trial import PATIENCE_S, trials

    click.echo(f"\nA short task on each executor, for at most {PATIENCE_S / 60:.0f} min:")
    for name, said in trials(machine, click.echo):
        click.echo(f"executor {name}: {said}")


def _executors(machine: Machine) -> Iterator[tuple[str, str]]:
    """Each executor with work, and its kinds of work."""
    try:
        named = require_executors(machine)
    except SettingsError as error:
        yield "executors", str(error)
        return
    for name, (kind, _) in named.items():
        works = [work for work, chosen in machine.run.model_dump().items() if chosen == name]
        yield f"executor {name}", f"{kind.name}: {', '.join(works)}"

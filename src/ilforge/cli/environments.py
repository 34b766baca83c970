"""The commands ``env``: environments for potentials whose packages cannot be installed beside those of ilforge."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from ilforge import environments, machine_programs
from ilforge.cli import ilforge
from ilforge.environments import Environment
from ilforge.errors import SettingsError


@ilforge.group()
def env() -> None:
    """Make environments for potentials whose packages cannot be installed beside those of ilforge.

    Each is a separate Python environment in ~/.local/share/ilforge/environments, or in the folder that the environment
    variable ILFORGE_ENVIRONMENTS names. Studies and commands find it there. To use another interpreter instead, name it
    under [environments] in machine.toml.
    """


@env.command("create", short_help="Make an environment, and test it.")
@click.argument("name")
@click.option("--renew", is_flag=True, help="Delete the environment and make it again.")
def create(name: str, renew: bool) -> None:
    """Make the environment NAME: install its packages in tested versions, and compute one molecule as a test.

    If the command was stopped, run it again. ilforge does not use an environment that is not complete.

    \b
    ilforge env create sevennet
    """
    python = environments.create(_known(name), click.echo, renew)
    click.echo(f"Ready: {python}")


@env.command("list", short_help="List environments and pretrained models.")
@click.option("--machine", type=click.Path(dir_okay=False), help="machine.toml to use. Without it, your own.")
def show(machine: str | None) -> None:
    """List the environments that ilforge knows, whether they are there, and the pretrained models in them.

    \b
    ilforge env list
    """
    from ilforge.cli.study import console
    from ilforge.potentials import POTENTIALS
    from ilforge.potentials import environments as known
    from ilforge.study.machine import load_machine

    machine_programs.use(load_machine(machine).programs)
    table = Table("environment", "packages", "state", box=None, pad_edge=False)
    for name, environment in known().items():
        table.add_row(name, environment.title, _state(environment))
    console().print(table)
    models = Table("kind", "model", "description", box=None, pad_edge=False)
    for kind in POTENTIALS.values():
        for model, words in kind.pretrained.items():
            models.add_row(kind.name, model, words)
    console().print()
    console().print(models)
    click.echo(f"\nFolder: {environments.folder()}")


@env.command("remove", short_help="Delete an environment.")
@click.argument("name")
def remove(name: str) -> None:
    """Delete the environment NAME that ilforge made.

    \b
    ilforge env remove sevennet
    """
    there = environments.remove(_known(name).name)
    click.echo(f"Removed {environments.folder() / name}." if there else f"There is no environment {name}.")


def _state(environment: Environment) -> str:
    state = environments.look(environment.name)
    if state.python is None:
        return f"{state.fault}. Make it with: {environments.create_command(environment.name)}"
    if environments.is_outdated(environment) and Path(state.python).is_relative_to(environments.folder()):
        again = environments.create_command(environment.name, renew=True)
        return f"{state.python}, with versions of another ilforge. Make it again with: {again}"
    return str(state.python)


def _known(name: str) -> Environment:
    from ilforge.potentials import environments as known

    if name not in known():
        raise SettingsError(f"There is no environment {name!r}. NAME may be {', '.join(known())}.")
    return known()[name]

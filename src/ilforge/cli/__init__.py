"""The command ``ilforge``: subcommands that call the Python API.

Exit codes: 0 done, 2 bad settings or arguments, 3 a program is missing, 4 some work failed, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

import click

from ilforge import __version__
from ilforge.errors import IlforgeError
from ilforge.files import PARTIAL


class Listed(NamedTuple):
    """A command in the list of ``ilforge --help``."""

    module: str
    """Module of ``ilforge.cli`` that registers the command when it is loaded."""
    line: str
    """What the command does."""


SECTIONS: dict[str, dict[str, Listed]] = {
    "A study, from the ions to the report": {
        "init": Listed("study", "Write a commented study file."),
        "check": Listed("check", "Print its stages and cost, and what is missing."),
        "run": Listed("study", "Compute its missing stages, and write its report."),
        "status": Listed("study", "Show which stages are done, and the time left."),
        "results": Listed("study", "Print every finished number with its error."),
        "report": Listed("study", "Write the report again from the finished stages."),
        "schema": Listed("study", "Print the JSON Schema of the study file."),
    },
    "Single steps": {
        "ions": Listed("own_ions", "List the known ions, or those that you name."),
        "pack": Listed("single", "Pack periodic boxes, or place ions in a vacuum."),
        "label": Listed("single", "Compute energies and forces of frames."),
        "atoms": Listed("labels", "Compute energies of isolated atoms."),
        "train": Listed("single", "Train a model on labelled frames."),
        "validate": Listed("single", "Print the errors of a potential on labelled frames."),
        "md": Listed("md", "Run MD with a potential."),
        "analyse": Listed("analysis", "Measure properties of trajectories."),
        "temperatures": Listed("combining", "Fit activation energies over several temperatures."),
        "compare": Listed("combining", "Print how much shapes of ions differ between two runs."),
    },
    "From and to other programs": {
        "import": Listed("labels", "Import labels of other programs."),
        "rejected": Listed("labels", "Print rejected labels, with the reasons."),
        "export-labels": Listed("labels", "Write labels for other programs, or as a dataset."),
        "import-dpgen": Listed("dpgen", "Make a study from a work directory of DP-GEN."),
        "export": Listed("export", "Write a box and its force field for other programs."),
    },
    "This machine": {
        "doctor": Listed("doctor", "List what is installed, and how to install the rest."),
        "env": Listed("environments", "Make environments for pretrained models."),
        "store": Listed("store", "Merge, check, copy and repair stores of labels."),
    },
}
"""All commands in the order of ``ilforge --help``."""
_MODULES = {name: listed.module for section in SECTIONS.values() for name, listed in section.items()}


class _Commands(click.Group):
    """The commands, listed in sections and in the order in which they are used.

    Only the module of the command that is asked for is loaded: some modules load numerical libraries for their options.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _MODULES and cmd_name not in self.commands:
            from ilforge.cli.bounds import bound

            import_module(f"ilforge.cli.{_MODULES[cmd_name]}")
            bound(self)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, listed.line) for name, listed in section.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ilforge")
def ilforge() -> None:
    """From the names of the ions to a tested machine-learned force field and the properties of the liquid.

    \b
    Find your ions:       ilforge ions
    Write a study file:   ilforge init study.toml --ion PYR14=2 --ion BF4=2 --density 1.04
    See its cost:         ilforge check study.toml
    Run it:               ilforge run study.toml

    `ilforge COMMAND --help` explains each command, with examples.
    """


def load_commands() -> None:
    """Register every command, as the documentation and the tests of all commands need it."""
    context = click.Context(ilforge)
    for name in _MODULES:
        ilforge.get_command(context, name)


def main() -> NoReturn:
    """Run the command line and exit with its code; errors are printed without a traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    from ilforge.cli.bounds import option_of, refuse_empty

    try:
        refuse_empty(sys.argv[1:])
        code = ilforge.main(standalone_mode=False) or 0  # click returns the code of an Exit
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        click.echo("Stopped. Finished work is kept; the same command continues from there.", err=True)
        code = 130
    except IlforgeError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        code = 0
    except OSError as error:
        if not error.filename:
            click.echo(f"Error: {error}\n{_keep_traceback()}", err=True)
            code = 4
        else:  # the path was given by the user
            path = str(error.filename).removesuffix(PARTIAL)
            click.echo(f"Error: {option_of(path, sys.argv[1:])}{path}: {error.strerror}", err=True)
            code = 2
    except Exception as error:
        click.echo(f"Error: {error or type(error).__name__}\n{_keep_traceback()}", err=True)
        code = 4
    sys.stdout.flush()
    sys.exit(code)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _keep_traceback() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="ilforge-", suffix=".log", delete=False) as log:
        traceback.print_exc(file=log)
    return f"This is a fault of ilforge, not of your input. Its details are in {Path(log.name)}"

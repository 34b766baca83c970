"""The command ``ilforge``: subcommands that call the Python API.

Exit codes: 0 done, 2 bad settings or arguments, 3 a program is missing, 4 some work failed, 130 interrupted.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

import click

from ilforge import __version__
from ilforge.errors import IlforgeError
from ilforge.files import PARTIAL


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ilforge")
def ilforge() -> None:
    """From the names of the ions to a tested machine-learned force field and the properties of the liquid.

    \b
    Start with a study:   ilforge init study.toml --ion PYR14=2 --ion BF4=2 --density 1.04
    See its cost:         ilforge check study.toml
    Run it:               ilforge run study.toml
    """


def load_commands() -> None:
    """Register every command; each module registers its own when it is loaded."""
    from ilforge.cli import (  # noqa: F401
        analysis,
        check,
        combining,
        doctor,
        dpgen,
        environments,
        export,
        labels,
        md,
        single,
        store,
        study,
    )
    from ilforge.cli.bounds import bound

    bound(ilforge)


def main() -> NoReturn:
    """Run the command line and exit with its code; errors are printed without a traceback."""
    load_commands()
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

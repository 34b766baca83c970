"""Ions of the user's own on the command line: ``--define NAME=FILE``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ilforge.errors import SettingsError

define_option = click.option(
    "--define",
    multiple=True,
    metavar="NAME=FILE[,FF]",
    help="An ion of your own: a structure (zmat, mol, sdf), or xyz and force field (xyz,ff); repeat.",
)


def parse_define(given: tuple[str, ...]) -> dict[str, Any]:
    """``("MYCAT=mycat.zmat", "OTHER=other.xyz,other.ff")`` as a study file's ``[liquid.define]``."""
    from ilforge.study.liquid_settings import IonSettings

    ions = {}
    for item in given:
        name, _, files = item.partition("=")
        structure, _, force_field = files.partition(",")
        if not name or not structure:
            raise SettingsError(f"--define {item}: expected a name and a file, such as --define MYCAT=mycat.zmat")
        for path in filter(None, (structure, force_field)):
            if not Path(path).is_file():
                raise SettingsError(f"--define {item}: there is no file {path}.")
        try:
            ions[name] = IonSettings(structure=structure, force_field=force_field or None)
        except ValueError as error:
            raise SettingsError(f"--define {item}: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
    return ions


def clp_parameters(define: Mapping[str, Any]) -> dict[str, Any]:
    """CL&P parameters of those ions whose files hold some, by name."""
    from ilforge.liquid.ions import typed_files
    from ilforge.potentials.clp_files import ion_parameters

    files = {name: typed_files(ion, Path()) for name, ion in define.items()}
    return {name: ion_parameters(name, *paths) for name, paths in files.items() if paths is not None}

"""Ions on the command line: how many, ``--ion``, the user's own, ``--define``, and the catalogue, ``ions``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from ilforge.cli import ilforge
from ilforge.errors import SettingsError

_SUFFIXES = (".zmat", ".mol", ".sdf", ".xyz", ".pdb")

define_option = click.option(
    "--define",
    multiple=True,
    metavar="NAME=SMILES|FILE",
    help="Your own ion or neutral molecule: SMILES with its charge (EA=CC[NH3+]), a structure (zmat, mol, sdf), "
    "xyz or pdb with its charge (FILE:+1), or xyz and force field (FILE.xyz,FILE.ff); may be repeated.",
)


def parse_counts(ions: tuple[str, ...]) -> dict[str, int]:
    """``("PYR14=2", "BF4=2")`` as a dictionary."""
    counts = {}
    for item in ions:
        name, _, count = item.partition("=")
        if not count.isdigit() or int(count) < 1:
            raise SettingsError(f"--ion {item}: expected a name and a number, such as --ion PYR14=2")
        counts[name] = int(count)
    return counts


def parse_define(given: tuple[str, ...]) -> dict[str, Any]:
    """Convert ``("EA=CC[NH3+]", "MYCAT=mycat.zmat", "OTHER=other.xyz,other.ff")`` to a table ``[liquid.define]``."""
    from pydantic import ValidationError

    from ilforge.liquid.settings import IonSettings

    ions: dict[str, Any] = {}
    for item in given:
        name, _, what = item.partition("=")
        if not name or not what:
            raise SettingsError(
                f"--define {item}: expected a name and a SMILES or a file, such as --define EA=CC[NH3+] or "
                "--define MYCAT=mycat.zmat"
            )
        if name in ions:
            raise SettingsError(f"--define {item}: {name} is defined already.")
        try:
            ions[name] = IonSettings(**_source(item, what))
        except ValidationError as error:
            raise SettingsError(f"--define {item}: {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
    return ions


def _source(item: str, what: str) -> dict[str, Any]:
    """Source of an ion: files, if they exist or the text looks like a file name, otherwise a SMILES."""
    path, charge = what, None
    found = re.fullmatch(r"(.+):([+-]?\d{1,3})", what)
    if found and Path(found[1].partition(",")[0]).suffix.lower() in _SUFFIXES:
        path, charge = found[1], int(found[2])
    structure, _, force_field = path.partition(",")
    if not os.path.isfile(structure) and Path(structure).suffix.lower() not in _SUFFIXES:  # a SMILES may be long
        return {"smiles": _smiles(item, what)}
    for file in filter(None, (structure, force_field)):
        if not Path(file).is_file():
            raise SettingsError(f"--define {item}: there is no file {file}.")
    return {"structure": structure, "force_field": force_field or None, "charge": charge}


def _smiles(item: str, text: str) -> str:
    """The text, if RDKit can read it as SMILES."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(text)
    if molecule is None or not molecule.GetNumAtoms():
        raise SettingsError(f"--define {item}: {text!r} is neither a file nor a SMILES, such as CC[NH3+].")
    return text


@ilforge.command("ions")
@click.argument("names", nargs=-1)
@define_option
def ions(names: tuple[str, ...], define: tuple[str, ...]) -> None:
    """List the known ions and molecules, or those that you name, with charge, formula and other names.

    Molecules without CL&P parameters are marked; other potentials do not need them.

    Brackets, charges and capitals do not matter, and a salt may be one word: [bmim][PF6], BMIM+, LiTFSI.

    \b
    ilforge ions
    ilforge ions "[bmim][PF6]" choline
    """
    from ilforge.liquid.ions import CATALOGUE, get_ion, named_ions
    from ilforge.liquid.recognition import sum_formula

    own = parse_define(define)
    asked = [part for name in names for part in named_ions(name, own)] or [*own, *CATALOGUE]
    for name in asked:
        ion = get_ion(name, own)
        aliases = [alias for alias in ion.aliases if alias != ion.description]
        others = f"; also {', '.join(aliases)}" if aliases else ""
        about = ion.description or "of your own"
        known = CATALOGUE.get(ion.name)
        note = "" if known is None or known.parameters else " (no CL&P parameters: use another potential)"
        click.echo(
            f"{ion.name:8s} {f'{ion.charge:+d}' if ion.charge else '0':>2s}  {sum_formula(ion.symbols):12s} "
            f"{about}{others}{note}"
        )

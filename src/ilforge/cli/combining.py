"""Commands that combine what was measured in several runs: compare, temperatures."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilforge.cli import ilforge
from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ilforge.results import Record


@ilforge.command()
@click.argument("folders", nargs=2, type=click.Path(file_okay=False))
def compare(folders: tuple[str, str]) -> None:
    """Print how much the shapes of ions differ between two runs: folders that `ilforge analyse --out` wrote.

    The difference is the Jensen-Shannon divergence of their maps in bits: 0 for equal maps, 1 for maps that do not
    overlap. The divergence that two halves of one run show by chance is subtracted.

    \b
    ilforge compare shapes-clp shapes-mace
    """
    from ilforge.properties.reading.folder import read_measurements
    from ilforge.properties.shapes import compare as compare_shapes

    found = [read_measurements(Path(folder)) for folder in folders]
    for folder, measurements in zip(folders, found, strict=True):
        if "shapes" not in measurements:
            raise SettingsError(
                f"{folder} contains no shapes: measure them with ilforge analyse --property shapes --out"
            )
    for quantity, ion, estimate in compare_shapes(found[0]["shapes"], found[1]["shapes"]):
        click.echo(f"{quantity:28s} {ion:16s} {estimate}{f'  ({estimate.note})' if estimate.converged else ''}")


@ilforge.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a list of records as JSON.")
def temperatures(files: tuple[str, ...], as_json: bool) -> None:
    """Fit activation energies and VFT parameters of diffusion, conductivity and viscosity over several temperatures.

    FILES are the output of `ilforge analyse --json` and `ilforge results --json`. Several runs of the same liquid at
    the same temperature are combined first.

    \b
    ilforge temperatures at-353K.json at-393K.json at-423K.json
    """
    import numpy as np

    from ilforge.properties.combining.temperatures import temperature_series
    from ilforge.results import Estimate

    found = []
    for series in temperature_series([record for file in files for record in read_records(Path(file))]):
        found += series.records(np.random.default_rng(0))
        if not as_json:
            of = f"{series.quantity:28s} {series.species or '':12s} {series.liquid}, {series.potential}"
            for t, value, error in zip(series.temperatures, series.values, series.errors, strict=True):
                click.echo(f"{of}, {t:g} K  {Estimate(value, error, math.nan, series.unit)}")
            if series.left_out:
                click.echo(f"{of}  {series.left_out} values have not converged and are left out")
    if as_json:
        click.echo(json.dumps([record.as_json() for record in found], indent=1))
        return
    for record in found:
        said = f"  ({record.note})" if record.converged and record.note else ""
        of = f"{record.species or '':12s} {record.liquid}, {record.potential}"
        click.echo(f"{record.quantity:45s} {of}  {record.text}{said}")


def read_records(path: Path) -> list[Record]:
    """The records of a JSON file."""
    from ilforge.results import Record

    try:
        return [Record.from_json(item) for item in json.loads(path.read_text())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{path} contains no records ({error}): give the output of `ilforge analyse --json` or "
            "`ilforge results --json`."
        ) from None

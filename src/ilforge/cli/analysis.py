"""Measuring trajectories, and holding two of them against each other: analyse, compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import click

from ilforge.cli import ilforge
from ilforge.errors import SettingsError
from ilforge.properties.property import Measurement
from ilforge.results import Record


@ilforge.command()
@click.argument("trajectory", nargs=-1, required=True, type=click.Path())
@click.option(
    "--property",
    "names",
    multiple=True,
    help="density, diffusion, rdf, health, clusters, shapes, transitions; repeat. All without it.",
)
@click.option("--study", type=click.Path(dir_okay=False), help="Study file whose [analysis] settings to use.")
@click.option("--frame-interval", type=float, metavar="PS", help="Time between frames, where the file does not say.")
@click.option("--temperature", type=float, metavar="K")
@click.option("--json", "as_json", is_flag=True, help="As a list of records, as `ilforge results --json`.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for all numbers, tables and curves as CSV.")
def analyse(
    trajectory: tuple[str, ...],
    names: tuple[str, ...],
    study: str | None,
    frame_interval: float | None,
    temperature: float | None,
    as_json: bool,
    out: str | None,
) -> None:
    """Measure properties of a trajectory: a folder that ilforge wrote, or TOPOLOGY TRAJECTORY... of your own."""
    from ilforge.properties import PROPERTIES, measure
    from ilforge.properties.reader import open_trajectory
    from ilforge.study.load import load_study
    from ilforge.study.settings import AnalysisSettings

    unknown = sorted(set(names) - set(PROPERTIES))
    if unknown:
        raise SettingsError(f"--property {unknown[0]}: not a known property. Known: {', '.join(PROPERTIES)}")
    settings = load_study(Path(study)).settings.analysis if study else AnalysisSettings()
    chosen = list(names) or (settings.properties if study else list(PROPERTIES))
    source = open_trajectory([Path(path) for path in trajectory], frame_interval, temperature)
    found = measure(source, chosen, settings)
    labels = {"liquid": source.liquid, "temperature_K": source.temperature_K, "potential": source.potential}
    rows = [row for measurement in found.values() for row in measurement.estimates]
    records = [Record.of(e, quantity=q, species=s, **labels) for q, s, e in rows]
    if out is not None:
        _write(Path(out), found, records, {"liquid": source.liquid, "method": source.potential})
    if as_json:
        click.echo(json.dumps([record.as_json() for record in records], indent=1))
        return
    for quantity, species, estimate in rows:
        click.echo(f"{quantity:28s} {species or '':16s} {estimate}")
    for measurement in found.values():
        for verdict in measurement.verdicts:
            click.echo(f"{'ok  ' if verdict.ok else 'LOOK'} {verdict.what}")
        for note in measurement.notes:
            click.echo(f"note {note}")


@ilforge.command()
@click.argument("folders", nargs=2, type=click.Path(file_okay=False))
def compare(folders: tuple[str, str]) -> None:
    """How much the shapes of ions differ between two runs: folders that `ilforge analyse --out` wrote.

    Jensen-Shannon divergence of their maps in bits: 0 for the same, 1 for maps that never overlap, less what two halves
    of one run show by chance.
    """
    from ilforge.properties.folder import read_measurements
    from ilforge.properties.shapes import compare as compare_shapes

    found = [read_measurements(Path(folder)) for folder in folders]
    for folder, measurements in zip(folders, found, strict=True):
        if "shapes" not in measurements:
            raise SettingsError(f"{folder} holds no shapes: measure them with ilforge analyse --property shapes --out")
    for quantity, ion, estimate in compare_shapes(found[0]["shapes"], found[1]["shapes"]):
        click.echo(f"{quantity:28s} {ion:16s} {estimate}{f'  ({estimate.note})' if estimate.converged else ''}")


def _write(folder: Path, found: Mapping[str, Measurement], records: list[Record], labels: dict[str, str]) -> None:
    from ilforge.properties.folder import write_measurements
    from ilforge.report.export import results_csv, write_atomically

    written = write_measurements(folder, found, labels)
    write_atomically(folder / "results.csv", results_csv(records))
    click.echo(f"Wrote results.csv and {len(written)} other files to {folder}", err=True)

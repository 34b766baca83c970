"""The command that measures a trajectory: analyse."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilforge.cli import ilforge
from ilforge.cli.frame_options import MadeOf, made_of_options
from ilforge.cli.progress import shown
from ilforge.errors import SettingsError
from ilforge.folders import claim, refuse_foreign
from ilforge.properties.registry import PROPERTIES

if TYPE_CHECKING:
    from ilforge.properties.analysis import AnalysisSettings
    from ilforge.properties.property import Measurement, PressureSeries
    from ilforge.properties.reading.given import Composition
    from ilforge.properties.reading.reader import Source
    from ilforge.results import Record
    from ilforge.study.load import Study

_WITH_CUTOFF = ("clusters", "transitions")
_POSITIVE = click.FloatRange(min=0, min_open=True)


@ilforge.command()
@click.argument("trajectory", nargs=-1, required=True, type=click.Path())
@click.option(
    "--property",
    "names",
    multiple=True,
    help=f"{', '.join(PROPERTIES)}; may be repeated. Without it, all.",
)
@click.option(
    "--replicas",
    is_flag=True,
    help="TRAJECTORY... are independent runs of one system and give one estimate. Without it, they are consecutive "
    "parts of one run.",
)
@click.option("--study", type=click.Path(dir_okay=False), help="Study file whose [analysis] settings to use.")
@click.option(
    "--frame-interval",
    type=_POSITIVE,
    metavar="PS",
    help="Time between frames, if the files do not give it or give a wrong one.",
)
@click.option(
    "--temperature",
    type=_POSITIVE,
    metavar="K",
    help="Temperature of the run, if it is not a folder of ilforge. Conductivity, viscosity, diffusion of an infinite "
    "system and free energies of shapes need it.",
)
@click.option(
    "--lammps-units",
    type=click.Choice(["real", "metal"]),
    help="Units of a LAMMPS dump, for its velocities. Without them, there is no Green-Kubo conductivity.",
)
@click.option(
    "--pressure",
    type=click.Path(),
    metavar="FILE",
    help="File of the pressure tensor: a LAMMPS log, or a CSV table in bar (see docs/properties/viscosity.md).",
)
@click.option(
    "--pressure-units",
    type=click.Choice(["real", "metal", "electron", "si"]),
    help="LAMMPS units of the file of --pressure, if the file does not give them.",
)
@click.option(
    "--viscosity",
    type=(_POSITIVE, click.FloatRange(min=0)),
    metavar="PA_S ERROR",
    help="Viscosity of the same model and its error, Pa s; adds diffusion of an infinite system.",
)
@click.option(
    "--start", type=click.FloatRange(min=0), metavar="PS", default=0.0, help="Leave out frames before this time."
)
@click.option("--stop", type=_POSITIVE, metavar="PS", help="Leave out frames after this time.")
@click.option("--stride", type=click.IntRange(min=1), metavar="N", default=1, help="Measure only every N-th frame.")
@click.option(
    "--pairs",
    type=(str, str),
    multiple=True,
    metavar="SITE SITE",
    help="A pair of sites for g(r): ions (PYR14), elements (B), elements or atoms of an ion (N:PYR14); may be "
    "repeated. Without it, all pairs of ions.",
)
@click.option(
    "--cutoff",
    type=_POSITIVE,
    metavar="A",
    help="For clusters and transitions: a ligand coordinates within this distance. Without it, the first "
    "minimum of g(r).",
)
@click.option(
    "--cell",
    metavar="LENGTHS",
    help="Cell of frames that have none, such as plain xyz: 'A B C' in Å, or with three angles in degrees.",
)
@made_of_options
@click.option(
    "--cores", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that share the frames."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of records, like `ilforge results --json`.")
@click.option("--out", type=click.Path(file_okay=False), help="Folder for all numbers, tables and curves as CSV.")
def analyse(
    trajectory: tuple[str, ...],
    names: tuple[str, ...],
    replicas: bool,
    study: str | None,
    frame_interval: float | None,
    temperature: float | None,
    lammps_units: str | None,
    pressure: str | None,
    pressure_units: str | None,
    viscosity: tuple[float, float] | None,
    start: float,
    stop: float | None,
    stride: int,
    pairs: tuple[tuple[str, str], ...],
    cutoff: float | None,
    cell: str | None,
    made_of: MadeOf,
    cores: int,
    as_json: bool,
    out: str | None,
) -> None:
    """Measure properties of a trajectory: a folder of ilforge, or your own TOPOLOGY TRAJECTORY...

    TOPOLOGY contains bonds (tpr, psf, prmtop, LAMMPS data, PDB with CONECT), or elements if you give --ions. TRAJECTORY
    is any format of MDAnalysis (xtc, trr, dcd, LAMMPS dumps), or extended XYZ. Extended XYZ needs no topology if its
    frames or --ions name the ions.

    Several trajectory files are consecutive parts of one run, in time order. With --replicas (several folders, or
    TOPOLOGY and a file of each run) they are independent runs of one system, and give one estimate together.

    \b
    ilforge analyse md
    ilforge analyse topol.tpr traj.xtc --temperature 423 --property density --property diffusion
    ilforge analyse run.xyz --ions "20 EMIM, 20 BF4" --cell "19.4 19.4 19.4" --frame-interval 0.05
    """
    from ilforge.properties.reading.excerpt import Excerpt
    from ilforge.properties.reading.given import Composition, parse_cell
    from ilforge.properties.reading.pressure_table import read_pressure
    from ilforge.study.load import load_study
    from ilforge.study.scans import study_scans

    own = load_study(Path(study)) if study else None
    settings, chosen = _settings(own, viscosity, pairs, cutoff), _chosen(names, own)
    _refuse_unused(chosen, pressure, pressure_units, viscosity, pairs, cutoff)
    made = Composition(made_of.ions, made_of.define, None if cell is None else parse_cell(cell))
    excerpt = Excerpt(start, stop, stride)
    if replicas:
        _refuse_of_one_run(pressure, cores, lammps_units)
    sources = _opened([Path(path) for path in trajectory], replicas, frame_interval, temperature, lammps_units, made)
    tensor = read_pressure(Path(pressure), pressure_units) if pressure else None
    if excerpt != Excerpt():
        sources = [excerpt.of(source) for source in sources]
        tensor = None if tensor is None else excerpt.of_pressure(tensor)
    if out is not None:
        _prove_writable(Path(out))
    found = _measured(sources, replicas, chosen, settings, tensor, cores)
    if own and "shapes" in found:
        found["shapes"].tables.update(study_scans(own))
    labels = {name: getattr(sources[0], name) for name in ("liquid", "temperature_K", "potential")}
    _print_and_write(found, labels, as_json, None if out is None else Path(out))


def _opened(
    paths: Sequence[Path],
    replicas: bool,
    frame_interval: float | None,
    temperature: float | None,
    lammps_units: str | None,
    made: Composition,
) -> list[Source]:
    """The trajectories of all replicas, or the one trajectory; warns of runs that have not ended."""
    from ilforge.properties.combining.replicas import open_replicas
    from ilforge.properties.reading.reader import open_trajectory

    if replicas:
        sources = open_replicas(paths, frame_interval, temperature, made)
    else:
        sources = [open_trajectory(paths, frame_interval, temperature, lammps_units, made)]
    for source in sources:
        if source.unended:
            click.echo(f"Warning: {source.unended}", err=True)
    return sources


def _measured(
    sources: Sequence[Source],
    replicas: bool,
    chosen: Sequence[str],
    settings: AnalysisSettings,
    pressure: PressureSeries | None,
    cores: int,
) -> dict[str, Measurement]:
    """Measurements of all replicas together, or of the one trajectory."""
    from ilforge.properties import measure
    from ilforge.properties.combining.replicas import measure_replicas

    with shown("frames") as progress:
        if replicas:
            return measure_replicas(sources, chosen, settings, progress)
        return measure(sources[0], chosen, settings, pressure=pressure, workers=cores, progress=progress)


def _records(found: Mapping[str, Measurement], labels: Mapping[str, Any]) -> list[Record]:
    """All estimates with their labels, and whether the run holds the liquid."""
    from ilforge.properties.shared.holding import verdict_of
    from ilforge.results import Record

    liquid = verdict_of(found)
    verdict = None if liquid is None else liquid.holding
    rows = (row for measurement in found.values() for row in measurement.estimates)
    return [Record.of(e, quantity=q, species=s, verdict=verdict, **labels) for q, s, e in rows]


def _print_and_write(found: Mapping[str, Measurement], labels: dict[str, Any], as_json: bool, out: Path | None) -> None:
    """Print all numbers, and write them into a folder if there is one."""
    records = _records(found, labels)
    try:  # a full disk must not lose the printed numbers, and a closed pipe must not lose the files
        if as_json:
            click.echo(json.dumps([record.as_json() for record in records], indent=1))
        else:
            _print(found, records)
    finally:
        if out is not None:
            _write(out, found, records, labels)


def _print(found: Mapping[str, Measurement], records: Sequence[Record]) -> None:
    """Print whether the run holds the liquid, then labelled numbers, then verdicts and notes.

    A reason is not repeated in the next row, and a remark on converged numbers is printed once.
    """
    from ilforge.properties.shared.holding import verdict_of
    from ilforge.results import HOLDS_LIQUID

    liquid = verdict_of(found)
    if liquid is not None:
        click.echo(str(liquid))
    said: set[str] = set()
    before = ""
    for record in records:
        if record.quantity == HOLDS_LIQUID:
            continue
        temperature = "" if record.temperature_K is None else f", {record.temperature_K:g} K"
        text, note = record.text, record.note
        if note and note == before and not record.converged:
            text = "not converged, for the same reason"
        elif note and note not in said and note not in text:
            text = f"{text}  ({note})"
        said.add(note)
        before = note
        click.echo(f"{record.quantity:28s} {record.species or '':12s} {record.liquid}{temperature}  {text}")
    for measurement in found.values():
        for verdict in measurement.verdicts:
            click.echo(f"{'ok  ' if verdict.ok else 'FAIL' if verdict.grave else 'WARN'} {verdict.what}")
    for note in dict.fromkeys(note for measurement in found.values() for note in measurement.notes):
        click.echo(f"note {note}")


def _settings(
    own: Study | None, viscosity: tuple[float, float] | None, pairs: Sequence[tuple[str, str]], cutoff: float | None
) -> AnalysisSettings:
    """Settings from the study file, if there is one, and from the command line."""
    from ilforge.properties.analysis import AnalysisSettings

    settings = own.settings.analysis if own else AnalysisSettings()
    if pairs:
        settings = settings.model_copy(update={"rdf": settings.rdf.model_copy(update={"pairs": list(pairs)})})
    if cutoff is not None:
        within = {name: getattr(settings, name).model_copy(update={"cutoff_A": cutoff}) for name in _WITH_CUTOFF}
        settings = settings.model_copy(update=within)
    if viscosity is None:
        return settings
    eta = {"viscosity_Pa_s": viscosity[0], "viscosity_error_Pa_s": viscosity[1]}
    return settings.model_copy(update={"diffusion": settings.diffusion.model_copy(update=eta)})


def _chosen(names: Sequence[str], own: Study | None) -> Sequence[str]:
    """Properties to measure: from the command line, else from the study file, else all."""
    from ilforge.properties.registry import unknown

    for name in names:
        if name not in PROPERTIES:
            raise SettingsError(f"--property: {unknown(name)}.")
    return names or (own.settings.analysis.properties if own else list(PROPERTIES))


def _refuse_of_one_run(pressure: str | None, cores: int, lammps_units: str | None) -> None:
    """Refuse options that cannot be used for several runs together."""
    if pressure:
        raise SettingsError("--pressure belongs to one run: measure the viscosity of each run without --replicas.")
    if cores > 1:
        raise SettingsError("--cores shares the frames of one run: leave it out with --replicas.")
    if lammps_units:
        raise SettingsError("--lammps-units belongs to one run: measure each run without --replicas.")


def _refuse_unused(
    chosen: Sequence[str],
    pressure: str | None,
    pressure_units: str | None,
    viscosity: tuple[float, float] | None,
    pairs: Sequence[tuple[str, str]],
    cutoff: float | None,
) -> None:
    """Refuse options that would have no effect."""
    if pressure_units and not pressure:
        raise SettingsError(
            "--pressure-units is the unit of the file in --pressure, which is missing: give both, or neither."
        )
    if pressure and "viscosity" not in chosen:
        raise SettingsError("--pressure is for the viscosity, which is not measured: add --property viscosity.")
    if viscosity and "diffusion" not in chosen:
        raise SettingsError("--viscosity corrects the diffusion, which is not measured: add --property diffusion.")
    if pairs and "rdf" not in chosen:
        raise SettingsError("--pairs is for g(r), which is not measured: add --property rdf.")
    if cutoff and not set(chosen) & set(_WITH_CUTOFF):
        raise SettingsError("--cutoff is for clusters and transitions: add --property clusters, which is not measured.")
    if viscosity and not all(map(math.isfinite, viscosity)):
        raise SettingsError("--viscosity: give two numbers, the viscosity and its error in Pa s.")


def _prove_writable(folder: Path) -> None:
    """Make the folder and a file in it, so that a fault is found before the measurement."""
    refuse_foreign(folder, "--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ilforge-"):
            pass
    except OSError as error:
        raise SettingsError(
            f"--out {folder}: nothing can be written there ({error.strerror}: {error.filename}). Give a writable "
            "folder."
        ) from None


def _write(folder: Path, found: Mapping[str, Measurement], records: list[Record], labels: dict[str, Any]) -> None:
    from ilforge import files
    from ilforge.properties.reading.folder import write_measurements
    from ilforge.report.export import results_csv

    try:
        claim(folder, "--out")
        written = write_measurements(folder, found, labels)
        files.write_text(folder / "results.csv", results_csv(records))
    except OSError as error:
        raise SettingsError(
            f"--out {folder}: not all files could be written ({error.strerror}: {error.filename}). The printed numbers "
            "are complete; for tables and curves, free disk space or give another folder, and measure again."
        ) from None
    click.echo(f"Wrote results.csv and {len(written)} other files to {folder}", err=True)

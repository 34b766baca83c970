"""Commands on a whole study: init, check, run, status, results, report; and schema."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from ilforge import files, trust
from ilforge.cli import ilforge
from ilforge.cli.own_ions import define_option, parse_define
from ilforge.cli.single import parse_counts
from ilforge.errors import MissingProgram, SettingsError
from ilforge.results import HOLDS_LIQUID, Record
from ilforge.study import document
from ilforge.study.load import Study, load_study
from ilforge.study.machine import Machine, load_machine

if TYPE_CHECKING:
    from ilforge.liquid.liquid import Liquid

KEY_ROWS = 10
"""Most rows of the table that ends a run."""


def on_a_study(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments that every command on a study takes."""
    command = click.argument("study", type=click.Path(dir_okay=False))(command)
    command = click.option("--machine", type=click.Path(dir_okay=False), help="machine.toml to use.")(command)
    command = click.option("--store", type=click.Path(file_okay=False), help="Folder of results and labels.")(command)
    return click.option("--output", type=click.Path(file_okay=False), help="Folder of reports.")(command)


def opened(study: str, machine: str | None, store: str | None, output: str | None) -> tuple[Study, Machine]:
    """The study and the machine, as the arguments name them."""
    loaded = load_study(study)
    here = load_machine(machine, loaded.folder)
    return loaded, here.model_copy(update={k: v for k, v in (("store", store), ("output", output)) if v})


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--ion", "ions", multiple=True, required=True, metavar="NAME=COUNT", help="An ion and its number; may be repeated."
)
@define_option
@click.option("--density", type=float, required=True, help="Density close to equilibrium, g/cm^3.")
@click.option("--full", is_flag=True, help="Write every key with its default, not only those that most users change.")
def init(file: str, ions: tuple[str, ...], define: tuple[str, ...], density: float, full: bool) -> None:
    """Write a commented study file.

    \b
    ilforge init study.toml --ion PYR14=2 --ion BF4=2 --density 1.04
    ilforge init ean.toml --define "EA=CC[NH3+]" --ion EA=8 --ion NO3=8 --density 1.2
    """
    from ilforge.liquid.liquid import Liquid
    from ilforge.potentials.classical.clp_parameters import known_ions

    path = Path(file)
    if path.exists():
        raise SettingsError(f"{path} exists already; init does not overwrite it.")
    own = parse_define(define)
    liquid = Liquid.of(parse_counts(ions), own)
    counts = liquid.counts
    with_force_field = {name for name, ion in own.items() if ion.force_field}
    has_clp = set(counts) <= with_force_field | (set(known_ions()) - set(own))

    cutoffs = _clp_cutoffs(liquid, density) if has_clp else None

    def text_in(folder: Path) -> str:
        tables = _beside(own, folder)
        if full:
            return document.full_template(path.stem, counts, density, tables, cutoffs[0] if cutoffs else None)
        return document.template(path.stem, counts, density, tables, cutoffs)

    _refuse_unusable(text_in, path.name)
    try:
        files.write_text(path, text_in(path.parent))
    except OSError as error:
        raise SettingsError(f"FILE {path} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {path}. See what it takes with: ilforge check {path}")


def _clp_cutoffs(liquid: Liquid, density: float) -> tuple[float, float]:
    """Longest cutoffs up to 10 Å, in halves of 1 Å, for the densest box that is labelled and for that of MD, Å."""
    from ilforge.study.settings import SamplingSettings

    densest = max(SamplingSettings().density_ratios)
    # a box at constant pressure may shrink
    sides = (0.98 * liquid.volume(density * densest) ** (1 / 3), 0.92 * _md_volume(liquid, density) ** (1 / 3))
    small, large = (min(10.0, math.floor(side) / 2) for side in sides)
    return small, large


def _md_volume(liquid: Liquid, density: float) -> float:
    """Of the box of MD in a new study, Å³."""
    return document.MD_MULTIPLE * liquid.volume(density)


def _refuse_unusable(text_in: Callable[[Path], str], name: str) -> None:
    """Refuse to write a study that `ilforge check` would refuse; no file is left behind."""
    from ilforge.workflow.plan import make_plan

    with tempfile.TemporaryDirectory(prefix="ilforge-init-") as folder, trust.looking():
        path = Path(folder) / name
        path.write_text(text_in(path.parent), encoding="utf-8")
        make_plan(load_study(path))


def _beside(own: Mapping[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Definitions of ions as a study file in this folder has them: paths are relative to it."""
    tables = {}
    for name, ion in own.items():
        given = ion.model_dump(exclude_none=True)
        for key in ("structure", "force_field"):
            if key in given:
                given[key] = os.path.relpath(given[key], folder or ".")
        tables[name] = given
    return tables


@ilforge.command()
@on_a_study
def check(**arguments: Any) -> None:
    """Print the stages, cost and dataset of a study, and anything that is missing, before it starts."""
    from ilforge.workflow.progress import duration
    from ilforge.workflow.steps.models import stress_notes
    from ilforge.workflow.study_run import check_study

    study, machine = opened(**arguments)
    try:
        found = check_study(study, machine)
    except MissingProgram:
        _print_dataset(study)  # stages are named by the reference's version, frames and prices are not
        raise
    table = Table("stage", "tasks", "core time", "", box=None, pad_edge=False)
    for stage, done, at_hand in found.rows:
        cost = "" if done else duration((stage.tasks - at_hand) * stage.task_seconds)
        state = f"{stage.tasks - at_hand} to do, {at_hand} at hand" if at_hand else "to do"
        table.add_row(stage.name, str(stage.tasks), cost, "done" if done else state)
    console().print(table)
    _print_dataset(study)
    for note in stress_notes(study):
        click.echo(note)
    todo = sum(not done for _, done, _ in found.rows)
    if todo:
        click.echo(
            f"\n{todo} of {len(found.rows)} stages to do: about {duration(found.seconds)} "
            f"with {machine.worker_count} workers, about {found.memory_GB:.0f} GB of memory."
        )
        if found.at_most:
            click.echo("That is the most it takes: [learning.stop] may end concurrent learning before.")
    else:
        click.echo(f"\nAll {len(found.rows)} stages are done.")
    for error in found.missing:
        click.echo(f"Missing: {error}", err=True)
    for fault in found.unusable:
        click.echo(f"Device: {fault}", err=True)
    if found.missing:
        raise click.exceptions.Exit(MissingProgram.exit_code)
    if found.unusable:
        raise click.exceptions.Exit(SettingsError.exit_code)


def _print_dataset(study: Study) -> None:
    """Frames of every composition and their sums, and what their labels cost."""
    from ilforge.workflow.dataset_plan import core_hours, planned_sets

    if study.settings.dataset is not None:
        _print_labels_at_hand(study)
        return
    columns = ("eq_starts", "eq_aimd", "eq_single_points", "eq", "neq_starts", "neq_aimd", "neq_single_points", "neq")
    names = ("EQ starts", "AIMD", "single", "EQ", "nEQ starts", "AIMD", "single", "nEQ", "labels", "core hours")
    table = Table("frames", "atoms", box=None, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    sets = planned_sets(study)
    for purpose in ("training", "validation"):
        chosen = [planned for planned in sets if planned.purpose == purpose]
        for planned in chosen:
            numbers = [f"{getattr(planned, column):,}" for column in (*columns, "labels")]
            name = f"{purpose}, {planned.name}"
            table.add_row(name, str(planned.n_atoms), *numbers, f"{core_hours(study, [planned]):,.1f}")
        if len(chosen) > 1:
            numbers = [f"{sum(getattr(planned, column) for planned in chosen):,}" for column in (*columns, "labels")]
            table.add_row(f"{purpose}, all", "", *numbers, f"{core_hours(study, chosen):,.1f}")
    click.echo()
    console().print(table)
    learning = study.settings.learning
    if learning.iterations:
        most = learning.iterations * learning.max_candidates * len(study.parts)
        click.echo(f"and at most {most:,} labels in {learning.iterations} rounds of concurrent learning.")
    _print_label_costs(study)


def _print_labels_at_hand(study: Study) -> None:
    """Print the frames of the dataset that a study uses; their labels cost nothing."""
    from ilforge.labelling.datasets.published import PURPOSES
    from ilforge.workflow.steps.published import dataset_of, labelled_by

    click.echo("")
    dataset = dataset_of(study)
    assert dataset is not None  # such a study was asked for
    for purpose in PURPOSES:
        counts = dataset.counts(purpose)
        listed = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        click.echo(f"{purpose} frames: {sum(counts.values()):,} ({listed})")
    spent = dataset.manifest["wall_h"]
    click.echo(f"All are labelled: {labelled_by(study, dataset)}. They took {spent:,.1f} h.")


def _print_label_costs(study: Study) -> None:
    """Print the cost of all planned labels with the study's reference, and with other methods."""
    from ilforge.workflow.dataset_plan import core_hours, core_hours_elsewhere, planned_sets

    sets, own = planned_sets(study), study.settings.potential(study.settings.reference.potential)
    table = Table("all these labels by", box=None, pad_edge=False)
    table.add_column("core hours", justify="right")
    table.add_row(f"the reference of the study ({own.title})", f"{core_hours(study, sets):,.1f}")
    for method, hours in core_hours_elsewhere(sets).items():
        table.add_row(f"{method}, from measured times", f"{hours:,.1f}")
    click.echo()
    console().print(table)


@ilforge.command()
@on_a_study
@click.option("--quiet", is_flag=True, help="Print nothing until the end.")
@click.option(
    "--trust", "trusted", is_flag=True, help="Load models from the store that you did not make; they can run code."
)
def run(quiet: bool, trusted: bool, **arguments: Any) -> None:
    """Compute the missing stages of a study and write its report. The same command continues after a stop."""
    from ilforge import api

    study, machine = opened(**arguments)
    folder = api.Study(study, machine).run(quiet, trusted, console())
    records = study_records(study, machine)
    click.echo("")
    print_verdicts(records)
    _print_key_numbers(records)
    click.echo(f"\nReport: {folder / 'report.html'}")


@ilforge.command()
@on_a_study
def status(**arguments: Any) -> None:
    """Show which stages of a study are done, running or still to do."""
    from ilforge.workflow.progress import duration
    from ilforge.workflow.study_run import study_status

    study, machine = opened(**arguments)
    table = Table("stage", "state", "time", "result", box=None, pad_edge=False)
    for row in study_status(study, machine):
        table.add_row(row.stage.name, row.state, duration(row.wall_s) if row.wall_s else "", row.stage.key)
    console().print(table)


@ilforge.command()
@on_a_study
@click.option("--json", "form", flag_value="json", help="Print a list of records.")
@click.option("--csv", "form", flag_value="csv", help="Print a table with one line for each record.")
def results(form: str | None, **arguments: Any) -> None:
    """Print every finished number with its error."""
    from ilforge.report.export import results_csv, results_json

    study, machine = opened(**arguments)
    records = study_records(study, machine)
    if form == "json":
        click.echo(results_json(records), nl=False)
    elif form == "csv":
        click.echo(results_csv(records), nl=False)
    else:
        print_verdicts(records)
        console().print(records_table(records))


@ilforge.command()
@on_a_study
def report(**arguments: Any) -> None:
    """Write the report again from the finished stages, also if the study is not complete."""
    from ilforge.workflow.study_run import write_partial_report

    study, machine = opened(**arguments)
    click.echo(f"Report: {write_partial_report(study, machine)}")


@ilforge.command()
def schema() -> None:
    """Print the JSON Schema of the study file, for editors."""
    click.echo(document.json_schema(), nl=False)


def console() -> Console:
    """Console for tables and progress; wide enough for a table if it is not a terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=int(os.environ.get("COLUMNS", "160")))


def study_records(study: Study, machine: Machine) -> list[Record]:
    """Records of all finished stages; damaged results are named and left out."""
    from ilforge.workflow.study_run import study_records as records_of

    records, faults = records_of(study, machine)
    for key, fault in faults.items():
        click.echo(f"LOOK the result {key} is damaged and left out: {fault}. `ilforge run` makes it again.", err=True)
    return records


def print_verdicts(records: list[Record]) -> None:
    """Print which potential holds the liquid, a line for each run; print nothing if no run was judged."""
    from ilforge.report import palette_of_records, verdict_lines

    for line in verdict_lines(records, palette_of_records(records)):
        click.echo(line)


def records_table(records: list[Record]) -> Table:
    """Records as a table for the terminal; verdicts are printed before it."""
    columns = ("quantity", "liquid", "T / K", "potential", "iteration", "species", "set or protocol", "value")
    table = Table(*columns, box=None, pad_edge=False)
    for record in records:
        if record.quantity == HOLDS_LIQUID:
            continue
        of = record.dataset or record.provenance.get("protocol", "")
        iteration = "" if record.iteration is None else str(record.iteration)
        kelvin = "" if record.temperature_K is None else f"{record.temperature_K:g}"
        what = record.quantity, record.liquid, kelvin, record.potential, iteration, record.species or ""
        table.add_row(*what, of, record.text)
    return table


def _print_key_numbers(records: list[Record]) -> None:
    """Print the most important numbers, potentials side by side, and why some cannot be quoted."""
    from ilforge.report import palette_of_records, summary

    found = summary(records, palette_of_records(records))
    rows = found.rows[:KEY_ROWS]
    if not rows:
        return
    notes = list(dict.fromkeys(cell.note for row in rows for cell in row if cell.note))
    table = Table(box=None, pad_edge=False)
    for number, head in enumerate(found.columns):
        table.add_column(head.text, justify="right" if number in found.numeric else "left")
    for row in rows:
        marks = [f" ({notes.index(cell.note) + 1})" if cell.note else "" for cell in row]
        units = [f" ({cell.unit})" if cell.unit else "" for cell in row]
        table.add_row(*(f"{cell.text}{u}{m}" for cell, u, m in zip(row, units, marks, strict=True)))
    click.echo("")
    console().print(table)
    for number, note in enumerate(notes, 1):
        click.echo(f"({number}) {note}")

"""Commands on a whole study: init, check, run, status, results, report; and schema."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from ilforge import files, trust
from ilforge.cli import ilforge
from ilforge.cli.own_ions import define_option, parse_counts, parse_define
from ilforge.errors import SettingsError
from ilforge.results import HOLDS_LIQUID, Record
from ilforge.study.load import Study, load_study
from ilforge.study.machine import Machine, load_machine

if TYPE_CHECKING:
    from ilforge.report.blocks import Cell
    from ilforge.workflow.study_run import FinishedStudy, Status

KEY_ROWS = 10
"""Largest number of rows of the table at the end of a run."""


def on_a_study(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the arguments of all commands on a study."""
    command = click.argument("study", type=click.Path(dir_okay=False))(command)
    command = click.option("--machine", type=click.Path(dir_okay=False), help="machine.toml to use.")(command)
    command = click.option("--store", type=click.Path(file_okay=False), help="Folder of results and labels.")(command)
    return click.option("--output", type=click.Path(file_okay=False), help="Folder of reports.")(command)


def opened(study: str, machine: str | None, store: str | None, output: str | None) -> tuple[Study, Machine]:
    """The study and the machine from the arguments."""
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
    from ilforge.study import document, first

    path = Path(file)
    if path.exists():
        raise SettingsError(f"{path} exists already; init does not overwrite it.")
    own = parse_define(define)
    liquid = Liquid.of(parse_counts(ions), own)
    counts = liquid.counts
    cutoffs = first.clp_cutoffs(liquid, density, document.MD_MULTIPLE) if first.has_clp(counts, own) else None

    def text_in(folder: Path) -> str:
        tables = first.define_tables(own, folder)
        if full:
            return document.full_template(path.stem, counts, density, tables, cutoffs[0] if cutoffs else None)
        return document.template(path.stem, counts, density, tables, cutoffs)

    _refuse_unusable(text_in, path.name)
    try:
        files.write_text(path, text_in(path.parent))
    except OSError as error:
        raise SettingsError(f"FILE {path} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {path}. See its cost with: ilforge check {path}")


def _refuse_unusable(text_in: Callable[[Path], str], name: str) -> None:
    """Refuse to write a study that `ilforge check` would refuse; no file is left behind."""
    from ilforge.workflow.plan import make_plan

    with tempfile.TemporaryDirectory(prefix="ilforge-init-") as folder, trust.looking():
        path = Path(folder) / name
        path.write_text(text_in(path.parent), encoding="utf-8")
        make_plan(load_study(path))


@ilforge.command()
@on_a_study
@click.option("--quiet", is_flag=True, help="Print nothing until the end.")
@click.option(
    "--trust",
    "trusted",
    is_flag=True,
    help="Also load models of the store that you did not make; loading a model can run code.",
)
def run(quiet: bool, trusted: bool, **arguments: Any) -> None:
    """Compute the missing stages of a study and write its report. The same command continues after a stop.

    \b
    ilforge run study.toml
    ilforge run study.toml --store /data/ilforge-store --output /data/reports
    """
    from ilforge import api
    from ilforge.workflow.lessons import kinds_of
    from ilforge.workflow.study_run import FinishedStudy

    study, machine = opened(**arguments)
    folder = api.Study(study, machine).run(quiet, trusted, console())
    records = records_of(FinishedStudy(study, machine))
    kinds = kinds_of(study)
    click.echo("")
    print_verdicts(records, kinds)
    _print_key_numbers(records, kinds)
    print_lineage(records, kinds)
    click.echo(f"\nReport: {folder / 'report.html'}")
    if (folder / "models").is_dir():
        click.echo(f"Models: {folder / 'models'}, each with its card (README.md)")


@ilforge.command()
@on_a_study
def status(**arguments: Any) -> None:
    """Show which stages of a study are done, running or still to do, with counts, failures and the time left.

    You can use it while the study runs, from another shell or another machine.

    \b
    ilforge status study.toml
    ilforge status study.toml --store /data/ilforge-store
    """
    from ilforge.report.wording import rough_duration
    from ilforge.workflow.study_run import nothing_there, study_status

    study, machine = opened(**arguments)
    found = study_status(study, machine)
    if found.empty:
        raise nothing_there(study, found.store)
    click.echo(f"Store {found.store}")
    table = Table("stage", "state", "time", "result", box=None, pad_edge=False)
    for row in found.rows:
        table.add_row(row.stage.name, row.state, rough_duration(row.wall_s) if row.wall_s else "", row.stage.key)
    console().print(table)
    done = sum(row.wall_s is not None for row in found.rows)
    click.echo(f"\n{done} of {len(found.rows)} stages are done. {_run_now(found, len(found.rows) - done, study.path)}")


def _run_now(found: Status, todo: int, path: Path) -> str:
    """Whether the study is running, and the time left."""
    from ilforge.report.wording import rough_duration

    if not found.running:
        return f"The study is not running. Continue it with: ilforge run {path}" if todo else ""
    if found.said is None:
        return "The study is running."
    ago = max(0.0, time.time() - found.said.written)
    return (
        f"The study is running: about {rough_duration(found.said.seconds_left)} left, as {found.said.by} estimated "
        f"{rough_duration(ago)} ago."
    )


@ilforge.command()
@on_a_study
@click.option("--json", "form", flag_value="json", help="Print a list of records as JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print a table with one line for each record.")
def results(form: str | None, **arguments: Any) -> None:
    """Print every finished number with its error.

    \b
    ilforge results study.toml
    ilforge results study.toml --csv > numbers.csv
    """
    from ilforge.report.export import results_csv, results_json
    from ilforge.workflow.lessons import kinds_of
    from ilforge.workflow.study_run import FinishedStudy

    study, machine = opened(**arguments)
    finished = FinishedStudy(study, machine)
    records = records_of(finished)
    click.echo(f"Store {Path(machine.store).absolute()}", err=True)
    if form == "json":
        click.echo(results_json(records), nl=False)
    elif form == "csv":
        click.echo(results_csv(records), nl=False)
    else:
        kinds = kinds_of(study)
        print_verdicts(records, kinds)
        if records:
            console().print(records_table(records))
            print_lineage(records, kinds)
        for line in finished.exploration():
            click.echo(line)
    if not records:
        _say_why_there_are_none(study, machine)


def _say_why_there_are_none(study: Study, machine: Machine) -> None:
    """Say that no number is finished, or raise where the store holds nothing of the study."""
    from ilforge.workflow.study_run import nothing_there, study_status

    found = study_status(study, machine)
    if found.empty:
        raise nothing_there(study, found.store)
    click.echo(f"No number is finished yet. See which stages are done: ilforge status {study.path}", err=True)


@ilforge.command()
@on_a_study
def report(**arguments: Any) -> None:
    """Write the report again from the stages that are finished; the study need not be complete.

    \b
    ilforge report study.toml
    """
    from ilforge.workflow.study_run import write_partial_report

    study, machine = opened(**arguments)
    click.echo(f"Store {Path(machine.store).absolute()}", err=True)
    click.echo(f"Report: {write_partial_report(study, machine)}")


@ilforge.command()
def schema() -> None:
    """Print the JSON Schema of the study file, with which editors check and complete it.

    \b
    ilforge schema > study.schema.json
    """
    from ilforge.study import document

    click.echo(document.json_schema(), nl=False)


def console() -> Console:
    """Console for tables and progress; wide enough for a table if it is not a terminal."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=int(os.environ.get("COLUMNS", "160")))


def records_of(finished: FinishedStudy) -> list[Record]:
    """Records of all finished stages; damaged results are named and left out."""
    records = finished.records()
    for key, fault in finished.faults.items():
        click.echo(
            f"Warning: the result {key} is damaged and was left out: {fault}. `ilforge run` makes it again.", err=True
        )
    return records


def print_verdicts(records: list[Record], kinds: Mapping[str, str] | None = None) -> None:
    """Print which potential holds the liquid, a line for each run; print nothing if no run was judged."""
    from ilforge.report import palette_of_records, verdict_lines

    for line in verdict_lines(records, palette_of_records(records, kinds)):
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


def _print_key_numbers(records: list[Record], kinds: Mapping[str, str] | None = None) -> None:
    """Print the most important numbers, potentials side by side, and why some cannot be quoted."""
    from ilforge.report import palette_of_records, summary

    found = summary(records, palette_of_records(records, kinds))
    rows = found.rows[:KEY_ROWS]
    if not rows:
        return
    _print_cells([head.text for head in found.columns], rows, found.numeric)


def print_lineage(records: list[Record], kinds: Mapping[str, str] | None = None) -> None:
    """Print models as they are, fine-tuned and from scratch side by side, and students beside their teachers."""
    from ilforge.report import palette_of_records
    from ilforge.report.lineage import origins_table, teacher_table
    from ilforge.report.tables import last_iteration

    palette = palette_of_records(records, kinds)
    for found in (origins_table(last_iteration(records), palette), teacher_table(records, palette)):
        if found is None:
            continue
        click.echo(f"\n{found.caption}:", nl=False)
        _print_cells(
            [f"{head.text} / {head.unit}" if head.unit else head.text for head in found.columns],
            found.rows,
            found.numeric,
        )


def _print_cells(heads: list[str], rows: Sequence[Sequence[Cell]], numeric: Collection[int]) -> None:
    """Print rows of cells, and their notes with numbers below."""
    notes = list(dict.fromkeys(cell.note for row in rows for cell in row if cell.note))
    table = Table(box=None, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number in numeric else "left")
    for row in rows:
        marks = [f" ({notes.index(cell.note) + 1})" if cell.note else "" for cell in row]
        units = [f" ({cell.unit})" if cell.unit else "" for cell in row]
        table.add_row(*(f"{cell.text}{u}{m}" for cell, u, m in zip(row, units, marks, strict=True)))
    click.echo("")
    console().print(table)
    for number, note in enumerate(notes, 1):
        click.echo(f"({number}) {note}")

"""`ilforge check`: what a study takes, before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from ilforge.cli import ilforge
from ilforge.cli.study import console, on_a_study, opened
from ilforge.errors import MissingProgram, SettingsError
from ilforge.study.load import Study

if TYPE_CHECKING:
    from ilforge.workflow.study_run import Check, Share


@ilforge.command()
@on_a_study
def check(**arguments: Any) -> None:
    """Print the stages, cost and dataset of a study, and anything that is missing, before it starts.

    \b
    ilforge check study.toml
    """
    from ilforge.workflow.steps.models import stress_notes
    from ilforge.workflow.study_run import check_study

    study, machine = opened(**arguments)
    try:
        found = check_study(study, machine)
    except MissingProgram:
        _print_dataset(study)  # without the version of the reference there are no stages, but frames and costs
        raise
    _print_stages(found)
    _print_dataset(study)
    for note in stress_notes(study):
        click.echo(note)
    _print_work_left(found)
    for error in found.missing:
        click.echo(f"Missing: {error}", err=True)
    for fault in found.unusable:
        click.echo(f"Not usable: {fault}", err=True)
    if found.missing:
        raise click.exceptions.Exit(MissingProgram.exit_code)
    if found.unusable:
        raise click.exceptions.Exit(SettingsError.exit_code)
    if not all(done for _, done, _ in found.rows):
        click.echo(f"Nothing is missing. Run the study with: ilforge run {arguments['study']}")


def _print_stages(found: Check) -> None:
    """Every stage with its tasks, their cost, and how many of them are done."""
    from ilforge.report.wording import rough_duration

    table = Table("stage", "tasks", "core time", "", box=None, pad_edge=False)
    for stage, done, at_hand in found.rows:
        todo = stage.tasks - at_hand
        cost = "" if done else rough_duration(todo * stage.task_seconds)
        state = f"{todo} to do, {at_hand} done" if at_hand else "to do"
        table.add_row(stage.name, str(stage.tasks), cost, "done" if done else state)
    console().print(table)


def _print_work_left(found: Check) -> None:
    """Time and memory of the stages that are to be done."""
    from ilforge.report.wording import counted, rough_duration

    todo = sum(not done for _, done, _ in found.rows)
    if not todo:
        click.echo(f"\nAll {len(found.rows)} stages are done.")
        return
    workers = counted(sum(share.slots for share in found.shares), "worker")
    click.echo(
        f"\n{todo} of {len(found.rows)} stages to do: about {rough_duration(found.seconds)} with {workers}, "
        f"about {found.memory_GB:.0f} GB of memory."
    )
    _print_shares(found.shares)
    if found.at_most:
        click.echo("This is an upper limit: [learning.stop] may end concurrent learning earlier.")


def _print_shares(shares: Sequence[Share]) -> None:
    """Core hours and time of each executor, if all of its workers are busy."""
    from ilforge.report.wording import rough_duration

    table = Table("executor", box=None, pad_edge=False)
    for name in ("tasks", "workers", "core hours", "time"):
        table.add_column(name, justify="right")
    for share in shares:
        hours = f"{share.core_s / 3600:,.1f}"
        table.add_row(share.executor, f"{share.tasks:,}", str(share.slots), hours, rough_duration(share.wall_s))
    console().print(table)


def _print_dataset(study: Study) -> None:
    """Print the frames of every composition, their sums, and the cost of their labels."""
    from ilforge.report.wording import counted
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
    click.echo(
        "Starts are sampled frames, from equilibrated MD (EQ) or away from equilibrium (nEQ). Each is labelled as a\n"
        "single point, or begins a short AIMD run of which every step is labelled."
    )
    learning = study.settings.learning
    if learning.iterations:
        most = learning.iterations * learning.max_candidates * len(study.parts)
        rounds = counted(learning.iterations, "round")
        click.echo(f"Concurrent learning adds at most {most:,} labels in {rounds}.")
    _print_label_costs(study)


def _print_labels_at_hand(study: Study) -> None:
    """Print the frames of the dataset that a study uses; their labels cost nothing."""
    from ilforge.labelling.datasets.published import PURPOSES
    from ilforge.workflow.steps.published import dataset_of, labelled_by

    click.echo("")
    dataset = dataset_of(study)
    assert dataset is not None  # the caller chose a study with a dataset
    for purpose in PURPOSES:
        counts = dataset.counts(purpose)
        listed = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        click.echo(f"{purpose} frames: {sum(counts.values()):,} ({listed})")
    spent = dataset.manifest["wall_h"]
    click.echo(f"All are labelled: {labelled_by(study, dataset)}. The calculations took {spent:,.1f} h in total.")


def _print_label_costs(study: Study) -> None:
    """Print the cost of all planned labels with the study's reference, and with other methods."""
    from ilforge.workflow.dataset_plan import core_hours, core_hours_elsewhere, planned_sets

    sets, own = planned_sets(study), study.settings.potential(study.settings.reference.potential)
    table = Table("method for all these labels", box=None, pad_edge=False)
    table.add_column("core hours", justify="right")
    table.add_row(f"the reference of the study ({own.title})", f"{core_hours(study, sets):,.1f}")
    for method, hours in core_hours_elsewhere(sets).items():
        table.add_row(f"{method}, from measured times", f"{hours:,.1f}")
    click.echo()
    console().print(table)

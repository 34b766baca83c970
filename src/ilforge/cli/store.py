"""Stores of labels: merge, check, backup, salvage, trust."""

from __future__ import annotations

from pathlib import Path

import click

from ilforge.cli import ilforge
from ilforge.errors import DidNotFinish, SettingsError

_SHOWN = 5  # largest number of contradictions that are printed


@ilforge.group()
def store() -> None:
    """Merge, check, copy and repair stores of labels.

    A store contains all labels that were computed, by frame and method, with the reasons of those that failed, and the
    finished stages of studies. `ilforge store check STORE` counts the labels. To export the labels of a study, use
    `ilforge export-labels STUDY --format dataset`; to read single labels, use Python
    (ilforge.labelling.storing.store.LabelStore).
    """


@store.command(short_help="Copy the labels of one store into another.")
@click.argument("target", type=click.Path(file_okay=False))
@click.argument("source", type=click.Path(file_okay=False, exists=True))
def merge(target: str, source: str) -> None:
    """Copy the labels of the store SOURCE into TARGET: results, and failures with their reasons.

    \b
    ilforge store merge ilforge-store their-store
    """
    from ilforge.labelling.datasets.published import is_published
    from ilforge.labelling.storing.merge import merge as merge_stores
    from ilforge.labelling.storing.store import FILE, LabelStore

    if is_published(Path(source)):
        instead = f"ilforge import {source} --store {target}"
        raise SettingsError(f"{source} is a dataset, not a store. Import it with: {instead}")
    if not (Path(source) / "labels" / FILE).is_file():
        raise SettingsError(f"{source} holds no labels: expected {Path(source) / 'labels' / FILE}.")
    with LabelStore(Path(target) / "labels") as into, LabelStore(Path(source) / "labels", read_only=True) as of:
        into.verify()
        of.verify()
        done = merge_stores(into, of)
        into.backup()
        for digest, description in into.methods().items():
            counts = into.census(digest)
            name = description.get("method") or description.get("program") or description.get("functional") or ""
            click.echo(
                f"{digest[:12]}  {counts['results']:7d} results {counts['failures']:6d} failures  "
                f"{description.get('kind', 'imported')} {name}"
            )
    click.echo(
        f"Added {done.added} labels ({done.failures} failures with their reasons); {done.known} were there already."
    )
    if done.conflicts:
        listed = "\n".join(done.conflicts[:_SHOWN])
        raise DidNotFinish(
            f"{len(done.conflicts)} labels in SOURCE have other energies than those of the same frame and method in "
            f"{target}, which were kept. Find out which are right; the method was probably changed:\n{listed}"
        )


@store.command("check", short_help="Report whether all labels are intact.")
@click.argument("store", type=click.Path(file_okay=False))
def check_store(store: str) -> None:
    """Read every label of STORE and its index, and report whether all are intact; nothing is changed.

    \b
    ilforge store check ilforge-store
    """
    from ilforge.labelling.storing.store import LabelStore

    with LabelStore(_labels_in(store), read_only=True) as labels:
        labels.verify()
        whole = sum(1 for _ in labels)
        counts, methods = labels.census(), labels.methods()
    click.echo(
        f"{whole} labels are intact: {counts['results']} results, {counts['failures']} failures, {counts['waiting']} "
        f"waiting in the inbox, by {len(methods)} methods."
    )
    damaged = counts["labels"] + counts["waiting"] - whole
    if damaged:
        raise DidNotFinish(f"{damaged} labels are damaged. Rescue the others with: ilforge store salvage {store}")


@store.command("backup", short_help="Check the labels, and copy them to a backup.")
@click.argument("store", type=click.Path(file_okay=False))
def backup_store(store: str) -> None:
    """Check the labels of STORE and copy them to its folder `labels/backup`; studies do this while they label.

    \b
    ilforge store backup ilforge-store
    """
    from ilforge.labelling.storing.store import LabelStore

    with LabelStore(_labels_in(store)) as labels:
        labels.absorb_inbox()
        click.echo(f"Copied {labels.census()['labels']} labels to {labels.backup()}")


@store.command("salvage", short_help="Rescue the intact labels of a damaged store.")
@click.argument("store", type=click.Path(file_okay=False))
def salvage_store(store: str) -> None:
    """Rescue the intact labels in the file and the backup of a damaged STORE.

    The damaged file is kept beside the new one. No study may use the store at the same time.

    \b
    ilforge store salvage ilforge-store
    """
    from ilforge.labelling.storing.salvage import salvage

    count, aside = salvage(_labels_in(store))
    click.echo(f"Rescued {count} labels. The damaged file is {aside}; lost labels are computed again when needed.")


def _labels_in(store: str) -> Path:
    """The folder of labels of a store, from the path of the store or of this folder."""
    from ilforge.labelling.storing.store import BACKUP, FILE

    for folder in (Path(store) / "labels", Path(store)):
        if (folder / FILE).exists() or (folder / BACKUP).is_dir():
            return folder
    raise SettingsError(f"{store} holds no labels: expected {Path(store) / 'labels' / FILE}.")


@store.command("trust", short_help="Trust all results of a store.")
@click.argument("store", type=click.Path(file_okay=False))
def trust_store(store: str) -> None:
    """Sign every result of STORE with your key, so that its models are trusted. Models can run code when loaded.

    Use this for stores made by an earlier ilforge, or by you on another account. Damaged results are not signed.

    \b
    ilforge store trust ilforge-store
    """
    from ilforge.workflow.store import ResultStore, sign

    results = ResultStore(Path(store)).results
    folders = sorted(path for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
    if not folders:
        raise SettingsError(f"{store} holds no results: expected them in {results}.")
    faults = {folder.name: fault for folder in folders if (fault := sign(folder)) is not None}
    for name, fault in faults.items():
        click.echo(f"Warning: {name} was not signed: {fault}")
    click.echo(f"Signed {len(folders) - len(faults)} results of {store}.")

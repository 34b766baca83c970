"""`ilforge import-dpgen`: move in from DP-GEN."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilforge.cli import ilforge
from ilforge.cli.frame_options import MadeOf, gate_options, made_of_options, show_refusals

if TYPE_CHECKING:
    from ilforge.dpgen.move import Moved
    from ilforge.labelling.gate_settings import GateSettings


@ilforge.command("import-dpgen")
@click.argument("workdir", type=click.Path(file_okay=False))
@click.option("--out", type=click.Path(), required=True, help="New folder to write; nothing is written elsewhere.")
@click.option("--param", type=click.Path(dir_okay=False), help="Settings of DP-GEN. Without it, WORKDIR/param.json.")
@click.option(
    "--machine-json", type=click.Path(dir_okay=False), help="Machine file of DP-GEN. Without it, WORKDIR/machine.json."
)
@made_of_options
@click.option("--density", type=float, help="Density of the liquid, g/cm^3. Without it, the median of the labels.")
@click.option(
    "--same-method", is_flag=True,
    help="State that the labels were made by exactly the method under [reference] in the new study. The study then "
    "trains on them. The program of this method must be installed here.",
)  # fmt: skip
@gate_options
def import_dpgen(
    workdir: str,
    out: str,
    param: str | None,
    machine_json: str | None,
    made_of: MadeOf,
    density: float | None,
    same_method: bool,
    gate: GateSettings,
) -> None:
    """Make a study from a work directory of DP-GEN: its settings, machine, labels and models.

    WORKDIR is the folder in which `dpgen run param.json machine.json` was started. The new folder contains a study
    file and a machine.toml, with the key of DP-GEN behind each value; the labels that pass the gate of `ilforge
    import`; copies of the models, which are not loaded; and from-dpgen.md, a list of all keys that were not taken over,
    with the reasons. Ions are recognised by the bonds in the labels.

    \b
    ilforge import-dpgen dpgen-run --out moved
    ilforge import-dpgen dpgen-run --define "EA=CC[NH3+]" --param param.yaml --out moved
    """
    from ilforge.dpgen.move import Wishes
    from ilforge.dpgen.move import import_dpgen as move

    wishes = Wishes(
        Path(param) if param else None,
        Path(machine_json) if machine_json else None,
        made_of.ions,
        density,
        made_of.define,
        gate,
        same_method,
    )
    _tell(move(Path(workdir), Path(out), wishes), Path(out))


def _tell(moved: Moved, out: Path) -> None:
    """Print what was found, what to look at, and the next commands."""
    from ilforge.dpgen.move import LABELS, LISTS, MODELS, STORE, STUDY
    from ilforge.labelling.refusals import refusals_beside

    found, labels = moved.found, moved.labels
    click.echo(f"DP-GEN: {found.iterations} iterations; {found.progress or 'no record.dpgen'}.")
    accepted, refused = len(labels.accepted), len(labels.refusals)
    click.echo(f"labels: {accepted} accepted, {refused} refused, in {out / LABELS} and in the store {out / STORE}")
    show_refusals(labels.refusals, refusals_beside(out / LABELS) if refused else None)
    if moved.models:
        click.echo(f"models: {len(moved.models)} copied to {out / MODELS}; not trusted, see the end of {out / STUDY}")
    click.echo(f"keys: {moved.taken} taken over, {moved.left} not, see {out / LISTS}")
    for note in moved.notes:
        click.echo(f"Warning: {note}")
    click.echo(f"Wrote {out / STUDY}. See its cost with: ilforge check {out / STUDY}")

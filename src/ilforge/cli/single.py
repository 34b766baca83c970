"""Single steps on a user's own data: pack, label, train, validate."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ilforge.cli import ilforge
from ilforge.cli.device import device_option, require_device
from ilforge.cli.frame_options import (
    MadeOf,
    charge_option,
    gate_options,
    made_of_options,
    show_refusals,
    tally_in_words,
)
from ilforge.cli.own_ions import define_option, parse_counts, parse_define
from ilforge.cli.potential_option import TRUST_HELP, parse_potential, potential_help
from ilforge.cli.progress import shown, watched
from ilforge.errors import DidNotFinish, SettingsError
from ilforge.training import TRAINERS

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.labelling.gate_settings import GateSettings
    from ilforge.labelling.labels import Label
    from ilforge.labelling.storing.store import LabelStore
    from ilforge.liquid.liquid import Liquid

_POLL_S = 2.0  # between checks of frames that another run has claimed


def _presets() -> str:
    """The presets of every kind of model, without those for fine-tuning."""
    kinds = [(name, kind.settings) for name, kind in TRAINERS.items()]
    names = {name: [preset for preset in one.presets if preset != one.tuning_preset] for name, one in kinds}
    return "; ".join(f"for {name} {', '.join(presets)}" for name, presets in names.items() if presets)


BONDS_UNCHECKED = "Warning: bonds were not checked, because the ions are unknown: name them with --ions."


@ilforge.command()
@click.option(
    "--ion", "ions", multiple=True, required=True, metavar="NAME=COUNT", help="An ion and its number; may be repeated."
)
@define_option
@click.option("--density", type=float, help="Density, g/cm^3.")
@click.option(
    "--vacuum", is_flag=True, help="Instead of --density: one ion without a box, or a few in contact, charged or not."
)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Number of boxes to pack.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the first box; each further box adds 1.")
@click.option(
    "--out", type=click.Path(dir_okay=False), default="boxes.xyz", show_default=True, help="File of the boxes."
)
def pack(
    ions: tuple[str, ...],
    define: tuple[str, ...],
    density: float | None,
    vacuum: bool,
    count: int,
    seed: int,
    out: str,
) -> None:
    """Pack periodic boxes without overlaps, or place ions in a vacuum.

    \b
    ilforge pack --ion PYR14=40 --ion BF4=40 --density 1.04 --out box.xyz
    ilforge pack --ion TFSI=1 --vacuum --out ion.xyz
    """
    from ilforge import frames
    from ilforge.liquid.liquid import Liquid
    from ilforge.liquid.packing import pack as pack_box
    from ilforge.liquid.vacuum import in_vacuum
    from ilforge.report.wording import counted

    if vacuum == (density is not None):
        raise SettingsError("Give either --density, to pack periodic boxes, or --vacuum, for ions without a box.")
    liquid = Liquid.of(parse_counts(ions), parse_define(define), vacuum=vacuum)
    boxes = []
    for i in range(count):
        box = in_vacuum(liquid, seed + i) if density is None else pack_box(liquid, density, seed + i)
        box.info.update(kind="nEQ", recipe="packed", seed=seed + i, parent=f"box-{i:03d}")
        boxes.append(box)
    frames.write(Path(out), boxes)
    where = "in a vacuum" if vacuum else f"with sides of {boxes[0].cell.lengths()[0]:.2f} Å"
    many = counted(count, "structure") if vacuum else counted(count, "box", "boxes")
    click.echo(f"Wrote {many} of {liquid.label}, {where}, to {out}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", default="GFN1-xTB", show_default=True, help=potential_help())
@click.option("--trust", metavar="SHA256", help=TRUST_HELP)
@made_of_options
@charge_option
@gate_options
@click.option(
    "--store",
    type=click.Path(file_okay=False),
    default="ilforge-store",
    show_default=True,
    help="Store of the labels; studies can share it.",
)
@click.option(
    "--retry", is_flag=True, help="Also compute frames again whose calculation failed before, or was given up."
)
@device_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="labelled.xyz",
    show_default=True,
    help="File of the labelled frames.",
)
def label(
    file: str,
    potential: str,
    trust: str | None,
    made_of: MadeOf,
    charge: int | None,
    gate: GateSettings,
    store: str,
    retry: bool,
    out: str,
) -> None:
    """Label frames. Labels that are already in the store are not computed again.

    FILE is extended XYZ. --potential takes a method with its default settings. To change them (a cutoff, a basis set),
    write a study file with this method as `[reference]`; its labels go to the same store.

    Only frames with an accepted label are written to --out. The others are written to a file beside it, with the
    reason for each; the store keeps all labels. Run the command again to repeat calculations that were killed or ran
    out of memory or disk; add --retry to repeat those that failed for another reason, or that a study gave up.

    \b
    ilforge label boxes.xyz --potential gpaw
    ilforge label cation.xyz --ions "1 EMIM"
    """
    from ilforge.labelling.gate import judge_batch

    refuse_replacing(Path(out), [Path(file)])
    spec = parse_potential(potential, trust, made_of.define)
    require_device(spec)
    wanted = _wanted(file, made_of, gate, charge, spec.get("charge"))
    found = _labels_of(wanted, spec, Path(store), retry)
    reasons = judge_batch(found, made_of.topology_of, gate)
    _write_judged(Path(out), wanted, found, reasons)
    outstanding = [label for label in found.values() if label.may_pass]
    if outstanding:
        raise DidNotFinish(
            f"{len(outstanding)} of {len(found)} frames have no label yet: their calculations were killed, or ran "
            f"out of memory or disk. Run the same command to try them again. The last error: {outstanding[-1].error}"
        )
    if None not in reasons.values():
        raise DidNotFinish(f"No label was accepted: {tally_in_words(reasons.values())}")


class _Wanted(NamedTuple):
    """A frame to label."""

    frame: Atoms
    liquid: Liquid | None
    source: str
    """The first frame like it: its file and its number there."""


def _wanted(
    file: str, made_of: MadeOf, gate: GateSettings, charge: int | None, of_method: int | None
) -> dict[str, _Wanted]:
    """The frames of a file with their charges, by digest; ``charge`` is that of ``--charge``."""
    from ilforge import frames
    from ilforge.labelling.storing.state import with_state

    wanted: dict[str, _Wanted] = {}
    unused = charge is not None
    for number, frame in enumerate(made_of.read(file, gate.bond_factor)):
        liquid = made_of.liquid_of(frame, file) if frame.info.get("ions") else None
        stated = with_state(frame, liquid, of_method if charge is None else charge)
        unused = unused and (liquid is not None or frames.charge_of(frame) is not None)
        digest = frames.digest(stated)
        source = wanted[digest].source if digest in wanted else f"{file}#{number}"
        wanted[digest] = _Wanted(stated, liquid, source)
    if unused and wanted:
        raise SettingsError(f"--charge {charge}: every frame of {file} gives its charge or its ions. Leave it out.")
    return wanted


def _labels_of(wanted: Mapping[str, _Wanted], spec: Mapping[str, Any], store: Path, retry: bool) -> dict[str, Label]:
    """The labels of all frames by digest; those that the store lacks are computed."""
    from ilforge import potentials
    from ilforge.labelling.storing.store import LabelStore

    reference = potentials.create(spec)
    method = potentials.digest(reference)
    with LabelStore(store / "labels") as labels:
        labels.verify()
        labels.remember(reference.describe())
        labels.absorb_inbox()
        if retry:
            click.echo(f"Trying {labels.forget_failures(method, wanted)} frames again that failed before.")
        missing = labels.missing(wanted, method)  # including calculations that were cut short
        _label_missing(labels, {digest: wanted[digest] for digest in missing}, spec, method)
        found = labels.get_many(list(wanted), method)
        if missing:
            labels.backup()
    return {digest: found[digest].of(each.frame) for digest, each in wanted.items()}


def _write_judged(
    out: Path, wanted: Mapping[str, _Wanted], found: Mapping[str, Label], reasons: Mapping[str, str | None]
) -> None:
    """Write the accepted frames, and beside them the rejected ones with their reasons; print how many there are."""
    from ilforge import frames
    from ilforge.labelling.refusals import Refusal, write_refusals

    frames.write(out, [found[digest].on(each.frame) for digest, each in wanted.items() if reasons[digest] is None])
    refusals = [Refusal(wanted[digest].frame, wanted[digest].source, why) for digest, why in reasons.items() if why]
    show_refusals(refusals, write_refusals(out, refusals))
    if any(each.liquid is None for each in wanted.values()):
        click.echo(BONDS_UNCHECKED)
    click.echo(f"{tally_in_words(reasons.values())}. Wrote the accepted ones to {out}")


def _label_missing(labels: LabelStore, wanted: Mapping[str, _Wanted], spec: Mapping[str, Any], method: str) -> None:
    """Label frames one by one; if another run has claimed a frame, wait for its label."""
    from ilforge.labelling.label import evaluate
    from ilforge.labelling.storing.claims import State, holding

    left = list(wanted)
    total = len(left)
    with holding(labels.directory) as holder, shown("labels") as progress:
        progress(0, total)
        done = 0
        while left:
            busy = []
            for digest in left:
                state = holder.take(digest, method)
                if state is not State.MINE:
                    busy.append(digest)
                    continue
                label = evaluate(wanted[digest].frame, spec, liquid=wanted[digest].liquid)
                labels.add(label)
                holder.settle(digest, method, label.cut_short)
                done += 1
                progress(done, total)
            if busy and len(busy) == len(left):
                time.sleep(_POLL_S)
            labels.absorb_inbox()
            left = labels.missing(busy, method)
            for digest in left:
                if (
                    holder.state(digest, method) is State.DONE
                ):  # the frame is done but has no label, so the label was lost
                    holder.release(digest, method)
            done += len(busy) - len(left)
            progress(done, total)


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--model", "kind", default="mace", show_default=True, help=f"Kind of model: {', '.join(TRAINERS)}.")
@click.option(
    "--preset",
    help=f"Set of hyperparameters: {_presets()}. Without it, the first. docs/study-file.md lists their values.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the weights and the order of frames.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of the training.")
@device_option
@click.option("--out", type=click.Path(file_okay=False), default="model", show_default=True, help="Folder to train in.")
def train(file: str, kind: str, preset: str | None, seed: int, threads: int, out: str) -> None:
    """Train a model on labelled frames. The same command continues a training that was stopped.

    \b
    ilforge train labelled.xyz --model mace --preset liquid --out model
    """
    from ilforge import devices, files, frames
    from ilforge.api import STOP_FRACTION
    from ilforge.folders import claim
    from ilforge.labelling.datasets.dataset import split
    from ilforge.settings_file import check_settings
    from ilforge.training import train as train_model

    trainer = TRAINERS.named(kind)
    keys = {"kind": kind, **({"preset": preset} if preset else {})}
    settings = check_settings(trainer.settings, keys, "--preset")
    if trainer.computes_with is not None:
        devices.resolved(trainer.computes_with)  # a missing GPU is refused before a folder is made
    labelled = frames.read(Path(file))
    if not labelled:
        raise SettingsError(f"{file} holds no frames.")
    directory = claim(Path(out), "--out")
    dataset = split(labelled, STOP_FRACTION, seed)
    with watched("training steps", functools.partial(trainer.progress or _unknown, directory)):
        model = train_model(dataset, settings, seed, directory, threads)
    if note := trainer.note(model.parent):
        click.echo(note)
    click.echo(f"Trained {model}\nSHA-256 (for --trust): {files.file_digest(model)}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", required=True, help=potential_help())
@click.option("--trust", metavar="SHA256", help=TRUST_HELP)
@made_of_options
@device_option
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the bootstrap.")
def validate(file: str, potential: str, trust: str | None, made_of: MadeOf, seed: int) -> None:
    """Compare a potential with labelled frames: errors of forces and energies, with their uncertainties.

    \b
    ilforge validate labelled.xyz --potential clp:4.0 --ions "2 PYR14, 2 BF4"
    """
    from ilforge.api import validate as errors_of

    labelled = made_of.read(file)
    liquid = made_of.liquid_of_all(labelled, file)
    spec = parse_potential(potential, trust, made_of.define)
    require_device(spec)
    for quantity, species, dataset, estimate in errors_of(spec, labelled, liquid, seed=seed):
        click.echo(f"{quantity:38s} {dataset:4s} {species or '':8s} {estimate}")


def _unknown(directory: Path) -> tuple[int, int]:
    """The progress of a kind of training that does not say it."""
    return 0, 0


def refuse_replacing(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse to write over an input file: frames that the new file leaves out would be lost."""
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise SettingsError(f"--out {out} is also the input file, which would be replaced: name another file.")

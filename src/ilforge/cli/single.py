"""Single steps on a user's own data: pack, label, train, validate, md, analyse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from ilforge.cli import ilforge
from ilforge.errors import SettingsError

POTENTIAL_HELP = (
    "clp, clp:CUTOFF_A, clpol, clpol:CUTOFF_A, GFN1-xTB, GFN2-xTB, gpaw, cp2k, pyscf (vacuum), or a model "
    "file, model.model (MACE) or model.pb (DeePMD); a model file needs --trust with its SHA-256."
)


@ilforge.command()
@click.option(
    "--ion", "ions", multiple=True, required=True, metavar="NAME=COUNT", help="An ion and its number; repeat."
)
@click.option("--density", type=float, required=True, help="Density, g/cm^3.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="Boxes to pack.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), default="boxes.xyz", show_default=True)
def pack(ions: tuple[str, ...], density: float, count: int, seed: int, out: str) -> None:
    """Pack periodic boxes without overlaps."""
    from ilforge import frames
    from ilforge.liquid.liquid import Liquid
    from ilforge.liquid.packing import pack as pack_box

    liquid = Liquid.of(parse_counts(ions))
    boxes = []
    for i in range(count):
        box = pack_box(liquid, density, seed + i)
        box.info.update(kind="nEQ", recipe="packed", seed=seed + i, parent=f"box-{i:03d}")
        boxes.append(box)
    frames.write(Path(out), boxes)
    click.echo(f"Wrote {count} boxes of {liquid.label}, {boxes[0].cell.lengths()[0]:.2f} Å a side, to {out}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", default="GFN1-xTB", show_default=True, help=POTENTIAL_HELP)
@click.option("--trust", metavar="SHA256", help="Digest of a model file that may be loaded.")
@click.option("--store", type=click.Path(file_okay=False), default="ilforge-store", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), default="labelled.xyz", show_default=True)
def label(file: str, potential: str, trust: str | None, store: str, out: str) -> None:
    """Label frames, each once: what the store holds already is not computed again."""
    from ilforge import frames, potentials
    from ilforge.labelling.gate import judge, tally
    from ilforge.labelling.label import evaluate
    from ilforge.labelling.store import LabelStore
    from ilforge.study.settings import GateSettings

    spec = parse_potential(potential, trust)
    wanted = {frames.digest(frame): frame for frame in frames.read(Path(file))}
    method = potentials.digest(potentials.create(spec))
    with LabelStore(Path(store) / "labels") as labels, click.progressbar(wanted.items(), label="labels") as bar:
        labels.absorb_inbox()
        for digest, frame in bar:
            if labels.get(digest, method) is None:
                labels.add(evaluate(frame, spec))
        found = labels.get_many(list(wanted), method)
    reasons = {digest: judge(found[digest], topology_of(frame), GateSettings()) for digest, frame in wanted.items()}
    frames.write(Path(out), [found[digest].on(frame) for digest, frame in wanted.items() if reasons[digest] is None])
    counts = ", ".join(f"{n} {verdict}" for verdict, n in tally(reasons.values()).items())
    click.echo(f"{counts}. Wrote the accepted ones to {out}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--model", "kind", type=click.Choice(["mace", "deepmd"]), default="mace", show_default=True)
@click.option("--preset", type=click.Choice(["quick", "park2025"]), default="quick", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=click.Path(file_okay=False), default="model", show_default=True, help="Folder to train in.")
def train(file: str, kind: str, preset: str, seed: int, threads: int, out: str) -> None:
    """Train a model on labelled frames."""
    from ilforge import frames
    from ilforge.labelling.dataset import split
    from ilforge.study.settings import DeepmdSettings, MaceSettings
    from ilforge.training import TRAINERS, load_trainer

    settings = {"mace": MaceSettings, "deepmd": DeepmdSettings}[kind](preset=preset)
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    dataset = split(frames.read(Path(file)), 0.1, seed)
    model = load_trainer(TRAINERS[kind])(dataset, settings, seed, directory, threads)
    click.echo(f"Trained {model}\nSHA-256 (for --trust): {digest_of(model)}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", required=True, help=POTENTIAL_HELP)
@click.option("--trust", metavar="SHA256", help="Digest of a model file that may be loaded.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the bootstrap.")
def validate(file: str, potential: str, trust: str | None, seed: int) -> None:
    """Hold a potential against labelled frames: errors of forces and energies, with their errors."""
    from ilforge import frames
    from ilforge.liquid.liquid import Liquid
    from ilforge.training.validation import errors, predict

    labelled = frames.read(Path(file))
    if not labelled:
        raise SettingsError(f"{file} holds no frames.")
    liquid = Liquid.from_label(labelled[0].info.get("ions", ""))
    found = errors(predict(parse_potential(potential, trust), labelled, liquid), np.random.default_rng(seed))
    for quantity, species, dataset, estimate in found:
        click.echo(f"{quantity:38s} {dataset:4s} {species or '':8s} {estimate}")


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", required=True, help=POTENTIAL_HELP)
@click.option("--trust", metavar="SHA256", help="Digest of a model file that may be loaded.")
@click.option("--ensemble", type=click.Choice(["NVE", "NVT", "NPT"]), default="NVT", show_default=True)
@click.option("--temperature", type=float, default=423.0, show_default=True, help="K")
@click.option("--pressure", type=float, default=1.01325, show_default=True, help="bar")
@click.option("--timestep", type=float, default=0.5, show_default=True, help="fs")
@click.option("--length", type=float, required=True, help="ps")
@click.option("--interval", type=float, default=0.1, show_default=True, help="ps between recorded frames")
@click.option("--minimise", type=click.IntRange(0), default=0, show_default=True, help="Steps of minimisation first")
@click.option("--constant-volume", type=float, default=0.0, show_default=True, help="ps of NVT then, unrecorded")
@click.option("--equilibration", type=float, default=0.0, show_default=True, help="ps then, unrecorded")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--engine",
    type=click.Choice(["openmm", "lammps", "ase", "gromacs"]),
    help="Program that moves the atoms; without it the one that suits the potential.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--out", type=click.Path(file_okay=False), default="md", show_default=True, help="Folder to run in.")
def md(file: str, potential: str, trust: str | None, out: str, threads: int, **state: Any) -> None:
    """Run MD from the last frame of FILE. The same command goes on after a stop.

    A freshly packed box wants --minimise 500 --constant-volume 10 and some equilibration.
    """
    from ilforge import frames, potentials
    from ilforge.dynamics import run_md
    from ilforge.dynamics.protocol import MdProtocol
    from ilforge.liquid.liquid import Liquid

    start = frames.read(Path(file))[-1]
    protocol = MdProtocol(
        ensemble=state["ensemble"],
        temperature_K=state["temperature"],
        pressure_bar=state["pressure"],
        timestep_fs=state["timestep"],
        length_ps=state["length"],
        interval_ps=state["interval"],
        minimise_steps=state["minimise"],
        constant_volume_ps=state["constant_volume"],
        equilibration_ps=state["equilibration"],
        seed=state["seed"],
    )
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    liquid = Liquid.from_label(start.info.get("ions", ""))
    model = potentials.create(parse_potential(potential, trust))
    run_md(model, start, liquid, protocol, directory, threads=threads, engine=state["engine"])
    click.echo(f"Trajectory in {directory}. Measure it with: ilforge analyse {directory}")


@ilforge.command()
@click.argument("trajectory", nargs=-1, required=True, type=click.Path())
@click.option("--property", "names", multiple=True, help="density, diffusion, rdf, health; repeat. All without it.")
@click.option("--frame-interval", type=float, metavar="PS", help="Time between frames, where the file does not say.")
@click.option("--temperature", type=float, metavar="K")
@click.option("--json", "as_json", is_flag=True, help="As a list of records, as `ilforge results --json`.")
def analyse(
    trajectory: tuple[str, ...],
    names: tuple[str, ...],
    frame_interval: float | None,
    temperature: float | None,
    as_json: bool,
) -> None:
    """Measure properties of a trajectory: a folder that ilforge wrote, or TOPOLOGY TRAJECTORY... of your own."""
    from ilforge.properties import PROPERTIES, measure
    from ilforge.properties.reader import open_trajectory
    from ilforge.results import Record
    from ilforge.study.settings import AnalysisSettings

    chosen = list(names) or list(PROPERTIES)
    unknown = sorted(set(chosen) - set(PROPERTIES))
    if unknown:
        raise SettingsError(f"--property {unknown[0]}: not a known property. Known: {', '.join(PROPERTIES)}")
    source = open_trajectory([Path(path) for path in trajectory], frame_interval, temperature)
    found = measure(source, chosen, AnalysisSettings(properties=chosen))
    rows = [row for measurement in found.values() for row in measurement.estimates]
    if as_json:
        labels = {"liquid": source.liquid, "temperature_K": source.temperature_K, "potential": source.potential}
        records = [Record.of(e, quantity=q, species=s, **labels).as_json() for q, s, e in rows]
        click.echo(json.dumps(records, indent=1))
        return
    for quantity, species, estimate in rows:
        click.echo(f"{quantity:28s} {species or '':16s} {estimate}")
    for measurement in found.values():
        for verdict in measurement.verdicts:
            click.echo(f"{'ok  ' if verdict.ok else 'LOOK'} {verdict.what}")


def parse_counts(ions: tuple[str, ...]) -> dict[str, int]:
    """``("PYR14=2", "BF4=2")`` as a dictionary."""
    counts = {}
    for item in ions:
        name, _, count = item.partition("=")
        if not count.isdigit() or int(count) < 1:
            raise SettingsError(f"--ion {item}: expected a name and a number, such as --ion PYR14=2")
        counts[name] = int(count)
    return counts


def parse_potential(text: str, trust: str | None) -> dict[str, Any]:
    """A potential named on the command line, as :func:`ilforge.potentials.create` takes it."""
    if text in ("GFN1-xTB", "GFN2-xTB"):
        return {"kind": "xtb", "method": text}
    if text in ("gpaw", "cp2k", "pyscf"):
        return {"kind": text}
    kind, _, cutoff = text.partition(":")
    if kind in ("clp", "clpol"):
        try:
            return {"kind": kind, **({"cutoff_A": float(cutoff)} if cutoff else {})}
        except ValueError:
            raise SettingsError(f"--potential {text}: {cutoff} is not a cutoff in Å, such as {kind}:4.0") from None
    kinds = {".model": "mace", ".pb": "deepmd"}
    if Path(text).suffix in kinds:
        return {"kind": kinds[Path(text).suffix], "path": text, **({"sha256": trust} if trust else {})}
    raise SettingsError(f"--potential {text}: expected {POTENTIAL_HELP}")


def topology_of(frame: Any) -> Any:
    """Topology of a frame that says what it is made of, else None."""
    from ilforge.liquid.liquid import Liquid

    label = frame.info.get("ions")
    return Liquid.from_label(label).topology if label else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    from ilforge.workflow.store import file_digest

    return file_digest(path)

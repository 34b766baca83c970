"""Molecular dynamics of one frame: `ilforge md`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilforge.canonical import spaced_digest
from ilforge.cli import ilforge
from ilforge.cli.device import device_option, require_device
from ilforge.cli.frame_options import MadeOf, made_of_options
from ilforge.cli.potential_option import TRUST_HELP, parse_potential, potential_help
from ilforge.cli.progress import watched
from ilforge.dynamics import ENGINES
from ilforge.dynamics.protocol import CHOICES

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.dynamics.protocol import MdProtocol
    from ilforge.dynamics.trajectory import Trajectory
    from ilforge.potentials.potential import Potential


def _with(ability: str) -> str:
    """``"with engine gromacs"``: the engines that have an ability."""
    names = [name for name, kind in ENGINES.items() if getattr(kind, ability)]
    return f"with engine{'s' if len(names) > 1 else ''} {', '.join(names)}"


@ilforge.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--potential", required=True, help=potential_help())
@click.option("--trust", metavar="SHA256", help=TRUST_HELP)
@made_of_options
@click.option(
    "--ensemble",
    type=click.Choice(CHOICES["ensemble"][1]),
    default="NVT",
    show_default=True,
    help="Of the recorded run.",
)
@click.option("--temperature", type=float, default=423.0, show_default=True, help="Temperature, K.")
@click.option("--pressure", type=float, default=1.01325, show_default=True, help="Pressure of NPT, bar.")
@click.option(
    "--timestep",
    type=float,
    default=0.5,
    show_default=True,
    help="Time step, fs. Recommended: 2 with clp, 1.5 with clpol, 0.5 with learned models.",
)
@click.option("--length", type=float, required=True, help="Length of the recorded run, ps.")
@click.option("--interval", type=float, default=0.1, show_default=True, help="Time between recorded frames, ps.")
@click.option(
    "--thermostat",
    type=click.Choice(CHOICES["thermostat"][1]),
    help=f"Without it, the engine's own. It can be chosen only {_with('has_choices')}.",
)
@click.option(
    "--barostat",
    type=click.Choice(CHOICES["barostat"][1]),
    help=f"Without it, the engine's own. It can be chosen only {_with('has_choices')}.",
)
@click.option(
    "--hydrogen-mass",
    type=float,
    metavar="AMU",
    help="Mass of H, taken from its neighbours, for longer steps; 3 is usual. It slows the ions slightly. "
    f"Only {_with('keeps_hydrogen_mass')}.",
)
@click.option(
    "--inner-potential",
    metavar="POTENTIAL",
    help="Cheap potential that moves the atoms within a step; --potential corrects it once a step. "
    f"Only {_with('has_choices')}.",
)
@click.option("--inner-trust", metavar="SHA256", help="The same as --trust, for a file of the inner potential.")
@click.option(
    "--inner-steps",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Steps of the inner potential in one step.",
)
@click.option(
    "--pressure-interval",
    type=float,
    help=f"Time between records of the pressure tensor, for the viscosity, ps. Only {_with('records_pressure')}.",
)
@click.option(
    "--minimise", type=click.IntRange(0), default=0, show_default=True, help="Steps of minimisation before the MD."
)
@click.option(
    "--constant-volume",
    type=float,
    default=0.0,
    show_default=True,
    help="Length of an NVT run after the minimisation, which is not recorded, ps.",
)
@click.option(
    "--equilibration",
    type=float,
    default=0.0,
    show_default=True,
    help="Length of a run after these, in --ensemble, which is not recorded, ps.",
)
@click.option(
    "--keep-velocities", is_flag=True, help="Start with the velocities of the frame, such as those in last.xyz."
)
@click.option(
    "--seed",
    type=int,
    help="Seed of velocities, thermostat and barostat. Without it, it is computed from the frame, the potential, the "
    "engine and the options above. The same run then has the same random numbers, so give each replica its own seed.",
)
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    help="Program that moves the atoms. Without it, the engine that suits the potential.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of the run.")
@device_option
@click.option("--out", type=click.Path(file_okay=False), default="md", show_default=True, help="Folder to run in.")
def md(file: str, potential: str, trust: str | None, made_of: MadeOf, out: str, threads: int, **state: Any) -> None:
    """Run MD from the last frame of FILE. The same command continues a run that was stopped.

    A frame without periodicity contains ions in a vacuum. A freshly packed box needs --minimise 500
    --constant-volume 20 and --equilibration 100. To extend a run that has ended, start from its last.xyz with
    --keep-velocities and another --out.

    With time steps above 1 fs, OpenMM and GROMACS constrain the bonds to H of clp and clpol. With other potentials and
    in other engines, bonds to H are free.

    \b
    ilforge md box.xyz --potential clp --ensemble NPT --timestep 2 --minimise 500 --constant-volume 20 --length 500
    ilforge md box.xyz --potential model/model.model --trust SHA256 --length 50 --out md-mace
    """
    from ilforge.dynamics import run_md, time_step_warning
    from ilforge.dynamics.trajectory import frames_recorded
    from ilforge.liquid.rings import pierced_rings

    start = made_of.read(file, last=True)[-1]
    liquid = made_of.liquid_of_all([start], file)
    for pierced in pierced_rings(start, liquid.topology)[:1]:
        words = pierced.describe(liquid.topology)
        click.echo(f"Warning: {file}: {words}. MD cannot undo this: pack the box again.", err=True)
    protocol = _protocol(state, start, potential)
    model = _potential(potential, trust, made_of, state["engine"])
    inner = None
    if state["inner_potential"]:
        inner = _potential(state["inner_potential"], state["inner_trust"], made_of)
    directory = Path(out)
    directory.mkdir(parents=True, exist_ok=True)
    warning = time_step_warning(model, start, liquid, protocol, state["engine"])
    if warning:
        click.echo(f"Warning: {warning}", err=True)
    with watched("frames", functools.partial(frames_recorded, directory)):
        trajectory = run_md(
            model, start, liquid, protocol, directory, threads=threads, engine=state["engine"], inner_potential=inner
        )
    _print_verdict(trajectory)
    fault = trajectory.fault
    if fault:
        click.echo(f"The run failed and ended early. {fault['message']}", err=True)
    click.echo(f"Trajectory in {directory}. Measure it with: ilforge analyse {directory}")


def _protocol(state: Mapping[str, Any], start: Atoms, potential: str) -> MdProtocol:
    """The protocol that the options describe; without a seed, with one of its own."""
    from ilforge.dynamics.protocol import MdProtocol

    protocol = MdProtocol(
        ensemble=state["ensemble"],
        temperature_K=state["temperature"],
        pressure_bar=state["pressure"],
        timestep_fs=state["timestep"],
        length_ps=state["length"],
        interval_ps=state["interval"],
        pressure_interval_ps=state["pressure_interval"],
        minimise_steps=state["minimise"],
        constant_volume_ps=state["constant_volume"],
        equilibration_ps=state["equilibration"],
        keep_velocities=state["keep_velocities"],
        thermostat=state["thermostat"],
        barostat=state["barostat"],
        hydrogen_mass_amu=state["hydrogen_mass"],
        inner_steps=state["inner_steps"],
        seed=state["seed"] or 0,
    )
    if state["seed"] is not None:
        return protocol
    return replace(protocol, seed=_own_seed(start, potential, state["engine"], protocol))


def _potential(text: str, trust: str | None, made_of: MadeOf, engine: str | None = None) -> Potential:
    """The potential that the user names; its device must be there."""
    from ilforge import potentials

    spec = parse_potential(text, trust, made_of.define)
    require_device(spec, engine)
    return potentials.create(spec)


def _print_verdict(trajectory: Trajectory) -> None:
    """Print in one line whether the run holds the liquid; print nothing for ions in a vacuum."""
    from ilforge.properties import measure

    judged = measure(trajectory, ["health"])["health"].liquid
    if judged is not None:
        click.echo(f"{trajectory.info()['potential']['kind']}: {judged}")


def _own_seed(start: Atoms, potential: str, engine: str | None, protocol: MdProtocol) -> int:
    """A seed that is the same for the same run and differs between different runs."""
    from ilforge import frames

    made_of = [frames.digest(start), potential, engine, protocol.as_dict()]
    return int(spaced_digest(made_of)[:7], 16)

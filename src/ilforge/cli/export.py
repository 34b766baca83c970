"""Boxes and force fields as input for other programs: export."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilforge.cli import ilforge
from ilforge.cli.own_ions import define_option, parse_counts, parse_define
from ilforge.cli.potential_option import parse_potential
from ilforge.errors import SettingsError

if TYPE_CHECKING:
    from ase import Atoms

    from ilforge.liquid.liquid import Liquid


@ilforge.command()
@click.option("--ion", "ions", multiple=True, metavar="NAME=COUNT", help="An ion and its number; may be repeated.")
@define_option
@click.option("--density", type=float, help="Density of the packed box, g/cm^3.")
@click.option(
    "--box",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Use the last frame of this file instead of packing a box.",
)
@click.option(
    "--potential",
    default="clp",
    show_default=True,
    help="clp, clpol, or either with its cutoff, as clp:CUTOFF_A. gromacs takes clp only.",
)
@click.option(
    "--format",
    "program",
    type=click.Choice(["openmm", "gromacs", "lammps"]),
    required=True,
    help="Program that runs the files.",
)
@click.option(
    "--ensemble",
    type=click.Choice(["NVE", "NVT", "NPT"]),
    default="NPT",
    show_default=True,
    help="Of the recorded run.",
)
@click.option("--temperature", type=float, default=423.0, show_default=True, help="Temperature, K.")
@click.option("--pressure", type=float, default=1.01325, show_default=True, help="Pressure of NPT, bar.")
@click.option(
    "--timestep",
    type=float,
    default=2.0,
    show_default=True,
    help="Time step, fs. Above 1 fs, bonds to H are constrained. With clpol, 1.5 fs at most; longer steps are divided.",
)
@click.option(
    "--equilibration", type=float, default=100.0, show_default=True, help="Length of the run before recording, ps."
)
@click.option("--length", type=float, default=1000.0, show_default=True, help="Length of the recorded run, ps.")
@click.option("--interval", type=float, default=1.0, show_default=True, help="Time between recorded frames, ps.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the packed box and of the velocities.")
@click.option("--out", type=click.Path(file_okay=False), required=True, help="Folder to write to.")
def export(
    ions: tuple[str, ...],
    define: tuple[str, ...],
    density: float | None,
    box: str | None,
    potential: str,
    program: str,
    out: str,
    **state: Any,
) -> None:
    """Write a liquid and its force field as ready-to-run input for another program.

    \b
    ilforge export --ion PYR14=40 --ion BF4=40 --density 1.04 --format gromacs --out gromacs
    ilforge export --box md/last.xyz --potential clpol --format lammps --timestep 1.5 --out lammps
    """
    from ilforge import potentials
    from ilforge.dynamics.export import COMMANDS
    from ilforge.dynamics.export import export as write
    from ilforge.dynamics.protocol import MdProtocol
    from ilforge.dynamics.simulation import Job

    protocol = MdProtocol(
        ensemble=state["ensemble"],
        temperature_K=state["temperature"],
        pressure_bar=state["pressure"],
        timestep_fs=state["timestep"],
        equilibration_ps=state["equilibration"],
        length_ps=state["length"],
        interval_ps=state["interval"],
        seed=state["seed"],
    )
    own = parse_define(define)
    liquid, atoms = _start(ions, own, density, box, state["seed"])
    job = Job(potentials.create(parse_potential(potential, None, own)), atoms, liquid.topology, protocol)
    paths = write(job, program, Path(out))
    click.echo(f"Wrote {', '.join(path.name for path in paths)} for {liquid.label} to {out}")
    click.echo(f"Run them with: cd {shlex.quote(out)} && {COMMANDS[program]}")


def _start(
    ions: tuple[str, ...], own: Mapping[str, Any], density: float | None, box: str | None, seed: int
) -> tuple[Liquid, Atoms]:
    """The liquid and a box of it: packed, or read from a file."""
    from ilforge import frames
    from ilforge.liquid.liquid import Liquid
    from ilforge.liquid.packing import pack

    if (box is None) == (not ions) or (box is None) == (density is None):
        raise SettingsError("Give either --box FILE, or --ion NAME=COUNT and --density to pack one.")
    if box is None:
        assert density is not None
        liquid = Liquid.of(parse_counts(ions), own)
        return liquid, pack(liquid, density, seed)
    found = frames.read(Path(box))
    if not found:
        raise SettingsError(f"{box} holds no frames.")
    return Liquid.of_frame(found[-1], own), found[-1]

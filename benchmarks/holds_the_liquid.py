"""Which models hold the liquid: their errors beside their densities, a table and a figure for docs/results.md.

Run ``python benchmarks/holds_the_liquid.py NAME=FILE... [--length PS] [--pairs N] [--out FOLDER] [--figure FILE.svg]``
with MACE models of PYR14BF4 that were trained on the labels in ``data/pyr14bf4-pbe-d3`` (files are run, so give only
your own). Each model is compared with the validation labels, and moves the same box at 423 K and 1 bar from the same
start, which CL&P has equilibrated. A run that was stopped goes on when the command is given again. Needs matplotlib
for the figure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ase import Atoms

from ilforge import Dataset, frames, validate
from ilforge.dynamics import Trajectory, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials import create
from ilforge.properties import measure
from ilforge.units import AMU_PER_A3_IN_G_CM3

TEMPERATURE_K = 423.0
COLUMNS = (
    ("force_rmse", "EQ", "force RMSE EQ, eV/Å"),
    ("force_rmse", "nEQ", "nEQ"),
    ("ion_force_rmse", "all", "force RMSE on whole ions, eV/Å"),
    ("energy_rmse_per_atom_offset_removed", "all", "energy RMSE, offset removed, eV/atom"),
    ("pressure_error", "all", "pressure error, GPa"),
)


def start_of(liquid: Liquid, folder: Path, threads: int) -> Atoms:
    """A box that CL&P has equilibrated."""
    cutoff = 6.5 if liquid.topology.n_atoms < 1000 else 10.0
    protocol = MdProtocol(
        ensemble="NPT",
        temperature_K=TEMPERATURE_K,
        timestep_fs=2.0,
        minimise_steps=500,
        constant_volume_ps=20.0,
        equilibration_ps=60.0,
        length_ps=40.0,
        interval_ps=1.0,
        seed=1,
    )
    box = pack(liquid, 0.95, seed=1)
    run = run_md(create({"kind": "clp", "cutoff_A": cutoff}), box, liquid, protocol, folder, threads)
    return frames.read(run.last_file)[-1]


def errors_of(spec: dict[str, str]) -> list[str]:
    """Errors on the validation labels, one a column."""
    labelled = Dataset.open("pyr14bf4-pbe-d3").frames("validation")
    found = {(quantity, species, kind): estimate for quantity, species, kind, estimate in validate(spec, labelled)}
    return [str(found[quantity, None, kind]).split(" ")[0] for quantity, kind, _ in COLUMNS]


def run_of(spec: dict[str, str], start: Atoms, liquid: Liquid, folder: Path, arguments: argparse.Namespace):
    """NPT with the model."""
    protocol = MdProtocol(
        ensemble="NPT",
        temperature_K=TEMPERATURE_K,
        timestep_fs=0.5,
        length_ps=arguments.length,
        interval_ps=0.1,
        seed=arguments.seed,
        constrain_hydrogens=False,
    )
    return run_md(create(spec), start, liquid, protocol, folder, arguments.threads)


def density(run: Trajectory) -> tuple[str, str]:
    """Density as it is printed, and whether the liquid is held."""
    found = measure(run, ["density", "health"])
    estimate = found["density"].estimates[0][2]
    return str(estimate), str(found["health"].liquid)


def draw(runs: dict[str, Trajectory], liquid: Liquid, file: Path) -> None:
    """Density against time of every run."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.4))
    grams = liquid.topology.masses.sum() * AMU_PER_A3_IN_G_CM3
    for name, run in runs.items():
        thermo = run.thermo()
        axes.plot(thermo["time_ps"], grams / thermo["volume_A3"], label=name, linewidth=1)
    axes.set_xlabel("time, ps")
    axes.set_ylabel("density, g/cm³")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=3)
    figure.tight_layout()
    figure.savefig(file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--length", type=float, default=40.0, help="ps of each run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("holds-the-liquid"))
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    start = start_of(liquid, arguments.out / "clp", arguments.threads)
    print(f"| model | {' | '.join(title for *_, title in COLUMNS)} | density | verdict |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    runs = {}
    for item in arguments.models:
        name, _, file = item.partition("=")
        spec = {"kind": "mace", "path": file, "sha256": file_digest(Path(file))}
        runs[name] = run_of(spec, start, liquid, arguments.out / name, arguments)
        value, verdict = density(runs[name])
        print(f"| {name} | {' | '.join(errors_of(spec))} | {value} | {verdict} |", flush=True)
    if arguments.figure:
        draw({"CL&P": Trajectory(arguments.out / "clp"), **runs}, liquid, arguments.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())

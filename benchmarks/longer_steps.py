"""What longer steps do to the motion of ions and to the energy: a table for docs/validation.md.

Run ``python benchmarks/longer_steps.py FILE [--pairs N] [--length PS] [--out FOLDER]`` with a MACE model of PYR14BF4
(files are run, so give only your own). Each row is a run at constant volume, 1.0 g/cm3, that goes on where
it was stopped when the command is given again. ``D`` is the squared displacement of the ions' centres of mass in 10 ps
over 6 times 10 ps, averaged over ions and intervals that do not overlap: not yet that of long times, but the same
quantity in every row, which is what a comparison needs. Errors are standard errors over the intervals. The mean
potential energy must be that of the first row: masses do not change it, too long a step does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ilforge.dynamics import Trajectory, run_md
from ilforge.dynamics.protocol import MdProtocol
from ilforge.files import file_digest
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.packing import pack
from ilforge.potentials.learned.mace import Mace

INTERVAL_PS = 10.0
ROWS: dict[str, dict[str, Any]] = {
    "0.5 fs": {"timestep_fs": 0.5},
    "1 fs": {"timestep_fs": 1.0},
    "H of 3 amu, 1 fs": {"timestep_fs": 1.0, "hydrogen_mass_amu": 3.0},
    "H of 3 amu, 1.5 fs": {"timestep_fs": 1.5, "hydrogen_mass_amu": 3.0},
}


def displacements(trajectory: Trajectory, liquid: Liquid, interval_ps: float) -> np.ndarray:
    """Squared displacements of centres of mass over intervals that do not overlap, ``(n_intervals, n_ions)`` Å²."""
    topology, universe = liquid.topology, trajectory.universe()
    weights = topology.masses / topology.molecule_masses[topology.molecules]
    every = round(interval_ps / trajectory.info()["frame_interval_ps"])
    centres = []
    for step in universe.trajectory[::every]:
        # positions are never wrapped, and the cell does not change
        centre = np.zeros((topology.n_molecules, 3))
        np.add.at(centre, topology.molecules, weights[:, None] * step.positions)
        centres.append(centre)
    return (np.diff(np.array(centres), axis=0) ** 2).sum(axis=2)


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean of a series and its standard error by blocks of a tenth."""
    blocks = np.array([part.mean() for part in np.array_split(values, 10)])
    return float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(len(blocks)))


def row(name: str, trajectory: Trajectory, liquid: Liquid) -> str:
    """A line of the table."""
    info, thermo = trajectory.info(), trajectory.thermo()
    if not info["finished"]:
        return f"| {name} | ended: {info['fault']['message']} |"
    squares = displacements(trajectory, liquid, INTERVAL_PS)
    species = np.array(liquid.topology.species)
    cells = []
    for ion in dict.fromkeys(species):
        apparent = squares[:, species == ion].mean(axis=1) / (6 * INTERVAL_PS) * 10  # Å²/ps in 1e-9 m²/s
        error = apparent.std(ddof=1) / np.sqrt(len(apparent))
        cells.append(f"{apparent.mean():.2f}({error:.2f})")
    energy, energy_error = mean_and_error(1000 * thermo["potential_energy_eV"] / liquid.topology.n_atoms)
    kelvin, kelvin_error = mean_and_error(thermo["temperature_K"])
    length = info["n_frames"] * info["frame_interval_ps"]
    speed = length / 1000 / (info["wall_s"] / 86400)
    return (
        f"| {name} | {length:.0f} | {' | '.join(cells)} | {energy:.2f}({energy_error:.2f}) | "
        f"{kelvin:.1f}({kelvin_error:.1f}) | {speed:.0f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="FILE")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--length", type=float, default=400.0, help="ps of each run")
    parser.add_argument("--temperature", type=float, default=600.0, help="K")
    parser.add_argument("--out", type=Path, default=Path("longer-steps"))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    liquid = Liquid.of({"PYR14": arguments.pairs, "BF4": arguments.pairs})
    box = pack(liquid, 1.0, seed=1)
    potential = Mace(arguments.model, file_digest(arguments.model))
    ions = " | ".join(f"D of {ion.name}, 1e-9 m²/s" for ion, _ in liquid.ions)
    print(f"| step | ps | {ions} | potential energy, meV/atom | temperature, K | ns/day |")
    print("|---" * (5 + len(liquid.ions)) + "|")
    for name, choices in ROWS.items():
        protocol = MdProtocol(
            ensemble="NVT",
            temperature_K=arguments.temperature,
            length_ps=arguments.length,
            interval_ps=0.3,
            equilibration_ps=20.0,
            minimise_steps=200,
            constrain_hydrogens=False,
            seed=1,
            **choices,
        )
        folder = arguments.out / name.replace(" ", "-").replace(",", "")
        trajectory = run_md(potential, box, liquid, protocol, folder, arguments.threads)
        print(row(name, trajectory, liquid), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

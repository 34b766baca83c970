"""Properties of one trajectory as ilforge and other programs measure them, as a table.

    PYTHONPATH=tests python benchmarks/compare_properties.py [TOPOLOGY TRAJECTORY] [--property NAME]... [--last N]

Without files it is Brownian motion whose diffusion coefficients are known. The centres of mass of the ions are taken
by MDAnalysis, so that theirs are compared as well, and the others measure those. It needs, beside the tests' own
packages, ``pip install kinisi tidynamics`` (MIT; BSD-3), and GROMACS.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.constants import Boltzmann, elementary_charge

from ilforge.properties import Measurement, System, measure
from ilforge.properties.analysis import AnalysisSettings
from ilforge.properties.reading.reader import Source, source_of
from support.motion import atomic_ions, brownian, snapshots
from support.peers import Gromacs, Points, freud_rdf, gromacs_version, mdanalysis_rdf, merged_bins

PROPERTIES = ["density", "rdf", "diffusion", "conductivity"]
WIDTH_A = 0.05
LOOSE = {"min_displacement_A": 1.0}
"""Short runs are compared as well, where ilforge would give no number as a result."""
UNIT = 1e-8
"""Å^2/ps in m^2/s."""


def of_files(topology: str, trajectory: str, temperature: float, last: int) -> tuple[Source, Points]:
    """ilforge's view of a trajectory, and the centres of its ions by MDAnalysis."""
    import MDAnalysis

    universe = MDAnalysis.Universe(topology, trajectory)
    first = max(len(universe.trajectory) - last, 0) if last else 0
    universe.transfer_to_memory(start=first)
    source = source_of(universe, temperature_K=temperature)
    ions = source.system.topology
    centres, cells = [], []
    for frame in universe.trajectory:
        centres.append(universe.atoms.center_of_mass(compound="fragments", unwrap=True))
        cells.append(frame.triclinic_dimensions.copy())
    of_ion = np.array([ions.masses[ions.molecules == k].sum() for k in range(ions.n_molecules)])
    points = Points(
        np.array(centres), np.array(cells, float), ions.species, of_ion, np.array(ions.charges),
        source.system.frame_interval_ps,
    )  # fmt: skip
    return source, points


def brownian_motion(temperature: float) -> tuple[Source, Points]:
    """Thirty cations with D = 0.05 Å^2/ps and thirty anions with 0.12, of the masses of Cs and I, 1,000 frames."""
    rng, side, interval = np.random.default_rng(1), 35.0, 2.0
    topology = atomic_ions(Cs=30, I=30)
    topology = replace(topology, charges=(1,) * 30 + (-1,) * 30)
    paths = side * rng.random((60, 3)) + brownian(np.repeat([0.05, 0.12], 30), 1000, interval, rng)
    share = topology.masses / topology.masses.sum()
    paths -= np.einsum("tix,i->tx", paths, share)[:, None]
    cells = np.broadcast_to(side * np.eye(3), (1000, 3, 3))
    system = System(topology, 1000, interval, temperature)
    points = Points(paths % side, cells, topology.species, topology.masses, np.array(topology.charges), interval)
    return Source(system, lambda: snapshots(system, points.positions, cells), "30 Cs, 30 I"), points


def nojump(points: Points) -> np.ndarray:
    """The points unwrapped by MDAnalysis, less the motion of the centre of mass of all."""
    from MDAnalysis.transformations.nojump import NoJump

    universe = points.universe()
    universe.trajectory.add_transformations(NoJump())
    paths = np.array([frame.positions.copy() for frame in universe.trajectory], dtype=float)
    return paths - np.einsum("tix,i->tx", paths, points.masses / points.masses.sum())[:, None]


def einstein_msd(paths: np.ndarray) -> np.ndarray:
    """``(n_frames,)`` in Å^2 by MDAnalysis."""
    import MDAnalysis
    from MDAnalysis.analysis.msd import EinsteinMSD

    universe = MDAnalysis.Universe.empty(paths.shape[1], trajectory=True)
    universe.load_new(paths.astype(np.float32))
    return EinsteinMSD(universe, msd_type="xyz", fft=False).run().results.timeseries


def tidynamics_msd(paths: np.ndarray) -> np.ndarray:
    """``(n_frames,)`` in Å^2 by tidynamics."""
    import tidynamics

    return np.mean([tidynamics.msd(paths[:, ion]) for ion in range(paths.shape[1])], axis=0)


def kinisi_diffusion(points: Points, paths: np.ndarray, name: str, first_ps: float, last_ps: float) -> np.ndarray:
    """Mean and standard deviation of D in m^2/s by Bayesian regression between two lags."""
    import scipp as sc
    from kinisi.analyze import DiffusionAnalyzer

    chosen = points.of(name)
    alone = Points(
        paths[:, chosen], points.cells, (name,) * len(chosen), points.masses[chosen], points.charges[chosen],
        points.interval_ps,
    )  # fmt: skip
    step = points.interval_ps * sc.Unit("ps")
    lags = points.interval_ps * np.arange(1, round(last_ps / points.interval_ps) + 1)
    found = DiffusionAnalyzer.from_universe(
        alone.universe(),
        specie=name,
        time_step=step,
        step_skip=sc.scalar(1),
        dt=sc.array(dims=["time interval"], values=lags, unit="ps"),
        progress=False,
    )
    found.diffusion(first_ps * sc.Unit("ps"), progress=False)
    samples = sc.to_unit(found.D, "m^2/s").values
    return np.array([samples.mean(), samples.std()])


def rows(source: Source, points: Points, folder: Path, names: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """What is compared, with what, ilforge's number, and the difference of the other."""
    settings = AnalysisSettings(rdf={"bin_A": WIDTH_A / 2}, diffusion=LOOSE, conductivity=LOOSE, properties=["rdf"])
    found = measure(source, names, settings)
    yield from _centres(source, points)
    gromacs = Gromacs(points, folder)
    compared = {"density": _density, "rdf": _distributions, "diffusion": _diffusion}
    for name in names:
        if name == "conductivity":
            yield from _charge(found[name], points, gromacs, source.temperature_K)
        else:
            yield from compared[name](found[name], points, gromacs)


def _centres(source: Source, points: Points) -> Iterator[tuple[str, str, str, str]]:
    worst = 0.0
    for snapshot, theirs, cell in zip(source.snapshots(), points.positions, points.cells, strict=True):
        step = (snapshot.centres - theirs) @ np.linalg.inv(cell)
        worst = max(worst, float(np.abs((step - np.rint(step)) @ cell).max()))
    yield "centres of mass", "MDAnalysis `center_of_mass`", f"{len(points.cells)} frames", f"at most {worst:.0e} Å"


def _density(found: Measurement, points: Points, _: Gromacs) -> Iterator[tuple[str, str, str, str]]:
    if "density" not in found.curves:
        return
    mean = found.curves["density"].y.mean()
    theirs = np.mean(points.masses.sum() / np.linalg.det(points.cells)) * 1.66053906660
    yield "density, mean of all frames", "NumPy", f"{mean:.5f} g/cm^3", f"{theirs - mean:.0e} g/cm^3"


def _distributions(found: Measurement, points: Points, gromacs: Gromacs) -> Iterator[tuple[str, str, str, str]]:
    for title, curve in found.curves.items():
        if not title.startswith("rdf "):
            continue
        first, second = title.removeprefix("rdf ").split("-")
        n = len(curve.x)
        peak = f"g = {curve.y.max():.3f} at most"
        freud = freud_rdf(points, first, second, n * WIDTH_A / 2, n)
        mdanalysis = mdanalysis_rdf(points, first, second, n * WIDTH_A / 2, n)
        yield f"g(r) {first}-{second}", "freud `RDF`", peak, _difference(curve.x, freud - curve.y)
        yield f"g(r) {first}-{second}", "MDAnalysis `InterRDF`", peak, _difference(curve.x, mdanalysis - curve.y)
        r, merged = merged_bins(curve.y, WIDTH_A)
        count = len(points.of(second))
        factor = (count - 1) / count if first == second else 1.0
        theirs = gromacs.rdf(first, second, WIDTH_A)[1][1 : len(r) + 1]
        said = _difference(r, theirs - factor * merged) + (f", times (N - 1)/N = {factor:.4f}" if factor < 1 else "")
        yield f"g(r) {first}-{second}", "`gmx rdf`", peak, said


def _difference(r: np.ndarray, difference: np.ndarray) -> str:
    """The largest, and the mean over the pairs of a uniform liquid."""
    mean = np.average(np.abs(difference), weights=r**2)
    return f"at most {np.abs(difference).max():.0e}, on average {mean:.0e}"


def _diffusion(found: Measurement, points: Points, gromacs: Gromacs) -> Iterator[tuple[str, str, str, str]]:
    paths = nojump(points)
    for quantity, name, estimate in found.estimates:
        if quantity != "self_diffusion":
            continue
        curve = found.curves[f"msd {name}"]
        lags = np.rint(curve.x / points.interval_ps).astype(int)
        own = paths[:, points.of(name)]
        time, msd = gromacs.msd(name)
        said = f"{curve.y[-1]:.3f} ± {curve.error[-1]:.3f} Å^2 at {curve.x[-1]:g} ps"
        for peer, theirs in (
            ("MDAnalysis `NoJump`, `EinsteinMSD`", einstein_msd(own)[lags]),
            ("MDAnalysis `NoJump`, tidynamics `msd`", tidynamics_msd(own)[lags]),
            ("`gmx msd`", np.interp(curve.x, time, msd)),
        ):
            worst = np.abs(theirs / curve.y - 1).max()
            yield f"MSD {name}", peer, said, f"at most {worst:.0e}; {(theirs[-1] / curve.y[-1] - 1):+.1e} there"
        if not estimate.converged:
            yield f"D {name}", "kinisi", f"refused: {estimate.note.split(';')[0]}", "not compared"
            continue
        start, end = (float(word) for word in estimate.note.removesuffix(" ps").split("from ")[1].split(" ps to "))
        value, error = kinisi_diffusion(points, paths, name, start, end)
        share = (value - estimate.value) / np.hypot(error, estimate.error)
        yield (
            f"D {name}, {start:g} to {end:g} ps",
            "kinisi",
            f"({estimate.value / UNIT:.5f} ± {estimate.error / UNIT:.5f})e-8 m^2/s",
            f"({value / UNIT:.5f} ± {error / UNIT:.5f})e-8 m^2/s, {share:+.1f} combined errors",
        )


def _charge(
    found: Measurement, points: Points, gromacs: Gromacs, temperature: float
) -> Iterator[tuple[str, str, str, str]]:
    if "charge_msd" not in found.curves:
        return
    curve = found.curves["charge_msd"]
    volume = np.abs(np.linalg.det(points.cells)).mean() * 1e-30
    scale = np.sum(points.charges**2) * elementary_charge**2 * 1e-20 / (6 * volume * Boltzmann * temperature) * 1e12
    time, moved = gromacs.charge_displacement(temperature)
    theirs, ours = np.interp(curve.x, time, moved), scale * curve.y
    said = f"{ours[-1]:.2f} S ps/m at {curve.x[-1]:g} ps"
    yield (
        "charge displacement <ΔM²>/(6 V k T)",
        "`gmx current`",
        said,
        f"at most {np.abs(theirs / ours - 1).max():.0e}; {(theirs[-1] / ours[-1] - 1):+.1e} there",
    )


def main() -> int:
    """Print the table and the versions behind it."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--property", action="append", choices=PROPERTIES, help="repeat; all without it")
    parser.add_argument("--temperature", type=float, default=423.0)
    parser.add_argument("--last", type=int, default=0, help="so many frames from the end; all without it")
    options = parser.parse_args()
    if len(options.files) not in (0, 2):
        parser.error("give TOPOLOGY TRAJECTORY, or nothing for Brownian motion")
    source, points = (
        of_files(*options.files, options.temperature, options.last)
        if options.files
        else brownian_motion(options.temperature)
    )
    print(f"{source.liquid}: {len(points.cells)} frames of {points.interval_ps:g} ps\n")
    print("| quantity | against | ilforge | difference |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(source, points, Path(folder), options.property or PROPERTIES):
            print("| " + " | ".join(row) + " |", flush=True)
        peers = [f"{name} {version(name)}" for name in ("MDAnalysis", "freud-analysis", "tidynamics", "kinisi")]
        print(f"\nGROMACS {gromacs_version(Path(folder))}, {', '.join(peers)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

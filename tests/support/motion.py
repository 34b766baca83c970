"""Trajectories whose truth is known: particles, lattices and ions that move as they are told."""

from __future__ import annotations

import numpy as np

from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.properties import Measurement, PressureSeries, Snapshot, System, create
from ilforge.properties.analysis import AnalysisSettings


def atomic_ions(**counts: int) -> Topology:
    """Monatomic ions, named after their elements."""
    symbols = tuple(symbol for symbol, count in counts.items() for _ in range(count))
    n = len(symbols)
    return Topology(symbols, symbols, np.empty((0, 2), dtype=int), np.arange(n), symbols, (0,) * n)


def snapshots(system: System, positions, cells, **thermo):
    """Snapshots from ``(n_frames, n_atoms, 3)`` positions and one cell or ``(n_frames, 3, 3)`` cells."""
    cells = np.broadcast_to(cells, (len(positions), 3, 3))
    for index, (frame, cell) in enumerate(zip(positions, cells, strict=True)):
        values = {name: series[index] for name, series in thermo.items()}
        yield Snapshot(system, index, index * system.frame_interval_ps, frame, cell, **values)


def measured(name: str, system: System, frames, settings=None) -> Measurement:
    """What one property says of these snapshots."""
    chosen = AnalysisSettings() if settings is None else AnalysisSettings(**{name: settings})
    observer = create(name, chosen)
    observer.begin(system)
    for snapshot in frames:
        observer.add(observer.look(snapshot))
    return observer.measurement()


def estimate(measurement: Measurement, quantity: str, species: str | None = None):
    """The one estimate with these labels."""
    (found,) = (e for q, s, e in measurement.estimates if (q, s) == (quantity, species))
    return found


def breathing_cells(side: float, n_frames: int, rng, size: float = 0.01) -> np.ndarray:
    """Cubic cells of an NPT run, ``(n_frames, 3, 3)``: correlated fluctuations of relative ``size``."""
    from scipy.signal import lfilter

    kicks = rng.normal(size=n_frames) * size * np.sqrt(1 - 0.9**2)
    return side * (1 + lfilter([1.0], [1.0, -0.9], kicks))[:, None, None] * np.eye(3)


def brownian(diffusion, n_frames: int, interval: float, rng) -> np.ndarray:
    """Free Brownian steps summed up, ``(n_frames, n, 3)``; ``diffusion`` ``(n,)`` in Å^2/ps."""
    steps = rng.normal(size=(n_frames, len(diffusion), 3)) * np.sqrt(2 * np.asarray(diffusion) * interval)[:, None]
    return np.cumsum(steps, axis=0)


def scaled_and_wrapped(paths: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Paths in a box that a barostat scales: steps are the particles' own, the rest moves with the cell."""
    inverse = np.linalg.inv(cells)
    steps = np.diff(paths, axis=0)
    fractional = np.empty_like(paths)
    fractional[0] = paths[0] @ inverse[0]
    fractional[1:] = fractional[0] + np.cumsum(steps @ (0.5 * (inverse[:-1] + inverse[1:])), axis=0)
    return (fractional - np.floor(fractional)) @ cells


def tumbling_ions(n_frames: int, rng, side: float = 19.0, counts=None) -> tuple[System, np.ndarray, np.ndarray]:
    """A liquid of twelve real ions that float about rigidly in a breathing box, molecules whole.

    Returns the system, ``(n_frames, n_atoms, 3)`` positions and ``(n_frames, 3, 3)`` cells.
    """
    liquid = Liquid.of(counts or {"PYR14": 6, "BF4": 6})
    topology = liquid.topology
    shapes = [ion.positions - ion.positions.mean(axis=0) for ion, n in liquid.ions for _ in range(n)]
    sites = np.stack(np.meshgrid(*[np.arange(n) / n for n in (2, 2, 3)], indexing="ij"), axis=-1).reshape(-1, 3)
    centres = sites[np.argsort(sites.sum(axis=1) * 6 % 2, kind="stable")] * side
    paths = centres + brownian(np.full(topology.n_molecules, 0.05), n_frames, 1.0, rng)
    cells = breathing_cells(side, n_frames, rng)
    positions = scaled_and_wrapped(paths, cells)[:, topology.molecules] + np.concatenate(shapes)
    system = System(topology, n_frames, 1.0, temperature_K=423.0, ensemble="NPT")
    return system, positions + 0.01 * rng.normal(size=positions.shape), cells


def ornstein_uhlenbeck(n_series: int, n: int, interval: float, decay: float, rng) -> np.ndarray:
    """Stationary series ``(n_series, n)`` of variance 1 whose autocorrelation is exp(-t/decay)."""
    from scipy.signal import lfilter

    a = np.exp(-interval / decay)
    kicks = rng.normal(size=(n_series, n)) * np.sqrt(1 - a * a)
    kicks[:, 0] /= np.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], kicks, axis=1)


def ornstein_uhlenbeck_pressure(n: int, interval: float, decay: float, size: float, rng) -> PressureSeries:
    """A pressure tensor about 1 bar whose five shear components fluctuate independently by ``size`` bar.

    With p, q the two components of the diagonal: xx = p + q/√3, yy = -p + q/√3, zz = -2q/√3.
    """
    xy, xz, yz, p, q = size * ornstein_uhlenbeck(5, n, interval, decay, rng)
    third = q / np.sqrt(3)
    isotropic = 1.0 + size * rng.normal(size=n)
    diagonal = np.stack([p + third, -p + third, -2 * third], axis=1) + isotropic[:, None]
    return PressureSeries(interval, np.stack([xy, xz, yz], axis=1), diagonal)

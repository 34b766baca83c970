"""How widely frames cover bonds, angles and torsions, compared with frames at equilibrium.

Every coordinate of an ion is measured over all copies of the ion, such as the third C-H bond of all PYR14. Three
numbers compare the distribution in other frames with that in frames at equilibrium (EQ):

``spread``   standard deviation of a coordinate divided by the standard deviation in EQ; root mean square over
             coordinates (bonds and angles)
``reached``  number of occupied histogram bins of all coordinates, divided by the number in EQ
``beyond``   share of the samples in bins that EQ does not occupy

The last two depend on the number of samples and the bins, so as many EQ frames as other frames and equal bins are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from ilforge.liquid.topology import Topology
from ilforge.sampling.internal import InternalCoordinates, bond_angles, bond_lengths, torsion_angles
from ilforge.statistics import bootstrap

BINS = {"bonds": 0.02, "angles": 2.0, "torsions": 10.0}
"""Width of a bin, in Å for bonds and degrees for angles and torsions."""
_EDGES = {"bonds": (0.0, 4.0), "angles": (0.0, 180.0), "torsions": (-180.0, 180.0)}
_RESAMPLES = 100
_MOST = 500  # largest number of frames of a group to measure: more frames do not change significant digits


def coverage(groups: Mapping[str, Sequence[Atoms]], topology: Topology, seed: int = 1) -> dict[str, Any]:
    """Coverage of each group of frames, compared with the frames of kind EQ in all groups.

    Parameters
    ----------
    groups
        Frames by kind and recipe, such as ``"nEQ/hot"``; molecules are whole.
    seed
        Seed of the bootstrap over parents, which gives the standard errors.

    Returns
    -------
    dict
        By group and by ``"bonds"``, ``"angles"``, ``"torsions"``: the numbers above as ``[value, standard error]``
        (NaN as None), the number of ``parents``, and a ``histogram``: ``centres`` (deviation from the EQ mean of the
        same coordinate, Å or degrees; torsions themselves) and ``density``. Empty without EQ frames.
    """
    equilibrium = _thinned([f for members in groups.values() for f in members if f.info["kind"] == "EQ"], _MOST)
    if len(equilibrium) < 2:
        return {}
    internal, rng = InternalCoordinates.of(topology), np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, members in groups.items():
        if not members:
            continue
        chosen = _thinned(members, len(equilibrium))
        found[name] = {
            kind: _beside(kind, internal, topology, chosen, equilibrium, rng)
            for kind in BINS
            if len(getattr(internal, kind))
        }
    return found


def measured(kind: str, internal: InternalCoordinates, frames: Sequence[Atoms]) -> np.ndarray:
    """Values of all coordinates of a kind in frames, ``(n_frames, n)``, Å or degrees."""
    measure = {"bonds": bond_lengths, "angles": bond_angles, "torsions": torsion_angles}[kind]
    return measure(np.array([frame.positions for frame in frames]), getattr(internal, kind))


def _beside(
    kind: str,
    internal: InternalCoordinates,
    topology: Topology,
    members: Sequence[Atoms],
    equilibrium: Sequence[Atoms],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The numbers of one group for one kind of coordinate, compared with EQ."""
    alike = _alike(getattr(internal, kind), topology)
    at_rest, values = measured(kind, internal, equilibrium), measured(kind, internal, members)
    parents = np.array([str(frame.info.get("parent", i)) for i, frame in enumerate(members)])
    groups = [np.flatnonzero(parents == parent) for parent in np.unique(parents)]
    reference = _occupied(kind, np.array(_thinned(at_rest, len(values))), alike)
    spreads_at_rest = _spreads(at_rest, alike)

    def numbers(drawn: np.ndarray) -> np.ndarray:
        occupied = _occupied(kind, values[drawn], alike)
        beyond = occupied[(occupied > 0) & (reference == 0)].sum() / occupied.sum()
        reached = np.count_nonzero(occupied) / np.count_nonzero(reference)
        if kind == "torsions":
            return np.array([np.nan, reached, beyond])
        ratios = _spreads(values[drawn], alike) / spreads_at_rest
        return np.array([np.sqrt(np.mean(ratios**2)), reached, beyond])

    everything = numbers(np.arange(len(values)))
    errors = np.broadcast_to(bootstrap(numbers, groups, rng, n=_RESAMPLES), everything.shape)
    rows = zip(("spread", "reached", "beyond"), everything.tolist(), errors.tolist(), strict=True)
    return {
        **{name: [_plain(value), _plain(error)] for name, value, error in rows},
        "parents": len(groups),
        "histogram": _histogram(kind, values, at_rest, alike),
    }


def _alike(atoms: np.ndarray, topology: Topology) -> np.ndarray:
    """Number of each coordinate, ``(n,)``; the same coordinate has the same number in all copies of an ion."""
    first = topology.first_atoms[topology.molecules[atoms[:, 0]]]
    species = np.unique(topology.species, return_inverse=True)[1][topology.molecules[atoms[:, 0]]]
    key = np.column_stack([species, atoms - first[:, None]])
    return np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)


def _spreads(values: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Standard deviation of each coordinate over frames and copies, ``(n_alike,)``."""
    count = np.bincount(alike) * len(values)
    mean = np.bincount(alike, values.sum(axis=0)) / count
    squares = np.bincount(alike, ((values - mean[alike]) ** 2).sum(axis=0))
    return np.sqrt(squares / np.maximum(1, count - 1))


def _occupied(kind: str, values: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Samples in each bin of each coordinate, ``(n_alike, n_bins)``."""
    low, high = _EDGES[kind]
    n_bins = round((high - low) / BINS[kind])
    place = np.clip(((values - low) / BINS[kind]).astype(int), 0, n_bins - 1)
    return np.bincount((alike * n_bins + place).ravel(), minlength=(alike.max() + 1) * n_bins).reshape(-1, n_bins)


def _histogram(kind: str, values: np.ndarray, at_rest: np.ndarray, alike: np.ndarray) -> dict[str, list[float]]:
    """Distribution over all coordinates of a kind: of deviations from their EQ means, or of torsions themselves."""
    width = 0.5 * BINS[kind]
    if kind == "torsions":
        centred, edges = values, np.arange(-180.0, 180.0 + width, width)
    else:
        mean = np.bincount(alike, at_rest.sum(axis=0)) / (np.bincount(alike) * len(at_rest))
        centred = values - mean[alike]
        edges = width * (np.arange(-40, 42) - 0.5)
    counts, _ = np.histogram(centred, bins=edges)
    density = counts / (centred.size * width)
    return {"centres": np.round(0.5 * (edges[1:] + edges[:-1]), 6).tolist(), "density": np.round(density, 8).tolist()}


def _thinned(members: Sequence[Any] | np.ndarray, most: int) -> list[Any]:
    """At most ``most`` members, spread evenly over the list."""
    count = min(len(members), most)
    return [members[int((i + 0.5) * len(members) / count)] for i in range(count)]


def _plain(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None

"""Radial distribution functions between centres of ions, elements, or atoms of ions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np

from ilforge.errors import SettingsError
from ilforge.liquid.topology import Topology
from ilforge.properties.kernels.pairs import class_histogram
from ilforge.properties.kernels.shells import MIN_BLOCKS, Course, Followed, first_shell
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.settings import RdfSettings
from ilforge.results import Curve
from ilforge.statistics import block_error

_BLOCKS = 10
_MIN_BINS = 5
_TIMES = 200  # largest number of times in the series for the relaxation of the first shell
_FOLLOWED_TIMES, _FOLLOWED_IONS = 100, 64  # largest numbers for the neighbours of single ions
_FOLLOWED_WIDTH_A = 0.25
_MARGIN = 0.98  # the box of an NPT run may become smaller than in the first frame


@dataclass(frozen=True)
class Site:
    """Points for g(r): indices among all atoms, followed by the centres of all ions."""

    label: str
    points: np.ndarray


class Rdf:
    """Radial distribution functions g(r) and running coordination numbers n(r).

        g_AB(r) = <V c_AB(r)> / (P_AB 4π/3 [(r+δ/2)³ - (r-δ/2)³]),    n_AB(r) = <pairs closer than r> / N_A

    c_AB is the number of ordered pairs (a, b) of different molecules at this distance, and P_AB their number in
    the box: N_A N_B minus the pairs within one molecule, for example N (N - 1) for centres of one species. An ideal gas
    of such molecules then has g = 1 exactly for any N. (Programs that divide by N² give 1 - 1/N, and even less if there
    are pairs within a molecule.) n(r) is a number of neighbours and needs no such convention.

    Distances go up to half the shortest height of the cell. Errors are those of the mean over ten blocks of the
    run. The first maximum and the minimum after it are searched in g(r) smoothed by 0.12 Å. They are reported if they
    exceed three standard errors, with jackknife errors over blocks. They have not converged with fewer independent
    samples of the number of pairs in the first shell than ``min_independent_samples``: see
    :func:`~ilforge.properties.kernels.shells.first_shell`.

    M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), section 8.2.
    """

    needs_cell: ClassVar[str] = "g(r) compares with the mean density of a box"

    def __init__(self, settings: RdfSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._pairs = site_pairs(self._settings.pairs, system.topology)
        self._classes = _Classes(system.topology, [site for pair in self._pairs for site in pair])
        self._n_blocks = min(_BLOCKS, system.n_frames)
        self._frames = np.zeros(self._n_blocks)
        self._n_times = min(_TIMES, system.n_frames) // system.n_runs * system.n_runs or system.n_frames
        self._frames_at = np.zeros(self._n_times)
        self._shortest = np.inf
        self._seen = 0
        self._bins = 0
        n_followed = min(_FOLLOWED_TIMES, system.n_frames)
        self._followed_at = np.unique(np.linspace(0, system.n_frames - 1, n_followed).round().astype(int))
        self._followed: list[list[np.ndarray]] = [[] for _ in self._pairs]

    def look(self, snapshot: Snapshot) -> tuple[float, float, np.ndarray, list[np.ndarray]]:
        """Shortest height and volume of the box, and the ordered pairs of each g(r), ``(n_pairs, n_bins)``.

        At some times also the neighbours of single ions, ``(n_ions, n_distances)`` for each g(r).
        """
        if self._bins == 0:
            self._set_range(snapshot)
        classes, points = self._classes, self._classes.points(snapshot)
        counts = class_histogram(
            points, snapshot.cell, classes.of_point, classes.molecules, classes.n, self._r_max, self._bins
        )
        ordered = np.stack([classes.ordered(counts, a, b) for a, b in self._pairs])
        shortest, followed = float(snapshot.heights.min()), []
        if snapshot.index in self._followed_at:
            reach = min(self._r_max, 0.5 * shortest)
            followed = [classes.neighbours(points, snapshot.cell, a, b, reach, self._r_max) for a, b in self._pairs]
        return shortest, snapshot.volume, ordered, followed

    def add(self, seen: tuple[float, float, np.ndarray, list[np.ndarray]]) -> None:
        shortest, volume, counts, followed = seen
        for of_pair, neighbours in zip(self._followed, followed, strict=False):
            of_pair.append(neighbours)
        self._shortest = min(self._shortest, shortest)
        block = self._seen * self._n_blocks // self._system.n_frames
        time = self._seen * self._n_times // self._system.n_frames
        self._seen += 1
        self._frames[block] += 1
        self._frames_at[time] += 1
        self._counts_at[time] += counts
        self._counts[block] += counts
        self._volume_counts[block] += volume * counts

    def measurement(self) -> Measurement:
        result = Measurement()
        for row, (a, b) in enumerate(self._pairs):
            name = f"{a.label}-{b.label}"
            possible = self._classes.ordered_pairs(a, b)
            if possible == 0:
                result.notes.append(f"{name}: the box does not contain two different molecules with these sites")
                continue
            r, g, n = self._functions(row, len(a.points), possible)
            course = self._course(row, len(a.points), len(r))
            found = first_shell(r, g, n, course)
            n_eff = found[0][1].n_eff
            result.curves[f"rdf {name}"] = _curve(r, g, "g(r)", n_eff)
            result.curves[f"coordination {name}"] = _curve(r + 0.5 * self._width, n, "n(r)", n_eff)
            result.estimates.extend((quantity, name, one) for quantity, one in found)
        return result

    def _set_range(self, first: Snapshot) -> None:
        limit = 0.5 * float(first.heights.min())
        wanted = self._settings.r_max_A or _MARGIN * limit
        if wanted > limit:
            raise SettingsError(
                f"analysis.rdf.r_max_A is {wanted:g} Å: it may be at most half the shortest height of the box, "
                f"here {limit:.2f} Å. Leave it out to use that."
            )
        self._bins = int(wanted / self._settings.bin_A)
        if self._bins < _MIN_BINS:
            raise SettingsError(
                f"analysis.rdf.bin_A is {self._settings.bin_A:g} Å: up to {wanted:.2f} Å, the largest distance of "
                f"g(r) here, this gives fewer than {_MIN_BINS} bins. Choose a smaller width."
            )
        self._width = self._settings.bin_A
        self._r_max = self._bins * self._width
        shape = (self._n_blocks, len(self._pairs), self._bins)
        self._counts, self._volume_counts = np.zeros(shape), np.zeros(shape)
        self._counts_at = np.zeros((self._n_times, *shape[1:]), dtype=np.float32)

    def _functions(self, row: int, n_first: int, possible: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances ``(n_bins,)``; g and n of each block, ``(n_blocks, n_bins)``, around ``n_first`` points."""
        used = int(min(self._bins, 0.5 * self._shortest / self._width))  # the box may have become smaller
        edges = self._width * np.arange(used + 1)
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        frames = self._frames[:, None]
        g = self._volume_counts[:, row, :used] / frames / (possible * shells)
        n = np.cumsum(self._counts[:, row, :used] / frames, axis=1) / n_first
        return edges[:-1] + 0.5 * self._width, g, n

    def _course(self, row: int, n_first: int, used: int) -> Course:
        """n(r) along the run."""
        n = np.cumsum(self._counts_at[:, row, :used], axis=1, dtype=float) / self._frames_at[:, None] / n_first
        length = self._system.n_frames * self._system.frame_interval_ps
        ions = Followed(np.stack(self._followed[row]), _FOLLOWED_WIDTH_A, n_first)
        n_runs = self._system.n_runs if self._n_times % self._system.n_runs == 0 else 1
        return Course(n, length, self._settings.min_independent_samples, ions, n_runs)


class _Classes:
    """All points of the sites, grouped into classes; the points of a class belong to the same sites."""

    def __init__(self, topology: Topology, sites: list[Site]):
        self._sites = {site.label: site for site in sites}
        owners = np.concatenate([topology.molecules, np.arange(topology.n_molecules)])
        member = np.zeros((len(self._sites), len(owners)), dtype=bool)
        for row, site in enumerate(self._sites.values()):
            member[row, site.points] = True
        chosen = self._chosen = np.flatnonzero(member.any(axis=0))
        self._atoms = chosen[chosen < topology.n_atoms]
        self._centres = chosen[chosen >= topology.n_atoms] - topology.n_atoms
        self.molecules = owners[chosen]
        kinds, self.of_point = np.unique(member[:, chosen], axis=1, return_inverse=True)
        self.of_point = self.of_point.reshape(-1)
        self._member = dict(zip(self._sites, kinds, strict=True))
        self._owners = owners
        self.n = kinds.shape[1]

    def points(self, snapshot: Snapshot) -> np.ndarray:
        """Positions of the points in a frame, ``(n_points, 3)`` in Å."""
        atoms = snapshot.positions[self._atoms]
        if len(self._centres) == 0:  # whole ions are not needed
            return atoms
        return np.concatenate([atoms, snapshot.centres[self._centres]])

    def neighbours(
        self, points: np.ndarray, cell: np.ndarray, a: Site, b: Site, reach: float, r_max: float
    ) -> np.ndarray:
        """Points of ``b`` in other molecules around some of ``a``, closer than 0.25, 0.5 ... Å up to ``r_max``.

        ``(n_ions, n_distances)``; points beyond ``reach`` are not counted.
        """
        from ilforge.properties.kernels.pair_loops import count_neighbours

        of_a, of_b = np.searchsorted(self._chosen, a.points), np.searchsorted(self._chosen, b.points)
        of_a = of_a[:: -(-len(of_a) // _FOLLOWED_IONS)]
        near, around = (np.ascontiguousarray(points[rows], dtype=float) for rows in (of_a, of_b))
        owners, n = self.molecules, max(1, int(r_max / _FOLLOWED_WIDTH_A))
        cell = np.array(cell, dtype=float)  # a writeable array, so that the function is compiled only once
        counts = count_neighbours(near, around, owners[of_a], owners[of_b], cell, reach, _FOLLOWED_WIDTH_A, n)
        return counts.astype(np.uint16)

    def ordered(self, counts: np.ndarray, a: Site, b: Site) -> np.ndarray:
        """Ordered pairs (a, b), ``(n_bins,)``, from counts ``(n_classes, n_classes, n_bins)`` of unordered pairs."""
        of_a, of_b = (np.flatnonzero(self._member[site.label]) for site in (a, b))
        found: np.ndarray = counts[np.ix_(of_a, of_b)].sum(axis=(0, 1)) + counts[np.ix_(of_b, of_a)].sum(axis=(0, 1))
        return found

    def ordered_pairs(self, a: Site, b: Site) -> int:
        """Number of pairs (a, b) of points of different molecules in the box."""
        size = self._owners.max() + 1
        of_a, of_b = (np.bincount(self._owners[site.points], minlength=size) for site in (a, b))
        return int(of_a.sum() * of_b.sum() - of_a @ of_b)


def site_pairs(pairs: list[tuple[str, str]] | None, topology: Topology) -> list[tuple[Site, Site]]:
    """The sites that the settings name, in pairs; by default the centres of every pair of ions."""
    if pairs is None:
        pairs = list(combinations_with_replacement(dict.fromkeys(topology.species), 2))
    return [(find_site(a, topology), find_site(b, topology)) for a, b in pairs]


def find_site(name: str, topology: Topology) -> Site:
    """The points of a site such as ``PYR14``, ``B``, ``N:PYR14`` or ``O1:TFSI``.

    Raises
    ------
    SettingsError
        When the liquid has no such site; the message lists the existing sites.
    """
    symbols, names = np.asarray(topology.symbols), np.asarray(topology.names)
    what, _, ion = name.partition(":")
    if name in topology.species:
        points = topology.n_atoms + np.flatnonzero(np.asarray(topology.species) == name)
    else:
        inside = topology.atom_species == ion if ion else np.ones(topology.n_atoms, dtype=bool)
        points = np.flatnonzero(inside & (symbols == what))
        if ion and len(points) == 0:
            points = np.flatnonzero(inside & (names == what))
    if len(points) == 0:
        ions = ", ".join(dict.fromkeys(topology.species))
        elements = ", ".join(dict.fromkeys(topology.symbols))
        raise SettingsError(
            f"analysis.rdf.pairs names {name!r}, which this liquid does not have. Use an ion ({ions}), "
            f"an element ({elements}), or an element or atom name in an ion, such as "
            f"{topology.symbols[0]}:{topology.species[0]}."
        )
    return Site(name, points)


def _curve(r: np.ndarray, blocks: np.ndarray, label: str, n_eff: float) -> Curve:
    error = block_error(blocks, len(blocks)) if len(blocks) >= MIN_BLOCKS else None
    return Curve(r, blocks.mean(axis=0), error, "r", "Å", label, "1", n_eff)


KIND = PropertyKind(
    name="rdf",
    title="Radial distribution functions",
    settings=RdfSettings,
    observer=Rdf,
    version=4,
    names_ions=True,
    also_called=("g(r)", "radial_distribution", "coordination_number"),
)

"""Shapes of ions: populations, maps, rates of change, and the difference between two runs."""

from __future__ import annotations

from itertools import product
from typing import ClassVar

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.kernels.internal import divergence_of_blocks
from ilforge.properties.kernels.populations import Relaxation, population, relaxation
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.conformations import Coordinate, Shape, shapes_of
from ilforge.properties.shared.local_structure import ShapesSettings
from ilforge.properties.shared.steadiness import Course, in_parts, judged
from ilforge.results import Curve, Estimate, Table
from ilforge.statistics import block_error
from ilforge.units import KB, KJ_PER_MOL

_BLOCKS = 10
_MIN_GROUPED_IONS = (
    4  # with at least this number, (groups of) ions are the independent blocks, otherwise parts of the run
)
_RELAXATIONS_OF_A_PART = 2.0  # smallest length of such a part, in relaxations
_MAX_DISTANCE_A = 20.0
_NONE = 255  # the ion has not been well inside any shape yet
_MIN_EXITS = 10
_MIN_COMMON_BLOCKS = 4
_LEAST_ERROR_BIT = 1e-9  # smaller errors are rounding


class Shapes:
    """Conformations of ions.

    TFSI: phi = dihedral(C1, S1, S2, C2) and psi = dihedral(C1, S1, S2, N) about the line S...S. |phi| < 90 is Cis,
    otherwise Trans; if N is outside the angle between the two C, aCis and aTrans. The map includes both choices of the
    first S and mirror images, because these are the same shape.

    PYR14: r2 is the distance from the end of the butyl chain to the methyl carbon, r1 the distance to the nearer ring
    carbon next to N. anti is r2 > 6 Å, scorpion r1 < 4.3 Å, all others are gauche. The three torsions of the chain are
    distinguished too (t beyond 120 degrees, otherwise g).

    Other ions are defined by SMARTS in ``define``. Populations use the plain definition in every frame. For transitions
    and lifetimes, a new shape counts only after the ion is inside it by a margin, so that recrossing a border is not a
    transition. Maps are densities p and F = -kT ln(p / max p), with errors from up to ten blocks: ions or groups of
    ions or, with fewer than four ions, parts of the run. A map has converged if the populations have, and if these
    parts (a tenth of the run) are two relaxations long.
    """

    needs_cell: ClassVar[str] = ""

    def __init__(self, settings: ShapesSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        shapes = shapes_of(system.topology, self._settings.define)
        self._series = [_Series(shape, system, self._settings) for shape in shapes]

    def look(self, snapshot: Snapshot) -> list[tuple[np.ndarray, ...]]:
        return [series.look(snapshot) for series in self._series]

    def add(self, seen: list[tuple[np.ndarray, ...]]) -> None:
        for series, values in zip(self._series, seen, strict=True):
            series.add(*values)

    def measurement(self) -> Measurement:
        result = Measurement()
        if not self._series:
            known = ", ".join(self._system.ions)
            result.notes.append(f"No shapes are known for {known}: define them with SMARTS in analysis.shapes.define.")
        for series in self._series:
            series.add_to(result)
        return result


class _Series:
    """The shapes of one definition in all frames."""

    def __init__(self, shape: Shape, system: System, settings: ShapesSettings):
        self._shape, self._system, self._settings = shape, system, settings
        ions = system.ions[shape.ion]
        self._first_atoms = system.topology.first_atoms[ions]
        self._plain = np.zeros((system.n_frames, len(ions)), dtype=np.uint8)
        self._settled = np.full((system.n_frames, len(ions)), _NONE, dtype=np.uint8)
        self._seen = 0
        self._edges = {c.name: _edges(c, settings) for c in shape.coordinates}
        self._by_ion = len(ions) >= _MIN_GROUPED_IONS
        self._groups = np.arange(len(ions)) * min(_BLOCKS, len(ions)) // len(ions)
        self._histograms = {c.name: np.zeros((_BLOCKS, len(self._edges[c.name]) - 1)) for c in shape.coordinates}
        self._map = np.zeros((_BLOCKS, *(len(self._edges[name]) - 1 for name in shape.map_of)))

    def look(self, snapshot: Snapshot) -> tuple[np.ndarray, ...]:
        """Coordinates and shape of every ion, and whether it is well inside the shape."""
        values = self._shape.values(snapshot.whole, self._first_atoms)
        return values, *self._shape.settled(values, self._settings.margin_degrees, self._settings.margin_A)

    def add(self, values: np.ndarray, found: np.ndarray, inside: np.ndarray) -> None:
        """Add the values of the next frame."""
        shape = self._shape
        before = self._settled[self._seen - 1] if self._seen else np.full(len(found), _NONE, dtype=np.uint8)
        self._plain[self._seen] = found
        self._settled[self._seen] = np.where(inside, found, before)
        block = self._groups if self._by_ion else np.full(len(found), self._time_block(self._seen))
        for column, coordinate in enumerate(shape.coordinates):
            _count(self._histograms[coordinate.name], block, [self._bin(coordinate, values[:, column])])
        if shape.map_of:
            self._count_map(values, block)
        self._seen += 1

    def add_to(self, result: Measurement) -> None:
        """Add populations, transitions, distributions and the map to a measurement."""
        self._add_populations(result)
        self._add_transitions(result)
        for coordinate in self._shape.coordinates:
            result.curves[f"distribution {self._shape.name} {coordinate.name}"] = self._distribution(coordinate)
        if len(self._shape.map_of) == 2:
            self._add_map(result)

    def _time_block(self, index: int) -> int:
        return index * _BLOCKS // max(self._system.n_frames, 1)

    def _bin(self, coordinate: Coordinate, values: np.ndarray) -> np.ndarray:
        edges = self._edges[coordinate.name]
        n = len(edges) - 1
        found = np.floor((values - edges[0]) / (edges[1] - edges[0])).astype(int)
        result: np.ndarray = found % n if coordinate.is_angle else np.clip(found, 0, n - 1)
        return result

    def _count_map(self, values: np.ndarray, block: np.ndarray) -> None:
        shape = self._shape
        columns = {c.name: (index, c) for index, c in enumerate(shape.coordinates)}
        images = values[None] if shape.images is None else shape.images(values)
        for image in images:
            bins = [self._bin(columns[name][1], image[:, columns[name][0]]) for name in shape.map_of]
            _count(self._map, block, bins)

    def _add_populations(self, result: Measurement) -> None:
        plain, shape = self._plain[: self._seen], self._shape
        minimum, interval = self._settings.min_independent_samples, self._system.frame_interval_ps
        visited = [plain == index for index in range(len(shape.labels))]
        relaxed = _slowest([visits for visits in visited if visits.any()])
        rows: list[tuple[str, str, float, float | None, float, bool]] = []
        for label, visits in zip(shape.labels, visited, strict=True):
            estimate = population(visits, relaxed, minimum, interval)
            result.estimates.append(("shape_population", f"{shape.name} {label}", estimate))
            rows.append((shape.name, label, estimate.value, _none(estimate.error), estimate.n_eff, estimate.converged))
        parts_hold = self._by_ion or len(plain) >= _RELAXATIONS_OF_A_PART * _BLOCKS * relaxed.inefficiency
        self._relaxed = parts_hold and all(row[-1] for row in rows if row[2] > 0)
        columns = ("ion", "shape", "population_percent", "error_percent", "n_independent", "converged")
        result.tables[f"populations {shape.name}"] = Table(columns, rows, "populations", shape.name)

    def _add_transitions(self, result: Measurement) -> None:
        settled, labels = self._settled[: self._seen], self._shape.labels
        n, interval = len(labels), self._system.frame_interval_ps
        before, after = settled[:-1], settled[1:]
        changed = (before != after) & (before != _NONE)
        frames, ions = np.nonzero(changed)
        counts = np.zeros((n, n, settled.shape[1]))
        np.add.at(counts, (before[frames, ions], after[frames, ions], ions), 1)
        spent = np.array([(before == index).sum(axis=0) for index in range(n)]) * interval
        rows = []
        for i, j in product(range(n), range(n)):
            total = float(counts[i, j].sum())
            if total:
                time_ns = spent[i].sum() / 1000.0
                error = _count_error(counts[i, j])
                rows.append((self._shape.name, labels[i], labels[j], int(total), total / time_ns, error / time_ns))
        columns = ("ion", "from", "to", "transitions", "rate_per_ns", "error_per_ns")
        result.tables[f"transitions {self._shape.name}"] = Table(columns, rows, "transitions", self._shape.name)
        for index, label in enumerate(labels):
            estimate = _lifetime(spent[index], counts[index].sum(axis=0))
            left = in_parts((changed & (before == index)).T)
            course = Course(f"the number of times that {label} is left", left, len(settled) * interval)
            estimate = judged(estimate, [course])
            result.estimates.append(("shape_lifetime", f"{self._shape.name} {label}", estimate))

    def _distribution(self, coordinate: Coordinate) -> Curve:
        edges = self._edges[coordinate.name]
        blocks = self._histograms[coordinate.name]
        density = _densities(blocks, edges[1] - edges[0])
        error = block_error(density, len(density)) if len(density) > 1 else None
        centres, values = 0.5 * (edges[1:] + edges[:-1]), blocks.sum(axis=0) / blocks.sum() / (edges[1] - edges[0])
        if not coordinate.is_angle:
            last = int(np.flatnonzero(values)[-1]) + 2
            centres, values, error = centres[:last], values[:last], None if error is None else error[:last]
        unit = coordinate.unit
        n = len(density)
        return Curve(centres, values, error, coordinate.name, unit, "density", f"1/{unit}", n, self._relaxed)

    def _add_map(self, result: Measurement) -> None:
        shape, blocks = self._shape, self._map
        x, y = (0.5 * (self._edges[name][1:] + self._edges[name][:-1]) for name in shape.map_of)
        area = (x[1] - x[0]) * (y[1] - y[0])
        density = blocks.sum(axis=0) / blocks.sum() / area
        parts = _densities(blocks, area)
        error = block_error(parts, len(parts)) if len(parts) > 1 else np.full(density.shape, np.nan)
        temperature = self._system.temperature_K
        energy = None if temperature is None else KB * temperature / KJ_PER_MOL
        rows = []
        for i, j in np.argwhere(density > 0):
            free, free_error = -np.log(density[i, j] / density.max()), error[i, j] / density[i, j]
            in_kJ = (None, None) if energy is None else (free * energy, _none(free_error * energy))
            rows.append(
                (float(x[i]), float(y[j]), float(density[i, j]), _none(error[i, j]), float(free), _none(free_error),
                 *in_kJ, len(parts), self._relaxed)
            )  # fmt: skip
        names = [f"{c.name}_{'degrees' if c.is_angle else 'A'}" for n in shape.map_of for c in shape.coordinates
                 if c.name == n]  # fmt: skip
        columns = (*names, "density", "density_error", "F_kT", "F_error_kT", "F_kJ_mol", "F_error_kJ_mol",
                   "n_independent", "converged")  # fmt: skip
        result.tables[f"map {shape.name}"] = Table(columns, rows, "map", shape.name)
        used = np.argwhere(blocks > 0)
        counts = [(int(b), float(x[i]), float(y[j]), int(blocks[b, i, j])) for b, i, j in used]
        blocks_table = Table(("block", *names, "count"), counts, "map blocks", shape.name)
        result.tables[f"map blocks {shape.name}"] = blocks_table


def compare(a: Measurement, b: Measurement, rng: np.random.Generator | None = None) -> list[tuple[str, str, Estimate]]:
    """Difference between the maps of two runs for each ion, as Jensen-Shannon divergence in bits.

    0 means equal maps, 1 maps without any overlap. The divergence expected by chance for two runs of the same system is
    subtracted, and the note gives the probability of this divergence for equal systems: see
    :func:`~ilforge.properties.kernels.internal.divergence_of_blocks`. Blocks must be independent, so the divergence of
    maps that have not converged has not converged either.

    Parameters
    ----------
    a, b
        Measurements of ``shapes`` with the same bins, for two potentials, temperatures or phases.
    rng
        Random numbers for the bootstrap.

    Returns
    -------
    ``("shape_divergence", ion, estimate)`` for each ion with a map in both.
    """
    rng = rng or np.random.default_rng(0)
    shared = _common_maps(a, b)
    if not shared:
        raise SettingsError("The two measurements of shapes have no map in common.")
    found = []
    for name in shared:
        ion = name.removeprefix("map blocks ")
        _check_bins(a, b, ion)
        blocks = _common_bins(a.tables[name], b.tables[name])
        n = min(len(part) for part in blocks)
        if n < _MIN_COMMON_BLOCKS:
            note = f"{n} blocks with this ion are too few to halve a run"
            found.append(("shape_divergence", ion, Estimate.refused("bit", note, n)))
            continue
        apart = divergence_of_blocks(*blocks, rng)
        doubt = _doubt(a, b, ion, apart.error)
        note = doubt or f"{apart.bias:.3g} bit of chance taken off; p = {apart.p_value:.2g} that the two are equal"
        error = apart.error if apart.error > _LEAST_ERROR_BIT else np.nan
        found.append(("shape_divergence", ion, Estimate(apart.value, error, n, "bit", not doubt, note)))
    return found


def _doubt(a: Measurement, b: Measurement, ion: str, error: float) -> str:
    """Why the divergence of two maps has not converged; empty if it has."""
    settled = [all(one.tables[f"map {ion}"].column("converged")) for one in (a, b)]
    if not all(settled):
        which = {(False, True): "the first map", (True, False): "the second map"}.get(
            (settled[0], settled[1]), "neither map"
        )
        return (
            f"{which} has {'' if which == 'neither map' else 'not '}converged: see the populations of {ion}, and with "
            "fewer than four ions whether a tenth of the run is two relaxations long"
        )
    return "" if error > _LEAST_ERROR_BIT else "all parts of the runs are alike, which leaves no error"


def have_common_map(a: Measurement, b: Measurement) -> bool:
    """Whether two measurements of shapes have an ion in common, so that they can be compared."""
    return bool(_common_maps(a, b))


def _common_maps(a: Measurement, b: Measurement) -> list[str]:
    return [name for name in a.tables if name.startswith("map blocks ") and name in b.tables]


def _check_bins(a: Measurement, b: Measurement, ion: str) -> None:
    def widths(measurement: Measurement) -> dict[str, float]:
        mine = {k: c.x for k, c in measurement.curves.items() if k.startswith(f"distribution {ion} ")}
        return {name: round(float(x[1] - x[0]), 9) for name, x in mine.items()}

    if widths(a) != widths(b):
        raise SettingsError(
            f"The two maps of {ion} have different coordinates or bins ({widths(a)} and {widths(b)}): measure both "
            "with the same analysis.shapes."
        )


def _common_bins(a: Table, b: Table) -> tuple[np.ndarray, np.ndarray]:
    """Counts ``(n_blocks, n_bins)`` of two tables over all bins of both; empty blocks are left out."""
    bins = {place: index for index, place in enumerate(dict.fromkeys(row[1:3] for row in (*a.rows, *b.rows)))}
    result = []
    for table in (a, b):
        counts = np.zeros((_BLOCKS, len(bins)))
        for block, *place, count in np.array(table.rows, dtype=float).reshape(-1, 4).tolist():
            counts[int(block), bins[tuple(place)]] += count
        result.append(counts[counts.sum(axis=1) > 0])
    return result[0], result[1]


def _slowest(visited: list[np.ndarray]) -> Relaxation:
    """Relaxation of the slowest shape; as long as it has not relaxed, the shares of other shapes change too."""
    changing = [visits for visits in visited if not visits.all()]
    return max((relaxation(visits) for visits in changing or visited), key=lambda found: found.inefficiency)


def _lifetime(spent_ps: np.ndarray, exits: np.ndarray) -> Estimate:
    """Time spent in a shape divided by the number of times it was left, in ps; both are ``(n_ions,)``."""
    n = float(exits.sum())
    if n < _MIN_EXITS:
        time = float(spent_ps.sum())
        note = f"the shape was left {n:.0f} times in {time:.3g} ps spent in it, and {_MIN_EXITS} times are needed"
        return Estimate.refused("ps", note, n)
    value = float(spent_ps.sum()) / n
    residual = exits - spent_ps / value  # exits less those expected from the time spent
    error = value / n * max(np.sqrt(n), _count_error(residual))
    return Estimate(value, float(error), n, "ps")


def _count_error(counts: np.ndarray) -> float:
    """Standard error of a sum of counts over ions: Poisson, or the spread between ions if that is larger."""
    poisson = np.sqrt(np.abs(counts).sum())
    if len(counts) < 2:
        return float(poisson)
    return float(max(poisson, np.sqrt(len(counts)) * counts.std(ddof=1)))


def _edges(coordinate: Coordinate, settings: ShapesSettings) -> np.ndarray:
    if coordinate.is_angle:
        return np.linspace(-180.0, 180.0, max(6, round(360.0 / settings.bin_degrees)) + 1)
    return settings.bin_A * np.arange(int(_MAX_DISTANCE_A / settings.bin_A) + 1)


def _count(histogram: np.ndarray, block: np.ndarray, bins: list[np.ndarray]) -> None:
    np.add.at(histogram, (block, *bins), 1.0)


def _densities(blocks: np.ndarray, size: float) -> np.ndarray:
    """Density of each block that is not empty."""
    totals = blocks.reshape(len(blocks), -1).sum(axis=1)
    used = totals > 0
    found: np.ndarray = blocks[used] / totals[used].reshape(-1, *[1] * (blocks.ndim - 1)) / size
    return found


def _none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


KIND = PropertyKind(
    name="shapes",
    title="Shapes of ions",
    settings=ShapesSettings,
    observer=Shapes,
    version=5,
    names_ions=True,
    also_called=("conformers", "conformations", "dihedrals"),
)

"""Static structure factor for X-rays and neutrons."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.kernels.modes import density_modes, lengths, spread_over_bins, wave_vectors
from ilforge.properties.kernels.populations import Relaxation, relaxation, too_short
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared import steadiness
from ilforge.properties.shared.settings import StructureFactorSettings
from ilforge.results import Curve, Estimate, too_few_frames
from ilforge.statistics import block_error, statistical_inefficiency, too_few

_BLOCKS = 10
_TIMES = 200  # largest number of times in the series for the relaxation of S(q)
_MIN_BLOCKS = 5
_SEED = 0  # for the choice among equivalent wave vectors
_PEAK_RANGE = 0.5  # 1/Å; a box has few wave vectors below this
_CHANCE = 0.001  # allowed probability that the highest of all bins is noise
_LEAST = 0.1


class StructureFactor:
    """Static structure factor S(q) with the weights of X-rays and of neutrons, total and partial.

        ρ_a(q) = Σ_{i in a} exp(i q·r_i),    I_ab(q) = <ρ_a(q) ρ_b(-q)> / N
        partial, elements a and b:    A_ab(q) = 1 + (I_ab - x_a δ_ab) / (x_a x_b)          (Faber-Ziman)
        X-rays:     S(q) = 1 + [Σ_ab f_a f_b I_ab - Σ_a x_a f_a²] / (Σ_a x_a f_a)²          (Faber-Ziman)
        neutrons:   S(q) = Σ_ab b_a b_b I_ab / Σ_a x_a b_a²

    computed by direct sums over the wave vectors of the box, without a cutoff in r, and averaged over all
    directions within bins of \\|q\\|. f are the form factors of free atoms, b the bound coherent scattering lengths,
    x mole fractions of atoms. An ideal gas has S = 1. Neutrons have another normalisation because Σ x b almost vanishes
    in liquids with many H. The X-ray parts of pairs of ions add up to S(q) - 1.

    At most ``max_vectors`` wave vectors, chosen evenly over the bins, and at most ``max_frames`` frames are used.
    Errors are those of the mean over ten blocks of the run. The main peak has converged if S(q) has at least
    ``min_independent_samples`` there, and if the run is four relaxations of the scattering of single wave vectors long
    (see :func:`main_peak`).

    T. E. Faber and J. M. Ziman, Philos. Mag. 11, 153 (1965); D. T. Keen, J. Appl. Cryst. 34, 172 (2001). Form
    factors: D. Waasmaier and A. Kirfel, Acta Cryst. A51, 416 (1995); lengths: V. F. Sears, Neutron News 3, 26
    (1992), and later values; both as in periodictable.
    """

    needs_cell: ClassVar[str] = "S(q) is that of a periodic box"

    def __init__(self, settings: StructureFactorSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        topology = system.topology
        named = list(zip(topology.atom_species.tolist(), topology.symbols, strict=True))
        self._kinds = list(dict.fromkeys(named))
        kind = np.array([self._kinds.index(name) for name in named])
        self._order = np.argsort(kind, kind="stable")
        self._counts = np.bincount(kind)
        self._starts = np.cumsum(self._counts) - self._counts
        self._vectors: np.ndarray | None = None
        wanted = min(self._settings.max_frames, system.n_frames)
        self._frames = np.unique(np.linspace(0, system.n_frames - 1, wanted).round().astype(int))
        self._n_blocks = min(_BLOCKS, len(self._frames))
        self._n_bins = int(np.ceil(self._settings.q_max_per_A / self._settings.bin_per_A))
        n = len(self._kinds)
        self._products = np.zeros((self._n_blocks, n, n, self._n_bins))
        self._weights, self._q = np.zeros((2, self._n_blocks, self._n_bins))
        self._n_times = min(_TIMES, len(self._frames))
        self._n_runs = system.n_runs if self._n_times % system.n_runs == 0 else 1
        self._scattered, self._weights_at = np.zeros((2, self._n_times, self._n_bins))
        self._form = self._form_factors()
        self._of_vectors: list[np.ndarray] = []
        self._seen = 0

    def look(self, snapshot: Snapshot) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """Block of the run; sums of products of modes, of 1 and of q in each bin; the scattering of each vector."""
        place = int(np.searchsorted(self._frames, snapshot.index))
        if place == len(self._frames) or self._frames[place] != snapshot.index:
            return None
        if self._vectors is None:
            self._choose_vectors(snapshot.cell)
        assert self._vectors is not None
        fractional = snapshot.positions[self._order] @ np.linalg.inv(snapshot.cell)
        modes = density_modes(fractional, self._starts, self._vectors)
        q = lengths(self._vectors, snapshot.cell)
        bins = (q / self._settings.bin_per_A).astype(int)
        kept = bins < self._n_bins
        block = place * self._n_blocks // len(self._frames)
        products = np.zeros(self._products.shape[1:])
        for i in range(len(self._kinds)):
            for j in range(i, len(self._kinds)):
                product = (modes[i] * modes[j].conj()).real / self._counts.sum()
                products[i, j] = np.bincount(bins[kept], product[kept], self._n_bins)
        weights = np.bincount(bins[kept], minlength=self._n_bins)
        amplitude = (self._form[:, np.minimum(bins, self._n_bins - 1)] * modes).sum(axis=0)
        scattered = (np.abs(amplitude) ** 2).astype(np.float32)
        return block, products, weights, np.bincount(bins[kept], q[kept], self._n_bins), scattered

    def add(self, seen: tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None) -> None:
        if seen is None:
            return
        block, products, weights, q, scattered = seen
        self._products[block] += products
        self._weights[block] += weights
        self._q[block] += q
        time = self._seen * self._n_times // len(self._frames)
        if time == len(self._of_vectors):  # only the first frame of each time, because a mean would fluctuate less
            self._of_vectors.append(scattered)
        self._scattered[time] += np.einsum("iq,jq,ijq->q", self._form, self._form, _both_ways(products))
        self._weights_at[time] += weights
        self._seen += 1

    def measurement(self) -> Measurement:
        seen = self._weights.min(axis=0) > 0
        if not seen.any():
            raise SettingsError(
                "analysis.structure_factor: no bin of q contains a wave vector in every block of the run: set a "
                "larger bin_per_A."
            )
        q = self._q.sum(axis=0)[seen] / self._weights.sum(axis=0)[seen]
        upper = self._products[..., seen] / self._weights[:, None, None, seen]
        parts = _both_ways(upper)
        xray, xray_parts = self._xray(q, parts)
        curves = {"structure_factor_xray": _curve(q, xray, "S(q), X-rays")}
        curves["structure_factor_neutron"] = _curve(q, self._neutron(parts), "S(q), neutrons")
        for name, values in xray_parts.items():
            curves[f"structure_factor_xray {name}"] = _curve(q, values, "part of S(q) - 1, X-rays")
        for name, values in self._partials(parts).items():
            curves[f"structure_factor {name}"] = _curve(q, values, "A(q)")
        length = self._system.n_frames * self._system.frame_interval_ps
        of_vectors = np.array(self._of_vectors)
        in_bin = [self._bins == one for one in np.flatnonzero(seen)]
        course = Course(self._course(seen), lambda k: of_vectors[:, in_bin[k]], length, self._n_runs)
        peak = main_peak(q, xray, course, self._settings.min_independent_samples)
        return Measurement([("structure_factor_main_peak", None, peak)], curves)

    def _course(self, seen: np.ndarray) -> np.ndarray:
        """S(q) for X-rays along the run, up to a factor and a constant at each q, ``(n_times, n_q)``."""
        weights = self._weights_at[:, seen]
        course = self._scattered[:, seen] / np.maximum(weights, 1.0)
        empty = weights == 0  # bins without a wave vector in the box of this frame
        return np.where(empty, course.sum(axis=0) / np.maximum((~empty).sum(axis=0), 1), course)

    def _form_factors(self) -> np.ndarray:
        """Form factor of each kind of atom in the middle of each bin, ``(n_kinds, n_bins)``, divided by the mean."""
        from periodictable.cromermann import fxrayatq

        q = self._settings.bin_per_A * (np.arange(self._n_bins) + 0.5)
        f = np.array([fxrayatq(symbol, q) for _, symbol in self._kinds])
        found: np.ndarray = f / (self._fractions @ f)
        return found

    def _choose_vectors(self, cell: np.ndarray) -> None:
        vectors = wave_vectors(cell, self._settings.q_max_per_A)
        if len(vectors) == 0:
            raise SettingsError(
                f"analysis.structure_factor.q_max_per_A is {self._settings.q_max_per_A:g}: no wave vector of this box "
                f"is shorter. It must be above {2 * np.pi / np.linalg.norm(cell, axis=1).max():.2f}."
            )
        bins = (lengths(vectors, cell) / self._settings.bin_per_A).astype(int)
        chosen = spread_over_bins(bins, self._settings.max_vectors, np.random.default_rng(_SEED))
        self._vectors, self._bins = vectors[chosen], bins[chosen]

    @property
    def _fractions(self) -> np.ndarray:
        found: np.ndarray = self._counts / self._counts.sum()
        return found

    def _xray(self, q: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """S(q) of every block ``(n_blocks, n_q)``, and the contributions of pairs of ions to S(q) - 1."""
        from periodictable.cromermann import fxrayatq

        f = np.array([fxrayatq(symbol, q) for _, symbol in self._kinds])
        norm = (self._fractions @ f) ** 2
        terms = parts * f[:, None] * f[None, :]
        alone = self._fractions[:, None] * f**2
        ions = np.array([ion for ion, _ in self._kinds])
        names = list(self._system.ions)
        found = {}
        for i, a in enumerate(names):
            for b in names[i:]:
                part = terms[:, ions == a][:, :, ions == b].sum(axis=(1, 2))
                part = part - alone[ions == a].sum(axis=0) if a == b else 2.0 * part
                found[f"{a}-{b}"] = part / norm
        return 1.0 + sum(found.values()), found

    def _neutron(self, parts: np.ndarray) -> np.ndarray:
        from periodictable import elements

        b = np.array([elements.symbol(symbol).neutron.b_c for _, symbol in self._kinds])
        found: np.ndarray = np.einsum("i,j,bijq->bq", b, b, parts) / (self._fractions @ b**2)
        return found

    def _partials(self, parts: np.ndarray) -> dict[str, np.ndarray]:
        """A_ab of pairs of elements."""
        symbols = np.array([symbol for _, symbol in self._kinds])
        names = list(dict.fromkeys(symbols.tolist()))
        found = {}
        for i, a in enumerate(names):
            for b in names[i:]:
                x, y = self._fractions[symbols == a].sum(), self._fractions[symbols == b].sum()
                product = parts[:, symbols == a][:, :, symbols == b].sum(axis=(1, 2))
                found[f"{a}-{b}"] = 1.0 + (product - (x if a == b else 0.0)) / (x * y)
        return found


class Course(NamedTuple):
    """Scattering along the run.

    Attributes
    ----------
    mean
        ``(n_times, n_q)``: S(q), up to a factor and a constant at each q.
    of_vectors
        Function that gives the scattering of each wave vector in a bin of q, ``(n_times, n_vectors)``.
    length_ps
        Length of the run, ps.
    n_runs
        Number of independent runs, one after the other, all of one length.
    """

    mean: np.ndarray
    of_vectors: Callable[[int], np.ndarray]
    length_ps: float
    n_runs: int = 1


def main_peak(q: np.ndarray, blocks: np.ndarray, course: Course, min_samples: float) -> Estimate:
    """Position of the highest maximum of S(q) above 0.5 1/Å, with its jackknife error over blocks.

    Blocks give a valid error only if they are longer than the relaxation. It is determined from two series: S at the
    peak, and the difference of S on the two sides of the peak, which shifts it. The slower one is used. Both also
    change if ions only vibrate in their cages, although the scattering of each wave vector stays the same. Therefore
    the run must also be four relaxations of this scattering long (see
    :func:`~ilforge.properties.kernels.populations.relaxation`).

    Parameters
    ----------
    q
        ``(n_q,)`` in 1/Å.
    blocks
        ``(n_blocks, n_q)``: S(q) of each block of the run.
    course
        Scattering along the run.
    min_samples
        With fewer independent samples, the position has not converged.
    """
    from scipy.special import stdtrit

    n = len(blocks)
    if n < _MIN_BLOCKS:
        return Estimate.refused("1/Å", too_few_frames(n, "for an error"))
    mean, error = blocks.mean(axis=0), block_error(blocks, n)
    inside = np.flatnonzero(q > _PEAK_RANGE)
    inside = inside[(inside > 0) & (inside < len(q) - 1)]
    if len(inside) == 0:
        return Estimate.refused("1/Å", "too few values of q between 0.5 1/Å and the largest", n)
    top = int(inside[np.argmax(mean[inside])])
    n_eff, note = _samples(course, top, min_samples)
    if mean[top] - 1.0 < max(stdtrit(n - 1, 1.0 - _CHANCE / len(inside)) * error[top], _LEAST):
        return Estimate.refused("1/Å", "no maximum of S(q) stands out of the noise", n_eff)
    left_out = np.array([_vertex(q, (blocks.sum(axis=0) - block) / (n - 1), top) for block in blocks])
    spread = (n - 1) * left_out.var()
    width = 0.5 * (q[top + 1] - q[top - 1])
    found = Estimate(_vertex(q, mean, top), float(np.sqrt(spread + width**2 / 12.0)), n_eff, "1/Å", not note, note)
    level = course.mean[:, top] / course.mean[:, top].mean()
    of_runs = level.reshape(course.n_runs, -1)
    what = "S(q) at its main peak, relative to its mean,"
    at_peak = steadiness.Course(what, of_runs, course.length_ps / course.n_runs)
    return steadiness.judged(found, [at_peak])


def _samples(course: Course, top: int, min_samples: float) -> tuple[float, str]:
    """Number of independent samples of S(q) at its peak, and why it has not converged (empty if it has)."""
    series = (course.mean[:, top], course.mean[:, top + 1] - course.mean[:, top - 1])
    n_eff = min(len(course.mean) / statistical_inefficiency(one) for one in series)
    note = too_few("S(q) at its main peak", n_eff, min_samples, course.length_ps)
    scattered = course.of_vectors(top)
    of_one: Relaxation = relaxation(scattered)
    n_eff = min(n_eff, of_one.n_eff)
    interval = course.length_ps / len(scattered)
    return n_eff, note or too_short(len(scattered), of_one, n_eff, min_samples, interval, "one wave vector")


def _both_ways(upper: np.ndarray) -> np.ndarray:
    """The symmetric array ``(..., n, n, n_q)`` from one with each pair of kinds once, above the diagonal."""
    once = np.eye(upper.shape[-2])[:, :, None] * upper
    found: np.ndarray = upper + upper.swapaxes(-3, -2) - once
    return found


def _vertex(q: np.ndarray, values: np.ndarray, near: int) -> float:
    """Vertex of the parabola through the highest of three neighbouring points and the points beside it."""
    low, high = max(1, near - 1), min(len(q) - 2, near + 1)
    top = low + int(np.argmax(values[low : high + 1]))
    a, b, c = np.polyfit(q[top - 1 : top + 2] - q[top], values[top - 1 : top + 2], 2)
    reach = 0.5 * (q[top + 1] - q[top - 1])
    return float(q[top] + np.clip(-b / (2.0 * a), -reach, reach)) if a < 0 else float(q[top])


def _curve(q: np.ndarray, blocks: np.ndarray, label: str) -> Curve:
    error = block_error(blocks, len(blocks)) if len(blocks) >= _MIN_BLOCKS else None
    return Curve(q, blocks.mean(axis=0), error, "q", "1/Å", label, "1", len(blocks))


KIND = PropertyKind(
    name="structure_factor",
    title="Structure factor",
    settings=StructureFactorSettings,
    observer=StructureFactor,
    version=4,
    also_called=("s(q)", "sq"),
)

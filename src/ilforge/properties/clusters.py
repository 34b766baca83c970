"""Solvation clusters: number of ligands of each cation, their denticity, residence times, and bridges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ilforge.properties.kernels.contacts import aggregate_sizes, close_pairs, contact_correlations, departures
from ilforge.properties.kernels.populations import DECAYED, decay_time, mean_of_ions, population, relaxation
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.cluster_pictures import Pictures
from ilforge.properties.shared.local_structure import ClustersSettings
from ilforge.properties.shared.solvation import Contacts, FrameContacts, Solvation, atoms_in
from ilforge.properties.shared.steadiness import Course, in_parts, judged
from ilforge.results import Curve, Estimate, Table
from ilforge.statistics import block_error

_MIN_FRAMES = 5
_MIN_CATIONS = 5  # smallest number of cations for a spread of residence times
_RESAMPLES = 200
_STANDS_OUT = 2.0  # a correlation function is followed down to this many standard errors
_LOST = 0.1  # largest share of resamples without a residence time
_TABLE_5 = (2, 3, 4)  # numbers of ligands that are always reported
_POINTS = 400  # largest number of stored points of a correlation function


@dataclass(frozen=True)
class Shell:
    """First shell of each cation in each frame, all ``(n_frames, n_cations)`` integers.

    Attributes
    ----------
    ligands, atoms
        Number of coordinating ligands, and of their coordinating atoms.
    single, double
        Number of ligands that bind with one atom, and with two or more.
    shared
        Number of ligands that also coordinate another cation.
    aggregate
        Number of cations connected through shared ligands, including the cation itself.
    """

    ligands: np.ndarray
    atoms: np.ndarray
    single: np.ndarray
    double: np.ndarray
    shared: np.ndarray
    aggregate: np.ndarray


class Clusters:
    """Solvation clusters of a cation.

    A ligand coordinates a cation if any of its coordinating atoms is closer than the first minimum of g(r) in the
    same trajectory (or than ``cutoff_A``). The plain count is reported too: ligands with ``count_atom`` closer than
    ``count_within_A`` (N within 6 Å for TFSI), which includes ligands that are close but do not coordinate.
    Populations P(n) are shares of cations and times; for their errors see
    :func:`~ilforge.properties.kernels.populations.population`.

    A ligand is monodentate or bidentate by the number of its atoms within the cutoff. Cations that share a ligand
    are bridged; cations connected by bridges are an aggregate.

    Residence times are integrals of the correlation functions of contacts h (0 or 1) of a cation with a ligand,

        S(t) = <h(0) h(dt) ... h(t)> / <h>   (continuous: until the ligand first leaves),
        C(t) = <h(0) h(t)> / <h>             (intermittent: it may come back),

    where the value of C for randomly distributed ligands is subtracted. Errors are from a bootstrap over cations. All
    residence times depend on the time between frames: a ligand that leaves and returns within it has not left.

    D. C. Rapaport, Mol. Phys. 50, 1151 (1983); A. Luzar and D. Chandler, Nature 379, 55 (1996).
    """

    needs_cell: ClassVar[str] = "clusters are those of a liquid"

    def __init__(self, settings: ClustersSettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._solvation = Solvation(self._settings, "analysis.clusters")
        self._missing = self._solvation.begin(system)
        if self._missing:
            return
        wanted = self._settings
        self._count_atoms = atoms_in(system.topology, wanted.ligand, wanted.count_atom, "analysis.clusters.count_atom")
        self._count_ligands = np.searchsorted(self._solvation.ligands, system.topology.molecules[self._count_atoms])
        self._near = np.zeros((system.n_frames, len(self._solvation.cations)), dtype=np.uint8)
        self._pictures = Pictures(system, wanted, self._solvation)

    def look(self, snapshot: Snapshot) -> tuple[FrameContacts, np.ndarray, tuple[Any, ...] | None] | None:
        """Contacts, the plain count of ligands around each cation, and the frame if it may be needed for a picture."""
        if self._missing:
            return None
        centres, counted = self._solvation.centre_points(snapshot), snapshot.positions[self._count_atoms]
        i, j, _ = close_pairs(centres, counted, snapshot.cell, self._settings.count_within_A)
        n_ligands, ligand = len(self._solvation.ligands), self._count_ligands[j]
        if self._settings.cation == self._settings.ligand:
            i, ligand = i[i != ligand], ligand[i != ligand]
        once = np.unique(i * n_ligands + ligand) // n_ligands
        near = np.bincount(once, minlength=len(centres))
        return self._solvation.look(snapshot), near, self._pictures.look(snapshot)

    def add(self, seen: tuple[FrameContacts, np.ndarray, tuple[Any, ...] | None] | None) -> None:
        if seen is None:
            return
        contacts, near, picture = seen
        frame = self._solvation.n_frames
        self._solvation.add(contacts)
        self._near[frame] = near
        if picture is not None:
            self._pictures.add(frame, picture)

    def measurement(self) -> Measurement:
        if self._missing:
            return Measurement(notes=[self._missing])
        result = Measurement()
        near = self._near[: self._solvation.n_frames]
        rows = self._populations(
            result, near, f"{self._settings.count_atom} within {self._settings.count_within_A:g} Å"
        )
        self._add_pair_function(result)
        cutoff = self._solvation.cutoff()
        if cutoff is None:
            note = self._solvation.no_cutoff()
            result.estimates.append(("coordinating_ligands", self._name, Estimate.refused("1", note)))
        else:
            contacts = self._solvation.contacts(cutoff)
            shell = first_shell(contacts, near.shape)
            rows = [*self._populations(result, shell.ligands, "first shell"), *rows]
            self._add_shell(result, shell, cutoff)
            self._add_residence(result, contacts)
            self._add_kinds(result, shell, contacts)
        columns = (
            self._fraction_column, "T_K", "definition", f"n_{self._settings.ligand}", "population_percent",
            "error_percent", "n_independent", "converged", "remainder_percent_other_n",
        )  # fmt: skip
        result.tables[f"populations {self._settings.cation}"] = Table(
            columns, rows, "populations", self._settings.cation
        )
        return result

    @property
    def _name(self) -> str:
        return f"{self._settings.cation}-{self._settings.ligand}"

    @property
    def _fraction_column(self) -> str:
        return f"x_{self._settings.cation}{self._settings.ligand}"

    def _label(self, n: int) -> str:
        return f"{self._settings.cation}({self._settings.ligand}){n}"

    def _mole_fraction(self) -> float | None:
        """Mole fraction of the cation among all cations; None if charges are unknown.

        It is also None if the charges do not add up to zero, because they are then wrong.
        """
        charges = np.asarray(self._system.topology.charges)
        cations = np.flatnonzero(charges > 0)
        if self._system.unknown_charges or charges.sum() or not np.isin(self._solvation.cations, cations).all():
            return None
        return len(self._solvation.cations) / len(cations)

    def _populations(
        self, result: Measurement, counts: np.ndarray, definition: str
    ) -> list[tuple[float | str | None, ...]]:
        relaxed = relaxation(counts)
        quantity = "cluster_population" if definition == "first shell" else "near_population"
        settings, interval = self._settings, self._system.frame_interval_ps
        found = {
            int(n): population(counts == n, relaxed, settings.min_independent_samples, interval)
            for n in np.unique(counts)
        }
        rest = 100.0 - sum(found[n].value for n in _TABLE_5 if n in found)
        result.estimates.extend((quantity, self._label(n), estimate) for n, estimate in found.items())
        fixed = self._mole_fraction(), self._system.temperature_K, definition
        return [(*fixed, n, e.value, _none(e.error), e.n_eff, e.converged, rest) for n, e in found.items()]

    def _add_pair_function(self, result: Measurement) -> None:
        r, g = self._solvation.pair_function()
        error = block_error(g, len(g)) if len(g) >= _MIN_FRAMES else None
        name = f"{self._settings.cation}-{self._settings.ligand_atoms}:{self._settings.ligand}"
        result.curves[f"pair_function {name}"] = Curve(r, g.mean(axis=0), error, "r", "Å", "g(r)", "1", len(g))

    def _add_shell(self, result: Measurement, shell: Shell, cutoff: float) -> None:
        """Add means over cations, sizes of aggregates, and the cutoff used for them."""
        given = self._settings.cutoff_A is not None
        result.notes.append(
            f"{self._name}: a ligand coordinates within {cutoff:.2f} Å "
            f"({'as given' if given else 'first minimum of g(r)'})"
        )
        minimum, interval = self._settings.min_independent_samples, self._system.frame_interval_ps
        for quantity, series in (
            ("coordinating_ligands", shell.ligands),
            ("coordinating_atoms", shell.atoms),
            ("bidentate_ligands", shell.double),
            ("aggregate_size", shell.aggregate),
        ):
            estimate = mean_of_ions(series, relaxation(series), minimum, interval)
            result.estimates.append((quantity, self._name, estimate))
        bridged = shell.shared > 0
        estimate = population(bridged, relaxation(bridged), minimum, interval)
        result.estimates.append(("bridged_cations", self._name, estimate))
        rows = []
        relaxed = relaxation(shell.aggregate)
        for size in np.unique(shell.aggregate).tolist():
            share = population(shell.aggregate == size, relaxed, minimum, interval)
            n_per_frame = float(np.sum(shell.aggregate == size) / size / len(shell.aggregate))
            rows.append((size, share.value, _none(share.error), share.n_eff, share.converged, n_per_frame))
        columns = (
            "n_cations", "cations_percent", "error_percent", "n_independent", "converged", "aggregates_per_frame",
        )  # fmt: skip
        result.tables[f"aggregates {self._settings.cation}"] = Table(columns, rows, "aggregates", self._settings.cation)

    def _add_kinds(self, result: Measurement, shell: Shell, contacts: Contacts) -> None:
        """Add kinds of cluster by the denticity of their ligands, with an example of the common ones."""
        base = int(max(shell.single.max(), shell.double.max())) + 1
        kinds = shell.single.astype(np.int32) * base + shell.double
        codes, counts = np.unique(kinds, return_counts=True)
        relaxed = relaxation(shell.atoms)
        rows = []
        for code in codes[np.argsort(-counts, kind="stable")].tolist():
            visits = kinds == code
            share = population(visits, relaxed, self._settings.min_independent_samples, self._system.frame_interval_ps)
            single, double = divmod(code, base)
            atoms = shell.atoms[visits]
            name = f"{self._label(single + double)} {single} mono {double} bi"
            if len(result.structures) < self._settings.pictures:
                text = self._pictures.example(visits, contacts, f"{name}, {share.value:.3g} % of {self._name} clusters")
                if text is not None:
                    result.structures[name] = text
            rows.append(
                (name, single + double, single, double, float(atoms.mean()), share.value, _none(share.error),
                 share.n_eff, share.converged)
            )  # fmt: skip
        columns = (
            "kind", f"n_{self._settings.ligand}", "n_monodentate", "n_bidentate",
            f"mean_n_{self._settings.ligand_atoms}", "population_percent", "error_percent", "n_independent",
            "converged",
        )  # fmt: skip
        result.tables[f"kinds {self._settings.cation}"] = Table(columns, rows, "kinds", self._settings.cation)

    def _add_residence(self, result: Measurement, contacts: Contacts) -> None:
        residence = Residence(
            contacts, (self._solvation.n_frames, len(self._solvation.cations)), self._solvation.n_candidates,
            self._system.frame_interval_ps,
        )  # fmt: skip
        for kind in ("continuous", "intermittent"):
            result.estimates.append((f"residence_time_{kind}", self._name, residence.time(kind)))
            if residence.max_lag > 0:
                result.curves[f"residence_{kind} {self._name}"] = residence.curve(kind)


class Residence:
    """Correlation functions of contacts between cations and ligands, and the residence times from them.

    Parameters
    ----------
    contacts
        Contacts within the cutoff.
    shape
        Number of frames and of cations.
    n_ligands
        Number of ligands that each cation may meet.
    interval_ps
        Time between frames, ps.
    """

    def __init__(self, contacts: Contacts, shape: tuple[int, int], n_ligands: int, interval_ps: float):
        self._n_frames, self._n_cations = shape
        self._interval = interval_ps
        self.max_lag = self._n_frames // 2
        width = int(contacts.ligand.max(initial=0)) + 1
        pair = contacts.cation.astype(np.int64) * width + contacts.ligand
        once = np.unique(contacts.frame.astype(np.int64) * (self._n_cations * width) + pair)
        frame, pair = np.divmod(once, self._n_cations * width)
        self._departures_of = departures(frame, pair, pair // width, shape)
        self._departures = int(self._departures_of.sum())
        self._intermittent, self._continuous, self._origins = contact_correlations(
            frame, pair, pair // width, self._n_frames, self._n_cations, self.max_lag
        )
        self._at_random = len(once) / (self._n_frames * self._n_cations * n_ligands)

    def function(self, kind: str, weights: np.ndarray | None = None) -> np.ndarray:
        """S(t), or C(t) minus its random value and normalised; of resampled cations if weights are given.

        ``weights`` is ``(n_resamples, n_cations)``; returns ``(n_lags,)`` or ``(n_resamples, n_lags)``.
        """
        weights = np.ones(self._n_cations) if weights is None else weights
        sums = self._continuous if kind == "continuous" else self._intermittent
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio: np.ndarray = (weights @ sums) / (weights @ self._origins)
        if kind == "continuous" or self._at_random == 1.0:
            return ratio
        found: np.ndarray = (ratio - self._at_random) / (1.0 - self._at_random)
        return found

    def time(self, kind: str) -> Estimate:
        """The residence time, in ps."""
        if self._n_frames < _MIN_FRAMES or not self._origins.any():
            return Estimate.refused("ps", f"{self._n_frames} frames hold too few contacts")
        n = float(self._departures)
        function = self.function(kind)
        noise = None
        if self._n_cations >= _MIN_CATIONS:
            resampled = self.function(kind, self._resamples())
            noise = _STANDS_OUT * np.nan_to_num(resampled.std(axis=0, ddof=1), nan=np.inf)
        value = float(decay_time(function, self._interval, noise))
        if np.isnan(value):
            return Estimate.refused("ps", self._too_short(function), n)
        if noise is None:
            return Estimate(value, np.nan, n, "ps", False, f"{self._n_cations} cations are too few for an error")
        times = decay_time(resampled, self._interval, noise)
        lost = float(np.mean(np.isnan(times)))
        spread = float(np.nanstd(times, ddof=1)) * np.sqrt(self._n_cations / (self._n_cations - 1)) if lost < 1 else 0.0
        least = 2.0 if kind == "continuous" else 1.0  # from the variance of <L²> / 2 <L> of n exponential lifetimes L
        error = max(spread, value * np.sqrt(least / max(n, 1.0)))
        if lost > _LOST:
            return Estimate(value, error, n, "ps", False, self._too_short(function))
        if value < 2.0 * self._interval:
            note = f"contacts change within {self._interval:.3g} ps, the time between frames: record more often"
            return Estimate(value, error, n, "ps", False, note)
        length = self._n_frames * self._interval
        course = Course("the number of ligands that leave a cation", in_parts(self._departures_of), length)
        return judged(Estimate(value, error, n, "ps"), [course])

    def curve(self, kind: str) -> Curve:
        """The correlation function with its error over cations, at no more than a few hundred lags."""
        lags = np.unique(np.rint(np.linspace(0, self.max_lag, _POINTS)).astype(int))
        error = None
        if self._n_cations >= _MIN_CATIONS:
            error = np.nan_to_num(self.function(kind, self._resamples())[:, lags].std(axis=0, ddof=1))
        letter = "S(t)" if kind == "continuous" else "C(t)"
        values = np.nan_to_num(self.function(kind)[lags])
        return Curve(lags * self._interval, values, error, "time", "ps", letter, "1", float(self._departures))

    def _resamples(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        share = np.full(self._n_cations, 1.0 / self._n_cations)
        return rng.multinomial(self._n_cations, share, size=_RESAMPLES).astype(float)

    def _too_short(self, function: np.ndarray) -> str:
        length = self._n_frames * self._interval
        if self._departures == 0:
            return f"no ligand left any cation in {length:.3g} ps: a run many times as long is needed"
        bound = float(self._origins[:, 0].sum()) / self._departures * self._interval
        lowest, half = float(np.nanmin(function)), self.max_lag * self._interval
        if lowest <= DECAYED:
            return (
                f"{lowest:.2f} of the contacts last longer than {half:.3g} ps, half of the run: a run many times as "
                "long is needed"
            )
        return (
            f"the correlation function falls only to {lowest:.2f} within {half:.3g} ps, half "
            f"of the run; with one departure in {bound:.2g} ps of contact it takes about {10 * bound:.2g} ps"
        )


def first_shell(contacts: Contacts, shape: tuple[int, int]) -> Shell:
    """The first shell of each cation in each frame, from the contacts within the cutoff."""
    n_frames, n_cations = shape
    centre = contacts.frame.astype(np.int64) * n_cations + contacts.cation
    n_ligands = int(contacts.ligand.max(initial=0)) + 1
    bonds, atoms = np.unique(centre * n_ligands + contacts.ligand, return_counts=True)
    of, ligand = np.divmod(bonds, n_ligands)
    frame = of // n_cations

    def count(which: np.ndarray) -> np.ndarray:
        return np.bincount(of[which], minlength=n_frames * n_cations).reshape(shape)

    _, where, cations_of = np.unique(frame * n_ligands + ligand, return_inverse=True, return_counts=True)
    every = np.ones(len(of), dtype=bool)
    return Shell(
        ligands=count(every),
        atoms=np.bincount(centre, minlength=n_frames * n_cations).reshape(shape),
        single=count(atoms == 1),
        double=count(atoms > 1),
        shared=count(cations_of[where] > 1),
        aggregate=aggregate_sizes(frame, of % n_cations, ligand, shape),
    )


def _none(value: float) -> float | None:
    return None if np.isnan(value) else value


KIND = PropertyKind(
    name="clusters",
    title="Solvation clusters",
    settings=ClustersSettings,
    observer=Clusters,
    version=4,
    names_ions=True,
    also_called=("aggregates", "solvation", "coordination"),
)

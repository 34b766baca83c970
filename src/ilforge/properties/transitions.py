"""Transitions between solvation clusters: a Markov state model of how cations exchange ligands."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.kernels.contacts import with_release
from ilforge.properties.kernels.markov import (
    ChapmanKolmogorov,
    MarkovModel,
    chapman_kolmogorov,
    estimate,
    lags_to_try,
    level_lag,
)
from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System, Verdict
from ilforge.properties.shared.conformations import Shape, shapes_of
from ilforge.properties.shared.local_structure import ShapesSettings, TransitionsSettings
from ilforge.properties.shared.solvation import Contacts, FrameContacts, Solvation
from ilforge.properties.shared.steadiness import Course, in_parts, judged, unsteady
from ilforge.results import Curve, Estimate, Table, too_few_frames
from ilforge.statistics import block_error

_NONE = -1
_SHAPE_MARGINS = (10.0, 0.15)  # degrees, Å; of built-in shapes
_POINTS = 500
_MIN_FRAMES = 20
_MIN_BLOCKS = 5


class Transitions:
    """Markov state model of the clusters of a cation (states by number of ligands, atoms, or shapes of ligands).

    1. Contacts have a hysteresis: they form within the cutoff (the first minimum of g(r), or ``cutoff_A``) and end
       ``release_A`` beyond it, so that recrossing the border is not a transition.
    2. States with a population below ``min_population`` are not cores: a cation in such a state keeps its last state
       (N.-V. Buchete and G. Hummer, J. Phys. Chem. B 112, 6057 (2008); C. Schütte et al., J. Chem. Phys. 134, 204105
       (2011)). Shapes of ligands are those of :class:`~ilforge.properties.shapes.Shapes`, built in or defined.
    3. Counts at a lag τ, a reversible transition matrix T(τ) on the connected set, and samples of its posterior,
       which give all errors. τ is the shortest lag above which the slowest implied time scale
       t_2 = -τ / ln λ_2 is constant.
    4. Chapman-Kolmogorov test: T(τ)^k is compared with T(kτ). A model that fails has not converged.

    Lifetimes are τ / (1 - T_ii), fluxes π_i T_ij / τ per cation. With fewer than ``min_transitions`` transitions out
    of any state there is no model; the note gives the length of run that would be needed.

    J.-H. Prinz et al., J. Chem. Phys. 134, 174105 (2011); B. Trendelkamp-Schroer et al., J. Chem. Phys. 143, 174101
    (2015).
    """

    needs_cell: ClassVar[str] = "clusters are those of a liquid"

    def __init__(self, settings: TransitionsSettings, shapes: ShapesSettings | None = None):
        self._settings = settings
        self._shapes_settings = shapes or ShapesSettings()

    def begin(self, system: System) -> None:
        self._system = system
        self._solvation = Solvation(self._settings, "analysis.transitions", self._settings.release_A)
        self._missing = self._solvation.begin(system)
        self._shape: Shape | None = None
        if not self._missing and self._settings.states == "shapes":
            self._begin_shapes(system)

    def look(self, snapshot: Snapshot) -> tuple[FrameContacts, tuple[np.ndarray, np.ndarray] | None] | None:
        """Contacts and, if states depend on shapes, the shapes of ligands and whether they are well inside them."""
        if self._missing:
            return None
        shapes = None
        if self._shape is not None:
            first = self._system.topology.first_atoms[self._solvation.ligands]
            shapes = self._shape.settled(self._shape.values(snapshot.whole, first), *self._margins)
        return self._solvation.look(snapshot), shapes

    def add(self, seen: tuple[FrameContacts, tuple[np.ndarray, np.ndarray] | None] | None) -> None:
        if seen is None:
            return
        contacts, shapes = seen
        frame = self._solvation.n_frames
        self._solvation.add(contacts)
        if shapes is not None:
            found, inside = shapes
            before = self._shapes[frame - 1] if frame else found
            self._shapes[frame] = np.where(inside, found, before)

    def measurement(self) -> Measurement:
        if self._missing:
            return Measurement(notes=[self._missing])
        result = Measurement()
        cutoff = self._solvation.cutoff()
        r, g = self._solvation.pair_function()
        name = f"{self._settings.cation}-{self._settings.ligand_atoms}:{self._settings.ligand}"
        error = block_error(g, len(g)) if len(g) >= _MIN_BLOCKS else None
        result.curves[f"exchange_pair_function {name}"] = Curve(r, g.mean(axis=0), error, "r", "Å", "g(r)", "1", len(g))
        n = self._solvation.n_frames
        if cutoff is None or n < _MIN_FRAMES:
            note = self._solvation.no_cutoff() if cutoff is None else too_few_frames(n, "for transitions")
            self._refuse(result, note)
            return result
        release = min(cutoff + self._settings.release_A, self._solvation.reach)
        what = f"contacts are made within {cutoff:.2f} Å and end beyond {release:.2f} Å"
        result.notes.append(f"{self._pair}: {what}")
        series, labels = self._series(cutoff, release)
        self._add_ligands(result, series, labels)
        self._changes = self._why_unsteady(series, labels)
        self._add_model(result, *cores(series, labels, self._settings.min_population))
        return result

    @property
    def _pair(self) -> str:
        return f"{self._settings.cation}-{self._settings.ligand}"

    def _refuse(self, result: Measurement, note: str, n: float = 0.0) -> None:
        result.estimates.append(("exchange_time_scale", self._pair, Estimate.refused("ps", note, n)))

    def _begin_shapes(self, system: System) -> None:
        ligand = self._settings.ligand
        wanted = self._shapes_settings
        defined = [one for one in wanted.define if one.ion == ligand]
        known = [shape for shape in shapes_of(system.topology, defined) if shape.ion == ligand]
        if not known:
            raise SettingsError(
                f"analysis.transitions.states is 'shapes', but shapes of {ligand} are neither built in (only TFSI and "
                "PYR14 are) nor defined in analysis.shapes.define. Use 'ligands' or 'atoms', or define them."
            )
        self._margins = (wanted.margin_degrees, wanted.margin_A) if defined else _SHAPE_MARGINS
        self._shape = known[0]
        self._shapes = np.zeros((system.n_frames, len(self._solvation.ligands)), dtype=np.uint8)

    def _series(self, cutoff: float, release: float) -> tuple[np.ndarray, list[str]]:
        """State of each cation in each frame, ``(n_frames, n_cations)``, and the names of the states."""
        contacts = self._solvation.contacts(release)
        n_sites = len(self._solvation.sites)
        pair = contacts.cation.astype(np.int64) * n_sites + contacts.site
        held = contacts.where(with_release(contacts.frame, pair, contacts.distance, cutoff, release))
        counts = self._counts(held)
        known, series = _numbered(counts.reshape(-1, counts.shape[-1]))
        return series.reshape(counts.shape[:2]).astype(np.int32), [self._label(row.tolist()) for row in known]

    def _counts(self, held: Contacts) -> np.ndarray:
        """Number of ligands of each cation in each frame, then of coordinating atoms or of ligands of each shape.

        ``(n_frames, n_cations, n_counts)``.
        """
        n_cations, n_ligands = len(self._solvation.cations), len(self._solvation.ligands)
        n = self._solvation.n_frames * n_cations
        centre = held.frame.astype(np.int64) * n_cations + held.cation
        bonds = np.unique(centre * n_ligands + held.ligand)
        of, ligand = np.divmod(bonds, n_ligands)
        counted = [of]
        if self._settings.states == "atoms":
            counted.append(centre)
        elif self._shape is not None:
            kinds = self._shapes[of // n_cations, ligand]
            counted += [of[kinds == kind] for kind in range(len(self._shape.labels))]
        counts = np.stack([np.bincount(which, minlength=n).astype(np.uint16) for which in counted], axis=-1)
        return counts.reshape(-1, n_cations, len(counted))

    def _label(self, counts: list[int]) -> str:
        """``Li(TFSI)3``, with the number of coordinating atoms or of ligands of each shape."""
        ligands, *more = counts
        label = f"{self._settings.cation}({self._settings.ligand}){ligands}"
        if self._settings.states == "atoms":
            return f"{label} {more[0]} {self._settings.ligand_atoms}"
        shapes = self._shape.labels if more and self._shape is not None else ()
        named = [f"{n} {name}" for n, name in zip(more, shapes, strict=True) if n]
        return f"{label} {' '.join(named)}".strip()

    def _why_unsteady(self, series: np.ndarray, labels: list[str]) -> str:
        """Why the states of ions or their rate of change are not stationary; empty if they are."""
        length = len(series) * self._system.frame_interval_ps
        courses = [Course("the number of changes of state", in_parts((series[1:] != series[:-1]).T), length)]
        for index, label in enumerate(labels):
            visits = series == index
            if visits.mean() >= self._settings.min_population:
                courses.append(Course(f"the population of {label}", 100.0 * in_parts(visits.T), length, "%"))
        return next((reason for reason in map(unsteady, courses) if reason), "")

    def _add_ligands(self, result: Measurement, series: np.ndarray, labels: list[str]) -> None:
        """Add a table of the shares of states along the run, in at most 500 parts."""
        rows = []
        parts = np.array_split(np.arange(len(series)), min(_POINTS, len(series)))
        for part in parts:
            time = float(part.mean() * self._system.frame_interval_ps)
            share = np.bincount(series[part].ravel(), minlength=len(labels)) / series[part].size
            rows += [(time, label, float(100 * value)) for label, value in zip(labels, share, strict=True)]
        result.tables[f"course {self._pair}"] = Table(
            ("time_ps", "state", "population_percent"), rows, "course", self._pair
        )

    def _add_model(self, result: Measurement, paths: list[np.ndarray], labels: list[str]) -> None:
        exits = count_exits(paths, len(labels))
        moves = int(exits.sum())
        rows = [
            (labels[i], labels[j], int(n)) for (i, j), n in np.ndenumerate(_jumps(paths, len(labels))) if n and i != j
        ]
        result.tables[f"jumps {self._pair}"] = Table(("from", "to", "transitions"), rows, "jumps", self._pair)
        refusal = self._too_few(exits, labels)
        if refusal:
            self._refuse(result, refusal, moves)
            return
        models = self._models(result, paths, labels)
        model = self._chosen(models, paths, len(labels))
        if model is None:
            longest = max((m.lag for m in models), default=1) * self._system.frame_interval_ps
            self._refuse(
                result, f"the implied time scales do not become constant up to a lag of {longest:.3g} ps", moves
            )
            return
        if len(model.states) < len(labels):
            lost = ", ".join(label for k, label in enumerate(labels) if k not in model.states)
            self._refuse(result, f"{lost} is entered and left too rarely within the lag: run longer", moves)
            return
        test = chapman_kolmogorov(model, paths, len(labels))
        self._add_estimates(result, model, test, exits, labels)

    def _too_few(self, exits: np.ndarray, labels: list[str]) -> str:
        """Why there are too few transitions for a model; empty if there are enough."""
        length = self._solvation.n_frames * self._system.frame_interval_ps
        if len(labels) < 2:
            only = labels[0] if labels else "no cluster"
            return f"only {only} occurred in {length:.3g} ps: no ligand can be exchanged, or the run is far too short"
        fewest = int(np.argmin(exits))
        n, needed = int(exits[fewest]), self._settings.min_transitions
        if n >= needed:
            return ""
        longer = f"at least {needed / n * length:.2g} ps" if n else f"more than {needed * length:.2g} ps"
        return (
            f"{labels[fewest]} was left {n} times in {length:.3g} ps, {needed} needed: run {longer}, or raise "
            "analysis.transitions.min_population to leave rare states out"
        )

    def _models(self, result: Measurement, paths: list[np.ndarray], labels: list[str]) -> list[MarkovModel]:
        """Models at growing lags, with their implied time scales as table and curve."""
        interval, models, rows = self._system.frame_interval_ps, [], []
        for lag in lags_to_try(self._solvation.n_frames).tolist():
            model = estimate(paths, lag, len(labels), n_samples=60)
            if model is None or len(model.states) < len(labels):
                continue
            models.append(model)
            values, errors = model.time_scales()
            rows += [
                (lag * interval, k + 2, float(value * interval), float(error * interval))
                for k, (value, error) in enumerate(zip(values, errors, strict=True))
            ]
        columns = ("lag_ps", "process", "time_scale_ps", "error_ps")
        result.tables[f"time scales {self._pair}"] = Table(columns, rows, "time scales", self._pair)
        slowest = np.array([(row[0], row[2], row[3]) for row in rows if row[1] == 2]).reshape(-1, 3)
        if len(slowest):
            lags, values, errors = slowest.T
            curve = Curve(lags, values, errors, "lag", "ps", "time scale", "ps")
            result.curves[f"implied_time_scale {self._pair}"] = curve
        return models

    def _chosen(self, models: list[MarkovModel], paths: list[np.ndarray], n_states: int) -> MarkovModel | None:
        if self._settings.lag_ps is not None:
            lag = max(1, round(self._settings.lag_ps / self._system.frame_interval_ps))
            return estimate(paths, lag, n_states)
        level = level_lag(models)
        return None if level is None else estimate(paths, level.lag, n_states)

    def _add_estimates(
        self,
        result: Measurement,
        model: MarkovModel,
        test: ChapmanKolmogorov | None,
        exits: np.ndarray,
        labels: list[str],
    ) -> None:
        interval = self._system.frame_interval_ps
        lag = model.lag * interval
        passed = test is not None and test.passed
        if test is None:
            note = "too short for a Chapman-Kolmogorov test"
        else:
            note = f"Chapman-Kolmogorov test: {test.largest:.1f} standard errors at most"
        result.verdicts.append(
            Verdict(passed, f"the Markov model of {self._pair} at a lag of {lag:.3g} ps: {note}", grave=False)
        )
        why = self._changes or ("" if passed else f"the model fails: {note}")
        passed = passed and not self._changes
        values, errors = model.time_scales()
        moves = float(exits.sum())

        def of(value: float, error: float, n: float, unit: str) -> Estimate:
            return judged(Estimate(value, error, n, unit, passed, why, steady=not self._changes), [])

        slowest = of(values[0] * interval, errors[0] * interval, moves, "ps")
        result.estimates.append(("exchange_time_scale", self._pair, slowest))
        life, life_error = model.lifetimes()
        share_error = model.stationary_samples.std(axis=0, ddof=1)
        for k, label in enumerate(labels):
            n = float(exits[k])
            lifetime = of(life[k] * interval, life_error[k] * interval, n, "ps")
            share = of(100 * model.stationary[k], 100 * share_error[k], n, "%")
            result.estimates.extend([("cluster_lifetime", label, lifetime), ("markov_population", label, share)])
        self._add_matrix(result, model, labels, exits, passed)
        if test is not None:
            self._add_test(result, test, lag, labels)

    def _add_matrix(
        self, result: Measurement, model: MarkovModel, labels: list[str], exits: np.ndarray, passed: bool
    ) -> None:
        interval_ns = self._system.frame_interval_ps / 1000.0
        flux, flux_error = model.fluxes()
        spread = model.samples.std(axis=0, ddof=1)
        rows = [
            (labels[i], labels[j], model.lag * self._system.frame_interval_ps, float(p), float(spread[i, j]),
             *((None, None) if i == j else (float(flux[i, j] / interval_ns), float(flux_error[i, j] / interval_ns))),
             int(exits[i]), passed)
            for (i, j), p in np.ndenumerate(model.matrix)
        ]  # fmt: skip
        columns = ("from", "to", "lag_ps", "probability", "error", "flux_per_ns", "flux_error_per_ns", "n_independent",
                   "converged")  # fmt: skip
        result.tables[f"transition matrix {self._pair}"] = Table(columns, rows, "transition matrix", self._pair)

    def _add_test(self, result: Measurement, test: ChapmanKolmogorov, lag: float, labels: list[str]) -> None:
        rows = [
            (labels[k], float(step * lag), float(test.predicted[row, k]), float(test.predicted_error[row, k]),
             float(test.estimated[row, k]), float(test.estimated_error[row, k]))
            for row, step in enumerate(test.steps) for k in range(len(labels))
        ]  # fmt: skip
        columns = ("state", "time_ps", "predicted", "predicted_error", "estimated", "estimated_error")
        result.tables[f"Chapman-Kolmogorov {self._pair}"] = Table(columns, rows, "Chapman-Kolmogorov", self._pair)


def _numbered(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows in ascending order, and the index among them for each row.

    Columns are combined one after the other, because a number for a whole row would need more than 64 bits.
    """
    number = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:
        number = np.unique(number * (int(column.max()) + 1) + column, return_inverse=True)[1]
    first = np.unique(number, return_index=True)[1]
    return rows[first], number


def cores(series: np.ndarray, labels: list[str], min_population: float) -> tuple[list[np.ndarray], list[str]]:
    """Paths of single ions over common states; in a rare state, an ion keeps its last common state.

    Parameters
    ----------
    series
        ``(n_frames, n_ions)`` integers, into ``labels``.

    Returns
    -------
    paths
        One path for each ion that was ever in a common state, beginning at this time.
    labels
        Labels of the common states.
    """
    share = np.bincount(series.ravel(), minlength=len(labels)) / max(series.size, 1)
    common = np.flatnonzero(share >= min_population)
    new = np.full(len(labels), _NONE)
    new[common] = np.arange(len(common))
    renamed = new[series]
    last = np.maximum.accumulate(np.where(renamed == _NONE, _NONE, np.arange(len(series))[:, None]), axis=0)
    paths = []
    for ion in range(series.shape[1]):
        known = last[:, ion] >= 0
        if known.any():
            paths.append(renamed[last[known, ion], ion])
    return paths, [labels[k] for k in common]


def count_exits(paths: list[np.ndarray], n_states: int) -> np.ndarray:
    """Number of times each state was left, ``(n_states,)``."""
    jumps = _jumps(paths, n_states)
    found: np.ndarray = jumps.sum(axis=1) - np.diag(jumps)
    return found


def _jumps(paths: list[np.ndarray], n_states: int) -> np.ndarray:
    counts = np.zeros((n_states, n_states), dtype=int)
    for path in paths:
        np.add.at(counts, (path[:-1], path[1:]), 1)
    return counts


KIND = PropertyKind(
    name="transitions",
    title="Transitions of clusters",
    settings=TransitionsSettings,
    observer=Transitions,
    version=5,
    names_ions=True,
    also_called=("markov", "residence_time", "lifetimes"),
)

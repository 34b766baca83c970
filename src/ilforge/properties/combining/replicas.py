"""Measure several independent runs of one system together, with errors from within and between the runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from ilforge.errors import SettingsError
from ilforge.properties.kernels.populations import share_error
from ilforge.properties.property import Measurement, Property, Snapshot, System
from ilforge.properties.reading.frame_times import same_place
from ilforge.properties.shared.holding import worst
from ilforge.results import HOLDS_LIQUID, Estimate
from ilforge.statistics import DISAGREEMENT, MIN_RUNS, disagree, error_between

if TYPE_CHECKING:
    from MDAnalysis import Universe

    from ilforge.dynamics.trajectory import Trajectory
    from ilforge.properties.analysis import AnalysisSettings
    from ilforge.properties.reading.given import Composition
    from ilforge.properties.reading.reader import Source

T = TypeVar("T")
ANY_ORDER = ("rdf", "structure_factor")
"""Properties that are averages over frames in any order: all runs are treated as one."""
POPULATIONS = ("cluster_population", "near_population", "bridged_cations", "shape_population", "markov_population")
"""Shares of states: a run in which a state never occurs counts with a share of 0."""
_SAME_INTERVAL = 0.01
_SAME_TEMPERATURE = 0.02  # largest relative difference between runs at constant energy
_TIMES = ("ps", "ns", "Pa s", "m^2/s", "S/m")
"""Units of times and of integrals over time, whose errors are proportional to the value."""
_CACHED = ("volume", "heights", "whole", "centres")


def open_replicas(
    paths: Sequence[Path],
    frame_interval_ps: float | None = None,
    temperature_K: float | None = None,
    made_of: Composition | None = None,
) -> list[Source]:
    """Open runs of one system: folders of ilforge, extended XYZ files, or one topology and a trajectory for each run.

    Raises
    ------
    SettingsError
        When there are fewer than two runs, they are not of one system, or one is given twice.
    """
    from ilforge.properties.reading.reader import open_trajectory
    from ilforge.properties.reading.trajectory_files import XYZ

    paths = [Path(path) for path in paths]
    alone = [path.is_dir() or path.suffix.lower() in XYZ for path in paths]
    if alone[:1] == [True] and not all(alone):
        raise SettingsError(
            "--replicas takes folders or extended XYZ files, or else TOPOLOGY TRAJECTORY TRAJECTORY..., not a mixture."
        )
    runs = [[path] for path in paths] if all(alone) else [[paths[0], path] for path in paths[1:]]
    if len(runs) < 2:
        raise SettingsError(f"--replicas needs two runs or more, found {len(runs)}. Leave it out for one run.")
    about: dict[str, Any] = {
        "frame_interval_ps": frame_interval_ps, "temperature_K": temperature_K, "made_of": made_of,
    }  # fmt: skip
    return _of_one_system([open_trajectory(run, **about) for run in runs])


def measure_replicas(
    runs: Sequence[Trajectory | Universe | Source],
    names: Sequence[str] | None = None,
    settings: AnalysisSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Measurement]:
    """Measure properties of several independent runs of one system, with one estimate for each property.

    - Density, diffusion, conductivity and viscosity pool the runs before anything is fitted or judged, so runs that
      are too short alone can be sufficient together: see their ``pooled``.
    - g(r) and S(q) treat all runs as one, in ten blocks.
    - Populations of states are averaged over converged runs; a state that does not occur in a run counts as 0 there
      (:func:`pooled_population`).
    - For all others, the converged estimates of the runs are averaged (:func:`combined`); curves, tables and verdicts
      are reported for each run.

    Parameters
    ----------
    runs
        Runs of ilforge, MDAnalysis Universes with bonds, or results of
        :func:`~ilforge.properties.reading.reader.open_trajectory`.
    names, settings, progress
        As for :func:`ilforge.measure`.

    Raises
    ------
    SettingsError
        When the runs differ in ions, time between frames or temperature, or one is given twice.
    """
    from ilforge.properties import create, measure
    from ilforge.properties.analysis import AnalysisSettings
    from ilforge.properties.combining.sharing import observe
    from ilforge.properties.reading.reader import source_of
    from ilforge.properties.shared.holding import as_judged

    settings = settings or AnalysisSettings()
    sources = _of_one_system([source_of(run) for run in runs])
    names = list(dict.fromkeys(names or settings.properties))
    lengths = [source.system.n_frames for source in sources]
    if not sources[0].system.periodic:
        parts = [measure(source, names, settings) for source in sources]
        return {name: _combined_parts([part[name] for part in parts], lengths, settings) for name in names}
    alike = len(set(lengths)) == 1
    joint = replace(sources[0].system, n_frames=sum(lengths), n_runs=len(sources) if alike else 1)
    shared = {name: create(name, settings) for name in names if name in ANY_ORDER}
    for observer in shared.values():
        observer.begin(joint)
    observers: list[dict[str, Property]] = []
    done = 0
    for source in sources:
        observers.append({name: create(name, settings) for name in names if name not in ANY_ORDER})
        for observer in observers[-1].values():
            observer.begin(source.system)
        within = {  # `observe` only calls look and add
            name: cast(Property, _Within(observer, joint, done)) for name, observer in shared.items()
        }
        seen = None if progress is None else partial(_tell, progress, sum(lengths), done)
        observe(source, source.system, {**observers[-1], **within}, settings, workers=1, progress=seen)
        done += source.system.n_frames
    found = {name: observer.measurement() for name, observer in shared.items()}
    found |= {name: _pooled([of_run[name] for of_run in observers], lengths, settings) for name in observers[0]}
    note, used = _cut(sources), sources[0].used or None
    found = {name: _noted(found[name], note if name in ("diffusion", "conductivity") else None) for name in names}
    return as_judged({name: _noted(measurement, used) for name, measurement in found.items()})


def _tell(progress: Callable[[int, int], None], total: int, before: int, done: int) -> None:
    progress(before + done, total)


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """Weighted mean of the estimates of several independent runs of the same state.

    Weights are 1/error². But errors of times, viscosities and similar quantities are proportional to the value, and
    such weights would favour runs with small values: by 8 % for errors of 20 %. For these quantities the weights are
    (value/error)², and the error of each run is its relative error times the mean.

    The error follows from the weights or, with three runs or more, from the spread between runs if this is larger. Runs
    that did not converge are left out. Runs that disagree (χ², p < 0.001) are refused: they are in different states, or
    their errors are too small.
    """
    good = [found for found in estimates if found.converged and found.error > 0]
    if not good:
        return estimates[0]
    if len(good) == 1:
        return good[0]
    values, errors = np.array([(found.value, found.error) for found in good]).T
    if good[0].unit in _TIMES and (values > 0).all():
        shares = errors / values
        at_odds = disagree(np.log(values), shares)
        errors = shares * np.average(values, weights=shares**-2)
    else:
        at_odds = disagree(values, errors)
    mean, error = float(np.average(values, weights=errors**-2)), float(np.sum(errors**-2) ** -0.5)
    n_eff = float(sum(found.n_eff for found in good))
    if at_odds:
        return Estimate.refused(good[0].unit, DISAGREEMENT.format(len(good)), n_eff)
    if len(good) >= MIN_RUNS:
        chi2 = float(np.sum(((values - mean) / errors) ** 2))
        error = max(error, error * float(np.sqrt(chi2 / (len(good) - 1))))
    return Estimate(mean, error, n_eff, good[0].unit, True, f"from {len(good)} of {len(estimates)} runs")


def pooled_population(found: Sequence[Estimate], lengths: Sequence[int], min_samples: float) -> Estimate:
    """Population of one state over all frames of several independent runs.

    Weights of 1/error² would favour runs in which a rare state occurs less often. The error follows from the errors of
    the runs or, with three runs or more, from the spread between them if this is larger. Runs that disagree (χ²,
    p < 0.001) have not converged.

    Parameters
    ----------
    found
        Population in every run, %.
    lengths
        Numbers of frames of the runs.
    min_samples
        With fewer independent samples in total, the population has not converged.
    """
    values, errors, n_eff = np.array([(one.value, one.error, one.n_eff) for one in found]).T
    weights = np.array(lengths) / np.sum(lengths)
    value = float(weights @ values)
    error = max(float(np.linalg.norm(weights * errors)), error_between(values))
    share = 0.01 * value
    independent = min(float(n_eff.sum()), share * (1.0 - share) / (0.01 * error) ** 2) if error > 0 else np.nan
    note = f"from {len(found)} runs"
    if disagree(values, errors):
        return Estimate(value, error, independent, found[0].unit, False, DISAGREEMENT.format(len(found)))
    if not independent >= min_samples:
        needed = f"{independent:.1f} independent samples in {len(found)} runs, {min_samples:g} needed"
        return Estimate(value, error, independent, found[0].unit, False, needed)
    return Estimate(value, error, independent, found[0].unit, True, note)


def _of_one_system(sources: Sequence[Source]) -> list[Source]:
    """The runs after a check; at constant energy, all get the mean of their mean temperatures."""
    _check_alike(sources)
    _refuse_repeated(sources)
    systems = [source.system for source in sources]
    if systems[0].ensemble != "NVE" or any(one.temperature_K is None for one in systems):
        return list(sources)
    mean = float(np.average([one.temperature_K for one in systems], weights=[one.n_frames for one in systems]))
    return [replace(source, system=replace(source.system, temperature_K=mean)) for source in sources]


def _check_alike(sources: Sequence[Source]) -> None:
    first = sources[0].system
    for number, source in enumerate(sources[1:], 2):
        system = source.system
        for what, same in (
            ("potential", source.potential == sources[0].potential),
            ("set pressure", system.pressure_bar == first.pressure_bar),
            ("ions", system.topology.species == first.topology.species),
            ("atoms", system.topology.symbols == first.topology.symbols),
            ("temperature", _same_temperature(system, first)),
            ("ensemble", system.ensemble == first.ensemble),
            ("time between frames", _close(system.frame_interval_ps, first.frame_interval_ps)),
        ):
            if not same:
                raise SettingsError(
                    f"Runs 1 and {number} do not have the same {what}: replicas are independent runs of one system. "
                    "Measure others one by one (temperatures: `ilforge temperatures`)."
                )


def _refuse_repeated(sources: Sequence[Source]) -> None:
    """Refuse a run that is given twice, completely or in part, because repeated data would make errors too small.

    Runs may begin with the same frame. Therefore only the last frame of the shorter run is compared, with the frame
    of the longer run at the same time.
    """
    lengths = [source.system.n_frames for source in sources]
    ends = {k: _kept(source.frame(n - 1)) for k, (source, n) in enumerate(zip(sources, lengths, strict=True)) if n}
    for a, b in combinations(ends, 2):
        short, long = sorted((a, b), key=lengths.__getitem__)
        same = same_place(ends[short], ends[long])
        if not same and 1 < lengths[short] < lengths[long]:
            same = same_place(ends[short], sources[long].frame(lengths[short] - 1))
        if same:
            raise SettingsError(
                f"Runs {a + 1} and {b + 1} are the same: the last frame of run {short + 1} is also in run {long + 1}. "
                "A run counts once, and replicas are independent: leave one of them out. Runs that begin with the same "
                "frame differ if each has its own --seed."
            )


def _kept(snapshot: Snapshot) -> Snapshot:
    """A snapshot with copied positions, because MDAnalysis may overwrite them with those of the next frame."""
    return replace(snapshot, positions=snapshot.positions.copy())


def _same_temperature(a: System, b: System) -> bool:
    """Whether two runs have the same temperature: set, or at constant energy set for the start, or else the mean."""
    if a.start_temperature_K is not None and b.start_temperature_K is not None:
        return a.start_temperature_K == b.start_temperature_K
    one, other = a.temperature_K, b.temperature_K
    if "NVE" in (a.ensemble, b.ensemble) and one is not None and other is not None:
        return abs(one - other) <= _SAME_TEMPERATURE * one
    return one == other


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME_INTERVAL * a


class _Within:
    """A property of all runs together that sees the frames of one run, numbered among the frames of all runs."""

    def __init__(self, observer: Property, joint: System, before: int):
        self._observer, self._joint, self._before = observer, joint, before
        self.add = observer.add

    def look(self, snapshot: Snapshot) -> Any:
        index = self._before + snapshot.index
        other = replace(snapshot, system=self._joint, index=index, time_ps=index * self._joint.frame_interval_ps)
        # results that are already computed
        vars(other).update({name: vars(snapshot)[name] for name in _CACHED if name in vars(snapshot)})
        return self._observer.look(other)


def _pooled(runs: Sequence[Property], lengths: Sequence[int], settings: AnalysisSettings) -> Measurement:
    pooled = getattr(runs[0], "pooled", None)
    return pooled(runs) if pooled else _combined_parts([run.measurement() for run in runs], lengths, settings)


def _combined_parts(parts: Sequence[Measurement], lengths: Sequence[int], settings: AnalysisSettings) -> Measurement:
    """Average the estimates; list everything else by the number of the run."""
    judged = [part.liquid for part in parts if part.liquid is not None]
    liquid = worst(judged) if judged else None
    result = Measurement(liquid=liquid)
    groups: dict[tuple[str, str | None], list[Estimate]] = {}
    for part in parts:
        for quantity, species, estimate in part.estimates:
            groups.setdefault((quantity, species), []).append(estimate)
    for (quantity, species), found in groups.items():
        if quantity == HOLDS_LIQUID and liquid is not None:
            together = liquid.estimate
        elif quantity == "largest_cavity_radius":
            together = _largest(found)
        elif quantity in POPULATIONS:
            together = _population(parts, lengths, quantity, species, _least(quantity, settings))
        else:
            together = combined(found)
        result.estimates.append((quantity, species, together))
    for number, part in enumerate(parts, 1):
        result.curves.update(_titled(part.curves, number))
        result.structures.update(_titled(part.structures, number))
        tables = {name: replace(table, of=f"{table.of}, run {number}") for name, table in part.tables.items()}
        result.tables.update(_titled(tables, number))
        result.verdicts.extend(replace(verdict, what=f"run {number}: {verdict.what}") for verdict in part.verdicts)
        result.notes.extend(f"run {number}: {note}" for note in part.notes)
    return result


def _population(
    parts: Sequence[Measurement], lengths: Sequence[int], quantity: str, species: str | None, min_samples: float
) -> Estimate:
    """Population of one state, without runs in which no state of its kind converged; not converged if none is left."""
    named = {name.removeprefix("populations ") for part in parts for name in part.tables}
    kind = _kind(named, species)
    kinds = [
        {of: one for name, of, one in part.estimates if name == quantity and _kind(named, of) == kind} for part in parts
    ]
    settled = [any(e.converged for e in kind.values()) and all(e.steady for e in kind.values()) for kind in kinds]
    used = [k for k, kind in enumerate(kinds) if (settled[k] if any(settled) else kind)]
    found = [kinds[k].get(species) or _never(kinds[k].values()) for k in used]
    pooled = pooled_population(found, [lengths[k] for k in used], min_samples)
    if not any(settled):
        first = next(kinds[k][species] for k in used if species in kinds[k])
        return replace(pooled, converged=False, note=f"no run has converged; the first: {first.note}")
    if len(used) == len(parts):
        return pooled
    return replace(pooled, note=f"{pooled.note}; {len(parts) - len(used)} that did not converge left out")


def _largest(found: Sequence[Estimate]) -> Estimate:
    """The largest value of all runs, for quantities that are the largest value of all frames of a run."""
    top = max(range(len(found)), key=lambda k: found[k].value)
    n_frames = sum(one.n_eff for one in found)
    return replace(found[top], n_eff=n_frames, note=f"of {len(found)} runs, in run {top + 1}: {found[top].note}")


def _never(others: Iterable[Estimate]) -> Estimate:
    """The population (0) of a state that does not occur in a run, with an error from its other states."""
    n = max(one.n_eff for one in others)
    return Estimate(0.0, 100.0 * share_error(0.0, n), n, "%")


def _kind(named: Iterable[str], species: str | None) -> str:
    """The common name of the states of a quantity: the ion in ``PYR14 butyl ttt``; empty if there is only one."""
    return max((name for name in named if (species or "").startswith(f"{name} ")), key=len, default="")


def _least(quantity: str, settings: AnalysisSettings) -> float:
    if quantity == "markov_population":
        return float(settings.transitions.min_transitions)
    found: float = (settings.shapes if quantity == "shape_population" else settings.clusters).min_independent_samples
    return found


def _titled(things: Mapping[str, T], number: int) -> Iterator[tuple[str, T]]:
    yield from ((f"{name}, run {number}", thing) for name, thing in things.items())


def _cut(sources: Sequence[Source]) -> str | None:
    """A note on frames that are not used for dynamics because runs have different lengths."""
    counts = [source.system.n_frames for source in sources]
    if min(counts) == max(counts):
        return None
    return f"Runs have {min(counts)} to {max(counts)} frames: ions were followed in the first {min(counts)} of each."


def _noted(found: Measurement, note: str | None) -> Measurement:
    return found if note is None else replace(found, notes=[*found.notes, note])

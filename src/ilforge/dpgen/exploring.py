"""``model_devi_jobs`` and the trust levels of DP-GEN as ``[learning]``: what is explored, and what is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ilforge.dpgen.book import Book, Path, named
from ilforge.dpgen.toml import Table
from ilforge.errors import SettingsError

JOBS = "model_devi_jobs"
_BAR = 1.01325
_COLDEST_K, _HOTTEST_K = 160.0, 5000.0
_ENSEMBLES = {"npt": "NPT", "npt-i": "NPT", "npt-iso": "NPT", "npt-a": "NPT", "npt-aniso": "NPT", "npt-t": "NPT",
              "npt-tri": "NPT", "nvt": "NVT", "nve": "NVE"}  # fmt: skip


@dataclass
class Exploring:
    """What DP-GEN explores in its jobs that are still to do, in the units of a study.

    Attributes
    ----------
    temperatures_K
        All temperatures, ascending.
    pressure_bar
        The one pressure of the study.
    pressure_source
        Where it comes from.
    ensemble
        ``"NPT"``, or ``"NVT"`` where no job has a pressure.
    timestep_fs
        Time step.
    notes
        Sentences for the user.
    """

    temperatures_K: list[float] = field(default_factory=list)
    pressure_bar: float = _BAR
    pressure_source: str = "not from DP-GEN"
    ensemble: str = "NPT"
    timestep_fs: float = 0.5
    notes: list[str] = field(default_factory=list)


def move_exploring(book: Book, finished: int, runs: int | None) -> tuple[Exploring, Table, Table]:
    """``[learning]`` and ``[learning.stop]``.

    Parameters
    ----------
    finished
        Number of iterations that DP-GEN has finished: the jobs after them are still to do.
    runs
        Number of explorations in DP-GEN's last iteration; None if unknown.

    Raises
    ------
    SettingsError
        When a value is of another type than DP-GEN takes, or the lower trust level is not below the upper one.
    """
    jobs = book.get(JOBS, default=[])
    if not isinstance(jobs, list) or not all(isinstance(job, dict) for job in jobs):
        raise book.fault((JOBS,), "a list of tables, one for each iteration")
    todo = list(range(min(finished, len(jobs)), len(jobs)))
    asked = todo or list(range(len(jobs)))[-1:]
    found, table, stop = Exploring(), Table("learning"), Table("learning.stop")
    table.add("explorer", "deepmd", "the committee of DeePMD explores, as in DP-GEN")
    what = f"{book.file}: {len(jobs)} {JOBS}, of which {len(jobs) - len(todo)} are done"
    table.add("iterations", min(max(1, len(todo)), 100), what + ("" if todo else "; raise it for more"))
    _temperatures(book, asked, found, table)
    states = _pressures(book, asked, found, table) * len(found.temperatures_K)
    if runs and runs >= states:
        table.add("starts", runs, f"number of 01.model_devi/task.* of DP-GEN's last iteration: {runs}")
    elif runs:
        table.add("starts", states, f"one for each state; DP-GEN's last iteration had {runs} 01.model_devi/task.*")
    else:
        said = "not from DP-GEN: ilforge does not start runs from the structures in sys_configs"
        table.add("starts", max(4, states), said)
    _lengths(book, asked, found, table)
    _window(book, asked, table, found)
    _limits(book, table, stop)
    _explain(book, range(len(jobs)))
    return found, table, stop


def _paths(book: Book, jobs: Sequence[int], key: str) -> list[Path]:
    return [(JOBS, number, key) for number in jobs if book.has(JOBS, number, key)]


def _temperatures(book: Book, asked: Sequence[int], found: Exploring, table: Table) -> None:
    paths = _paths(book, asked, "temps")
    given = sorted({one for path in paths for one in book.numbers(*path)})
    found.temperatures_K = [one for one in given if _COLDEST_K <= one <= _HOTTEST_K]
    for path in paths:
        outside = [one for one in book.numbers(*path) if one not in found.temperatures_K]
        if outside:
            book.leave(
                path, f"{', '.join(f'{one:g}' for one in outside)} K: a liquid of ions is simulated from "
                f"{_COLDEST_K:g} to {_HOTTEST_K:g} K",
            )  # fmt: skip
        if len(outside) < len(book.numbers(*path)):
            book.take(path, "study.toml: learning.temperatures_K and md.temperatures_K")
    if not found.temperatures_K:
        found.notes.append(
            f"{book.file} gives no temperature from {_COLDEST_K:g} to {_HOTTEST_K:g} K for its next iterations, so "
            "study.toml has 423 K: change it if needed."
        )
        found.temperatures_K = [423.0]
    said = f"{book.file}: temps of the next jobs, K" if paths else "not from DP-GEN"
    table.add("temperatures_K", found.temperatures_K, said)


def _pressures(book: Book, asked: Sequence[int], found: Exploring, table: Table) -> int:
    """Ensembles and pressures; returns the number of their combinations."""
    ensembles: dict[str, None] = {}
    for path in _paths(book, asked, "ensemble"):
        said = str(book.get(*path)).lower()
        if said not in _ENSEMBLES:
            raise book.fault(path, "npt, nvt or nve")
        ensembles[_ENSEMBLES[said]] = None
        if said == "nve":
            book.leave(path, "ilforge explores at constant temperature")
        else:
            book.take(path, "study.toml: learning.ensembles and md.ensemble")
    explored = [one for one in ensembles if one != "NVE"] or ["NPT"]
    if ensembles and "NPT" not in ensembles:
        found.ensemble = "NVT"
    paths = _paths(book, asked, "press")
    given = sorted({one for path in paths for one in book.numbers(*path)})
    possible = [one for one in given if 0 <= one <= 1e6]
    if possible:
        found.pressure_bar = min(possible, key=lambda one: abs(one - _BAR))
        found.pressure_source = f"{book.file}: press of the next jobs, bar"
    several = possible if len(possible) > 1 and "NPT" in explored else []
    for path in paths:
        outside = [one for one in book.numbers(*path) if one not in possible]
        if outside:
            book.leave(
                path, f"{', '.join(f'{one:g}' for one in outside)} bar: ilforge simulates from 0 to 1,000,000 bar"
            )
        if not several and possible and set(book.numbers(*path)) != {found.pressure_bar}:
            book.leave(path, f"runs at constant volume have no pressure: the study has {found.pressure_bar:g} bar")
        if len(outside) < len(book.numbers(*path)):
            book.take(path, f"study.toml: {'learning.pressures_bar and ' if several else ''}liquid.pressure_bar")
    table.add("ensembles", explored, f"{book.file}: ensemble of the next jobs" if ensembles else "not from DP-GEN")
    if several:
        table.add("pressures_bar", several, f"{book.file}: press of the next jobs, bar")
    return sum(max(1, len(several)) if one == "NPT" else 1 for one in explored)


def _lengths(book: Book, asked: Sequence[int], found: Exploring, table: Table) -> None:
    """Time step, length and interval: those of the longest job."""
    step_ps = book.number("model_devi_dt")
    if step_ps is not None and not 0 < step_ps <= 0.008:
        raise SettingsError(
            f"{book.file}: model_devi_dt is {step_ps:g} ps; expected more than 0, up to 0.008 ps (8 fs)."
        )
    said = "not from DP-GEN"
    if step_ps is not None:
        found.timestep_fs, said = round(1000 * step_ps, 9), f"{book.file}: model_devi_dt = {step_ps:g} ps"
        book.take(("model_devi_dt",), "study.toml: learning.timestep_fs, md.timestep_fs (fs)")
    table.add("timestep_fs", found.timestep_fs, said)
    lengths = {number: steps for number in asked if (steps := book.whole(JOBS, number, "nsteps"))}
    if not lengths:
        table.add("length_ps", 1.0, "not from DP-GEN, whose next jobs have no nsteps (a template of LAMMPS?)")
        return
    longest = max(lengths, key=lambda number: lengths[number])
    length = round(lengths[longest] * found.timestep_fs / 1000, 9)
    where = named((JOBS, longest))
    table.add("length_ps", length, f"{book.file}: the longest job, {where}.nsteps = {lengths[longest]} steps")
    frequency = book.whole(JOBS, longest, "trj_freq") or max(1, lengths[longest] // 50)
    interval = round(min(frequency, lengths[longest]) * found.timestep_fs / 1000, 9)
    table.add("interval_ps", interval, f"{book.file}: {where}.trj_freq = {frequency} steps")
    for key, now in (("nsteps", "length_ps"), ("trj_freq", "interval_ps")):
        for path in _paths(book, asked, key):
            book.take(path, f"study.toml: learning.{now} (that of the longest job)")
            if book.whole(*path) != book.whole(JOBS, longest, key):
                book.leave(path, f"all iterations of a study explore alike: {now} is that of the longest job, {where}")


def _window(book: Book, asked: Sequence[int], table: Table, found: Exploring) -> None:
    """Trust levels: of the next job where it has its own, otherwise those of the file."""
    chosen: dict[str, float] = {}
    for key, widest, now in (
        ("model_devi_f_trust_lo", min, "deviation_low_eV_A"),
        ("model_devi_f_trust_hi", max, "deviation_high_eV_A"),
    ):
        own: Path = (JOBS, asked[0], key) if asked else ()
        path: Path = own if own and book.has(*own) else (key,)
        levels = _levels(book, path)
        if not levels:
            continue
        chosen[key] = widest(levels)
        book.take(path, f"study.toml: learning.{now}")
        several = f", the {'lowest' if widest is min else 'highest'} of all systems" if len(set(levels)) > 1 else ""
        if several:
            book.leave(path, f"a study has one window for all compositions: the widest ({chosen[key]:g} eV/Å)")
        if path != (key,):
            book.leave((key,), f"{named(path)} takes its place in the next iteration")
        table.add(now, chosen[key], f"{book.file}: {named(path)}{several}")
    low, high = chosen.get("model_devi_f_trust_lo", 0.05), chosen.get("model_devi_f_trust_hi", 1.5)
    if low >= high:
        raise SettingsError(
            f"{book.file}: model_devi_f_trust_lo ({low:g}) is not below model_devi_f_trust_hi ({high:g}): no frame "
            "would be labelled."
        )


def _levels(book: Book, path: Path) -> list[float]:
    """Trust levels of all systems: one number, a list, or a table by the number of a system."""
    value = book.get(*path)
    if isinstance(value, dict):
        return [level for key in value for level in book.numbers(*path, key)]
    return book.numbers(*path)


def _limits(book: Book, table: Table, stop: Table) -> None:
    most = book.whole("fp_task_max")
    if most is not None:
        table.add(
            "max_candidates",
            max(0, most),
            f"{book.file}: fp_task_max, there for each system, here for each composition",
        )
        book.take(("fp_task_max",), "study.toml: learning.max_candidates")
    accurate = book.number("fp_accurate_threshold")
    if accurate is None:
        return
    if not 0 < accurate < 1:
        book.leave(("fp_accurate_threshold",), f"{accurate:g} is not a share between 0 and 1")
        return
    stop.add("candidates", round(1 - accurate, 9), f"{book.file}: 1 - fp_accurate_threshold ({accurate:g})")
    book.take(("fp_accurate_threshold",), "study.toml: learning.stop.candidates = 1 - it")


def _explain(book: Book, jobs: Sequence[int]) -> None:
    """Reasons for keys that have no counterpart."""
    for number in jobs:
        for key, why in _OF_JOBS.items():
            book.leave((JOBS, number, key), why)
    for key, why in _OF_FILE.items():
        book.leave((key,), why)
    done = "belongs to an iteration that DP-GEN has finished, or to one after the next"
    for number in jobs:
        for key in (
            "temps",
            "press",
            "ensemble",
            "nsteps",
            "trj_freq",
            "model_devi_f_trust_lo",
            "model_devi_f_trust_hi",
        ):
            path = (JOBS, number, key)
            if not book.entered(path):
                book.leave(path, done)


_STARTS = "runs of a study start in boxes that ilforge packs and equilibrates, spread over densities"
_WHOLE = "ilforge labels whole periodic boxes"
_ONLY_FORCES = "ilforge selects by the deviation of forces"
_OF_JOBS = {
    "sys_idx": _STARTS,
    "template": "ilforge writes the input of LAMMPS itself; it cannot use templates or PLUMED",
    "rev_mat": "belongs to template",
    "sys_rev_mat": "belongs to template",
    "nbeads": "ilforge has no path-integral MD",
    "neidelay": "a setting of LAMMPS's neighbour list, which ilforge chooses",
    "taut": "thermostats of ilforge have a fixed period",
    "taup": "barostats of ilforge have a fixed period",
    "model_devi_v_trust_lo": _ONLY_FORCES,
    "model_devi_v_trust_hi": _ONLY_FORCES,
    "restart_from_iter": _STARTS,
}
_OF_FILE = {
    "sys_configs": _STARTS,
    "sys_configs_prefix": _STARTS,
    "sys_format": _STARTS,
    "shuffle_poscar": "for alloys: ions keep their places in a molecule",
    "sys_charges": "the charge of a box follows from its ions, and is zero",
    "model_devi_engine": "ilforge explores in LAMMPS with DeePMD models, and in no other program",
    "model_devi_skip": "ilforge judges every frame after the start of a run",
    "model_devi_v_trust_lo": _ONLY_FORCES,
    "model_devi_v_trust_hi": _ONLY_FORCES,
    "model_devi_adapt_trust_lo": 'ilforge adapts its window in another way: deviation_low_eV_A = "calibrated"',
    "model_devi_numb_candi_f": "belongs to model_devi_adapt_trust_lo",
    "model_devi_numb_candi_v": "belongs to model_devi_adapt_trust_lo",
    "model_devi_perc_candi_f": "belongs to model_devi_adapt_trust_lo",
    "model_devi_perc_candi_v": "belongs to model_devi_adapt_trust_lo",
    "model_devi_f_avg_relative": "ilforge uses absolute deviations, eV/Å",
    "use_relative": "ilforge uses absolute deviations, eV/Å",
    "epsilon": "belongs to use_relative",
    "use_relative_v": "ilforge uses absolute deviations, eV/Å",
    "epsilon_v": "belongs to use_relative_v",
    "model_devi_clean_traj": "ilforge keeps the frames that it judged, and no other files of runs",
    "model_devi_merge_traj": "ilforge keeps the frames that it judged, and no other files of runs",
    "model_devi_nopbc": "ilforge explores periodic boxes",
    "model_devi_plumed": "ilforge has no PLUMED",
    "model_devi_plumed_path": "ilforge has no PLUMED",
    "model_devi_max_iter": "iterations are in learning.iterations",
    "model_devi_taut": "thermostats of ilforge have a fixed period",
    "model_devi_taup": "barostats of ilforge have a fixed period",
    "model_devi_neidelay": "a setting of LAMMPS's neighbour list, which ilforge chooses",
    "lmp_d3": "models of ilforge learn the dispersion with the labels",
    "lmp_neigh_modify_one": "a setting of LAMMPS's neighbour list, which ilforge chooses",
    "gromacs_settings": "models run in LAMMPS or in the package itself",
    "fp_task_min": "ilforge trains again after each iteration; [learning.stop] ends it earlier",
    "fp_accurate_soft_threshold": "max_candidates does not fall with the share of accurate frames",
    "fp_cluster_vacuum": _WHOLE,
    "use_clusters": _WHOLE,
    "cluster_cutoff": _WHOLE,
    "cluster_cutoff_hard": _WHOLE,
    "cluster_minify": _WHOLE,
    "detailed_report_make_fp": "the report of a study has these numbers always",
    "ratio_failed": "a calculation that fails is kept with its reason, and the others go on",
    "fp_skip_bad_box": "boxes of a study are cubes that the barostat scales",
    "use_ele_temp": "electrons have the smearing of the reference, and models do not depend on it",
}

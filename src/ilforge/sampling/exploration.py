"""Exploration: MD with a committee of models, until its length is spent or it leaves the region that can be trusted.

The deviation of a committee for one atom is the root mean square deviation of the members' forces from their mean; the
deviation of a frame is the largest one of its atoms (Zhang et al., Phys. Rev. Mater. 2019, 3, 023804). A run ends at
the first recorded frame whose deviation is too large, whose molecules are not whole, or whose density is far from all
densities that the models have learned from. It keeps the frames up to there, and begins again from another start.
Which frames are worth a label is decided in :mod:`.selection`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms

from ilforge.dynamics import Exploded, Trajectory, run_md
from ilforge.dynamics.motion import LARGEST, SMALLEST, Sample, density, volume_of
from ilforge.dynamics.protocol import MdProtocol
from ilforge.errors import SettingsError
from ilforge.liquid.connectivity import changed_bonds, fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.liquid.topology import Topology
from ilforge.potentials.potential import Potential
from ilforge.sampling.frame import make_frame

Cause = Literal["length", "bonds", "deviation", "boiled", "collapsed", "exploded"]
"""Why a part of an exploration ended. ``length``: it did not leave the trusted region."""


@dataclass(frozen=True)
class Conditions:
    """Ensemble, temperature and pressure of an exploration; the pressure is None at constant volume."""

    ensemble: Literal["NPT", "NVT"]
    temperature_K: float
    pressure_bar: float | None = None

    def __str__(self) -> str:
        pressure = "" if self.pressure_bar is None else f", {self.pressure_bar:g} bar"
        return f"{self.ensemble}, {self.temperature_K:g} K{pressure}"


@dataclass(frozen=True)
class Trusted:
    """The region in which frames of an exploration are believed.

    Attributes
    ----------
    deviation_eV_A
        Largest deviation of forces.
    densities_g_cm3
        Lowest and highest density; None for any.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.
    """

    deviation_eV_A: float = np.inf
    densities_g_cm3: tuple[float, float] | None = None
    bond_factor: float = 1.25


@dataclass(frozen=True)
class Walk:
    """How an exploration moves.

    Attributes
    ----------
    conditions
        Ensemble and state.
    timestep_fs, length_ps, interval_ps
        Time step; length of all parts together; time between recorded frames.
    seed
        From which the seeds of all parts are derived.
    restarts
        How often a run that left the trusted region begins again.
    pressures
        Whether the deviation of pressures is determined too.
    """

    conditions: Conditions
    timestep_fs: float
    length_ps: float
    interval_ps: float
    seed: int
    restarts: int = 0
    pressures: bool = False


@dataclass(frozen=True)
class Part:
    """One part of an exploration, from a start to where it ended.

    Attributes
    ----------
    n_frames
        Recorded frames.
    time_ps
        Length, ps.
    cause
        Why it ended.
    words
        The same in a sentence; empty if its length was spent.
    density_g_cm3
        Density at the end (None if no frame was recorded).
    """

    n_frames: int
    time_ps: float
    cause: Cause
    words: str = ""
    density_g_cm3: float | None = None


@dataclass(frozen=True)
class Exploration:
    """One exploration.

    Attributes
    ----------
    frames
        Frames of all parts in order of time, kind ``EQ``, recipe ``explored``, with ``info["deviation"]``.
    deviations
        ``(n_frames,)`` largest deviation of forces, eV/Å.
    fragments
        For each frame its broken and new bonds in words, or None.
    conditions
        Ensemble and state.
    bonds
        For each frame the kinds of its broken and new bonds, such as ``"broken C-H in PYR14"``.
    densities
        ``(n_frames,)`` g/cm^3.
    pressure_deviations
        ``(n_frames,)`` GPa; NaN if it was not determined.
    parts
        Its parts.
    """

    frames: tuple[Atoms, ...]
    deviations: np.ndarray
    fragments: tuple[str | None, ...]
    conditions: Conditions = Conditions("NPT", 450.0, 1.0)
    bonds: tuple[tuple[str, ...], ...] = ()
    densities: np.ndarray = field(default_factory=lambda: np.empty(0))
    pressure_deviations: np.ndarray = field(default_factory=lambda: np.empty(0))
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        for name in ("densities", "pressure_deviations"):
            if len(getattr(self, name)) != len(self.frames):
                object.__setattr__(self, name, np.full(len(self.frames), np.nan))

    @property
    def fault(self) -> str | None:
        """How the last part left the trusted region; None if the length was spent."""
        return (self.parts[-1].words or None) if self.parts else None

    def judged(self) -> dict[str, Any]:
        """Everything but the frames and their deviations, as JSON values."""
        return {
            "conditions": vars(self.conditions),
            "fragments": list(self.fragments),
            "bonds": [list(kinds) for kinds in self.bonds],
            "densities": _numbers(self.densities),
            "pressure_deviations": _numbers(self.pressure_deviations),
            "parts": [vars(part) for part in self.parts],
        }

    @classmethod
    def of_judged(cls, frames: Sequence[Atoms], judged: dict[str, Any]) -> Exploration:
        """The exploration with these frames; the inverse of :meth:`judged`."""
        return cls(
            tuple(frames),
            np.array([frame.info["deviation"] for frame in frames], dtype=float),
            tuple(judged["fragments"]),
            Conditions(**judged["conditions"]),
            tuple(tuple(kinds) for kinds in judged["bonds"]),
            np.array(judged["densities"], dtype=float),
            np.array(judged["pressure_deviations"], dtype=float),
            tuple(Part(**part) for part in judged["parts"]),
        )


def explore(
    committee: Potential,
    starts: Sequence[Atoms],
    liquid: Liquid,
    walk: Walk,
    trusted: Trusted,
    directory: Path,
    threads: int = 1,
) -> Exploration:
    """Run MD with the first model of the committee, and determine the deviation of every recorded frame.

    A part that leaves the trusted region ends without an error, and the next start is used for what is left of the
    length. A killed exploration continues when called again.

    Parameters
    ----------
    committee
        A potential with ``force_deviation(atoms)``; in LAMMPS the pair style gives the deviation during the run.
    starts
        Boxes to start from, in this order, and from the first again if there are more parts.
    directory
        Directory of the runs.
    """
    if not hasattr(committee, "force_deviation"):
        raise SettingsError(
            f"Exploration needs a committee of models, but was given a single potential of kind {committee.kind}."
        )
    if walk.pressures and not committee.has_stress:
        raise SettingsError(
            "learning.pressure_deviation_GPa needs the stress, which the models of the explorer do not give: leave it "
            "out."
        )
    left_ps, parts, found = walk.length_ps, [], _Found()
    for number in range(walk.restarts + 1):
        protocol = _protocol(walk, left_ps, number)
        start, watch = starts[number % len(starts)], _Watch(committee, starts[0], liquid, trusted)
        trajectory = run_md(committee, start, liquid, protocol, directory / str(number), threads, watch=watch)
        recorded = _recorded(trajectory, start, liquid, walk.seed)
        found.add(recorded, _deviations(committee, trajectory, recorded), liquid.topology, trusted.bond_factor)
        part = _part(trajectory, len(recorded) * protocol.frame_interval_ps, found)
        parts.append(part)
        left_ps -= part.time_ps
        if part.cause == "length" or left_ps < 0.5 * walk.interval_ps:
            break
    pressures = np.full(len(found.frames), np.nan)
    if walk.pressures:
        every = committee.answers(found.frames, liquid.topology, threads, pressures=True)  # type: ignore[attr-defined]  # of a committee
        pressures = np.array([float(np.std(answers.pressures)) for answers in every])
    return Exploration(
        tuple(found.frames),
        np.array(found.deviations, dtype=float),
        tuple(found.fragments),
        walk.conditions,
        tuple(found.bonds),
        np.array(found.densities, dtype=float),
        pressures,
        tuple(parts),
    )


def density_of(frame: Atoms, topology: Topology) -> float:
    """Density of a frame, g/cm^3."""
    return density(float(topology.masses.sum()), volume_of(frame.cell.array))


def kinds_of_bonds(frame: Atoms, topology: Topology, bond_factor: float) -> tuple[str, ...]:
    """Kinds of broken and new bonds, each once: ``"broken C-H in PYR14"``, ``"new F-H of BF4 and PYR14"``."""
    if not np.isfinite(frame.positions).all():
        return ()
    broken, new = changed_bonds(frame, topology, bond_factor)
    found = [_kind_of_bond("broken", pair, topology) for pair in broken]
    return tuple(sorted({*found, *(_kind_of_bond("new", pair, topology) for pair in new)}))


class _Watch:
    """Ends a run at the first recorded frame outside the trusted region."""

    def __init__(self, committee: Potential, like: Atoms, liquid: Liquid, trusted: Trusted):
        self._committee, self._like, self._liquid, self._trusted = committee, like, liquid, trusted

    def __call__(self, sample: Sample, time_ps: float) -> None:
        topology, trusted = self._liquid.topology, self._trusted
        frame = Atoms(topology.symbols, sample.positions, cell=sample.cell, pbc=self._like.pbc)
        broken = fragmentation(frame, topology, trusted.bond_factor)
        if broken:
            raise Exploded(broken, time_ps, cause="bonds")
        lowest, highest = trusted.densities_g_cm3 or (-np.inf, np.inf)
        now = density_of(frame, topology)
        if not lowest <= now <= highest:
            cause, how = ("boiled", "fell below") if now < lowest else ("collapsed", "rose above")
            limit = lowest if now < lowest else highest
            raise Exploded(f"the density {how} {limit:.3f} g/cm3, to {now:.3f}", time_ps, cause=cause)
        deviation = sample.force_deviation
        if deviation is None:
            deviation = self._committee.force_deviation(frame)  # type: ignore[attr-defined]  # asked in explore()
        if not np.isfinite(deviation):
            raise Exploded("forces are not finite numbers", time_ps, cause="exploded")
        if deviation > trusted.deviation_eV_A:
            what = f"the largest deviation of forces is {deviation:.3g} eV/Å, above {trusted.deviation_eV_A:g}"
            raise Exploded(what, time_ps, cause="deviation")


@dataclass
class _Found:
    """What is known of the frames so far."""

    frames: list[Atoms] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)
    fragments: list[str | None] = field(default_factory=list)
    bonds: list[tuple[str, ...]] = field(default_factory=list)
    densities: list[float] = field(default_factory=list)

    def add(self, recorded: list[Atoms], deviations: Sequence[float], topology: Topology, bond_factor: float) -> None:
        for frame, deviation in zip(recorded, deviations, strict=True):
            frame.info["deviation"] = float(deviation)
            broken = fragmentation(frame, topology, bond_factor)
            self.frames.append(frame)
            self.deviations.append(float(deviation))
            self.fragments.append(broken)
            self.bonds.append(kinds_of_bonds(frame, topology, bond_factor) if broken else ())
            self.densities.append(density_of(frame, topology))


def _protocol(walk: Walk, length_ps: float, number: int) -> MdProtocol:
    seed = walk.seed
    if number > 0:
        seed = int(np.random.default_rng([walk.seed, number]).integers(2**31))
    protocol = MdProtocol(
        ensemble=walk.conditions.ensemble,
        temperature_K=walk.conditions.temperature_K,
        timestep_fs=walk.timestep_fs,
        length_ps=max(length_ps, walk.interval_ps),
        interval_ps=walk.interval_ps,
        seed=seed,
    )
    pressure = walk.conditions.pressure_bar
    return protocol if pressure is None else replace(protocol, pressure_bar=pressure)


def _recorded(trajectory: Trajectory, start: Atoms, liquid: Liquid, seed: int) -> list[Atoms]:
    if trajectory.info()["n_frames"] == 0:
        return []
    return [
        make_frame(positions, cell, start, liquid, "EQ", "explored", seed)
        for positions, cell in _positions_and_cells(trajectory)
    ]


def _positions_and_cells(trajectory: Trajectory) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    universe = trajectory.universe()
    for step in universe.trajectory:
        yield universe.atoms.positions.astype(float), np.diag(step.dimensions[:3].astype(float))


def _deviations(committee: Any, trajectory: Trajectory, recorded: Sequence[Atoms]) -> list[float]:
    """Deviation of each frame, eV/Å: from the engine, or asked of the committee if it did not give it."""
    given = trajectory.thermo()["force_deviation_eV_A"]
    return [
        float(value) if np.isfinite(value) else committee.force_deviation(frame)
        for value, frame in zip(given, recorded, strict=True)
    ]


def _part(trajectory: Trajectory, time_ps: float, found: _Found) -> Part:
    fault, n_frames = trajectory.fault, trajectory.info()["n_frames"]
    last = found.densities[-1] if n_frames else None
    if fault is None:
        return Part(n_frames, time_ps, "length", density_g_cm3=last)
    reached = fault.get("density", {}).get("reached_g_cm3", last)
    return Part(n_frames, time_ps, _cause(fault), fault["message"], reached)


def _cause(fault: dict[str, Any]) -> Cause:
    """The cause that the watch or, by the density that it reached, the engine gave."""
    if "cause" in fault:
        cause: Cause = fault["cause"]
        return cause
    change = fault.get("density")
    if change is not None:
        grown = change["start_g_cm3"] / change["reached_g_cm3"]  # the volume, as the engines watch it
        if not SMALLEST <= grown <= LARGEST:
            return "boiled" if grown > 1 else "collapsed"
    return "exploded"


def _kind_of_bond(what: str, pair: np.ndarray, topology: Topology) -> str:
    """``"broken C-H in PYR14"`` or ``"new F-H of BF4 and PYR14"``, the same for both orders of the atoms."""
    symbols = "-".join(sorted(topology.symbols[i] for i in pair))
    species = [topology.species[int(topology.molecules[i])] for i in pair]
    one = topology.molecules[pair[0]] == topology.molecules[pair[1]]
    return f"{what} {symbols} in {species[0]}" if one else f"{what} {symbols} of {' and '.join(sorted(species))}"


def _numbers(values: np.ndarray) -> list[float | None]:
    """As JSON numbers; None for NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]

"""nEQ frames of molecules distorted by temperatures just below decomposition, from runs with long steps.

A model trained only on equilibrium frames does not learn the forces that drive distorted frames back to equilibrium.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ase import Atoms

from ilforge import dynamics
from ilforge.dynamics.motion import Exploded
from ilforge.dynamics.protocol import MdProtocol
from ilforge.dynamics.simulation import Job
from ilforge.errors import Unphysical
from ilforge.liquid.connectivity import fragmentation
from ilforge.liquid.liquid import Liquid
from ilforge.potentials.potential import Potential
from ilforge.sampling.equilibrated import MINIMISE_STEPS
from ilforge.sampling.frame import make_frame
from ilforge.sampling.kind import Drawing, Preparation, SamplerKind
from ilforge.sampling.packed import relax_packed
from ilforge.settings import Count, Positive, Settings, Temperature, Timestep

COOLER = 0.9
"""Factor on the temperature after a hot run in which a bond broke."""
HOTTER, LONGER = 1.25, 1.15
"""Factors by which the search for the hottest run without bond breaking raises temperature and time step."""
HOTTEST_K, LONGEST_FS = 5000.0, 3.0
"""Upper limits of this search; 3 fs is a quarter of the period of a C-H vibration."""

_TRIES = 16  # down to a fifth of the temperature
_HEATING_PS = 0.5  # not recorded: time until the heat is distributed over all vibrations


@dataclass(frozen=True)
class HotRun:
    """A run at a high temperature with long steps.

    Attributes
    ----------
    temperature_K, timestep_fs
        Set temperature and time step.
    interval_ps, n_frames
        Time between recorded frames, and their number.
    seed
        Of the initial velocities.
    bond_factor
        Two atoms count as bonded below this factor times the sum of their covalent radii.
    """

    temperature_K: float
    timestep_fs: float
    interval_ps: float
    n_frames: int
    seed: int
    bond_factor: float

    @property
    def protocol(self) -> MdProtocol:
        """Its MD, with bonds to H free."""
        return MdProtocol(
            ensemble="NVT",
            temperature_K=self.temperature_K,
            timestep_fs=self.timestep_fs,
            length_ps=self.n_frames * self.interval_ps,
            interval_ps=self.interval_ps,
            seed=self.seed,
            equilibration_ps=_HEATING_PS,
            start_temperature_K=2 * self.temperature_K,
            constrain_hydrogens=False,
        )


@dataclass(frozen=True)
class HottestRun:
    """Temperature and time step of a hot run in which no bond breaks, and all runs of the search for it.

    Attributes
    ----------
    temperature_K, timestep_fs
        Set temperature and time step.
    tried
        Every run: temperature in K, time step in fs, and the bond breaking in words, or None.
    """

    temperature_K: float
    timestep_fs: float
    tried: tuple[tuple[float, float, str | None], ...]


def highest_stable_temperature(
    box: Atoms, liquid: Liquid, potential: Potential, start: HotRun, threads: int = 1
) -> HottestRun:
    """Find the highest temperature, and then the longest time step, at which no bond breaks in this box.

    From that of ``start``, the temperature is raised by a factor of 1.25 until a bond breaks (or lowered by 0.8 until
    none breaks), to 5000 K at most. Then the interval is halved once on a logarithmic scale. No bond breaks at the
    result, and one broke at a temperature 12 % higher. At this temperature the time step is raised in the same way, by
    a factor of 1.15, to 3 fs at most; a bond broke at a time step 7 % longer. The search takes at most 18 runs, and the
    same arguments give the same result.

    Raises
    ------
    Unphysical
        When bonds break even at a fifth of the temperature, or in the minimised box.
    """
    cold = _cold(box, liquid, potential, start.bond_factor, threads)
    tried: list[tuple[float, float, str | None]] = []

    def is_stable(kelvin: float, step_fs: float) -> bool:
        # the values of the result, so that the run can be repeated
        run = replace(start, temperature_K=round(kelvin, 3), timestep_fs=round(step_fs, 6))
        found = _unfragmented(cold, liquid, potential, run, threads)
        tried.append((run.temperature_K, run.timestep_fs, found if isinstance(found, str) else None))
        return not isinstance(found, str)

    kelvin, step_fs = start.temperature_K, start.timestep_fs
    while not is_stable(kelvin, step_fs):
        kelvin /= HOTTER
        if kelvin < 0.2 * start.temperature_K:
            raise _bonds_break(*tried[-1])
    if len(tried) == 1:
        kelvin = _edge(lambda value: is_stable(value, start.timestep_fs), kelvin, HOTTER, HOTTEST_K)
    else:
        kelvin = _halved(lambda value: is_stable(value, start.timestep_fs), kelvin, kelvin * HOTTER)
    step_fs = _edge(lambda value: is_stable(kelvin, value), step_fs, LONGER, LONGEST_FS)
    return HottestRun(round(kelvin, 3), round(step_fs, 6), tuple(tried))


def _edge(is_stable: Callable[[float], bool], low: float, factor: float, top: float) -> float:
    """The largest value without bond breaking: raise it by a factor until a bond breaks, then halve the interval."""
    while low < top:
        high = min(low * factor, top)
        if not is_stable(high):
            return _halved(is_stable, low, high)
        low = high
    return low


def _halved(is_stable: Callable[[float], bool], low: float, high: float) -> float:
    """The geometric mean of a stable and an unstable value if it is stable, otherwise the stable value."""
    middle = math.sqrt(low * high)
    return middle if is_stable(middle) else low


def sample_hot(box: Atoms, liquid: Liquid, potential: Potential, start: HotRun, threads: int = 1) -> list[Atoms]:
    """Frames of a hot run with long steps.

    If a bond breaks in any recorded frame, or the motion explodes, the run starts again at 0.9 times the
    temperature.

    Parameters
    ----------
    start
        The first run, with temperature and time step found by :func:`highest_stable_temperature` for such boxes.

    Returns
    -------
    frames
        ``start.n_frames`` frames of kind ``nEQ``, recipe ``hot``, none fragmented; ``info["temperature_K"]`` is the
        temperature of the run.

    Raises
    ------
    Unphysical
        When bonds break even at a fifth of the temperature, or in the minimised box.
    """
    cold = _cold(box, liquid, potential, start.bond_factor, threads)
    for attempt in range(_TRIES):
        run = replace(start, temperature_K=start.temperature_K * COOLER**attempt)
        found = _unfragmented(cold, liquid, potential, run, threads)
        if not isinstance(found, str):
            return found
    raise _bonds_break(run.temperature_K, run.timestep_fs, found)


def _cold(box: Atoms, liquid: Liquid, potential: Potential, bond_factor: float, threads: int) -> Atoms:
    """The minimised start of hot runs; its molecules must be whole by the same ``bond_factor``."""
    cold = relax_packed(box, liquid, potential, MINIMISE_STEPS, threads)
    reason = fragmentation(cold, liquid.topology, bond_factor)
    if reason is not None:
        raise Unphysical(f"Bonds seem broken already in the minimised box: {reason}. Raise gate.bond_factor.")
    return cold


def _bonds_break(kelvin: float, timestep_fs: float, reason: object) -> Unphysical:
    return Unphysical(
        f"Bonds break even at {kelvin:.0f} K and with time steps of {timestep_fs:g} fs: {reason}. Lower "
        "hot_timestep_fs or hot_temperature_K, or raise gate.bond_factor."
    )


def _unfragmented(cold: Atoms, liquid: Liquid, potential: Potential, run: HotRun, threads: int) -> list[Atoms] | str:
    """Frames of one hot run, or the reason why it is not used."""
    kelvin = round(run.temperature_K, 3)
    found: list[Atoms] = []
    try:
        for sample in dynamics.samples(Job(potential, cold, liquid.topology, run.protocol, threads)):
            frame = make_frame(
                sample.positions, sample.cell, cold, liquid, "nEQ", "hot", run.seed, temperature_K=kelvin
            )
            broken = fragmentation(frame, liquid.topology, run.bond_factor)
            if broken is not None:
                return broken
            found.append(frame)
    except Exploded as error:
        return str(error).rstrip(".")
    return found


class HotCounts(Settings):
    """Numbers of hot frames."""

    hot_boxes: Count
    """Packed boxes in which hot runs with a large time step start."""
    hot_frames_per_box: Count
    """nEQ-molecule frames taken from each of these hot runs."""


class HotSettings(Settings):
    """How hot runs go."""

    hot_temperature_K: Temperature = 1500.0
    """Initial temperature of the search for the highest temperature without bond breaking, K."""
    hot_timestep_fs: Timestep = 1.5
    """Initial time step of this search, fs."""
    hot_interval_ps: Positive = 0.1
    """Time between hot frames, ps."""


def _search(drawing: Drawing) -> dict[str, Any]:
    start = _run_of(drawing, drawing.keys["hot_temperature_K"], drawing.keys["hot_timestep_fs"])
    found = highest_stable_temperature(drawing.packed, drawing.liquid, drawing.potential, start, drawing.threads)
    return asdict(found)


def _draw(drawing: Drawing) -> list[Atoms]:
    start = _run_of(drawing, drawing.prepared["temperature_K"], drawing.prepared["timestep_fs"])
    return sample_hot(drawing.packed, drawing.liquid, drawing.potential, start)


def _run_of(drawing: Drawing, temperature_K: float, timestep_fs: float) -> HotRun:
    interval_ps = drawing.keys["hot_interval_ps"]
    return HotRun(temperature_K, timestep_fs, interval_ps, drawing.n_frames, drawing.seed, drawing.bond_factor)


def _scaled(counts: HotCounts, number: int) -> dict[str, int]:
    per_box = max(1, min(counts.hot_frames_per_box, number))
    return {"hot_boxes": -(-number // per_box), "hot_frames_per_box": per_box}


def _steps_of_search(settings: HotSettings, n_frames: int) -> float:
    """Of about six runs."""
    return 6 * n_frames * settings.hot_interval_ps * 1000 / settings.hot_timestep_fs


KIND = SamplerKind(
    "hot",
    "hot",
    "nEQ",
    HotCounts,
    _draw,
    HotSettings,
    boxes=lambda counts, sampling: (counts.hot_boxes, counts.hot_frames_per_box),
    number=lambda counts: counts.hot_boxes * counts.hot_frames_per_box,
    scaled=_scaled,
    preparation=Preparation("find the highest temperature without bond breaking", _search, _steps_of_search),
)

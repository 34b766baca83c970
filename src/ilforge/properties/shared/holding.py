"""Does a run hold the liquid? One verdict from its density, its end, and the faults found in its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ilforge.properties.property import Measurement, System, Verdict
from ilforge.properties.shared.density_course import at_fixed_volume, departure, mean_density
from ilforge.properties.shared.settings import DensitySettings, HealthSettings
from ilforge.results import HOLDS_LIQUID, Estimate, Holding, LiquidVerdict

ENOUGH = DensitySettings().min_independent_samples
"""Independent samples from which a density is quoted with an error."""
KEPT = (HOLDS_LIQUID, "largest_cavity_radius")
"""Quantities that show why a run does not hold the liquid; they are also quoted for such a run."""


def judge(
    system: System, density: np.ndarray, verdicts: Sequence[Verdict], settings: HealthSettings
) -> LiquidVerdict | None:
    """Whether a run holds the liquid; None for ions in a vacuum, which are not a liquid.

    It does not if the engine ended the run early, if the final density is far from the initial one
    (``min_density_ratio``, ``max_density_ratio``; see
    :func:`~ilforge.properties.shared.density_course.departure`), or if a check of its frames found it unphysical. It
    does if the density of a run at constant pressure is stationary, with ``min_independent_samples``, and no check has
    failed. All other runs are not judged.

    Parameters
    ----------
    density
        Density of each frame, ``(n_frames,)`` in g/cm^3.
    verdicts
        Results of the other checks.
    """
    if not system.periodic:
        return None
    lost = _lost(system, density, verdicts, settings)
    if lost is not None:
        return lost
    if at_fixed_volume(density, system.ensemble):
        what = "at constant volume the density cannot change, and no other fault was seen"
        return LiquidVerdict(Holding.NOT_JUDGED, what)
    found = mean_density(density, system.frame_interval_ps, settings.min_independent_samples)
    length_ps = len(density) * system.frame_interval_ps
    doubts = [verdict.what for verdict in verdicts if not verdict.ok]
    if doubts or not found.converged:
        what = doubts[0] if doubts else _unsettled(found)
        return LiquidVerdict(Holding.NOT_JUDGED, what, time_ps=length_ps, n_eff=found.n_eff)
    what = _in_words(found, length_ps)
    start = float(density[0]) if system.start_density is None else system.start_density
    return LiquidVerdict(Holding.HOLDS, what, found.value, start, length_ps, found.n_eff)


def _in_words(found: Estimate, length_ps: float) -> str:
    """The density of a run that holds the liquid, with its error only if there are enough samples for a reliable one.

    The error from a short run is too small, because no series shows correlations longer than itself: three runs of
    60 ps gave 1.048 ± 0.007, 1.062 ± 0.003 and 1.086 ± 0.006 g/cm3 for the same liquid.
    """
    run = f"over {length_ps:.3g} ps ({found.n_eff:.0f} independent samples"
    if found.n_eff < ENOUGH:
        return f"the density stays near {found.value:.2f} g/cm3 {run}: too few for a reliable error)"
    return f"the density is {found.value:.3f} ± {found.error:.3f} g/cm3 {run})"


def _unsettled(found: Estimate) -> str:
    """Why a density has not converged yet."""
    return found.note.removeprefix("not stationary: ") if not found.steady else f"for the density, {found.note}"


def _lost(
    system: System, density: np.ndarray, verdicts: Sequence[Verdict], settings: HealthSettings
) -> LiquidVerdict | None:
    """The verdict that a run does not hold the liquid, with the reason (first the density); None if it may hold it."""
    lowest, highest = settings.min_density_ratio, settings.max_density_ratio
    change = departure(density, system, lowest, highest)
    at_end = system.fault_density
    if at_end is not None and not lowest <= at_end.reached / at_end.start <= highest:
        change = at_end
    if change is not None:
        return LiquidVerdict(Holding.DOES_NOT_HOLD, str(change), change.reached, change.start, change.time_ps)
    grave = [verdict.what for verdict in verdicts if verdict.grave and not verdict.ok]
    return LiquidVerdict(Holding.DOES_NOT_HOLD, grave[0]) if grave else None


def verdict_of(found: Mapping[str, Measurement]) -> LiquidVerdict | None:
    """The verdict on a run from its measurements, by property; None if health was not measured."""
    return next((one.liquid for one in found.values() if one.liquid is not None), None)


def as_judged(found: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Measurements of one run, by property; if it does not hold the liquid, its numbers have not converged."""
    liquid = verdict_of(found)
    if liquid is None or not liquid.lost:
        return dict(found)
    return {name: replace(one, estimates=_refused(one.estimates, liquid)) for name, one in found.items()}


def _refused(
    estimates: Sequence[tuple[str, str | None, Estimate]], liquid: LiquidVerdict
) -> list[tuple[str, str | None, Estimate]]:
    return [
        (quantity, species, estimate if quantity in KEPT else as_far_as_held(estimate, [liquid]))
        for quantity, species, estimate in estimates
    ]


def as_far_as_held(estimate: Estimate, verdicts: Sequence[LiquidVerdict]) -> Estimate:
    """An estimate from runs with these verdicts; not converged if one of the runs does not hold the liquid."""
    lost = [verdict for verdict in verdicts if verdict.lost]
    return replace(estimate, converged=False, note=f"the run {lost[0]}") if lost else estimate


def worst(found: Sequence[LiquidVerdict]) -> LiquidVerdict:
    """The verdict on a potential from several runs: "does not hold" if one run does not, else "holds" if one does."""
    order = (Holding.DOES_NOT_HOLD, Holding.HOLDS, Holding.NOT_JUDGED)
    return min(found, key=lambda one: order.index(one.holding))

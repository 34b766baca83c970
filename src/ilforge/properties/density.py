"""Density of a liquid at constant pressure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ilforge.properties.kind import PropertyKind
from ilforge.properties.property import Measurement, Snapshot, System
from ilforge.properties.shared.density_course import UNIT, at_fixed_volume, if_at_rest, mean_density
from ilforge.properties.shared.settings import DensitySettings
from ilforge.results import Curve, Estimate
from ilforge.statistics import DISAGREEMENT, detect_equilibration, disagree, error_between
from ilforge.units import AMU_PER_A3_IN_G_CM3


class Density:
    """Mean mass density of an NPT run, ρ = <M / V>, in g/cm^3.

    The start of the run is left out if it differs from the rest (see
    :func:`~ilforge.statistics.detect_equilibration`); the error is that of the mean of correlated samples. The density
    has not converged with fewer independent samples than ``min_independent_samples``, or if it still drifts (see
    :func:`~ilforge.properties.shared.density_course.drifting`). At constant volume the density was set, not measured,
    and is not reported. For several runs see :func:`pooled_density`.

    J. D. Chodera, J. Chem. Theory Comput. 12, 1799 (2016); J. D. Chodera et al., J. Chem. Theory Comput. 3, 26
    (2007).
    """

    needs_cell: ClassVar[str] = "without a box there is no volume"

    def __init__(self, settings: DensitySettings):
        self._settings = settings

    def begin(self, system: System) -> None:
        self._system = system
        self._mass = float(system.topology.masses.sum()) * AMU_PER_A3_IN_G_CM3
        self._densities: list[float] = []

    def look(self, snapshot: Snapshot) -> float:
        return self._mass / snapshot.volume

    def add(self, seen: float) -> None:
        self._densities.append(seen)

    def measurement(self) -> Measurement:
        return self._measured("density")

    def pooled(self, runs: Sequence[Density]) -> Measurement:
        """The measurement from several independent runs of one system, including this one."""
        parts = [run._measured(f"density, run {number}") for number, run in enumerate(runs, 1)]
        found = [estimate for part in parts for _, _, estimate in part.estimates]
        if len(found) < len(parts):
            return Measurement(notes=list(dict.fromkeys(note for part in parts for note in part.notes)))
        curves = {name: curve for part in parts for name, curve in part.curves.items()}
        together = pooled_density(found, self._settings)
        shortest = min(len(run._densities) for run in runs)
        series = np.array([run._densities[:shortest] for run in runs])
        start = int(np.median([detect_equilibration(run).start for run in series]))
        start = max(start, detect_equilibration(series.mean(axis=0)).start)
        estimate = if_at_rest(together, series, self._system.frame_interval_ps, start)
        return Measurement([("density", None, estimate)], curves)

    def _measured(self, title: str) -> Measurement:
        density = np.array(self._densities)
        if at_fixed_volume(density, self._system.ensemble):
            note = f"The volume was fixed: {density.mean():.4f} {UNIT} was set, not measured."
            return Measurement(notes=[note])
        time = self._system.frame_interval_ps * np.arange(len(density))
        curve = Curve(time, density, None, "time", "ps", "density", UNIT)
        estimate = mean_density(density, self._system.frame_interval_ps, self._settings.min_independent_samples)
        return Measurement([("density", None, estimate)], {title: curve})


def pooled_density(found: Sequence[Estimate], settings: DensitySettings) -> Estimate:
    """Mean of several independent runs, weighted by their numbers of independent samples.

    The error follows from the errors of the runs or, with three runs or more, from the spread between them if this is
    larger. Runs that are too short alone are used; together they need ``min_independent_samples``. Runs that disagree
    (χ², p < 0.001) are refused.
    """
    found = [one for one in found if np.isfinite(one.error)]
    if not found:
        return Estimate.refused(UNIT, "the runs have too few frames to estimate fluctuations")
    values, errors, n_eff = np.array([(one.value, one.error, one.n_eff) for one in found]).T
    if disagree(values, errors):
        return Estimate.refused(UNIT, DISAGREEMENT.format(len(found)), n_eff.sum())
    weights = n_eff / n_eff.sum()
    error = max(float(np.linalg.norm(weights * errors)), error_between(values))
    enough = bool(n_eff.sum() >= settings.min_independent_samples)
    needed = f"{n_eff.sum():.1f} independent samples in {len(found)} runs, {settings.min_independent_samples:g} needed"
    note = f"from {len(found)} runs" if enough else needed
    return Estimate(float(weights @ values), error, float(n_eff.sum()), UNIT, enough, note)


KIND = PropertyKind(
    name="density",
    title="Density",
    settings=DensitySettings,
    observer=Density,
    version=3,
    also_called=("volume", "rho"),
)
